"""The versions of RabbitMQ that differ in what is reported."""

from __future__ import annotations

import re
from typing import Final

VERSIONS: Final = ("3.13", "4.0", "4.1", "4.2", "4.3")
"""Oldest first."""
LATEST: Final = VERSIONS[-1]
_ALIASES: Final = {"4.x": LATEST, "4": LATEST, "3": VERSIONS[0], "3.x": VERSIONS[0]}


class UnknownVersion(ValueError):
    """The text says which there are."""


def parse(text: str) -> str:
    """The version that is meant: 4.3, 4.3.5 and 4.x are one. Raises UnknownVersion."""
    wanted = _ALIASES.get(text, text)
    found = re.fullmatch(r"v?(\d+\.\d+)(\.\d+)?", wanted)
    if found is None or found[1] not in VERSIONS:
        raise UnknownVersion(f"'{text}' is none of the versions that are known: {', '.join(VERSIONS)}, or 4.x for {LATEST}")
    return found[1]


def applies(version: str, since: str | None, until: str | None) -> bool:
    """Whether what holds since one version (None: always did) and no longer from another one on (None: still does) holds for this one."""
    at = VERSIONS.index(version)
    return (since is None or at >= VERSIONS.index(since)) and (until is None or at < VERSIONS.index(until))
