"""What JSON looks like, less what differs from run to run: shapes that are JSON themselves.

"<int>"  "<float|null>"   a value of one of these types: null, boolean, int, float, string, list, object
{"key?": shape}           the key may be absent
{"<each>": shape}         a list of any length whose items are like this
{"<unordered>": [...]}    a list in any order
anything else             that value
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

TYPES = {type(None): "null", bool: "boolean", int: "int", float: "float", str: "string", list: "list", dict: "object"}
PLACEHOLDER = re.compile(r"<((?:null|boolean|int|float|string|list|object|any)(?:\|\w+)*)>")
EACH = "<each>"
UNORDERED = "<unordered>"
AT_LEAST = "<at least>"
ONE_OF = "<one of>"
ABSENT = "<absent>"


class Found(NamedTuple):
    """One difference: where, what had to be there, and what is."""

    path: str
    expected: Any
    got: Any

    def __str__(self) -> str:
        return f"{self.path or '(the whole)'}: expected {brief(self.expected)}, got {brief(self.got)}"


def brief(value: Any) -> str:
    text = ABSENT if value == ABSENT else json.dumps(value, sort_keys=True)
    return text if len(text) <= 300 else text[:300] + "..."


def types_of(shape: Any) -> set[str]:
    """The names of the types that a shape stands for."""
    if isinstance(shape, str) and (found := PLACEHOLDER.fullmatch(shape)):
        return set(found[1].split("|"))
    if is_special(shape):
        return {"list"}
    return {TYPES[type(shape)]}


def placeholder(*shapes: Any) -> str:
    return f"<{'|'.join(sorted(set().union(*map(types_of, shapes))))}>"


def is_special(shape: Any) -> bool:
    return isinstance(shape, dict) and not shape.keys().isdisjoint({EACH, UNORDERED, AT_LEAST})


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def merge(first: Any, second: Any) -> Any:
    """The shape of what is like either."""
    if first == second and type(first) is type(second):
        return first
    if isinstance(first, dict) and isinstance(second, dict):
        if EACH in first and EACH in second:
            return {EACH: merge(first[EACH], second[EACH])}
        if UNORDERED in first and UNORDERED in second:
            left, right = first[UNORDERED], second[UNORDERED]
            return {UNORDERED: merge(left, right)} if len(left) == len(right) else each([*left, *right])
        if not is_special(first) and not is_special(second):
            return _merge_objects(first, second)
    if isinstance(first, list) and isinstance(second, list):
        if len(first) == len(second):
            return [merge(left, right) for left, right in zip(first, second, strict=True)]
        return each([*first, *second])
    return placeholder(first, second)


def each(items: list[Any]) -> Any:
    """The shape of a list of any length with items like these; without any, of a list."""
    if not items:
        return "<list>"
    shape = items[0]
    for item in items[1:]:
        shape = merge(shape, item)
    return {EACH: shape}


def _merge_objects(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for key in dict.fromkeys(name.removesuffix("?") for name in (*first, *second)):
        values = [shape[name] for shape in (first, second) for name in (key, f"{key}?") if name in shape]
        always = key in first and key in second
        merged[key if always else f"{key}?"] = merge(*values) if len(values) == 2 else values[0]
    return merged


def differences(shape: Any, got: Any, path: str = "", *, extra: bool) -> Iterator[Found]:
    """Where `got` isn't like `shape`. With `extra`, keys that the shape doesn't have are welcome."""
    if isinstance(shape, str) and (found := PLACEHOLDER.fullmatch(shape)):
        if "any" not in (allowed := found[1].split("|")) and TYPES[type(got)] not in allowed:
            yield Found(path, shape, got)
    elif isinstance(shape, dict) and ONE_OF in shape:
        found_each = [list(differences(inner, got, path, extra=extra)) for inner in shape[ONE_OF]]
        yield from min(found_each, key=len)
    elif is_special(shape):
        yield from _list_differences(shape, got, path, extra)
    elif isinstance(shape, dict):
        if not isinstance(got, dict):
            yield Found(path, shape, got)
        else:
            yield from _object_differences(shape, got, path, extra)
    elif isinstance(shape, list):
        if not isinstance(got, list) or len(got) != len(shape):
            yield Found(path, shape, got)
        else:
            for index, (inner, item) in enumerate(zip(shape, got, strict=True)):
                yield from differences(inner, item, f"{path}[{index}]", extra=extra)
    elif type(shape) is not type(got) or shape != got:
        yield Found(path, shape, got)


def _object_differences(shape: dict[str, Any], got: dict[str, Any], path: str, extra: bool) -> Iterator[Found]:
    names = {name.removesuffix("?") for name in shape}
    for name, inner in shape.items():
        key = name.removesuffix("?")
        where = f"{path}.{key}" if path else key
        if key in got:
            yield from differences(inner, got[key], where, extra=extra)
        elif key == name:
            yield Found(where, inner, ABSENT)
    for key in got:
        # A client that sees this key takes the answer for a failure, whatever the status.
        if key not in names and (not extra or key == "error"):
            yield Found(f"{path}.{key}" if path else key, ABSENT, got[key])


def _list_differences(shape: dict[str, Any], got: Any, path: str, extra: bool) -> Iterator[Found]:
    if not isinstance(got, list):
        yield Found(path, shape, got)
    elif EACH in shape:
        for index, item in enumerate(got):
            yield from differences(shape[EACH], item, f"{path}[{index}]", extra=extra)
    else:
        more = AT_LEAST in shape
        yield from _unordered_differences(shape[AT_LEAST if more else UNORDERED], got, path, extra, more)


def _unordered_differences(shapes: list[Any], got: list[Any], path: str, extra: bool, more: bool) -> Iterator[Found]:
    """Each shape takes the item that is least unlike it."""
    rest = list(got)
    for shape in shapes:
        if not rest:
            yield Found(f"{path}[]", shape, ABSENT)
            continue
        found = [list(differences(shape, item, f"{path}[]", extra=extra)) for item in rest]
        best = min(range(len(rest)), key=lambda index: len(found[index]))
        yield from found[best]
        del rest[best]
    for item in () if more else rest:
        yield Found(f"{path}[]", ABSENT, item)
