"""What the runtime tests know of a broker's process: its memory, its sockets, its log; and clients that push, stay silent, or ping."""

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, Self
from weakref import WeakKeyDictionary

from pamqp.commands import Basic, Exchange

from tests.oracle.leveret import Leveret
from tests.wire import METHOD, Wire, content_frames, encode_method, frame_bytes

MB = 1 << 20
LOOK_SECONDS = 0.01
DEADLINE_SECONDS = 20.0
NEVER_IN_A_LOG = re.compile(
    r"Traceback|internal error|Exception in callback|Fatal error|exception was never retrieved|^\S+ \S+ \[critical\]", flags=re.MULTILINE
)
HEAD = re.compile(r"^\S+ \S+ \[\w+\] <\S+> ")
"""What all lines of one record begin with."""
PERSISTENT = 2

_idle: WeakKeyDictionary[Leveret, int] = WeakKeyDictionary()


def soon(condition: Callable[[], Any], seconds: float = DEADLINE_SECONDS, what: str = "") -> Any:
    """Look until the answer is true: for what no round trip can tell (memory, sockets, a process)."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"{what or condition} still {answer!r} after {seconds} s"
        time.sleep(LOOK_SECONDS)
    return answer


def rss_bytes(broker: Leveret) -> int:
    """Resident memory now."""
    return _status(broker, "VmRSS")


def peak_rss_bytes(broker: Leveret) -> int:
    """The most that was ever resident."""
    return _status(broker, "VmHWM")


def _status(broker: Leveret, name: str) -> int:
    status = Path(f"/proc/{broker.pid}/status").read_text()
    return int(re.findall(rf"^{name}:\s+(\d+) kB", status, flags=re.MULTILINE)[0]) * 1024


def cpu_seconds(broker: Leveret) -> float:
    """Processor time used so far."""
    fields = Path(f"/proc/{broker.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / float(os.sysconf("SC_CLK_TCK"))


def sockets(broker: Leveret) -> int:
    """Sockets that the process has open."""
    count = 0
    for descriptor in Path(f"/proc/{broker.pid}/fd").iterdir():
        try:
            count += os.readlink(descriptor).startswith("socket:")
        except FileNotFoundError:
            continue
    return count


def idle_sockets(broker: Leveret, others: int = 0) -> int:
    """The sockets of a broker with so many connections; at the first call, how many there are without. Waits until those of earlier tests
    are gone: a socket that its client has closed is the broker's until it has noticed."""
    if broker not in _idle:
        _idle[broker] = sockets(broker)
    soon(lambda: sockets(broker) == _idle[broker] + others, what="sockets")
    return _idle[broker] + others


def log_lines(broker: Leveret, pattern: str) -> list[str]:
    """The log's records that match. A record of several lines, which have one head, is made one here."""
    records: list[str] = []
    head = ""
    for line in broker.log.splitlines():
        found = HEAD.match(line)
        if found is not None and found[0] == head:
            records[-1] += " " + line[found.end() :].strip()
        else:
            records.append(line)
            head = found[0] if found is not None else ""
    return [record for record in records if re.search(pattern, record)]


def problems(broker: Leveret, wire: Wire | None = None) -> list[str]:
    """Log lines that say that something is wrong, of one peer or of all."""
    peer = "[(<]" + re.escape(f"{name_of(wire)} -> ") if wire is not None else ""
    return log_lines(broker, rf"\[(warning|error|critical)\].*{peer}")


def name_of(wire: Wire) -> str:
    """The peer's address as the log has it. Ask while the socket is open."""
    host, port = wire._socket.getsockname()
    return f"{host}:{port}"


def one_problem(broker: Leveret, peer: str, pattern: str) -> str:
    """The only line of `peer` that tells of something wrong; it matches."""
    who = rf"[(<]{re.escape(peer)} -> "
    soon(lambda: log_lines(broker, rf"\[(warning|error)\].*{who}.*{pattern}"), what=f"{pattern} of {peer} in {problems(broker)[-3:]}")
    lines = log_lines(broker, rf"\[(warning|error|critical)\].*{who}")
    assert len(lines) == 1, lines
    return lines[0]


def assert_nothing_broke(broker: Leveret) -> None:
    """Nothing in the log but what a healthy broker says of bad peers."""
    text = broker.log
    if found := NEVER_IN_A_LOG.search(text):
        raise AssertionError(text[max(found.start() - 1500, 0) : found.start() + 5000])


def publish_bytes(channel: int, exchange: str, key: str, body: bytes, *, frame_max: int = 131072, **properties: Any) -> bytes:
    """The frames of one publish, to be sent many in a write."""
    method = frame_bytes(METHOD, channel, encode_method(Basic.Publish, exchange=exchange, routing_key=key))
    return method + content_frames(channel, body, properties, frame_max)


def fill(broker: Leveret, queue: str, body: bytes, count: int, **properties: Any) -> None:
    """`count` like messages in `queue`, confirmed."""
    with Wire.connect(broker, timeout=60) as wire:
        channel = wire.open_channel()
        channel.confirm_select()
        frames = publish_bytes(channel.number, "", queue, body, **properties)
        sender = threading.Thread(target=send_many, args=(wire, frames, count))
        sender.start()
        assert all(channel.confirms(count).values())
        sender.join()
        wire.close()


def send_many(wire: Wire, frames: bytes, count: int) -> None:
    """The same frames again and again, in large writes."""
    each = max(1, MB // len(frames))
    for at in range(0, count, each):
        wire.send_raw(frames * min(each, count - at))


def send_what_fits(wire: Wire, data: bytes) -> int:
    """Send until the broker takes no more for a second; returns how many bytes it took."""
    sent = 0
    wire._socket.settimeout(1.0)
    with contextlib.suppress(TimeoutError):
        while sent < len(data):
            sent += wire._socket.send(data[sent : sent + MB])
    return sent


class Pinger:
    """A connection that does round trips, one after the other, on a thread: what an innocent bystander sees."""

    def __init__(self, broker: Leveret) -> None:
        self.seconds: list[float] = []
        self.error: BaseException | None = None
        self._wire = Wire.connect(broker)
        self._channel = self._wire.open_channel()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop.set()
        self._thread.join(DEADLINE_SECONDS)
        self._wire.abort()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                begin = time.perf_counter()
                self._channel.call(Exchange.Declare, exchange="amq.direct", exchange_type="direct", passive=True)
                self.seconds.append(time.perf_counter() - begin)
                self._stop.wait(0.001)
        except BaseException as error:  # noqa: BLE001 the test's thread raises it
            self.error = error

    def pings(self, count: int) -> None:
        """Wait until so many more were done."""
        wanted = len(self.seconds) + count
        soon(lambda: self.error or len(self.seconds) >= wanted, 60, "pings")
        self.check()

    def check(self) -> None:
        if self.error is not None:
            raise self.error

    def percentile(self, share: float) -> float:
        self.check()
        return sorted(self.seconds)[int(len(self.seconds) * share)]


def is_rising(numbers: list[int]) -> bool:
    """In order, and none twice."""
    return all(before < after for before, after in pairwise(numbers))
