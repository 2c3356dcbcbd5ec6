"""Contract 3.9: exchange types that RabbitMQ has as plugins, which the oracle runs with."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from pamqp.commands import Basic, Exchange, Queue, Tx

from tests.fixtures import Unique
from tests.spec import Broker, differs, expect_on, spec
from tests.wire import Typed, WireChannel

CONSISTENT, RANDOM, MODULUS, HISTORY = "x-consistent-hash", "x-random", "x-modulus-hash", "x-recent-history"


def one_each(channel: WireChannel, queues: list[str], count: int) -> list[list[bytes]]:
    """What came to each queue when so many messages have gone through, each to one of them."""
    found = [list[bytes]() for _ in queues]
    for place, queue in enumerate(queues):
        channel.send(Basic.Consume, queue=queue, consumer_tag=str(place), no_ack=True, nowait=True)
    for message in channel.deliveries(count):
        found[int(message.method.consumer_tag)].append(message.body)
    for place, queue in enumerate(queues):
        channel.nothing_more(queue)
        channel.cancel(str(place))
    return found


def sent(channel: WireChannel, exchange: str, queues: list[str], messages: Iterable[dict[str, Any]]) -> list[int]:
    """How many of these messages (keyword arguments of `publish`) came to each queue."""
    count = 0
    for count, message in enumerate(messages, start=1):
        channel.publish(exchange, **{"routing_key": str(count), **message})
    return list(map(len, one_each(channel, queues, count)))


# --- all of them


@spec("3.9")
@pytest.mark.parametrize("kind", [CONSISTENT, RANDOM, MODULUS, HISTORY])
def test_declared_again(channel: WireChannel, unique: Unique, kind: str) -> None:
    """Other arguments than alternate-exchange may differ, and then aren't looked at; the type is printed as an Erlang atom."""
    exchange = channel.exchange(unique("x"), kind)
    channel.exchange(exchange, kind, arguments={"hash-property": "nonsense", "x-recent-history-length": "nonsense"})
    channel.call(Exchange.Declare, exchange=exchange, passive=True)
    channel.send(Exchange.Declare, exchange=exchange, exchange_type="direct")
    text = f"inequivalent arg 'type' for exchange '{exchange}' in vhost '/': received 'direct' but current is ''{kind}''"
    channel.expect_close(406, f"PRECONDITION_FAILED - {text}", (40, 10))


@spec("3.9")
@pytest.mark.parametrize("kind", [CONSISTENT, RANDOM, MODULUS, HISTORY])
def test_unroutable_without_bindings(channel: WireChannel, unique: Unique, kind: str) -> None:
    exchange = channel.exchange(unique("x"), kind)
    channel.publish(exchange, "k", b"x", mandatory=True)
    assert channel.returned().method.reply_text == "NO_ROUTE"
    queue = channel.queue()
    channel.bind(queue, exchange, "1")
    channel.unbind(queue, exchange, "1")
    channel.publish(exchange, "k", b"x", mandatory=True)
    assert channel.returned().method.reply_text == "NO_ROUTE"


@spec("3.9")
@pytest.mark.parametrize("kind", [CONSISTENT, RANDOM, MODULUS])
def test_a_message_with_copies_goes_to_one(channel: WireChannel, unique: Unique, kind: str) -> None:
    exchange = channel.exchange(unique("x"), kind)
    queues = [channel.bound_queue(exchange, "1") for _ in range(4)]
    counts = sent(channel, exchange, queues, ({"headers": {"CC": [f"cc{number}"], "BCC": ["bcc"]}} for number in range(100)))
    assert sum(counts) == 100 and all(counts)


@spec("3.9")
@pytest.mark.parametrize("kind", [CONSISTENT, RANDOM, MODULUS])
def test_through_dead_letters_and_alternates(channel: WireChannel, unique: Unique, kind: str) -> None:
    exchange = channel.exchange(unique("x"), kind)
    direct = channel.exchange(unique("direct"), arguments={"alternate-exchange": exchange})
    dying = channel.queue(arguments={"x-dead-letter-exchange": exchange, "x-max-length": 0})
    queues = [channel.bound_queue(exchange, "1") for _ in range(2)]
    for number in range(20):
        channel.publish(direct, f"k{number}", b"alternate")
        channel.publish("", dying, b"dead")
    found = one_each(channel, queues, 40)
    assert Counter(body for bodies in found for body in bodies) == {b"alternate": 20, b"dead": 20}
    assert all(b"alternate" in bodies for bodies in found)


