"""What a second processor would bring: `python -m bench.cores threads|processes|log`, for docs/decisions/0001-one-core.md.

threads    the codec on a thread of its own: one reads publishes and the other writes deliveries, as against one that does both.
           Runs in this process; under a free-threaded Python it says what that would bring, otherwise what the GIL leaves of it
processes  two brokers that share nothing, two queues each, as against one with four: what processes behind one port could bring
           at the most, if no message ever had to go from one to the other
log        the storage thread, as against writing and syncing on the event loop
"""

import re
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from statistics import median

ROUNDS = 5
RUN_SECONDS_MAX = 60
BATCHES = 300
BATCH = 512
PROCESSES = (
    ("alike, an ack each", "-s 100 -n 200000", 4),
    ("as applications send", "-A -s 100 -n 80000", 4),
    ("as applications send, durable, confirms", "-A -s 100 -d -c 250 -n 50000", 4),
)
INLINE = """
import sys
from storage import worker
class Inline(worker.Worker):
    def submit(self, part, operation):
        part.run([operation])
worker.Worker.submit = Inline.submit
from broker.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
"""A broker that writes and syncs on the event loop."""


# --- threads --------------------------------------------------------------------------------------------------------------


def threads() -> None:
    """The codec on a thread of its own."""
    from bench.measure import head, row, say
    from protocol.codec import encode_method_frame
    from protocol.connection import ServerConnection
    from protocol.content import Properties, encode_properties
    from protocol.events import Tuning
    from protocol.fastcodec import Deliveries, Output
    from protocol.methods import Channel, make
    from protocol.states import ConnectionState

    kept: list[tuple[int, bytes, bytes, bytes]] = []

    class Keeps:
        """Of protocol.events.Events what is needed: keeps messages as the core does."""

        def on_method(self, channel: int, method: object) -> int:
            return 1

        def on_publishes(self, channel: int, routing: bytes, bits: int, headers: list[bytes], bodies: list[bytes]) -> int:
            kept.extend(zip(range(len(bodies)), [routing] * len(bodies), headers, bodies, strict=False))
            return len(bodies)

    def publish(number: int) -> bytes:
        header = encode_properties(Properties(content_type="application/json", message_id=f"{number:016}"), 100)
        frames = ((1, b"\0\x3c\0\x28\0\0\0\x05queue\0"), (2, header), (3, b"x" * 100))
        return b"".join(kind.to_bytes(1) + b"\0\1" + len(payload).to_bytes(4) + payload + b"\xce" for kind, payload in frames)

    data = b"".join(map(publish, range(BATCH)))
    tuning = Tuning(2047, 131_072, 0)
    connection = ServerConnection(Keeps(), tuning, 1 << 27, lambda: None)  # type: ignore[arg-type]
    connection.state = ConnectionState.RUNNING
    connection.tuned(tuning)
    connection.receive_data(encode_method_frame(1, make(Channel.Open)), 5000)
    output = Output()
    deliveries = Deliveries(output, 1, "consumer", 131_072)

    def read() -> list[tuple[int, bytes, bytes, bytes]]:
        while not connection.receive_data(data if not connection.buffered_bytes else b"", 5000):
            continue
        messages = kept.copy()
        kept.clear()
        return messages

    def write(messages: list[tuple[int, bytes, bytes, bytes]]) -> None:
        deliveries.encode(1, False, messages, 1 << 40)
        b"".join(output.output)
        output.output.clear()

    def both() -> None:
        for _ in range(BATCHES):
            write(read())

    def apart() -> None:
        handed: SimpleQueue[list[tuple[int, bytes, bytes, bytes]] | None] = SimpleQueue()

        def writer() -> None:
            while (messages := handed.get()) is not None:
                write(messages)

        thread = threading.Thread(target=writer)
        thread.start()
        for _ in range(BATCHES):
            handed.put(read())
        handed.put(None)
        thread.join()

    def seconds(run: object) -> float:
        begin = time.perf_counter()
        run()  # type: ignore[operator]
        return time.perf_counter() - begin

    free = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    say(f"Python {sys.version.split()[0]}, {'free-threaded' if free else 'with the GIL'}; thousand messages a second\n")
    head("one thread", "two threads", "ratio")
    one, two = ([], [])  # type: list[float], list[float]
    for _ in range(ROUNDS):
        one.append(BATCHES * BATCH / seconds(both) / 1000)
        two.append(BATCHES * BATCH / seconds(apart) / 1000)
    row(median(one), median(two), median(two) / median(one))


# --- processes ------------------------------------------------------------------------------------------------------------


def _rate(program: Path, ports: list[int], options: str) -> float:
    """The rates of load generators that run at the same time, one a port, together."""
    runs = [subprocess.Popen([str(program), "-p", str(port), *options.split()], stdout=subprocess.PIPE, text=True) for port in ports]
    return sum(float(dict(re.findall(r"(\w+)=([-\d.]+)", run.communicate(timeout=RUN_SECONDS_MAX)[0]))["e2e_rate"]) for run in runs)


def processes() -> None:
    """Two brokers instead of one."""
    from bench.brokers import leveret
    from bench.measure import build, head, row

    head("load, 4 producers, consumers and queues", "one broker", "two brokers", "ratio")
    with tempfile.TemporaryDirectory() as folder, leveret(sys.executable) as first, leveret(sys.executable) as second:
        program = build(Path(folder))
        for name, options, clients in PROCESSES:
            one, two = ([], [])  # type: list[float], list[float]
            half = clients // 2
            for _ in range(ROUNDS):
                one.append(_rate(program, [first.port], f"{options} -P {clients} -C {clients} -Q {clients}"))
                two.append(_rate(program, [first.port, second.port], f"{options} -P {half} -C {half} -Q {half}"))
            row(name, median(one) / 1000, median(two) / 1000, median(two) / median(one))


# --- the log --------------------------------------------------------------------------------------------------------------


@contextmanager
def _inline(folder: Path) -> Iterator[int]:
    """The port of a broker that has no storage thread."""
    from tests.oracle.rabbitmq import answers_amqp, free_port

    port = free_port()
    command = [sys.executable, "-c", INLINE, "serve", "--port", str(port), "--data-dir", str(folder / "inline")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            while not answers_amqp(port):
                if process.poll() is not None:
                    raise RuntimeError("the broker without a storage thread did not start")
                time.sleep(0.05)
            yield port
        finally:
            process.terminate()


def log() -> None:
    """The storage thread and none."""
    from bench.brokers import leveret
    from bench.measure import build, head, row

    head("load", "a thread for the log", "on the event loop", "ratio")
    with tempfile.TemporaryDirectory() as name, leveret(sys.executable) as broker, _inline(Path(name)) as inline:
        program = build(Path(name))
        for options in ("-A -s 100 -d -c 1000 -n 80000", "-s 100 -d -c 100 -n 60000", "-s 1024 -d -c 1000 -n 60000"):
            apart, on_loop = ([], [])  # type: list[float], list[float]
            for _ in range(ROUNDS):
                apart.append(_rate(program, [broker.port], options))
                on_loop.append(_rate(program, [inline], options))
            row(f"`{options}`", median(apart) / 1000, median(on_loop) / 1000, median(apart) / median(on_loop))


if __name__ == "__main__":
    {"threads": threads, "processes": processes, "log": log}[sys.argv[1]]()
