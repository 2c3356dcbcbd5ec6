"""`leveret top`."""

import io
import re
from argparse import Namespace
from collections.abc import Iterator

import pika
import pytest

from broker.cli import top
from broker.cli.top import Connection, Queue, View
from tests.cli.conftest import Served
from tests.house.conftest import Run

VIEW = View(
    "rabbit@host  Leveret 1  up 00:01:00",
    ["messages   3: 2 ready, 1 unacked", "alarms     memory"],
    [Queue("[orders]", "/", 1200, 1, (12.0, 0.5, 0.0), 2), Queue("q", "v", 0, 0, (0.0, 0.0, 0.0), 0)],
    [Connection("worker", "guest", "/", 3, 2048.0, 0.0, "running")],
)


@pytest.fixture
def client(served: Served) -> Iterator[pika.BlockingConnection]:
    connection = pika.BlockingConnection(
        pika.ConnectionParameters("127.0.0.1", served.port, client_properties={"connection_name": "worker"})
    )
    channel = connection.channel()
    channel.queue_declare("busy")
    channel.queue_declare("idle")
    for _ in range(5):
        channel.basic_publish("", "busy", b"x")
    channel.basic_get("busy")
    yield connection
    channel.queue_delete("busy")
    channel.queue_delete("idle")
    connection.close()


def run(served: Served, leveret: Run, *words: str) -> tuple[int, str, str]:
    done = leveret("top", *words, **served.variables)
    return done.returncode, done.stdout, done.stderr


def test_two_looks_in_a_pipe(served: Served, leveret: Run, client: pika.BlockingConnection) -> None:
    status, out, err = run(served, leveret, "--count", "2", "--interval", "0.1")
    assert (status, err) == (0, "")
    assert out.count("\nqueue ") == 2 and "\x1b" not in out
    assert re.search(r"^busy +/ +4 +1 ", out, re.MULTILINE) and re.search(r"^idle +/ +0 +0 ", out, re.MULTILINE)
    assert out.index("busy") < out.index("idle")
    assert re.search(r"^worker +guest +/ +1 ", out, re.MULTILINE)
    assert "5: 4 ready, 1 unacked" in out and re.search(r"^alarms +none$", out, re.MULTILINE)


def test_the_order_and_a_vhost(served: Served, leveret: Run, client: pika.BlockingConnection) -> None:
    out = run(served, leveret, "--count", "1", "--sort", "name", "--vhost", "/")[1]
    assert out.index("busy") < out.index("idle")
    status, out, err = run(served, leveret, "--count", "1", "--vhost", "nope")
    assert (status, out) == (69, "") and err.startswith("leveret: ")


def test_without_a_broker(leveret: Run, tmp_path: object) -> None:
    done = leveret("top", "--count", "1", LEVERET_RUNTIME_DIR=str(tmp_path))
    assert done.returncode == 69 and done.stderr.startswith("leveret: ")


@pytest.mark.parametrize("words", [["--interval", "0"], ["--count", "0"], ["--sort", "nope"], ["--url", "ftp://x"]])
def test_what_is_wrong_with_the_command_line(leveret: Run, words: list[str]) -> None:
    assert leveret("top", *words).returncode == 64


def test_a_small_screen() -> None:
    lines = top.plain(VIEW, 30, 10).splitlines()
    assert all(len(line) <= 30 for line in lines) and any(line.startswith("[orders]") for line in lines)
    assert top.plain(VIEW, None, None).splitlines()[3:6] == [
        "",
        "queue     vhost  ready  unacked  in/s  out/s  ack/s  consumers",
        "[orders]  /      1,200        1    12    0.5      0          2",
    ]


def test_with_rich() -> None:
    """Names aren't read as its markup."""
    console = pytest.importorskip("rich.console").Console(file=io.StringIO(), width=100, force_terminal=True, color_system="standard")
    console.print(top.rendered(VIEW, 40))
    text = re.sub(r"\x1b\[[0-9;]*m", "", console.file.getvalue())
    assert "[orders]" in text and "1,200" in text and "2.0 KiB" in text
    assert "\x1b[1;31malarms" in console.file.getvalue()


def test_rates_are_what_counters_rose() -> None:
    rates = top.Rates()
    rates.begin()
    assert rates.of({"publish": 100, "publish_details": {"rate": 7.0}}, "publish", "q") == 7
    rates._then -= 2
    rates.begin()
    assert rates.of({"publish": 120}, "publish", "q") == pytest.approx(10, rel=0.1)
    rates.begin()
    assert rates.of({"publish": 5}, "publish", "q") == 0


def test_ctrl_c_is_the_usual_end(served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupted)
    monkeypatch.setenv("LEVERET_RUNTIME_DIR", str(served.runtime))
    assert top.run(Namespace(node=None, url=None, vhost=None, sort="messages", interval=1.0, count=None)) == 0
    assert "queue" in capsys.readouterr().out
