"""What durability costs, for docs/durability.md: `make bench-durability`, or `python -m bench.durability [scene ...] [--scale F]`.

Each scene starts its own brokers on directories of their own, removed at the end, and prints a Markdown table. A scene whose messages
don't all arrive once and in order fails. At full scale the backlog and recovery scenes write some ten gigabytes and take many minutes.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

from bench import backlog, traffic
from bench.measure import Bench, be_patient, build, say

SCENES = {
    "backlog": backlog.backlog,
    "recovery": backlog.recovery,
    "amplification": traffic.amplification,
    "depth": traffic.depth,
    "compaction": traffic.compaction,
    "gc": backlog.gc,
}


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.durability", description="What durability costs.")
    parser.add_argument("scenes", nargs="*", metavar="scene", help=f"any of {', '.join(SCENES)} (default: all)")
    parser.add_argument("--scale", type=float, default=1.0, metavar="F", help="factor for counts and durations (default: 1)")
    parser.add_argument("--only", default="", metavar="TEXT", help="of the table of backlogs the rows with this in their name")
    parser.add_argument(
        "--directory", type=Path, metavar="DIR", help="where data directories are made (default: the system's for temporary files)"
    )
    options = parser.parse_args()
    chosen: list[str] = options.scenes or list(SCENES)
    if unknown := [name for name in chosen if name not in SCENES]:
        parser.error(f"no such scene: {', '.join(unknown)}")
    be_patient()
    with tempfile.TemporaryDirectory(prefix="leveret-bench-", dir=options.directory) as folder:
        bench = Bench(build(Path(folder)), Path(folder), options.scale, options.only)
        say(f"Python {platform.python_version()}, Linux {platform.release()}, {os.cpu_count()} processors, scale {options.scale:g}")
        for name in chosen:
            say(f"\n## {name}\n")
            begin = time.monotonic()
            SCENES[name](bench)
            say(f"\n(took {time.monotonic() - begin:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
