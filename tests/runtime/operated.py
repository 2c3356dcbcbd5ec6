"""`python -m tests.runtime.operated serve ...`: a broker on a disk that may be faulty, and an operator who deletes things while it runs.

The file `orders` beside the data directory has lines of what is to be done at SIGHUP:

    delete_user NAME             at once
    delete_vhost NAME            at once
    delete_opener NAME           the user, in the turn in which it next opens a connection

A peer has CLOSE_OK_SECONDS for its close-ok.
"""

import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

from broker import app
from broker.cli.main import main
from broker.core.internal_events import FactsOf
from broker.operations import Operations
from broker.runtime import connection
from broker.runtime.server import Server
from storage.local import LocalStore
from tests.runtime.faulty import FAULT, Faulty, FaultyFiles

CLOSE_OK_SECONDS = 2.0
ORDERS = "orders"


class Operated(Faulty):
    """That process."""

    module = "tests.runtime.operated"

    def order(self, *lines: str) -> None:
        """Returns when it is done, or, for delete_opener, will be."""
        self._control.with_name(ORDERS).write_text("\n".join(lines))
        os.kill(self.pid, signal.SIGHUP)
        self.wait_for_log(f"obeyed {lines}".replace("(", r"\(").replace(")", r"\)"))


def obey(orders: Path, operations: Operations, _config: Any, _store: Any, server: Server) -> None:
    broker = operations.broker
    lines = orders.read_text().splitlines()
    for kind, name in (line.split(" ") for line in lines):
        if kind == "delete_user":
            operations.delete_user(name)
        elif kind == "delete_vhost":
            operations.delete_vhost(name)
        else:
            assert kind == "delete_opener"

            def opened(event: str, _facts: FactsOf, name: str = name) -> None:
                if event == "connection.created":
                    operations.delete_user(name)

            broker.emit = opened
    server.turn.schedule()
    app.log.info("obeyed %s", tuple(lines))


if __name__ == "__main__":
    directory = Path(sys.argv[sys.argv.index("--data-dir") + 1])
    setattr(app, "LocalStore", partial(LocalStore, files=FaultyFiles(directory.parent / FAULT)))  # noqa: B010
    setattr(app, "_load_definitions_again", partial(obey, directory.parent / ORDERS))  # noqa: B010
    connection.CLOSE_OK_SECONDS_MAX = CLOSE_OK_SECONDS
    sys.exit(main(sys.argv[1:]))
