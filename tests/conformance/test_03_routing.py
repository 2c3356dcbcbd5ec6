"""Contract 3.5 to 3.8: who gets a message."""

from typing import Any

import pytest
from pamqp.commands import Exchange, Queue

from tests.fixtures import Unique
from tests.spec import Broker, differs, expect_on, spec
from tests.wire import Typed, WireChannel

# --- direct and fanout


@spec("3.1", "direct: the key is the binding key, byte for byte")
def test_direct_routing(channel: WireChannel, unique: Unique) -> None:
    exchange = channel.exchange(unique("direct"))
    error, both, star = (channel.bound_queue(exchange, *keys) for keys in (["error"], ["info", "error"], ["*"]))
    for key in ("error", "info", "debug", "ERROR", "*"):
        channel.publish(exchange, key, key.encode())
    assert channel.bodies(error) == [b"error"]
    assert channel.bodies(both) == [b"error", b"info"]
    assert channel.bodies(star) == [b"*"]


@spec("3.1", "fanout: every queue, whatever the key")
def test_fanout_routing(channel: WireChannel, unique: Unique) -> None:
    exchange = channel.exchange(unique("fanout"), "fanout")
    queues = [channel.bound_queue(exchange, key) for key in ("", "a", "#")]
    for key in ("", "a", "other"):
        channel.publish(exchange, key, key.encode())
    for queue in queues:
        assert channel.bodies(queue) == [b"", b"a", b"other"]


# --- 3.5 topic


@spec("3.5")
@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("order.*.*", ["order.new.europe", "order.paid.", "order.."], ["order.new", "order", "order.new.europe.fast", "orders.new.europe"]),
        ("*.*.europe", ["order.new.europe", "..europe"], ["order.europe", "europe", "a.b.c.europe", "order.new.EUROPE"]),
        ("#", ["", ".", "a", "a.b.c", "order.new.europe"], []),
        ("*", ["a", "#", "*"], ["", ".", "a.b"]),
        ("", [""], ["a", "."]),
        (".", ["."], ["", "a", ".."]),
        ("a.#", ["a", "a.b", "a.b.c", "a."], ["", "b", "b.a", "ab"]),
        ("#.a", ["a", "b.a", "c.b.a", ".a"], ["", "a.b"]),
        ("a.#.b", ["a.b", "a.x.b", "a.x.y.b", "a..b"], ["a", "b", "a.bc", "a.x"]),
        ("#.a.#", ["a", "x.a", "a.x", "x.a.y", "x.y.a.z"], ["", "b", "x.y"]),
        ("#.#", ["", "a", "a.b"], []),
        ("*.#", ["a", "a.b", "."], [""]),
        ("#.*", ["a", "a.b", "."], [""]),
        ("*.*", [".", "a.b", "a.", ".b"], ["", "a", "a.b.c"]),
        ("a*", ["a*"], ["ab", "a"]),
        ("a.b#", ["a.b#"], ["a.b", "a.bc"]),
    ],
)
def test_topic_routing(channel: WireChannel, unique: Unique, pattern: str, matching: list[str], others: list[str]) -> None:
    exchange = channel.exchange(unique("topic"), "topic")
    queue = channel.bound_queue(exchange, pattern)
    for key in [*matching, *others]:
        channel.publish(exchange, key, key.encode())
    assert channel.bodies(queue) == [key.encode() for key in matching]


@spec("3.5", "one copy per queue however many of its patterns match")
def test_one_copy_for_overlapping_patterns(channel: WireChannel, unique: Unique) -> None:
    exchange = channel.exchange(unique("topic"), "topic")
    queue = channel.bound_queue(exchange, "#", "a.*", "*.b", "a.b")
    channel.publish(exchange, "a.b", b"once")
    assert channel.bodies(queue) == [b"once"]


