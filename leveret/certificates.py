"""A certificate for a broker that is tested against over TLS, and its authority, made with the standard library, which has nothing for it.

That is ECDSA on the curve P-256 (FIPS 186-4) and X.509 (RFC 5280) in DER. Both are good for a few minutes on one's own machine: the
arithmetic takes no care of who measures how long it takes, so these keys are for nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from typing import Final

HOSTS: Final = ("localhost",)
ADDRESSES: Final = (bytes((127, 0, 0, 1)), bytes(15) + b"\1")
VALID: Final = (b"000101000000Z", b"491231235959Z")
"""Whatever time a test makes it, and as late as a date of this form can be."""
PEM_CHARACTERS: Final = 64
"""A line."""
AUTHORITY: Final = "Leveret test authority"

# The curve: y^2 = x^3 - 3x + b over the integers modulo P; G generates a group of N points.
P: Final = 2**256 - 2**224 + 2**192 + 2**96 - 1
N: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
G: Final = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
Point = tuple[int, int]

_EC_PUBLIC_KEY: Final = "1.2.840.10045.2.1"
_P256: Final = "1.2.840.10045.3.1.7"
_ECDSA_WITH_SHA256: Final = "1.2.840.10045.4.3.2"
_COMMON_NAME: Final = "2.5.4.3"
_SUBJECT_KEY, _KEY_USAGE, _ALT_NAME, _CONSTRAINTS, _AUTHORITY_KEY, _EXTENDED_USAGE = (f"2.5.29.{each}" for each in (14, 15, 17, 19, 35, 37))
_SERVER: Final = "1.3.6.1.5.5.7.3.1"
_BOOLEAN, _INTEGER, _BITS, _OCTETS, _OID, _UTF8, _TIME, _SEQUENCE, _SET = 0x01, 0x02, 0x03, 0x04, 0x06, 0x0C, 0x17, 0x30, 0x31


NAMES: Final = ("server.pem", "server.key", "ca.pem")
"""The files that `make` writes: a certificate, its key, and the authority that has signed it."""


def make(directory: str) -> None:
    """Write, as PEM into files there, an authority, and a server's certificate for localhost and the loopback addresses with its key."""
    authority, server = _Key(), _Key()
    usage = _bits(bytes((0b0000_0110,)), unused=1)  # keyCertSign, cRLSign
    root = _certificate(AUTHORITY, authority, authority, (
        _extension(_CONSTRAINTS, _sequence(_der(_BOOLEAN, b"\xff")), is_critical=True),
        _extension(_KEY_USAGE, usage, is_critical=True),
        _extension(_SUBJECT_KEY, _der(_OCTETS, authority.identifier)),
    ))  # fmt: skip
    names = [_der(0x82, host.encode()) for host in HOSTS] + [_der(0x87, address) for address in ADDRESSES]
    leaf = _certificate(HOSTS[0], server, authority, (
        _extension(_KEY_USAGE, _bits(b"\x80", unused=7), is_critical=True),  # digitalSignature
        _extension(_EXTENDED_USAGE, _sequence(_oid(_SERVER))),
        _extension(_ALT_NAME, _sequence(*names)),
        _extension(_SUBJECT_KEY, _der(_OCTETS, server.identifier)),
        _extension(_AUTHORITY_KEY, _sequence(_der(0x80, authority.identifier))),
    ))  # fmt: skip
    for name, label, content in zip(NAMES, ("CERTIFICATE", "EC PRIVATE KEY", "CERTIFICATE"), (leaf, server.der, root), strict=True):
        text = base64.b64encode(content).decode()
        lines = (text[at : at + PEM_CHARACTERS] for at in range(0, len(text), PEM_CHARACTERS))
        with open(os.path.join(directory, name), "w", encoding="ascii") as file:
            file.write("\n".join((f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", "")))


class _Key:
    """A private key and its public one."""

    def __init__(self) -> None:
        self._secret = secrets.randbelow(N - 1) + 1
        self.public = b"\x04" + b"".join(each.to_bytes(32, "big") for each in _times(self._secret, G))
        self.identifier = hashlib.sha1(self.public, usedforsecurity=False).digest()

    @property
    def der(self) -> bytes:
        """RFC 5915."""
        secret = _der(_OCTETS, self._secret.to_bytes(32, "big"))
        return _sequence(_integer(1), secret, _der(0xA0, _oid(_P256)), _der(0xA1, _bits(self.public)))

    def sign(self, content: bytes) -> bytes:
        """An ECDSA signature of its SHA-256."""
        hashed = int.from_bytes(hashlib.sha256(content).digest(), "big")
        while True:
            once = secrets.randbelow(N - 1) + 1
            r = _times(once, G)[0] % N
            s = pow(once, -1, N) * (hashed + r * self._secret) % N
            if r and s:
                return _sequence(_integer(r), _integer(s))


def _certificate(name: str, key: _Key, authority: _Key, extensions: tuple[bytes, ...]) -> bytes:
    algorithm = _sequence(_oid(_ECDSA_WITH_SHA256))
    content = _sequence(
        _der(0xA0, _integer(2)),  # version 3
        _integer(int.from_bytes(secrets.token_bytes(16), "big") | 1),
        algorithm,
        _name(AUTHORITY),
        _sequence(*(_der(_TIME, each) for each in VALID)),
        _name(name),
        _sequence(_sequence(_oid(_EC_PUBLIC_KEY), _oid(_P256)), _bits(key.public)),
        _der(0xA3, _sequence(*extensions)),
    )
    return _sequence(content, algorithm, _bits(authority.sign(content)))


# --- points -----------------------------------------------------------------------------------------------------------


def _plus(one: Point | None, other: Point | None) -> Point | None:
    """None is the point at infinity."""
    if one is None or other is None:
        return one or other
    (x1, y1), (x2, y2) = one, other
    if x1 == x2 and (y1 + y2) % P == 0:
        return None
    slope = (3 * x1 * x1 - 3) * pow(2 * y1, -1, P) if one == other else (y2 - y1) * pow(x2 - x1, -1, P)
    x = (slope * slope - x1 - x2) % P
    return x, (slope * (x1 - x) - y1) % P


def _times(number: int, point: Point) -> Point:
    """The point added to itself so often; `number` is between 1 and N - 1, so there is one."""
    total: Point | None = None
    double: Point | None = point
    while number:
        if number & 1:
            total = _plus(total, double)
        double = _plus(double, double)
        number >>= 1
    assert total is not None
    return total


# --- DER --------------------------------------------------------------------------------------------------------------


def _der(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(size))) + size + content


def _sequence(*parts: bytes) -> bytes:
    return _der(_SEQUENCE, b"".join(parts))


def _integer(value: int) -> bytes:
    return _der(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _bits(content: bytes, *, unused: int = 0) -> bytes:
    return _der(_BITS, bytes((unused,)) + content)


def _oid(text: str) -> bytes:
    first, second, *rest = map(int, text.split("."))
    content = bytes((40 * first + second,))
    for number in rest:
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.append(number & 0x7F | 0x80)
        content += bytes(reversed(groups))
    return _der(_OID, content)


def _name(common_name: str) -> bytes:
    return _sequence(_der(_SET, _sequence(_oid(_COMMON_NAME), _der(_UTF8, common_name.encode()))))


def _extension(oid: str, value: bytes, *, is_critical: bool = False) -> bytes:
    critical = _der(_BOOLEAN, b"\xff") if is_critical else b""
    return _sequence(_oid(oid), critical, _der(_OCTETS, value))
