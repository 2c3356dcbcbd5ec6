"""Leveret in memory with its HTTP API, as a process of its own."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import pika
from pika.adapters.blocking_connection import BlockingChannel

from tests.admin.client import Http
from tests.oracle.leveret import Leveret

STARTED = re.compile(r"Management plugin: HTTP \(non-TLS\) listener started on port (\d+)")


class Asked:
    """What a broker with an HTTP API has: mixed in."""

    host: str
    port: int
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

    def add_vhost(self, name: str) -> str:
        """In which guest may do everything."""
        with self.api() as api:
            assert api.do("PUT", f"/api/vhosts/{name}") == 201
            assert api.do("PUT", f"/api/permissions/{name}/guest", dict.fromkeys(("configure", "write", "read"), ".*")) in (201, 204)
        return name

    def user(self, name: str, tags: str = "", **patterns: str) -> Http:
        """A new user's API, who may configure, write and read in these vhosts what matches."""
        with self.api() as api:
            assert api.do("PUT", f"/api/users/{name}", {"password": name, "tags": tags}) == 201
            for vhost, pattern in patterns.items():
                rights = dict.fromkeys(("configure", "write", "read"), pattern)
                assert api.do("PUT", f"/api/permissions/{quote(vhost, safe='')}/{name}", rights) == 201
        return self.api(name, name)

    @contextmanager
    def channel(self, vhost: str) -> Iterator[BlockingChannel]:
        """Over AMQP, as guest."""
        with pika.BlockingConnection(pika.ConnectionParameters(self.host, self.port, vhost)) as connection:
            yield connection.channel()


class Served(Leveret, Asked):
    """`with Served() as broker: broker.api().get("/api/overview")`. Arguments and settings as for Leveret."""

    def __init__(self, *arguments: str, **options: Any) -> None:
        super().__init__(arguments=("--http-port", "0", *arguments), **options)
