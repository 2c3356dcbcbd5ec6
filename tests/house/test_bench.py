"""The benchmarks: that the load generator notices what is lost, double or out of order, and what is made of its figures."""

import json
import re
import shutil
import struct
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import leveret
from bench import compare, guard
from bench.brokers import CLASSIC, LEVERET
from bench.compare import put_between, ratio, table
from bench.growth import SERIES
from bench.measure import build
from bench.scenes import SCENES, Figure, Scene
from tests.oracle.leveret import Leveret
from tests.wire import Wire

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="the load generator is C")
RUN_SECONDS_MAX = 60
LOADS = (
    "",
    "-d -c 100",
    "-a 0 -s 12",
    "-a 100 -u",
    "-A",
    "-A -d -c 50",
    "-A -P 2 -C 2 -Q 2",
    "-P 3 -C 2",
    "-R -u -Q 20 -C 4",
    "-x -g",
    "-s 0",
    "-r 2000",
    "-X x-max-priority=5",
    "-T quorum -d",
)


@pytest.fixture(scope="module")
def amqpload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("load"))


@pytest.fixture(scope="module")
def server() -> Iterator[Leveret]:
    with Leveret() as broker:
        yield broker


@pytest.fixture
def broken() -> Iterator[leveret.Broker]:
    """A broker that can be told to make mistakes."""
    with leveret.Broker() as broker:
        yield broker


def run(amqpload: Path, port: int, options: str, count: int = 500) -> "subprocess.CompletedProcess[str]":
    command = [str(amqpload), "-p", str(port), "-n", str(count), *options.split()]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=RUN_SECONDS_MAX)


@pytest.mark.parametrize("options", LOADS)
def test_a_load_that_arrives(amqpload: Path, server: Leveret, options: str) -> None:
    done = run(amqpload, server.port, options)
    assert (done.returncode, done.stderr) == (0, "")
    figures = dict(re.findall(r"(\w+)=([\d.]+)", done.stdout))
    assert figures["consumed"] == figures["published"]
    assert (figures["disorder"], figures["double"]) == ("0", "0")
    assert float(figures["e2e_rate"]) > 0


def test_published_now_and_drained_later(amqpload: Path, server: Leveret) -> None:
    assert run(amqpload, server.port, "-C 0 -k -N later").returncode == 0
    done = run(amqpload, server.port, "-D -N later")
    assert done.returncode == 0
    assert "consumed=500 " in done.stdout


@pytest.mark.parametrize("mode", ["request", "connection", "channel", "queue", "idle"])
def test_other_modes(amqpload: Path, server: Leveret, mode: str) -> None:
    done = run(amqpload, server.port, f"-M {mode}", 20)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "ready\n" if mode == "idle" else "e2e_rate=" in done.stdout


@pytest.mark.parametrize("options", ["-q 1", "-q 1 -A", "-q 1 -C 2"])
def test_a_message_that_comes_twice_is_noticed(amqpload: Path, broken: leveret.Broker, options: str) -> None:
    with broken.faults.redeliver(queue="bench-0"):
        done = run(amqpload, broken.port, f"{options} -k")
    assert done.returncode == 1
    assert "double=1" in done.stdout


@pytest.mark.parametrize("options", ["-c 10", "-A -c 10"])
def test_a_message_that_is_lost_is_noticed(amqpload: Path, broken: leveret.Broker, options: str) -> None:
    with broken.faults.return_publish(queue="bench-0"):
        done = run(amqpload, broken.port, f"{options} -w 3 -k")
    assert done.returncode == 1
    assert "499 of 500 messages" in done.stderr


@pytest.mark.parametrize(("numbers", "complaint"), [((0, 1, 2), ""), ((0, 2, 1), "disorder=2"), ((0, 1, 1), "double=1")])
def test_messages_out_of_order_are_noticed(amqpload: Path, server: Leveret, numbers: Sequence[int], complaint: str) -> None:
    """As somebody else has put them into the queue."""
    with Wire.connect(server) as wire:
        channel = wire.open_channel()
        channel.queue("order-0", durable=False, exclusive=False)
        for number in numbers:
            wire.publish(channel.number, "", "order-0", struct.pack("=IH", number, 0))
        assert channel.counts("order-0") == (len(numbers), 0)
        wire.close()
    done = run(amqpload, server.port, "-D -N order", len(numbers))
    assert done.returncode == (1 if complaint else 0)
    assert complaint in done.stdout


