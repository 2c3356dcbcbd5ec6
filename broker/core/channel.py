"""A channel: what it was given and has not settled, what it holds back, and its modes (confirm, tx).

The order law: a channel has one ordered stream of replies. While a reply waits for the disk (`held`), everything after it on
this channel waits behind it, and its consumers get nothing.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any, ClassVar

from broker.core.confirms import Confirms
from broker.core.consumers import Consumer, Getter
from broker.core.counters import Given, Taken, given_by
from broker.core.transaction import Transaction
from protocol.constants import CHANNEL_ERROR, INTERNAL_ERROR, PRECONDITION_FAILED
from protocol.errors import ChannelException, ConnectionException

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence, Sized

    from broker.core.consumers import Holder
    from broker.core.exchange import Exchange
    from broker.core.message import Message
    from broker.core.queue import Queue
    from broker.core.session import Session
    from protocol.methods import Method

NEVER = 1 << 62
"""The number of no batch."""


class Channel:
    """One open channel of a session."""

    confirms_type: ClassVar[type[Confirms]] = Confirms
    consumer_type: ClassVar[type[Consumer]] = Consumer
    transaction_type: ClassVar[type[Transaction]] = Transaction

    __slots__ = (
        "__weakref__", "closed", "confirms", "consumers", "delivery_round", "delivery_times", "dropped", "gets", "getters", "given",
        "held", "last_queue", "lowest", "next_tag", "number", "prefetch", "prefetch_shared", "process", "published", "reply_address",
        "reply_consumer", "returned", "session", "shared_used", "taken", "taken_before", "transaction", "unacked",
    )  # fmt: skip

    def __init__(self, session: Session, number: int) -> None:
        self.session = session
        self.number = number
        self.process = session.broker.next_process()
        self.closed = False
        self.prefetch = 0
        """For consumers to come; 0 means no limit (basic.qos, global=false)."""
        self.prefetch_shared = 0
        """Over the whole channel (basic.qos, global=true)."""
        self.shared_used = 0
        """What counts against it: everything unacked when it was set, and what consumers were sent since (not what was got)."""
        self.consumers: dict[str, Consumer] = {}
        self.getters: dict[tuple[Queue, bool], Getter] = {}
        """By queue and no_ack."""
        self.published: defaultdict[Exchange, int] = defaultdict(int)
        """How many messages it has published, by the exchange that they named."""
        self.returned: defaultdict[Exchange, int] = defaultdict(int)
        self.dropped: defaultdict[Exchange, int] = defaultdict(int)
        """How many of them couldn't be routed."""
        self.given = Given()
        """What else has become of them."""
        self.taken: dict[Queue, Taken] = {}
        """What it took from each queue, but for the figures of its consumers."""
        self.taken_before = Taken()
        """What it took from queues that are deleted."""
        self.next_tag = 1
        self.lowest = 1
        """No tag below is outstanding: where `multiple` begins to look."""
        self.unacked: dict[int, tuple[Holder, Message]] = {}
        """Delivery tag, rising, to who holds what."""
        self.delivery_round = 0
        self.delivery_times: deque[tuple[int, int]] = deque()
        """Tags and when they were given out, for the consumer timeout."""
        self.last_queue = ""
        """The queue declared last, which an empty name means (contract 4.1)."""
        self.confirms: Confirms | None = None
        self.transaction: Transaction | None = None
        self.reply_consumer: str | None = None
        """The consumer tag on amq.rabbitmq.reply-to."""
        self.reply_address = ""
        """Where replies to it are sent (contract 6.8)."""
        self.gets: deque[tuple[Queue, Callable[[], None]]] = deque()
        """Each basic.get that waits, and what answers it."""
        self.held: deque[list[Any]] | None = None
        """[batch number to wait for (0: only for what is before it), the frames], in order."""

    # --- output -----------------------------------------------------------------------------------------------------

    def send(self, method: Method) -> None:
        """A reply, in its place."""
        self.write(self.session.wire.method(self.number, method))

    def write(self, frames: bytes) -> None:
        """Frames, in their place."""
        if self.held is None:
            self.session.wire.write(frames)
        else:
            self.held.append([0, frames])

    def hold_place(self) -> Callable[[bytes], None]:
        """Keep the place of a reply that comes later; returns what is to be called with its frames."""
        if self.held is None:
            self.held = deque()
        slot: list[Any] = [NEVER, b""]
        self.held.append(slot)

        def fill(frames: bytes) -> None:
            slot[:] = (0, frames)
            self.release(self.session.broker.outbox.released, True)

        return fill

    def answer_gets(self) -> None:
        """Answer each basic.get whose queue has its head in memory (or nothing), up to the first that hasn't."""
        while self.gets:
            queue, answer = self.gets[0]
            if queue.is_cold and not self.closed:
                queue.wait_for_head(self.answer_gets)
                return
            self.gets.popleft()
            answer()

    def send_durable(self, method: Method) -> None:
        """A reply that waits until what was written down so far is durable."""
        outbox = self.session.broker.outbox
        if self.held is None:
            self.held = deque()
        self.held.append([outbox.number, self.session.wire.method(self.number, method)])
        outbox.hold(self)

    def release(self, batch: int, durable: bool) -> None:
        """Batch number `batch` is durable, or will never be."""
        if self.held is None or self.session.ended:
            return
        if not durable:
            error = ConnectionException(INTERNAL_ERROR, "the message store failed, nothing more can be made durable until a restart")
            self.session.close_connection(error)
            return
        held = self.held
        while held and held[0][0] <= batch:
            self.session.wire.write(held.popleft()[1])
        if not held:
            self.held = None
            if self.transaction is not None:
                self.transaction.committing = False
            for consumer in self.consumers.values():
                consumer.wake()

    def check_not_committing(self) -> None:
        """While a commit waits for the disk, the channel takes nothing else. Raises ConnectionException 504 (contract 8.1)."""
        if self.transaction is not None and self.transaction.committing:
            raise ConnectionException(CHANNEL_ERROR, "unexpected command while processing 'tx.commit'")

    # --- leases -----------------------------------------------------------------------------------------------------

    def lease_to_getter(self, queue: Queue, message: Message) -> int:
        """basic.get without no_ack: returns the delivery tag."""
        getter = self.getter(queue, no_ack=False)
        tag = self.take_tag()
        self.unacked[tag] = (getter, message)
        timeout = self.session.broker.consumer_timeout
        if self.delivery_round != timeout.round:
            timeout.delivered(self, tag)
        getter.unacked += 1
        queue.lease((message,))
        return tag

    def getter(self, queue: Queue, *, no_ack: bool) -> Getter:
        """Who gets from that queue for this channel."""
        getter = self.getters.get((queue, no_ack))
        if getter is None:
            if _is_time_to_sweep(self.getters):
                for gone in [each for each in self.getters if each[0].deleted]:
                    del self.getters[gone]
            getter = self.getters[queue, no_ack] = Getter(self, queue, no_ack=no_ack)
        return getter

    def taken_from(self, queue: Queue) -> Taken:
        """Where what it took from that queue is counted."""
        taken = self.taken.get(queue)
        if taken is None:
            if _is_time_to_sweep(self.taken):
                for gone in [each for each in self.taken if each.deleted]:
                    self.taken_before.add(self.taken.pop(gone))
            taken = self.taken[queue] = Taken()
        return taken

    def forget_exchange(self, exchange: Exchange) -> None:
        """An exchange is deleted: what was published to it counts with all else."""
        self.given.publish += self.published.pop(exchange, 0)
        self.given.return_unroutable += self.returned.pop(exchange, 0)
        self.given.drop_unroutable += self.dropped.pop(exchange, 0)

    def take_tag(self) -> int:
        """The next delivery tag."""
        tag = self.next_tag
        self.next_tag = tag + 1
        return tag

    def ack(self, tags: Sequence[int]) -> None:
        """Settle single tags in turn. Raises ChannelException 406 at the first that is unknown; those before it count."""
        pop = self.unacked.pop
        holder: Holder | None = None
        messages: list[Message] = []
        for tag in tags:
            lease = pop(tag, None)
            if lease is None:
                if holder is not None:
                    _settle(holder, messages)
                raise self.unknown_tag(tag)
            if lease[0] is not holder:
                if holder is not None:
                    _settle(holder, messages)
                holder, messages = lease[0], []
            messages.append(lease[1])
        if holder is not None:
            _settle(holder, messages)
        self._credit_shared()

    def outstanding(self, tag: int, multiple: bool) -> list[int]:
        """The tags that an ack, nack or reject means (contract 6.5). Raises ChannelException 406 for one that is unknown."""
        unacked = self.unacked
        if not multiple:
            if tag not in unacked:
                raise self.unknown_tag(tag)
            return [tag]
        if tag == 0:
            return list(unacked)
        if tag not in unacked:
            raise self.unknown_tag(tag)
        # Tags are dense, so counting up from the lowest finds each one once; a scan of the dict would pass its holes again and again.
        tags = [each for each in range(self.lowest, tag + 1) if each in unacked]
        self.lowest = tag + 1
        return tags

    def on_settle(self, tag: int, multiple: bool, requeue: bool | None) -> int:
        """One basic.ack (`requeue` is None), nack or reject, now or for the transaction's commit; returns how many tags it meant."""
        tags = self.outstanding(tag, multiple)
        if self.transaction is not None:
            self.transaction.settle(tags, requeue)
        else:
            self.settle(tags, requeue)
        return len(tags)

    def settle(self, tags: Sequence[int], requeue: bool | None) -> None:
        """Ack outstanding tags (`requeue` is None), put them back, or drop them."""
        if requeue is None:
            self.ack(tags)
        else:
            self._give_back(tags, requeue)

    def requeue(self, tags: Sequence[int]) -> None:
        """Give leased messages back to their queues, all of one queue at once."""
        self._give_back(tags, True)

    def _give_back(self, tags: Sequence[int], requeue: bool) -> None:
        by_holder: dict[Holder, list[Message]] = {}
        for tag in tags:
            holder, message = self.unacked.pop(tag)
            by_holder.setdefault(holder, []).append(message)
        for holder, messages in by_holder.items():
            (holder.queue.requeue if requeue else holder.queue.reject)(messages)
            holder.settled(len(messages))
        self._credit_shared()

    def _credit_shared(self) -> None:
        """A limit over the whole channel: whoever was parked for it may go on."""
        if self.prefetch_shared:
            for consumer in self.consumers.values():
                consumer.wake()

    def unknown_tag(self, tag: int) -> ChannelException:
        """The error for a tag that isn't outstanding."""
        return ChannelException(PRECONDITION_FAILED, f"unknown delivery tag {tag}")

    # --- closing ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """The channel is gone: consumers first, then what was unacked goes back, a transaction is rolled back (contract 1.12)."""
        self.closed = True
        broker = self.session.broker
        for consumer in list(self.consumers.values()):
            broker.cancel(consumer)
        self.consumers.clear()
        if self.reply_consumer is not None:
            broker.forget_reply_channel(self)
        if self.transaction is not None:
            self.transaction.rollback()
        self.requeue(list(self.unacked))
        self.answer_gets()
        vhost = self.session.vhost
        vhost.given.add(given_by(self))


def _is_time_to_sweep(table: Sized) -> bool:
    """At 0, 1, 2, 4, 8 ... entries: what is gone is then never more than what is there, and a sweep costs each entry little."""
    return not len(table) & (len(table) - 1)


def _settle(holder: Holder, messages: list[Message]) -> None:
    count = len(messages)
    holder.queue.settle_leased(messages)
    holder.acked += count
    holder.settled(count)
