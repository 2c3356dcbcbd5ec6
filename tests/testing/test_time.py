"""The broker's clock, moved by a test: everything that has a deadline comes out as if that time had passed."""

import time
from collections.abc import Iterator
from datetime import UTC
from types import SimpleNamespace
from typing import Any

import kombu
import pytest
from kombu.transport import native_delayed_delivery as delayed
from pamqp.commands import Connection, Queue

from broker.core.timers import Timers
from broker.testing.timing.clock import Clock
from broker.testing.turn import WatchedWakeups
from tests.testing.supervised import Supervised
from tests.wire import Wire, WireChannel

AGES_SECONDS = 2**27
"""More than four years: the longest delay of Celery's delayed delivery."""
SOON_SECONDS = 5.0
"""In which they pass, whatever else runs on the machine; alone it takes a millisecond."""
HALF_AN_HOUR = 1800


@pytest.fixture(scope="module")
def broker() -> Iterator[Supervised]:
    """Its clock is frozen."""
    with Supervised() as supervised:
        supervised.ask("POST", "/clock/freeze")
        yield supervised


@pytest.fixture
def channel(broker: Supervised) -> Iterator[WireChannel]:
    with Wire.connect(broker) as wire:
        yield wire.open_channel()
        wire.close()


def advance(broker: Supervised, seconds: float, **options: Any) -> int:
    """How many timers were called."""
    fired: int = broker.ask("POST", "/clock/advance", {"seconds": seconds, **options})["fired"]
    return fired


def now(broker: Supervised) -> int:
    """In ms."""
    now_ms: int = broker.ask("GET", "/clock")["now_ms"]
    return now_ms


def dying_queue(channel: WireChannel, dead: str, **arguments: Any) -> str:
    return channel.queue(arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead, **arguments})


# --- what has a deadline --------------------------------------------------------------------------------------------


def test_a_message_expires_to_the_millisecond(broker: Supervised, channel: WireChannel) -> None:
    by_queue, by_message = channel.queue(arguments={"x-message-ttl": 1000}), channel.queue()
    channel.publish("", by_queue, b"1")
    channel.publish("", by_message, b"1", expiration="1000")
    before = now(broker)
    advance(broker, 0.999)
    assert channel.counts(by_queue)[0] == channel.counts(by_message)[0] == 1
    advance(broker, 0.001)
    assert channel.counts(by_queue)[0] == channel.counts(by_message)[0] == 0
    assert now(broker) == before + 1000


def test_a_chain_of_dead_letters_has_its_own_times(broker: Supervised, channel: WireChannel) -> None:
    """After 10 s, 25 s and 31 s, whatever is in between."""
    first, second, third, last = "chain.1", "chain.2", "chain.3", channel.queue("chain.end")
    for name, following, seconds in ((first, second, 10), (second, third, 15), (third, last, 6)):
        channel.queue(
            name,
            exclusive=True,
            arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": following, "x-message-ttl": seconds * 1000},
        )
    begin = now(broker) // 1000
    channel.publish("", first, b"1")
    advance(broker, 3600)
    died = channel.take(last).headers["x-death"]
    assert [(each["queue"], int(each["time"].timestamp()) - begin) for each in died] == [(third, 31), (second, 25), (first, 10)]


def test_in_the_order_of_deadlines_and_of_publishing(broker: Supervised, channel: WireChannel) -> None:
    dead = channel.queue()
    queues = {name: dying_queue(channel, dead) for name in "abcdef"}
    for name, ttl in (("c", 20), ("a", 10), ("d", 20), ("f", 30), ("b", 10), ("e", 20)):
        channel.publish("", queues[name], name.encode(), expiration=str(ttl * 1000))
    advance(broker, 3600)
    assert channel.bodies(dead) == [b"a", b"b", b"c", b"d", b"e", b"f"]


def test_queues_go(broker: Supervised, channel: WireChannel) -> None:
    queue = channel.queue(arguments={"x-expires": 60_000})
    advance(broker, 59)
    channel.get(queue)
    advance(broker, 59.999)
    assert queue in [each["name"] for each in broker.http.get("/api/queues")]
    advance(broker, 0.001)
    assert queue not in [each["name"] for each in broker.http.get("/api/queues")]