@spec("3.5", "what is unbound matches no more, what stays does")
def test_topic_bindings_come_and_go(channel: WireChannel, unique: Unique) -> None:
    exchange = channel.exchange(unique("topic"), "topic")
    first, second = channel.bound_queue(exchange, "a.*", "a.#"), channel.bound_queue(exchange, "a.*")
    channel.unbind(first, exchange, "a.*")
    channel.unbind(second, exchange, "a.*")
    channel.publish(exchange, "a.b", b"x")
    assert (channel.bodies(first), channel.bodies(second)) == ([b"x"], [])
    channel.unbind(first, exchange, "a.#")
    channel.publish(exchange, "a.b", b"x", mandatory=True)
    channel.returned()


# --- 3.5 headers


def matches(channel: WireChannel, exchange: str, arguments: dict[str, Any], headers: dict[str, Any] | None) -> bool:
    queue = channel.bound_queue(exchange, arguments=arguments)
    properties = {} if headers is None else {"headers": headers}
    channel.publish(exchange, "", b"x", **properties)
    return channel.get(queue) is not None


@spec("3.5", "x-match all (default), any, all-with-x, any-with-x; keys with x- take no part unless with-x")
@pytest.mark.parametrize(
    ("arguments", "headers", "expected"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 2}, True),
        ({"a": 1, "b": 2}, {"a": 1, "b": 2, "c": 3}, True),
        ({"a": 1, "b": 2}, {"a": 1}, False),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, False),
        ({"x-match": "all", "a": 1, "b": 2}, {"a": 1, "b": 2}, True),
        ({"x-match": "all", "a": 1}, {}, False),
        ({"x-match": "all", "a": 1}, None, False),
        ({"x-match": "any", "a": 1, "b": 2}, {"b": 2}, True),
        ({"x-match": "any", "a": 1, "b": 2}, {"a": 2, "b": 1}, False),
        ({"x-match": "any", "a": 1, "b": 2}, None, False),
        ({}, {"a": 1}, True),
        ({}, None, True),
        ({"x-match": "all"}, {}, True),
        ({"x-match": "any"}, {"a": 1}, False),
        ({"x-match": "any"}, None, False),
        ({"a": 1, "x-mine": 1}, {"a": 1}, True),
        ({"x-match": "all", "x-mine": 1}, {"x-mine": 2}, True),
        ({"x-match": "any", "x-mine": 1}, {"x-mine": 1}, False),
        ({"x-match": "all-with-x", "a": 1, "x-mine": 1}, {"a": 1}, False),
        ({"x-match": "all-with-x", "a": 1, "x-mine": 1}, {"a": 1, "x-mine": 1}, True),
        ({"x-match": "any-with-x", "a": 1, "x-mine": 1}, {"x-mine": 1}, True),
        ({"x-match": "any-with-x", "a": 1, "x-mine": 1}, {"x-mine": 2}, False),
        ({"a": None}, {"a": "whatever"}, True),
        ({"a": None}, {"a": None}, True),
        ({"a": None}, {"b": 1}, False),
        ({"x-match": "any", "a": None, "b": 1}, {"a": 5}, True),
        ({"a": 1}, {"a": None}, False),
        ({"A": 1}, {"a": 1}, False),
    ],
)
def test_headers_routing(
    channel: WireChannel, unique: Unique, arguments: dict[str, Any], headers: dict[str, Any] | None, expected: bool
) -> None:
    exchange = channel.exchange(unique("headers"), "headers")
    assert matches(channel, exchange, arguments, headers) is expected


