"""`python -m tests.conformance.watched serve ...`: Leveret with log.exchange, the event exchange and all log levels on.

SIGUSR1 turns the firehose on in the vhost /, SIGUSR2 turns it off.
"""

import asyncio
import signal
import sys
from dataclasses import replace
from typing import Any

from broker import app
from broker.cli.main import main
from broker.config import Config
from broker.operations import Operations
from tests.oracle.leveret import Leveret
from tests.oracle.rabbitmq import RabbitMQ
from tests.wire import eventually


class WatchedLeveret(Leveret):
    """A broker whose firehose can be turned on."""

    module = "tests.conformance.watched"

    def trace(self, on: bool) -> None:
        assert self._process is not None
        text = "Enabling tracing for vhost '/'" if on else "Disabling tracing for vhost '/'"
        before = self.log.count(text)
        self._process.send_signal(signal.SIGUSR1 if on else signal.SIGUSR2)
        eventually(lambda: self.log.count(text) > before)


class WatchedRabbitMQ(RabbitMQ):
    """The oracle, likewise."""

    def __init__(self) -> None:
        settings = ("log.exchange = true", "log.file.level = debug", "handshake_timeout = 1000")
        super().__init__(settings=settings, plugins=("rabbitmq_event_exchange",))

    def trace(self, on: bool) -> None:
        self.ctl("trace_on" if on else "trace_off")


def _watched(config: Config, *rest: Any) -> Operations:
    operations: Operations = _build(config, *rest)
    broker = operations.broker
    for number, on in ((signal.SIGUSR1, True), (signal.SIGUSR2, False)):
        signal.signal(number, lambda *_, on=on: asyncio.get_running_loop().call_soon(broker.vhosts["/"].set_tracing, on))
    return operations


def _serve(config: Config) -> int:
    log = replace(config.log, exchange=True)
    return _serve_plain(replace(config, log=log, event_exchange=True, handshake_timeout_seconds=1.0))


if __name__ == "__main__":
    _build, app.build = app.build, _watched
    _serve_plain, app.serve = app.serve, _serve
    raise SystemExit(main(sys.argv[1:]))
