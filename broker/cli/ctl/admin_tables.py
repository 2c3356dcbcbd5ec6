"""The formats of the classic rabbitmqadmin: JSON objects as tables, one way or another."""

from __future__ import annotations

import json
import sys
from typing import Any, Final

FIRST: Final = ("vhost", "name", "type", "source", "destination", "destination_type", "routing_key")
"""Columns that stand in front where all are shown."""
RULE: Final = "\n" + "-" * 80 + "\n"


def show(answer: str, form: str, columns: list[str], depth: int, as_json: str | None, *, headers: bool) -> str | None:
    """`answer` is a JSON list of objects; None: nothing is to be printed. `as_json` is a field whose objects stay JSON; fields of others
    become columns (a.b), down to `depth` where no columns are asked for."""
    if form == "raw_json":
        return answer
    items = json.loads(answer)
    if form == "pretty_json":
        return json.dumps(items, ensure_ascii=False, sort_keys=True, indent=2)
    flat = [_flat(item, "", 1, sys.maxsize if columns else depth, as_json) for item in items]
    names = columns or sorted({name for item in flat for name in item}, key=_rank)
    rows = [[item.get(name, "") for name in names] for item in flat]
    if not rows:
        return "No items" if headers else None
    return _FORMATS[form](names, rows, headers)


def _rank(column: str) -> tuple[int, int, str]:
    return (0, FIRST.index(column), "") if column in FIRST else (1, 0, column)


def _flat(item: dict[str, Any], prefix: str, level: int, depth: int, as_json: str | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in item.items():
        name = f"{prefix}.{key}" if prefix else key
        if isinstance(value, dict):
            if key == as_json:
                found[name] = json.dumps(value)
            elif level < depth:
                found |= _flat(value, name, level + 1, depth, as_json)
        elif isinstance(value, list):
            found[name] = " ".join(value) if all(isinstance(each, str) for each in value) else json.dumps(value)
        else:
            found[name] = "" if value is None else str(value)
    return found


def _tsv(names: list[str], rows: list[list[str]], headers: bool) -> str:
    return "\n".join("\t".join(row) for row in ([names, *rows] if headers else rows))


def _long(names: list[str], rows: list[list[str]], headers: bool) -> str:
    width = max(map(len, names))
    blocks = ["\n".join(f"{name:>{width}}: {value}" for name, value in zip(names, row, strict=True)) for row in rows]
    return "\n".join([RULE, *(f"{block}\n{RULE}" for block in blocks)])


def _table(names: list[str], rows: list[list[str]], headers: bool) -> str:
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    bar = "+" + "+".join("-" * (width + 2) for width in widths) + "+"

    def line(row: list[str], align: str) -> str:
        return "|" + "|".join(f" {value:{align}{width}} " for value, width in zip(row, widths, strict=True)) + "|"

    return "\n".join([bar, line(names, "^"), bar, *(line(row, "<") for row in rows), bar])


def _pairs(names: list[str], rows: list[list[str]], headers: bool) -> str:
    return "\n".join(" ".join(f'{name}="{value}"' for name, value in zip(names, row, strict=True)) for row in rows)


def _names(names: list[str], rows: list[list[str]], headers: bool) -> str:
    return " ".join(row[names.index("name")] for row in rows) if "name" in names else ""


_FORMATS: Final = {"tsv": _tsv, "long": _long, "table": _table, "kvp": _pairs, "bash": _names}
