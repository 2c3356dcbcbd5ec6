"""A run of publishes that differ in everything comes to the same as one after the other: in queues, in the log, in what is confirmed."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from broker.core.message import join_routing
from broker.core.publisher import Publisher
from protocol.codec import encode_method
from protocol.content import Properties, encode_properties
from protocol.events import MANDATORY, PublishMethod
from protocol.methods import Confirm, Exchange, Queue, Tx
from protocol.tables import table_of
from tests.core.playbook import Acked, Playbook, PlayedChannel, PlayedPeer, Reply, Said

QUEUES = ("durable", "other", "transient", "limited")


class Sent(NamedTuple):
    """One publish."""

    channel: int
    exchange: str
    key: str
    persistent: bool = True
    mandatory: bool = False
    properties: tuple[tuple[str, str], ...] = ()
    body: bytes = b"body"
    headers: tuple[tuple[str, str | int], ...] = ()

    def method(self) -> PublishMethod:
        routing = join_routing(self.exchange, self.key)
        return PublishMethod(b"%d %b" % (self.channel, routing), self.channel, routing, MANDATORY if self.mandatory else 0)

    def header(self, number: int) -> bytes:
        values: dict[str, Any] = {"delivery_mode": 2 if self.persistent else 1, "message_id": str(number), **dict(self.properties)}
        if self.headers:
            values["headers"] = table_of(dict(self.headers))
        return encode_properties(Properties(**values), len(self.body))


plain = st.builds(
    Sent,
    st.integers(1, 2),
    st.sampled_from(["", "", "", "topic", "direct", "headers", "headers"]),
    st.sampled_from(["durable", "other", "transient", "a.b", "a", "nowhere"]),
    st.booleans(),
    st.just(False),
    st.sampled_from([(), (), (("reply_to", "elsewhere"),)]),
    st.sampled_from([b"", b"1", b"22", b"x" * 200]),
    st.sampled_from([(), (("kind", "a"),), (("kind", "b"), ("id", 1)), (("id", 1), ("kind", "b")), (("far", 1),), (("kind", "l"),)]),
)
SPECIAL = [
    each
    for channel in (1, 2)
    for each in (
        Sent(channel, "absent", "k"),
        Sent(channel, "", "nowhere", mandatory=True),
        Sent(channel, "headers", "", mandatory=True, headers=(("kind", "a"),)),
        Sent(channel, "headers", "", mandatory=True, headers=(("kind", "nobody's"),)),
        Sent(channel, "", "limited"),
        *(
            Sent(channel, "", "durable", properties=((name, value),))
            for name, value in (("expiration", "60000"), ("user_id", "somebody else"), ("reply_to", "amq.rabbitmq.reply-to"))
        ),
    )
]
runs = st.lists(plain, min_size=2, max_size=20) | st.lists(plain | st.sampled_from(SPECIAL), min_size=2, max_size=20)


def prepared(modes: Sequence[str]) -> tuple[Playbook, PlayedPeer]:
    book = Playbook()
    peer = book.connect()
    for mode in modes:
        channel = peer.channel()
        if mode:
            channel.do({"confirm": Confirm.Select, "tx": Tx.Select}[mode])
    channel = peer.channel()
    for queue in QUEUES:
        arguments = {"x-max-length": 3, "x-overflow": "reject-publish"} if queue == "limited" else {}
        channel.declare(queue, durable=queue != "transient", arguments=arguments)
    channel.exchange("topic", "topic", durable=True)
    channel.exchange("direct", "direct", durable=True)
    for queue, key in (("durable", "#"), ("other", "a.*"), ("transient", "a")):
        channel.bind(queue, "topic", key)
    for queue, key in (("durable", "a"), ("durable", "a.b"), ("transient", "other")):
        channel.bind(queue, "direct", key)
    for exchange in ("headers", "further"):
        channel.exchange(exchange, "headers", durable=True)
    for queue, exchange, arguments in (
        ("durable", "headers", {"kind": "a"}),
        ("durable", "headers", {"kind": "b", "id": 1}),
        ("other", "headers", {"x-match": "any", "kind": "b", "far": 1}),
        ("transient", "headers", {"kind": "a"}),
        ("limited", "headers", {"kind": "l"}),
        ("transient", "further", {"far": 1}),
    ):
        channel.do(Queue.Bind, queue=queue, exchange=exchange, routing_key="", arguments=table_of(arguments))
    channel.do(Exchange.Bind, source="headers", destination="further", routing_key="", arguments=table_of({"far": 1}))
    book.settle()
    peer.take()
    return book, peer


def publish_mixed(peer: PlayedPeer, said: Sequence[Sent]) -> None:
    """As the protocol layer hands it on, which drops what comes on channels that are closed."""
    numbered = [(number, one) for number, one in enumerate(said) if one.channel in peer.session.channels]
    if not numbered:
        return
    sent = [one for _, one in numbered]
    known: dict[tuple[bytes, int], PublishMethod] = {}
    methods = [known.setdefault((each.frame, each.bits), each) for each in (one.method() for one in sent)]
    headers = [one.header(number) for number, one in numbered]
    session = peer.session
    peer._call(lambda: session.on_mixed_publishes(methods, headers, [one.body for one in sent]))


def publish_singly(peer: PlayedPeer, sent: Sequence[Sent]) -> None:
    for number, one in enumerate(sent):
        if one.channel in peer.session.channels:
            method, header, body = one.method(), one.header(number), one.body
            PlayedChannel(peer, one.channel).publish_run(
                one.key, [header], [body], exchange=one.exchange, mandatory=bool(method.bits & MANDATORY)
            )


Acks = set[tuple[int, int]]
"""Channels and sequence numbers."""


def heard(replies: Sequence[Reply], acks: Acks) -> tuple[list[Any], Acks]:
    """What was said but for acks, by channel; and what is acked by now."""
    for reply in replies:
        if isinstance(reply, Acked):
            acks.update((reply.channel, tag) for tag in (range(1, reply.tag + 1) if reply.multiple else [reply.tag]))
    others = [
        (reply.channel, reply.method.name, encode_method(reply.method)) if isinstance(reply, Said) else reply
        for reply in replies
        if not isinstance(reply, Acked)
    ]
    return sorted(others, key=lambda reply: reply[0]), acks


def state(book: Playbook) -> Any:
    queues = {}
    for name in book.broker.vhosts["/"].queues:
        queue = book.queue(name)
        fresh, returned = book.waiting(queue)
        queues[name] = [message[1:] for message in sorted(fresh + returned)], queue.body_bytes, queue.published
    return queues


def counted(book: Playbook, peer: PlayedPeer) -> Any:
    exchanges = book.broker.vhosts["/"].exchanges.values()
    channels = {
        number: {exchange.name: count for exchange, count in sorted(channel.published.items(), key=lambda item: item[0].name)}
        for number, channel in peer.session.channels.items()
    }
    return channels, [(each.name, each.published_in, each.published_out, each.dropped, each.returned) for each in exchanges]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(runs, st.tuples(*[st.sampled_from(["", "confirm", "confirm", "tx"])] * 2), st.booleans())
@example([Sent(1, "", "durable"), Sent(2, "", "transient", False)] * 3, ("confirm", "confirm"), False)
def test_it_comes_to_the_same(sent: list[Sent], modes: tuple[str, str], known: bool) -> None:
    """`known`: all of it was published once before, so that routes are remembered."""
    (mixed, mixed_peer), (singly, single_peer) = prepared(modes), prepared(modes)
    mixed_acks, single_acks = Acks(), Acks()
    for _ in range(2 if known else 1):
        publish_mixed(mixed_peer, sent)
        publish_singly(single_peer, sent)
        mixed.settle()
        singly.settle()
        assert heard(mixed_peer.take(), mixed_acks) == heard(single_peer.take(), single_acks)
        assert state(mixed) == state(singly)
        assert counted(mixed, mixed_peer) == counted(singly, single_peer)
    mixed.crash()
    singly.crash()
    assert state(mixed) == state(singly)


def test_the_short_way_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the above compares the long way with itself."""
    book, peer = prepared(("confirm", ""))
    sent = [
        Sent(channel, exchange, key, persistent)
        for channel in (1, 2)
        for exchange, key in (("", "durable"), ("", "transient"), ("direct", "a"), ("direct", "a.b"), ("", "nowhere"))
        for persistent in (True, False)
    ]
    sent += [Sent(1, "headers", key, headers=(("id", 1), ("kind", kind))) for kind in "abc" for key in ("", "k")]
    publish_mixed(peer, sent)
    monkeypatch.setattr(Publisher, "publish", None)
    publish_mixed(peer, sent)
    book.settle()
    bodies = {name: len(messages) for name, (messages, _, _) in state(book).items()}
    assert bodies == {"durable": 32, "other": 4, "transient": 12, "limited": 0}
    book.crash()
    assert len(state(book)["durable"][0]) == 20, "the persistent ones"


