"""docs/testing.md and examples/: every example runs, and finds what it says that it finds."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.conftest import ROOT, clean_environment

GUIDE = ROOT / "docs" / "testing.md"
ORDERS = ROOT / "examples" / "orders"
BLOCK = re.compile(r"^```python\n# (\S+)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
MISTAKES = {
    "AcksTooEarly": "test_an_order_outlives_the_worker",
    "ChargesAgain": "test_an_order_that_comes_twice_is_charged_once",
    "TriesForEver": "test_an_order_that_always_fails_is_put_aside",
}
SECONDS = 120


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=clean_environment(), capture_output=True, text=True, timeout=SECONDS, check=False
    )


def pytest_in(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return run(folder, "-m", "pytest", "-q", "-rfE", "-p", "no:cacheprovider", "-W", "ignore", *arguments)


def test_every_example_of_the_guide_runs(tmp_path: Path) -> None:
    blocks = dict(BLOCK.findall(GUIDE.read_text(encoding="utf-8")))
    assert len(blocks) == GUIDE.read_text(encoding="utf-8").count("```python\n") > 10, "each begins with the name of its file"
    for name, text in blocks.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n", encoding="utf-8")
    done = pytest_in(tmp_path)
    assert done.returncode == 0, done.stdout
    script = run(tmp_path, "script.py")
    assert script.returncode == 0, script.stderr


def test_the_example_project_passes_its_tests() -> None:
    done = pytest_in(ORDERS)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_example_finds_a_mistake(mistake: str) -> None:
    done = pytest_in(ORDERS, "--worker", f"mistakes:{mistake}", "tests/test_worker.py")
    failed = re.findall(r"^FAILED tests/test_worker\.py::(\w+)", done.stdout, flags=re.MULTILINE)
    assert MISTAKES[mistake] in failed, done.stdout
    assert "leveret: what the broker saw" in done.stdout
