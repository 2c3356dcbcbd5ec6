"""What clients on this machine have sent, and the system hasn't brought here yet.

A client that sends much in little pieces fills the buffers of the broker's socket; the rest waits in those of its own, and may need a
fifth of a second to come when there is room again. Linux tells of it in /proc/net/tcp, which takes it some milliseconds;
other systems don't.
"""

from __future__ import annotations

import re
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from broker.testing.connection import WatchedConnection

Address = tuple[bytes, int]
"""Four or sixteen bytes, and a port."""
_TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_LITTLE_BYTES: Final = 2048
"""So much may have come and only not have been acknowledged; what doesn't get through is more."""
_LINE: Final = re.compile(r"^ *\d+: (\w+:\w+) (\w+:\w+) \w\w (?!00000)(\w+):", re.MULTILINE)
"""Of those that have more than a little: from, to, and what nobody has acknowledged; numbers in hex."""
_MAPPED: Final = bytes(10) + b"\xff\xff"
"""How an IPv6 address begins that is an IPv4 one."""


def backlogs(connections: Iterable[WatchedConnection]) -> dict[WatchedConnection, int]:
    """Those whose peers have sent much that nobody has acknowledged, and how many bytes that is, at the most: some may be here."""
    wanted = {each.addresses: each for each in connections}
    return {wanted[to, from_]: count for from_, to, count in _sending() if (to, from_) in wanted} if wanted else {}


def address_of(name: tuple[str, int]) -> Address:
    """Of what sockets are called in Python."""
    host, port = name[:2]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return _short(socket.inet_pton(family, host.partition("%")[0])), port


def _sending() -> Iterator[tuple[Address, Address, int]]:
    """(from, to, count) of each connection of this machine with many bytes that nobody has acknowledged."""
    for table in _TABLES:
        with suppress(OSError):
            for local, remote, sent in _LINE.findall(table.read_text()):
                if (count := int(sent, 16)) > _LITTLE_BYTES:
                    yield _read(local), _read(remote), count


def _read(text: str) -> Address:
    """Words as the machine has them, in hex."""
    words, port = text.split(":")
    packed = b"".join(struct.pack("=I", int(words[at : at + 8], 16)) for at in range(0, len(words), 8))
    return _short(packed), int(port, 16)


def _short(packed: bytes) -> bytes:
    return packed.removeprefix(_MAPPED) if len(packed) == 16 else packed