def test_queues_that_several_ways_lead_to_get_all_in_order() -> None:
    """One gets everything and others a part of it: neither may the first be mixed up, nor need each message go alone."""
    book, peer = prepared(("confirm", ""))
    keys = ["a", "a.b", "a.b", "c", "c", "c", "a"]
    sent = [Sent(1 + number % 2, "topic", key, body=b"%d" % number) for number, key in enumerate(keys)]
    publish_mixed(peer, sent)
    book.settle()
    publish_mixed(peer, sent)
    assert len(book.broker.outbox._records) == 5, "four stretches, and the name of two queues together"
    book.settle()
    bodies = {name: [message[2] for message in messages] for name, (messages, _, _) in state(book).items()}
    assert bodies["durable"] == [b"%d" % number for number in range(7)] * 2
    assert bodies["other"] == [b"1", b"2"] * 2
    assert bodies["transient"] == [b"0", b"6"] * 2


def test_records_of_many_keys_are_few() -> None:
    book, peer = prepared(("", ""))
    sent = [Sent(1 + number % 2, "direct", key) for number, key in enumerate(["a", "a.b"] * 50)]
    publish_mixed(peer, sent)
    book.settle()
    publish_mixed(peer, sent)
    assert len(book.broker.outbox._records) == 1
    book.crash()
