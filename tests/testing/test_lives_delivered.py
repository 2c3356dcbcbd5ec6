"""Who got a message, and what they said to that."""

import asyncio
from collections.abc import Iterator

import aio_pika
import pika
import pytest
from pamqp.commands import Basic, Exchange, Queue, Tx

from tests.testing.box import Box
from tests.testing.stories import heard, kinds, life, lives, story, without_gaps
from tests.wire import WireChannel


@pytest.fixture(autouse=True)
def whole(box: Box) -> Iterator[None]:
    yield from without_gaps(box)


@pytest.fixture
def channel(box: Box) -> WireChannel:
    opened = box.wire("worker").open_channel()
    opened.queue("q", exclusive=False)
    opened.queue("dead", exclusive=False)
    opened.queue("dying", exclusive=False, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"})
    return opened


def since_delivery(of: dict[str, object]) -> list[str]:
    return [each for each in story(of) if not each.startswith(("published", "routed"))]


# --- answers --------------------------------------------------------------------------------------------------------


def test_a_consumer_acks(box: Box, channel: WireChannel) -> None:
    channel.consume("q", "c1")
    for _ in range(3):
        channel.publish("", "q", b"x")
    channel.deliveries(3)
    channel.ack(1)
    channel.ack(3, multiple=True)
    heard(channel)
    assert [since_delivery(each) for each in lives(box)] == [
        [f"delivered 'q' c1 #{tag} of worker/1", f"acked 'q' c1 #{tag} of worker/1"] for tag in (1, 2, 3)
    ]
    (place,) = lives(box)[0]["queues"]
    assert place["state"] == "acked" and place["who"]["consumer_tag"] == "c1"


def test_nobody_acks(box: Box, channel: WireChannel) -> None:
    channel.consume("q", "c1", no_ack=True)
    channel.publish("", "q", b"x")
    channel.deliver()
    assert since_delivery(life(box)) == ["delivered 'q' c1 #1 of worker/1: nobody will ack it"]
    assert life(box)["state"] == "delivered" and life(box)["queues"][0]["state"] == "delivered"
    assert not lives(box, state="acked") and not lives(box, state="unacked")


def test_basic_get(box: Box, channel: WireChannel) -> None:
    channel.publish("", "q", b"1")
    channel.publish("", "q", b"2")
    assert channel.get("dead") is None
    channel.take("q")
    channel.ack(channel.take("q", no_ack=False).tag)
    heard(channel)
    assert [since_delivery(each) for each in lives(box)] == [
        ["delivered 'q' #1 of worker/1: basic.get, nobody will ack it"],
        ["delivered 'q' #2 of worker/1: basic.get", "acked 'q' #2 of worker/1"],
    ]


def test_http_gets_as_management(box: Box, channel: WireChannel) -> None:
    channel.publish("", "q", b"1")
    heard(channel)
    login = box.user, box.password
    for mode in ("ack_requeue_true", "ack_requeue_false"):
        body = {"ackmode": mode, "count": 1, "encoding": "auto"}
        assert box.broker.http.ask("POST", f"/api/queues/{box.vhost}/q/get", body, credentials=login).json[0]["payload"] == "1"
    assert kinds(life(box)) == ["published", "routed", "delivered", "requeued", "delivered"]
    assert {event["who"]["connection"] for event in life(box)["events"][2:]} == {"management"}


def test_what_is_given_back(box: Box, channel: WireChannel) -> None:
    channel.publish("", "q", b"x")
    channel.nack(channel.take("q", no_ack=False).tag)
    channel.reject(channel.take("q", no_ack=False).tag)
    channel.take("q", no_ack=False)
    channel.call(Basic.Recover, requeue=True)
    assert since_delivery(life(box)) == [
        "delivered 'q' #1 of worker/1: basic.get",
        "requeued 'q' #1 of worker/1: basic.nack",
        "delivered 'q' #2 of worker/1: basic.get, redelivered",
        "requeued 'q' #2 of worker/1: basic.reject",
        "delivered 'q' #3 of worker/1: basic.get, redelivered",
        "requeued 'q' #3 of worker/1: basic.recover",
    ]
    assert life(box)["queues"][0]["state"] == "ready"


@pytest.mark.parametrize("method", ["nack", "reject"])
def test_what_is_rejected(box: Box, channel: WireChannel, method: str) -> None:
    channel.publish("", "q", b"x")
    getattr(channel, method)(channel.take("q", no_ack=False).tag, requeue=False)
    heard(channel)
    assert since_delivery(life(box))[1:] == [f"rejected 'q' #1 of worker/1: basic.{method}"]


def test_what_comes_back_with_its_channel_or_connection(box: Box, channel: WireChannel) -> None:
    channel.publish("", "q", b"x")
    first = channel.wire.open_channel()
    first.consume("q", "c1")
    first.deliver()
    first.close()
    second = channel.wire.open_channel()
    second.consume("q", "c2")
    second.deliver(redelivered=True)
    second.ack(99)
    second.expect_close(406)
    polite, rude = box.wire("polite"), box.wire("rude")
    held = polite.open_channel()
    held.consume("q", "c3")
    held.deliver()
    polite.close()
    gone = rude.open_channel()
    gone.consume("q", "c4")
    gone.deliver()
    rude.abort()
    box.wait("queue", queue="q", ready=1)
    assert [each.partition(": ")[2] for each in story(life(box)) if each.startswith("requeued")] == [
        "its channel was closed",
        "its channel was closed: 406 PRECONDITION_FAILED - unknown delivery tag 99",
        "the client closed its connection",
        "its connection was lost",
    ]


def test_the_broker_closes_the_connection(box: Box, channel: WireChannel) -> None:
    channel.publish("", "q", b"x")
    channel.take("q", no_ack=False)
    channel.send(Basic.Qos, prefetch_size=1)
    channel.expect_connection_close(540)
    box.wait("queue", queue="q", ready=1)
    assert story(life(box))[-1] == ("requeued 'q' #1 of worker/1: its connection was closed: 540 NOT_IMPLEMENTED - prefetch_size!=0 (1)")


def test_who_does_not_ack_in_time(box: Box, channel: WireChannel) -> None:
    channel.publish("", "q", b"x")
    channel.consume("q", "c1")
    channel.deliver()
    box.broker.ask("POST", "/clock/advance", {"seconds": 3600})
    channel.expect_close(406)
    told = (
        "requeued 'q' c1 #1 of worker/1: its channel was closed: 406 PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out."
    )
    assert story(life(box))[-1].startswith(told)


def test_a_transaction_acks_when_it_commits(box: Box, channel: WireChannel) -> None:
    for body in (b"1", b"2", b"3"):
        channel.publish("", "q", body)
    channel.call(Tx.Select)
    for _ in range(3):
        channel.take("q", no_ack=False)
    channel.ack(1)
    channel.nack(2, requeue=True)
    channel.reject(3, requeue=False)
    heard(channel)
    assert [each["state"] for each in lives(box)] == ["delivered"] * 3
    channel.commit()
    assert [story(each)[-1] for each in lives(box)] == [
        "acked 'q' #1 of worker/1", "requeued 'q' #2 of worker/1: tx.commit", "rejected 'q' #3 of worker/1: tx.commit",
    ]  # fmt: skip


def test_a_cancel_leaves_it_with_the_channel(box: Box, channel: WireChannel) -> None:
    channel.publish("", "q", b"x")
    channel.consume("q", "c1")
    channel.deliver()
    channel.cancel("c1")
    assert life(box)["queues"][0]["state"] == "unacked"
    channel.ack(1)
    heard(channel)
    assert life(box)["state"] == "acked"


# --- deaths ---------------------------------------------------------------------------------------------------------


def test_a_dead_letter_and_its_next_life(box: Box, channel: WireChannel) -> None:
    channel.publish("", "dying", b"x", message_id="m")
    channel.reject(channel.take("dying", no_ack=False).tag, requeue=False)
    channel.ack(channel.take("dead", no_ack=False).tag)
    heard(channel)
    died, dead = lives(box)
    assert since_delivery(died)[1:] == [
        "rejected 'dying' #1 of worker/1: basic.reject",
        "dead-lettered 'dying': rejected: to the default exchange with key 'dead' ->",
    ]
    assert story(dead) == [
        "dead-letter: rejected in 'dying' ->",
        "routed 'dead': the routing key is the queue's name",
        "delivered 'dead' #2 of worker/1: basic.get",
        "acked 'dead' #2 of worker/1",
    ]
    assert (died["next"], dead["previous"]) == ([dead["id"]], died["id"])
    assert died["events"][-1]["life"] == dead["id"] and dead["events"][0]["life"] == died["id"]
    assert dead["by"] == died["by"] and dead["origin"] == "dead-letter"
    assert "x-death" in dead["properties"]["headers"] and "headers" not in died["properties"]
    assert lives(box, state="dead-lettered", queue="dying") == [died]


def test_what_expires(box: Box, channel: WireChannel) -> None:
    channel.publish("", "q", b"1", expiration="0")
    channel.publish("", "dying", b"2", expiration="0")
    heard(channel)
    box.wait("queue", queue="dead", ready=1)
    plain, died, dead = lives(box)
    assert story(plain)[2:] == ["expired 'q'"] and plain["state"] == "expired"
    assert story(died)[2:] == ["expired 'dying'", "dead-lettered 'dying': expired: to the default exchange with key 'dead' ->"]
    assert story(dead)[0] == "dead-letter: expired in 'dying' ->"


def test_what_is_too_much(box: Box, channel: WireChannel) -> None:
    dies = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    channel.queue("short", exclusive=False, arguments={"x-max-length": 1} | dies)
    channel.queue("small", exclusive=False, arguments={"x-max-length-bytes": 3})
    for queue in ("short", "small"):
        for _ in range(2):
            channel.publish("", queue, b"ab")
    channel.counts("short")
    channel.counts("small")
    dropped = [each for each in lives(box) if "dropped" in kinds(each)]
    assert [story(each)[2:] for each in dropped] == [
        [
            "dropped 'short': the queue keeps no more than 1 message",
            "dead-lettered 'short': maxlen: to the default exchange with key 'dead' ->",
        ],
        ["dropped 'small': the queue has too many bytes"],
    ]


def test_what_came_back_too_often(box: Box, channel: WireChannel) -> None:
    channel.queue("quorum", exclusive=False, durable=True, arguments={"x-queue-type": "quorum", "x-delivery-limit": 1})
    channel.publish("", "quorum", b"x")
    for _ in range(2):
        channel.nack(channel.take("quorum", no_ack=False).tag)
    heard(channel)
    assert story(life(box))[-2:] == [
        "requeued 'quorum' #2 of worker/1: basic.nack",
        "given-up 'quorum' #2 of worker/1: it came back more often than once",
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"x-dead-letter-exchange": "nowhere"}, "its dead-letter exchange 'nowhere' doesn't exist"),
        (
            {"x-dead-letter-exchange": "dlx", "x-dead-letter-routing-key": "deat"},
            "its dead letter was published to exchange 'dlx' with key 'deat' and matched no binding; nearest: 'dead'",
        ),
        ({"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "full"}, "its dead letter was taken by none of its queues: 'full'"),
        (
            {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "mortal"},
            "its dead letter would go round for ever: it died in 'mortal' before",
        ),
    ],
    ids=["no exchange", "no binding", "full", "cycle"],
)
def test_a_dead_letter_that_nobody_gets(box: Box, channel: WireChannel, arguments: dict[str, str], told: str) -> None:
    channel.exchange("dlx")
    channel.bind("dead", "dlx", "dead")
    channel.queue("full", exclusive=False, arguments={"x-max-length": 0, "x-overflow": "reject-publish"})
    channel.queue("mortal", exclusive=False, arguments=arguments)
    channel.publish("", "mortal", b"x", expiration="0")
    channel.counts("mortal")
    box.wait("queue", queue="mortal", ready=0)
    assert story(life(box))[2:] == ["expired 'mortal'", f"lost 'mortal': {told}"]
    assert life(box)["state"] == "lost" and life(box)["next"] == []


