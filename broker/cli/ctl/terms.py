"""Values as Erlang prints them (io_lib's ~p), for --formatter erlang, environment, eval, and for cells of tables."""

from __future__ import annotations

from typing import Any, Final

WIDTH: Final = 80


class Atom(str):
    """An atom: printed bare, or in single quotes if it needs them."""

    __slots__ = ()


class Characters(str):
    """A list of characters, printed in double quotes; plain str is a binary."""

    __slots__ = ()


class Table(dict[str, Any]):
    """Arguments of queues, exchanges, bindings and consumers, as JSON brought them."""

    __slots__ = ()


def show(value: Any) -> str:
    """On one line."""
    if value is None:
        return "undefined"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Atom):
        return _atom(value)
    if isinstance(value, Characters):
        return f'"{_escaped(value)}"'
    if isinstance(value, str):
        return f'<<"{_escaped(value)}"{"" if _is_latin(value) else "/utf8"}>>'
    if isinstance(value, Table):
        return show(typed(value))
    if isinstance(value, dict):
        return "#{" + ",".join(f"{show(key)} => {show(each)}" for key, each in value.items()) + "}"
    if isinstance(value, tuple):
        return "{" + ",".join(map(show, value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(show, value)) + "]"
    return str(value)


def pretty(value: Any, column: int = 0, closing: int = 0) -> str:
    """Within 80 columns where that can be: `column` is where it begins, `closing` how many brackets will follow."""
    line = show(value)
    if column + len(line) + closing < WIDTH:
        return line
    if isinstance(value, Table):
        value = typed(value)
    if isinstance(value, list) and value and all(isinstance(each, (tuple, list, dict)) for each in value):
        return "[" + _lines([pretty(each, column + 1, closing + 1) for each in value], column + 1) + "]"
    if isinstance(value, list):
        return "[" + _filled([show(each) for each in value], column + 1) + "]"
    if isinstance(value, tuple) and len(value) > 1 and isinstance(value[0], Atom):
        head = show(value[0])
        inside = column + len(head) + 2
        if inside - column > 8:
            inside = column + 5
            head += ",\n" + " " * inside
        else:
            head += ","
        return "{" + head + _lines([pretty(each, inside, closing + 1) for each in value[1:]], inside) + "}"
    if isinstance(value, tuple):
        return "{" + _lines([pretty(each, column + 1, closing + 1) for each in value], column + 1) + "}"
    return line


def typed(table: Table) -> list[tuple[str, Atom, Any]]:
    """A table with the types of its values, as Erlang keeps it. JSON has lost some: whole numbers take the narrowest."""
    return [(name, *_typed(value)) for name, value in table.items()]


def _typed(value: Any) -> tuple[Atom, Any]:
    if isinstance(value, bool):
        return Atom("bool"), value
    if isinstance(value, int):
        return Atom("signedint" if -(2**31) <= value < 2**31 else "long"), value
    if isinstance(value, float):
        return Atom("double"), value
    if isinstance(value, dict):
        return Atom("table"), typed(Table(value))
    if isinstance(value, list):
        return Atom("array"), [_typed(each) for each in value]
    if value is None:
        return Atom("void"), None
    return Atom("longstr"), value


def plain(value: Any) -> Any:
    """A table's value without types, with names and texts in double quotes: as cells of tables show it."""
    if isinstance(value, dict):
        return [(Characters(name), plain(each)) for name, each in value.items()]
    if isinstance(value, list):
        return [plain(each) for each in value]
    return Characters(value) if isinstance(value, str) else value


def _atom(name: str) -> str:
    if name[:1].islower() and name.isascii() and name.replace("_", "a").replace("@", "a").isalnum():
        return name
    return f"'{name}'"


def _escaped(text: str) -> str:
    for character, escape in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t"), ("\r", "\\r")):
        text = text.replace(character, escape)
    return text


def _is_latin(text: str) -> bool:
    return all(ord(character) < 256 for character in text)


def _lines(parts: list[str], indent: int) -> str:
    return (",\n" + " " * indent).join(parts)


def _filled(parts: list[str], indent: int) -> str:
    """As many on each line as it takes."""
    lines, column = [parts[0]], indent + len(parts[0])
    for part in parts[1:]:
        column += len(part) + 1
        if column >= WIDTH - 1:
            lines.append(part)
            column = indent + len(part)
        else:
            lines[-1] += f",{part}"
    return _lines(lines, indent)
