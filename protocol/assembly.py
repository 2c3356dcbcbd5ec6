"""The receiving side of a channel: its state, the content that is still coming in, and what is out of order (contract 1.8)."""

from protocol.constants import UNEXPECTED_FRAME
from protocol.errors import ConnectionException
from protocol.framing import describe
from protocol.states import ChannelState

BASIC = 60
PUBLISH_IDS = (60, 40)
PARTS_MAX = 1024
"""Body frames of one message that are kept apart."""


class Content:
    """A message whose frames are still coming in on one channel."""

    __slots__ = ("bits", "header", "joined", "missing", "parts", "routing")

    def __init__(self, routing: bytes, bits: int) -> None:
        self.routing = routing
        self.bits = bits
        self.header: bytes | None = None
        self.missing = 0
        self.parts: list[bytes] = []
        self.joined = 0
        """So many of `parts`, from the first on, are made of PARTS_MAX frames each."""

    @property
    def size(self) -> int:
        """Bytes of the header and of the body that have come in."""
        return sum(map(len, self.parts)) + len(self.header or b"")

    def add(self, piece: bytes) -> None:
        """One more body frame. Frames of a few bytes would cost twenty times their size, were they kept one by one."""
        self.missing -= len(piece)
        self.parts.append(piece)
        if len(self.parts) - self.joined == PARTS_MAX:
            self.parts[self.joined :] = [b"".join(self.parts[self.joined :])]
            self.joined += 1


class ChannelInput:
    """The receiving side of one channel."""

    __slots__ = ("content", "state")

    def __init__(self) -> None:
        self.state = ChannelState.OPEN
        self.content: Content | None = None


def unexpected(channel: ChannelInput) -> ConnectionException:
    """The 505 for content out of order (rabbit_command_assembler.erl): it names what was expected."""
    content = channel.content
    if content is None:
        return ConnectionException(UNEXPECTED_FRAME, "expected method frame, got non method frame instead")
    if content.header is None:
        text = "expected content header for class 60, got non content header frame instead"
    else:
        text = "expected content body, got non content body frame instead"
    return ConnectionException(UNEXPECTED_FRAME, text, *PUBLISH_IDS)


def stray(number: int, kind: int, payload: bytes) -> ConnectionException:
    """The 505 for content on a channel that isn't open."""
    if number == 0:
        return ConnectionException(UNEXPECTED_FRAME, describe(kind, payload))
    return unexpected(ChannelInput())
