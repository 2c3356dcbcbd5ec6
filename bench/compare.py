"""Leveret and RabbitMQ on the same machine in the same minutes: `make bench`, or `python -m bench.compare [--rounds N] [--only TEXT]`.

Each serves from directories of its own on a free port, RabbitMQ where it is installed; both are up all the time, and idle while the other
has its turn. In each round every scene (bench/scenes.py) runs on each broker in turn, so what else happens on the machine hits
all alike. The load comes from `amqpload` (bench/load): raw sockets and frames encoded beforehand, so that the broker is what is measured;
it checks that each message arrives once and in order. The median of the rounds counts.

Every figure goes to `bench/results/`, the table to docs/performance.md, a part of it to README.md (with `--write`).
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from bench.brokers import CLASSIC, LEVERET, QUORUM, Contender, leveret, rabbitmq
from bench.measure import Figures, build, cell_text, say
from bench.scenes import APPLICATIONS, DURABLE, LIKE, MANY, ROOT, SCENES, Bench, Figure, Scene, allow_files

ROUNDS = 3
RESULTS = ROOT / "bench" / "results"
IN_README = (APPLICATIONS, LIKE, DURABLE, MANY)
SPREAD_MAX = 100
"""Percent: past it a table has the least and the most."""
MARKS = ("<!-- bench: begin -->\n", "<!-- bench: end -->\n")
Values = dict[str, list[Figures]]
"""What a scene gave, by broker, once a round."""


def measure(bench: Bench, scenes: list[Scene], contenders: list[Contender], rounds: int) -> list[Values]:
    """All rounds of all scenes."""
    values: list[Values] = [{each.name: [] for each in contenders if each.name in scene.on} for scene in scenes]
    for number in range(1, rounds + 1):
        for scene, found in zip(scenes, values, strict=True):
            for broker in contenders:
                if broker.name in found:
                    found[broker.name].append(scene.run(bench, broker))
            for figure in scene.figures:
                shown = ", ".join(f"{name} {cell_text(given[-1][figure.key])}" for name, given in found.items())
                sys.stderr.write(f"{number}/{rounds} {scene.group}, {figure.name}: {shown}\n")
    return values


# --- tables ---------------------------------------------------------------------------------------------------------------


def values_of(figure: Figure, found: Values, name: str) -> list[float]:
    """One figure of each round."""
    return [given[figure.key] for given in found.get(name, ())]


def ratio(figure: Figure, found: Values, other: str) -> float | None:
    """How many times better Leveret is; None if there is nothing to compare with."""
    ours, theirs = values_of(figure, found, LEVERET), values_of(figure, found, other)
    if not ours or not theirs or not median(ours) or not median(theirs):
        return None
    return median(theirs) / median(ours) if figure.cost else median(ours) / median(theirs)


def table(scenes: list[Scene], values: list[Values], *, only: tuple[str, ...] | None = None) -> str:
    """All of it as Markdown, a table for each group."""
    lines: list[str] = []
    group = ""
    for scene, found in zip(scenes, values, strict=True):
        if only is not None and scene.group not in only:
            continue
        if scene.group != group:
            group = scene.group
            lines += ["", f"**{group}**", "", "| | unit | Leveret | RabbitMQ | ratio | quorum queues | ratio |", "|---" * 7 + "|"]
        for figure in scene.figures:
            cells = [figure.name + (" *" if scene.is_bound_elsewhere else ""), figure.unit, _shown(figure, found, LEVERET)]
            for other in (CLASSIC, QUORUM):
                times = ratio(figure, found, other)
                cells += [_shown(figure, found, other), "" if times is None else f"{times:.1f}"]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _shown(figure: Figure, found: Values, name: str) -> str:
    each = [value / (1000 if figure.unit == "k/s" else 1) for value in values_of(figure, found, name)]
    if not each:
        return ""
    if len(each) == 1 or not median(each):
        return cell_text(float(median(each)))
    spread = 50 * (max(each) - min(each)) / median(each)
    shown = f"±{spread:.0f}%" if spread <= SPREAD_MAX else f"({cell_text(min(each))} to {cell_text(max(each))})"
    return f"{cell_text(float(median(each)))} {shown}"


def about(bench: Bench, contenders: list[Contender], rounds: int) -> dict[str, Any]:
    """The machine, the versions, the commit."""

    def output(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    python = output(
        bench.python, "-c", "import platform, sysconfig; print(platform.python_version(), sysconfig.get_config_var('PY_CFLAGS'))"
    )
    version, _, flags = python.partition(" ")
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    installed = output("dpkg-query", "--show", "--showformat=${Version}", "rabbitmq-server") if len(contenders) > 1 else ""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "commit": output("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"),
        "is_changed": bool(output("git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no")),
        "processors": os.cpu_count(),
        "processor": model[1] if model else platform.processor(),
        "kernel": platform.release(),
        "python": version,
        "python_is_optimized": "-fprofile-use" in flags or "-flto" in flags,
        "rabbitmq": installed.partition("-")[0],
        "rounds": rounds,
    }


def describe(facts: dict[str, Any]) -> str:
    """The same as a sentence."""
    return (
        f"Leveret {facts['commit']} on Python {facts['python']}, RabbitMQ {facts['rabbitmq'] or 'not installed'}; "
        f"{facts['processors']} processors ({facts['processor']}), which the load generator shares; "
        f"medians of {facts['rounds']} rounds and half the spread, {facts['date']}."
    )


def put_between(file: Path, text: str, marks: tuple[str, str] = MARKS) -> None:
    """Replace what stands between the marks of a file. Raises ValueError if they aren't there."""
    begin, end = marks
    before, found, rest = file.read_text().partition(begin)
    _, found_too, after = rest.partition(end)
    if not (found and found_too):
        raise ValueError(f"{file} has no line {begin.strip()} with {end.strip()} behind it")
    file.write_text(before + begin + text + end + after)


