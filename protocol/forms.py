"""The facts about many content headers (protocol.content.scan), most of which have the form of one before.

An application's messages differ in what their properties say (an id, a trace) and seldom in how long that is. So of a header that was
scanned its *form* is kept: a mask over all octets that decide anything (flags, lengths, names, types, delivery mode), and what is there.
Another header that has the same octets there would be scanned to the same end, and one comparison of two numbers tells: a fifth of the
time of a scan.
"""

from collections.abc import Container, Sequence
from typing import Final

from protocol import content, tables
from protocol.content import scan

FORMS_MAX: Final = 64
"""Lengths of headers of which a form is kept; past it all are forgotten."""
HEADER_MAX: Final = 2048
"""Bytes of a header of which a form is kept."""
TRIES: Final = 4
"""So many headers of one length that have no form in common with the one before are scanned anew; then that length isn't tried again."""


class Form:
    """`fixed` are the octets under the `mask`; both are numbers as long as the header, its first octet the lowest."""

    __slots__ = ("facts", "fixed", "mask", "misses")

    def __init__(self, mask: int, fixed: int, facts: int, misses: int) -> None:
        self.mask = mask
        self.fixed = fixed
        self.facts = facts
        self.misses = misses


class Forms:
    """What one connection publishes. By length: most lengths have one form only."""

    __slots__ = ("_forms",)

    def __init__(self) -> None:
        self._forms: dict[int, Form] = {}

    def scan_each(self, headers: Sequence[bytes]) -> list[int]:
        """The facts of each header. Raises MalformedProperties."""
        forms, number_of = self._forms, int.from_bytes
        facts: list[int] = []
        for header in headers:
            form = forms.get(len(header))
            if form is not None and number_of(header, "little") & form.mask == form.fixed:
                facts.append(form.facts)
            else:
                facts.append(self._scan(header, form))
        return facts

    def of(self, size: int, number: int) -> Form | None:
        """The form of a header of this size, given as a number, if it is known."""
        form = self._forms.get(size)
        return form if form is not None and number & form.mask == form.fixed else None

    def _scan(self, header: bytes, known: Form | None) -> int:
        facts = scan(header)
        misses = 0 if known is None else known.misses + 1
        if misses <= TRIES and len(header) <= HEADER_MAX:
            if len(self._forms) >= FORMS_MAX:
                self._forms.clear()
            mask = int.from_bytes(mask_of(header), "little")
            self._forms[len(header)] = Form(mask, int.from_bytes(header, "little") & mask, facts, misses)
        return facts


def mask_of(header: bytes) -> bytes:
    """Octets of ones where `scan` looks at this header, which it has found to be sound, and zeros elsewhere."""
    mask = bytearray(len(header))
    flags = content.property_flags(header)
    _look(mask, 12, 2)
    at = 14
    for bit in (content.CONTENT_TYPE, content.CONTENT_ENCODING):
        if flags & bit:
            at = _skip_text(mask, header, at)
    if flags & content.HEADERS:
        end = at + 4 + int.from_bytes(header[at : at + 4])
        _look(mask, at, 4)
        _look_into_table(mask, header, at + 4, end, named=True)
        at = end
    if flags & content.DELIVERY_MODE:
        _look(mask, at, 1)
        at += 1
    if flags & content.PRIORITY:
        at += 1
    for bit in (content.CORRELATION_ID, content.REPLY_TO, content.EXPIRATION, content.MESSAGE_ID):
        if flags & bit:
            if bit == content.REPLY_TO and header[at] == len(content.DIRECT_REPLY_TO):
                _look(mask, at, 1 + header[at])
            at = _skip_text(mask, header, at)
    if flags & content.TIMESTAMP:
        at += 8
    for bit in (content.TYPE, content.USER_ID, content.APP_ID, content.CLUSTER_ID):
        if flags & bit:
            at = _skip_text(mask, header, at)
    assert at == len(header)
    return bytes(mask)


def mask_of_fields(header: bytes, names: Container[str]) -> bytes:
    """Octets of ones where this header, which is sound, says something of the headers with these names, and zeros elsewhere. Headers of
    one form that are the same under it agree in them."""
    mask = bytearray(len(header))
    at, end = content.place_of_headers(header)
    at += 4
    while at < end:
        begin = at + 1 + header[at]
        stop = begin + _size_of_field(header, begin)
        if header[at + 1 : begin].decode("utf-8", "surrogateescape") in names:
            _look(mask, begin, stop - begin)
        at = stop
    return bytes(mask)


def _look(mask: bytearray, at: int, size: int) -> None:
    mask[at : at + size] = b"\xff" * size


def _skip_text(mask: bytearray, header: bytes, at: int) -> int:
    """A short string may say anything, of its length."""
    _look(mask, at, 1)
    return at + 1 + header[at]


def _look_into_table(mask: bytearray, header: bytes, at: int, end: int, *, named: bool) -> None:
    """The fields of a table, or (not `named`) the elements of an array: names, types, lengths, and of a float all of it."""
    while at < end:
        if named:
            _look(mask, at, 1 + header[at])
            at += 1 + header[at]
        kind, size = chr(header[at]), _size_of_field(header, at)
        _look(mask, at, 1)
        if tables.fixed_size(kind) is None:
            _look(mask, at + 1, 4)
            if kind in "FA":
                _look_into_table(mask, header, at + 5, at + size, named=kind == "F")
        elif kind in "df":
            _look(mask, at, size)
        at += size


def _size_of_field(header: bytes, at: int) -> int:
    """The octets that a field of a table takes, from that of its type on."""
    size = tables.fixed_size(chr(header[at]))
    return 5 + int.from_bytes(header[at + 1 : at + 5]) if size is None else size
