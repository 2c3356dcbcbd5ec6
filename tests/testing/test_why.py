"""What a failed assertion says: a table of what clients did, and of the sentence that tells what went wrong."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from pamqp.commands import Queue, Tx

from broker.testing.lives.history import LIVES_MAX
from tests.runtime.process import publish_bytes, send_many
from tests.testing.box import Box
from tests.testing.stories import heard
from tests.testing.supervised import Supervised
from tests.wire import Wire, WireChannel


@pytest.fixture(scope="module")
def testing_broker() -> Iterator[Supervised]:
    """One whose clock stands still, so that sentences with times are always the same."""
    with Supervised() as supervised:
        supervised.ask("POST", "/clock/freeze")
        yield supervised


@pytest.fixture
def channel(box: Box) -> WireChannel:
    opened = box.wire("shop").open_channel()
    opened.queue("orders", exclusive=False)
    opened.exchange("shop", "topic")
    opened.bind("orders", "shop", "orders.*")
    return opened


def why(box: Box, **asked: Any) -> str:
    text: str = box.ask("GET", f"/why?{urlencode(asked)}")["text"]
    return text


def worker(box: Box, queue: str = "orders", tag: str = "c1", **options: Any) -> WireChannel:
    """Somebody who has been delivered what there is."""
    opened = box.wire("worker").open_channel()
    opened.consume(queue, tag, **options)
    return opened


# --- a message is missing in queue 'orders' --------------------------------------------------------------------------


def nothing(box: Box, channel: WireChannel) -> None:
    pass


def nobody(box: Box, channel: WireChannel) -> None:
    channel.wire.close()
    box.wait("connection", count=0)


def mistyped_key(box: Box, channel: WireChannel) -> None:
    channel.publish("shop", "order.new")


def mistyped_keys(box: Box, channel: WireChannel) -> None:
    for key in ("order.new", "order.new", "ORDERS"):
        channel.publish("shop", key)


def mistyped_queue(box: Box, channel: WireChannel) -> None:
    channel.publish("", "order")


def other_case(box: Box, channel: WireChannel) -> None:
    channel.publish("", "Orders")


def another_queue(box: Box, channel: WireChannel) -> None:
    channel.queue("order", exclusive=False)
    channel.publish("", "order")


def another_binding(box: Box, channel: WireChannel) -> None:
    channel.queue("audit", exclusive=False)
    channel.bind("audit", "shop", "#")
    channel.publish("shop", "order.new")


def mistyped_exchange(box: Box, channel: WireChannel) -> None:
    channel.publish("shopp", "orders.new")
    channel.expect_close(404)


def before_it_was_bound(box: Box, channel: WireChannel) -> None:
    channel.unbind("orders", "shop", "orders.*")
    channel.publish("shop", "orders.new")
    channel.bind("orders", "shop", "orders.*")


def before_it_was_declared(box: Box, channel: WireChannel) -> None:
    channel.call(Queue.Delete, queue="orders")
    channel.publish("", "orders")
    channel.queue("orders", exclusive=False)


def bound_later(box: Box, channel: WireChannel) -> None:
    channel.queue("audit", exclusive=False)
    channel.bind("audit", "shop", "#")
    channel.publish("shop", "order.new")
    channel.bind("orders", "shop", "order.*")


def acked(box: Box, channel: WireChannel) -> None:
    channel.publish("", "orders")
    channel.publish("", "orders")
    consumer = worker(box)
    consumer.deliveries(2)
    consumer.ack(2, multiple=True)
    consumer.wire.close()


def acked_by_nobody(box: Box, channel: WireChannel) -> None:
    channel.publish("", "orders")
    worker(box, no_ack=True).deliver()


def got_and_acked(box: Box, channel: WireChannel) -> None:
    channel.publish("", "orders")
    channel.ack(channel.take("orders", no_ack=False).tag)


def still_unacked(box: Box, channel: WireChannel) -> None:
    channel.publish("", "orders")
    worker(box).deliver()


def a_poison_message(box: Box, channel: WireChannel) -> None:
    channel.publish("", "orders")
    consumer = worker(box)
    for tag in range(1, 4):
        consumer.deliver()
        consumer.nack(tag)
    consumer.deliver()
    heard(consumer)


def rejected(box: Box, channel: WireChannel) -> None:
    channel.publish("", "orders")
    consumer = worker(box)
    consumer.reject(consumer.deliver().tag, requeue=False)
    heard(consumer)


def _dying(channel: WireChannel, **arguments: Any) -> None:
    channel.call(Queue.Delete, queue="orders")
    channel.exchange("dlx")
    channel.queue("dead", exclusive=False)
    channel.bind("dead", "dlx", "gone")
    given = {name.replace("_", "-"): value for name, value in arguments.items()}
    channel.queue("orders", exclusive=False, arguments={"x-dead-letter-exchange": "dlx", "x-dead-letter-routing-key": "gone"} | given)


def dead_lettered(box: Box, channel: WireChannel) -> None:
    _dying(channel)
    channel.publish("", "orders")
    consumer = worker(box)
    consumer.nack(consumer.deliver().tag, requeue=False)
    heard(consumer)


def dead_lettered_to_nowhere(box: Box, channel: WireChannel) -> None:
    _dying(channel, **{"x-dead-letter-routing-key": "gon"})
    for _ in range(2):
        channel.publish("", "orders", expiration="0")
    box.wait("queue", queue="orders", messages=0)


def expired(box: Box, channel: WireChannel) -> None:
    channel.publish("", "orders", expiration="0")
    heard(channel)
    box.wait("queue", queue="orders", messages=0)


def expired_to_a_dead_letter(box: Box, channel: WireChannel) -> None:
    _dying(channel)
    channel.publish("", "orders", expiration="0")
    box.wait("queue", queue="dead", ready=1)


def dropped(box: Box, channel: WireChannel) -> None:
    channel.call(Queue.Delete, queue="orders")
    channel.queue("orders", exclusive=False, arguments={"x-max-length": 1})
    for _ in range(3):
        channel.publish("", "orders")
    channel.counts("orders")


def refused(box: Box, channel: WireChannel) -> None:
    channel.call(Queue.Delete, queue="orders")
    channel.queue("orders", exclusive=False, arguments={"x-max-length": 0, "x-overflow": "reject-publish"})
    channel.publish("", "orders")


def a_duplicate(box: Box, channel: WireChannel) -> None:
    channel.call(Queue.Delete, queue="orders")
    channel.queue("orders", exclusive=False, arguments={"x-message-deduplication": True})
    for _ in range(2):
        channel.publish("", "orders", headers={"x-deduplication-header": "a"})
    channel.counts("orders")


def purged(box: Box, channel: WireChannel) -> None:
    channel.publish("", "orders")
    channel.call(Queue.Purge, queue="orders")


def queue_deleted(box: Box, channel: WireChannel) -> None:
    channel.publish("", "orders")
    channel.call(Queue.Delete, queue="orders")
    channel.queue("order", exclusive=False)


def delayed(box: Box, channel: WireChannel) -> None:
    channel.exchange("later", "x-delayed-message", arguments={"x-delayed-type": "direct"})
    channel.bind("orders", "later", "k")
    channel.publish("later", "k", headers={"x-delay": 3_600_000})


def uncommitted(box: Box, channel: WireChannel) -> None:
    channel.call(Tx.Select)
    channel.publish("shop", "orders.new")


def rolled_back(box: Box, channel: WireChannel) -> None:
    uncommitted(box, channel)
    channel.rollback()


def moved(box: Box, channel: WireChannel) -> None:
    channel.queue("aside", exclusive=False)
    channel.publish("", "orders")
    heard(channel)
    login = box.user, box.password
    box.broker.http.ask("POST", f"/api/leveret/queues/{box.vhost}/orders/move", {"to_queue": "aside"}, credentials=login)


def by_headers(box: Box, channel: WireChannel) -> None:
    channel.exchange("kinds", "headers")
    channel.bind("orders", "kinds", arguments={"x-match": "all", "kind": "new", "paid": True})
    channel.publish("kinds", "k", headers={"kind": "new"})


def something_else(box: Box, channel: WireChannel) -> None:
    channel.queue("audit", exclusive=False)
    for _ in range(2):
        channel.publish("", "audit")
    channel.publish("amq.direct", "x")


def several(box: Box, channel: WireChannel) -> None:
    """What went wrong goes before what went as it should."""
    acked(box, channel)
    mistyped_key(box, channel)
    channel.publish("", "orders", expiration="0")
    channel.counts("orders")


TABLE: list[tuple[Callable[[Box, WireChannel], None], str]] = [
    (nothing, "nothing was published; connected: 'shop'"),
    (nobody, "nothing was published, and nobody is connected to vhost '{vhost}'"),
    (mistyped_key, "1 was published to exchange 'shop' with key 'order.new' and matched no binding; nearest: 'orders.*'"),
    (
        mistyped_keys,
        ("1 was published to exchange 'shop' with key 'ORDERS' and matched no binding; nearest: 'orders.*'; "
        "2 were published to exchange 'shop' with key 'order.new' and matched no binding; nearest: 'orders.*'"),
    ),
    (mistyped_queue, "1 was published to the default exchange with key 'order' and found no queue of that name; nearest: 'orders'"),
    (
        other_case,
        ("1 was published to the default exchange with key 'Orders' and found no queue of that name; "
        "nearest: 'orders' ('orders' and 'Orders' differ in upper and lower case)"),
    ),
    (another_queue, "1 was published to the default exchange with key 'order' and went to 'order', not to 'orders'"),
    (
        another_binding,
        "1 was published to exchange 'shop' with key 'order.new' and went to 'audit', not to 'orders', which is bound with 'orders.*'",
    ),
    (
        mistyped_exchange,
        ("1 was published to exchange 'shopp' with key 'orders.new', but the channel was closed: "
        "404 NOT_FOUND - no exchange 'shopp' in vhost '{vhost}'; nearest: 'shop'"),
    ),
    (
        before_it_was_bound,
        "1 was published to exchange 'shop' with key 'orders.new' too early: it matched no binding then, and would get to 'orders' now",
    ),
    (
        before_it_was_declared,
        ("1 was published to the default exchange with key 'orders' too early: "
        "it found no queue of that name then, and would get to 'orders' now"),
    ),
    (
        bound_later,
        "1 was published to exchange 'shop' with key 'order.new' and went to 'audit', not to 'orders', which was not bound like that then",
    ),
    (acked, "2 were acked by consumer 'c1' of 'worker'"),
    (acked_by_nobody, "1 was delivered to consumer 'c1' of 'worker', which doesn't ack"),
    (got_and_acked, "1 was acked by 'shop' (basic.get)"),
    (still_unacked, "1 is unacked with consumer 'c1' of 'worker'"),
    (a_poison_message, "1 is unacked with consumer 'c1' of 'worker', delivered 4 times"),
    (rejected, "1 was rejected by consumer 'c1' of 'worker' (basic.reject): 'orders' has no dead-letter exchange"),
    (
        dead_lettered,
        "1 was rejected by consumer 'c1' of 'worker' (basic.nack), and dead-lettered to exchange 'dlx' with key 'gone', into 'dead'",
    ),
    (
        dead_lettered_to_nowhere,
        ("2 expired in 'orders', and the dead letter of each was published to exchange 'dlx' with key 'gon' and matched no binding; "
        "nearest: 'gone'"),
    ),
    (expired, "1 expired in 'orders'"),
    (expired_to_a_dead_letter, "1 expired in 'orders', and dead-lettered to exchange 'dlx' with key 'gone', into 'dead'"),
    (dropped, "2 were dropped from 'orders': the queue keeps no more than 1 message"),
    (refused, "1 was refused by 'orders': it has 0 messages ready, and takes 0"),
    (a_duplicate, "1 was not taken by 'orders': the queue has one with the same x-deduplication-header"),
    (purged, "1 was purged from 'orders' (queue.purge)"),
    (queue_deleted, "there is no queue 'orders', nearest: 'order'; 1 went with 'orders' when it was deleted: queue.delete"),
    (delayed, "1 is held by exchange 'later' for another 3,600 s"),
    (uncommitted, "1 is in a transaction of 'shop' that isn't committed yet"),
    (
        rolled_back,
        "1 was published to exchange 'shop' with key 'orders.new' in a transaction of 'shop' that was not committed (tx.rollback)",
    ),
    (moved, "1 was moved by an operator to 'aside'"),
    (
        by_headers,
        ("1 was published to exchange 'kinds' with key 'k' and matched no binding; "
        "nearest: {'x-match': 'all', 'kind': 'new', 'paid': True}"),
    ),
    (
        something_else,
        ("1 was published to exchange 'amq.direct' with key 'x' and matched no binding: there is none; "
        "2 were published to the default exchange with key 'audit' and went to 'audit'"),
    ),
    (
        several,
        ("1 was published to exchange 'shop' with key 'order.new' and matched no binding; nearest: 'orders.*'; "
        "1 expired in 'orders'; 2 were acked by consumer 'c1' of 'worker'"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("situation", "told"), TABLE, ids=[situation.__name__ for situation, _ in TABLE])
def test_a_message_is_missing(box: Box, channel: WireChannel, situation: Callable[[Box, WireChannel], None], told: str) -> None:
    situation(box, channel)
    if situation not in (nobody, mistyped_exchange):
        heard(channel)
    state = {"state": "acked"} if situation in (still_unacked, a_poison_message) else {}
    found = 1 if situation in (dropped, a_duplicate) else 0
    assert why(box, queue="orders", wanted=found + 1, found=found, **state) == told.replace("{vhost}", box.vhost)


def test_the_texts_are_true(box: Box, channel: WireChannel) -> None:
    """Where the nearest binding leads is no part of it, but that it leads there is."""
    channel.queue("other", exclusive=False)
    channel.exchange("side", "topic")
    channel.bind("other", "side", "order.*.x")
    channel.publish("side", "order.y.z")
    heard(channel)
    assert why(box, queue="orders", wanted=1, found=0) == (
        "1 was published to exchange 'side' with key 'order.y.z' and matched no binding; nearest: 'order.*.x'"
    ), "nothing comes closer"
    channel.publish("shop", "order.new")
    heard(channel)
    assert "side" not in why(box, queue="orders", wanted=1, found=0), "something does"


# --- there are too many ---------------------------------------------------------------------------------------------


def test_where_they_came_from(box: Box, channel: WireChannel) -> None:
    channel.queue("work", exclusive=False, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "orders"})
    channel.publish("", "work")
    channel.reject(channel.take("work", no_ack=False).tag, requeue=False)
    other = box.wire("other").open_channel()
    for _ in range(2):
        other.publish("shop", "orders.new")
    heard(other)
    channel.publish("", "orders")
    channel.nack(channel.take("orders", no_ack=False).tag)
    heard(channel)
    text = (
        "1 was published to the default exchange with key 'orders' by 'shop'; "
        "2 were published to exchange 'shop' with key 'orders.new' by 'other'; "
        "1 was dead-lettered: rejected in 'work', and came back (basic.nack)"
    )
    assert why(box, queue="orders", wanted=1, found=4) == text
    assert why(box, queue="orders", wanted=4, found=4) == ""
    assert why(box, exchange="shop", wanted=0, found=2) == "2 were published to exchange 'shop' with key 'orders.new' by 'other'"


def test_those_that_are_there_are_not_missed(box: Box, channel: WireChannel) -> None:
    channel.publish("", "orders")
    mistyped_key(box, channel)
    heard(channel)
    missing = "1 was published to exchange 'shop' with key 'order.new' and matched no binding; nearest: 'orders.*'"
    assert why(box, queue="orders", wanted=2, found=1) == missing
    assert why(box, queue="orders", wanted=2, found=0) == f"1 is ready in 'orders': there is no consumer; {missing}"


# --- something was to happen to them ----------------------------------------------------------------------------------


def test_what_was_to_be_acked(box: Box, channel: WireChannel) -> None:
    channel.publish("", "orders", message_id="1")
    channel.publish("", "orders", message_id="2")
    heard(channel)
    assert why(box, queue="orders", state="acked", wanted=1, found=0) == "2 are ready in 'orders': there is no consumer"
    consumer = box.wire("worker").open_channel()
    consumer.qos(1)
    consumer.consume("orders", "c1")
    consumer.deliver()
    assert why(box, queue="orders", state="acked", wanted=2, found=0) == (
        "1 is ready in 'orders': no consumer could take more: prefetch 1 is used up; 1 is unacked with consumer 'c1' of 'worker'"
    )
    assert why(box, queue="orders", message_id="1", state="acked", wanted=1, found=0) == "1 is unacked with consumer 'c1' of 'worker'"
    consumer.ack(1)
    consumer.deliver()
    assert why(box, queue="orders", state="acked", wanted=2, found=1) == "1 is unacked with consumer 'c1' of 'worker'"


def test_what_was_to_be_unroutable(box: Box, channel: WireChannel) -> None:
    channel.publish("shop", "orders.new")
    heard(channel)
    assert why(box, exchange="shop", state="unroutable", wanted=1, found=0) == "1 is ready in 'orders': there is no consumer"
    assert why(box, exchange="shop", wanted=2, found=1, state="published") == "nothing else was published"


def test_what_was_to_be_published(box: Box, channel: WireChannel) -> None:
    asked = {"exchange": "shop", "routing_key": "orders.new", "state": "published", "wanted": 1, "found": 0}
    assert why(box, **asked) == "nothing was published; connected: 'shop'"
    channel.publish("", "orders")
    heard(channel)
    assert why(box, **asked) == "1 was published to the default exchange with key 'orders' and went to 'orders'"
    channel.publish("shop", "order.new")
    heard(channel)
    assert why(box, **asked) == "1 was published to exchange 'shop' with key 'order.new' and matched no binding; nearest: 'orders.*'"
    assert why(box, **asked | {"exchange": "shopp"}).startswith(
        "there is no exchange 'shopp', nearest: 'shop'; 1 was published to exchange 'shop'"
    )


def test_a_message_id(box: Box, channel: WireChannel) -> None:
    channel.publish("", "orders", message_id="order-7")
    channel.publish("", "orders")
    heard(channel)
    text = why(box, message_id="order-8", state="published", wanted=1, found=0)
    assert text == "1 was published to the default exchange with key 'orders' with message_id 'order-7'"


# --- elsewhere ------------------------------------------------------------------------------------------------------


def test_another_vhost(box: Box, channel: WireChannel) -> None:
    channel.queue("bills", exclusive=False)
    channel.exchange("office")
    with Wire.connect(box.broker) as wire:
        other = wire.open_channel()
        other.queue("bills", exclusive=True)
        other.exchange("office", "fanout", auto_delete=True)
        other.bind("bills", "office")
        other.publish("office", "bills.new")
        other.counts("bills")
        assert why(box, queue="bills", wanted=1, found=0) == "1 was published to a queue of the same name in vhost '/'"
        text = why(box, exchange="office", wanted=1, found=0, state="published")
        assert text == "1 was published to the same exchange name in vhost '/'"
        wire.close()


def test_what_is_forgotten_is_told(box: Box, channel: WireChannel) -> None:
    send_many(channel.wire, publish_bytes(channel.number, "", "nowhere", b"x"), LIVES_MAX + 2)
    heard(channel)
    assert why(box, queue="orders", wanted=1, found=0) == (
        f"{LIVES_MAX:,} were published to the default exchange with key 'nowhere' and found no queue of that name; there is 'orders'; "
        "the 2 oldest lives are forgotten"
    )


def test_what_is_no_question(box: Box) -> None:
    assert "unknown here" in box.ask("GET", "/why?quue=orders", status=400)["reason"]
    assert "wanted: expected a whole number" in box.ask("GET", "/why?queue=q&wanted=many", status=400)["reason"]