@spec("3.5", "compared by value whatever the integer or string type")
@pytest.mark.parametrize(
    ("bound", "sent", "expected"),
    [
        (Typed("I", 5), Typed("l", 5), True),
        (Typed("b", 5), Typed("u", 5), True),
        (Typed("s", -5), Typed("l", -5), True),
        (Typed("i", 5), Typed("B", 5), True),
        (Typed("S", "text"), Typed("x", "text"), True),
        (Typed("S", "5"), Typed("I", 5), False),
        (Typed("S", "true"), Typed("t", True), False),
        (Typed("t", True), Typed("t", True), True),
        (Typed("t", True), Typed("I", 1), False),
        (Typed("d", 1.5), Typed("d", 1.5), True),
        (Typed("d", 1.5), Typed("f", 1.5), True),
        ({"a": 1}, {"a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
        ([1, "two"], [1, "two"], True),
        ([1, "two"], ["two", 1], False),
    ],
)
def test_header_values_are_compared_by_value(channel: WireChannel, unique: Unique, bound: Any, sent: Any, expected: bool) -> None:
    exchange = channel.exchange(unique("headers"), "headers")
    assert matches(channel, exchange, {"a": bound}, {"a": sent}) is expected


@spec("3.5", "1 and 1.0 differ (3.13; equal on the oracle)")
@differs(rabbitmq="3.10", why="1 equals 1.0 in a headers exchange before 3.13")
def test_an_integer_and_a_float_in_headers(channel: WireChannel, unique: Unique, broker: Broker) -> None:
    exchange = channel.exchange(unique("headers"), "headers")
    expected = expect_on(broker, leveret=False, rabbitmq=True)
    assert matches(channel, exchange, {"a": 1}, {"a": 1.0}) is expected


@spec("3.5", "anything else at bind [s] 406")
@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("some", 'Invalid x-match field value <<"some">>; expected all, any, all-with-x, or any-with-x'),
        ("", "Invalid x-match field value <<>>; expected all, any, all-with-x, or any-with-x"),
        (1, "Invalid x-match field type signedint (value 1); expected longstr"),
        (True, "Invalid x-match field type bool (value true); expected longstr"),
    ],
)
def test_an_invalid_x_match(channel: WireChannel, unique: Unique, value: Any, text: str) -> None:
    exchange, queue = channel.exchange(unique("headers"), "headers"), channel.queue()
    channel.send(Queue.Bind, queue=queue, exchange=exchange, arguments={"x-match": value})
    channel.expect_close(406, "PRECONDITION_FAILED - " + text, (50, 20))


@spec("3.5", "only a headers exchange looks at x-match")
def test_other_exchanges_do_not_look_at_x_match(channel: WireChannel) -> None:
    channel.bind(channel.queue(), "amq.direct", "key", {"x-match": "some"})


# --- 3.6 exchange to exchange


@spec("3.6")
def test_messages_pass_through_exchanges(channel: WireChannel, unique: Unique) -> None:
    topic, direct, fanout = (channel.exchange(unique(kind), kind) for kind in ("topic", "direct", "fanout"))
    channel.call(Exchange.Bind, destination=direct, source=topic, routing_key="order.#")
    channel.call(Exchange.Bind, destination=fanout, source=direct, routing_key="order.new")
    queue = channel.bound_queue(fanout)
    for key in ("order.new", "order.paid", "invoice.new"):
        channel.publish(topic, key, key.encode())
    message = channel.take(queue)
    assert (message.body, message.method.exchange, message.method.routing_key) == (b"order.new", topic, "order.new")
    assert channel.get(queue) is None
    channel.call(Exchange.Unbind, destination=direct, source=topic, routing_key="order.#")
    channel.publish(topic, "order.new", b"x")
    assert channel.get(queue) is None


@spec("3.6", "cycles harmless; one copy per queue whatever the number of paths")
def test_cycles_and_many_paths(channel: WireChannel, unique: Unique) -> None:
    first, second, third = (channel.exchange(unique("ring"), "fanout") for _ in range(3))
    for source, destination in ((first, second), (second, third), (third, first), (first, third), (first, first)):
        channel.call(Exchange.Bind, destination=destination, source=source)
    queue = channel.bound_queue(first)
    channel.bind(queue, second)
    channel.bind(queue, third)
    channel.publish(first, "", b"once")
    assert channel.bodies(queue) == [b"once"]


