"""What stands in certificates: the user name (ssl_cert_login_from), as RabbitMQ 3.13 forms it (rabbit_ssl, rabbit_cert_info), and when
they end.

Read from the DER itself: what the ssl module tells of a subject has lost how its texts were encoded, which RabbitMQ's names depend
on for attributes that it doesn't know. The certificate was verified before; all the same nothing in it is trusted to be well-formed.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
import ssl
from typing import TYPE_CHECKING, Final

from protocol.erlang import binary

if TYPE_CHECKING:
    from broker.config import Config

SEQUENCE: Final = 0x30
SET: Final = 0x31
OBJECT_ID: Final = 0x06
OCTET_STRING: Final = 0x04
IA5_STRING: Final = 0x16
VERSION: Final = 0xA0
EXTENSIONS: Final = 0xA3
EXPLICIT: Final = 0xA0
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
LENGTH_BYTES_MAX: Final = 4

ENCODINGS: Final = {0x0C: "utf-8", 0x13: "utf-8", 0x14: "latin-1", 0x1C: "utf-32-be", 0x1E: "utf-16-be"}
"""DirectoryString (RFC 5280): utf8String, printableString, teletexString, universalString, bmpString."""
NAMES: Final = {
    "2.5.4.4": "SN", "2.5.4.42": "GIVENNAME", "2.5.4.43": "INITIALS", "2.5.4.44": "GENERATIONQUALIFIER", "2.5.4.3": "CN", "2.5.4.7": "L",
    "2.5.4.8": "ST", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.12": "TITLE", "2.5.4.6": "C", "2.5.4.5": "SERIALNUMBER",
    "2.5.4.65": "PSEUDONYM", "0.9.2342.19200300.100.1.25": "DC", "1.2.840.113549.1.9.1": "EMAILADDRESS", "0.9.2342.19200300.100.1.1": "UID",
}  # fmt: skip
"""RabbitMQ's; any other attribute is called by its number, street addresses too."""
COMMON_NAME: Final = "2.5.4.3"
IA5_ATTRIBUTES: Final = ("0.9.2342.19200300.100.1.25", "1.2.840.113549.1.9.1")
SUBJECT_ALT_NAME: Final = "2.5.29.17"
SAN_TAGS: Final = {"dns": 0x82, "ip": 0x87, "email": 0x81, "uri": 0x86, "other_name": 0xA0}
"""GeneralName (RFC 5280), by ssl_cert_login_san_type."""

_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", flags=re.DOTALL)

Node = tuple[int, bytes]
"""One value of DER: tag and content."""


class Malformed(Exception):
    """It isn't what RFC 5280 calls a certificate."""


def user_name(certificate: bytes, config: Config) -> str | None:
    """The name that `certificate` (DER) logs in as; None if it has no such name or can't be read."""
    try:
        match config.ssl_cert_login_from:
            case "common_name":
                return common_name(certificate)
            case "subject_alternative_name":
                return alternative_name(certificate, config.ssl_cert_login_san_type, config.ssl_cert_login_san_index)
            case _:
                return distinguished_name(certificate) or None
    except (Malformed, UnicodeDecodeError):
        return None


def distinguished_name(certificate: bytes) -> str:
    """`CN=client,O=Leveret`: the last part first, escaped as RFC 4514 says and some more (all that isn't printable ASCII, and ~).

    Raises Malformed, and UnicodeDecodeError for text that isn't in the encoding it claims.
    """
    return ",".join("+".join(_attribute_text(*attribute) for attribute in part) for part in reversed(_subject(certificate)))


def common_name(certificate: bytes) -> str | None:
    """The common name, or several joined by commas; raises as distinguished_name."""
    names = [_text(kind, value) for part in _subject(certificate) for kind, value in part if kind == COMMON_NAME]
    return b",".join(names).decode() if names else None


def alternative_name(certificate: bytes, san_type: str, index: int) -> str | None:
    """The `index`-th subject alternative name of a type (a key of SAN_TAGS); raises as distinguished_name.

    An IP address is text here. RabbitMQ takes its bytes (4 or 16) for the name, which no user can have.
    """
    tag = SAN_TAGS[san_type]
    names = [value for found, value in _alternative_names(certificate) if found == tag]
    if index >= len(names):
        return None
    value = names[index]
    if san_type == "ip":
        return _ip_address(value)
    if san_type == "other_name":
        value = _other_name(value)
    return value.decode() or None


def _ip_address(value: bytes) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError as error:
        raise Malformed from error


def _other_name(value: bytes) -> bytes:
    """The text in an OtherName (a user principal name, say); as it stands in the DER where it is no text."""
    _, wrapped = _children(value, 2)[:2]
    if wrapped[0] != EXPLICIT:
        raise Malformed
    kind, content = _children(wrapped[1], 1)[0]
    return content.decode(ENCODINGS[kind]).encode() if kind in ENCODINGS else wrapped[1]


