"""What a peer did wrong, by severity: a soft error closes the channel, a hard one the connection.

The reply text is RabbitMQ's: the code's name, ` - `, the explanation, cut at 252 bytes plus `...`
(rabbit_binary_generator:map_exception at v3.13.7).
"""

import re

from protocol.constants import REPLY_NAMES, REPLY_TEXT_MAX_BYTES

_OCTETS = re.compile(r"<<.+>>", re.DOTALL)


def without_octets(text: str) -> str:
    """A text for the log without the octets of the frame that it is about: they may be a password's (start-ok, update-secret)."""
    return _OCTETS.sub("<<...>>", text)


class AmqpError(Exception):
    """Base of both: `code`, `text` (without the code's name), `class_id` and `method_id` of the failing method."""

    def __init__(self, code: int, text: str, class_id: int = 0, method_id: int = 0) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text
        self.class_id = class_id
        self.method_id = method_id
        self.channel = 0
        """Where it happened, for the log."""

    @property
    def reply_text(self) -> str:
        """The text for connection.close or channel.close: at most 255 bytes of UTF-8."""
        whole = f"{REPLY_NAMES[self.code]} - {self.text}"
        encoded = whole.encode("utf-8", "surrogateescape")
        if len(encoded) <= REPLY_TEXT_MAX_BYTES:
            return whole
        return encoded[:REPLY_TEXT_MAX_BYTES].decode("utf-8", "ignore") + "..."

    def __str__(self) -> str:
        return f"{self.code} {self.reply_text}"


class ChannelException(AmqpError):
    """A soft error: the channel is closed with channel.close, the connection lives on."""


class ConnectionException(AmqpError):
    """A hard error: the connection is closed with connection.close."""


class FramingException(ConnectionException):
    """A hard error after which the byte stream can't be trusted: close is sent, nothing more is read (contract 1.7)."""


class HandshakeFailed(Exception):
    """The peer broke the handshake: no frame is sent, the socket is closed after a delay (contract 1.3, 1.4).

    `reason` goes to the log; `is_refusal` says that it was understood, and that the login isn't valid.
    """

    def __init__(self, reason: str, *, is_refusal: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_refusal = is_refusal
