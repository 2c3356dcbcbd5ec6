"""Contract 4.7, queue arguments: which values declare refuses, and in which words. What the arguments do is another matter."""

from typing import Any

import pytest
from pamqp.commands import Queue

from tests.fixtures import Unique
from tests.spec import spec
from tests.wire import Typed, WireChannel

MAX_MILLISECONDS = 315_360_000_000
INTEGERS = ("x-message-ttl", "x-expires", "x-max-length", "x-max-length-bytes", "x-max-priority", "x-queue-version")
FOREIGN = (
    "x-delivery-limit",
    "x-dead-letter-strategy",
    "x-quorum-initial-group-size",
    "x-initial-cluster-size",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-max-age",
    "x-stream-max-segment-size-bytes",
    "x-queue-leader-locator",
)


def refused(channel: WireChannel, queue: str, arguments: dict[str, Any], text: str) -> None:
    channel.send(Queue.Declare, queue=queue, exclusive=True, arguments=arguments)
    channel.expect_close(406, f"PRECONDITION_FAILED - {text}", (50, 10))


def invalid(argument: str, queue: str, reason: str) -> str:
    return f"invalid arg '{argument}' for queue '{queue}' in vhost '/': {reason}"


@spec("4.7", '"expected integer, got longstr"')
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("5", "longstr"),
        (5.0, "double"),
        (Typed("f", 5.0), "float"),
        (True, "bool"),
        (None, "void"),
        ([5], "array"),
        ({"a": 5}, "table"),
        (Typed("x", b"5"), "binary"),
        (Typed("T", 5), "timestamp"),
        (Typed("?", b"D\x00\x00\x00\x00\x05"), "decimal"),
    ],
)
@pytest.mark.parametrize("argument", INTEGERS)
def test_a_number_of_another_type(channel: WireChannel, unique: Unique, argument: str, value: Any, kind: str) -> None:
    queue = unique("q")
    refused(channel, queue, {argument: value}, invalid(argument, queue, f'"expected integer, got {kind}"'))


@spec("4.7", "{value_negative,-1}")
@pytest.mark.parametrize("argument", INTEGERS)
def test_a_negative_number(channel: WireChannel, unique: Unique, argument: str) -> None:
    queue = unique("q")
    refused(channel, queue, {argument: -1}, invalid(argument, queue, "{value_negative,-1}"))


@spec("4.7", "{value_zero,0} for x-expires, {value_too_large,N}, {max_value_exceeded,256}")
@pytest.mark.parametrize(
    ("argument", "value", "reason"),
    [
        ("x-expires", 0, "{value_zero,0}"),
        ("x-expires", MAX_MILLISECONDS + 1, f"{{value_too_large,{MAX_MILLISECONDS + 1}}}"),
        ("x-message-ttl", MAX_MILLISECONDS + 1, f"{{value_too_large,{MAX_MILLISECONDS + 1}}}"),
        ("x-max-priority", 256, "{max_value_exceeded,256}"),
        ("x-queue-version", 0, "\"unsupported queue version '0'\""),
        ("x-queue-version", 3, "\"unsupported queue version '3'\""),
    ],
)
def test_a_number_out_of_its_range(channel: WireChannel, unique: Unique, argument: str, value: int, reason: str) -> None:
    queue = unique("q")
    refused(channel, queue, {argument: value}, invalid(argument, queue, reason))


@spec("4.7", "every integer type will do, up to the edge of the range")
@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("x-message-ttl", 0),
        ("x-message-ttl", MAX_MILLISECONDS),
        ("x-expires", MAX_MILLISECONDS),
        ("x-max-length", 0),
        ("x-max-length", Typed("l", 2**63 - 1)),
        ("x-max-length-bytes", 0),
        ("x-max-length-bytes", 2**40),
        ("x-max-priority", 0),
        ("x-max-priority", 255),
        *(("x-max-length", Typed(kind, 5)) for kind in "bBsuIil"),
    ],
)
def test_a_number_in_its_range(channel: WireChannel, unique: Unique, argument: str, value: Any) -> None:
    queue = channel.queue(unique("q"), arguments={argument: value})
    channel.call(Queue.Declare, queue=queue, exclusive=True, arguments={argument: value})


@spec("4.7", "{unacceptable_type,longstr}")
@pytest.mark.parametrize(("value", "kind"), [(1, "signedint"), (True, "bool"), (None, "void"), ([1], "array")])
@pytest.mark.parametrize("argument", ["x-dead-letter-routing-key", "x-overflow", "x-queue-mode", "x-queue-type"])
def test_a_text_of_another_type(channel: WireChannel, unique: Unique, argument: str, value: Any, kind: str) -> None:
    queue = unique("q")
    refused(channel, queue, {argument: value}, invalid(argument, queue, f"{{unacceptable_type,{kind}}}"))


