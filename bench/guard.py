"""Has the broker become slower? `make bench-quick`, or `python -m bench.guard [--write]`; under a minute.

On a machine that others use too, rates swing by two from one minute to the next; processor time swings less, and that of two programs at
the same time swings alike. So what is compared is the processor time that the broker takes for a message, divided by that of a loop in pure
Python which does the like and never changes, in the same minute by the same interpreter: so many turns of the loop are worth a message.
The median of five is held against the figure in `guard.json`, and 30% more is a failure. `--write` makes what was measured the new figure:
for a change that is worth its price.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from struct import Struct
from typing import NamedTuple

from bench.brokers import leveret
from bench.measure import build, head, row, say
from bench.scenes import Bench

ROUNDS = 5
WORSE_MAX = 1.3
COMMITTED = Path(__file__).with_name("guard.json")
TURNS = 400_000


class Guarded(NamedTuple):
    """A load, and how many messages it brings."""

    name: str
    options: str
    messages: int


GUARDED = (
    Guarded("as applications send", "-A -s 100", 80_000),
    Guarded("as applications send, durable, 1,000 confirms in flight", "-A -s 100 -d -c 1000", 60_000),
    Guarded("messages that are alike, auto-ack", "-s 100 -a 0", 200_000),
)


def reference_seconds() -> float:
    """Processor time for TURNS of a loop that reads frames and puts them together, as a broker does. Never change it."""
    frame, frames = Struct(">BHI"), Struct(">Q")
    data = b"".join(frame.pack(1, number % 7, 40) + b"%040d\xce" % (number % 13) for number in range(1000))
    known: dict[bytes, int] = {}
    begin = time.process_time()
    for _ in range(TURNS // 1000):
        kept: list[bytes] = []
        at = 0
        for number in range(1000):
            _, channel, size = frame.unpack_from(data, at)
            body = data[at + 7 : at + 7 + size]
            if data[at + 7 + size] == 0xCE and channel not in (8, 9):
                known[body] = known.get(body, 0) + 1
                kept.append(body + frames.pack(number))
            at += size + 8
        b"".join(kept)
    return time.process_time() - begin


def measure(rounds: int, python: str) -> dict[str, list[float]]:
    """Of each guarded load, what a message costs in turns of the reference loop, once a round."""
    found: dict[str, list[float]] = {each.name: [] for each in GUARDED}
    with tempfile.TemporaryDirectory() as folder, leveret(python) as broker:
        bench = Bench(build(Path(folder)), python)
        for each in GUARDED:
            bench.load(broker, f"-n {each.messages // 10} {each.options}")
        for _ in range(rounds):
            for each in GUARDED:
                reference = reference_seconds()
                seconds = bench.load(broker, f"-n {each.messages} {each.options}")["cpu_seconds"]
                reference = (reference + reference_seconds()) / 2
                found[each.name].append(seconds / each.messages / (reference / TURNS))
    return found


def main() -> int:
    """Measure, print, compare; 1 if something has become worse."""
    parser = argparse.ArgumentParser(prog="python -m bench.guard", description="Has the broker become slower?")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help="how often each load runs (default: 5)")
    parser.add_argument("--write", action="store_true", help="what is measured now is what later runs are compared with")
    options = parser.parse_args()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    committed: dict[str, dict[str, float]] = json.loads(COMMITTED.read_text()) if COMMITTED.exists() else {}
    measured = {name: median(values) for name, values in measure(options.rounds, sys.executable).items()}
    before = committed.get(version, {})
    say(f"Python {version}: what a message costs, in turns of the reference loop (medians of {options.rounds})\n")
    head("load", "now", "committed", "ratio")
    for name, value in measured.items():
        row(name, value, before.get(name, "none"), value / before[name] if name in before else "")
    if options.write:
        COMMITTED.write_text(
            json.dumps({**committed, version: {name: round(value, 2) for name, value in measured.items()}}, indent=1) + "\n"
        )
        return 0
    if not before:
        say(f"\nThere is no figure for Python {version} yet: `python -m bench.guard --write` makes one.")
    worse = [name for name, value in measured.items() if name in before and value > before[name] * WORSE_MAX]
    for name in worse:
        say(f"\n{name}: a message costs {measured[name] / before[name]:.2f} times what it did; see bench/guard.py")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
