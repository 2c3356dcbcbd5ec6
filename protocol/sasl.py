"""What a client says in connection.start-ok's response, by mechanism. Parsed only: broker.access decides.

A response that RabbitMQ can't read ends the handshake without a frame (contract 1.3). No reason here shows a password;
RabbitMQ's log would.
"""

from typing import Final, NamedTuple

from protocol.errors import HandshakeFailed
from protocol.tables import MalformedTable, decode_fields


class MalformedResponse(HandshakeFailed):
    """The response doesn't have its mechanism's form."""


class Credentials(NamedTuple):
    """Who the client says it is. The password is bytes as sent; a user name that isn't UTF-8 has lone surrogates."""

    user: str
    password: bytes

    def __repr__(self) -> str:
        return f"Credentials({self.user!r})"


def parse_plain(response: bytes) -> Credentials:
    """PLAIN (RFC 4616) as RabbitMQ takes it: NUL user NUL password, and nothing else.

    An authorization identity in front, which the RFC allows, RabbitMQ refuses; so is a NUL behind. User and password
    may be empty.
    """
    parts = response.split(b"\0")
    if len(parts) != 3 or parts[0]:
        raise MalformedResponse("PLAIN response invalid: not NUL, user, NUL, password")
    return Credentials(parts[1].decode("utf-8", "surrogateescape"), parts[2])


def parse_amqplain(response: bytes) -> Credentials:
    """AMQPLAIN: the fields of a table, without its length, with LOGIN and PASSWORD as S or x (3.10: both S, contract's default is 3.13)."""
    try:
        table = decode_fields(response)
    except MalformedTable as error:
        raise MalformedResponse(f"AMQPLAIN response invalid: {error}") from error
    login, password = table.get("LOGIN"), table.get("PASSWORD")
    if login is None or password is None:
        raise MalformedResponse("AMQPLAIN auth info is missing LOGIN or PASSWORD field")
    if login.kind not in "Sx" or password.kind not in "Sx":
        raise MalformedResponse("AMQPLAIN auth info uses unsupported type for LOGIN or PASSWORD field")
    return Credentials(login.value.decode("utf-8", "surrogateescape"), password.value)


def parse_nothing(response: bytes) -> None:
    """EXTERNAL and ANONYMOUS: the certificate or the configuration says who it is; what the response says is ignored, as in RabbitMQ."""


PLAIN: Final = "PLAIN"
AMQPLAIN: Final = "AMQPLAIN"
EXTERNAL: Final = "EXTERNAL"
ANONYMOUS: Final = "ANONYMOUS"

_PARSERS: Final = {PLAIN: parse_plain, AMQPLAIN: parse_amqplain, EXTERNAL: parse_nothing, ANONYMOUS: parse_nothing}


def parse(mechanism: str, response: bytes) -> Credentials | None:
    """The credentials of a response; None where the mechanism carries none. Raises HandshakeFailed."""
    parser = _PARSERS.get(mechanism)
    if parser is None:
        raise HandshakeFailed(f"unsupported authentication mechanism '{mechanism}'")
    return parser(response)