@spec("4.7", "invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'q' in vhost '/'")
@pytest.mark.parametrize(("value", "kind"), [(1, "signedint"), (True, "bool"), (None, "void"), ([1], "array")])
def test_a_dead_letter_exchange_that_is_no_text(channel: WireChannel, unique: Unique, value: Any, kind: str) -> None:
    queue = unique("q")
    refused(
        channel,
        queue,
        {"x-dead-letter-exchange": value},
        f"invalid type '{kind}' for arg 'x-dead-letter-exchange' in queue '{queue}' in vhost '/'",
    )


@spec("4.7", "{unacceptable_type,longstr}")
@pytest.mark.parametrize(("value", "kind"), [("true", "longstr"), (1, "signedint"), (None, "void")])
def test_a_flag_of_another_type(channel: WireChannel, unique: Unique, value: Any, kind: str) -> None:
    queue = unique("q")
    argument = "x-single-active-consumer"
    refused(channel, queue, {argument: value}, invalid(argument, queue, f"{{unacceptable_type,{kind}}}"))


@spec("4.7", "invalid_overflow")
@pytest.mark.parametrize(
    ("argument", "value", "reason"),
    [
        ("x-overflow", "foo", "invalid_overflow"),
        ("x-overflow", "", "invalid_overflow"),
        ("x-queue-mode", "foo", "\"unsupported queue mode 'foo'\""),
        ("x-queue-mode", "", "\"unsupported queue mode ''\""),
        ("x-queue-type", "foo", "\"unsupported queue type 'foo'\""),
        ("x-queue-type", "", "\"unsupported queue type ''\""),
    ],
)
def test_a_word_that_is_not_known(channel: WireChannel, unique: Unique, argument: str, value: str, reason: str) -> None:
    queue = unique("q")
    refused(channel, queue, {argument: value}, invalid(argument, queue, reason))


@spec("4.7")
@pytest.mark.parametrize(
    "arguments",
    [
        {"x-overflow": "drop-head"},
        {"x-overflow": "reject-publish"},
        {"x-overflow": "reject-publish-dlx"},
        {"x-queue-mode": "default"},
        {"x-queue-mode": "lazy"},
        {"x-queue-type": "classic"},
        {"x-queue-version": 1},
        {"x-queue-version": 2},
        {"x-single-active-consumer": False},
        {"x-dead-letter-exchange": ""},
        {"x-dead-letter-exchange": "nowhere"},
        {"x-dead-letter-exchange": "nowhere", "x-dead-letter-routing-key": ""},
        {"x-queue-master-locator": "min-masters"},
    ],
)
def test_words_that_are_known(channel: WireChannel, unique: Unique, arguments: dict[str, Any]) -> None:
    channel.queue(unique("q"), arguments=arguments)


@spec("4.7", "routing_key_but_no_dlx_defined")
@pytest.mark.parametrize("value", ["key", ""])
def test_a_dead_letter_routing_key_alone(channel: WireChannel, unique: Unique, value: str) -> None:
    queue = unique("q")
    argument = "x-dead-letter-routing-key"
    refused(channel, queue, {argument: value}, invalid(argument, queue, "routing_key_but_no_dlx_defined"))


@spec("4.7", "an argument of another queue type [s] 406, whatever its value")
@pytest.mark.parametrize("value", [5, "text", True])
@pytest.mark.parametrize("argument", FOREIGN)
def test_an_argument_of_another_queue_type(channel: WireChannel, unique: Unique, argument: str, value: Any) -> None:
    queue = unique("q")
    refused(
        channel, queue, {argument: value}, f"invalid arg '{argument}' for queue '{queue}' in vhost '/' of queue type rabbit_classic_queue"
    )


@spec("4.7", "names nobody knows are kept and ignored")
@pytest.mark.parametrize("value", [1, "text", True, None, [1, "two"], {"a": {"b": 1.5}}, -1])
@pytest.mark.parametrize("argument", ["mine", "x-mine", "x-message-deduplication"])
def test_an_argument_that_nobody_knows(channel: WireChannel, unique: Unique, argument: str, value: Any) -> None:
    channel.queue(unique("q"), arguments={argument: value})


@spec("4.7", "a refused declare makes no queue")
def test_a_refused_queue_does_not_exist(channel: WireChannel, unique: Unique) -> None:
    queue = unique("q")
    refused(channel, queue, {"x-max-length": -1}, invalid("x-max-length", queue, "{value_negative,-1}"))
    channel.reopen()
    channel.send(Queue.Declare, queue=queue, passive=True)
    channel.expect_close(404)


@spec("4.7", "values are checked before those of an existing queue are compared")
def test_an_invalid_value_for_an_existing_queue(channel: WireChannel, unique: Unique) -> None:
    queue = channel.queue(unique("q"))
    channel.send(Queue.Declare, queue=queue, exclusive=True, arguments={"x-max-length": -1})
    channel.expect_close(406, None, (50, 10))
