"""Command lines and what they print, as a text: transcript.txt.

    == users                                a section: leaves the broker as it found it
    @differs 3.10: why                      the oracle says something else here; it is asked all the same, for what follows
    @sorted                                 the order of the lines means nothing
    $ rabbitmqctl add_user alice <<< pw     what is typed, and what is read from stdin (\\n is a line's end)
    Adding user "alice" ...                 stdout, NODE standing for the node's name
    ! Error:                                stderr
    [70]                                    the exit status

It is checked against Leveret and against RabbitMQ. `python -m tests.cli.transcript` prints it with RabbitMQ's answers of now.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).with_name("transcript.txt")
STATUS = re.compile(r"\[(\d+)\]")
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
NOTICE = re.compile(r"^\n?\d\d:\d\d:\d\d\.\d+ \[\w+\] .*\n", re.MULTILINE)
"""RabbitMQ's tools have lines of the server's log on their stderr now and then."""
Run = Callable[..., "subprocess.CompletedProcess[str]"]


class Step(NamedTuple):
    """One command line, and what is expected of it."""

    typed: str
    stdin: str
    out: str
    err: str
    status: int
    differs: str | None = None
    """Why the oracle says something else."""
    is_sorted: bool = False

    @property
    def words(self) -> list[str]:
        return shlex.split(self.typed)

    def of(self, done: "subprocess.CompletedProcess[str]", node: str) -> "Step":
        """The same step with what it really printed."""
        out, err = normal(done.stdout, node), normal(NOTICE.sub("", done.stderr), node)
        return self._replace(out="\n".join(sorted(out.splitlines())) + "\n" if self.is_sorted and out else out, err=err, status=done.returncode)

    def __str__(self) -> str:
        head = [f"@differs {self.differs}"] * bool(self.differs) + ["@sorted"] * self.is_sorted
        given = f" <<< {self.stdin.encode('unicode_escape').decode()}" if self.stdin else ""
        err = [f"! {line}".rstrip() for line in self.err.splitlines()]
        return "\n".join([*head, f"$ {self.typed}{given}", *self.out.splitlines(), *err, f"[{self.status}]"])


def normal(text: str, node: str) -> str:
    """Without escapes, and with NODE for the node."""
    text = ESCAPES.sub("", text).replace(f"\t--node {node} ", "\t").replace(node, "NODE")
    return "".join(f"{line.rstrip(' ')}\n" for line in text.splitlines())


def read() -> dict[str, list[Step]]:
    """The sections of the file."""
    sections: dict[str, list[Step]] = {}
    lines = iter(FILE.read_text(encoding="utf-8").splitlines())
    steps: list[Step] = []
    differs, is_sorted = None, False
    for line in lines:
        if line.startswith("== "):
            steps = sections[line.removeprefix("== ")] = []
        elif line.startswith("@differs "):
            differs = line.removeprefix("@differs ")
        elif line == "@sorted":
            is_sorted = True
        elif line.startswith("$ "):
            steps.append(_step(line.removeprefix("$ "), lines, differs, is_sorted))
            differs, is_sorted = None, False
        elif line:
            raise ValueError(f"transcript.txt: {line!r}")
    return sections


def _step(typed: str, lines: Iterator[str], differs: str | None, is_sorted: bool) -> Step:
    typed, _, stdin = typed.partition(" <<< ")
    out, err = [], []
    for line in lines:
        if match := STATUS.fullmatch(line):
            printed = "".join(f"{each}\n" for each in (sorted(out) if is_sorted else out))
            told = "".join(f"{each}\n" for each in err)
            return Step(typed, stdin.encode().decode("unicode_escape"), printed, told, int(match[1]), differs, is_sorted)
        (err if line.startswith("!") else out).append(line.removeprefix("!").removeprefix(" ") if line.startswith("!") else line)
    raise ValueError(f"transcript.txt: no status behind {typed!r}")


def play(steps: list[Step], run: Run, node: str) -> Iterator[tuple[Step, Step]]:
    """Each step as it is written down, and as it went."""
    for step in steps:
        tool, *words = step.words
        yield step, step.of(run(tool, *words, stdin=step.stdin), node)


def main() -> int:
    from tests.oracle.rabbitmq import RabbitMQ

    with RabbitMQ() as broker:
        for name, steps in read().items():
            print(f"== {name}")
            for _, went in play(steps, broker.tool, broker.node):
                print(f"{went}\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
