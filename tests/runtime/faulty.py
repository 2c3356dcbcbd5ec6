"""`python -m tests.runtime.faulty serve ...`: the broker on a disk that does what a file tells it to.

The file is called `fault` and lies beside the data directory. It holds a line `<operation> <action>`, or isn't there:

    write_synced EIO     every such operation of storage.files.Files raises that error
    any 1.5              every change takes so many seconds longer
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


class FaultyFiles(Files):
    """Files on that disk."""

    def __init__(self, control: Path) -> None:
        super().__init__()
        self._control = control

    def _ask(self, operation: str) -> None:
        try:
            wanted, action = self._control.read_text().split()
        except (FileNotFoundError, ValueError):
            return
        if wanted not in (operation, "any"):
            return
        if action[0].isdigit():
            time.sleep(float(action))
        else:
            code = getattr(errno, action)
            raise OSError(code, os.strerror(code))

    def write(self, descriptor: int, data: Buffer, offset: int) -> None:
        self._ask("write")
        super().write(descriptor, data, offset)

    def write_synced(self, descriptor: int, data: Buffer, offset: int) -> None:
        self._ask("write_synced")
        super().write_synced(descriptor, data, offset)

    def sync(self, descriptor: int) -> None:
        self._ask("sync")
        super().sync(descriptor)


class Faulty(Leveret):
    """The broker on such a disk; `fault("write_synced EIO")`, `fault("")`."""

    module = "tests.runtime.faulty"

    def __init__(self, directory: Path, **options: Any) -> None:
        super().__init__(directory / "data", **options)
        self._control = directory / FAULT

    def fault(self, what: str) -> None:
        new = self._control.with_suffix(".new")
        new.write_text(what)
        new.rename(self._control)


if __name__ == "__main__":
    directory = Path(sys.argv[sys.argv.index("--data-dir") + 1])
    setattr(app, "LocalStore", partial(LocalStore, files=FaultyFiles(directory.parent / FAULT)))  # noqa: B010
    sys.exit(main(sys.argv[1:]))
