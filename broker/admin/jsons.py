"""JSON text of facts. Names may be any octets (surrogates stand for what is no UTF-8), and JSON has text alone: these become U+FFFD."""

from __future__ import annotations

import json
from typing import Any, Final

import orjson

DEPTH_MAX: Final = 64
"""Levels of what is sent, as in AMQP's tables: what is deeper could be stored and never shown again."""


class TooDeep(ValueError):
    """See DEPTH_MAX."""


def loads(text: bytes) -> Any:
    """What JSON text says. Raises TooDeep, and another ValueError for what is no JSON."""
    document = orjson.loads(text)
    check_depth(document)
    return document


def check_depth(document: Any) -> None:
    """Raises TooDeep."""
    level = [document]
    for _ in range(DEPTH_MAX + 1):
        level = [
            each for value in level if isinstance(value, dict | list) for each in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return
    raise TooDeep(f"the JSON text has more than {DEPTH_MAX} levels")


def dumps(facts: Any) -> bytes:
    """The JSON text of dicts, lists, texts, numbers, booleans and None."""
    try:
        return orjson.dumps(facts, option=orjson.OPT_NON_STR_KEYS)
    except orjson.JSONEncodeError:
        # A lone surrogate, or a number of more than 64 bits.
        return json.dumps(_clean(facts), ensure_ascii=False, separators=(",", ":")).encode()


def _clean(facts: Any) -> Any:
    match facts:
        case str():
            return facts.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        case dict():
            return {_clean(str(name)): _clean(value) for name, value in facts.items()}
        case list() | tuple():
            return [_clean(value) for value in facts]
        case _:
            return facts
