"""The socket of a connection under test: it can be dropped without a word, blocked, deaf, slow, and cut in the middle of a frame."""

from __future__ import annotations

import logging
import socket
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from broker.core import titles
from broker.runtime.connection import Connection
from broker.testing.faults.line import Line
from broker.testing.faults.moment import AFTER

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator, Sequence

    from broker.testing.broker import WatchedBroker
    from broker.testing.faults.moment import Moment
    from broker.testing.faults.rule import Rule
    from broker.testing.faults.rules import Rules
    from broker.testing.faults.session import FaultySession

P = ParamSpec("P")
T = TypeVar("T")

NO_LINGERING = struct.pack("ii", 1, 0)
"""Closing the socket resets the connection."""


class Dropped(Exception):
    """The connection ends here, without a word: what the client has said behind this isn't heard."""

    def __init__(self, *, resets: bool) -> None:
        super().__init__(resets)
        self.resets = resets


class FaultyConnection(Connection):
    """See the module."""

    session: FaultySession
    line: Line

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._is_heard = self._is_spoken_to = True
        self.is_deaf = False
        """Nothing that comes in is heard, as if the network had swallowed it."""
        self.sends_heartbeats = True
        super().__init__(*arguments, **options)
        self.rules: Rules = cast("WatchedBroker", self._turn.broker).rig.faults
        self.is_mute = False
        """Nothing more is said: it is to be dropped at the end of the turn."""
        self._blocks: dict[Rule, str] = {}

    # --- the socket -------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See Connection."""
        self.line = Line(cast("asyncio.Transport", transport), self, super().data_received)
        super().connection_made(self.line)

    def data_received(self, data: bytes) -> None:
        """See Connection."""
        self.line.from_client.feed(data)

    def eof_received(self) -> bool:
        """See Connection. The end comes behind what is still on its way."""
        if self.line.from_client.is_empty:
            return super().eof_received()
        self.line.from_client.then(self.line.close)
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """See Connection."""
        if hasattr(self, "line"):
            self.line.lost()
        self.rules.closed(self)
        super().connection_lost(error)

    @contextmanager
    def saying(self, moment: Moment, after: Sequence[Rule] | None = None) -> Iterator[None]:
        """Meanwhile something is said; then, what is to go wrong after it (`after`: what is known to go wrong, without asking)."""
        begin = len(self.wire.output)
        yield
        if moment.cut_bytes is not None:
            self._cut(begin, moment.cut_bytes)
        elif after is None:
            self.rules.act(AFTER, moment)
        else:
            for rule in after:
                if not rule.is_removed:
                    rule.action.act(rule, moment)

    def _cut(self, begin: int, count: int) -> None:
        """Of what was said from there on only so many bytes are sent (0: half of them), and nothing after them."""
        output = self.wire.output
        said = b"".join(output[begin:])
        count = count or len(said) // 2
        output[begin:] = [said[: min(count, len(said) - 1)]] if said else []
        self.drop_soon()

    # --- the end ----------------------------------------------------------------------------------------------------

    def _heard(self, hear: Callable[P, T], *arguments: P.args, **keywords: P.kwargs) -> T | None:
        dropped: list[Dropped] = []

        def listen() -> T | None:
            try:
                return hear(*arguments, **keywords)
            except Dropped as drop:
                dropped.append(drop)
            return None

        heard = super()._heard(listen)
        if dropped:
            self.drop(resets=dropped[0].resets)
        return heard

    def drop(self, *, resets: bool = False) -> None:
        """Send what was said so far, and close the socket without a word. `resets`: the client sees a TCP reset."""
        if self._ending:
            return
        self.flush()
        self.is_mute = self._ending = True
        self._log(logging.INFO, "closing AMQP connection %s:\ndropped, as a test has ordered", titles.full(self.session))
        self.session.terminate()
        if resets:
            self.line.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGERING)
            self.abort()
        else:
            self._cancel_timer()
            self._close()
        self._turn.schedule()

    def drop_soon(self, *, resets: bool = False) -> None:
        """The same at the end of the turn, and nothing more is said until then."""
        self.is_mute = True
        self.postpone(lambda: self.drop(resets=resets))

    def postpone(self, act: Callable[[], None]) -> None:
        """Do it at the end of the turn, if the session lives so long; until then nothing is delivered to it."""
        self.session.congested = self.session.had_its_share = True
        self.rules.postpone(lambda: None if self.session.ended else act())
        self._turn.flush_later(self)

    def send_bytes(self, data: bytes) -> None:
        """What is no frame, in its place behind what was said so far."""
        self.wire.write(data)

    # --- blocked ----------------------------------------------------------------------------------------------------

    def block(self, rule: Rule, reason: str) -> None:
        """The next publish waits, and the client is told why, until `unblock`."""
        self._blocks[rule] = reason
        self.hold_publishes()

    def unblock(self, rule: Rule) -> None:
        """Publishes go on, if there is nothing else that holds them."""
        if self._blocks.pop(rule, None) is not None and not self._turn.alarms.active:
            self.release_publishes()
            self._turn.schedule()

    def release_publishes(self) -> None:
        """See Connection: the alarms are over."""
        if not self._blocks:
            super().release_publishes()

    @property
    def blocked_reason(self) -> str:
        """See Connection."""
        return next(iter(self._blocks.values())) if self._blocks else super().blocked_reason

    # --- heartbeats -------------------------------------------------------------------------------------------------

    @property
    def heard(self) -> bool:
        """See Connection."""
        return self._is_heard and not self.is_deaf

    @heard.setter
    def heard(self, heard: bool) -> None:
        self._is_heard = heard

    @property
    def spoke(self) -> bool:
        """See Connection. Who spoke needn't send a heartbeat."""
        return self._is_spoken_to or not self.sends_heartbeats

    @spoke.setter
    def spoke(self, spoke: bool) -> None:
        self._is_spoken_to = spoke

    @property
    def is_paused(self) -> bool:
        """See Connection."""
        return super().is_paused and not self.is_deaf
