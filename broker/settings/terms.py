"""Reads Erlang terms as they stand in advanced.config and on an Erlang command line (https://www.erlang.org/doc/system/data_types).

Atoms, texts (strings and binaries), numbers, lists and tuples; a tuple knows its line. Maps are read and are nothing but OPAQUE: no
setting here is one. Funs, variables and what else a file of terms can't hold are refused.
"""

from __future__ import annotations

import re
from typing import Any, Final

DEPTH_MAX: Final = 50
_TOKEN: Final = re.compile(
    r"(?P<space>(?:\s|%[^\n]*)+)"
    r'|(?P<text>"(?:[^"\\]|\\.)*")'
    r"|(?P<quoted>'(?:[^'\\]|\\.)*')"
    r"|(?P<float>[+-]?[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<based>[+-]?[0-9]{1,3}#[0-9A-Za-z]{1,100})"
    r"|(?P<integer>[+-]?[0-9](?:_?[0-9]){0,99})"
    r"|(?P<character>\$(?:\\(?:x[0-9A-Fa-f]{2}|x\{[0-9A-Fa-f]{1,5}\}|.)|.))"
    r"|(?P<atom>[a-z][A-Za-z0-9_@]*)"
    r"|(?P<mark><<|>>|#\{|=>|[\[\]{},.]|/utf8)",
    re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(x[0-9A-Fa-f]{2}|x\{[0-9A-Fa-f]{1,5}\}|.)", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "s": " ", "e": "\x1b", "b": "\b", "f": "\f", "v": "\v", "0": "\0"}


class TermError(ValueError):
    """The text isn't made of terms; `line` counts from 1."""

    def __init__(self, line: int, expected: str) -> None:
        super().__init__(f"expected {expected}")
        self.line = line


class Atom(str):
    """A bare or quoted word."""

    __slots__ = ()


class Opaque:
    """A value that isn't looked into."""


OPAQUE: Final = Opaque()


class Tuple(tuple[Any, ...]):
    """{A, B}; `line` is where it begins."""

    line: int = 1


def read(text: str) -> list[Any]:
    """Return the terms of a file, each of which ends in a full stop. Raises TermError."""
    reader = _Reader(text)
    terms = []
    while not reader.at_end:
        terms.append(reader.term())
        reader.take(".")
    return terms


def read_one(text: str) -> Any:
    """Return the term of a command line, which has no full stop. Raises TermError."""
    reader = _Reader(text)
    term = reader.term()
    if not reader.at_end:
        raise TermError(1, "one Erlang term")
    return term


class _Reader:
    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str, int]] = []
        self._next = 0
        place, line = 0, 1
        while place < len(text):
            found = _TOKEN.match(text, place)
            if found is None:
                raise TermError(line, "an Erlang term: an atom, a text, a number, a list, a tuple or a map")
            if found.lastgroup != "space":
                self._tokens.append((found.lastgroup or "", found[0], line))
            line += found[0].count("\n")
            place = found.end()
        self._last_line = line

    @property
    def at_end(self) -> bool:
        return self._next == len(self._tokens)

    def take(self, mark: str) -> None:
        kind, text, line = self._token()
        if kind != "mark" or text != mark:
            raise TermError(line, f"`{mark}`")

    def term(self, depth: int = 0) -> Any:
        kind, text, line = self._token()
        if depth > DEPTH_MAX:
            raise TermError(line, f"terms of at most {DEPTH_MAX} levels")
        match kind, text:
            case "text", _:
                return "".join([_unescaped(text), *self._more_texts()])
            case "quoted", _:
                return Atom(_unescaped(text))
            case "atom", _:
                return Atom(text)
            case "integer", _:
                return int(text)
            case "based", _:
                return _based(text, line)
            case "character", _:
                return ord(_ESCAPE.sub(_escape, text[1:]))
            case "float", _:
                return float(text)
            case "mark", "[":
                return self._items("]", depth)
            case "mark", "{":
                items = Tuple(self._items("}", depth))
                items.line = line
                return items
            case "mark", "#{":
                return self._map(depth)
            case "mark", "<<":
                return self._binary()
        raise TermError(line, "an Erlang term")

    def _token(self) -> tuple[str, str, int]:
        if self.at_end:
            raise TermError(self._last_line, "more: the text ends within a term")
        self._next += 1
        return self._tokens[self._next - 1]

    def _is_next(self, text: str) -> bool:
        return not self.at_end and self._tokens[self._next][:2] == ("mark", text)

    def _more_texts(self) -> list[str]:
        """Strings in a row are one, as in Erlang."""
        texts = []
        while not self.at_end and self._tokens[self._next][0] == "text":
            texts.append(_unescaped(self._token()[1]))
        return texts

    def _items(self, end: str, depth: int) -> list[Any]:
        items: list[Any] = []
        while not self._is_next(end):
            if items:
                self.take(",")
            items.append(self.term(depth + 1))
        self.take(end)
        return items

    def _map(self, depth: int) -> Opaque:
        is_first = True
        while not self._is_next("}"):
            if not is_first:
                self.take(",")
            is_first = False
            self.term(depth + 1)
            self.take("=>")
            self.term(depth + 1)
        self.take("}")
        return OPAQUE

    def _binary(self) -> str:
        text = ""
        if not self._is_next(">>"):
            kind, text, line = self._token()
            if kind != "text":
                raise TermError(line, 'a text in the binary: <<"text">>')
            text = _unescaped(text)
            if self._is_next("/utf8"):
                self.take("/utf8")
        self.take(">>")
        return text


def _based(text: str, line: int) -> int:
    """16#3C."""
    base, _, digits = text.lstrip("+-").partition("#")
    if not 2 <= int(base) <= 36:
        raise TermError(line, "a number of base 2 to 36")
    try:
        number = int(digits, int(base))
    except ValueError as error:
        raise TermError(line, f"a number of base {base}") from error
    return -number if text[0] == "-" else number


def _unescaped(quoted: str) -> str:
    return _ESCAPE.sub(_escape, quoted[1:-1])


def _escape(found: re.Match[str]) -> str:
    code = found[1]
    if len(code) > 1:
        return chr(int(code[1:].strip("{}"), 16) % 0xD800)
    return _ESCAPES.get(code, code)