# --- queues that go -------------------------------------------------------------------------------------------------


def test_purged(box: Box, channel: WireChannel) -> None:
    channel.publish("", "q", b"x")
    channel.call(Queue.Purge, queue="q")
    assert story(life(box))[2:] == ["purged 'q': queue.purge"]


def test_deleted(box: Box, channel: WireChannel) -> None:
    channel.publish("", "q", b"1")
    channel.publish("", "q", b"2")
    channel.take("q", no_ack=False)
    channel.call(Queue.Delete, queue="q")
    held, ready = lives(box)
    assert story(ready)[2:] == ["queue-deleted 'q': queue.delete"]
    assert held["state"] == "delivered"
    channel.nack(1)
    heard(channel)
    assert story(lives(box)[0])[3:] == ["queue-deleted 'q' #1 of worker/1: it came back, and the queue was deleted"]


def test_deleted_by_itself(box: Box, channel: WireChannel) -> None:
    owner = box.wire("owner").open_channel()
    owner.queue("mine", exclusive=True)
    owner.queue("auto", exclusive=False, auto_delete=True)
    owner.queue("unused", exclusive=False, arguments={"x-expires": 3_600_000})
    owner.qos(1)
    owner.consume("auto", "c1")
    for queue in ("unused", "mine", "auto", "auto"):
        owner.publish("", queue)
    owner.deliver()
    owner.cancel("c1")
    owner.wire.close()
    box.wait("connection", client_name="owner", count=0)
    box.broker.ask("POST", "/clock/advance", {"seconds": 3600})
    unused, mine, held, auto = lives(box)
    assert story(unused)[2:] == ["queue-deleted 'unused': nobody used the queue for as long as its x-expires says"]
    assert story(mine)[2:] == ["queue-deleted 'mine': the queue is exclusive: the client closed its connection"]
    assert story(held)[-1] == "queue-deleted 'auto' c1 #1 of owner/1: it came back, and the queue was deleted"
    assert story(auto)[2:] == ["queue-deleted 'auto': the queue is auto-delete, and its last consumer went"]