# --- x-consistent-hash


@spec("3.9", "binding key = weight, an integer of 1 or more, else 406")
@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("abc", 'an integer: <<"abc">>'),
        ("", "an integer: <<>>"),
        ("1.5", 'an integer: <<"1.5">>'),
        (" 1", 'an integer: <<" 1">>'),
        ("1_0", 'an integer: <<"1_0">>'),
        ("a\nb", 'an integer: <<"a\\nb">>'),
        ("0", "greater than 0"),
        ("-1", "greater than 0"),
    ],
)
def test_a_key_that_is_no_weight(channel: WireChannel, unique: Unique, key: str, text: str) -> None:
    exchange, queue = channel.exchange(unique("x"), CONSISTENT), channel.queue()
    channel.send(Queue.Bind, queue=queue, exchange=exchange, routing_key=key)
    channel.expect_close(406, f"PRECONDITION_FAILED - The binding key must be {text}", (50, 20))
    channel.reopen()
    target = channel.exchange(unique("target"))
    channel.send(Exchange.Bind, source=exchange, destination=target, routing_key=key)
    channel.expect_close(406, f"PRECONDITION_FAILED - The binding key must be {text}", (40, 30))


@spec("3.9", "hash-header or hash-property, both = 406")
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"hash-header": "h", "hash-property": "message_id"}, "hash-header and hash-property are mutually exclusive"),
        ({"hash-property": "message-id"}, "Unsupported property: message-id"),
        ({"hash-property": ""}, "Unsupported property: "),
    ],
)
def test_arguments_of_the_hash(channel: WireChannel, unique: Unique, arguments: dict[str, Any], text: str) -> None:
    exchange = unique("x")
    channel.send(Exchange.Declare, exchange=exchange, exchange_type=CONSISTENT, arguments=arguments)
    channel.expect_close(406, f"PRECONDITION_FAILED - {text}", (40, 10))
    channel.reopen()
    channel.send(Exchange.Declare, exchange=exchange, passive=True)
    channel.expect_close(404)


@spec("3.9", "an argument that is no text is refused")
@differs(rabbitmq="3.10 and 3.13", why="it crashes and answers 541")
@pytest.mark.parametrize(("value", "printed"), [(5, "5"), (None, "undefined")])
@pytest.mark.parametrize("argument", ["hash-header", "hash-property"])
def test_arguments_that_are_no_text(channel: WireChannel, unique: Unique, broker: Broker, argument: str, value: Any, printed: str) -> None:
    channel.send(Exchange.Declare, exchange=unique("x"), exchange_type=CONSISTENT, arguments={argument: value})
    if expect_on(broker, leveret=False, rabbitmq=True):
        channel.expect_connection_close(541)
    else:
        channel.expect_close(406, f"PRECONDITION_FAILED - Invalid argument {printed}, '{argument}' must be a longstr", (40, 10))


@spec("3.9", "distribution by weight; a message goes to exactly one")
def test_weights(channel: WireChannel, unique: Unique) -> None:
    exchange = channel.exchange(unique("x"), CONSISTENT)
    queues = [channel.bound_queue(exchange, key) for key in ("1", "+2", "003")]
    counts = sent(channel, exchange, queues, ({} for _ in range(6000)))
    assert all(0.85 < count / share < 1.15 for count, share in zip(counts, (1000, 2000, 3000), strict=True)), counts


@spec("3.9", "the same key goes to the same queue; a new queue takes its share and nothing else moves")
def test_few_keys_move(channel: WireChannel, unique: Unique) -> None:
    exchange = channel.exchange(unique("x"), CONSISTENT)
    queues = [channel.bound_queue(exchange, "2") for _ in range(4)]

    def where() -> dict[bytes, int]:
        for number in range(1000):
            channel.publish(exchange, f"k{number}", b"%d" % number)
        return {body: place for place, bodies in enumerate(one_each(channel, queues, 1000)) for body in bodies}

    first = where()
    assert where() == first
    queues.append(channel.bound_queue(exchange, "2"))
    second = where()
    moved = [body for body in first if first[body] != second[body]]
    assert 150 < len(moved) < 250 and all(second[body] == 4 for body in moved)
    channel.call(Queue.Delete, queue=queues.pop())
    assert where() == first