def write_tables(facts: dict[str, Any], scenes: list[Scene], values: list[Values]) -> None:
    """Put all of it into docs/performance.md, and a part into README.md."""
    put_between(ROOT / "docs" / "performance.md", describe(facts) + "\n" + table(scenes, values))
    put_between(ROOT / "README.md", describe(facts) + "\n" + table(scenes, values, only=IN_README))


def _scenes_of(result: dict[str, Any]) -> tuple[list[Scene], list[Values]]:
    """The scenes of a file of results, as far as there still are such."""
    measured = {(each["group"], *(figure["name"] for figure in each["figures"])): each["values"] for each in result["scenes"]}
    named = [((scene.group, *(figure.name for figure in scene.figures)), scene) for scene in SCENES]
    found = [(scene, measured[name]) for name, scene in named if name in measured]
    return [scene for scene, _ in found], [values for _, values in found]


def main() -> int:
    """Measure, print, and write down."""
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description="Leveret next to RabbitMQ.")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help="how often each scene runs on each broker (default: 3)")
    parser.add_argument("--only", default="", metavar="TEXT", help="the scenes that have this in their group or name")
    parser.add_argument("--scale", type=float, default=1.0, metavar="F", help="factor for counts and durations (default: 1)")
    parser.add_argument("--python", default=sys.executable, metavar="FILE", help="the interpreter for Leveret (default: this one)")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md and README.md")
    parser.add_argument("--again", type=Path, metavar="FILE", help="measure nothing: put the tables of such a result there anew")
    options = parser.parse_args()
    if options.again is not None:
        before = json.loads(options.again.read_text())
        write_tables(before["about"], *_scenes_of(before))
        return 0
    scenes = [scene for scene in SCENES if any(options.only.lower() in f"{scene.group} {each.name}".lower() for each in scene.figures)]
    if not scenes:
        parser.error(f"no scene has {options.only!r} in its group or name")
    allow_files()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bench = Bench(build(folder), options.python, options.scale)
        contenders = [stack.enter_context(leveret(options.python)), *stack.enter_context(rabbitmq())]
        facts = about(bench, contenders, options.rounds)
        say(describe(facts))
        values = measure(bench, scenes, contenders, options.rounds)
    say(table(scenes, values))
    RESULTS.mkdir(exist_ok=True)
    rows = [
        {"group": scene.group, "figures": [figure._asdict() for figure in scene.figures], "amqpload": scene.command, "values": found}
        for scene, found in zip(scenes, values, strict=True)
    ]
    part = re.sub(r"[^a-z0-9]+", "-", f" {options.only.lower()}").rstrip("-")
    file = RESULTS / f"{facts['date']}-{facts['commit']}{part}.json"
    file.write_text(json.dumps({"about": facts, "scenes": rows}, indent=1) + "\n")
    say(f"written to {file.relative_to(ROOT)}")
    if options.write:
        write_tables(facts, scenes, values)
    return 0


if __name__ == "__main__":
    sys.exit(main())
