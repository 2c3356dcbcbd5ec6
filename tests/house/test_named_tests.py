"""The documents name tests: each of them is there, and docs/compatibility.md leaves nothing out."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from pamqp.commands import INDEX_MAPPING

from broker.core.arguments import ARGUMENTS, CONSUMER_ARGUMENTS
from broker.core.exchanges import exchange_types
from broker.core.policy import KEYS
from tests.house.conftest import ROOT

COMPATIBILITY = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")
DOCUMENTS = sorted((ROOT / "docs").rglob("*.md"))
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)(?:::(\w+))?|`::(\w+)(?:::(\w+))?")


@cache
def names_in(path: Path) -> frozenset[str]:
    """The tests and classes of tests in a file; those in classes with and without the name of the class."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            methods = {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
            found |= methods | {f"{node.name}::{name}" for name in methods}
    return frozenset(found)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_test_that_a_document_names_is_there(document: Path) -> None:
    path: Path | None = None
    for match in NAMED.finditer(document.read_text(encoding="utf-8")):
        if match[1]:
            path = ROOT / match[1]
            assert path.exists(), match[1]
        first, second = (match[2], match[3]) if match[1] else (match[4], match[5])
        assert path is not None
        name = f"{first}::{second}" if second else first
        assert name in names_in(path), f"{document.name} names {path.relative_to(ROOT)}::{name}"


def test_every_claim_about_security_has_a_test() -> None:
    """Each row of the page's tables but those of the hostile inputs, which one test sends, and each paragraph that speaks of a test."""
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8").split("<!-- begin")[0]
    rows = [
        line for line in page.splitlines() if line.startswith("| ") and not line.startswith(("| who |", "| limit |", "| what it does |"))
    ]
    assert len(rows) > 30
    for row in rows:
        assert NAMED.search(row), row


def code_words(text: str) -> set[str]:
    return set(re.findall(r"[\w.-]+", text))


def test_every_method_is_listed() -> None:
    words = code_words(COMPATIBILITY)
    for command in INDEX_MAPPING.values():
        kind, _, method = command.name.partition(".")
        name = re.sub(r"(?<!^)(?=[A-Z])", "-", method).lower()
        if name == "cancel-ok" and kind == "Basic":
            continue
        assert f"{kind.lower()}.{name}" in words or name in words, command.name


@pytest.mark.parametrize("name", sorted({row.name for row in (*ARGUMENTS, *CONSUMER_ARGUMENTS)} | set(exchange_types) | set(KEYS)))
def test_every_argument_exchange_type_and_policy_key_is_listed(name: str) -> None:
    assert name in code_words(COMPATIBILITY)
