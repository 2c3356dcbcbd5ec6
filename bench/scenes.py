"""What brokers are compared in: a scene is a load, and the figure of it that counts.

Rates are for as many messages as take about a second; RabbitMQ gets fewer, as it takes longer for each.
"""

import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from pamqp.commands import Basic, Confirm, Exchange, Queue

from bench.brokers import CLASSIC, LEVERET, QUORUM, Contender, leveret
from bench.measure import Figures, cpu_seconds_of_all, memory_of_all
from tests.oracle.rabbitmq import RabbitMQ
from tests.wire import Wire

RUN_SECONDS_MAX: Final = 300
IDLE_SECONDS: Final = 5.0
FLOOD_SECONDS: Final = 1.0
"""After which a flood is at its height."""
CONNECTIONS: Final = 5000
QUEUES: Final = 2000
KIBI: Final = 1024
ROOT: Final = Path(__file__).resolve().parents[1]


class Bench(NamedTuple):
    """What a scene works with: the load generator, the interpreter for Leveret, and a factor for all counts."""

    program: Path
    python: str
    scale: float = 1.0

    def count(self, full: int) -> int:
        """So many at this scale."""
        return max(int(full * self.scale), 100)

    def load(self, broker: Contender, options: str) -> Figures:
        """Run amqpload to its end: what it prints, and as `cpu_seconds` the broker's processor time meanwhile. Raises RuntimeError if
        something was lost, came twice or was out of order."""
        command = [str(self.program), "-p", str(broker.port), *options.split()]
        if broker.queue_type:
            command += ["-T", broker.queue_type]
        before = cpu_seconds_of_all(broker.pid)
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS_MAX)
        taken = cpu_seconds_of_all(broker.pid) - before
        if done.returncode:
            raise RuntimeError(f"amqpload {options} on {broker.name}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
        return {name: float(value) for name, value in re.findall(r"(\w+)=([-\d.]+)", done.stdout)} | {"cpu_seconds": taken}


Run = Callable[[Bench, Contender], Figures]


class Figure(NamedTuple):
    """A row: what of a load's figures counts. More of it is better, unless it is a `cost`."""

    name: str
    key: str
    unit: str
    cost: bool = False


class Scene(NamedTuple):
    """A load and what counts of it; `command` is how to have it again."""

    group: str
    figures: tuple[Figure, ...]
    run: Run
    command: str = ""
    on: tuple[str, ...] = (LEVERET, CLASSIC)
    is_bound_elsewhere: str = ""
    """Where the time goes if not into the broker: then the ratio says little."""


# --- flows ----------------------------------------------------------------------------------------------------------------


def flow(options: str, messages: int, rabbitmq: int, bench: Bench, broker: Contender) -> Figures:
    """amqpload, with so many messages a producer for Leveret, and so many for RabbitMQ."""
    return bench.load(broker, f"-n {bench.count(messages if broker.name == LEVERET else rabbitmq)} {options}")


def drain(options: str, messages: int, rabbitmq: int, bench: Bench, broker: Contender) -> Figures:
    """Publish all, and then consume all; `pub_rate` is the rate of the first, `e2e_rate` of the second."""
    count = bench.count(messages if broker.name == LEVERET else rabbitmq)
    published = bench.load(broker, f"-n {count} {options} -C 0 -k")
    drained = bench.load(broker, f"-n {count} {options} -D")
    return drained | {"pub_rate": published["pub_rate"], "cpu_seconds": published["cpu_seconds"] + drained["cpu_seconds"]}


Topology = tuple[str, Callable[[int], dict[str, object]], int]
"""The type of an exchange, the arguments of queue.bind for each binding, and how many those are."""


def through_exchange(topology: Topology, options: str, messages: int, rabbitmq: int, bench: Bench, broker: Contender) -> Figures:
    """A flow through an exchange `bench-exchange`, whose bindings lead to amqpload's queues."""
    kind, binding, bindings = topology
    found = re.search(r"-Q (\d+)", options)
    queues = int(found[1]) if found else 1
    with Wire.connect(broker, timeout=60) as wire:
        channel = wire.open_channel()
        channel.call(Exchange.Declare, exchange="bench-exchange", exchange_type=kind)
        for number in range(queues):
            channel.queue(f"bench-{number}", exclusive=False)
        for number in range(bindings):
            channel.call(Queue.Bind, queue=f"bench-{number % queues}", exchange="bench-exchange", **binding(number))
        try:
            return flow(f"{options} -E bench-exchange", messages, rabbitmq, bench, broker)
        finally:
            channel.call(Exchange.Delete, exchange="bench-exchange")
            wire.close()


def request(clients: int, requests: int, bench: Bench, broker: Contender) -> Figures:
    """Requests over direct reply-to."""
    return bench.load(broker, f"-M request -n {bench.count(requests)} -P {clients} -C {clients} -Q {clients}")


def request_beside_flood(rate: int, requests: int, bench: Bench, broker: Contender) -> Figures:
    """The same, while another connection publishes so many messages a second (0: as many as it can), and a third consumes."""
    flood = [str(bench.program), "-p", str(broker.port), *f"-s 100 -u -N flood -n 100000000 -r {rate}".split()]
    with subprocess.Popen(flood, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            time.sleep(FLOOD_SECONDS)
            return bench.load(broker, f"-M request -n {bench.count(requests)}")
        finally:
            process.kill()
            process.wait()
            with Wire.connect(broker, timeout=60) as wire:
                wire.open_channel().call(Queue.Delete, queue="flood-0")
                wire.close()


def churn(what: str, clients: int, times: int, bench: Bench, broker: Contender) -> Figures:
    """Open and close."""
    return bench.load(broker, f"-M {what} -P {clients} -n {bench.count(times)}")


def with_client(name: str, messages: int, bench: Bench, broker: Contender) -> Figures:
    """A client library, in a process of its own."""
    command = [sys.executable, "-m", "bench.clients", name, str(broker.port), str(bench.count(messages))]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=RUN_SECONDS_MAX, cwd=ROOT)
    return {"rate": float(done.stdout.partition("=")[2])}


# --- what a broker takes --------------------------------------------------------------------------------------------------


def idle_connections(bench: Bench, broker: Contender) -> Figures:
    """Resident memory that a connection with a channel adds to a fresh broker, once some are there."""
    count = bench.count(CONNECTIONS)
    with _fresh(bench, broker) as fresh, _idle(bench, fresh, count // 5):
        before = memory_of_all(fresh.pid)
        with _idle(bench, fresh, count):
            return {"kib": (memory_of_all(fresh.pid) - before) / count / KIBI}


@contextmanager
def _fresh(bench: Bench, broker: Contender) -> Iterator[Contender]:
    """Another broker of that kind, just started."""
    if broker.name == LEVERET:
        with leveret(bench.python) as fresh:
            yield fresh
    else:
        with RabbitMQ(classic_defaults=True) as other:
            yield Contender(broker.name, other.port, other.pid)


@contextmanager
def _idle(bench: Bench, broker: Contender, count: int) -> Iterator[None]:
    command = [str(bench.program), "-p", str(broker.port), "-M", "idle", "-n", str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError(f"{count} idle connections to {broker.name} could not be opened")
        yield
        process.stdin.close()


def idle_connections_beside(count: int, bench: Bench, broker: Contender) -> AbstractContextManager[None]:
    """So many idle connections while the block lasts."""
    return _idle(bench, broker, count) if count else nullcontext()


def idle_queues(bench: Bench, broker: Contender) -> Figures:
    """Resident memory that an empty queue adds to a fresh broker, once some are there."""
    count = bench.count(QUEUES)
    with _fresh(bench, broker) as fresh, Wire.connect(fresh, timeout=60) as wire:
        channel = wire.open_channel()
        for number in range(count // 4):
            channel.queue(f"bench-idle-{number}", exclusive=False)
        before = memory_of_all(fresh.pid)
        for number in range(count // 4, count):
            channel.queue(f"bench-idle-{number}", exclusive=False)
        each = (memory_of_all(fresh.pid) - before) / (count - count // 4) / KIBI
        wire.close()
    return {"kib": each}


def idle_cpu(bench: Bench, broker: Contender) -> Figures:
    """What a broker with nothing to do takes of a processor."""
    begin, before = time.monotonic(), cpu_seconds_of_all(broker.pid)
    time.sleep(max(IDLE_SECONDS * bench.scale, 1))
    return {"percent": 100 * (cpu_seconds_of_all(broker.pid) - before) / (time.monotonic() - begin)}


def start_up(bench: Bench, broker: Contender) -> Figures:
    """From exec to the first confirmed persistent message, of another broker of that kind."""
    begin = time.monotonic()
    with _fresh(bench, broker) as fresh:
        _first_message(fresh)
        return {"seconds": time.monotonic() - begin}


def _first_message(broker: Contender) -> None:
    with Wire.connect(broker, timeout=60) as wire:
        channel = wire.open_channel()
        channel.queue("first", durable=True, exclusive=False)
        channel.call(Confirm.Select)
        wire.publish(channel.number, "", "first", b"x", properties={"delivery_mode": 2})
        channel.expect(Basic.Ack)
        wire.close()


# --- all of them ----------------------------------------------------------------------------------------------------------

ALL = (LEVERET, CLASSIC, QUORUM)
APPLICATIONS = "As applications send: ids, headers and sizes of their own, eight routing keys, two channels in turn"
LIKE = "Messages that are alike"
DURABLE = "Durable, persistent, with confirms"
EXCHANGES = "Exchanges"
MANY = "Producers, consumers, queues"
BACKLOG = "Backlogs, limits, single gets"
LATENCY = "Latency"
CHURN = "What comes and goes"
FOOTPRINT = "Footprint"
CLIENTS = "Client libraries, as people use them"

SYNC = "the disk's sync and the round trip"
CLIENT = "the client"
COPIES = "copying bytes, in the kernel too"


def _rate(
    group: str, name: str, options: str, messages: int, rabbitmq: int, on: tuple[str, ...] = (LEVERET, CLASSIC), why: str = ""
) -> Scene:
    run = partial(flow, options, messages, rabbitmq)
    return Scene(group, (Figure(name, "e2e_rate", "k/s"),), run, options, on, why)


def _through(name: str, topology: Topology, options: str, messages: int, rabbitmq: int) -> Scene:
    run = partial(through_exchange, topology, options, messages, rabbitmq)
    return Scene(EXCHANGES, (Figure(name, "e2e_rate", "k/s"),), run, f"{options} -E bench-exchange")


def _drain(name: str, options: str, messages: int, rabbitmq: int) -> Scene:
    figures = Figure(f"{name}: publish only", "pub_rate", "k/s"), Figure(f"{name}: then drain it", "e2e_rate", "k/s")
    return Scene(BACKLOG, figures, partial(drain, options, messages, rabbitmq), f"{options} -C 0 -k, then -D")


def _latency(name: str, options: str, rate: int, on: tuple[str, ...] = (LEVERET, CLASSIC)) -> Scene:
    figures = tuple(
        Figure(f"{name}, {rate:,}/s, {shown}", key, "ms", cost=True)
        for shown, key in (("p50", "lat_ms_p50"), ("p99", "lat_ms_p99"), ("p99.9", "lat_ms_p999"))
    )
    return Scene(LATENCY, figures, partial(flow, f"{options} -r {rate}", 3 * rate, 3 * rate), f"{options} -r {rate}", on)


def _churn(what: str, times: int) -> Scene:
    return Scene(CHURN, (Figure(f"{what}s", "e2e_rate", "1/s"),), partial(churn, what, 4, times), f"-M {what} -P 4 -n {times}")


def _client(name: str, does: str, messages: int) -> Scene:
    figure = Figure(f"{name}: {does}", "rate", "k/s")
    return Scene(CLIENTS, (figure,), partial(with_client, name, messages), f"bench.clients {name}", is_bound_elsewhere=CLIENT)


def _footprint(name: str, key: str, unit: str, run: Run) -> Scene:
    return Scene(FOOTPRINT, (Figure(name, key, unit, cost=True),), run)


FANOUT: Topology = ("fanout", lambda number: {}, 10)
TOPIC: Topology = ("topic", lambda number: {"routing_key": "*.orders.#" if number == 0 else f"region{number}.*.created.#"}, 1000)
HEADERS: Topology = (
    "headers",
    lambda number: {"arguments": {"x-match": "all", "task": "shop.orders.charge" if number == 0 else f"task{number}"}},
    10,
)

SCENES: Final = (
    _rate(APPLICATIONS, "100 B, an ack each", "-A -s 100", 250_000, 50_000),
    _rate(APPLICATIONS, "1 KiB, an ack each", "-A -s 1024", 200_000, 40_000),
    _rate(APPLICATIONS, "16 KiB, an ack each", "-A -s 16384", 15_000, 15_000, why=COPIES),
    _rate(APPLICATIONS, "12 B, an ack each", "-A -s 12", 250_000, 50_000),
    _rate(APPLICATIONS, "100 B, an ack for 100", "-A -s 100 -a 100", 250_000, 50_000),
    _rate(APPLICATIONS, "100 B, auto-ack", "-A -s 100 -a 0", 250_000, 60_000),
    _rate(APPLICATIONS, "100 B, durable, 1,000 confirms in flight", "-A -s 100 -d -c 1000", 150_000, 25_000, ALL),
    _rate(APPLICATIONS, "1 KiB, durable, 1,000 confirms in flight", "-A -s 1024 -d -c 1000", 100_000, 20_000, ALL),
    _rate(APPLICATIONS, "100 B, four of each, durable, 100 confirms in flight", "-A -s 100 -d -c 100 -P 4 -C 4 -Q 4", 40_000, 8_000, ALL),
    _rate(LIKE, "12 B, an ack each", "-s 12", 500_000, 80_000),
    _rate(LIKE, "100 B, an ack each", "-s 100", 500_000, 80_000),
    _rate(LIKE, "1 KiB, an ack each", "-s 1024", 250_000, 60_000),
    _rate(LIKE, "16 KiB, an ack each", "-s 16384", 15_000, 15_000, why=COPIES),
    _rate(LIKE, "100 B, an ack for 100", "-s 100 -a 100", 500_000, 100_000),
    _rate(LIKE, "100 B, auto-ack", "-s 100 -a 0", 500_000, 100_000),
    _rate(LIKE, "100 B but for a message_id, an ack each", "-s 100 -u", 300_000, 60_000),
    *(
        _rate(
            DURABLE,
            f"{shown}, {window:,} in flight",
            f"-s {size} -d -c {window}",
            {1: 2000, 100: 100_000, 1000: 250_000}[window] // (8 if size > 10_000 and window > 1 else 1),
            {1: 2000, 100: 20_000, 1000: 40_000}[window] // (4 if size > 10_000 and window > 1 else 1),
            ALL,
            SYNC if window == 1 else COPIES if size > 10_000 else "",
        )
        for size, shown in ((100, "100 B"), (1024, "1 KiB"), (16384, "16 KiB"))
        for window in (1, 100, 1000)
    ),
    _through("fanout to 10 queues, deliveries", FANOUT, "-s 100 -F -Q 10 -C 10", 60_000, 8_000),
    _through("topic with 1,000 bindings", TOPIC, "-s 100 -u -K eu.orders.created", 300_000, 50_000),
    _through("headers with 10 bindings", HEADERS, "-A -s 100 -K any", 200_000, 30_000),
    _rate(MANY, "4 producers, consumers and queues", "-s 100 -P 4 -C 4 -Q 4", 150_000, 25_000),
    _rate(MANY, "4 producers and consumers, one queue", "-s 100 -P 4 -C 4", 100_000, 20_000),
    _rate(MANY, "50 producers, consumers and queues", "-s 100 -P 50 -C 50 -Q 50", 10_000, 1_500),
    _rate(MANY, "50 producers and consumers, one queue", "-s 100 -P 50 -C 50", 6_000, 1_000),
    _rate(MANY, "1,000 queues in turn, 16 consumers", "-s 100 -u -R -Q 1000 -C 16", 150_000, 30_000),
    _drain("transient", "-s 100 -u", 300_000, 100_000),
    _drain("durable", "-s 100 -u -d -c 1000", 150_000, 40_000),
    _rate(BACKLOG, "a queue with a time to live", "-s 100 -u -X x-message-ttl=60000", 200_000, 50_000),
    _rate(BACKLOG, "a queue with priorities", "-s 100 -u -X x-max-priority=10", 200_000, 50_000),
    _rate(BACKLOG, "basic.get, one after the other", "-s 100 -x -g", 20_000, 5_000, why="the round trip"),
    Scene(
        LATENCY,
        (
            Figure("request and reply, p50", "lat_ms_p50", "ms", cost=True),
            Figure("request and reply, p99", "lat_ms_p99", "ms", cost=True),
        ),
        partial(request, 1, 10_000),
        "-M request -n 10000",
    ),
    Scene(
        LATENCY, (Figure("requests of 16 clients", "e2e_rate", "k/s"),), partial(request, 16, 1_500), "-M request -P 16 -C 16 -Q 16 -n 1500"
    ),
    *(
        Scene(
            LATENCY,
            (
                Figure(f"request and reply beside {flood}, p50", "lat_ms_p50", "ms", cost=True),
                Figure(f"request and reply beside {flood}, p99", "lat_ms_p99", "ms", cost=True),
            ),
            partial(request_beside_flood, rate, 500),
        )
        for rate, flood in ((20_000, "20,000 messages a second"), (0, "as many messages as the broker takes"))
    ),
    *(_latency("100 B", "-s 100 -u", rate) for rate in (1_000, 10_000, 30_000)),
    _latency("100 B, durable, confirms", "-s 100 -u -d -c 1000", 1_000, ALL),
    _churn("connection", 500),
    _churn("channel", 3_000),
    _churn("queue", 2_000),
    _footprint(f"an idle connection with a channel, of {CONNECTIONS:,}", "kib", "KiB", idle_connections),
    _footprint(f"an empty queue, of {QUEUES:,}", "kib", "KiB", idle_queues),
    _footprint("start to the first confirmed message", "seconds", "s", start_up),
    _footprint("idle, of a processor", "percent", "%", idle_cpu),
    _client("pika", "a confirm each, then an ack each", 3_000),
    _client("aio-pika", "100 confirms at a time", 4_000),
)


def allow_files() -> None:
    """5,000 connections need as many descriptors, in the load generator and in the brokers."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