def test_delayed_messages(broker: Supervised, channel: WireChannel) -> None:
    exchange = channel.exchange("late", "x-delayed-message", arguments={"x-delayed-type": "fanout"})
    queue = channel.bound_queue(exchange)
    for body, delay in ((b"3", 3_600_000), (b"1", 10), (b"2", 60_000), (b"ages", AGES_SECONDS * 1000)):
        channel.publish(exchange, "", body, headers={"x-delay": delay})
    channel.consume(queue, no_ack=True)
    advance(broker, 3600)
    assert [each.body for each in channel.deliveries(3)] == [b"1", b"2", b"3"]
    advance(broker, AGES_SECONDS - 3600.001)
    channel.nothing_more(queue)
    advance(broker, 0.001)
    assert channel.deliver().body == b"ages"
    channel.send(Queue.Delete, queue=queue)


def test_duplicates_are_forgotten(broker: Supervised, channel: WireChannel) -> None:
    exchange = channel.exchange("once", "x-message-deduplication", arguments={"x-cache-size": 10, "x-cache-ttl": 60_000})
    queue = channel.bound_queue(exchange)
    for seconds in (0, 59.999, 0.001):
        advance(broker, seconds)
        channel.publish(exchange, "", b"1", headers={"x-deduplication-header": "same"})
    assert channel.counts(queue)[0] == 2


@pytest.mark.parametrize(
    ("usual", "timeout", "closes"), [("undefined", None, False), (HALF_AN_HOUR, None, True), ("undefined", 86_400, True)]
)
def test_ages_take_no_time(broker: Supervised, channel: WireChannel, usual: int | str, timeout: int | None, closes: bool) -> None:
    """With an unacked delivery, whether it may stay out for ever, for the usual time or for a day."""
    path = "/api/leveret/ctl/environment/rabbit/consumer_timeout"
    broker.http.ask("PUT", path, {"value": usual if isinstance(usual, str) else usual * 1000})
    queue = channel.queue(arguments={"x-consumer-timeout": timeout * 1000} if timeout is not None else {})
    channel.publish("", queue, b"1")
    channel.take(queue, no_ack=False)
    begin = time.perf_counter()
    fired = advance(broker, AGES_SECONDS)
    assert time.perf_counter() - begin < SOON_SECONDS
    assert fired < 5
    if closes:
        channel.expect_close(406)
    else:
        channel.nothing_more(queue)
    broker.http.ask("PUT", path, {"value": HALF_AN_HOUR * 1000})


def test_the_consumer_timeout_comes_when_it_is_over(broker: Supervised, channel: WireChannel) -> None:
    """A delivery's age is known to a second."""
    queue = channel.queue()
    channel.consume(queue)
    channel.publish("", queue, b"1")
    channel.deliver()
    advance(broker, HALF_AN_HOUR)
    channel.nothing_more(queue)
    advance(broker, 1)
    channel.expect_close(406)


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
def test_celerys_delayed_delivery(broker: Supervised, queue_type: str) -> None:
    """28 levels, each with a queue whose messages wait twice as long as those of the next: declared and published to by kombu."""
    delay = AGES_SECONDS + 2**20 + 5
    with kombu.Connection(f"amqp://guest:guest@{broker.host}:{broker.port}//", heartbeat=0) as connection, Wire.connect(broker) as wire:
        channel = wire.open_channel()
        exchange = kombu.Exchange(f"tasks.{queue_type}", "topic", auto_delete=True)
        queue = kombu.Queue(f"tasks.{queue_type}", exchange, "task", exclusive=True, channel=connection.default_channel)
        queue.declare()
        delayed.declare_native_delayed_delivery_exchanges_and_queues(connection, queue_type, queue_type)
        delayed.bind_queue_to_native_delayed_delivery_exchange(connection, queue, queue_type)
        before = now(broker)
        connection.Producer().publish(
            "eta", exchange=f"{queue_type}_celery_delayed_27", routing_key=delayed.calculate_routing_key(delay, "task")
        )
        begin = time.perf_counter()
        fired = advance(broker, delay - 0.001)
        assert queue.get() is None
        fired += advance(broker, 0.001)
        message = queue.get(no_ack=True)
        assert message is not None and message.payload == "eta"
        assert fired == 4 and time.perf_counter() - begin < SOON_SECONDS
        died = [(each["queue"], int(each["time"].replace(tzinfo=UTC).timestamp())) for each in message.headers["x-death"]]
        assert [name for name, _ in died] == [f"{queue_type}_celery_delayed_{level}" for level in (0, 2, 20, 27)]
        assert died[0][1] == (before + delay * 1000) // 1000
        assert died[-1][1] == (before + AGES_SECONDS * 1000) // 1000
        for level in range(28):
            channel.call(Queue.Delete, queue=f"{queue_type}_celery_delayed_{level}")


