"""What a command has to tell, in the formats of --formatter.

Lists are rows: dicts with the same keys, in the order of the columns. In a pipe the format is RabbitMQ's to the byte (a header, tabs
between columns, nothing for no rows); on a terminal columns are aligned, and the header is bold.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from broker.cli.ctl import terms
from broker.cli.ctl.terms import Atom, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Row = dict[str, Any]
MACHINE_READABLE: Final = ("json", "csv", "json_stream")
"""With these no banner is printed."""
DOUBLE: Final = '"'
KNOWN: Final = (*MACHINE_READABLE, "erlang", "inspect", "pretty_table", "string", "string_per_line", "table")


class Style(NamedTuple):
    """How to print: a key of `KNOWN`, whether columns have a header, and what the terminal can do."""

    formatter: str
    headers: bool = True
    aligned: bool = False
    colours: bool = False

    def bold(self, text: str) -> str:
        """Bold where that can be shown."""
        return f"\x1b[1m{text}\x1b[0m" if self.colours else text


class Output:
    """The result of a command: rows, or a text; and what stands for it in JSON and in Erlang, if that is something else."""

    def __init__(
        self, text: str | None = None, *, rows: list[Row] | None = None, json: Any = None, erlang: Any = None, whole: bool = False
    ) -> None:
        self.text = text
        self.rows = rows
        self.json = json
        self.erlang = erlang
        self.whole = whole
        """RabbitMQ has these rows as one value, and prints an empty line if there are none."""

    def render(self, style: Style) -> str | None:
        """What to print, without the last line's end; None: nothing."""
        if style.formatter in ("json", "json_stream"):
            return self._json()
        if style.formatter == "erlang":
            return terms.pretty(self._term())
        if self.rows is None:
            if style.formatter == "pretty_table" and self.text is not None:
                return boxes(["Output"], [[self.text]], style)
            if style.formatter == "csv" and isinstance(self.json, dict):
                return _csv([self.json])
            return self.text
        if not self.rows:
            return "" if self.whole and style.formatter != "csv" else None
        if style.formatter == "csv":
            return _csv(self.rows)
        if style.formatter == "pretty_table":
            return boxes(list(self.rows[0]), [[cell(each) for each in row.values()] for row in self.rows], style)
        return _table(self.rows, style)

    def _json(self) -> str | None:
        if self.rows is not None and self.json is None:
            if not self.rows and self.whole:
                return "[]"
            lines = [f"{',' if number else ''}{encode(row)}" for number, row in enumerate(self.rows)]
            return "\n".join(["[", *lines, "]"])
        if self.json is None:
            return None if self.text is None else encode({"message": self.text})
        return encode(self.json)

    def _term(self) -> Any:
        if self.erlang is not None:
            return self.erlang
        if self.rows is not None:
            return [[(Atom(name), value) for name, value in row.items()] for row in self.rows]
        return self.text or ""


def encode(value: Any) -> str:
    """Compact JSON, as RabbitMQ's tools print it: the keys of maps (not of rows) are sorted by whoever makes them."""
    return json.dumps(_jsonable(value), separators=(",", ":"), ensure_ascii=False)


def _jsonable(value: Any) -> Any:
    """What isn't set is an empty text there too."""
    if isinstance(value, Table):
        return terms.typed(value)
    if isinstance(value, dict):
        return {key: _jsonable(each) for key, each in value.items()}
    return "" if value is None else value


def cell(value: Any) -> str:
    """A value in a table: texts as they are, an unset one empty, tables as Erlang prints them."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, Table):
        return terms.show(terms.plain(value))
    if isinstance(value, list):
        return "[" + ", ".join(map(cell, value)) + "]"
    if isinstance(value, dict):
        return "#{" + ", ".join(f"{name} => {cell(each)}" for name, each in sorted(value.items())) + "}"
    return terms.show(value)


def _table(rows: Sequence[Row], style: Style) -> str:
    lines = [[cell(each) for each in row.values()] for row in rows]
    header = list(rows[0])
    if not style.aligned:
        return "\n".join("\t".join(line) for line in ([header, *lines] if style.headers else lines))
    widths = [max(map(len, column)) for column in zip(header, *lines, strict=True)]
    numeric = [all(type(row[name]) in (int, float) for row in rows) for name in header]
    shown = [_aligned(line, widths, numeric) for line in lines]
    return "\n".join([style.bold(_aligned(header, widths, numeric)), *shown] if style.headers else shown)


def _aligned(line: Iterable[str], widths: Iterable[int], numeric: Iterable[bool]) -> str:
    padded = (text.rjust(width) if number else text.ljust(width) for text, width, number in zip(line, widths, numeric, strict=True))
    return "  ".join(padded).rstrip()


def boxes(header: Sequence[str], lines: Sequence[Sequence[str]], style: Style) -> str:
    """A table with lines around its cells (--formatter pretty_table)."""
    split = [[text.split("\n") for text in line] for line in lines]
    widths = [max(len(part) for text in column for part in text) for column in zip([[name] for name in header], *split, strict=True)]

    def rule(left: str, middle: str, right: str) -> str:
        return left + middle.join("─" * (width + 2) for width in widths) + right

    def row(texts: Sequence[str]) -> str:
        return "│" + "│".join(f" {text} " for text in texts) + "│"

    shown = [rule("┌", "┬", "┐")]
    shown.append(row([style.bold(name) + " " * (width - len(name)) for name, width in zip(header, widths, strict=True)]))
    for line in split:
        shown.append(rule("├", "┼", "┤"))
        for part in range(max(map(len, line))):
            texts = [text[part] if part < len(text) else "" for text in line]
            shown.append(row([text.ljust(width) for text, width in zip(texts, widths, strict=True)]))
    return "\n".join([*shown, rule("└", "┴", "┘")])


def _csv(rows: Sequence[Row]) -> str:
    lines = [list(rows[0]), *([cell(each) for each in row.values()] for row in rows)]
    return "\n".join(",".join(f'"{text.replace(DOUBLE, DOUBLE * 2)}"' for text in line) for line in lines)
