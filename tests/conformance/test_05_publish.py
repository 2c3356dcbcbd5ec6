"""Contract 5.1, 5.2 and 5.5: publishing, its checks in their order, bodies of every size, order."""

from typing import Any

import pytest
from pamqp.commands import Basic, Channel

from tests.fixtures import Connect, Unique
from tests.spec import spec
from tests.wire import BODY, HEADER, METHOD, Wire, WireChannel, encode_method

FRAME_MAX = 131072
MAX_EXPIRATION = 315_360_000_000


# --- 5.1 the checks


@spec("5.1", "immediate ([h] 540)")
def test_immediate_is_not_implemented(channel: WireChannel) -> None:
    channel.publish("", "q", b"x", immediate=True)
    channel.expect_connection_close(540, "NOT_IMPLEMENTED - immediate=true", (60, 40))


@spec("5.1", "exchange exists [s] 404")
@pytest.mark.parametrize("mandatory", [False, True])
def test_a_missing_exchange(channel: WireChannel, mandatory: bool) -> None:
    channel.publish("nowhere", "key", b"x", mandatory=mandatory)
    channel.expect_close(404, "NOT_FOUND - no exchange 'nowhere' in vhost '/'", (60, 40))


@spec("5.1", "internal 403")
def test_an_internal_exchange(channel: WireChannel, unique: Unique) -> None:
    exchange = channel.exchange(unique("inside"), internal=True)
    channel.publish(exchange, "key", b"x")
    channel.expect_close(403, f"ACCESS_REFUSED - cannot publish to internal exchange '{exchange}' in vhost '/'", (60, 40))


@spec("5.1", "user-id")
@pytest.mark.parametrize("user", ["x", ""])
def test_another_user_id(channel: WireChannel, user: str) -> None:
    channel.publish("", "q", b"x", user_id=user)
    text = f"PRECONDITION_FAILED - user_id property set to '{user}' but authenticated user was 'guest'"
    channel.expect_close(406, text, (60, 40))


