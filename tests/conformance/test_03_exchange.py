"""Contract 3.1 to 3.4, exchanges: what there is, declare, delete, auto-delete, internal."""

import re
from typing import Any

import pytest
from pamqp.commands import Exchange, Queue

from tests.fixtures import Unique
from tests.spec import Broker, differs, expect_on, spec
from tests.wire import WireChannel

DEFAULT_REFUSED = "ACCESS_REFUSED - operation not permitted on the default exchange"


def missing(exchange: str) -> str:
    return f"NOT_FOUND - no exchange '{exchange}' in vhost '/'"


def assert_missing(channel: WireChannel, exchange: str) -> None:
    channel.send(Exchange.Declare, exchange=exchange, passive=True)
    channel.expect_close(404, missing(exchange), (40, 10))
    channel.reopen()


# --- 3.1 types, and what every vhost has


@spec("3.1")
@pytest.mark.parametrize(
    ("exchange", "kind"),
    [
        ("amq.direct", "direct"),
        ("amq.fanout", "fanout"),
        ("amq.topic", "topic"),
        ("amq.headers", "headers"),
        ("amq.match", "headers"),
    ],
)
def test_the_exchanges_of_every_vhost(channel: WireChannel, exchange: str, kind: str) -> None:
    channel.call(Exchange.Declare, exchange=exchange, passive=True)
    channel.call(Exchange.Declare, exchange=exchange, exchange_type=kind, durable=True)


@spec("3.1", "amq.rabbitmq.trace (internal)")
def test_the_trace_exchange_is_internal(channel: WireChannel) -> None:
    channel.call(Exchange.Declare, exchange="amq.rabbitmq.trace", exchange_type="topic", durable=True, internal=True)
    channel.publish("amq.rabbitmq.trace", "key", b"x")
    channel.expect_close(403, "ACCESS_REFUSED - cannot publish to internal exchange 'amq.rabbitmq.trace' in vhost '/'")


@spec("3.1")
@pytest.mark.parametrize("kind", ["direct", "fanout", "topic", "headers"])
def test_the_four_types(channel: WireChannel, unique: Unique, kind: str) -> None:
    exchange = channel.exchange(unique("x"), kind)
    channel.call(Exchange.Declare, exchange=exchange, passive=True)


@spec("3.1", "unknown type [s] 406 (before 3.13.3 [h] 503)")
@differs(rabbitmq="3.10", why="an unknown type closed the connection before 3.13.3")
@pytest.mark.parametrize("kind", ["foo", "", "Direct"])
def test_an_unknown_type(channel: WireChannel, unique: Unique, broker: Broker, kind: str) -> None:
    channel.send(Exchange.Declare, exchange=unique("x"), exchange_type=kind)
    if expect_on(broker, leveret=False, rabbitmq=True):
        channel.expect_connection_close(503, re.compile(f"COMMAND_INVALID - (unknown|invalid) exchange type '{kind}'"), (40, 10))
    else:
        channel.expect_close(406, f"PRECONDITION_FAILED - unknown exchange type '{kind}'", (40, 10))


# --- 3.2 declared again


