"""`python -m bench.listing`: how long GET /api/queues takes with ten thousand queues, and for how long it holds up everybody else.

A broker as a process of its own has that many queues, some of them busy. While a list is made, a timer on its event loop, due every
millisecond, notes how much its thread has worked since it came last: for that long the loop had no time for messages. That is processor
time, so that other processes on the machine don't count. A row says what was asked; the median of the milliseconds that the answer took;
for how many of them the loop's thread worked (Linux); the answer's size; the longest hold-up.
"""

import argparse
import asyncio
import base64
import http.client
import json
import os
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pika

from tests.oracle.leveret import Leveret

LATE_FILE = "BENCH_LATE_FILE"
BEAT_SECONDS = 0.001
NOTED_SECONDS = 0.0005
ROUNDS = 7
ASKED = (
    "/api/queues",
    "/api/queues/detailed",
    "/api/queues?columns=name,messages",
    "/api/queues?columns=name,vhost",
    "/api/queues?page=1&page_size=100",
    "/api/queues?page=1&page_size=100&name=99&sort=name&sort_reverse=true",
    "/api/queues?page=1&page_size=100&sort=messages",
    "/api/queues?disable_stats=true&enable_queue_totals=true",
    "/api/bindings",
    "/api/queues/%2F/queue-0",
)


class WatchedLeveret(Leveret):
    """A broker that notes how late its timers are."""

    module = "bench.listing"


def watch(loop: asyncio.AbstractEventLoop, late: list[tuple[float, float]]) -> None:
    """Note (wall time, seconds of processor time) whenever the loop has worked long since it last looked at its timers."""

    def beat(before: float) -> None:
        now = time.thread_time()
        if now - before > NOTED_SECONDS:
            late.append((time.time(), now - before))
        loop.call_later(BEAT_SECONDS, beat, now)

    beat(time.thread_time())


def serve() -> int:
    """The broker, watched."""
    from broker.admin.samples import Samples
    from broker.cli.main import main

    late: list[tuple[float, float]] = []
    start = Samples.start

    def watched(samples: Samples, loop: asyncio.AbstractEventLoop) -> None:
        start(samples, loop)
        watch(loop, late)

    Samples.start = watched  # type: ignore[method-assign]
    status = main(sys.argv[1:])
    Path(os.environ[LATE_FILE]).write_text(json.dumps(late))
    return status


def fill(port: int, busy: int) -> pika.BlockingConnection:
    """Messages in some of the queues, and somebody who holds some of them."""
    connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=3)
    for number in range(busy):
        for _ in range(10):
            channel.basic_publish("", f"queue-{number}", b"x" * 100, pika.BasicProperties(timestamp=1_700_000_000))
        if number % 2:
            channel.basic_consume(f"queue-{number}", lambda *_: None)
    connection.process_data_events(1)
    return connection


def worked(pid: int) -> float:
    """The processor time in seconds of the first thread of a process, which runs the event loop."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def ask(port: int, path: str) -> tuple[float, float, int]:
    """GET: when it began, how long it took, and how much came."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    login = base64.b64encode(b"guest:guest").decode()
    begin = time.time()
    connection.request("GET", path, headers={"Authorization": f"Basic {login}"})
    response = connection.getresponse()
    size = len(response.read())
    seconds = time.time() - begin
    connection.close()
    if response.status != 200:
        raise RuntimeError(f"{path}: {response.status}")
    return begin, seconds, size


def bench(queues: int, busy: int, folder: Path) -> list[tuple[str, float, float, int, float]]:
    """A row for each of ASKED."""
    definitions: dict[str, Any] = {
        "vhosts": [{"name": "/"}],
        "queues": [
            {"name": f"queue-{number}", "vhost": "/", "durable": True, "auto_delete": False, "arguments": {"x-max-length": 100_000}}
            for number in range(queues)
        ],
    }
    (folder / "definitions.json").write_text(json.dumps(definitions))
    (folder / "leveret.conf").write_text(
        f"management.tcp.port = 0\nload_definitions = {folder}/definitions.json\ndefinitions.replace_default_user = false\n"
    )
    os.environ[LATE_FILE] = str(folder / "late.json")
    asked: list[tuple[str, float, list[tuple[float, float, int]]]] = []
    with WatchedLeveret(None, arguments=("--config", str(folder / "leveret.conf"))) as broker:
        line = re.search(r"listener started on port (\d+)", broker.log)
        assert line is not None
        port = int(line[1])
        client = fill(broker.port, busy)
        ask(port, "/api/overview")
        for path in ASKED:
            before = worked(broker.pid)
            answers = [ask(port, path) for _ in range(ROUNDS)]
            asked.append((path, (worked(broker.pid) - before) / ROUNDS, answers))
            client.process_data_events(0)
        client.close()
    late = json.loads((folder / "late.json").read_text())
    rows = []
    for path, work, answers in asked:
        first, last = answers[0][0], answers[-1][0] + answers[-1][1]
        longest = max((lateness for when, lateness in late if first <= when <= last), default=0.0)
        rows.append((path, statistics.median(seconds for _, seconds, _ in answers), work, answers[0][2], longest * 1000))
    return rows


def run() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.listing", description=__doc__)
    parser.add_argument("--queues", type=int, default=10_000)
    parser.add_argument("--busy", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="leveret-bench-") as folder:
        for path, seconds, work, size, longest_ms in bench(options.queues, options.busy, Path(folder)):
            print(f"{path:70} {seconds * 1000:7.1f} ms, worked {work * 1000:6.1f} ms {size / 1e6:7.2f} MB, held up {longest_ms:5.1f} ms")


if __name__ == "__main__":
    if "serve" in sys.argv[1:2]:
        sys.exit(serve())
    run()
