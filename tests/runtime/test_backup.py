"""A backup of a broker that is under load: what was confirmed before it began is there, in order, and a start serves it."""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from pamqp.commands import Basic, Confirm, Queue

from storage.backup import backup
from storage.catalog import CATALOG_NAME
from storage.verify import verify
from tests.oracle.leveret import Leveret
from tests.runtime.conftest import Start
from tests.runtime.process import DEADLINE_SECONDS, PERSISTENT, soon
from tests.wire import Wire

BATCH = 100
PADDING = b"." * 1000
LOCKED_SECONDS = 1.0


class Load:
    """Publishes with confirms to two queues, acks what comes from one of them, and declares durable queues, until it ends."""

    def __init__(self, broker: Leveret) -> None:
        self.confirmed = 0
        self.acked = 0
        self.declared = 0
        self.errors: list[BaseException] = []
        self._broker = broker
        self._over = threading.Event()
        with Wire.connect(broker) as wire:
            channel = wire.open_channel()
            for queue in ("tasks", "archive"):
                channel.queue(queue, durable=True)
                channel.call(Queue.Bind, queue=queue, exchange="amq.fanout", routing_key="")
            wire.close()
        self._threads = [threading.Thread(target=self._guarded, args=(work,)) for work in (self._publish, self._consume, self._declare)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(DEADLINE_SECONDS)
        assert not self.errors

    def _guarded(self, work: Callable[[Wire], None]) -> None:
        try:
            with Wire.connect(self._broker, timeout=DEADLINE_SECONDS) as wire:
                work(wire)
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            self.errors.append(error)

    def _publish(self, wire: Wire) -> None:
        channel = wire.open_channel()
        channel.call(Confirm.Select)
        over = False
        while not over:
            over = self._over.is_set()  # a last batch follows, or the consumer would wait for one
            first = self.confirmed + 1
            for number in range(first, first + BATCH):
                channel.publish("amq.fanout", "", b"%d %b" % (number, PADDING), delivery_mode=PERSISTENT)
            while self.confirmed < first + BATCH - 1:
                ack = channel.expect(Basic.Ack)
                assert ack.multiple or ack.delivery_tag == self.confirmed + 1
                self.confirmed = ack.delivery_tag

    def _consume(self, wire: Wire) -> None:
        channel = wire.open_channel()
        channel.call(Basic.Qos, prefetch_count=500)
        channel.consume("tasks")
        while not self._over.is_set():
            message = wire.expect_content(channel=channel.number)
            if message.tag % 10 == 0:
                self.acked = message.tag  # first, so that what is acked is never more than this says
                channel.send(Basic.Ack, delivery_tag=message.tag, multiple=True)

    def _declare(self, wire: Wire) -> None:
        channel = wire.open_channel()
        while not self._over.is_set():
            channel.queue(f"declared {self.declared + 1}", durable=True)
            self.declared += 1


def numbers_in(broker: Leveret, queue: str) -> list[int]:
    with Wire.connect(broker, timeout=DEADLINE_SECONDS) as wire:
        channel = wire.open_channel()
        count, _ = channel.counts(queue)
        channel.consume(queue, no_ack=True)
        messages = channel.deliveries(count)
        wire.close()
    return [int(message.body.split()[0]) for message in messages]


def test_every_backup_under_load_starts_with_all_that_was_confirmed(start: Start, tmp_path: Path) -> None:
    broker = start()
    made: list[tuple[Path, int, int, int]] = []
    with Load(broker) as load:
        for number in range(4):
            seen = load.confirmed, load.declared, load.acked
            soon(lambda seen=seen: load.confirmed >= seen[0] + 10 * BATCH and load.declared > seen[1] and load.acked > seen[2])
            confirmed, declared = load.confirmed, load.declared
            destination = tmp_path / f"backup{number}"
            done = backup(tmp_path / "data", destination)
            assert done.locked_seconds < 1.0
            made.append((destination, confirmed, declared, load.acked))
    for destination, confirmed, declared, acked in made:
        report = verify(destination)
        assert report.ok and not report.torn, report.problems
        assert {path.name for path in destination.iterdir()} == {"catalog.sqlite3", "log"}
        copy = start(directory=destination.name)
        archive = numbers_in(copy, "archive")
        assert archive == list(range(1, len(archive) + 1)), "all of them, in order"
        assert len(archive) >= confirmed
        tasks = numbers_in(copy, "tasks")
        assert tasks == list(range(archive[-1] + 1 - len(tasks), archive[-1] + 1)), "up to the same message"
        assert archive[-1] - len(tasks) <= acked, "what wasn't acked is there"
        with Wire.connect(copy) as wire:
            channel = wire.open_channel()
            for number in range(1, declared + 1):
                channel.queue(f"declared {number}", passive=True)
            wire.close()
        copy.stop()


def test_the_broker_waits_while_somebody_else_has_the_catalog(start: Start, tmp_path: Path) -> None:
    broker = start()
    answered = threading.Event()

    def declare() -> None:
        with Wire.connect(broker, timeout=DEADLINE_SECONDS) as wire:
            wire.open_channel().queue("slow", durable=True)
            answered.set()
            wire.close()

    thread = threading.Thread(target=declare)
    with closing(sqlite3.connect(tmp_path / "data" / CATALOG_NAME, isolation_level=None)) as lock:
        lock.execute("BEGIN IMMEDIATE")
        thread.start()
        assert not answered.wait(LOCKED_SECONDS), "nothing is answered before it lasts"
        lock.execute("ROLLBACK")
    assert answered.wait(DEADLINE_SECONDS)
    thread.join(DEADLINE_SECONDS)


def test_a_mended_catalog_without_its_seed_mark_keeps_its_queues(start: Start, tmp_path: Path) -> None:
    broker = start()
    with Wire.connect(broker) as wire:
        wire.open_channel().queue("kept", durable=True)
        wire.close()
    broker.stop()
    with closing(sqlite3.connect(tmp_path / "data" / CATALOG_NAME, isolation_level=None)) as catalog:
        catalog.execute("DELETE FROM entries WHERE key = 'meta/seeded'")
    broker.start()
    with Wire.connect(broker) as wire:
        wire.open_channel().queue("kept", passive=True)
        wire.close()
