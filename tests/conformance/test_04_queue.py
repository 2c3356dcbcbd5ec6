"""Contract 4.1 to 4.6, queues: names, equivalence, exclusive, auto-delete, delete, purge."""

import re
from typing import Any

import pytest
from pamqp.commands import Basic, Channel, Queue

from tests.fixtures import Unique
from tests.spec import spec
from tests.wire import Typed, Wire, WireChannel, eventually

LOCKED = (
    "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{}' in vhost '/'."
    " It could be originally declared on another connection"
    " or the exclusive property value does not match that of the original declaration."
)
NO_QUEUE_YET = "NOT_FOUND - no previously declared queue"


def missing(queue: str) -> str:
    return f"NOT_FOUND - no queue '{queue}' in vhost '/'"


# --- 4.1 names


@spec("4.1")
def test_a_server_named_queue(channel: WireChannel) -> None:
    first, second = channel.queue(), channel.queue()
    assert re.fullmatch(r"amq\.gen-[A-Za-z0-9_-]{22}", first)
    assert first != second


@spec("4.1")
def test_declare_ok_counts_ready_messages_and_consumers(channel: WireChannel, unique: Unique) -> None:
    queue = channel.queue(unique("counted"))
    for _ in range(3):
        channel.publish("", queue, b"x")
    channel.expect_counts(queue, 3, 0)
    channel.take(queue, no_ack=False)
    channel.expect_counts(queue, 2, 0)
    channel.qos(1)
    channel.consume(queue)
    channel.deliver()
    channel.expect_counts(queue, 1, 1)
    again = channel.call(Queue.Declare, queue=queue, exclusive=True)
    assert (again.queue, again.message_count, again.consumer_count) == (queue, 1, 1), "a declare that isn't passive counts too"


@spec("4.1")
@pytest.mark.parametrize("name", ["missing", "amq.missing"])
def test_passive_declare_of_a_missing_queue(channel: WireChannel, name: str) -> None:
    channel.send(Queue.Declare, queue=name, passive=True)
    channel.expect_close(404, missing(name), (50, 10))


@spec("4.1", "passive looks at nothing but the name")
def test_passive_declare_ignores_what_else_it_says(channel: WireChannel) -> None:
    queue = channel.queue()
    declared = channel.call(
        Queue.Declare, queue=queue, passive=True, durable=True, auto_delete=True, exclusive=True, arguments={"x-max-length": -1}
    )
    assert declared.queue == queue


