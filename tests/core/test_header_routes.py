"""What is remembered of a headers exchange's routes is what it would say if it were asked again."""

from collections import Counter
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from broker.core import publisher
from broker.core.envelope import Envelope
from broker.core.exchanges.headers import Headers
from broker.core.message import join_routing
from protocol.content import Properties, encode_properties
from protocol.methods import Exchange, Queue
from protocol.tables import Field, table_of
from tests.core.playbook import Playbook, PlayedChannel

QUEUES = ("one", "two", "three")
names = st.sampled_from(["a", "b", "é", "x-c", "longer"])
plain: list[Any] = [1, 2, True, None, "1", "text", "taxt", 1.0, 1.5, [1, "a"], [2, "a"], {"n": 1}, {"n": 2}]
values = st.sampled_from([*plain, Field("b", 1), Field("x", b"text"), Field("T", 1)])
tables = st.dictionaries(names, values, max_size=3)
bindings = st.lists(st.tuples(st.sampled_from(QUEUES), st.sampled_from(["all", "any", "all-with-x", "any-with-x"]), tables), max_size=5)
FIRST = ("one", "all", {"a": 1})


def prepared(bound: list[tuple[str, str, dict[str, Any]]]) -> tuple[Playbook, PlayedChannel]:
    book = Playbook()
    channel = book.connect().channel()
    for queue in QUEUES:
        channel.declare(queue)
    channel.exchange("x", "headers")
    for queue, match, arguments in bound:
        bind(channel, queue, {"x-match": match, **arguments})
    return book, channel


def bind(channel: PlayedChannel, queue: str, arguments: dict[str, Any], method: type = Queue.Bind) -> None:
    channel.do(method, queue=queue, exchange="x", routing_key="", arguments=table_of(arguments))


def header_of(headers: dict[str, Any], body: bytes, number: int = 0) -> bytes:
    return encode_properties(Properties(headers=table_of({**headers, "id": number}), message_id=f"{number:04}"), len(body))


def expected(book: Playbook, headers: list[bytes]) -> Counter[str]:
    """Asked for each message, with nothing remembered."""
    vhost = book.broker.vhosts["/"]
    envelopes = [Envelope(("",), join_routing("x", ""), header) for header in headers]
    return Counter(queue.name for envelope in envelopes for queue in vhost.route(vhost.exchange("x"), envelope))


def waiting(book: Playbook) -> Counter[str]:
    return Counter({name: book.queue(name).published for name in QUEUES})


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(bindings, st.lists(tables, min_size=1, max_size=6), st.booleans())
@example([FIRST, ("two", "any", {"a": 1, "b": 1})], [{"a": 1}, {"a": 2}, {"b": 1}, {"a": 1.0}], False)
def test_routes_are_what_the_exchange_says(bound: list[tuple[str, str, dict[str, Any]]], sent: list[dict[str, Any]], alone: bool) -> None:
    book, channel = prepared(bound)
    due: Counter[str] = Counter()
    for round_ in range(3):  # asked; then remembered; then remembered of the bindings as they are by then
        if round_ == 2:
            bind(channel, "three", {"b": "text"})
        headers = [header_of(each, b"body", number) for number, each in enumerate(sent)]
        due.update(expected(book, headers))
        for run in [[header] for header in headers] if alone else [headers]:
            channel.publish_run("", run, [b"body"] * len(run), exchange="x")
        assert waiting(book) == due


def test_a_known_route_is_not_asked_for_again() -> None:
    book, channel = prepared([FIRST])
    channel.publish_run("", [header_of({"a": 1}, b"body")] * 2, [b"body"] * 2, exchange="x")
    with mock.patch.object(Headers, "matches", side_effect=AssertionError):
        channel.publish_run("", [header_of({"a": 1}, b"body", number) for number in range(5)], [b"body"] * 5, exchange="x")
        channel.publish_run("", [header_of({"a": 1}, b"b", 9)], [b"b", b"c"], exchange="x")
    assert waiting(book)["one"] == 9


def test_an_unbound_queue_gets_no_more() -> None:
    book, channel = prepared([FIRST, ("two", "all", {"a": 1, "b": 1})])
    for gone in (None, "two", "one"):
        if gone is not None:
            arguments = {"one": {"x-match": "all", "a": 1}, "two": {"x-match": "all", "a": 1, "b": 1}}[gone]
            bind(channel, gone, arguments, Queue.Unbind)
        for _ in range(2):
            channel.publish("", b"body", exchange="x", headers=table_of({"a": 1, "b": 1}))
    assert waiting(book) == Counter(one=4, two=2)
    exchange = book.broker.vhosts["/"].exchange("x")
    assert not exchange.asked_headers


def test_an_exchange_behind_it_that_asks_for_more_is_always_asked() -> None:
    """What both ask for together is not what the first asks for."""
    book, channel = prepared([FIRST])
    channel.exchange("y", "headers")
    channel.do(Exchange.Bind, source="x", destination="y", routing_key="", arguments=table_of({"a": 1}))
    channel.do(Queue.Bind, queue="two", exchange="y", routing_key="", arguments=table_of({"b": 1}))
    for b in (1, 2, 1, 2):
        channel.publish_run("", [header_of({"a": 1, "b": b}, b"body", number) for number in range(3)], [b"body"] * 3, exchange="x")
    assert waiting(book) == Counter(one=12, two=6)


def test_values_made_up_by_the_thousand_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the keys are."""
    monkeypatch.setattr(publisher, "HEADER_ROUTES_MAX", 10)
    book, channel = prepared([FIRST])
    kept = set()
    for number in range(100):
        channel.publish(f"key{number % 7}", b"body", exchange="x", headers=table_of({"a": number % 50}))
        routes = [each.by_headers for each in channel.peer.session.publisher._routes.values() if each.by_headers is not None]
        kept.add(sum(len(known) for by_headers in routes for _, known in by_headers._known.values()))
    assert max(kept) == 10
    assert waiting(book)["one"] == 2