@spec("3.9", "adding or removing a binding moves as few keys as possible")
@differs(rabbitmq="3.10 and 3.13", why="the numbers behind a removed binding move up, and the keys with them")
def test_few_keys_move_when_an_old_queue_goes(channel: WireChannel, unique: Unique, broker: Broker) -> None:
    exchange = channel.exchange(unique("x"), CONSISTENT)
    queues = [channel.bound_queue(exchange, "1") for _ in range(4)]

    def where() -> dict[bytes, str]:
        for number in range(1000):
            channel.publish(exchange, f"k{number}", b"%d" % number)
        return {body: queues[place] for place, bodies in enumerate(one_each(channel, queues, 1000)) for body in bodies}

    first, gone = where(), queues.pop(0)
    channel.call(Queue.Delete, queue=gone)
    second = where()
    moved = sum(second[body] != queue for body, queue in first.items() if queue != gone)
    assert (moved > 0) is expect_on(broker, leveret=False, rabbitmq=True)


@spec("3.9", "a second binding of the same queue is ignored")
def test_a_second_binding_is_ignored(channel: WireChannel, unique: Unique) -> None:
    exchange = channel.exchange(unique("x"), CONSISTENT)
    first, second = channel.bound_queue(exchange, "1", "50"), channel.bound_queue(exchange, "1")
    counts = sent(channel, exchange, [first, second], ({} for _ in range(400)))
    assert all(120 < count < 280 for count in counts), counts
    channel.unbind(first, exchange, "1")
    assert sent(channel, exchange, [first, second], ({} for _ in range(20))) == [0, 20]


@spec("3.9", "a second binding of the same queue is ignored, and so is its unbind")
@differs(rabbitmq="3.10 and 3.13", why="unbinding what was ignored takes the queue out, though its first binding is still listed")
def test_unbind_of_what_was_ignored(channel: WireChannel, unique: Unique, broker: Broker) -> None:
    exchange = channel.exchange(unique("x"), CONSISTENT)
    queue = channel.bound_queue(exchange, "1", "50")
    channel.unbind(queue, exchange, "50")
    channel.publish(exchange, "k", b"x", mandatory=True)
    if expect_on(broker, leveret=False, rabbitmq=True):
        channel.returned()
    else:
        assert channel.bodies(queue) == [b"x"]


@spec("3.9", "without the header or the property all messages go to one queue")
@pytest.mark.parametrize(
    ("arguments", "some", "none"),
    [
        ({"hash-header": "h"}, lambda number: {"headers": {"h": f"v{number}"}}, {"headers": {"other": 1}}),
        ({"hash-header": "h"}, lambda number: {"headers": {"h": number}}, {}),
        ({"hash-property": "correlation_id"}, lambda number: {"correlation_id": f"v{number}"}, {}),
        ({"hash-property": "message_id"}, lambda number: {"message_id": f"v{number}"}, {"correlation_id": "x"}),
        ({"hash-property": "timestamp"}, lambda number: {"timestamp": 1_700_000_000 + number}, {}),
    ],
)
def test_what_is_hashed(channel: WireChannel, unique: Unique, arguments: dict[str, Any], some: Any, none: dict[str, Any]) -> None:
    exchange = channel.exchange(unique("x"), CONSISTENT, arguments=arguments)
    queues = [channel.bound_queue(exchange, "1") for _ in range(4)]
    counts = sent(channel, exchange, queues, (some(number) for number in range(400)))
    assert all(40 < count < 180 for count in counts), counts
    assert sorted(sent(channel, exchange, queues, (some(7) for _ in range(20)))) == [0, 0, 0, 20]
    assert sorted(sent(channel, exchange, queues, (none for _ in range(20)))) == [0, 0, 0, 20]


@spec("3.9", "exchanges as destinations")
def test_hashing_to_exchanges(channel: WireChannel, unique: Unique) -> None:
    exchange = channel.exchange(unique("x"), CONSISTENT)
    queue = channel.bound_queue(exchange, "1")
    target = channel.exchange(unique("target"), "fanout")
    channel.call(Exchange.Bind, source=exchange, destination=target, routing_key="1")
    behind = channel.bound_queue(target)
    counts = sent(channel, exchange, [queue, behind], ({} for _ in range(400)))
    assert all(120 < count < 280 for count in counts), counts


# --- x-random, x-local-random, x-modulus-hash


@spec("3.9", "x-random, x-modulus-hash: a binding more is a share more")
@pytest.mark.parametrize("kind", [RANDOM, MODULUS])
def test_shares(channel: WireChannel, unique: Unique, kind: str) -> None:
    exchange = channel.exchange(unique("x"), kind)
    queues = [channel.bound_queue(exchange, "a", "b", "c"), channel.bound_queue(exchange, "a")]
    often, seldom = sent(channel, exchange, queues, ({} for _ in range(2000)))
    assert 1350 < often < 1650 and 350 < seldom < 650