@spec("3.2")
@pytest.mark.parametrize(
    ("first", "second", "difference"),
    [
        (
            {"exchange_type": "direct"},
            {"exchange_type": "fanout"},
            "'type' for exchange '{}' in vhost '/': received 'fanout' but current is 'direct'",
        ),
        ({"durable": True}, {}, "'durable' for exchange '{}' in vhost '/': received 'false' but current is 'true'"),
        ({}, {"auto_delete": True}, "'auto_delete' for exchange '{}' in vhost '/': received 'true' but current is 'false'"),
        ({}, {"internal": True}, "'internal' for exchange '{}' in vhost '/': received 'true' but current is 'false'"),
        (
            {},
            {"arguments": {"alternate-exchange": "other"}},
            "'alternate-exchange' for exchange '{}' in vhost '/': received the value 'other' of type 'longstr' but current is none",
        ),
        (
            {"arguments": {"alternate-exchange": "one"}},
            {"arguments": {"alternate-exchange": "two"}},
            "'alternate-exchange' for exchange '{}' in vhost '/': received 'two' but current is 'one'",
        ),
        (
            {},
            {"exchange_type": "topic", "durable": True, "auto_delete": True, "internal": True},
            "'type' for exchange '{}' in vhost '/': received 'topic' but current is 'direct'",
        ),
        (
            {},
            {"durable": True, "auto_delete": True, "internal": True, "arguments": {"alternate-exchange": "other"}},
            "'durable' for exchange '{}' in vhost '/': received 'true' but current is 'false'",
        ),
        (
            {},
            {"auto_delete": True, "internal": True, "arguments": {"alternate-exchange": "other"}},
            "'auto_delete' for exchange '{}' in vhost '/': received 'true' but current is 'false'",
        ),
    ],
)
def test_declared_again_with_a_difference(
    channel: WireChannel, unique: Unique, first: dict[str, Any], second: dict[str, Any], difference: str
) -> None:
    exchange = unique("x")
    channel.call(Exchange.Declare, **{"exchange": exchange, "exchange_type": "direct", **first})
    channel.send(Exchange.Declare, **{"exchange": exchange, "exchange_type": "direct", **second})
    channel.expect_close(406, f"PRECONDITION_FAILED - inequivalent arg {difference.format(exchange)}", (40, 10))


@spec("3.2", "other arguments may differ")
def test_declared_again_with_other_arguments(channel: WireChannel, unique: Unique) -> None:
    exchange = channel.exchange(unique("x"), arguments={"mine": 1})
    channel.exchange(exchange, arguments={"mine": 2, "x-more": "text"})


@spec("3.2", "amq. for a new one [s] 403")
@pytest.mark.parametrize("exchange", ["amq.mine", "amq."])
def test_the_reserved_prefix(channel: WireChannel, exchange: str) -> None:
    channel.send(Exchange.Declare, exchange=exchange, exchange_type="direct")
    channel.expect_close(403, f"ACCESS_REFUSED - exchange name '{exchange}' contains reserved prefix 'amq.*'", (40, 10))


@spec("3.2", "the same declaration of amq.direct is ok, another isn't")
def test_a_system_exchange_declared_again(channel: WireChannel) -> None:
    channel.call(Exchange.Declare, exchange="amq.direct", exchange_type="direct", durable=True)
    channel.send(Exchange.Declare, exchange="amq.direct", exchange_type="direct", durable=False)
    text = "PRECONDITION_FAILED - inequivalent arg 'durable' for exchange 'amq.direct' in vhost '/': received 'false' but current is 'true'"
    channel.expect_close(406, text, (40, 10))


@spec("3.2", "not UTF-8: [h] 501")
def test_a_name_that_is_not_utf8(channel: WireChannel) -> None:
    channel.send(Exchange.Declare, exchange=b"\xff\xfe", exchange_type="direct")
    channel.expect_connection_close(501, "FRAME_ERROR - Malformed UTF-8 in shortstr", (0, 0))


@spec("3.2")
def test_passive_declare(channel: WireChannel, unique: Unique) -> None:
    exchange = channel.exchange(unique("x"), "topic")
    channel.call(Exchange.Declare, exchange=exchange, exchange_type="fanout", passive=True, durable=True)
    assert_missing(channel, "nowhere")


@spec("3.2", "CR and LF are stripped from names in declare, delete, bind, unbind")
def test_line_breaks_are_stripped_from_names(channel: WireChannel, unique: Unique) -> None:
    exchange = unique("two-lines")
    broken = f"{exchange[:3]}\r\n{exchange[3:]}\n"
    channel.exchange(broken)
    queue = channel.queue()
    channel.bind(queue, broken, "k")
    channel.publish(exchange, "k", b"x")
    assert channel.bodies(queue) == [b"x"]
    channel.unbind(queue, broken, "k")
    channel.publish(exchange, "k", b"x")
    assert channel.bodies(queue) == []
    channel.call(Exchange.Delete, exchange=broken)
    assert_missing(channel, exchange)