def test_what_an_exchange_delays_and_never_lets_go(box: Box, channel: WireChannel) -> None:
    channel.exchange("later", "x-delayed-message", arguments={"x-delayed-type": "direct"})
    channel.publish("later", "k", headers={"x-delay": 600_000})
    channel.call(Queue.Purge, queue="amq.delayed.later")
    channel.publish("later", "k", headers={"x-delay": 600_000})
    channel.call(Exchange.Delete, exchange="later")
    purged, deleted = lives(box)
    assert story(purged)[2:] == ["purged 'amq.delayed.later': queue.purge"]
    assert story(deleted)[2:] == ["queue-deleted 'amq.delayed.later': exchange.delete"]


# --- moved ----------------------------------------------------------------------------------------------------------


def test_what_an_operator_moves_copies_and_replays(box: Box, channel: WireChannel) -> None:
    login = box.user, box.password

    def do(what: str, queue: str, body: dict[str, object]) -> None:
        answer = box.broker.http.ask("POST", f"/api/leveret/queues/{box.vhost}/{queue}/{what}", body, credentials=login)
        assert answer.status == 200 and answer.json["moved"] == 1, answer.body

    channel.publish("", "q", b"x")
    heard(channel)
    do("move", "q", {"to_queue": "dead", "copy": True})
    do("move", "q", {"to_exchange": "", "routing_key": "dying"})
    first, copy, moved = lives(box)
    assert story(first)[2:] == ["copied 'q': to 'dead' ->", "moved 'q': to 'dying' ->"]
    assert first["next"] == [copy["id"], moved["id"]] and copy["previous"] == moved["previous"] == first["id"]
    assert story(copy) == ["moved-here: from 'q' ->", "routed 'dead': an operator put it there"]
    assert story(moved) == ["moved-here: from 'q' ->", "routed 'dying': the routing key is the queue's name"]
    channel.call(Queue.Purge, queue="dead")
    channel.reject(channel.take("dying", no_ack=False).tag, requeue=False)
    heard(channel)
    do("replay", "dead", {})
    replayed = lives(box)[-1]
    assert story(replayed) == ["moved-here: from 'dead' ->", "routed 'dying': the routing key is the queue's name"]
    assert replayed["by"] == first["by"]


