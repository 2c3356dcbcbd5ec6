"""Leveret in memory with its HTTP API, as a process of its own."""

import re
from typing import Any

from tests.admin.client import Http
from tests.oracle.leveret import Leveret

STARTED = re.compile(r"Management plugin: HTTP \(non-TLS\) listener started on port (\d+)")


class Asked:
    """What a broker with an HTTP API has: mixed in."""

    host: str
    log: str

    @property
    def http_port(self) -> int:
        ports = STARTED.findall(self.log)
        return int(ports[-1])

    @property
    def node(self) -> str:
        with self.api() as api:
            node: str = api.get("/api/overview")["node"]
            return node

    def api(self, user: str = "guest", password: str = "guest") -> Http:
        return Http(self.host, self.http_port, (user, password))


class Served(Leveret, Asked):
    """`with Served() as broker: broker.api().get("/api/overview")`. Arguments and settings as for Leveret."""

    def __init__(self, *arguments: str, **options: Any) -> None:
        super().__init__(arguments=("--http-port", "0", *arguments), **options)