@spec("3.6", "binding twice is once")
def test_binding_twice_is_once(channel: WireChannel, unique: Unique) -> None:
    exchange, target = channel.exchange(unique("x")), channel.exchange(unique("x"), "fanout")
    queue = channel.bound_queue(exchange, "k", "k")
    for _ in range(2):
        channel.call(Exchange.Bind, destination=target, source=exchange, routing_key="k")
    channel.bind(queue, target)
    channel.publish(exchange, "k", b"1")
    assert channel.bodies(queue) == [b"1"]
    channel.unbind(queue, exchange, "k")
    channel.call(Exchange.Unbind, destination=target, source=exchange, routing_key="k")
    channel.publish(exchange, "k", b"2", mandatory=True)
    assert channel.returned().body == b"2"


@spec("3.6", "bind to something missing [s] 404")
@pytest.mark.parametrize(("source", "destination"), [("nowhere", "amq.direct"), ("amq.direct", "nowhere")])
def test_bind_of_a_missing_exchange(channel: WireChannel, source: str, destination: str) -> None:
    channel.send(Exchange.Bind, destination=destination, source=source)
    channel.expect_close(404, "NOT_FOUND - no exchange 'nowhere' in vhost '/'", (40, 30))


@spec("3.6", "unbind of anything missing is ok")
@pytest.mark.parametrize(("source", "destination"), [("nowhere", "amq.direct"), ("amq.direct", "nowhere"), ("amq.direct", "amq.fanout")])
def test_unbind_of_what_is_missing(channel: WireChannel, source: str, destination: str) -> None:
    channel.call(Exchange.Unbind, destination=destination, source=source, routing_key="never bound")


# --- 3.7 alternate exchange


@spec("3.7", "unroutable messages go there with their original exchange name")
def test_the_alternate_exchange_takes_what_is_unroutable(channel: WireChannel, unique: Unique) -> None:
    alternate = channel.exchange(unique("alternate"), "fanout")
    exchange = channel.exchange(unique("x"), arguments={"alternate-exchange": alternate})
    routed, unrouted = channel.bound_queue(exchange, "known"), channel.bound_queue(alternate)
    channel.publish(exchange, "known", b"1", mandatory=True)
    channel.publish(exchange, "unknown", b"2", mandatory=True)
    assert channel.bodies(routed) == [b"1"]
    message = channel.take(unrouted)
    assert (message.body, message.method.exchange, message.method.routing_key) == (b"2", exchange, "unknown")
    assert channel.get(unrouted) is None


@spec("3.7", "mandatory returns only if that fails too; alternates in a chain and in a ring")
def test_alternates_of_alternates(channel: WireChannel, unique: Unique) -> None:
    first, second, third = unique("a"), unique("a"), unique("a")
    channel.exchange(first, arguments={"alternate-exchange": second})
    channel.exchange(second, arguments={"alternate-exchange": third})
    channel.exchange(third, arguments={"alternate-exchange": first})
    queue = channel.bound_queue(third, "k")
    channel.publish(first, "k", b"found", mandatory=True)
    assert channel.bodies(queue) == [b"found"]
    channel.publish(first, "other", b"lost", mandatory=True)
    message = channel.returned()
    assert (message.body, message.method.exchange, message.method.routing_key) == (b"lost", first, "other")


@spec("3.7", "a missing one is ignored")
def test_a_missing_alternate(channel: WireChannel, unique: Unique) -> None:
    exchange = channel.exchange(unique("x"), arguments={"alternate-exchange": "nowhere"})
    channel.publish(exchange, "k", b"x", mandatory=True)
    assert channel.returned().body == b"x"


@spec("3.7", "another type than text 406")
@pytest.mark.parametrize(("value", "kind"), [(1, "signedint"), (True, "bool"), (["x"], "array")])
def test_an_alternate_that_is_no_text(channel: WireChannel, unique: Unique, value: Any, kind: str) -> None:
    exchange = unique("x")
    channel.send(Exchange.Declare, exchange=exchange, exchange_type="direct", arguments={"alternate-exchange": value})
    text = f"PRECONDITION_FAILED - invalid type '{kind}' for arg 'alternate-exchange' in exchange '{exchange}' in vhost '/'"
    channel.expect_close(406, text, (40, 10))