@spec("5.1")
def test_ones_own_user_id(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.publish("", queue, b"x", user_id="guest")
    assert channel.take(queue).properties == {"user_id": "guest"}


@spec("5.1", "expiration")
@pytest.mark.parametrize(
    ("expiration", "reason"),
    [
        ("soon", "no_integer"),
        ("", "no_integer"),
        ("-1", "{value_negative,-1}"),
        ("1.5", '{leftover_string,".5"}'),
        ("1 ", '{leftover_string," "}'),
        (" 1", "no_integer"),
        ("0x10", '{leftover_string,"x10"}'),
        (str(MAX_EXPIRATION + 1), f"{{value_too_large,{MAX_EXPIRATION + 1}}}"),
    ],
)
def test_an_invalid_expiration(channel: WireChannel, expiration: str, reason: str) -> None:
    channel.publish("", "q", b"x", expiration=expiration)
    channel.expect_close(406, f"PRECONDITION_FAILED - invalid expiration '{expiration}': {reason}", (60, 40))


@spec("5.1", "up to 315360000000 ms")
@pytest.mark.parametrize("expiration", ["60000", str(MAX_EXPIRATION), "+60000", "0060000"])
def test_a_valid_expiration_arrives_as_it_was_written(channel: WireChannel, expiration: str) -> None:
    queue = channel.queue()
    channel.publish("", queue, b"x", expiration=expiration)
    assert channel.take(queue).properties == {"expiration": expiration}


@spec("5.1", "checks in this order: the first failure is the one told")
@pytest.mark.parametrize(
    ("exchange", "immediate", "properties", "code", "text"),
    [
        ("nowhere", True, {"user_id": "x"}, 540, "NOT_IMPLEMENTED - immediate=true"),
        ("nowhere", False, {"user_id": "x"}, 404, "NOT_FOUND - no exchange 'nowhere' in vhost '/'"),
        (
            "",
            False,
            {"user_id": "x", "reply_to": "amq.rabbitmq.reply-to"},
            406,
            "PRECONDITION_FAILED - fast reply consumer does not exist",
        ),
        (
            "",
            False,
            {"user_id": "x", "expiration": "soon"},
            406,
            "PRECONDITION_FAILED - user_id property set to 'x' but authenticated user was 'guest'",
        ),
        ("", False, {"expiration": "soon", "headers": {"CC": "text"}}, 406, "PRECONDITION_FAILED - invalid expiration 'soon': no_integer"),
        (
            "",
            False,
            {"headers": {"CC": "text"}},
            406,
            'PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,"CC",longstr}',
        ),
    ],
)
def test_the_order_of_the_checks(
    channel: WireChannel, exchange: str, immediate: bool, properties: dict[str, Any], code: int, text: str
) -> None:
    channel.publish(exchange, "q", b"x", immediate=immediate, **properties)
    if code == 540:
        channel.expect_connection_close(code, text, (60, 40))
    else:
        channel.expect_close(code, text, (60, 40))


@spec("5.1", "no check before the content is complete")
def test_nothing_is_checked_before_the_body_has_come(channel: WireChannel) -> None:
    wire = channel.wire
    wire.send_frame(METHOD, 1, encode_method(Basic.Publish, exchange="nowhere"))
    wire.nothing_more()
    wire.send_frame(HEADER, 1, b"\x00\x3c\x00\x00" + (2).to_bytes(8, "big") + b"\x00\x00")
    wire.nothing_more()
    wire.send_frame(BODY, 1, b"x")
    wire.nothing_more()
    wire.send_frame(BODY, 1, b"y")
    channel.expect_close(404)


@spec("5.1", "mandatory and no queue: basic.return 312 NO_ROUTE with properties and body")
def test_an_unroutable_mandatory_message_returns(channel: WireChannel) -> None:
    channel.publish("amq.direct", "nowhere-at-all", b"come back", mandatory=True, message_id="m-1", headers={"a": 1})
    message = channel.returned()
    method = message.method
    assert (method.reply_code, method.reply_text, method.exchange, method.routing_key) == (312, "NO_ROUTE", "amq.direct", "nowhere-at-all")
    assert message.properties == {"message_id": "m-1", "headers": {"a": 1}}
    assert message.body == b"come back"


@spec("5.1")
def test_an_unroutable_message_without_mandatory_is_dropped(channel: WireChannel) -> None:
    channel.publish("amq.direct", "nowhere-at-all", b"gone")
    channel.publish("", "nowhere-at-all", b"gone")
    channel.nothing_more()


@spec("5.1")
def test_a_routable_mandatory_message_does_not_return(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.publish("", queue, b"x", mandatory=True)
    assert channel.take(queue).body == b"x"


@spec("5.1", "messages published after the error are dropped with the channel")
def test_what_follows_a_failed_publish_is_dropped(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.publish("nowhere", "", b"bad")
    channel.publish("", queue, b"too late")
    channel.expect_close(404)
    channel.reopen()
    assert channel.get(queue) is None


# --- 5.2 bodies


@spec("5.2")
@pytest.mark.parametrize(
    "size", [0, 1, 2, 127, 255, 256, 4096, 65535, FRAME_MAX - 9, FRAME_MAX - 8, FRAME_MAX - 7, FRAME_MAX, 2 * (FRAME_MAX - 8), 1_000_003]
)
def test_bodies_of_every_size(channel: WireChannel, size: int) -> None:
    queue = channel.queue()
    body = bytes(number * 31 % 251 for number in range(min(size, 1000))) * (size // 1000 + 1)
    channel.publish("", queue, body[:size])
    message = channel.take(queue)
    assert message.body == body[:size]
    full, rest = divmod(size, FRAME_MAX - 8)
    assert message.frames == [FRAME_MAX - 8] * full + ([rest] if rest else [])


@spec("5.2", "many frames, as small as the client likes")
def test_a_body_in_frames_of_one_byte(channel: WireChannel) -> None:
    queue = channel.queue()
    wire = channel.wire
    wire.send_frame(METHOD, 1, encode_method(Basic.Publish, routing_key=queue))
    wire.send_frame(HEADER, 1, b"\x00\x3c\x00\x00" + (500).to_bytes(8, "big") + b"\x00\x00")
    for _ in range(500):
        wire.send_frame(BODY, 1, b"x")
    message = channel.take(queue)
    assert (message.body, message.frames) == (b"x" * 500, [500])


@spec("5.2", "the frames that go out are cut for the receiver's frame_max")
def test_each_side_has_its_own_frame_max(connect: Connect) -> None:
    small, large = connect(frame_max=4096).open_channel(), connect(frame_max=FRAME_MAX).open_channel()
    from_small, from_large = large.queue(), small.queue()
    small.publish_confirmed("", from_small, b"s" * 50_000)
    large.publish_confirmed("", from_large, b"l" * 50_000)
    assert large.take(from_small).frames == [50_000]
    assert small.take(from_large).frames == [4088] * 12 + [944]


@spec("5.2")
@pytest.mark.slow
def test_a_body_of_a_hundred_megabytes(connect: Connect) -> None:
    channel = connect(timeout=120).open_channel()
    queue = channel.queue()
    body = bytes(range(256)) * 400_000
    assert len(body) > 100_000_000
    channel.confirm_select()
    channel.publish("", queue, body)
    assert channel.confirms(1) == {1: True}
    assert channel.take(queue).body == body


@spec("5.1", "size ([s] 406; 128 MiB default)")
@pytest.mark.slow
def test_a_body_above_the_limit(connect: Connect) -> None:
    channel = connect(timeout=120).open_channel()
    queue = channel.queue()
    channel.publish("", queue, bytes(134_217_728 + 1))
    text = "PRECONDITION_FAILED - message size 134217729 is larger than configured max size 134217728"
    channel.expect_close(406, text, (60, 40))


@spec("5.2", "a message cut off by the end of its channel never was")
def test_half_a_message_is_forgotten_with_its_channel(connect: Connect, other: WireChannel) -> None:
    channel = connect().open_channel()
    queue = other.queue()
    wire = channel.wire
    wire.send_frame(METHOD, 1, encode_method(Basic.Publish, routing_key=queue))
    wire.send_frame(HEADER, 1, b"\x00\x3c\x00\x00" + (2).to_bytes(8, "big") + b"\x00\x00")
    wire.send_frame(BODY, 1, b"x")
    wire.abort()
    assert other.get(queue) is None


# --- 5.5 order


@spec("5.5")
def test_messages_arrive_in_the_order_they_were_published(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.consume(queue, no_ack=True)
    bodies = [b"%d" % number for number in range(2000)]
    for body in bodies:
        channel.publish("", queue, body)
    assert [message.body for message in channel.deliveries(2000)] == bodies


@spec("5.5", "published in one channel to one queue, whatever the exchange")
def test_order_holds_across_exchanges(channel: WireChannel, unique: Unique) -> None:
    direct, fanout = channel.exchange(unique("d")), channel.exchange(unique("f"), "fanout")
    queue = channel.bound_queue(direct, "k")
    channel.bind(queue, fanout)
    expected = []
    for number in range(100):
        expected.append(b"%d" % number)
        exchange, key = [("", queue), (direct, "k"), (fanout, "")][number % 3]
        channel.publish(exchange, key, expected[-1], delivery_mode=1 + number % 2)
    assert channel.bodies(queue) == expected


@spec("5.5", "another channel of the same connection is not delayed")
def test_channels_do_not_wait_for_each_other(wire: Wire) -> None:
    first, second = wire.open_channel(), wire.open_channel()
    queue = first.queue()
    first.publish("nowhere", "", b"bad")
    second.publish("", queue, b"good")
    assert second.take(queue).body == b"good"
    wire.expect(Channel.Close, first.number)
