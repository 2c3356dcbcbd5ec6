"""Connections that are dropped, and connections and channels that the broker closes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from broker.testing.faults.actions.action import ANY_METHOD, EITHER, Action, Option
from broker.testing.faults.connection import Dropped
from broker.testing.faults.moment import BEFORE, CLIENT_METHODS
from protocol.constants import (
    ACCESS_REFUSED,
    CHANNEL_ERROR,
    COMMAND_INVALID,
    CONNECTION_FORCED,
    CONTENT_TOO_LARGE,
    FRAME_ERROR,
    INTERNAL_ERROR,
    INVALID_PATH,
    NOT_ALLOWED,
    NOT_FOUND,
    NOT_IMPLEMENTED,
    PRECONDITION_FAILED,
    REPLY_NAMES,
    RESOURCE_ERROR,
    RESOURCE_LOCKED,
    SYNTAX_ERROR,
    UNEXPECTED_FRAME,
)
from protocol.errors import ChannelException, ConnectionException

if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

    from broker.testing.faults.moment import Moment
    from broker.testing.faults.rule import Rule

SOFT: Final = (CONTENT_TOO_LARGE, ACCESS_REFUSED, NOT_FOUND, RESOURCE_LOCKED, PRECONDITION_FAILED)
HARD: Final = (
    CONNECTION_FORCED,
    INVALID_PATH,
    ACCESS_REFUSED,
    FRAME_ERROR,
    SYNTAX_ERROR,
    COMMAND_INVALID,
    CHANNEL_ERROR,
    UNEXPECTED_FRAME,
    RESOURCE_ERROR,
    NOT_ALLOWED,
    NOT_IMPLEMENTED,
    INTERNAL_ERROR,
)
"""Codes that a broker closes channels with, and connections. 403 does both: for a login it is the connection."""
TEXT: Final = "a test has ordered it"
OF_CHANNELS: Final = frozenset(method for method in ANY_METHOD if not method.startswith("connection."))
HANDSHAKE: Final = frozenset({"connection.start-ok", "connection.secure-ok", "connection.tune-ok", "connection.secure", "connection.tune"})


class DropConnection(Action):
    """Closes the socket without a word, before or after what the rule is on: the client sees the end of the connection, or with `reset` a
    TCP reset. `before` a method of the client's: the broker never gets it. `after` it: it has taken effect, and the client doesn't learn
    that. `after` basic.deliver: the delivery was sent, and nothing that the client says of it is heard."""

    name = "drop_connection"
    methods = ANY_METHOD
    on = "*"
    whens = EITHER
    options: ClassVar = {"reset": Option("flag", "with a TCP reset", False)}

    def act(self, rule: Rule, moment: Moment) -> bool:
        """See Action."""
        resets: bool = self.given["reset"]
        if moment.is_heard:
            raise Dropped(resets=resets)
        moment.connection.drop_soon(resets=resets)
        return True


class Closing(Action):
    """Closes something with a code and a text."""

    whens: ClassVar[tuple[str, ...]] = EITHER
    codes: ClassVar[tuple[int, ...]]
    options: ClassVar = {
        "code": Option("whole number", "AMQP's reply code"),
        "text": Option("text", "what follows the code's name", TEXT),
    }

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        code = self.given["code"]
        if code is not None and code not in self.codes:
            raise ValueError(self.wrong_code(code))

    @classmethod
    def wrong_code(cls, code: int) -> str:
        """What is to be said of a code that isn't one of those."""
        return f"code: expected one of {', '.join(map(str, cls.codes))}, not {code}"

    def act(self, rule: Rule, moment: Moment) -> bool:
        """See Action."""
        code: int = self.given["code"] or self.codes[0]
        self.close(moment, code, self.given["text"])
        return True

    def close(self, moment: Moment, code: int, text: str) -> None:
        """Do it, at once if it is an answer to the client, else at the end of the turn."""
        raise NotImplementedError


class CloseConnection(Closing):
    """Sends connection.close with the code (320 if none is given) and text. `before` a method: it has no effect."""

    name = "close_connection"
    methods = ANY_METHOD - HANDSHAKE
    on = "*"
    codes = HARD

    @classmethod
    def wrong_code(cls, code: int) -> str:
        """See Closing."""
        hint = f"; {code} closes a channel: close_channel" if code in SOFT else ""
        return super().wrong_code(code) + hint

    def close(self, moment: Moment, code: int, text: str) -> None:
        """See Closing."""
        close_connection(moment, code, text)


class CloseChannel(Closing):
    """Sends channel.close with the code (406 if none is given) and text. `before` a method: it has no effect."""

    name = "close_channel"
    methods = OF_CHANNELS - {"channel.close", "channel.close-ok"}
    on = "*"
    codes = (PRECONDITION_FAILED, *(code for code in SOFT if code != PRECONDITION_FAILED))

    @classmethod
    def wrong_code(cls, code: int) -> str:
        """See Closing."""
        hint = f"; {code} closes a connection: close_connection" if code in HARD else ""
        return super().wrong_code(code) + hint

    @classmethod
    def check_moment(cls, methods: Collection[str], when: str) -> None:
        """See Action."""
        if when == BEFORE and set(methods) <= {"channel.open", "channel.open-ok"}:
            raise ValueError("before channel.open there is no channel to close: it can be after it")

    def fits(self, moment: Moment) -> bool:
        """See Action."""
        return moment.channel is not None

    def close(self, moment: Moment, code: int, text: str) -> None:
        """See Closing."""
        close_channel(moment, code, text)


class FailMethod(Closing):
    """A method of the client's fails with the code (541 if none is given), which closes the channel or the connection, as the code does
    by AMQP; it has no effect. queue.declare may fail with 405, for example."""

    name = "fail_method"
    methods = CLIENT_METHODS - HANDSHAKE - {"connection.close", "channel.close"}
    whens = (BEFORE,)
    on = "*"
    codes = (INTERNAL_ERROR, *(code for code in REPLY_NAMES if code in (*SOFT, *HARD) and code != INTERNAL_ERROR))

    def close(self, moment: Moment, code: int, text: str) -> None:
        """See Closing."""
        if code in SOFT and moment.channel is not None:
            close_channel(moment, code, text)
        else:
            close_connection(moment, code, text)


def close_connection(moment: Moment, code: int, text: str) -> None:
    """Raises ConnectionException where that is an answer to what the client has said."""
    error = ConnectionException(code, text, *moment.method_ids)
    error.channel = moment.number
    if moment.is_heard:
        raise error
    session = moment.session
    assert session is not None
    moment.connection.postpone(lambda: session.close_connection(error))


def close_channel(moment: Moment, code: int, text: str) -> None:
    """At once, or at the end of the turn, if the channel is still open then."""
    error = ChannelException(code, text, *moment.method_ids)
    channel, session, number = moment.channel, moment.session, moment.number
    assert session is not None

    def close() -> None:
        if channel is not None and session.channels.get(number) is channel:
            session.close_channel(number, error)

    if moment.is_heard:
        close()
    else:
        moment.connection.postpone(close)