def test_thousands_of_timers(broker: Supervised, channel: WireChannel) -> None:
    dead = channel.queue()
    queues = [dying_queue(channel, dead) for _ in range(10)]
    for number in range(200):
        for queue in queues:
            channel.publish("", queue, b"%d" % number, expiration=str(1000 * (number + 1)))
    channel.consume(dead, no_ack=True)
    assert advance(broker, 2000) == 2000
    assert [each.body for each in channel.deliveries(2000)] == [b"%d" % number for number in range(200) for _ in queues]


# --- what has none --------------------------------------------------------------------------------------------------


def test_the_machines_time_does_not_move(broker: Supervised) -> None:
    """Heartbeats of a second, a handshake that isn't over, logins."""
    with Wire.connect(broker, heartbeat=1) as wire, Wire(broker) as slow:
        slow.greet()
        advance(broker, AGES_SECONDS)
        channel = wire.open_channel()
        assert channel.counts(channel.queue()) == (0, 0)
        slow.start_ok()
        slow.expect(Connection.Tune)
        wire.close()


def test_nothing_happens_while_it_stands(broker: Supervised, channel: WireChannel) -> None:
    queue = channel.queue(arguments={"x-message-ttl": 1})
    channel.publish("", queue, b"1")
    begin, before = time.monotonic(), now(broker)
    while time.monotonic() - begin < 0.05:
        assert channel.counts(queue)[0] == 1
    assert now(broker) == before


def test_it_goes_on_from_where_it_stood() -> None:
    with Supervised() as broker, Wire.connect(broker) as wire:
        channel = wire.open_channel()
        first = broker.ask("POST", "/clock/freeze")
        assert first["frozen"]
        queue = channel.queue(arguments={"x-message-ttl": 60_000})
        channel.consume(channel.queue("dead"), no_ack=True)
        late = dying_queue(channel, "dead")
        channel.publish("", queue, b"1")
        channel.publish("", late, b"2", expiration="60050")
        advance(broker, 60)
        again = broker.ask("POST", "/clock/resume")
        assert 60_000 <= again["now_ms"] - first["now_ms"] < 61_000 and not again["frozen"]
        assert channel.deliver().body == b"2"
        assert 0 < again["offset_ms"] <= 60_000
        wire.close()


class _Loop:
    """As much of an event loop as wake-ups need."""

    def __init__(self) -> None:
        self.waits: list[_Wait] = []

    def call_later(self, seconds: float, _: object) -> "_Wait":
        self.waits.append(_Wait(seconds))
        return self.waits[-1]

    @property
    def seconds(self) -> list[float]:
        return [each.seconds for each in self.waits if not each.cancelled]


class _Wait:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


def test_nobody_wakes_while_the_clock_stands() -> None:
    """A unit: a broker that wakes in vain looks the same from outside."""
    clock, timers, loop = Clock(lambda: 5_000, lambda: 0), Timers(), _Loop()
    broker: Any = SimpleNamespace(rig=SimpleNamespace(clock=clock), timers=timers, outbox=SimpleNamespace(clock=clock.now_ms))
    wakeups = WatchedWakeups(broker, loop, lambda: None)
    timers.at(5_500, lambda: None)
    wakeups.after_turn()
    assert loop.seconds == [0.5]
    clock.freeze()
    assert loop.seconds == []
    wakeups.after_turn()
    assert loop.seconds == []
    clock.move_to(5_500)
    assert loop.seconds == [0]
    timers.run(5_500)
    timers.at(6_000, lambda: None)
    wakeups.after_turn()
    assert loop.seconds == []
    clock.resume()
    assert loop.seconds == [0.5]


# --- what is asked for wrongly --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "say how many seconds"),
        ({"seconds": -1}, "seconds: expected seconds, 0 or more"),
        ({"seconds": "1"}, "seconds: expected seconds, 0 or more"),
        ({"seconds": True}, "seconds: expected seconds, 0 or more"),
        ({"seconds": 1, "timeout": None}, "timeout: expected seconds"),
        ({"seconds": 1, "until_ms": 1}, "say how many seconds"),
        ({"seconds": 2**40}, "can't go past the year 9998"),
        ({"until_ms": 1}, "that moment is over"),
        ({"seconds": 1, "settle": 5}, "settle is 5: expected true or false"),
    ],
)
def test_bad_input(broker: Supervised, body: dict[str, Any], reason: str) -> None:
    before = now(broker)
    assert reason in broker.ask("POST", "/clock/advance", body, status=400)["reason"]
    assert now(broker) == before


def test_up_to_a_moment(broker: Supervised) -> None:
    moment = now(broker) + 12_345
    assert broker.ask("POST", "/clock/advance", {"until_ms": moment})["now_ms"] == moment
    assert broker.ask("POST", "/clock/advance", {"seconds": 0})["now_ms"] == moment