# --- real clients ---------------------------------------------------------------------------------------------------


def test_with_pika(box: Box) -> None:
    with pika.BlockingConnection(box.pika("billing")) as connection:
        channel = connection.channel()
        channel.queue_declare("q")
        channel.confirm_delivery()
        channel.basic_publish("", "q", b"x", pika.BasicProperties(message_id="1"))
        for method, _, _ in channel.consume("q", inactivity_timeout=5):
            channel.basic_ack(method.delivery_tag)
            tag = method.consumer_tag
            break
        channel.cancel()
    found = life(box, message_id="1")
    assert story(found) == [
        "published billing/1",
        "routed 'q': the routing key is the queue's name",
        "confirmed billing/1",
        f"delivered 'q' {tag} #1 of billing/1",
        f"acked 'q' {tag} #1 of billing/1",
    ]


async def _with_aio_pika(box: Box) -> None:
    connection = await aio_pika.connect(box.url, client_properties={"connection_name": "billing"})
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("q")
        await channel.default_exchange.publish(aio_pika.Message(b"x", message_id="1"), "q")
        message = await queue.get(timeout=5)
        await message.nack(requeue=False)
        await queue.get(fail=False)


def test_with_aio_pika(box: Box) -> None:

    asyncio.run(_with_aio_pika(box))
    found = life(box, message_id="1", state="rejected")
    assert story(found) == [
        "published billing/1",
        "routed 'q': the routing key is the queue's name",
        "confirmed billing/1",
        "delivered 'q' #1 of billing/1: basic.get",
        "rejected 'q' #1 of billing/1: basic.nack",
    ]
