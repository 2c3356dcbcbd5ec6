"""Scenes with queues too deep for memory, for the tests of paging and compaction (with the fixture `deep_queues`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protocol.methods import Basic
from tests.core.playbook import Delivered, Playbook, PlayedChannel

if TYPE_CHECKING:
    from collections.abc import Sequence


def put(book: Playbook, channel: PlayedChannel, name: str, bodies: str, **properties: Any) -> None:
    """A message for each letter, each on its own, all of them written."""
    for body in bodies:
        channel.publish(name, body.encode(), **properties)
    book.settle()


def filled(book: Playbook, channel: PlayedChannel, bodies: str = "123456789", *, durable: bool = True, **arguments: Any) -> Any:
    """The queue `q`: its first message in memory, the others in the log only."""
    channel.declare("q", durable=durable, arguments={name.replace("_", "-"): value for name, value in arguments.items()})
    put(book, channel, "q", bodies)
    channel.take()
    return book.queue("q")


def where(core: Any) -> tuple[int, int, int]:
    """How many never delivered messages are in memory, in pages, and in the tail."""
    paged = core.ready.paged
    return len(core.ready.fresh), paged.pages.count if paged else 0, len(paged.tail) if paged else 0


def bodies(text: str) -> list[bytes]:
    return [letter.encode() for letter in text]


def drain(book: Playbook, name: str = "q") -> list[tuple[str, bool]]:
    """What a new consumer is sent: bodies, and whether they are redelivered."""
    channel = book.connect().channel()
    channel.consume(name, no_ack=True)
    book.settle()
    found = [(reply.body.decode(), reply.redelivered) for reply in channel.take() if isinstance(reply, Delivered)]
    channel.cancel()
    book.settle()
    return found


def text_of(found: Sequence[tuple[str, bool]]) -> str:
    return "".join(body for body, _ in found)


def ask(channel: PlayedChannel, *, no_ack: bool = False) -> None:
    """basic.get, whose answer may have to wait (PlayedChannel.get reads at once)."""
    channel.do(Basic.Get, queue="q", no_ack=no_ack)


def serve(book: Playbook) -> None:
    """A turn whose reads stay under way until `book.read()`."""
    book.broker.serve()
    book.ship()


def to_cold_head(book: Playbook, channel: PlayedChannel, text: str = "123456789", **options: Any) -> Any:
    """`q` without its first message: the head is in the log."""
    core = filled(book, channel, text, **options)
    ask(channel, no_ack=True)
    channel.take()
    assert core.is_cold
    return core


def assert_nothing_left(book: Playbook) -> None:
    """Nothing is in memory, nothing paged, and nothing alive in either log."""
    memory = book.broker.memory
    assert (memory.used, memory.loading, memory.paging) == (0, 0, 0)
    for ledger in (book.broker.outbox.ledger, book.broker.outbox.spill.ledger):
        assert [segment.live for segment in ledger._segments if segment.live] == []


def deliveries(book: Playbook, channel: PlayedChannel) -> list[Delivered]:
    """What was delivered when all is quiet."""
    book.settle()
    return [reply for reply in channel.take() if isinstance(reply, Delivered)]


def assert_nothing_left_when_settled(book: Playbook) -> None:
    """The same, when all is quiet."""
    book.settle()
    assert_nothing_left(book)
