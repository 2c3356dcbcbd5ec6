"""The methods of AMQP 0-9-1: pamqp's command classes, and access.request, which pamqp doesn't have.

They are data only. Their own marshalling, and the checks of a client that some of them bring, are never used: RabbitMQ
allows names that pamqp refuses. So build them with `make`, and read and write them with protocol.codec.
"""

from typing import Any, ClassVar, Final, TypeVar

from pamqp.base import Frame
from pamqp.commands import INDEX_MAPPING, Basic, Channel, Confirm, Connection, Exchange, Queue, Tx

__all__ = ["Access", "Basic", "Channel", "Confirm", "Connection", "Exchange", "Method", "Queue", "Tx"]

Method = Frame
"""An instance of any of the command classes: `name` ("Queue.Declare") and its arguments as attributes."""

M = TypeVar("M", bound=Frame)


class Access:
    """Class 30, a leftover of AMQP 0-8 that old clients still send and RabbitMQ still answers (contract 1.13)."""

    class Request(Frame):
        """access.request: the rights asked for are of no consequence, and the answer is always a ticket."""

        __slots__: ClassVar[list[str]] = ["realm", "exclusive", "passive", "active", "write", "read"]  # noqa: RUF023 the order on the wire
        frame_id: ClassVar[int] = 10
        index: ClassVar[int] = 0x001E000A
        name: ClassVar[str] = "Access.Request"
        synchronous: ClassVar[bool] = True
        valid_responses: ClassVar[list[str]] = ["Access.RequestOk"]
        _realm = "shortstr"
        _exclusive = "bit"
        _passive = "bit"
        _active = "bit"
        _write = "bit"
        _read = "bit"

        realm: str
        exclusive: bool
        passive: bool
        active: bool
        write: bool
        read: bool

    class RequestOk(Frame):
        """access.request-ok"""

        __slots__: ClassVar[list[str]] = ["ticket"]
        frame_id: ClassVar[int] = 11
        index: ClassVar[int] = 0x001E000B
        name: ClassVar[str] = "Access.RequestOk"
        synchronous: ClassVar[bool] = False
        _ticket = "short"

        ticket: int


CLASSES: Final[dict[int, type[Frame]]] = {
    **{index: cls for index, cls in INDEX_MAPPING.items() if isinstance(cls, type) and issubclass(cls, Frame)},
    Access.Request.index: Access.Request,
    Access.RequestOk.index: Access.RequestOk,
}
"""Class id << 16 | method id to the command class: the whole schema."""

CARRY_CONTENT: Final = frozenset((Basic.Publish, Basic.Return, Basic.Deliver, Basic.GetOk))
"""The methods that a content header and body follow."""

_NOTHING: Final[dict[str, Any]] = {"shortstr": "", "longstr": b"", "bit": False}
"""The value of an argument that wasn't given, by its type; a table gets a dict of its own, everything else is a number."""


def arguments(cls: type[Frame]) -> list[tuple[str, str]]:
    """The arguments in wire order: attribute name, and wire type (bit, octet, short, long, longlong, shortstr, longstr, table)."""
    return [(name, getattr(cls, "_" + name)) for name in cls.__slots__]


_DEFAULTS: Final = {cls: tuple((name, kind == "table", _NOTHING.get(kind, 0)) for name, kind in arguments(cls)) for cls in CLASSES.values()}


def make(cls: type[M], **values: Any) -> M:
    """A method with the given arguments, unchecked; what isn't given is 0, False, "", b"" or {}.

    The values: str for shortstr, bytes for longstr, bool for bit, protocol.tables.Table for table, else int.
    Raises TypeError for an argument that the method doesn't have.
    """
    method = cls.__new__(cls)
    for name, is_table, nothing in _DEFAULTS[cls]:
        setattr(method, name, values.pop(name) if name in values else {} if is_table else nothing)
    if values:
        raise TypeError(f"{cls.name} has no argument {', '.join(values)}")
    return method


def ids(method: Frame | type[Frame]) -> tuple[int, int]:
    """Class id and method id, as connection.close and channel.close name the method at fault."""
    return method.index >> 16, method.index & 0xFFFF
