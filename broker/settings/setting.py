"""A row of the table of settings, and short ways to write one."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from broker.config import LOG_LEVELS

SIZE_UNIT: Final = "bytes, or with a unit: kB, MB, GB, TB, KiB, MiB, GiB, TiB"
BINARY_SIZE_UNIT: Final = "bytes, or with a unit, all of them powers of 1024 here: kB, MB, GB, TB, KiB, MiB, GiB, TiB"
SIZE_MAX: Final = 2**63 - 1
INT_MAX: Final = 2**32 - 1
"""Erlang's longest timer, and more than any count that is meant."""
MS_MAX: Final = 315_360_000_000
"""Ten years, RabbitMQ's bound for times to live."""

_NO_WORDS: Final[Mapping[str, Any]] = MappingProxyType({})


class Setting(NamedTuple):
    """A row of the table.

    `attribute` is where the value goes: a path in Config (`log.dir`), or what assembly.py makes of several keys; empty for a key that is
    taken and changes nothing. `kind` names a type of validation.py; `low` and `high` bound it (numbers in the file's unit, texts in
    bytes); a text in `words` stands for the value there, whatever the kind. `expected` ends the sentence "expected ..." of an error.
    A `*` in the name stands for one part of a key. `default` is None where nothing is given; `example` is shown for such rows in
    conf/leveret.conf. The value of a `secret` row is never shown.
    """

    name: str
    attribute: str
    kind: str
    default: str | None
    unit: str
    expected: str
    doc: str
    low: float = 0
    high: float = 0
    example: str = ""
    words: Mapping[str, Any] = _NO_WORDS
    secret: bool = False

    @property
    def is_family(self) -> bool:
        """Whether it stands for many keys."""
        return "*" in self.name


def boolean(name: str, attribute: str, default: str | None, doc: str, example: str = "") -> Setting:
    """true or false."""
    return Setting(name, attribute, "boolean", default, "true or false", "true or false", doc, example=example)


def choice(
    name: str, attribute: str, default: str | None, words: Mapping[str, Any], doc: str, example: str = "", expected: str = ""
) -> Setting:
    """One of `words`, which says what each means; `expected` where not all are named in an error."""
    text = expected or (f"one of {', '.join(words)}" if len(words) > 2 else " or ".join(words))
    return Setting(name, attribute, "choice", default, "word", text, doc, example=example, words=words)


def level(name: str, attribute: str, default: str | None, doc: str, example: str = "") -> Setting:
    """A level of the log. Nothing is as severe as RabbitMQ's alert and emergency, so these log nothing."""
    words = {word: word for word in LOG_LEVELS} | {"alert": "none", "emergency": "none"}
    return choice(name, attribute, default, words, doc, example, f"one of {', '.join(LOG_LEVELS)}")


def integer(
    name: str,
    attribute: str,
    default: str | None,
    unit: str,
    low: int,
    high: int,
    doc: str,
    *,
    words: Mapping[str, Any] = _NO_WORDS,
    example: str = "",
    kind: str = "integer",
) -> Setting:
    """A whole number of `unit`, or one of `words`; `kind` where it becomes something else (`milliseconds`: seconds)."""
    counted = f" of {unit}" if unit in ("seconds", "milliseconds", "bytes") else ""
    either = "".join(f"{word}, or " for word in words)
    return Setting(
        name, attribute, kind, default, unit, f"{either}a whole number{counted} from {low} to {high}", doc, low, high, example, words
    )


def milliseconds(
    name: str,
    attribute: str,
    default: str | None,
    low: int,
    high: int,
    doc: str,
    *,
    words: Mapping[str, Any] = _NO_WORDS,
    example: str = "",
) -> Setting:
    """A whole number of milliseconds; seconds in Config."""
    return integer(name, attribute, default, "milliseconds", low, high, doc, words=words, example=example, kind="milliseconds")


def size(name: str, attribute: str, default: str | None, low: int, high: int, doc: str, example: str = "") -> Setting:
    """Bytes, with or without a unit."""
    return Setting(name, attribute, "size", default, SIZE_UNIT, f"a size from {low} to {high} bytes", doc, low, high, example)


def text(name: str, attribute: str, default: str | None, what: str, doc: str, example: str = "", *, high: int = 255) -> Setting:
    """A text of at most `high` bytes; `what` is what it is, with its article."""
    return Setting(name, attribute, "text", default, "text", f"{what} of 1 to {high} bytes", doc, 1, high, example)


def secret(name: str, attribute: str, default: str | None, what: str, doc: str, example: str = "", *, high: int = 255) -> Setting:
    """A text that is never shown."""
    return text(name, attribute, default, what, doc, example, high=high)._replace(secret=True)


def regex(name: str, attribute: str, default: str | None, doc: str, example: str = "") -> Setting:
    """A regular expression."""
    return Setting(name, attribute, "regex", default, "regular expression", "a regular expression", doc, example=example)


def file(name: str, attribute: str, doc: str, example: str) -> Setting:
    """A file that is there and can be read, as RabbitMQ wants it at start."""
    return Setting(name, attribute, "file", None, "path", "a file that is there and can be read", doc, example=example)


def path(name: str, attribute: str, doc: str, example: str, words: Mapping[str, Any] = _NO_WORDS) -> Setting:
    """A path, whatever is there."""
    either = "".join(f"{word}, or " for word in words)
    return Setting(name, attribute, "path", None, "path", f"{either}a path", doc, example=example, words=words)