@spec("3.9", "x-random asks for each message, x-modulus-hash for each key")
@pytest.mark.parametrize("kind", [RANDOM, MODULUS])
def test_one_key(channel: WireChannel, unique: Unique, kind: str) -> None:
    exchange = channel.exchange(unique("x"), kind)
    queues = [channel.bound_queue(exchange) for _ in range(2)]
    counts = sent(channel, exchange, queues, ({"routing_key": "k"} for _ in range(200)))
    assert all(50 < count < 150 for count in counts) if kind == RANDOM else sorted(counts) == [0, 200]


@spec("3.9", "x-local-random (4.0)")
@differs(rabbitmq="3.10 and 3.13", why="x-local-random came with 4.0", skip=True)
def test_local_random(channel: WireChannel, unique: Unique) -> None:
    exchange = channel.exchange(unique("x"), "x-local-random")
    queues = [channel.bound_queue(exchange) for _ in range(2)]
    assert all(50 < count < 150 for count in sent(channel, exchange, queues, ({} for _ in range(200))))
    quorum, target = unique("quorum"), channel.exchange(unique("target"))
    channel.queue(quorum, durable=True, arguments={"x-queue-type": "quorum"})
    for queue, key, text in (
        (queues[0], "k", "Non empty binding 'k' key not permitted"),
        (quorum, "", "Queue type rabbit_quorum_queue not valid for this exchange type"),
    ):
        channel.send(Queue.Bind, queue=queue, exchange=exchange, routing_key=key)
        channel.expect_close(406, f"PRECONDITION_FAILED - {text}", (50, 20))
        channel.reopen()
    channel.send(Exchange.Bind, source=exchange, destination=target)
    channel.expect_close(406, "PRECONDITION_FAILED - Destination not found", (40, 30))


# --- x-recent-history


@spec("3.9", "the last 20 or x-recent-history-length, for each new binding")
@pytest.mark.parametrize(("arguments", "length"), [(None, 20), ({"x-recent-history-length": 3}, 3)])
def test_history(channel: WireChannel, unique: Unique, arguments: dict[str, Any] | None, length: int) -> None:
    exchange = channel.exchange(unique("x"), HISTORY, arguments=arguments)
    early = channel.bound_queue(exchange)
    sent_bodies = [b"%d" % number for number in range(25)]
    for body in sent_bodies:
        channel.publish(exchange, f"k{body.decode()}", body)
    assert channel.bodies(early) == sent_bodies
    queue = channel.bound_queue(exchange)
    channel.expect_counts(queue, length, 0)
    message = channel.take(queue)
    assert (message.method.exchange, message.method.routing_key, message.method.redelivered) == (exchange, f"k{25 - length}", False)
    assert channel.bodies(queue) == sent_bodies[26 - length :]
    channel.bind(queue, exchange, "")
    channel.nothing_more(queue)
    assert channel.get(queue) is None
    channel.bind(queue, exchange, "another key")
    channel.expect_counts(queue, length, 0)


@spec("3.9")
@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (0, "0"),
        (-1, "-1"),
        ("5", '<<"5">>'),
        (1.5, "1.5"),
        (True, "true"),
        (None, "undefined"),
        (Typed("B", 3), "3"),
        (Typed("u", 3), "3"),
        (Typed("i", 3), "3"),
        ([1], "[{signedint,1}]"),
        ({"a": 1}, '[{<<"a">>,signedint,1}]'),
    ],
)
def test_a_history_of_no_length(channel: WireChannel, unique: Unique, value: Any, printed: str) -> None:
    channel.send(Exchange.Declare, exchange=unique("x"), exchange_type=HISTORY, arguments={"x-recent-history-length": value})
    text = f"PRECONDITION_FAILED - Invalid argument {printed}, 'x-recent-history-length' must be a positive integer"
    channel.expect_close(406, text, (40, 10))


@spec("3.9")
@pytest.mark.parametrize("kind", "bsIl")
def test_integers_with_a_sign_are_lengths(channel: WireChannel, unique: Unique, kind: str) -> None:
    channel.exchange(unique("x"), HISTORY, arguments={"x-recent-history-length": Typed(kind, 3)})


