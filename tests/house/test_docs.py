"""The documents say what is there."""

import re
import subprocess

import pytest

import leveret as package
from broker.cli.main import COMMANDS, build_parser
from tests.house.conftest import ROOT, Run

README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))


def code(text: str) -> str:
    """The code blocks (fenced or indented) and code spans of a document, in its order."""
    return "\n".join(re.findall(r"```.*?```|^ {4}.*?$|`[^`]+`", text, flags=re.DOTALL | re.MULTILINE))


@pytest.mark.parametrize("document", [README, CONTRIBUTING], ids=["README", "CONTRIBUTING"])
def test_every_make_command_is_a_target(document: str) -> None:
    named = set(re.findall(r"\bmake ([a-z]+)", code(document)))
    assert named
    assert named <= TARGETS


def test_the_two_commands_come_first() -> None:
    assert re.findall(r"\bmake [a-z]+", code(README))[:2] == ["make run", "make test"]


def test_make_help_names_every_target() -> None:
    text = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^make (\w+)", text, flags=re.MULTILINE)) == TARGETS - {"help"}


def test_every_option_in_the_readme_is_one(leveret: Run) -> None:
    options = set(re.findall(r"(?<![\w-])--[a-z-]+", "\n".join(line for line in code(README).splitlines() if "leveret" in line)))
    helps = [
        leveret("--help").stdout,
        *(leveret(command.name, "--help").stdout for command in COMMANDS),
        leveret("log", "dump", "--help").stdout,
    ]
    known = set(re.findall(r"--[a-z-]+", "".join(helps)))
    assert options
    assert options <= known


def test_every_command_in_the_readme_is_in_the_table() -> None:
    named = set(re.findall(r"\bleveret ([a-z]+)\b(?! \()", code(README)))
    assert named <= {command.name for command in COMMANDS}


def test_every_command_of_the_table_can_be_parsed() -> None:
    for command in COMMANDS:
        assert command.name in build_parser(command.name).format_help()


def test_every_link_leads_somewhere() -> None:
    for document in (README, CONTRIBUTING):
        for target in re.findall(r"\]\(([^)#:]+)\)", document):
            assert (ROOT / target).exists(), target


def test_the_changelog_knows_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [Unreleased]" in changelog or f"## [{package.__version__}]" in changelog


ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
FILES = ARCHITECTURE.partition("## Files in reading order")[2].partition("\n## ")[0]
FOLDERS = re.findall(r"^\*\*((?:broker/)?\w+)/\*\* `", FILES, flags=re.MULTILINE)


def test_the_architecture_has_a_paragraph_for_each_folder() -> None:
    assert {"protocol", "storage", "broker/core", "broker/runtime", "broker/admin", "broker/metrics"} <= set(FOLDERS)


@pytest.mark.parametrize("folder", [each for each in FOLDERS if each not in ("broker/cli", "broker")])
def test_the_architecture_names_every_file_of_a_folder_and_no_other(folder: str) -> None:
    paragraph = FILES.partition(f"**{folder}/**")[2].partition("\n**")[0]
    named = {word.strip(",") for words in re.findall(r"`([^`]+)`", paragraph) for word in words.split() if not word.endswith(".md")}
    there = {path.stem if path.suffix else f"{path.name}/" for path in (ROOT / folder).iterdir() if not path.name.startswith("__")}
    assert named == there
