"""The clock of a broker for tests and its data directory: a restart goes on in the same time, and a broker that isn't for tests says so."""

import subprocess
import sys
import time
from pathlib import Path

from pamqp.commands import Queue

from tests.house.conftest import ROOT, clean_environment
from tests.oracle.leveret import Leveret
from tests.testing.supervised import Supervised
from tests.testing.test_time import advance, now
from tests.wire import Wire, WireChannel

HOUR = 3600


def durable(channel: WireChannel, name: str, **arguments: str | int) -> str:
    return channel.queue(name, durable=True, arguments=arguments)


def test_a_restart_goes_on_in_the_same_time(tmp_path: Path) -> None:
    with Supervised(tmp_path / "data") as broker:
        with Wire.connect(broker) as wire:
            channel = wire.open_channel()
            durable(channel, "dead")
            durable(channel, "q", **{"x-message-ttl": HOUR * 1000, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"})
            channel.publish_confirmed("", "q", b"1", delivery_mode=2)
            published = now(broker)
        advance(broker, HOUR / 2)
        broker.kill()
        broker.start()
        assert HOUR * 500 <= now(broker) - published < HOUR * 500 + 60_000
        assert f"its clock goes on {HOUR // 2} s ahead" in broker.log
        with Wire.connect(broker) as wire:
            channel = wire.open_channel()
            assert channel.counts("q")[0] == 1
            advance(broker, HOUR / 2)
            assert channel.counts("q")[0] == 0
            (died,) = channel.take("dead").headers["x-death"]
            assert HOUR - 5 <= died["time"].timestamp() - published / 1000 <= HOUR
            wire.close()


def test_frozen_stays_frozen(tmp_path: Path) -> None:
    with Supervised(tmp_path / "data") as broker:
        broker.ask("POST", "/clock/freeze")
        advance(broker, HOUR)
        before = broker.ask("GET", "/clock")
        broker.kill()
        broker.start()
        after = broker.ask("GET", "/clock")
        assert (after["now_ms"], after["frozen"]) == (before["now_ms"], True)
        broker.ask("POST", "/clock/resume")
        broker.stop()
        broker.start()
        assert not broker.ask("GET", "/clock")["frozen"]


def test_what_is_on_the_disk_expires_on_time(tmp_path: Path) -> None:
    """After a restart nothing is in memory: each head has to be read before anybody knows when it expires."""
    queues, each, seconds = 3, 700, 7
    with Supervised(tmp_path / "data") as broker:
        broker.ask("POST", "/clock/freeze")
        with Wire.connect(broker) as wire:
            channel = wire.open_channel()
            durable(channel, "dead")
            channel.tx_select()  # while the clock is frozen each publish would wait for the disk
            for queue in range(queues):
                durable(channel, f"q{queue}", **{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"})
                bodies = [b"%d" % number for number in range(each)]
                for number in range(each):
                    ttl = str((number // 100 + 1) * seconds * 1000 + queue)
                    channel.publish("", f"q{queue}", bodies[number].ljust(2000), delivery_mode=2, expiration=ttl)
            channel.publish("", "q0", b"last", delivery_mode=2, expiration="1000000")
            channel.commit()
            begin = now(broker) // 1000
        broker.kill()
        broker.start()
        with Wire.connect(broker) as wire:
            channel = wire.open_channel()
            advance(broker, 100)
            found = []
            while (message := channel.get("dead")) is not None:
                (died,) = message.headers["x-death"]
                found.append((int(died["time"].timestamp()) - begin, died["queue"], int(message.body)))
            wanted = [
                ((at + 1) * seconds, f"q{queue}", at * 100 + number)
                for at in range(each // 100) for queue in range(queues) for number in range(100)
            ]  # fmt: skip
            assert found == wanted
            assert channel.counts("q0")[0] == 1
            wire.close()


def test_replies_that_wait_for_the_disk_are_given_before_time_passes(tmp_path: Path) -> None:
    """A consumer gets nothing before its channel has said what is durable; an hour is longer than that takes."""
    with Supervised(tmp_path / "data") as broker, Wire.connect(broker) as wire:
        channel, other = wire.open_channel(), wire.open_channel()
        queue = other.queue()
        for number in range(20):
            channel.consume(queue, str(number), no_ack=True)
            channel.send(Queue.Declare, queue=f"durable.{number}", durable=True)
            other.publish("", queue, b"%d" % number, expiration="1000")
            advance(broker, HOUR)
            assert {channel.wire.next_frame(channel.number).type for _ in range(4)} == {1, 2, 3}, "it was delivered, not expired"
            channel.cancel(str(number))
        wire.close()


def test_another_broker_says_what_time_it_was(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Supervised(data) as broker:
        advance(broker, HOUR)
    with Leveret(data) as ordinary:
        assert "whose clock was 3600 s ahead: what was published then lives so much longer" in ordinary.log
        with Wire.connect(ordinary) as wire:
            assert wire.open_channel().queue("q")
            wire.close()
    with Supervised(data) as broker:
        assert now(broker) > time.time() * 1000 + HOUR * 999
        broker.ask("POST", "/clock/freeze")
        broker.ask("POST", "/clock/resume")


def test_one_that_was_never_moved_is_nothing_to_speak_of(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Supervised(data) as broker, Wire.connect(broker) as wire:
        durable(wire.open_channel(), "q")
        wire.close()
    with Leveret(data) as ordinary:
        assert "whose clock was" not in ordinary.log


def test_offline_tools_read_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Supervised(data) as broker:
        advance(broker, HOUR)
    for command in (["log", "verify", str(data)], ["log", "dump", str(data)], ["definitions", "export", "--data-dir", str(data)]):
        done = subprocess.run(
            [sys.executable, "-m", "leveret", *command],
            cwd=ROOT,
            env=clean_environment(),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done
        assert "testing" not in done.stdout + done.stderr


def test_names_of_before_a_restart_are_not_given_again(tmp_path: Path) -> None:
    with Supervised(tmp_path / "data") as broker:
        names = []
        for _ in range(2):
            with Wire.connect(broker) as wire:
                names.append(wire.open_channel().queue(durable=True))
                wire.close()
            broker.stop()
            broker.start()
        assert len(set(names)) == 2