@spec("3.2", "nowait honoured")
def test_nowait(channel: WireChannel, unique: Unique) -> None:
    exchange, target = unique("x"), unique("x")
    channel.send(Exchange.Declare, exchange=exchange, exchange_type="fanout", nowait=True)
    channel.send(Exchange.Declare, exchange=target, exchange_type="fanout", nowait=True)
    channel.send(Exchange.Bind, destination=target, source=exchange, nowait=True)
    queue = channel.bound_queue(target)
    channel.publish(exchange, "", b"x")
    assert channel.bodies(queue) == [b"x"]
    channel.send(Exchange.Unbind, destination=target, source=exchange, nowait=True)
    channel.send(Exchange.Delete, exchange=exchange, nowait=True)
    assert_missing(channel, exchange)


# --- 3.3 the default exchange and the system's


@spec("3.3")
@pytest.mark.parametrize(
    ("method", "fields", "ids"),
    [
        (Exchange.Declare, {"exchange": "", "exchange_type": "direct"}, (40, 10)),
        (Exchange.Declare, {"exchange": "", "exchange_type": "direct", "passive": True}, (40, 10)),
        (Exchange.Delete, {"exchange": ""}, (40, 20)),
        (Exchange.Bind, {"source": "", "destination": "amq.direct"}, (40, 30)),
        (Exchange.Bind, {"source": "amq.direct", "destination": ""}, (40, 30)),
        (Exchange.Unbind, {"source": "", "destination": "amq.direct"}, (40, 40)),
        (Exchange.Unbind, {"source": "amq.direct", "destination": ""}, (40, 40)),
    ],
)
def test_the_default_exchange_is_left_alone(channel: WireChannel, method: type, fields: dict[str, Any], ids: tuple[int, int]) -> None:
    channel.send(method, **fields)
    channel.expect_close(403, DEFAULT_REFUSED, ids)


@spec("3.3")
@pytest.mark.parametrize(("method", "ids"), [(Queue.Bind, (50, 20)), (Queue.Unbind, (50, 50))])
def test_no_bindings_to_the_default_exchange(channel: WireChannel, method: type, ids: tuple[int, int]) -> None:
    queue = channel.queue()
    channel.send(method, queue=queue, exchange="", routing_key=queue)
    channel.expect_close(403, DEFAULT_REFUSED, ids)


@spec("3.3")
@pytest.mark.parametrize(
    "exchange", ["amq.direct", "amq.fanout", "amq.topic", "amq.headers", "amq.match", "amq.rabbitmq.trace", "amq.nowhere"]
)
def test_system_exchanges_are_not_deleted(channel: WireChannel, exchange: str) -> None:
    channel.send(Exchange.Delete, exchange=exchange)
    channel.expect_close(403, f"ACCESS_REFUSED - deletion of system exchange '{exchange}' in vhost '/' not allowed", (40, 20))


# --- 3.4 auto-delete, internal, delete


@spec("3.4", "auto_delete: when its last binding as source goes")
@pytest.mark.parametrize("how", ["unbind", "delete the queue", "delete the exchange"])
def test_an_auto_delete_exchange_goes_with_its_last_binding(channel: WireChannel, unique: Unique, how: str) -> None:
    exchange = channel.exchange(unique("passing"), "fanout", auto_delete=True)
    if how == "delete the exchange":
        target = channel.exchange(unique("target"), "fanout")
        channel.call(Exchange.Bind, destination=target, source=exchange)
        channel.call(Exchange.Delete, exchange=target)
    else:
        queue = channel.bound_queue(exchange, "a", "b")
        channel.unbind(queue, exchange, "a")
        channel.call(Exchange.Declare, exchange=exchange, passive=True)
        if how == "unbind":
            channel.unbind(queue, exchange, "b")
        else:
            channel.call(Queue.Delete, queue=queue)
    assert_missing(channel, exchange)