@spec("4.1", 'the channel\'s last queue is what "" means in bind, consume, get, purge, delete')
def test_the_empty_name_means_the_last_queue(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.call(Queue.Bind, queue="", exchange="amq.direct", routing_key=f"key-{queue}")
    channel.publish("amq.direct", f"key-{queue}", b"1")
    channel.publish("amq.direct", f"key-{queue}", b"2")
    assert channel.take("").body == b"1"
    assert channel.call(Queue.Purge, queue="").message_count == 1
    channel.consume("", "c")
    channel.expect_counts(queue, 0, 1)
    channel.call(Queue.Unbind, queue="", exchange="amq.direct", routing_key=f"key-{queue}")
    channel.call(Queue.Delete, queue="")
    channel.expect(Basic.Cancel, consumer_tag="c")
    channel.send(Queue.Declare, queue=queue, passive=True)
    channel.expect_close(404, missing(queue))


@spec("4.1", "none yet [s] 404")
@pytest.mark.parametrize(
    ("method", "fields", "ids"),
    [
        (Queue.Bind, {"exchange": "amq.direct"}, (50, 20)),
        (Queue.Unbind, {"exchange": "amq.direct"}, (50, 50)),
        (Queue.Purge, {}, (50, 30)),
        (Queue.Delete, {}, (50, 40)),
        (Basic.Consume, {}, (60, 20)),
        (Basic.Get, {}, (60, 70)),
    ],
)
def test_the_empty_name_before_any_queue(channel: WireChannel, method: type, fields: dict[str, Any], ids: tuple[int, int]) -> None:
    channel.send(method, queue="", **fields)
    channel.expect_close(404, NO_QUEUE_YET, ids)


@spec("4.1", "the last queue is the channel's own, not the connection's")
def test_another_channel_has_no_last_queue(wire: Wire) -> None:
    wire.open_channel().queue()
    second = wire.open_channel()
    second.send(Basic.Get, queue="")
    second.expect_close(404, NO_QUEUE_YET)


@spec("4.1", "a passive declare names the last queue too; its own empty name means none")
def test_passive_declare_and_the_last_queue(channel: WireChannel) -> None:
    first, second = channel.queue(), channel.queue()
    channel.publish("", first, b"first")
    channel.call(Queue.Declare, queue=first, passive=True)
    assert channel.take("").body == b"first"
    channel.call(Queue.Declare, queue=second, passive=True)
    assert channel.get("") is None
    channel.send(Queue.Declare, queue="", passive=True)
    channel.expect_close(404, "NOT_FOUND - no queue '' in vhost '/'", (50, 10))


@spec("4.1", "the last queue may be gone")
def test_the_last_queue_after_its_delete(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.call(Queue.Delete, queue=queue)
    channel.send(Basic.Get, queue="")
    channel.expect_close(404, missing(queue), (60, 70))


@spec("4.1", 'bind with queue "" and key "" uses the last queue\'s name as key')
def test_bind_with_neither_queue_nor_key(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.call(Queue.Bind, queue="", exchange="amq.direct", routing_key="")
    channel.publish("amq.direct", queue, b"by its name")
    channel.publish("amq.direct", "", b"by nothing")
    assert channel.bodies(queue) == [b"by its name"]


@spec("4.1", "a named queue with an empty key is bound with the empty key")
def test_bind_with_a_queue_and_no_key(channel: WireChannel, unique: Unique) -> None:
    queue, exchange = channel.queue(), channel.exchange(unique("x"))
    channel.call(Queue.Bind, queue=queue, exchange=exchange, routing_key="")
    channel.publish(exchange, queue, b"by its name")
    channel.publish(exchange, "", b"by nothing")
    assert channel.bodies(queue) == [b"by nothing"]


@spec("4.1", "every queue is bound to the default exchange under its name")
def test_the_default_exchange_reaches_every_queue(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.publish("", queue, b"hello")
    message = channel.take(queue)
    assert (message.body, message.method.exchange, message.method.routing_key) == (b"hello", "", queue)


@spec("4.1", "CR and LF are stripped from names")
def test_line_breaks_are_stripped_from_the_name(channel: WireChannel, unique: Unique) -> None:
    name = unique("two-lines")
    assert channel.queue(f"{name[:3]}\r\n{name[3:]}\n") == name


@spec("4.1", "names are any UTF-8 of up to 255 bytes")
@pytest.mark.parametrize("name", ["with space", "slash/and?query=1", "日本語", "ünïcödé", "a" * 255, "#", "*", "tab\tand\x00zero"])
def test_names_that_are_allowed(channel: WireChannel, name: str) -> None:
    assert channel.queue(name) == name
    channel.publish("", name, b"x")
    assert channel.take(name).method.routing_key == name


@spec("4.1", "not UTF-8: [h] 501")
def test_a_name_that_is_not_utf8(channel: WireChannel) -> None:
    channel.send(Queue.Declare, queue=b"\xff\xfe", exclusive=True)
    channel.expect_connection_close(501, "FRAME_ERROR - Malformed UTF-8 in shortstr", (0, 0))


@spec("4.1", "nowait honoured")
def test_nowait_gets_no_reply(channel: WireChannel, unique: Unique) -> None:
    queue = unique("quiet")
    channel.send(Queue.Declare, queue=queue, exclusive=True, nowait=True)
    channel.send(Queue.Bind, queue=queue, exchange="amq.direct", routing_key=queue, nowait=True)
    channel.publish("amq.direct", queue, b"x")
    channel.send(Queue.Purge, queue=queue, nowait=True)
    assert channel.get(queue) is None
    channel.send(Queue.Delete, queue=queue, nowait=True)
    channel.send(Queue.Declare, queue=queue, passive=True)
    channel.expect_close(404, missing(queue))


# --- 4.2 declared again


@spec("4.2")
@pytest.mark.parametrize(
    ("first", "second", "difference"),
    [
        ({"durable": True}, {}, "'durable' for queue '{}' in vhost '/': received 'false' but current is 'true'"),
        ({"auto_delete": True}, {}, "'auto_delete' for queue '{}' in vhost '/': received 'false' but current is 'true'"),
        ({"durable": True}, {"auto_delete": True}, "'durable' for queue '{}' in vhost '/': received 'false' but current is 'true'"),
        (
            {"durable": True, "arguments": {"x-max-length": 5}},
            {"arguments": {"x-max-length": 6}},
            "'durable' for queue '{}' in vhost '/': received 'false' but current is 'true'",
        ),
    ],
)
def test_a_flag_that_differs(channel: WireChannel, unique: Unique, first: dict[str, Any], second: dict[str, Any], difference: str) -> None:
    queue = unique("q")
    channel.call(Queue.Declare, queue=queue, **first)
    channel.send(Queue.Declare, queue=queue, **second)
    channel.expect_close(406, f"PRECONDITION_FAILED - inequivalent arg {difference.format(queue)}", (50, 10))


@spec("4.2", "an exclusive queue is never durable, so its durable flag may differ")
def test_the_durable_flag_of_an_exclusive_queue_may_differ(channel: WireChannel, unique: Unique) -> None:
    queue = channel.queue(unique("q"))
    channel.call(Queue.Declare, queue=queue, exclusive=True, durable=True)


@spec("4.2", "the arguments known to the queue type, [s] 406 with the first difference")
@pytest.mark.parametrize(
    ("first", "second", "argument", "difference"),
    [
        ({}, {"x-max-length": 5}, "x-max-length", "received the value '5' of type 'signedint' but current is none"),
        ({"x-max-length": 5}, {}, "x-max-length", "received none but current is the value '5' of type 'signedint'"),
        ({"x-max-length": 5}, {"x-max-length": 6}, "x-max-length", "received '6' but current is '5'"),
        ({"x-max-length": Typed("l", 5)}, {}, "x-max-length", "received none but current is the value '5' of type 'long'"),
        ({"x-message-ttl": 5}, {"x-message-ttl": 6}, "x-message-ttl", "received '6' but current is '5'"),
        ({"x-expires": 100_000}, {"x-expires": 200_000}, "x-expires", "received '200000' but current is '100000'"),
        (
            {"x-message-ttl": 5, "x-expires": 100_000},
            {"x-message-ttl": 6, "x-expires": 200_000},
            "x-expires",
            "received '200000' but current is '100000'",
        ),
        ({"x-max-priority": 5}, {"x-max-priority": 6}, "x-max-priority", "received '6' but current is '5'"),
        ({"x-dead-letter-exchange": "a"}, {"x-dead-letter-exchange": "b"}, "x-dead-letter-exchange", "received 'b' but current is 'a'"),
        (
            {"x-dead-letter-exchange": "a"},
            {},
            "x-dead-letter-exchange",
            "received none but current is the value 'a' of type 'longstr'",
        ),
        (
            {"x-overflow": "drop-head"},
            {"x-overflow": "reject-publish"},
            "x-overflow",
            "received 'reject-publish' but current is 'drop-head'",
        ),
        (
            {"x-single-active-consumer": True},
            {},
            "x-single-active-consumer",
            "received none but current is the value 'true' of type 'bool'",
        ),
        (
            {"x-single-active-consumer": True},
            {"x-single-active-consumer": False},
            "x-single-active-consumer",
            "received 'false' but current is 'true'",
        ),
        ({"x-queue-mode": "lazy"}, {"x-queue-mode": "default"}, "x-queue-mode", "received 'default' but current is 'lazy'"),
        ({}, {"x-queue-type": "quorum"}, "x-queue-type", "received the value 'quorum' of type 'longstr' but current is none"),
    ],
)
def test_an_argument_that_differs(
    channel: WireChannel, unique: Unique, first: dict[str, Any], second: dict[str, Any], argument: str, difference: str
) -> None:
    queue = channel.queue(unique("q"), arguments=first)
    channel.send(Queue.Declare, queue=queue, exclusive=True, arguments=second)
    channel.expect_close(
        406, f"PRECONDITION_FAILED - inequivalent arg '{argument}' for queue '{queue}' in vhost '/': {difference}", (50, 10)
    )


@spec("4.2", "unknown arguments may differ; integers compare across types; x-queue-type classic equals absent")
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {"x-mine": 1}),
        ({"x-mine": 1}, {}),
        ({"x-mine": 1}, {"x-mine": "two"}),
        ({"x-max-length": 5}, {"x-max-length": Typed("l", 5)}),
        ({"x-max-length": 5}, {"x-max-length": Typed("b", 5)}),
        ({"x-max-length": Typed("u", 5)}, {"x-max-length": Typed("s", 5)}),
        ({}, {"x-queue-type": "classic"}),
        ({"x-queue-type": "classic"}, {}),
    ],
)
def test_arguments_that_count_as_the_same(channel: WireChannel, unique: Unique, first: dict[str, Any], second: dict[str, Any]) -> None:
    queue = channel.queue(unique("q"), arguments=first)
    assert channel.call(Queue.Declare, queue=queue, exclusive=True, arguments=second).queue == queue


@spec("4.2", "other exclusive flag [s] 405, before any 406")
@pytest.mark.parametrize(("first", "second"), [({"exclusive": True}, {"auto_delete": True}), ({"auto_delete": True}, {"exclusive": True})])
def test_another_exclusive_flag(channel: WireChannel, unique: Unique, first: dict[str, Any], second: dict[str, Any]) -> None:
    queue = channel.queue(unique("q"), **first)
    channel.send(Queue.Declare, queue=queue, **second)
    channel.expect_close(405, LOCKED.format(queue), (50, 10))


@spec("4.2")
@pytest.mark.parametrize("name", ["amq.mine", "amq."])
def test_the_reserved_prefix(channel: WireChannel, name: str) -> None:
    channel.send(Queue.Declare, queue=name, exclusive=True)
    channel.expect_close(403, f"ACCESS_REFUSED - queue name '{name}' contains reserved prefix 'amq.*'", (50, 10))


@spec("4.2", "the prefix is amq. with its dot, and in lower case")
def test_almost_the_reserved_prefix(channel: WireChannel, unique: Unique) -> None:
    for stem in ("amqp.mine", "AMQ.mine", "amq-mine"):
        channel.queue(unique(stem))


@spec("4.2", "the prefix comes before everything else: a server-named queue can't be declared again but passively, by its owner or anybody")
def test_a_server_named_queue_is_not_declared_again(channel: WireChannel, other: WireChannel) -> None:
    queue = channel.queue()
    assert channel.call(Queue.Declare, queue=queue, passive=True).queue == queue
    for asking in (channel, other):
        asking.send(Queue.Declare, queue=queue, exclusive=True)
        asking.expect_close(403, f"ACCESS_REFUSED - queue name '{queue}' contains reserved prefix 'amq.*'", (50, 10))


# --- 4.3 exclusive


@spec("4.3")
@pytest.mark.parametrize(
    ("method", "fields", "ids"),
    [
        (Queue.Declare, {"exclusive": True}, (50, 10)),
        (Queue.Declare, {}, (50, 10)),
        (Queue.Declare, {"passive": True}, (50, 10)),
        (Queue.Bind, {"exchange": "amq.direct"}, (50, 20)),
        (Queue.Purge, {}, (50, 30)),
        (Queue.Delete, {}, (50, 40)),
        (Basic.Consume, {}, (60, 20)),
        (Basic.Get, {}, (60, 70)),
    ],
)
def test_an_exclusive_queue_is_closed_to_others(
    channel: WireChannel, other: WireChannel, unique: Unique, method: type, fields: dict[str, Any], ids: tuple[int, int]
) -> None:
    queue = channel.queue(unique("mine"))
    other.send(method, queue=queue, **fields)
    other.expect_close(405, LOCKED.format(queue), ids)


@spec("4.3", "publishing from elsewhere works")
def test_others_may_publish_to_an_exclusive_queue(channel: WireChannel, other: WireChannel) -> None:
    queue = channel.queue()
    other.publish_confirmed("", queue, b"from elsewhere")
    assert channel.take(queue).body == b"from elsewhere"


@spec("4.3", "owned by the connection: every channel of it may use it")
def test_all_channels_of_the_owner_share_an_exclusive_queue(wire: Wire) -> None:
    first, second = wire.open_channel(), wire.open_channel()
    queue = first.queue()
    first.close()
    second.publish("", queue, b"x")
    assert second.take(queue).body == b"x"


@spec("4.3", "gone with the connection, however it ends")
@pytest.mark.parametrize("end", ["abort", "reset"])
def test_exclusive_queues_go_with_a_lost_connection(channel: WireChannel, other: WireChannel, unique: Unique, end: str) -> None:
    queue, exchange = channel.queue(unique("mine")), other.exchange(unique("x"), "fanout")
    channel.bind(queue, exchange)
    getattr(channel.wire, end)()
    eventually(lambda: is_free(other, queue))
    other.publish(exchange, "", b"x", mandatory=True)
    assert other.returned().body == b"x"


def is_free(channel: WireChannel, queue: str) -> bool:
    """True once a passive declare says 404 and no longer 405."""
    probe = channel.wire.open_channel(500)
    probe.send(Queue.Declare, queue=queue, passive=True)
    close = channel.wire.expect(Channel.Close, 500)
    probe.send(Channel.CloseOk)
    return bool(close.reply_code == 404)


# --- 4.4 auto-delete


@spec("4.4")
@pytest.mark.parametrize("end", ["cancel", "channel"])
def test_an_auto_delete_queue_goes_with_its_last_consumer(wire: Wire, other: WireChannel, unique: Unique, end: str) -> None:
    channel = wire.open_channel()
    queue = channel.queue(unique("passing"), auto_delete=True)
    channel.consume(queue, "first")
    channel.consume(queue, "second")
    channel.cancel("first")
    other.expect_counts(queue, 0, 1)
    if end == "cancel":
        channel.cancel("second")
    else:
        channel.close()
    other.send(Queue.Declare, queue=queue, passive=True)
    other.expect_close(404, missing(queue))


@spec("4.4", "not before it had one")
def test_an_auto_delete_queue_without_consumers_stays(channel: WireChannel, unique: Unique) -> None:
    queue = channel.queue(unique("waiting"), auto_delete=True)
    channel.publish("", queue, b"x")
    channel.take(queue)
    channel.expect_counts(queue, 0, 0)


# --- 4.5 delete


@spec("4.5")
def test_delete_returns_the_count_of_ready_messages(channel: WireChannel) -> None:
    queue = channel.queue()
    for _ in range(3):
        channel.publish("", queue, b"x")
    channel.take(queue, no_ack=False)
    assert channel.call(Queue.Delete, queue=queue).message_count == 2


@spec("4.5", "missing is ok with 0")
def test_delete_of_a_missing_queue(channel: WireChannel) -> None:
    assert channel.call(Queue.Delete, queue="missing").message_count == 0
    assert channel.call(Queue.Delete, queue="missing", if_unused=True, if_empty=True).message_count == 0


@spec("4.5")
def test_delete_if_unused(channel: WireChannel) -> None:
    queue = channel.queue()
    tag = channel.consume(queue)
    channel.send(Queue.Delete, queue=queue, if_unused=True)
    channel.expect_close(406, f"PRECONDITION_FAILED - queue '{queue}' in vhost '/' in use", (50, 40))
    channel.reopen()
    channel.expect_counts(queue, 0, 0), f"{tag} went with its channel"
    channel.call(Queue.Delete, queue=queue, if_unused=True)


@spec("4.5")
def test_delete_if_empty(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.publish("", queue, b"x")
    channel.send(Queue.Delete, queue=queue, if_empty=True)
    channel.expect_close(406, f"PRECONDITION_FAILED - queue '{queue}' in vhost '/' not empty", (50, 40))
    channel.reopen()
    channel.take(queue, no_ack=False)
    assert channel.call(Queue.Delete, queue=queue, if_empty=True).message_count == 0, "unacked messages don't count"


@spec("4.5", "not empty comes before in use")
def test_delete_if_unused_and_if_empty(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.qos(1)
    channel.consume(queue)
    for _ in range(2):
        channel.publish("", queue, b"x")
    message = channel.deliver()
    channel.send(Queue.Delete, queue=queue, if_unused=True, if_empty=True)
    channel.expect_close(406, f"PRECONDITION_FAILED - queue '{queue}' in vhost '/' not empty", (50, 40))
    channel.reopen()
    assert channel.bodies(queue) == [message.body] * 2
    channel.consume(queue)
    channel.send(Queue.Delete, queue=queue, if_unused=True, if_empty=True)
    channel.expect_close(406, f"PRECONDITION_FAILED - queue '{queue}' in vhost '/' in use", (50, 40))


@spec("4.5", "consumers get basic.cancel (nowait) after delete-ok")
def test_consumers_hear_of_the_delete(channel: WireChannel, other: WireChannel, unique: Unique) -> None:
    queue = channel.queue(unique("q"), durable=True)
    channel.consume(queue, "mine")
    other.consume(queue, "theirs")
    channel.send(Queue.Delete, queue=queue)
    channel.expect(Queue.DeleteOk)
    channel.expect(Basic.Cancel, consumer_tag="mine", nowait=True)
    other.expect(Basic.Cancel, consumer_tag="theirs", nowait=True)


@spec("4.5", "later acks of its messages are fine")
def test_acks_after_the_delete(channel: WireChannel) -> None:
    queue = channel.queue()
    for _ in range(3):
        channel.publish("", queue, b"x")
    tags = [channel.take(queue, no_ack=False).tag for _ in range(3)]
    channel.call(Queue.Delete, queue=queue)
    channel.ack(tags[0])
    channel.nack(tags[1])
    channel.reject(tags[2], requeue=False)
    channel.nothing_more()


@spec("4.5", "its bindings go with it")
def test_a_deleted_queue_leaves_no_bindings(channel: WireChannel, unique: Unique) -> None:
    exchange, queue = channel.exchange(unique("x"), "fanout"), channel.queue(unique("q"))
    channel.bind(queue, exchange)
    channel.call(Queue.Delete, queue=queue)
    channel.queue(queue)
    channel.publish(exchange, "", b"x", mandatory=True)
    assert channel.returned().body == b"x"


@spec("4.5", "a queue declared again under its name is another one")
def test_a_name_is_used_again(channel: WireChannel, unique: Unique) -> None:
    queue = channel.queue(unique("q"))
    channel.publish("", queue, b"old")
    channel.take(queue, no_ack=False)
    channel.publish("", queue, b"older")
    channel.call(Queue.Delete, queue=queue)
    channel.queue(queue)
    channel.ack(0, multiple=True)
    assert channel.get(queue) is None


# --- 4.6 purge


@spec("4.6")
def test_purge_drops_what_is_ready_and_returns_the_count(channel: WireChannel) -> None:
    queue = channel.queue()
    for body in (b"1", b"2", b"3"):
        channel.publish("", queue, body)
    unacked = channel.take(queue, no_ack=False)
    assert channel.call(Queue.Purge, queue=queue).message_count == 2
    channel.nack(unacked.tag)
    assert channel.bodies(queue) == [b"1"]


@spec("4.6")
def test_purge_of_a_missing_queue(channel: WireChannel) -> None:
    channel.send(Queue.Purge, queue="missing")
    channel.expect_close(404, missing("missing"), (50, 30))


# --- bindings of queues


@spec("3.6", "bind to something missing [s] 404 (the exchange is named first)")
@pytest.mark.parametrize(("exists", "what"), [(True, "exchange"), (False, "exchange")])
def test_bind_to_a_missing_exchange(channel: WireChannel, exists: bool, what: str) -> None:
    queue = channel.queue() if exists else "missing"
    channel.send(Queue.Bind, queue=queue, exchange="nowhere")
    channel.expect_close(404, f"NOT_FOUND - no {what} 'nowhere' in vhost '/'", (50, 20))


@spec("3.6")
def test_bind_of_a_missing_queue(channel: WireChannel) -> None:
    channel.send(Queue.Bind, queue="missing", exchange="amq.direct")
    channel.expect_close(404, missing("missing"), (50, 20))


@spec("3.6", "unbind of anything missing is ok")
def test_unbind_of_what_is_missing(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.call(Queue.Unbind, queue=queue, exchange="amq.direct", routing_key="never bound")
    channel.call(Queue.Unbind, queue=queue, exchange="nowhere")
    channel.call(Queue.Unbind, queue="missing", exchange="amq.direct")


@spec("3.6", "bindings differ by key and by arguments; unbind names both")
def test_unbind_takes_one_binding(channel: WireChannel, unique: Unique) -> None:
    exchange, queue = channel.exchange(unique("x")), channel.queue()
    channel.bind(queue, exchange, "a")
    channel.bind(queue, exchange, "b")
    channel.unbind(queue, exchange, "a")
    for key in "ab":
        channel.publish(exchange, key, key.encode())
    assert channel.bodies(queue) == [b"b"]
    channel.unbind(queue, exchange, "b", {"other": 1})
    channel.publish(exchange, "b", b"still")
    assert channel.bodies(queue) == [b"still"]
