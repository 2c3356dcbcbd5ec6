"""node's amqplib: the lessons in tests/clients/node/lessons.js."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "node"
INSTALL_SECONDS = 180
RUN_SECONDS = 60

pytestmark = [pytest.mark.oracle, pytest.mark.skipif(shutil.which("node") is None, reason="node isn't installed")]


@pytest.fixture(scope="module")
def modules() -> Path:
    """node_modules outside the tree, kept from one run to the next; no lock file, which would name a registry."""
    manifest = (HERE / "package.json").read_bytes()
    folder = Path(tempfile.gettempdir()) / f"leveret-node-{os.getuid()}-{hashlib.sha256(manifest).hexdigest()[:12]}"
    if not (folder / "node_modules" / "amqplib" / "package.json").exists():
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / "package.json").write_bytes(manifest)
        npm = shutil.which("npm")
        assert npm is not None, "node is here, but npm isn't"
        command = [npm, "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel", "error"]
        installed = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
        assert installed.returncode == 0, installed.stdout + installed.stderr
    return folder / "node_modules"


def test_the_lessons_with_amqplib(url: str, modules: Path) -> None:
    command = ["node", str(HERE / "lessons.js"), url]
    environment = os.environ | {"NODE_PATH": str(modules)}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=RUN_SECONDS, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.split("\n")[:-1] == [f"{lesson}: ok" for lesson in ("direct", "topic", "consumerWithAck", "returnsAndErrors")]
