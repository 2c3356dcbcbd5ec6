"""Where a message would go: what is said agrees with what routing does, and tells why."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from broker.core.envelope import Envelope
from broker.core.explanation import Explanation, explain
from broker.core.message import join_routing
from protocol.content import Properties, encode_properties
from protocol.methods import Exchange, Queue
from protocol.tables import table_of
from tests.core.stepped import carry_out

if TYPE_CHECKING:
    from tests.core.playbook import Playbook, PlayedChannel


def told(book: Playbook, exchange: str, key: str = "", **headers: Any) -> Explanation:
    vhost = book.broker.vhosts["/"]
    return carry_out(book, explain(vhost, vhost.exchange(exchange), key, table_of(headers)))


def whys(found: Explanation) -> list[str]:
    return [each.why for stop in found.stops for each in stop.matched]


def queues(found: Explanation) -> list[str]:
    return [queue.name for queue in found.queues]


@pytest.fixture(autouse=True)
def topology(channel: PlayedChannel) -> None:
    for name in ("a", "b", "c"):
        channel.declare(name)
    for name, kind in (("direct", "direct"), ("topic", "topic"), ("fanout", "fanout"), ("headers", "headers")):
        channel.exchange(name, kind)


def bind(channel: PlayedChannel, queue: str, exchange: str, key: str = "", **arguments: Any) -> None:
    names = {name.replace("_", "-") if name.startswith("x_") else name: value for name, value in arguments.items()}
    channel.do(Queue.Bind, queue=queue, exchange=exchange, routing_key=key, arguments=table_of(names))


def test_the_default_exchange_goes_by_queue_name(book: Playbook) -> None:
    found = told(book, "", "a")
    assert queues(found) == ["a"]
    assert whys(found) == ["the routing key is its binding key 'a'"]


def test_a_pattern_says_what_its_wildcards_stand_for(book: Playbook, channel: PlayedChannel) -> None:
    bind(channel, "a", "topic", "orders.*.eu.#")
    assert whys(told(book, "topic", "orders.new.eu.fr.paris")) == [
        "'orders.new.eu.fr.paris' fits 'orders.*.eu.#': * is 'new', # is 'fr.paris'"
    ]
    assert whys(told(book, "topic", "orders.new.eu")) == ["'orders.new.eu' fits 'orders.*.eu.#': * is 'new', # is ''"]


def test_the_way_leads_through_exchanges(book: Playbook, channel: PlayedChannel) -> None:
    channel.do(Exchange.Bind, source="direct", destination="fanout", routing_key="k")
    bind(channel, "a", "fanout")
    bind(channel, "b", "direct", "k")
    found = told(book, "direct", "k")
    assert [(stop.exchange, stop.came_by) for stop in found.stops] == [
        ("direct", "it is published there"),
        ("fanout", "exchange 'direct' leads there"),
    ]
    assert sorted(queues(found)) == ["a", "b"]


def test_an_alternate_exchange_takes_the_rest(book: Playbook, channel: PlayedChannel) -> None:
    channel.exchange("main", "direct", arguments={"alternate-exchange": "fanout"})
    bind(channel, "a", "main", "k")
    bind(channel, "b", "fanout")
    assert queues(told(book, "main", "k")) == ["a"]
    found = told(book, "main", "other")
    assert queues(found) == ["b"]
    assert found.stops[0].notes == ["nothing matches, and the alternate exchange 'fanout' gets it"]
    channel.exchange("lost", "direct", arguments={"alternate-exchange": "none"})
    assert told(book, "lost", "k").stops[0].notes == [
        "nothing matches, and the alternate exchange 'none' leads nowhere: there is no such exchange"
    ]


def test_headers_say_which_are_met(book: Playbook, channel: PlayedChannel) -> None:
    bind(channel, "a", "headers", x_match="all", format="pdf", kind="report")
    bind(channel, "b", "headers", x_match="any", format="pdf", kind="log")
    assert whys(told(book, "headers", format="pdf", kind="report")) == [
        "all are as they should be: 'format', 'kind'",
        "one is enough: 'format'",
    ]
    found = told(book, "headers", format="doc", kind="report")
    assert queues(found) == []
    assert [(each.destination, each.why) for each in found.nearest] == [
        ("a", "'format' is missing or other than they should be ('kind' would do)")
    ]


@pytest.mark.parametrize(
    ("exchange", "key", "bound", "why"),
    [
        ("direct", "orders.New", "orders.new", "'orders.new' and 'orders.New' differ in upper and lower case"),
        ("direct", "orders ", "orders", "'orders' and 'orders ' differ in spaces at their ends"),
        ("direct", "order", "orders", "its binding key is 'orders', not 'order'"),
        ("topic", "orders.new.de", "orders.*.eu", "word 3 is 'de', and 'orders.*.eu' wants 'eu'"),
        ("topic", "orders.new", "orders.*.eu", "'orders.*.eu' has 3 words, 'orders.new' 2"),
        ("topic", "orders.old", "orders.#.eu", "'orders.old' doesn't fit 'orders.#.eu'"),
        ("", "aa", "a", "its binding key is 'a', not 'aa'"),
    ],
)  # fmt: skip
def test_what_nearly_takes_it_is_told(book: Playbook, channel: PlayedChannel, exchange: str, key: str, bound: str, why: str) -> None:
    if exchange:
        bind(channel, "a", exchange, "something else altogether")
        bind(channel, "b", exchange, bound)
    found = told(book, exchange, key)
    assert not found.queues
    assert (found.nearest[0].routing_key, found.nearest[0].why) == (bound, why)
    assert all(each.routing_key != "something else altogether" for each in found.nearest)


def test_telling_changes_nothing(book: Playbook, channel: PlayedChannel) -> None:
    channel.exchange("dedup", "x-message-deduplication", arguments={"x-cache-size": 5})
    channel.exchange("late", "x-delayed-message", arguments={"x-delayed-type": "topic"})
    channel.exchange("kept", "x-recent-history")
    channel.exchange("dice", "x-random")
    for name in ("dedup", "late", "kept", "dice"):
        bind(channel, "a", name, "k")
        bind(channel, "b", name, "k")
    used = book.broker.memory.used
    for _ in range(3):
        assert queues(told(book, "dedup", "k", **{"x-deduplication-header": "1"})) == ["a", "b"]
    assert queues(told(book, "kept", "k")) == ["a", "b"]
    found = told(book, "dice", "k")
    assert found.by_chance and queues(found) == ["a", "b"]
    found = told(book, "late", "k", **{"x-delay": 500})
    assert queues(found) == ["a", "b"]
    assert found.stops[0].notes == ["it is held there for 500 ms, then it goes on as by an exchange of type topic"]
    assert "amq.delayed.late" not in book.broker.vhosts["/"].queues
    assert book.broker.memory.used == used
    channel.publish("k", b"1", exchange="dedup", headers=table_of({"x-deduplication-header": "1"}))
    assert queues(told(book, "dedup", "k", **{"x-deduplication-header": "1"})) == []


def test_what_is_said_agrees_with_what_routing_does(book: Playbook, channel: PlayedChannel) -> None:
    chance = Random(7)
    vhost = book.broker.vhosts["/"]
    words = ("a", "b", "c", "")
    channel.exchange("main", "topic", arguments={"alternate-exchange": "fanout"})
    channel.exchange("hash", "x-consistent-hash")
    channel.exchange("modulo", "x-modulus-hash")
    names = ("direct", "topic", "fanout", "headers", "main", "hash", "modulo")

    def key(wild: bool = False) -> str:
        return ".".join(chance.choice((*words, "*", "#") if wild else words) for _ in range(chance.randrange(4)))

    def table() -> dict[str, Any]:
        return {name: chance.choice((1, 2, "x")) for name in words[:3] if chance.random() < 0.5}

    for _ in range(40):
        source = chance.choice(names)
        bound = str(chance.randrange(1, 4)) if source == "hash" else key(source in ("topic", "main"))
        arguments = table_of({"x-match": chance.choice(("all", "any"))} | table() if source == "headers" else {})
        if chance.random() < 0.3:
            channel.do(Exchange.Bind, source=source, destination=chance.choice(names), routing_key=bound, arguments=arguments)
        else:
            channel.do(Queue.Bind, queue=chance.choice(("a", "b", "c")), exchange=source, routing_key=bound, arguments=arguments)
    routed = 0
    for _ in range(300):
        source, routing_key, headers = vhost.exchange(chance.choice((*names, ""))), key(), table_of(table())
        if chance.random() < 0.3:
            headers |= table_of({"CC": [key()], "BCC": [key()]})
        found = carry_out(book, explain(vhost, source, routing_key, headers))
        header = encode_properties(Properties(headers=headers), 0)
        envelope = Envelope(found.keys, join_routing(source.name, routing_key), header, b"", headers)
        assert set(found.queues) == set(vhost.route(source, envelope))
        routed += bool(found.queues)
    assert 100 < routed < 300


def test_thousands_of_bindings_hold_up_nobody(book: Playbook, channel: PlayedChannel) -> None:
    for number in range(2000):
        bind(channel, "a", "topic", f"k.{number}.*")
    vhost = book.broker.vhosts["/"]
    steps, waited = explain(vhost, vhost.exchange("topic"), "k.1000", {}), 0
    for _ in steps:
        waited += 1
    assert waited > 20
    assert len(told(book, "topic", "k.1000").nearest) == 5


@pytest.mark.parametrize("kind", ["topic", "direct"])
def test_long_keys_that_are_much_alike_hold_up_nobody_either(book: Playbook, channel: PlayedChannel, kind: str) -> None:
    for number in range(10):
        bind(channel, "a", kind, "#.a." * 60 + f"b.{number}")
    vhost = book.broker.vhosts["/"]
    # Each of them takes a millisecond or more.
    assert sum(1 for _ in explain(vhost, vhost.exchange(kind), "a." * 127, {})) >= 10
