"""JSON text of facts. Names may be any octets (surrogates stand for what is no UTF-8), and JSON has text alone: these become U+FFFD."""

from __future__ import annotations

import json
from typing import Any

import orjson

from broker.documents import check


def loads(text: bytes) -> Any:
    """What JSON text says. Raises documents.Unfit, and another ValueError for what is no JSON."""
    document = orjson.loads(text)
    check(document)
    return document


def dumps(facts: Any) -> bytes:
    """The JSON text of dicts, lists, texts, numbers, booleans and None."""
    try:
        return orjson.dumps(facts, option=orjson.OPT_NON_STR_KEYS)
    except orjson.JSONEncodeError:
        # A lone surrogate, or a number of more than 64 bits.
        return json.dumps(_clean(facts), ensure_ascii=False, separators=(",", ":")).encode()


def _text(text: str) -> str:
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:
        # A surrogate that stands for no octet, as JSON can have it.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _clean(facts: Any) -> Any:
    match facts:
        case str():
            return _text(facts)
        case dict():
            return {_clean(str(name)): _clean(value) for name, value in facts.items()}
        case list() | tuple():
            return [_clean(value) for value in facts]
        case _:
            return facts