@spec("3.9", "x-recent-history-no-store=true, nothing else")
@pytest.mark.parametrize(("value", "kept"), [(True, False), (False, True), ("true", True), (1, True)])
def test_no_store(channel: WireChannel, unique: Unique, value: Any, kept: bool) -> None:
    exchange = channel.exchange(unique("x"), HISTORY)
    early = channel.bound_queue(exchange)
    channel.publish(exchange, "k", b"1", headers={"x-recent-history-no-store": value})
    channel.publish(exchange, "k", b"2")
    assert channel.bodies(early) == [b"1", b"2"]
    queue = channel.bound_queue(exchange)
    channel.expect_counts(queue, 1 + kept, 0)
    assert channel.bodies(queue) == ([b"1", b"2"] if kept else [b"2"])


@spec("3.9", "kept is what was routed, whoever got it")
@pytest.mark.parametrize("how", ["returned", "rolled back", "through a fanout", "as an alternate"])
def test_what_is_kept(channel: WireChannel, unique: Unique, how: str) -> None:
    exchange = channel.exchange(unique("x"), HISTORY)
    if how == "rolled back":
        channel.call(Tx.Select)
        channel.publish(exchange, "k", b"1")
        channel.call(Tx.Rollback)
    elif how == "returned":
        channel.publish(exchange, "k", b"1", mandatory=True)
        channel.returned()
    elif how == "as an alternate":
        channel.publish(channel.exchange(unique("direct"), arguments={"alternate-exchange": exchange}), "k", b"1")
    else:
        outer = channel.exchange(unique("outer"), "fanout")
        channel.call(Exchange.Bind, source=outer, destination=exchange)
        channel.publish(outer, "k", b"1")
    queue = channel.bound_queue(exchange)
    channel.expect_counts(queue, 1, 0)
    assert channel.take(queue).body == b"1"


@spec("3.9", "limits of the queue hold")
@pytest.mark.parametrize(("overflow", "expected"), [("drop-head", [b"3", b"4"]), ("reject-publish", [b"0", b"1"])])
def test_history_into_a_short_queue(channel: WireChannel, unique: Unique, overflow: str, expected: list[bytes]) -> None:
    exchange = channel.exchange(unique("x"), HISTORY)
    for number in range(5):
        channel.publish(exchange, "k", b"%d" % number)
    queue = channel.queue(arguments={"x-max-length": 2, "x-overflow": overflow})
    channel.bind(queue, exchange)
    channel.expect_counts(queue, 2, 0)
    assert channel.bodies(queue) == expected


@spec("3.9", "an exchange that is bound gets the history too")
@differs(rabbitmq="3.10 and 3.13", why="with the newest message first")
def test_history_to_an_exchange(channel: WireChannel, unique: Unique, broker: Broker) -> None:
    exchange, target = channel.exchange(unique("x"), HISTORY), channel.exchange(unique("target"), "fanout")
    for number in range(3):
        channel.publish(exchange, "k", b"%d" % number)
    queue = channel.bound_queue(target)
    channel.call(Exchange.Bind, source=exchange, destination=target)
    channel.expect_counts(queue, 3, 0)
    assert channel.bodies(queue) == expect_on(broker, leveret=[b"0", b"1", b"2"], rabbitmq=[b"2", b"1", b"0"])


@spec("3.9", "what leads nowhere is dropped")
@differs(rabbitmq="3.10 and 3.13", why="a message of the history that no queue takes is a 541")
def test_history_to_an_exchange_that_leads_nowhere(channel: WireChannel, unique: Unique, broker: Broker) -> None:
    exchange, target = channel.exchange(unique("x"), HISTORY), channel.exchange(unique("target"), "fanout")
    channel.publish(exchange, "k", b"1")
    channel.send(Exchange.Bind, source=exchange, destination=target)
    if expect_on(broker, leveret=False, rabbitmq=True):
        channel.expect_connection_close(541)
    else:
        channel.expect(Exchange.BindOk)


@spec("3.9", "a history goes with its exchange")
def test_a_history_ends(channel: WireChannel, unique: Unique) -> None:
    exchange = channel.exchange(unique("x"), HISTORY)
    channel.publish(exchange, "k", b"1")
    channel.call(Exchange.Delete, exchange=exchange)
    channel.exchange(exchange, HISTORY)
    channel.publish(exchange, "k", b"2")
    queue = channel.bound_queue(exchange)
    channel.expect_counts(queue, 1, 0)
    assert channel.bodies(queue) == [b"2"]
