"""What is counted (core.counters): figures of queues, channels, vhosts and the broker, while holders and channels come and go."""

from collections.abc import Iterator

import pytest

from broker.admin import figures as figures_of
from broker.core import counters
from broker.core.counters import Churn, Given, Sizes, Taken
from broker.core.queue import Queue
from broker.metrics.channels import confirmed_of
from protocol.methods import Confirm, Tx
from tests.core.playbook import Playbook, PlayedChannel


@pytest.fixture
def book() -> Playbook:
    return Playbook()


@pytest.fixture
def channel(book: Playbook) -> PlayedChannel:
    channel = book.connect().channel()
    channel.declare("q")
    return channel


def figures(counted: Taken | Given | Churn) -> dict[str, int]:
    return {name: value for name, value in counted.items() if value}


def of_queue(book: Playbook) -> dict[str, int]:
    return figures(counters.taken_from(book.queue("q")))


def of_all(book: Playbook) -> dict[str, int]:
    return figures(counters.total(counters.taken_of(book.broker).values()))


def test_deliveries_and_acks_stay_counted_when_the_consumer_and_its_channel_are_gone(book: Playbook, channel: PlayedChannel) -> None:
    for _ in range(4):
        channel.publish("q", b"1")
    channel.consume("q")
    book.turn()
    channel.acks(1, 2)
    expected = {"deliver": 4, "ack": 2}
    assert of_queue(book) == figures(counters.taken_by(channel.open)) == of_all(book) == expected
    channel.cancel()
    assert of_queue(book) == of_all(book) == expected
    channel.ack(3)  # of a consumer that is gone
    assert of_queue(book) == of_all(book) == {"deliver": 4, "ack": 3}
    channel.close()
    assert of_queue(book) == of_all(book) == {"deliver": 4, "ack": 3}


def test_what_comes_back_is_no_ack_and_counts_as_redelivered_next_time(book: Playbook, channel: PlayedChannel) -> None:
    channel.publish("q", b"1")
    channel.publish("q", b"2")
    channel.consume("q")
    book.turn()
    channel.nack(1)
    channel.reject(2, requeue=False)
    book.turn()
    assert of_queue(book) == of_all(book) == {"deliver": 3, "redeliver": 1}


def test_auto_ack_is_counted_apart(book: Playbook, channel: PlayedChannel) -> None:
    channel.publish("q", b"1")
    channel.consume("q", no_ack=True)
    book.turn()
    assert of_queue(book) == of_all(book) == {"deliver_no_ack": 1}


def test_gets_are_counted_at_once(book: Playbook, channel: PlayedChannel) -> None:
    channel.get("q")
    channel.publish("q", b"1")
    channel.publish("q", b"2")
    channel.get("q")
    channel.get("q", no_ack=True)
    channel.nack(1)
    channel.get("q")
    channel.ack(3)
    expected = {"get": 2, "get_no_ack": 1, "get_empty": 1, "redeliver": 1, "ack": 1}
    assert of_queue(book) == figures(counters.taken_by(channel.open)) == of_all(book) == expected


def test_a_channel_knows_what_it_took_from_which_queue(book: Playbook, channel: PlayedChannel) -> None:
    channel.declare("q2")
    for name in ("q", "q", "q2"):
        channel.publish(name, b"1")
        channel.get(name, no_ack=True)
    q, q2 = book.queue("q"), book.queue("q2")
    assert {queue.name: figures(taken) for queue, taken in channel.open.taken.items()} == {"q": {"get_no_ack": 2}, "q2": {"get_no_ack": 1}}
    book.broker.vhosts["/"].delete_queue(q)
    channel.declare("q3")
    channel.get("q3")
    assert q not in channel.open.taken and q2 in channel.open.taken  # a channel doesn't keep the queues it once used
    assert figures(counters.taken_by(channel.open)) == {"get_no_ack": 3, "get_empty": 1}


def test_a_channel_keeps_no_queues_that_are_gone(book: Playbook, channel: PlayedChannel) -> None:
    for number in range(20):
        channel.declare(f"q{number}")
        channel.publish(f"q{number}", b"1")
        channel.get(f"q{number}")
        channel.get(f"q{number}", no_ack=True)
        book.broker.vhosts["/"].delete_queue(book.queue(f"q{number}"))
    assert len(channel.open.taken) <= 2 and len(channel.open.getters) <= 4
    channel.acks(*range(1, 21))
    assert figures(counters.taken_by(channel.open)) == of_all(book) == {"get": 20, "get_empty": 20, "ack": 20}


def test_a_channel_does_not_look_through_all_its_queues_for_each_of_them(book: Playbook, channel: PlayedChannel) -> None:
    class Table(dict[Queue, Taken]):
        passed = 0

        def __iter__(self) -> Iterator[Queue]:
            for each in super().__iter__():
                self.passed += 1
                yield each

    table = channel.open.taken = Table()
    for number in range(100):
        channel.declare(f"q{number}")
        channel.get(f"q{number}")
    assert len(table) == 100 and table.passed < 200


