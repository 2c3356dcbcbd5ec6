"""Sizes: as they are typed (100MB), and as they are shown (0.05 gb)."""

from __future__ import annotations

import re
from typing import Final

from broker.cli.ctl.errors import bad_argument

UNITS: Final = {
    "bytes": 1,
    **dict.fromkeys(("k", "kb", "kilobytes"), 10**3),
    **dict.fromkeys(("ki", "kib"), 2**10),
    **dict.fromkeys(("m", "mb", "megabytes"), 10**6),
    **dict.fromkeys(("mi", "mib"), 2**20),
    **dict.fromkeys(("g", "gb", "gigabytes"), 10**9),
    **dict.fromkeys(("gi", "gib"), 2**30),
    **dict.fromkeys(("t", "tb", "terabytes"), 10**12),
    **dict.fromkeys(("ti", "tib"), 2**40),
    **dict.fromkeys(("p", "pb", "petabytes"), 10**15),
    **dict.fromkeys(("pi", "pib"), 2**50),
}
"""What --unit takes."""
TYPED: Final = {"": 1, "k": 2**10, "kiB": 2**10, "M": 2**20, "MiB": 2**20, "G": 2**30, "GiB": 2**30, "kB": 10**3, "MB": 10**6, "GB": 10**9}
"""What may stand behind a number."""
_SIZE: Final = re.compile(r"(-?[0-9]+)(.*)", re.DOTALL)
_FRACTION: Final = re.compile(r"[0-9]+(\.[0-9]+)?")


def shown(size_bytes: float, unit: str) -> str:
    """Rounded to four places; whole bytes."""
    if unit == "bytes":
        return str(size_bytes)
    return str(round(size_bytes / UNITS[unit.lower()], 4))


def size(text: str) -> int:
    """Bytes. Raises Invalid."""
    match = _SIZE.fullmatch(text)
    if match is None or match[2] not in TYPED or int(match[1]) < 0:
        raise bad_argument()
    return int(match[1]) * TYPED[match[2]]


def has_fraction(text: str) -> bool:
    """Whether it is a number with a point and maybe a unit, where a whole one is wanted."""
    return re.match(r"[0-9]+\.[0-9]", text) is not None


def fraction(text: str) -> float:
    """A number, not negative. Raises Invalid."""
    if _FRACTION.fullmatch(text) is None:
        raise bad_argument()
    return float(text)
