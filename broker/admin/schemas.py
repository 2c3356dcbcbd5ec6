"""What JSON looks like, in a few words, which stand beside what makes it; `of` and `of_fields` turn them into JSON Schema.

string  integer  number  boolean  object  array  null  any
'auto'|'base64'      one of these words
string|null          either
[Queue]  {integer}   a list of these; an object whose values are these
Queue                the schema of that name (SCHEMAS of shapes and resources)

{"name vhost": "string!", "arguments": "object"}     the fields of an object; with a `!` those that are always there
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

Fields = dict[str, str]
"""By the names of fields, one or several with spaces between them: their type."""
Query = dict[str, str]
"""By the names of parameters: `type: what it does`."""

NO_BODY: Final[Fields] = {}
"""Nothing is read of what is sent."""
_PREFIX: Final = "#/components/schemas/"
_BRACKETS: Final = {"[": "]", "{": "}"}


def counted(names: str, rate: str = "Rate", kind: str = "integer") -> Fields:
    """Fields of counters: `x`, and `x_details` with how fast it changes."""
    return {names: kind, " ".join(f"{name}_details" for name in names.split()): rate}


def of_fields(fields: Mapping[str, str]) -> dict[str, Any]:
    """The schema of an object."""
    properties = {name: of(kind.removesuffix("!")) for names, kind in fields.items() for name in names.split()}
    required = [name for names, kind in fields.items() if kind.endswith("!") for name in names.split()]
    return {"type": "object", "properties": properties} | ({"required": required} if required else {})


def of(kind: str) -> dict[str, Any]:
    """The schema of a value."""
    parts = _split(kind)
    if len(parts) == 1:
        return _of_one(kind)
    words = [part[1:-1] for part in parts if part.startswith("'")]
    others = [_of_one(part) for part in parts if not part.startswith("'")]
    if not words and all(other.keys() == {"type"} for other in others):
        return {"type": [other["type"] for other in others]}
    return {"anyOf": [{"enum": words}, *others]} if words and others else {"enum": words} if words else {"anyOf": others}


def _of_one(kind: str) -> dict[str, Any]:
    if kind == "any":
        return {}
    if kind.startswith("'"):
        return {"const": kind[1:-1]}
    if kind.startswith("["):
        return {"type": "array", "items": of(kind[1:-1])}
    if kind.startswith("{"):
        return {"type": "object", "additionalProperties": of(kind[1:-1])}
    return {"$ref": f"{_PREFIX}{kind}"} if kind[0].isupper() else {"type": kind}


def _split(kind: str) -> list[str]:
    """At each `|` that isn't within brackets."""
    parts, depth, begin = [], 0, 0
    for position, character in enumerate(kind):
        if character in _BRACKETS:
            depth += 1
        elif character in _BRACKETS.values():
            depth -= 1
        elif character == "|" and not depth:
            parts.append(kind[begin:position])
            begin = position + 1
    return [*parts, kind[begin:]]
