"""`leveret log`: looks at the data directory of a broker that is stopped, and mends it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from broker.cli.main import EXIT_UNAVAILABLE, EXIT_USAGE

if TYPE_CHECKING:
    from storage.verify import Report

EXIT_UNSOUND: Final = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `leveret log` takes."""
    parser.epilog = (
        "Exit status: 0 all is well, 1 something is wrong, 64 the command line, 69 a broker has the directory or it can't be read."
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    subparsers = {}
    for name, run_it, text in _COMMANDS:
        subparser = subparsers[name] = commands.add_parser(name, help=text, description=text)
        subparser.add_argument("directory", metavar="DIR", type=Path, help="the data directory of a stopped broker, or a backup")
        subparser.set_defaults(run_log=run_it)
    dump = subparsers["dump"]
    dump.add_argument("--queue", metavar="Q", help="only the queues of this name (default: all)")
    dump.add_argument("--vhost", metavar="V", help="only the queues in this vhost (default: all)")
    form = dump.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a line (default: off)")
    form.add_argument("--records", action="store_true", help="the log as it lies there, block by block and record by record (default: off)")
    parser.set_defaults(run_log=None, usage=parser.format_help)


def run(arguments: argparse.Namespace) -> int:
    """Run the sub-command; returns the exit status."""
    from storage.api import Fenced, StorageError
    from storage.offline import stopped

    if arguments.run_log is None:
        sys.stdout.write(arguments.usage())
        return EXIT_USAGE
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    run_it: Callable[[argparse.Namespace], int] = arguments.run_log
    try:
        with stopped(arguments.directory):
            return run_it(arguments)
    except BrokenPipeError:  # `leveret log dump DIR | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Fenced as error:
        sys.stderr.write(f"leveret: {error}; stop it first\n")
    except (StorageError, OSError) as error:
        sys.stderr.write(f"leveret: {error}\n")
    return EXIT_UNAVAILABLE


def _verify(arguments: argparse.Namespace) -> int:
    from storage.verify import verify

    report = verify(arguments.directory)
    sys.stdout.writelines(f"{line}\n" for line in _lines_of(report))
    if report.ok:
        sys.stdout.write("sound\n")
        return 0
    sys.stdout.write(f"{report.problem_count} problems; `leveret log repair` moves what is broken to quarantine/\n")
    return EXIT_UNSOUND


def _lines_of(report: Report) -> Iterator[str]:
    counts = {
        "segments": report.segments,
        "bytes": report.size,
        "blocks": report.blocks,
        "commits": report.commits,
        "records": report.records,
        "messages": report.messages,
        "live messages": sum(report.live.values()),
        "catalog entries": report.declared.entries,
        "bytes of torn tail": report.torn,
        "bytes of filler": report.filled,
    }
    yield from (f"{name:20}{count:>16,}" for name, count in counts.items())
    names = ((report.declared.name(queue_id), count) for queue_id, count in report.live.items())
    yield from (f"live in {name}: {count:,}" for name, count in sorted(names))
    yield from report.problems
    if len(report.problems) < report.problem_count:
        yield f"... and {report.problem_count - len(report.problems)} more"


def _dump(arguments: argparse.Namespace) -> int:
    if arguments.records:
        from storage.dump import dump

        sys.stdout.writelines(f"{line}\n" for line in dump(arguments.directory))
        return 0
    from broker.cli import messages
    from storage.messages import Messages

    found = Messages(arguments.directory, arguments.vhost, arguments.queue)
    if not found.queues and (arguments.queue is not None or arguments.vhost is not None):
        sys.stderr.write("leveret: the catalog has no such queue\n")
        return EXIT_UNSOUND
    lines = map(messages.as_json, found) if arguments.json else messages.as_text(found)
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 0


def _repair(arguments: argparse.Namespace) -> int:
    from storage.repair import repair
    from storage.verify import verify

    for line in repair(arguments.directory):
        sys.stdout.write(f"{line}\n")
    report = verify(arguments.directory)
    sys.stdout.writelines(f"left as it is: {problem}\n" for problem in report.problems)
    sys.stdout.write(
        "sound\n" if report.ok else f"{report.problem_count} problems are left that repair can't mend; a start passes over them\n"
    )
    return 0 if report.ok else EXIT_UNSOUND


_COMMANDS: Final = (
    ("verify", _verify, "check every block, every record and what they refer to; changes nothing"),
    ("dump", _dump, "print the messages that a start would find; changes nothing"),
    ("repair", _repair, "move what is broken to quarantine/, so that a start serves all the rest"),
)