def test_what_the_broker_refuses_ends_it(amqpload: Path, server: Leveret) -> None:
    done = run(amqpload, server.port, "-E nowhere")
    assert done.returncode == 1
    assert "404 NOT_FOUND - no exchange 'nowhere' in vhost '/'" in done.stderr


# --- figures --------------------------------------------------------------------------------------------------------------


RATE = Figure("so many", "e2e_rate", "k/s")
TIME = Figure("so long", "p50", "ms", cost=True)
FOUND = {
    LEVERET: [{"e2e_rate": 600_000.0, "p50": 1.0}, {"e2e_rate": 500_000.0, "p50": 2.0}, {"e2e_rate": 400_000.0, "p50": 3.0}],
    CLASSIC: [{"e2e_rate": 100_000.0, "p50": 6.0}],
}


def test_ratios_say_how_many_times_better_we_are() -> None:
    assert ratio(RATE, FOUND, CLASSIC) == 5
    assert ratio(TIME, FOUND, CLASSIC) == 3
    assert ratio(RATE, {LEVERET: FOUND[LEVERET]}, CLASSIC) is None


def test_a_table_has_medians_and_spread() -> None:
    scene = Scene("group", (RATE, TIME), lambda bench, broker: {}, is_bound_elsewhere="the client")
    lines = table([scene], [FOUND]).splitlines()
    assert "| so many * | k/s | 500 ±20% | 100 | 5.0 |  |  |" in lines
    assert "| so long * | ms | 2.00 ±50% | 6.00 | 3.0 |  |  |" in lines


def test_scenes_can_be_told_apart() -> None:
    names = [(scene.group, figure.name) for scene in SCENES for figure in scene.figures]
    assert len(names) == len(set(names))
    assert len({each.name for each in SERIES}) == len(SERIES)


def test_tables_can_be_made_of_a_result_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The very same, though some rows of different groups have one name."""
    scenes = list(SCENES)
    values = [
        {LEVERET: [{figure.key: float(number + at) for at, figure in enumerate(scene.figures)}]} for number, scene in enumerate(scenes)
    ]
    rows = [
        {"group": scene.group, "figures": [figure._asdict() for figure in scene.figures], "values": found}
        for scene, found in zip(scenes, values, strict=True)
    ]
    file = tmp_path / "result.json"
    file.write_text(json.dumps({"about": {"date": "today"}, "scenes": rows}))
    written: list[object] = []
    monkeypatch.setattr(compare, "write_tables", lambda *given: written.extend(given))
    monkeypatch.setattr("sys.argv", ["compare", "--again", str(file)])
    assert compare.main() == 0
    assert written == [{"date": "today"}, scenes, values]


def test_tables_go_between_their_marks(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text("before\n<!-- bench: begin -->\nold\n<!-- bench: end -->\nafter\n")
    put_between(file, "new\n")
    assert file.read_text() == "before\n<!-- bench: begin -->\nnew\n<!-- bench: end -->\nafter\n"
    file.write_text("no marks\n")
    with pytest.raises(ValueError, match=r"page\.md has no line <!-- bench: begin -->"):
        put_between(file, "new\n")


@pytest.mark.parametrize(("now", "status"), [(1.0, 0), (1.29, 0), (1.31, 1), (0.5, 0)])
def test_the_guard_fails_when_something_is_worse(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], now: float, status: int
) -> None:
    monkeypatch.setattr(guard, "COMMITTED", tmp_path / "guard.json")
    monkeypatch.setattr("sys.argv", ["guard", "--write"])
    monkeypatch.setattr(guard, "measure", lambda rounds, python: {"a load": [9.0, 10.0, 30.0]})
    assert guard.main() == 0
    assert [*json.loads((tmp_path / "guard.json").read_text()).values()] == [{"a load": 10.0}]
    monkeypatch.setattr("sys.argv", ["guard"])
    monkeypatch.setattr(guard, "measure", lambda rounds, python: {"a load": [10 * now] * 3})
    assert guard.main() == status
    assert ("a load: a message costs" in capsys.readouterr().out) == bool(status)
