"""Where faults get between client and broker: what is said is handed on one by one, and rules are asked about each.

Without a rule for a connection everything is handed on as it comes, runs of publishes and acks as runs.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, cast

from broker.core.login import Undecided
from broker.testing.faults.confirms import FaultyConfirms
from broker.testing.faults.moment import AFTER, BEFORE, CLIENT_METHODS, Moment
from broker.testing.talk.wording import method_name
from broker.testing.through import Hearing, Saying
from protocol.methods import Basic, Connection, make

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.testing.channel import WatchedChannel
    from broker.testing.faults.connection import FaultyConnection
    from broker.testing.faults.session import FaultySession
    from protocol.events import Events, Message, Wire
    from protocol.methods import Method


class FaultyHearing(Hearing):
    """What the client says, as far as faults let it through."""

    def __init__(self, connection: FaultyConnection, session: FaultySession, to: Events) -> None:
        """What is let through goes `to` whoever is next, and to the session in the end."""
        super().__init__(to)
        self._session = session
        self._rules = connection.rules

    def on_publishes(self, channel: int, routing: bytes, bits: int, headers: Sequence[bytes], bodies: list[bytes]) -> int:
        """See Events."""
        if not self._rules.concern(self._session):
            return super().on_publishes(channel, routing, bits, headers, bodies)
        each = repeat(headers[0]) if len(headers) == 1 else headers
        run = zip(each, bodies, strict=False)
        return self._one_by_one(channel, deque(partial(self._publish, channel, routing, bits, header, body) for header, body in run))

    def on_acks(self, channel: int, tags: Sequence[int]) -> int:
        """See Events."""
        if not self._rules.concern(self._session):
            return super().on_acks(channel, tags)
        return self._one_by_one(channel, deque(partial(self._ack, channel, tag) for tag in tags))

    def on_ack(self, channel: int, tag: int, multiple: bool) -> int:
        """See Events."""
        if not self._rules.concern(self._session):
            return super().on_ack(channel, tag, multiple)
        found = cast("WatchedChannel", self._session.channels[channel])
        unacked = found.unacked
        if multiple and not found.vanished and (tag in unacked or (not tag and unacked)):
            return self._one_by_one(channel, deque(partial(self._ack, channel, each) for each in unacked if each <= tag or not tag))
        moment = Moment.of_method(self._session, channel, make(Basic.Ack, delivery_tag=tag, multiple=multiple))
        return self._let_through(moment, lambda: self._to.on_ack(channel, tag, multiple))

    def on_method(self, channel: int, method: Method) -> int:
        """See Events."""
        if not self._rules.are_active:
            return super().on_method(channel, method)
        moment = Moment.of_method(self._session, channel, method)
        if isinstance(method, Basic.Get):
            self._session.got_from = moment.about[0].queue
        elif isinstance(method, Connection.StartOk):
            moment.vhost = self._rules.only_vhost_of(moment.user)
        return self._let_through(moment, lambda: self._to.on_method(channel, method))

    def _publish(self, channel: int, routing: bytes, bits: int, header: bytes, body: bytes) -> int:
        moment = Moment.of_publish(self._session, channel, routing, header)

        def publish() -> int:
            confirms = self._session.channels[channel].confirms
            if isinstance(confirms, FaultyConfirms):
                confirms.order(moment.confirm(), self._rules)
            return self._to.on_publishes(channel, routing, bits, (header,), [body])

        return self._let_through(moment, publish)

    def _ack(self, channel: int, tag: int) -> int:
        moment = Moment.of_method(self._session, channel, make(Basic.Ack, delivery_tag=tag))
        return self._let_through(moment, lambda: self._to.on_acks(channel, (tag,)))

    def _let_through(self, moment: Moment, event: Callable[[], int]) -> int:
        """What was said, with what is to go wrong before it and after it."""

        def take_place() -> int:
            try:
                cost = event()
            finally:
                for put_right in moment.afterwards:
                    put_right()
            moment.has_taken_place()
            self._rules.act(AFTER, moment)
            return cost

        moment.event = take_place
        return 1 if self._rules.act(BEFORE, moment) else take_place()

    def _one_by_one(self, channel: int, events: deque[Callable[[], int]]) -> int:
        """A run, as far as the channel stays open. If one of it has to wait, the rest waits behind it."""
        cost = 0
        while events and channel in self._session.channels:
            event = events.popleft()
            try:
                cost += event()
            except Undecided:
                self._session.go_on_with(lambda: self._one_by_one(channel, events))
                raise
        return cost or 1


class Said(bytes):
    """Frames that will be written, now or once something is durable, and the moment that this will be."""

    original: bytes
    moment: Moment


class FaultySaying(Saying):
    """What the broker says, as far as faults let it through. Deliveries and confirms are asked about where they are made (consumers,
    confirms)."""

    def __init__(self, connection: FaultyConnection, to: Wire) -> None:
        super().__init__(to)
        self._connection = connection

    def write(self, frames: bytes) -> None:
        """See Wire."""
        connection = self._connection
        if connection.is_mute:
            return
        if not isinstance(frames, Said):
            self._to.write(frames)
            return
        if not connection.rules.act(BEFORE, frames.moment):
            with connection.saying(frames.moment):
                self._to.write(frames.original)

    def method(self, channel: int, method: Method) -> bytes:
        """See Wire."""
        frames = self._to.method(channel, method)
        connection = self._connection
        if isinstance(method, Connection.OpenOk):
            connection.rules.opened(connection)
        if method_name(method) in CLIENT_METHODS:
            return frames  # the same in both directions: basic.cancel, channel.close
        return self._said(frames, lambda: Moment.of_method(connection.session, channel, method))

    def get_ok(self, channel: int, tag: int, redelivered: bool, message_count: int, message: Message) -> bytes:
        """See Wire."""
        frames = self._to.get_ok(channel, tag, redelivered, message_count, message)
        session = self._connection.session
        lease = session.channels[channel].unacked.get(tag)
        queue = session.got_from if lease is None else lease[0].queue.name
        return self._said(frames, lambda: Moment.of_content("basic.get-ok", session, channel, message[1], queue))

    def returned(self, channel: int, code: int, text: str, routing: bytes, header: bytes, body: bytes) -> bytes:
        """See Wire."""
        frames = self._to.returned(channel, code, text, routing, header, body)
        return self._said(frames, lambda: Moment.of_content("basic.return", self._connection.session, channel, routing, None))

    def delivered(self, channel: int, consumer_tag: str, tag: int, message: Message) -> bytes:
        """See Wire."""
        frames = self._to.delivered(channel, consumer_tag, tag, message)
        session = self._connection.session
        return self._said(frames, lambda: Moment.of_content("basic.deliver", session, channel, message[1], None, consumer_tag))

    def _said(self, frames: bytes, moment: Callable[[], Moment]) -> bytes:
        if not self._connection.rules.are_active:
            return frames
        said = Said(frames)
        said.original, said.moment = frames, moment()
        return said
