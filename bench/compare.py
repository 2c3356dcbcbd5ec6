"""Leveret and RabbitMQ on the same machine in the same minutes: `make bench`, or `python -m bench.compare [--rounds N]`.

Both serve from directories of their own on free ports; RabbitMQ is left out where it isn't installed. `amqpload.c` makes the load: raw
sockets and frames encoded beforehand, so that the broker is what is measured; it checks that each message arrived once and in
order. In each round every scene runs against each broker in turn; what is printed is the median of the rounds, as a Markdown table.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tests.oracle.leveret import Leveret
from tests.oracle.rabbitmq import RabbitMQ, server_script

SOURCE = Path(__file__).with_name("amqpload.c")
RUN_SECONDS_MAX = 120


class Scene(NamedTuple):
    """A row of the table: amqpload's options, and how many messages each producer sends to Leveret and to RabbitMQ."""

    name: str
    options: str
    messages: int
    messages_rabbitmq: int


SCENES = (
    Scene("a message_id of its own each, manual ack", "-s 100 -u", 300_000, 60_000),
    Scene("the same, durable, 500 confirms in flight", "-s 100 -u -d -c 500", 300_000, 40_000),
    Scene("like messages, manual ack each", "-s 100", 300_000, 80_000),
    Scene("like messages, auto-ack", "-s 100 -a 0", 300_000, 100_000),
    Scene("1 KiB, manual ack each", "-s 1024", 200_000, 60_000),
    Scene("four queues in parallel", "-s 100 -P 4 -C 4 -Q 4", 150_000, 30_000),
    Scene("durable, 500 confirms in flight", "-s 100 -d -c 500", 300_000, 40_000),
    Scene("durable, 1 confirm in flight", "-s 100 -d -c 1", 3_000, 3_000),
)


def rate(program: Path, port: int, options: str, messages: int) -> float:
    """Messages a second from the first publish to the last delivery. Raises CalledProcessError if one was lost or out of order."""
    command = [str(program), "-p", str(port), "-n", str(messages), *options.split()]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=RUN_SECONDS_MAX)
    found = re.search(r"e2e_rate=(\d+)", done.stdout)
    assert found is not None, done.stdout
    return float(found[1])


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description="Leveret next to RabbitMQ.")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="how often each scene runs on each broker (default: 3)")
    rounds: int = parser.parse_args().rounds
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        program = folder / "amqpload"
        subprocess.run(["cc", "-O2", "-o", str(program), str(SOURCE), "-lpthread"], check=True)
        leveret = stack.enter_context(Leveret(folder / "data"))
        rabbitmq = stack.enter_context(RabbitMQ()) if server_script() else None
        print(f"Python {sys.version.split()[0]}, {rounds} rounds, thousand messages a second\n")
        print("| scene | `amqpload` | Leveret | RabbitMQ | ratio |\n|---|---|---|---|---|")
        for scene in SCENES:
            ours: list[float] = []
            theirs: list[float] = []
            for _ in range(rounds):
                ours.append(rate(program, leveret.port, scene.options, scene.messages))
                if rabbitmq is not None:
                    theirs.append(rate(program, rabbitmq.port, scene.options, scene.messages_rabbitmq))
            row = f"| {scene.name} | `{scene.options}` | {median(ours) / 1000:.1f} |"
            print(f"{row} {median(theirs) / 1000:.1f} | {median(ours) / median(theirs):.1f} |" if theirs else f"{row} | |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
