"""Scenes with a deep backlog: what it costs to build, to hold, to find again after a start, and to drain."""

import json
import os
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import NamedTuple

from bench.gc_pauses import VARIABLE, WatchedLeveret
from bench.measure import Bench, check_empty, first_message, head, mebibytes, memory, row, say, segments
from tests.oracle.leveret import Leveret

MESSAGES = 10_000_000
STARTS = 3
QUEUE = "bench-0"
"""amqpload's first queue."""
OWN = "-s 100 -u -d -c 500"
"""100-byte persistent messages, each with a message_id of its own, up to 500 unconfirmed."""


class Kind(NamedTuple):
    """A backlog: what it consists of, amqpload's options for both ways and for the drain, how many queues, how many messages at scale 1."""

    name: str
    options: str
    drain: str
    queues: int
    messages: int


KINDS = (
    Kind("one queue, a message_id of its own each", OWN, "", 1, MESSAGES),
    Kind("one queue, like messages", "-s 100 -d -c 500", "", 1, MESSAGES),
    Kind("1,000 queues round-robin, a message_id of its own each", f"{OWN} -R -Q 1000", "-C 16", 1000, MESSAGES),
    Kind("one transient queue, transient messages, a message_id of its own each", "-s 100 -u -c 500", "", 1, MESSAGES // 10),
)


def backlog(bench: Bench) -> None:
    """Publish all, look, then consume all; a fresh broker and directory for each row."""
    say(
        "100-byte bodies, 500 confirms in flight, drained with a prefetch count of 1,000 and an ack each (the 1,000 queues by 16 "
        "connections). A run in which a message is missing, double or out of order fails. Rates are messages a second.\n"
    )
    head(
        *("backlog", "messages", "published, first tenth", "published, last tenth", "log MiB", "resident MiB before"),
        *("resident MiB full", "resident MiB drained", "resident MiB peak", "first by consume ms", "first by get ms", "drained"),
        *("log MiB drained",),
    )
    for kind in KINDS:
        if bench.only not in kind.name:
            continue
        messages = bench.count(kind.messages, 10_000)
        with bench.data_dir() as data_dir, Leveret(data_dir) as broker:
            before, _ = memory(broker.pid)
            published = bench.load(broker.port, f"-n {messages} {kind.options} -C 0 -k")
            full, _ = memory(broker.pid)
            log_bytes = sum(segments(data_dir))
            consume_seconds = first_message(broker, QUEUE)
            get_seconds = first_message(broker, QUEUE, get=True)
            drained = bench.load(broker.port, f"-n {messages} {kind.options} {kind.drain} -D -k")
            check_empty(broker, kind.queues)
            empty, peak = memory(broker.pid)
            row(
                *(kind.name, messages, published["first_tenth_rate"], published["last_tenth_rate"], mebibytes(log_bytes)),
                *(mebibytes(before), mebibytes(full), mebibytes(empty), mebibytes(peak)),
                *(consume_seconds * 1000, get_seconds * 1000, drained["e2e_rate"], mebibytes(sum(segments(data_dir)))),
            )


def recovery(bench: Bench) -> None:
    """Starts with a full queue."""
    say(
        f"100-byte persistent messages with a message_id of their own in one queue; medians of {STARTS} starts each, with the log in the "
        "page cache. From exec to the line that the server is up; then its resident memory; then from basic.consume to the first message.\n"
    )
    head("messages", "log MiB", "ended by", "start s", "slowest start s", "resident MiB", "peak MiB", "first message ms")
    for full in (MESSAGES // 10, MESSAGES):
        messages = bench.count(full, 10_000)
        with bench.data_dir() as data_dir, Leveret(data_dir) as broker:
            bench.load(broker.port, f"-n {messages} {OWN} -C 0 -k")
            _starts(broker, "kill -9", broker.kill, messages, sum(segments(data_dir)))
            _starts(broker, "SIGTERM", broker.stop, messages, sum(segments(data_dir)))
            bench.load(broker.port, f"-n {messages} {OWN} -D")  # all are there, in order


def _starts(broker: Leveret, name: str, end: Callable[[], object], messages: int, log_bytes: int) -> None:
    starts, resident, peaks, firsts = [], [], [], []
    for _ in range(STARTS):
        end()
        begin = perf_counter()
        broker.start()
        starts.append(perf_counter() - begin)
        now, peak = memory(broker.pid)
        resident.append(mebibytes(now))
        peaks.append(mebibytes(peak))
        firsts.append(first_message(broker, QUEUE) * 1000)
    row(messages, mebibytes(log_bytes), name, median(starts), max(starts), median(resident), median(peaks), median(firsts))


def gc(bench: Bench) -> None:
    """Garbage collections while a backlog is built and drained, and without one."""
    say(
        "Garbage collections of a broker from when it is up (generations 0, 1 and 2): publish all, then consume all, and in the first row "
        "both at the same time. 100-byte persistent messages with a message_id of their own.\n"
    )
    head("deepest backlog", "messages", "collections", "longest ms, generation 0", "generation 1", "generation 2", "together s")
    for depth, full in ((0, MESSAGES // 10), (MESSAGES // 10, MESSAGES // 10), (MESSAGES, MESSAGES)):
        messages = bench.count(full, 10_000)
        with bench.data_dir() as data_dir:
            noted = data_dir.parent / "pauses.json"
            os.environ[VARIABLE] = str(noted)
            try:
                with WatchedLeveret(data_dir) as broker:
                    bench.load(broker.port, f"-n {messages} {OWN} -x" if depth else f"-n {messages} {OWN}")
            finally:
                del os.environ[VARIABLE]
            generations = json.loads(noted.read_text())
        counts = "/".join(str(count) for count, _, _ in generations)
        longest = [longest * 1000 for _, longest, _ in generations]
        row(messages if depth else "none", messages, counts, *longest, sum(together for _, _, together in generations))
