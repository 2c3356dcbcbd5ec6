"""Scenes in which messages come and go: what the disk gets, what confirms cost, and what compaction does to the work beside it."""

import threading
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench.measure import Bench, figures, head, log_end, mebibytes, row, say, segments, written
from tests.oracle.leveret import Leveret
from tests.oracle.rabbitmq import RabbitMQ, server_script

AMPLIFICATION_MESSAGES = 1_000_000
ROUNDS = 3
WORK_BODY_BYTES = 16_384
WORK_RATE = 3_200
"""Messages a second: with those bodies 50 MiB/s in and as much out."""
OLD_RATE = 40
"""Messages a second that nobody consumes, of the same size: about fifty in each segment of the log."""
COMPACTION_SECONDS = 120
COMPACTION_SECONDS_MIN = 6
LOOK_SECONDS = 0.1
QUEUES = 1000


# --- amplification ----------------------------------------------------------------------------------------------------


def amplification(bench: Bench) -> None:
    """What the disk gets for each byte of a body."""
    say(
        "Persistent messages with a message_id of their own, 500 confirms in flight, consumed with an ack each at the same time. Bytes to "
        "the disk are what the kernel counts for the broker's process (whole pages, the catalog's too), the log's bytes what it was "
        "given (publishes, acks, marks); both by byte of body. Written by calls: to files and to sockets.\n"
    )
    head(
        "body bytes", "queues", "messages", "messages/s", "bytes to the disk", "the log's bytes", "written by calls", "disk bytes a message"
    )
    for size in (100, 1024):
        for queues in (1, QUEUES):
            _amplify(bench, size, queues, bench.count(AMPLIFICATION_MESSAGES, 20_000))


def _amplify(bench: Bench, size: int, queues: int, messages: int) -> None:
    options = f"-s {size} -u -d -c 500 -k" + (f" -R -Q {queues} -C 16" if queues > 1 else "")
    with bench.data_dir() as data_dir, Leveret(data_dir) as broker:
        bench.load(broker.port, f"-n {queues} {options}")  # the queues are declared
        disk, calls, log = *written(broker.pid), log_end(data_dir)
        done = bench.load(broker.port, f"-n {messages} {options}")
        disk_now, calls_now = written(broker.pid)
        body = messages * size
        to_disk, to_log, by_calls = disk_now - disk, log_end(data_dir) - log, calls_now - calls
        row(size, queues, messages, done["e2e_rate"], to_disk / body, to_log / body, by_calls / body, to_disk / messages)


# --- depth ------------------------------------------------------------------------------------------------------------


class Depth(NamedTuple):
    """So many confirms in flight, and how many messages a round sends to each broker."""

    in_flight: int
    messages: int
    messages_rabbitmq: int


DEPTHS = (Depth(1, 3_000, 3_000), Depth(100, 150_000, 40_000), Depth(1_000, 300_000, 60_000))


def depth(bench: Bench) -> None:
    """Confirmed publishes a second by how many are in flight, next to RabbitMQ in the same minutes."""
    say(
        "100-byte persistent messages with a message_id of their own into one durable queue, consumed with an ack each; confirmed "
        f"messages a second, medians of {ROUNDS} interleaved rounds.\n"
    )
    with ExitStack() as stack:
        leveret = stack.enter_context(Leveret(stack.enter_context(bench.data_dir())))
        rabbitmq = stack.enter_context(RabbitMQ()) if server_script() else None
        runs = [("Leveret, classic queue", leveret.port, "", False)]
        if rabbitmq is not None:
            runs += [("RabbitMQ, classic queue", rabbitmq.port, "", True), ("RabbitMQ, quorum queue", rabbitmq.port, "-T quorum", True)]
        head("in flight", *(name for name, *_ in runs))
        for each in DEPTHS:
            rates: dict[str, list[float]] = {name: [] for name, *_ in runs}
            for _ in range(ROUNDS):
                for name, port, options, is_rabbitmq in runs:
                    messages = bench.count(each.messages_rabbitmq if is_rabbitmq else each.messages, 500)
                    queue = "quorum" if options else "classic"
                    done = bench.load(port, f"-n {messages} -s 100 -u -d -c {each.in_flight} -N {queue} {options}")
                    rates[name].append(done["pub_rate"])
            row(each.in_flight, *(median(rates[name]) for name, *_ in runs))


# --- compaction -------------------------------------------------------------------------------------------------------


class LogWatch:
    """Looks at the log's files every LOOK_SECONDS, as a context."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.looks: list[tuple[int, int]] = []
        """Files and bytes at each look."""

    def __enter__(self) -> "LogWatch":
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def most_files(self) -> int:
        return max(files for files, _ in self.looks)

    @property
    def most_bytes(self) -> int:
        return max(size for _, size in self.looks)

    def _run(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            sizes = segments(self._data_dir)
            self.looks.append((len(sizes), sum(sizes)))


def compaction(bench: Bench) -> None:
    """A busy queue, and beside it one whose messages stay."""
    seconds = max(COMPACTION_SECONDS_MIN, int(COMPACTION_SECONDS * bench.scale))
    say(
        f"{WORK_RATE:,} persistent messages a second of {WORK_BODY_BYTES:,} bytes ({mebibytes(WORK_RATE * WORK_BODY_BYTES):.0f} MiB/s in "
        f"and out) for {seconds} s; beside them {OLD_RATE} a second of that size into a second queue, which are consumed at once "
        "(nothing to compact), or stay (each segment has live messages). Latencies are the work queue's, from when a message was due. "
        "Copied is what the log was given beyond the other row.\n"
    )
    head(
        *("second queue", "messages/s", "p50 ms", "p99 ms", "longest ms", "most files", "log MiB, most", "log MiB, end", "live MiB"),
        *("log was given MiB", "copied MiB"),
    )
    given = [0, 0]
    for stays in (False, True):
        with bench.data_dir() as data_dir, Leveret(data_dir) as broker:
            common = f"-s {WORK_BODY_BYTES} -d -c 500"
            beside = f"{common} -N old -r {OLD_RATE} -n {OLD_RATE * seconds}" + (" -C 0 -k" if stays else "")
            with LogWatch(data_dir) as watch:
                old = bench.start_load(broker.port, beside)
                done = bench.load(broker.port, f"{common} -N work -r {WORK_RATE} -n {WORK_RATE * seconds}")
                figures(old, beside)
            live = OLD_RATE * seconds * WORK_BODY_BYTES if stays else 0
            given[stays] = log_end(data_dir)
            row(
                *("stays" if stays else "is consumed", done["e2e_rate"], done["lat_ms_p50"], done["lat_ms_p99"], done["lat_ms_max"]),
                *(watch.most_files, mebibytes(watch.most_bytes), mebibytes(sum(segments(data_dir))), mebibytes(live)),
                *(mebibytes(given[stays]), mebibytes(max(0, given[1] - given[0])) if stays else 0.0),
            )
            if stays:
                bench.load(broker.port, f"{common} -N old -n {OLD_RATE * seconds} -D")  # all are there, in order