@spec("3.7", "the alternate stands behind the exchanges a message passed through, too")
def test_the_alternate_of_an_exchange_reached_through_another(channel: WireChannel, unique: Unique) -> None:
    alternate = channel.exchange(unique("alternate"), "fanout")
    inner = channel.exchange(unique("inner"), arguments={"alternate-exchange": alternate})
    outer = channel.exchange(unique("outer"), "fanout")
    channel.call(Exchange.Bind, destination=inner, source=outer)
    queue = channel.bound_queue(alternate)
    channel.publish(outer, "unknown", b"x", mandatory=True)
    assert channel.bodies(queue) == [b"x"]


# --- 3.8 CC and BCC


@spec("3.8", "CC and BCC: arrays of text as extra routing keys; BCC is removed before delivery")
def test_carbon_copies(channel: WireChannel, unique: Unique) -> None:
    exchange = channel.exchange(unique("x"))
    queues = [channel.bound_queue(exchange, key) for key in ("to", "cc", "bcc", "other")]
    channel.publish(exchange, "to", b"x", headers={"CC": ["cc", "nowhere"], "BCC": ["bcc"], "mine": 1})
    for queue in queues[:3]:
        message = channel.take(queue)
        assert message.headers == {"CC": ["cc", "nowhere"], "mine": 1}
        assert (message.method.exchange, message.method.routing_key) == (exchange, "to")
    assert channel.get(queues[3]) is None


@spec("3.8", "one copy per queue")
def test_carbon_copies_to_the_same_queue(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.publish("", queue, b"x", headers={"CC": [queue, queue], "BCC": [queue]})
    assert channel.bodies(queue) == [b"x"]


@spec("3.8", "a mandatory message that only a copy reaches doesn't return")
def test_a_copy_is_enough_for_mandatory(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.publish("", "nowhere-at-all", b"x", mandatory=True, headers={"BCC": [queue]})
    assert channel.take(queue).headers == {}


@spec("3.8", "elements that aren't text are skipped")
def test_copies_that_are_no_text_are_skipped(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.publish("", "nowhere-at-all", b"x", headers={"CC": [1, queue, None, ["x"]]})
    assert channel.take(queue).headers == {"CC": [1, queue, None, ["x"]]}


@spec("3.8", "not an array [s] 406")
@pytest.mark.parametrize("header", ["CC", "BCC"])
@pytest.mark.parametrize(("value", "kind"), [("text", "longstr"), (1, "signedint"), ({"a": "b"}, "table"), (None, "void")])
def test_copies_that_are_no_array(channel: WireChannel, header: str, value: Any, kind: str) -> None:
    channel.publish("", "q", b"x", headers={header: value})
    text = f'PRECONDITION_FAILED - invalid message: {{unacceptable_type_in_header,"{header}",{kind}}}'
    channel.expect_close(406, text, (60, 40))


@spec("3.8", "the names are in capitals")
def test_lower_case_cc_is_any_header(channel: WireChannel) -> None:
    queue, copy = channel.queue(), channel.queue()
    channel.publish("", queue, b"x", headers={"cc": [copy], "bcc": "text"})
    assert channel.take(queue).headers == {"cc": [copy], "bcc": "text"}
    assert channel.get(copy) is None


@spec("3.8", "each key takes its own way through a topic exchange")
def test_carbon_copies_through_topics(channel: WireChannel, unique: Unique) -> None:
    exchange = channel.exchange(unique("t"), "topic")
    queue, copy = channel.bound_queue(exchange, "a.*"), channel.bound_queue(exchange, "b.#")
    channel.publish(exchange, "a.1", b"x", headers={"CC": ["b.2.3"]})
    assert (channel.bodies(queue), channel.bodies(copy)) == ([b"x"], [b"x"])
