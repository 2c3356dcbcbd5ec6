"""`python -m tests.runtime.faulty serve ...`: the broker on a disk that does what a file tells it to.

The file is called `fault` and lies beside the data directory. It holds lines `<operation> <action>`, or isn't there:

    write_synced EIO     every such operation of storage.files.Files raises that error
    any 1.5              every change takes so many seconds longer
    write stalls         every such operation waits until the file says so no more
    free 1000            so many bytes are free on the disk; or free EIO
"""

import errno
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from broker import app
from broker.cli.main import main
from storage.files import Files
from storage.local import LocalStore
from storage.records import Buffer
from tests.oracle.leveret import Leveret

FAULT = "fault"
STALLS = "stalls"
LOOK_SECONDS = 0.01


class FaultyFiles(Files):
    """Files on that disk."""

    def __init__(self, control: Path) -> None:
        super().__init__()
        self._control = control

    def _ask(self, operation: str) -> None:
        for action in self._actions(operation, "any"):
            if action == STALLS:
                while STALLS in self._actions(operation, "any"):
                    time.sleep(LOOK_SECONDS)
            elif action[0].isdigit():
                time.sleep(float(action))
            else:
                raise _error(action)

    def _actions(self, *operations: str) -> list[str]:
        """What the file says of any of them."""
        try:
            lines = self._control.read_text().splitlines()
        except FileNotFoundError:
            return []
        return [action for operation, _, action in (line.partition(" ") for line in lines) if operation in operations]

    def write(self, descriptor: int, data: Buffer, offset: int) -> None:
        self._ask("write")
        super().write(descriptor, data, offset)

    def write_synced(self, descriptor: int, data: Buffer, offset: int) -> None:
        self._ask("write_synced")
        super().write_synced(descriptor, data, offset)

    def sync(self, descriptor: int) -> None:
        self._ask("sync")
        super().sync(descriptor)

    def free(self, path: Path) -> int:
        for action in self._actions("free"):
            if action.isdigit():
                return int(action)
            raise _error(action)
        return super().free(path)


def _error(name: str) -> OSError:
    code = getattr(errno, name)
    return OSError(code, os.strerror(code))


class Faulty(Leveret):
    """The broker on such a disk; `fault("write_synced EIO", "free 1000")`, `fault("")`."""

    module = "tests.runtime.faulty"

    def __init__(self, directory: Path, **options: Any) -> None:
        super().__init__(directory / "data", **options)
        self._control = directory / FAULT

    def fault(self, *lines: str) -> None:
        new = self._control.with_suffix(".new")
        new.write_text("\n".join(lines))
        new.rename(self._control)


if __name__ == "__main__":
    directory = Path(sys.argv[sys.argv.index("--data-dir") + 1])
    setattr(app, "LocalStore", partial(LocalStore, files=FaultyFiles(directory.parent / FAULT)))  # noqa: B010
    sys.exit(main(sys.argv[1:]))
