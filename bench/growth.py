"""How cost grows: `python -m bench.growth [series ...] [--write]` for docs/performance.md.

A fresh Leveret for each row; what counts is the processor time that it takes for a message, which should stay as it is where there is more
of something that the message has nothing to do with (bindings, connections, messages that wait), and grow with its size.
"""

import argparse
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench.brokers import Contender, leveret
from bench.compare import put_between
from bench.measure import build, cell_text, say
from bench.scenes import ROOT, Bench, Run, Topology, allow_files, drain, flow, idle_connections_beside, through_exchange

MESSAGES = 200_000
MARKS = ("<!-- growth: begin -->\n", "<!-- growth: end -->\n")


class Row(NamedTuple):
    """So much of it, the load, and how many messages that brings; `beside` holds something meanwhile."""

    much: str
    run: Run
    messages: int
    beside: Callable[[Bench, Contender], AbstractContextManager[None]] = lambda bench, broker: nullcontext()


class Series(NamedTuple):
    """Of what there is more and more."""

    name: str
    load: str
    rows: tuple[Row, ...]


def _row(much: int, options: str, messages: int = MESSAGES) -> Row:
    return Row(f"{much:,}", partial(flow, options, messages, messages), messages)


def _bindings(count: int) -> Row:
    def binding(number: int) -> dict[str, object]:
        return {"routing_key": "*.orders.#" if number == 0 else f"region{number}.*.created.#"}

    topology: Topology = ("topic", binding, count)
    return Row(f"{count:,}", partial(through_exchange, topology, "-s 100 -u -K eu.orders.created", MESSAGES, MESSAGES), MESSAGES)


def _backlog(count: int) -> Row:
    return Row(f"{count:,}", partial(drain, "-s 100 -u", count, count), 2 * count)


SERIES = (
    Series(
        "Queues", "published to in turn, 16 consumers",
        tuple(_row(count, f"-s 100 -u -R -Q {count} -C {min(count, 16)}") for count in (1, 10, 100, 1000, 2000)),
    ),
    Series("Bindings", "of a topic exchange, one of which matches", tuple(_bindings(count) for count in (1, 100, 1000, 10_000))),
    Series(
        "Connections", "that are idle, beside one producer and one consumer",
        tuple(
            Row(f"{count:,}", partial(flow, "-s 100 -u", MESSAGES, MESSAGES), MESSAGES, partial(idle_connections_beside, count))
            for count in (0, 100, 1000, 5000)
        ),
    ),
    Series("Consumers", "of one queue", tuple(_row(count, f"-s 100 -u -C {count}") for count in (1, 4, 16, 64, 250))),
    Series(
        "Unacked messages", "that a consumer may hold",
        tuple(_row(count, f"-s 100 -u -q {count}") for count in (10, 100, 1000, 10_000)),
    ),
    Series("Backlog", "published first, then consumed", tuple(_backlog(count) for count in (10_000, 100_000, 1_000_000))),
    Series(
        "Size", "bytes of a body",
        tuple(_row(size, f"-s {size} -u", max(MESSAGES * 100 // max(size, 100), 4_000)) for size in (12, 100, 1024, 4096, 16_384, 60_000)),
    ),
)  # fmt: skip


def tables(bench: Bench, chosen: list[Series]) -> Iterator[str]:
    """Each series as Markdown."""
    for series in chosen:
        lines = [
            "",
            f"**{series.name}** {series.load}",
            "",
            f"| {series.name.lower()} | µs of a processor a message | thousand/s |",
            "|---|---|---|",
        ]
        for each in series.rows:
            with leveret(bench.python) as broker, each.beside(bench, broker):
                bench.load(broker, "-n 20000 -s 100 -u")
                found = each.run(bench, broker)
            cost = found["cpu_seconds"] / each.messages
            lines.append(f"| {each.much} | {cell_text(cost * 1e6)} | {cell_text(found['e2e_rate'] / 1000)} |")
            sys.stderr.write(f"{series.name} {lines[-1]}\n")
        yield "\n".join(lines) + "\n"


def main() -> int:
    """Measure, print, and write down."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description="How cost grows.")
    parser.add_argument("series", nargs="*", help=f"any of {', '.join(each.name for each in SERIES)} (default: all)")
    parser.add_argument("--python", default=sys.executable, metavar="FILE", help="the interpreter for Leveret (default: this one)")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    options = parser.parse_args()
    chosen = [each for each in SERIES if each.name in options.series or not options.series]
    if len(chosen) < len(set(options.series)):
        parser.error(f"the series are {', '.join(each.name for each in SERIES)}")
    allow_files()
    with tempfile.TemporaryDirectory() as folder:
        text = "".join(tables(Bench(build(Path(folder)), options.python), chosen))
    say(f"Linux {platform.release()}\n{text}")
    if options.write:
        put_between(ROOT / "docs" / "performance.md", text, MARKS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