@spec("3.4", "not before it had one; a binding as destination doesn't count")
def test_an_auto_delete_exchange_without_bindings_stays(channel: WireChannel, unique: Unique) -> None:
    exchange, source = channel.exchange(unique("waiting"), auto_delete=True), channel.exchange(unique("source"))
    channel.call(Exchange.Bind, destination=exchange, source=source)
    channel.call(Exchange.Unbind, destination=exchange, source=source)
    channel.call(Exchange.Declare, exchange=exchange, passive=True)


@spec("3.4", "one auto-delete exchange takes the next along")
def test_auto_delete_goes_down_a_chain(channel: WireChannel, unique: Unique) -> None:
    first, second = (channel.exchange(unique("chain"), "fanout", auto_delete=True) for _ in range(2))
    channel.call(Exchange.Bind, destination=second, source=first)
    queue = channel.bound_queue(second)
    channel.call(Queue.Delete, queue=queue)
    assert_missing(channel, second)
    assert_missing(channel, first)


@spec("3.4")
def test_an_internal_exchange_is_reached_through_others(channel: WireChannel, unique: Unique) -> None:
    inside, outside = channel.exchange(unique("inside"), "fanout", internal=True), channel.exchange(unique("outside"), "fanout")
    channel.call(Exchange.Bind, destination=inside, source=outside)
    queue = channel.bound_queue(inside)
    channel.publish(outside, "", b"x")
    assert channel.bodies(queue) == [b"x"]
    channel.publish(inside, "", b"y")
    channel.expect_close(403, f"ACCESS_REFUSED - cannot publish to internal exchange '{inside}' in vhost '/'", (60, 40))


@spec("3.4", "if-unused counts bindings as source only")
def test_delete_if_unused(channel: WireChannel, unique: Unique) -> None:
    source, target = channel.exchange(unique("source")), channel.exchange(unique("target"))
    channel.call(Exchange.Bind, destination=target, source=source)
    channel.send(Exchange.Delete, exchange=source, if_unused=True)
    channel.expect_close(406, f"PRECONDITION_FAILED - exchange '{source}' in vhost '/' in use", (40, 20))
    channel.reopen()
    channel.call(Exchange.Delete, exchange=target, if_unused=True)
    channel.call(Exchange.Delete, exchange=source, if_unused=True)


@spec("3.4", "deleting a missing exchange is ok")
def test_delete_of_a_missing_exchange(channel: WireChannel) -> None:
    channel.call(Exchange.Delete, exchange="nowhere")
    channel.call(Exchange.Delete, exchange="nowhere", if_unused=True)


@spec("3.4", "deleting one that is somebody's alternate or dead-letter exchange is ok")
def test_delete_of_an_alternate(channel: WireChannel, unique: Unique) -> None:
    alternate = channel.exchange(unique("alternate"), "fanout")
    exchange = channel.exchange(unique("x"), arguments={"alternate-exchange": alternate})
    channel.queue(arguments={"x-dead-letter-exchange": alternate})
    channel.call(Exchange.Delete, exchange=alternate, if_unused=True)
    channel.publish(exchange, "nowhere", b"x", mandatory=True)
    assert channel.returned().body == b"x"


@spec("3.4", "what was bound to a deleted exchange is not bound to the next of its name")
def test_a_name_is_used_again(channel: WireChannel, unique: Unique) -> None:
    exchange = channel.exchange(unique("x"), "fanout")
    channel.bound_queue(exchange)
    channel.call(Exchange.Delete, exchange=exchange)
    channel.exchange(exchange, "direct")
    channel.publish(exchange, "", b"x", mandatory=True)
    assert channel.returned().body == b"x"
