"""`python -m tests.conformance.watched serve ...`: Leveret with log.exchange, the event exchange and all log levels on."""

import sys
from dataclasses import replace
from typing import Any

from broker import app
from broker.cli.main import main
from broker.config import Config
from tests.admin.served import Asked
from tests.oracle.leveret import Leveret
from tests.oracle.rabbitmq import RabbitMQ


class WatchedLeveret(Leveret, Asked):
    """A broker whose firehose can be turned on."""

    module = "tests.conformance.watched"

    def trace(self, on: bool) -> None:
        with self.api() as api:
            assert api.do("PUT", "/api/vhosts/%2F", {"tracing": on}) == 204


class WatchedRabbitMQ(RabbitMQ):
    """The oracle, likewise."""

    def __init__(self) -> None:
        settings = ("log.exchange = true", "log.file.level = debug", "handshake_timeout = 1000")
        super().__init__(settings=settings, plugins=("rabbitmq_event_exchange",))

    def trace(self, on: bool) -> None:
        self.ctl("trace_on" if on else "trace_off")


def _serve(config: Config, **options: Any) -> int:
    log = replace(config.log, exchange=True)
    return _serve_plain(replace(config, log=log, event_exchange=True, handshake_timeout_seconds=1.0), **options)


_serve_plain: Any = app.serve

if __name__ == "__main__":
    app.serve = _serve
    raise SystemExit(main(sys.argv[1:]))
