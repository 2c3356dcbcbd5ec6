"""Who may import whom (docs/architecture.md): the contracts in pyproject.toml hold, and each of them would notice."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.house.conftest import ROOT, clean_environment

PACKAGES = ("leveret", "protocol", "storage", "broker")
CANARIES = {
    "leveret/canary.py": "import broker.core",
    "protocol/canary.py": "import asyncio",
    "storage/canary.py": "import protocol.constants",
    "broker/core/canary.py": "import random\nimport protocol.framing\nimport broker.runtime.turn",
    "broker/runtime/canary.py": "import storage.memory",
    "broker/access/canary.py": "import broker.core.queue",
    "broker/admin/canary.py": "import broker.runtime.turn",
    "broker/cli/canary.py": "import broker.core.queue",
    "broker/logs/canary.py": "import broker.testing.rig",
}
"""A forbidden import for each contract."""


def lint_imports(tree: Path) -> str:
    code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(cache_dir=None, no_cache=True))"
    environment = clean_environment(COLUMNS="300", NO_COLOR="1")
    done = subprocess.run([sys.executable, "-c", code], cwd=tree, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


def test_the_tree_keeps_every_contract() -> None:
    text = lint_imports(ROOT)
    assert re.search(r"Contracts: \d+ kept, 0 broken", text), text


def test_every_contract_notices_a_forbidden_import(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in CANARIES.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        (file.parent / "__init__.py").touch()
        file.write_text(text + "\n")
    for name in ("storage/memory.py", "broker/core/queue.py", "broker/runtime/turn.py"):
        (tmp_path / name).touch()
    text = lint_imports(tmp_path)
    assert re.search(r"Contracts: 0 kept, \d+ broken", text), text


def test_every_folder_of_the_server_is_a_package() -> None:
    """import-linter and the wheel's users pass over a folder without __init__.py."""
    folders = {file.parent for package in PACKAGES for file in (ROOT / package).rglob("*.py")}
    assert not [os.fspath(folder) for folder in folders if not (folder / "__init__.py").is_file()]
