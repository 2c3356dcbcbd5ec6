"""The header with which a proxy says whom it speaks for (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt), versions 1 and 2.

Version 1 is a line, `PROXY TCP4 203.0.113.7 192.0.2.1 51234 5672`; version 2 is binary:

    12 bytes   \\r\\n\\r\\n\\0\\r\\nQUIT\\n
     1         0x20: LOCAL, from the proxy itself; 0x21: PROXY
     1         family and transport: 0x11 TCP over IPv4, 0x21 TCP over IPv6
     2         how many bytes follow: addresses and ports, then what else the proxy has to tell (skipped)

No I/O here: `Reader` is fed what has come in, and says how much of it belongs to the header.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import Final, NamedTuple

V1_BYTES_MAX: Final = 107
V1_START: Final = b"PROXY "
V1_END: Final = b"\r\n"
V2_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
V2_BYTES: Final = 16
V2_VERSION: Final = 2
LOCAL, PROXY = 0, 1
UNSPECIFIED, INET, INET6, UNIX = 0, 1, 2, 3
ADDRESS_BYTES: Final = {UNSPECIFIED: 0, INET: 12, INET6: 36, UNIX: 216}
"""By family: two addresses, and two ports where there are ports."""
TRANSPORT_MAX: Final = 2
PORT_MAX: Final = 65535
SHOWN_BYTES: Final = 32


class MalformedHeader(Exception):
    """It is no header; the text says what is wrong with it."""


class Endpoints(NamedTuple):
    """The connection between client and proxy, as `(address, port)` of both ends."""

    source: tuple[str, int]
    destination: tuple[str, int]


class Reader:
    """Reads one header, in as many pieces as it comes in.

    `endpoints` is there when `feed` has said that it is whole: None for LOCAL, UNKNOWN and families without IP addresses, where the
    real connection's addresses count.
    """

    __slots__ = ("_buffer", "_rest", "endpoints", "whole")

    def __init__(self) -> None:
        self._buffer = b""
        self._rest = 0
        """Bytes of a version 2 header that are yet to come and will be skipped."""
        self.endpoints: Endpoints | None = None
        self.whole = False

    @property
    def has_begun(self) -> bool:
        """Something of it is there."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> int:
        """Take what belongs to the header from the start of `data`; returns how many bytes that is. Raises MalformedHeader."""
        if self._rest:
            return self._skip(len(data))
        seen = self._buffer + data
        if seen.startswith(V2_SIGNATURE):
            return self._feed_v2(seen) - (len(seen) - len(data))
        if seen.startswith(V1_START):
            return self._feed_v1(seen) - (len(seen) - len(data))
        if not (V1_START.startswith(seen) or V2_SIGNATURE.startswith(seen)):
            raise MalformedHeader(f"it begins with {shown(seen)}")
        self._buffer = seen
        return len(data)

    def _feed_v1(self, seen: bytes) -> int:
        end = seen.find(V1_END, 0, V1_BYTES_MAX)
        if end < 0:
            if len(seen) >= V1_BYTES_MAX:
                raise MalformedHeader(f"its line doesn't end within {V1_BYTES_MAX} bytes: {shown(seen)}")
            self._buffer = seen
            return len(seen)
        self.endpoints = _parse_v1(seen[:end])
        self.whole = True
        return end + len(V1_END)

    def _feed_v2(self, seen: bytes) -> int:
        if len(seen) < V2_BYTES:
            self._buffer = seen
            return len(seen)
        command, family, length = _parse_v2_start(seen)
        needed = V2_BYTES + (ADDRESS_BYTES[family] if command == PROXY else 0)
        if len(seen) < needed:
            self._buffer = seen
            return len(seen)
        if command == PROXY:
            self.endpoints = _endpoints_of(family, seen)
        self._buffer = b""
        self._rest = V2_BYTES + length - needed
        return needed + self._skip(len(seen) - needed)

    def _skip(self, available: int) -> int:
        skipped = min(self._rest, available)
        self._rest -= skipped
        if not self._rest:
            self.whole = True
        return skipped


def _parse_v1(line: bytes) -> Endpoints | None:
    words = line.split(b" ")
    if words[1] == b"UNKNOWN":
        return None
    version = {b"TCP4": 4, b"TCP6": 6}.get(words[1])
    if version is None:
        raise MalformedHeader(f"{shown(words[1])} is no protocol: expected TCP4, TCP6 or UNKNOWN")
    if len(words) != 6:
        raise MalformedHeader(f"expected two addresses and two ports: {shown(line)}")
    source, destination = (_address(word, version) for word in words[2:4])
    source_port, destination_port = map(_port, words[4:6])
    return Endpoints((source, source_port), (destination, destination_port))


def _address(word: bytes, version: int) -> str:
    try:
        address = ipaddress.ip_address(word.decode("ascii"))
    except ValueError:
        raise MalformedHeader(f"{shown(word)} is no IP address") from None
    if address.version != version or b"%" in word:
        raise MalformedHeader(f"{shown(word)} is no address of TCP{version}")
    return _text(address)


def _text(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """As the system writes addresses: `::ffff:127.0.0.1`, which Python before 3.13 calls `::ffff:7f00:1`."""
    mapped = address.ipv4_mapped if address.version == 6 else None
    return str(address) if mapped is None else f"::ffff:{mapped}"


def _port(word: bytes) -> int:
    if not word.isdigit() or len(word) > 5 or (number := int(word)) > PORT_MAX:
        raise MalformedHeader(f"{shown(word)} is no port")
    return number


def _parse_v2_start(seen: bytes) -> tuple[int, int, int]:
    """Command, family and length, which are possible together."""
    version_and_command, family_and_transport, length = struct.unpack_from(">BBH", seen, len(V2_SIGNATURE))
    version, command = version_and_command >> 4, version_and_command & 0xF
    family, transport = family_and_transport >> 4, family_and_transport & 0xF
    if version != V2_VERSION:
        raise MalformedHeader(f"its version is {version}")
    if command not in (LOCAL, PROXY):
        raise MalformedHeader(f"its command is {command}")
    if command == PROXY:
        if family not in ADDRESS_BYTES or transport > TRANSPORT_MAX:
            raise MalformedHeader(f"its family and transport are {family_and_transport:#04x}")
        if length < ADDRESS_BYTES[family]:
            raise MalformedHeader(f"its {length} bytes have no room for the addresses")
    return command, family, length


def _endpoints_of(family: int, seen: bytes) -> Endpoints | None:
    if family == INET:
        source, destination, source_port, destination_port = struct.unpack_from(">4s4sHH", seen, V2_BYTES)
    elif family == INET6:
        source, destination, source_port, destination_port = struct.unpack_from(">16s16sHH", seen, V2_BYTES)
    else:
        return None
    hosts = [_text(ipaddress.ip_address(host)) for host in (source, destination)]
    return Endpoints((hosts[0], source_port), (hosts[1], destination_port))


def shown(data: bytes) -> str:
    """The start of what a peer sent, for a log line."""
    return repr(bytes(data[:SHOWN_BYTES])) + ("..." if len(data) > SHOWN_BYTES else "")
