"""JSON that is to be kept: what of it could be stored, and never be shown or sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection

DEPTH_MAX: Final = 64
"""Levels, as in AMQP's tables."""


class Unfit(ValueError):
    """The text says why."""


def check(document: Any) -> None:
    """Raises Unfit for more levels than DEPTH_MAX, and for text that is none: surrogates that stand for no octet (storage and JSON
    have no place for them)."""
    level: list[Any] = [document]
    for _ in range(DEPTH_MAX + 1):
        below: list[Any] = []
        for value in level:
            if isinstance(value, str):
                _check_text(value)
            else:
                below += _parts(value)
        if not below:
            return
        level = below
    raise Unfit(f"the JSON text has more than {DEPTH_MAX} levels")


def _parts(value: Any) -> Collection[Any]:
    if isinstance(value, dict):
        for name in value:
            _check_text(name)
        return value.values()
    return value if isinstance(value, list) else ()


def _check_text(text: str) -> None:
    if text.isascii():
        return
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise Unfit("the JSON text has a lone surrogate, which stands for no character") from None
