"""All settings, and how to find one by a file's key or by an environment variable."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from broker.settings import access, http, logging, network, node, rabbitmq
from broker.settings.setting import Setting

SETTINGS: Final = network.ROWS + http.ROWS + access.ROWS + node.ROWS + logging.ROWS
VARIABLE_PREFIX: Final = "LEVERET_"

_EXACT: Final = {row.name: row for row in SETTINGS if not row.is_family}
_FAMILIES: Final = {tuple(row.name.split(".")): row for row in SETTINGS if row.is_family}
_DOT: Final = re.compile(r"(?<!\\)\.")


def parts(key: str) -> list[str]:
    """Return the parts of a key; a dot inside one is written `\\.`."""
    return [part.replace("\\.", ".") for part in _DOT.split(key)]


def find(key: str) -> Setting | None:
    """Return the setting that `key` of a file means, None if there is none."""
    if key in _EXACT:
        return _EXACT[key]
    typed = _DOT.split(key)
    for pattern, row in _FAMILIES.items():
        if _fits(typed, pattern):
            return row
    return None


def is_rabbitmqs(key: str) -> bool:
    """Return whether RabbitMQ has this key, in 3.13 or 4."""
    if key in rabbitmq.KEYS:
        return True
    typed = _DOT.split(key)
    return any(_fits(typed, pattern) for pattern in rabbitmq.FAMILIES)


def _fits(typed: list[str], pattern: tuple[str, ...]) -> bool:
    return len(typed) == len(pattern) and all(part and wanted in ("*", part) for part, wanted in zip(typed, pattern, strict=True))


@lru_cache(maxsize=256)
def nearest(key: str) -> str | None:
    """Return the known key that looks most like `key`, None if none does."""
    import difflib

    shown = (row.example.partition(" = ")[0] if row.is_family else row.name for row in SETTINGS)
    near = difflib.get_close_matches(key[:100], [*shown, *sorted(rabbitmq.KEYS)], n=1)
    return near[0] if near else None


def variable_of_key(key: str) -> str:
    """Return the environment variable for a key: LEVERET_LISTENERS_TCP_DEFAULT for listeners.tcp.default."""
    return VARIABLE_PREFIX + key.upper().replace(".", "_")


def key_of_variable(variable: str) -> str | None:
    """Return the key that a LEVERET_ variable means, None if there is none; what stands for a `*` is taken in lower case."""
    for name in _EXACT:
        if variable == variable_of_key(name):
            return name
    for pattern, row in sorted(_FAMILIES.items(), key=lambda family: -len(family[0])):
        found = re.fullmatch(variable_of_key(row.name).replace("*", "(.+)"), variable)
        if found is not None:
            chosen = found[1].lower().replace(".", "\\.")
            return ".".join(chosen if part == "*" else part for part in pattern)
    return None
