"""A broker with a Config that no file is written for: listeners of several kinds, a choice of event loop, few files.

`python -m tests.runtime.configured serve --port N --memory FILE` is the process; `--port` is its first listener's. It logs the Peer of
each connection, which nothing else shows.
"""

import argparse
import json
import logging
import pickle
import re
import resource
import sys
from dataclasses import replace
from pathlib import Path
from ssl import SSLContext
from typing import NamedTuple, Self

from pamqp.commands import Connection

from broker import app, logs
from broker.config import Config, Listener, ManagementOptions, PrometheusOptions, RigOptions
from broker.core.broker import Broker
from broker.core.session import Peer, Session
from tests.oracle.leveret import Leveret
from tests.runtime.process import name_of
from tests.wire import Wire

LOOPBACK = "127.0.0.1"
PLAIN = Listener(LOOPBACK, 0)
TLS = Listener(LOOPBACK, 0, tls=True)


class Address(NamedTuple):
    host: str
    port: int


class Configured(Leveret):
    """That process."""

    module = "tests.runtime.configured"
    testing_arguments = ()

    def __init__(self, file: Path, config: Config, *, loop: str = "uvloop", files: int | None = None) -> None:
        """`file` is where the config is written to; `files` is how many the process may have open. HTTP is served only if
        it is asked for."""
        config = replace(config, data_dir=None, testing=RigOptions(self.is_testing))
        if config.management == ManagementOptions():
            config = replace(config, management=ManagementOptions(port=None))
        if config.prometheus == PrometheusOptions():
            config = replace(config, prometheus=PrometheusOptions(port=None))
        file.write_bytes(pickle.dumps(config))
        options = ["--loop", loop, *([] if files is None else ["--files", str(files)])]
        super().__init__(None, arguments=(*options, str(file)))

    @property
    def tls(self) -> Address:
        """Where its TLS listener is."""
        found = re.findall(r"started TLS \(SSL\) listener on 127\.0\.0\.1:(\d+)", self.log)
        return Address(self.host, int(found[-1]))

    def peer(self, wire: Wire) -> Peer:
        """Who the broker thinks is at the other end. Ask while the socket is open."""
        return self.peer_named(rf"{re.escape(name_of(wire))} -> ")

    def peer_named(self, pattern: str) -> Peer:
        line = self.wait_for_log(rf'<observed> \["{pattern}')
        return Peer(*json.loads(line.partition("<observed> ")[2]))


class Dialled(Wire):
    """A Wire through TLS, behind a PROXY header, or both."""

    @classmethod
    def dial(cls, address: Address | Leveret, context: SSLContext | None = None, *, name: str = "localhost", header: bytes = b"") -> Self:
        wire = cls(address)
        if header:
            wire.send_raw(header)
        if context is not None:
            wire._socket = context.wrap_socket(wire._socket, server_hostname=name)
        return wire

    def log_in(self, user: str = "guest", password: str = "guest") -> Self:
        self.greet()
        self.start_ok(user, password)
        self.expect(Connection.Tune)
        self.tune_ok()
        self.open_vhost()
        return self


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("command")
    parser.add_argument("--port", type=int)
    parser.add_argument("--memory", action="store_true", required=True)
    parser.add_argument("--loop")
    parser.add_argument("--files", type=int)
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    config: Config = pickle.loads(arguments.file.read_bytes())  # the test wrote it
    if arguments.loop == "asyncio":
        sys.modules["uvloop"] = None  # type: ignore[assignment]
    if arguments.files is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (arguments.files, arguments.files))
    first, *others = config.listeners
    logs.set_up(config.log)
    Broker.open_session = observed  # type: ignore[method-assign]
    return app.serve(replace(config, listeners=(first._replace(port=arguments.port), *others)))


def observed(broker: Broker, peer: Peer) -> Session:
    logging.getLogger("observed").info("%s", json.dumps(peer), extra={"tag": "<observed>"})
    return open_session(broker, peer)


open_session = Broker.open_session

if __name__ == "__main__":
    sys.exit(main())