def test_publishes_by_exchange_and_what_became_of_them(book: Playbook, channel: PlayedChannel) -> None:
    channel.do(Confirm.Select)
    channel.exchange("x", "fanout")
    channel.declare("q2")
    channel.bind("q", "x")
    channel.bind("q2", "x")
    channel.publish("", b"1", exchange="x")
    channel.publish("nowhere", b"2")
    channel.publish("nowhere", b"3", mandatory=True)
    channel.publish("q", b"4")
    book.turn()
    expected = {"publish": 4, "publish_confirm": 4, "confirm": 4, "drop_unroutable": 1, "return_unroutable": 1}
    assert figures(counters.given_by(channel.open)) == expected
    x, default = (book.broker.vhosts["/"].exchange(name) for name in ("x", ""))
    assert (x.published_in, x.published_out, default.published_in, default.published_out) == (1, 2, 3, 1)
    assert (default.returned, default.dropped, x.returned, x.dropped) == (1, 1, 0, 0)
    assert (channel.open.returned, channel.open.dropped) == ({default: 1}, {default: 1})
    assert (book.queue("q").published, book.queue("q2").published) == (2, 1)
    whole = expected | {"routed": 3}
    assert figures(counters.given_to(book.broker)) == whole
    book.broker.vhosts["/"].delete_exchange(x)
    assert x not in channel.open.published
    assert figures(counters.given_by(channel.open)) == expected
    channel.close()
    assert figures(counters.given_to(book.broker)) == whole


def test_a_vhost_that_goes_leaves_its_figures_to_the_broker(book: Playbook, channel: PlayedChannel) -> None:
    channel.publish("q", b"1")
    channel.consume("q")
    book.turn()
    book.broker.delete_vhost(book.broker.vhosts["/"])
    assert of_all(book) == {"deliver": 1}
    assert figures(counters.given_to(book.broker)) == {"publish": 1, "routed": 1}


def test_bytes_of_connections_stay_counted_in_their_vhost(book: Playbook) -> None:
    vhost = book.broker.vhosts["/"]
    peers = [book.connect(), book.connect()]
    for peer in peers:
        peer.session.received_bytes, peer.session.sent_bytes = 100, 30
    before = dict(zip(figures_of.VHOST, figures_of.of_vhost(vhost), strict=True))
    peers[0].lose()
    assert dict(zip(figures_of.VHOST, figures_of.of_vhost(vhost), strict=True)) == before
    assert before["recv_oct"] == 200 and before["send_oct"] == 60


def test_a_commit_counts_and_a_rollback_does_not(book: Playbook, channel: PlayedChannel) -> None:
    channel.do(Tx.Select)
    channel.publish("q", b"1")
    channel.do(Tx.Rollback)
    channel.publish("q", b"2")
    assert figures(counters.given_by(channel.open)) == {}
    channel.commit()
    assert figures(counters.given_by(channel.open)) == {"publish": 1}


def test_dead_letters_by_type_strategy_and_reason(book: Playbook, channel: PlayedChannel) -> None:
    channel.declare("short", arguments={"x-max-length": 1})
    channel.declare("dying", durable=True, arguments={"x-dead-letter-exchange": "", "x-queue-type": "quorum"})
    for _ in range(3):
        channel.publish("short", b"1")
    channel.publish("dying", b"1")
    channel.consume("dying")
    book.settle()
    channel.reject(1, requeue=False)
    assert dict(book.broker.dead_lettered) == {("classic", "disabled", "maxlen"): 2, ("quorum", "at_most_once", "rejected"): 1}


@pytest.mark.usefixtures("deep_queues")
def test_what_a_limit_drops_from_the_disk_is_counted_once() -> None:
    book = Playbook()
    channel = book.connect().channel()
    channel.declare("short", durable=True, arguments={"x-max-length": 10})
    channel.publish("short", *[b"1"] * 10)
    book.restart()
    book.connect().channel().publish("short", *[b"2"] * 13)  # in one turn: more than what is on the disk
    book.settle()
    assert dict(book.broker.dead_lettered) == {("classic", "disabled", "maxlen"): 13}


def test_churn(book: Playbook) -> None:
    peer = book.connect()
    channel = peer.channel()
    channel.declare("q")
    channel.declare("q")
    channel.declare("gone", exclusive=True)
    peer.close()
    counted = figures(book.broker.churn)
    assert counted == {
        "channel_closed": 1, "channel_created": 1, "connection_closed": 1, "connection_created": 1,
        "queue_created": 2, "queue_declared": 3, "queue_deleted": 1,
    }  # fmt: skip


@pytest.mark.parametrize(("sizes", "expected"), [([0, 100], [2, 0]), ([100, 101, 1000, 1001], [1, 2, 1]), ([200_000_000], [0] * 8 + [1])])
def test_sizes_fall_into_buckets_whose_bounds_belong_to_them(sizes: list[int], expected: list[int]) -> None:
    class Body(bytes):
        size = 0

        def __len__(self) -> int:
            return self.size

    counted = Sizes()
    bodies = []
    for size in sizes:
        body = Body()
        body.size = size
        bodies.append(body)
    counted.add_each(bodies, sum(sizes))
    assert counted.counts[: len(expected)] == expected
    assert (sum(counted.counts), counted.total_bytes) == (len(sizes), sum(sizes))


def test_confirms_are_shared_out_without_keeping_exchanges_that_are_gone(book: Playbook, channel: PlayedChannel) -> None:
    channel.do(Confirm.Select)
    for number in range(3):
        channel.exchange(f"x{number}")
        channel.publish("nowhere", b"1", exchange=f"x{number}")
        channel.publish("q", b"1")
        book.turn()
        told = confirmed_of(channel.open)
        vhost = book.broker.vhosts["/"]
        assert {each.name: count for each, count in told.items() if each is not None} == {f"x{number}": 1, "": number + 1}
        vhost.delete_exchange(vhost.exchange(f"x{number}"))
    assert sum(confirmed_of(channel.open).values()) == 6 and len(confirmed_of(channel.open)) == 2
