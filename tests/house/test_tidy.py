"""What a reviewer would otherwise have to say again and again."""

import ast
import re
from pathlib import Path

import pytest

from tests.house.conftest import ROOT

SERVER = [file for package in ("leveret", "protocol", "storage", "broker") for file in sorted((ROOT / package).rglob("*.py"))]
TEXTS = [*SERVER, *sorted((ROOT / "tests").rglob("*.py")), ROOT / "Makefile", ROOT / "pyproject.toml"]
LINES_MAX = 600
UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")


def name_of(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("file", SERVER, ids=name_of)
def test_server_code(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        where = f"{name_of(file)}:{getattr(node, 'lineno', 0)}"
        prints = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        assert not prints, f"{where}: log, don't print"
        assert not (isinstance(node, ast.ExceptHandler) and node.type is None), f"{where}: name the exception"


@pytest.mark.parametrize("file", SERVER, ids=name_of)
def test_files_are_short(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= LINES_MAX, "one noun a file: this one has grown two"


@pytest.mark.parametrize("file", TEXTS, ids=name_of)
def test_files_are_finished(file: Path) -> None:
    lines = file.read_text(encoding="utf-8").splitlines()
    unfinished = [number for number, line in enumerate(lines, start=1) if UNFINISHED.search(line)]
    assert not unfinished, "open work is an issue, and not a comment"