# --- when it ends


def in_pem(text: str) -> list[bytes]:
    """The certificates in a PEM file, each as DER; what is no certificate is passed over."""
    found: list[bytes] = []
    for each in _PEM.findall(text):
        try:
            found.append(ssl.PEM_cert_to_DER_cert(each))
        except ValueError:
            continue
    return found


def valid_between(certificate: bytes) -> tuple[datetime.datetime, datetime.datetime]:
    """From when to when a certificate (DER) is valid. Raises Malformed."""
    tag, validity = _signed_part(certificate)[3]
    if tag != SEQUENCE:
        raise Malformed
    begin, end = _children(validity, 2)[:2]
    return _time(begin), _time(end)


def _time(node: Node) -> datetime.datetime:
    """RFC 5280: always in UTC, to the second. Two digits of a year are 1950 to 2049."""
    tag, content = node
    text = content.decode("ascii", "replace")
    if tag == UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != GENERALIZED_TIME:
        raise Malformed
    try:
        return datetime.datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=datetime.UTC)
    except ValueError as error:
        raise Malformed from error


# --- text


def _attribute_text(kind: str, value: Node) -> str:
    return f"{NAMES.get(kind, kind)}={_escape(_text(kind, value))}"


def _text(kind: str, value: Node) -> bytes:
    """UTF-8, whatever it was in; Erlang's notation of the DER for what is no DirectoryString."""
    tag, content = value
    if tag in ENCODINGS:
        return content.decode(ENCODINGS[tag]).encode()
    if tag == IA5_STRING and kind in IA5_ATTRIBUTES:
        return content
    return binary(_encoded(value)).encode()


def _escape(text: bytes) -> str:
    escaped: list[str] = []
    last = len(text) - 1
    for at, byte in enumerate(text):
        character = chr(byte)
        if character in '"+,;<>\\' or (at == 0 and character in " #") or (at == last and character == " "):
            escaped.append("\\" + character)
        elif byte < 32 or byte >= 126:
            escaped.append(f"\\{byte:02X}")
        else:
            escaped.append(character)
    return "".join(escaped)


# --- DER (X.690), as much as a certificate needs


def _subject(certificate: bytes) -> list[list[tuple[str, Node]]]:
    """The parts of the subject in their order; each has an attribute, seldom several."""
    parts: list[list[tuple[str, Node]]] = []
    tag, subject = _signed_part(certificate)[4]
    if tag != SEQUENCE:
        raise Malformed
    for tag, part in _children(subject):
        if tag != SET:
            raise Malformed
        parts.append([_attribute(attribute) for attribute in _children(part)])
    return parts


def _attribute(node: Node) -> tuple[str, Node]:
    tag, content = node
    kind, value = _children(content, 2)[:2]
    if tag != SEQUENCE or kind[0] != OBJECT_ID:
        raise Malformed
    return _object_id(kind[1]), value


def _alternative_names(certificate: bytes) -> list[Node]:
    for tag, content in _signed_part(certificate)[6:]:
        if tag != EXTENSIONS:
            continue
        for _, extension in _children(_children(content, 1)[0][1]):
            parts = _children(extension, 2)
            if parts[0][0] == OBJECT_ID and parts[-1][0] == OCTET_STRING and _object_id(parts[0][1]) == SUBJECT_ALT_NAME:
                return _children(_children(parts[-1][1], 1)[0][1])
    return []


def _signed_part(certificate: bytes) -> list[Node]:
    """The values of tbsCertificate without its version: serial number, algorithm, issuer, validity, subject, key, and the rest."""
    parts = _children(_children(_children(certificate, 1)[0][1], 1)[0][1], 1)
    if parts[0][0] == VERSION:
        del parts[0]
    if len(parts) < 6:
        raise Malformed
    return parts


def _children(data: bytes, least: int = 0) -> list[Node]:
    """The values that lie one after the other in `data`, `least` of them at least. Raises Malformed."""
    nodes: list[Node] = []
    at = 0
    while at < len(data):
        if len(data) - at < 2:
            raise Malformed
        tag, length = data[at], data[at + 1]
        at += 2
        if length & 0x80:
            size = length & 0x7F
            if not 1 <= size <= LENGTH_BYTES_MAX:
                raise Malformed
            length = int.from_bytes(data[at : at + size], "big")
            at += size
        if at + length > len(data):
            raise Malformed
        nodes.append((tag, data[at : at + length]))
        at += length
    if len(nodes) < least:
        raise Malformed
    return nodes


def _encoded(node: Node) -> bytes:
    tag, content = node
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def _object_id(content: bytes) -> str:
    numbers: list[int] = []
    number = 0
    for byte in content:
        number = number << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(number)
            number = 0
    if not numbers or content[-1] & 0x80:
        raise Malformed
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))
