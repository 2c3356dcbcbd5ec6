"""The grammar of rabbitmq.conf and leveret.conf (RabbitMQ's sysctl format).

    # a comment, also at the end of a line
    heartbeat = 30
    default_pass = 'a value with a # in it'
    default_user = $(MY_USER)
    default_pass = $(<secret.txt)
    include conf.d/*.conf

One `key = value` a line; quotes are optional and keep a `#`. A value between single quotes, or triple ones (RabbitMQ 4.3), may have several
lines. `$(NAME)` is replaced by the environment's NAME; a value that is `$(<FILE)` is what the file holds, less the line break at its end.
A line `include FILE` stands for the lines of the files of that name or pattern. Files are looked for beside the one that names them.
(https://github.com/Kyorai/cuttlefish, conf_parse.peg of 3.4 and 3.9; there double quotes are part of the value.)
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from broker.settings.table import find, is_rabbitmqs

KEY: Final = re.compile(r"[^\s=#'\"$]+")
NAME: Final = re.compile(r"(?:[A-Za-z0-9_.-]|\\\.)+")
WORD: Final = re.compile(r"[A-Za-z0-9_.]+")
LONG_QUOTE: Final = "'''"
INCLUDE: Final = re.compile(r"include\s+([^\s=#]+)\s*(?:#.*)?")
FROM_FILE: Final = re.compile(r"\$\(<(.+)\)")
VARIABLE: Final = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")


class Entry(NamedTuple):
    """One setting as it stands in a file; lines count from 1."""

    path: Path
    line: int
    key: str
    value: str


def read(path: Path, environ: Mapping[str, str], within: tuple[Path, ...] = ()) -> tuple[list[Entry], list[str]]:
    """Return the file's entries in order, and its problems, each a line of text that names the place.

    A file that can't be read is a problem as well; nothing is raised. `within` are the files that include this one.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        return [], [f"{path}: the configuration file can't be read: {error.strerror or error}"]
    except UnicodeDecodeError as error:
        return [], [f"{path}: the configuration file isn't UTF-8 text: {error.reason} at byte {error.start}"]
    entries: list[Entry] = []
    problems: list[str] = []
    lines = enumerate(text.split("\n"), start=1)
    for line, raw in lines:
        stripped = raw.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if (include := INCLUDE.fullmatch(stripped)) is not None:
            included, told = _included((*within, path), line, include[1], environ)
            entries += included
            problems += told
            continue
        try:
            entries.append(Entry(path, line, *_entry(path, stripped, lines, environ)))
        except ValueError as error:
            problems.append(f"{path}:{line}: {error}")
    return entries, problems


def _included(within: tuple[Path, ...], line: int, pattern: str, environ: Mapping[str, str]) -> tuple[list[Entry], list[str]]:
    """What the files give that a line includes, in the order of their names. A pattern may have none, as in RabbitMQ."""
    entries: list[Entry] = []
    problems: list[str] = []
    for name in sorted(glob.glob(f"{glob.escape(str(within[-1].parent))}/{pattern}")):
        if os.path.realpath(name) in map(os.path.realpath, within):
            problems.append(f"{within[-1]}:{line}: include {pattern}: expected no file that includes itself: {name}")
        elif os.path.isfile(name):
            included, told = read(Path(name), environ, within)
            entries += included
            problems += told
    return entries, problems


def name_of(key: str) -> str:
    """Return what an error may show of a key that isn't known: where a separator is missing, the rest may be a secret."""
    found = NAME.match(key)
    return found[0] if found is not None else "a key"


def line_of(key: str, value: str) -> str | None:
    """Return the line that gives this value, None where the format has none for it: it can't escape quotes, breaks and `$(`."""
    if VARIABLE.search(value) or FROM_FILE.fullmatch(value) or "\n" in value or "\r" in value or not KEY.fullmatch(key):
        return None
    if not value:
        return f"{key} = ''"
    if any("\ud800" <= character <= "\udfff" for character in value):
        return None  # bytes of the environment that aren't UTF-8
    if value == value.strip() and value[0] not in "'\"" and "#" not in value:
        return f"{key} = {value}"
    quotes = (quote for quote in ("'", '"', LONG_QUOTE) if quote not in value and not (quote == LONG_QUOTE and value.endswith("'")))
    quote = next(quotes, None)
    return None if quote is None else f"{key} = {quote}{value}{quote}"


def _entry(path: Path, text: str, following: Iterator[tuple[int, str]], environ: Mapping[str, str]) -> tuple[str, str]:
    """Return key and value of one line, or of it and those that follow; a ValueError says what is wrong with it."""
    key, equals, rest = text.partition("=")
    key = key.strip()
    if not equals or not KEY.fullmatch(key):
        # Whatever else stands there may be a secret: `default_pass secret`.
        start = WORD.match(text)
        raise ValueError(f"{start[0]}: expected `key = value`" if start is not None else "expected `key = value`")
    rest = rest.strip()
    value = _unquoted(key, rest, following)
    if (named := FROM_FILE.fullmatch(value)) is not None:
        return key, _from_file(key, path.parent / named[1].strip())
    if not value and not is_rabbitmqs(key) and not (rest.startswith(("'", '"')) and _may_be_empty(key)):
        raise ValueError(f"{name_of(key)} =: expected a value after the equals sign")
    return key, VARIABLE.sub(lambda match: _variable(key, match[1], environ), value)


def _may_be_empty(key: str) -> bool:
    """A pattern that is empty lets nobody do anything."""
    row = find(key)
    return row is not None and row.kind == "regex"


def _from_file(key: str, path: Path) -> str:
    try:
        value = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it isn't UTF-8 text"
        raise ValueError(f"{name_of(key)} = $(<{path}): expected a file that holds the value: {reason}") from error
    return value.removesuffix("\n").removesuffix("\r")


def _unquoted(key: str, text: str, following: Iterator[tuple[int, str]]) -> str:
    """The value, which may end lines later if it is within single quotes."""
    quote = next((quote for quote in (LONG_QUOTE, "'", '"') if text.startswith(quote)), "")
    if not quote:
        return text.partition("#")[0].rstrip()
    value, closed, after = text.removeprefix(quote).partition(quote)
    while not closed and quote != '"' and (line := next(following, None)) is not None:
        more, closed, after = line[1].partition(quote)
        value += f"\n{more}"
    if not closed or (after.strip() and not after.lstrip().startswith("#")):
        raise ValueError(f"{name_of(key)}: expected the value to end with the quote {quote} that it begins with")
    return value


def _variable(key: str, name: str, environ: Mapping[str, str]) -> str:
    if name not in environ:
        raise ValueError(f"{name_of(key)} = $({name}): expected an environment variable of that name")
    return environ[name]
