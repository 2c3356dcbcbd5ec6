"""What benchmarks share: the load, the broker's process seen from outside, and tables.

Rates are in messages a second, sizes in bytes unless a name says otherwise.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pamqp.commands import Basic

from storage.segment import segment_start
from tests.oracle import leveret as oracle
from tests.oracle.leveret import Leveret
from tests.wire import Wire

LOAD = Path(__file__).with_name("load")
"""The sources of amqpload."""
PATIENCE_SECONDS = 3600.0
"""How long a start, a stop or a load may take: ten million messages are a matter of minutes."""
MEBI = 1 << 20
FIGURE = re.compile(r"(\w+)=([-\d.]+)")

Figures = dict[str, float]
"""What amqpload printed, by name."""


class Bench(NamedTuple):
    """What a scene is given: the load generator, a place for data directories, the factor for its counts and durations."""

    program: Path
    directory: Path
    scale: float
    only: str = ""
    """The rows of a backlog's table that have this in their name; all."""

    def count(self, full: int, least: int = 1000) -> int:
        """So many messages at this scale."""
        return max(least, int(full * self.scale))

    def start_load(self, port: int, options: str) -> "subprocess.Popen[str]":
        """amqpload in the background."""
        command = [str(self.program), "-p", str(port), *options.split()]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def load(self, port: int, options: str) -> Figures:
        """Run amqpload. Raises RuntimeError if a message was lost, came twice or was out of order."""
        return figures(self.start_load(port, options), options)

    @contextmanager
    def data_dir(self) -> Iterator[Path]:
        """A data directory for one broker, removed at the end."""
        with tempfile.TemporaryDirectory(prefix="leveret-bench-", dir=self.directory) as folder:
            yield Path(folder) / "data"


def figures(process: "subprocess.Popen[str]", options: str) -> Figures:
    """Wait for an amqpload, and read what it printed."""
    with process:
        try:
            output, errors = process.communicate(timeout=PATIENCE_SECONDS)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise RuntimeError(f"amqpload {options}: exit status {process.returncode}\n{output}{errors}")
    return {name: float(value) for name, value in FIGURE.findall(output)}


def build(folder: Path) -> Path:
    """Compile amqpload."""
    program = folder / "amqpload"
    subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(program), *map(str, LOAD.glob("*.c")), "-lpthread"], check=True)
    return program


def be_patient() -> None:
    """A start that reads gigabytes is no failure."""
    oracle.START_SECONDS = oracle.STOP_SECONDS = PATIENCE_SECONDS


# --- the broker's process ---------------------------------------------------------------------------------------------


def cpu_seconds(pid: int) -> float:
    """What a process has taken of the processors so far, its threads and the kernel on its behalf included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """A process and all that it has started."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):  # ended meanwhile
                continue
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for each in found:
        found += parents.get(each, [])
    return found


def cpu_seconds_of_all(pid: int) -> float:
    """What a process and all that it has started have taken of the processors."""
    return sum(cpu_seconds(each) for each in family(pid))


def memory_of_all(pid: int) -> int:
    """Resident bytes of a process and all that it has started."""
    return sum(memory(each)[0] for each in family(pid))


def memory(pid: int) -> tuple[int, int]:
    """Resident bytes of a process: now, and the most there ever were."""
    fields = _fields(Path(f"/proc/{pid}/status"))
    return int(fields["VmRSS"].split()[0]) * 1024, int(fields["VmHWM"].split()[0]) * 1024


def written(pid: int) -> tuple[int, int]:
    """Bytes that a process has sent to the disk (whole pages, as the kernel counts them) and those that it handed to write calls,
    which for a broker are those to sockets too."""
    fields = _fields(Path(f"/proc/{pid}/io"))
    return int(fields["write_bytes"]) - int(fields["cancelled_write_bytes"]), int(fields["wchar"])


def _fields(file: Path) -> dict[str, str]:
    return dict(line.split(":", 1) for line in file.read_text().splitlines())


def segments(data_dir: Path) -> list[int]:
    """The sizes of the log's files in bytes."""
    sizes = []
    for file in (data_dir / "log").iterdir():
        try:
            sizes.append(file.stat().st_size)
        except FileNotFoundError:  # truncated meanwhile
            continue
    return sizes


def log_end(data_dir: Path) -> int:
    """How many bytes the log was ever given: where its last file begins, and what that holds."""
    last = max((data_dir / "log").iterdir(), key=lambda file: segment_start(file.name) or 0)
    return (segment_start(last.name) or 0) + last.stat().st_size


def first_message(broker: Leveret, queue: str, *, get: bool = False) -> float:
    """Seconds from basic.consume with a prefetch count of 1 (or from basic.get) to the whole first message, which goes back unread."""
    with Wire.connect(broker, timeout=PATIENCE_SECONDS) as wire:
        channel = wire.open_channel()
        channel.qos(1)
        begin = time.perf_counter()
        if get:
            channel.take(queue, no_ack=False)
        else:
            channel.send(Basic.Consume, queue=queue, consumer_tag="first")
            channel.expect(Basic.ConsumeOk)
            channel.deliver()
        seconds = time.perf_counter() - begin
        wire.close()
    return seconds


def check_empty(broker: Leveret, queues: int) -> None:
    """Nothing is left in amqpload's queues. Raises RuntimeError if something is: it came twice."""
    with Wire.connect(broker, timeout=PATIENCE_SECONDS) as wire:
        channel = wire.open_channel()
        left = sum(channel.counts(f"bench-{number}")[0] for number in range(queues))
        wire.close()
    if left:
        raise RuntimeError(f"{left} messages are left after all were consumed")


# --- tables -----------------------------------------------------------------------------------------------------------


def say(text: str) -> None:
    """A line of the report."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def head(*columns: str) -> None:
    """A table's first two lines."""
    say("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")


def row(*cells: object) -> None:
    """A line of a table: floats with three digits that count, other numbers with separators."""
    say("| " + " | ".join(cell_text(cell) for cell in cells) + " |")


def cell_text(cell: object) -> str:
    if isinstance(cell, float):
        return (
            f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.1f}" if abs(cell) >= 10 else f"{cell:.2f}" if abs(cell) >= 1 else f"{cell:.3f}"
        )
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def mebibytes(size: int) -> float:
    return size / MEBI
