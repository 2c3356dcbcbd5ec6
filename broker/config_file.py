"""The grammar of rabbitmq.conf and leveret.conf (RabbitMQ's sysctl format).

    # a comment, also at the end of a line
    heartbeat = 30
    default_pass = 'a value with a # in it'
    default_user = $(MY_USER)

One `key = value` a line; single or double quotes are optional and keep a `#`; a value between triple single quotes may have several
lines (RabbitMQ 4.3); `$(NAME)` is replaced by the environment's NAME.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from broker.settings.table import holds_secret, is_rabbitmqs

KEY: Final = re.compile(r"[^\s=#'\"$]+")
LONG_QUOTE: Final = "'''"
VARIABLE: Final = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")


class Entry(NamedTuple):
    """One setting as it stands in the file; lines count from 1."""

    line: int
    key: str
    value: str


def read(path: Path, environ: Mapping[str, str]) -> tuple[list[Entry], list[str]]:
    """Return the file's entries in order, and its problems, each a line of text that names the place.

    A file that can't be read is a problem as well; nothing is raised.
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
        try:
            entries.append(Entry(line, *_entry(stripped, lines, environ)))
        except ValueError as error:
            problems.append(f"{path}:{line}: {error}")
    return entries, problems


def shown(key: str, value: str) -> str:
    """Return how an error shows the setting: a secret stays out of terminals and logs."""
    return f"{key} = {'***' if holds_secret(key) or value.startswith('encrypted:') else value}"


def line_of(key: str, value: str) -> str | None:
    """Return the line that gives this value, None where the format has none for it: it can't escape quotes, breaks and `$(`."""
    if VARIABLE.search(value) or "\n" in value or "\r" in value or not value or not KEY.fullmatch(key):
        return None
    if any("\ud800" <= character <= "\udfff" for character in value):
        return None  # bytes of the environment that aren't UTF-8
    if value == value.strip() and value[0] not in "'\"" and "#" not in value:
        return f"{key} = {value}"
    quotes = (quote for quote in ("'", '"', LONG_QUOTE) if quote not in value and not (quote == LONG_QUOTE and value.endswith("'")))
    quote = next(quotes, None)
    return None if quote is None else f"{key} = {quote}{value}{quote}"


def _entry(text: str, following: Iterator[tuple[int, str]], environ: Mapping[str, str]) -> tuple[str, str]:
    """Return key and value of one line, or of it and those that follow; a ValueError says what is wrong with it."""
    key, equals, rest = text.partition("=")
    key = key.strip()
    if not equals or not KEY.fullmatch(key):
        raise ValueError(f"{_without_secret(text)}: expected `key = value`")
    rest = rest.strip()
    value = _long(key, rest, following) if rest.startswith(LONG_QUOTE) else _unquoted(key, rest)
    if not value and not is_rabbitmqs(key):
        raise ValueError(f"{key} =: expected a value after the equals sign")
    return key, VARIABLE.sub(lambda match: _variable(key, match[1], environ), value)


def _long(key: str, text: str, following: Iterator[tuple[int, str]]) -> str:
    """The value between three quotes, which may end lines later."""
    text = text.removeprefix(LONG_QUOTE)
    while LONG_QUOTE not in text:
        line = next(following, None)
        if line is None:
            raise ValueError(f"{shown(key, text)}: expected three quotes {LONG_QUOTE} after the value that begins with them")
        text += f"\n{line[1]}"
    value, _, after = text.partition(LONG_QUOTE)
    if after.strip() and not after.lstrip().startswith("#"):
        raise ValueError(f"{shown(key, value)}: expected nothing but a comment after the three quotes {LONG_QUOTE}")
    return value


def _without_secret(text: str) -> str:
    """A line that isn't a setting may still hold a secret: `default_pass secret`."""
    return f"{text.split(None, 1)[0][:40]} ***" if holds_secret(text) and len(text.split()) > 1 else text


def _unquoted(key: str, text: str) -> str:
    quote = text[:1]
    if quote not in ("'", '"'):
        return text.partition("#")[0].rstrip()
    value, closed, after = text[1:].partition(quote)
    if not closed or (after.strip() and not after.lstrip().startswith("#")):
        raise ValueError(f"{shown(key, text)}: expected the value to end with the quote {quote} that it begins with")
    return value


def _variable(key: str, name: str, environ: Mapping[str, str]) -> str:
    if name not in environ:
        raise ValueError(f"{key} = $({name}): expected an environment variable of that name")
    return environ[name]
