"""A session of a broker under test: why what happens in it happens."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, ClassVar

from broker.core.session import Session
from broker.testing.lives.channel import RememberingChannel
from broker.testing.lives.history import BY_CHANNEL_ERROR, BY_CONNECTION, BY_METHOD, history_of
from broker.testing.lives.publisher import RememberingPublisher
from broker.testing.talk.wording import method_name
from protocol.methods import Connection

if TYPE_CHECKING:
    from broker.core.channel import Channel
    from protocol.errors import AmqpError, ChannelException
    from protocol.methods import Method


class RememberingSession(Session):
    """See the module."""

    channel_type: ClassVar[type[Channel]] = RememberingChannel
    publisher_type = RememberingPublisher

    def _because(self, text: str, weight: int) -> AbstractContextManager[None]:
        if self.vhost_name is None:
            return nullcontext()
        return history_of(self.vhost).because(text, weight)

    def on_method(self, channel: int, method: Method) -> int:
        """See Session."""
        if isinstance(method, Connection.Close):
            with self._because("the client closed its connection", BY_CONNECTION):
                return super().on_method(channel, method)
        with self._because(method_name(method), BY_METHOD):
            return super().on_method(channel, method)

    def close_channel(self, number: int, error: ChannelException) -> None:
        """See Session."""
        with self._because(f"its channel was closed: {error.code} {error.reply_text}", BY_CHANNEL_ERROR):
            super().close_channel(number, error)

    def close_connection(self, error: AmqpError) -> None:
        """See Session."""
        with self._because(f"its connection was closed: {error.code} {error.reply_text}", BY_CONNECTION):
            super().close_connection(error)

    def terminate(self) -> None:
        """See Session."""
        with self._because("its connection was lost", BY_CONNECTION):
            super().terminate()
