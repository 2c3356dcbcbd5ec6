"""One of everything: requests that make a broker have it, each route that changes something called at least once, and AMQP clients."""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

import pika
import pika.exceptions
from pika.adapters.blocking_connection import BlockingChannel

from tests.admin.served import Served
from tests.runtime.process import soon

VHOST = "scene"
NAMES = {
    "vhost": VHOST,
    "name": "work",
    "user": "somebody",
    "exchange": "trades",
    "source": "trades",
    "kind": "q",
    "destination": "work",
    "properties_key": "eu.%23",
    "component": "federation-upstream",
    "application": "rabbit",
    "variable": "consumer_timeout",
    "password": "secret",
    "within": "1",
    "unit": "weeks",
    "protocol": "amqp",
    "pattern": "^q",
    "file": "overview.css",
    "endpoint": "per-object",
}
"""What stands in paths, where nothing else is said."""
OTHER_NAMES = {
    "/api/policies/": {"name": "short"},
    "/api/operator-policies/": {"name": "short"},
    "/api/parameters/": {"name": "up"},
    "/api/global-parameters/": {"name": "motto"},
    "/api/vhost-limits/": {"name": "max-queues"},
    "/api/user-limits/": {"name": "max-channels"},
    "/api/feature-flags/": {"name": "stream_queue"},
}
"""By what paths begin with."""
GRANT = dict.fromkeys(("configure", "write", "read"), ".*")
PUBLISHED = {
    "content_type": "text/plain", "content_encoding": "identity", "headers": {"h": [1, {"a": True}]}, "delivery_mode": 2, "priority": 3,
    "correlation_id": "c", "reply_to": "r", "expiration": "600000", "message_id": "m", "timestamp": 1_700_000_000, "type": "t",
    "user_id": "guest", "app_id": "a", "cluster_id": "x",
}  # fmt: skip


class Step(NamedTuple):
    """One request: the route's path with names in it, and names other than usual. `media` is sent as it is."""

    method: str
    path: str
    body: Any = None
    names: dict[str, str] = {}  # noqa: RUF012
    media: str = "application/json"


def put(path: str, body: Any = None, **names: str) -> Step:
    return Step("PUT", path, body, names)


def post(path: str, body: Any = None, **names: str) -> Step:
    return Step("POST", path, body, names)


def delete(path: str, **names: str) -> Step:
    return Step("DELETE", path, None, names)


_QUEUE, _EXCHANGE = "/api/queues/{vhost}/{name}", "/api/exchanges/{vhost}/{exchange}"
_BIND = "/api/bindings/{vhost}/e/{source}/{kind}/{destination}"
_MESSAGES = "/api/leveret/queues/{vhost}/{name}"
_CTL = "/api/leveret/ctl"
_USER = {
    "password": "secret", "tags": ["management"], "limits": {"max-channels": 5}, "hashing_algorithm": "rabbit_password_hashing_sha512",
    "permissions": {"/": GRANT},
}  # fmt: skip
_MESSAGE = {"routing_key": "eu.x", "payload": "aGVsbG8=", "payload_encoding": "base64", "properties": PUBLISHED}
_UPLOADS = ("definitions", "definitions/{vhost}", "all-configuration")
_FORM = b"""--x\r
Content-Disposition: form-data; name="file"\r
\r
{}\r
--x\r
Content-Disposition: form-data; name="redirect"\r
\r
/done\r
--x--\r
"""

MAKING = (
    put("/api/vhosts/{vhost}", {"description": "d", "tags": "a,b", "default_queue_type": "classic", "tracing": False}),
    put("/api/vhosts/{vhost}", {"tags": ["a"], "defaultqueuetype": "undefined", "protected_from_deletion": False}),
    put("/api/permissions/{vhost}/{user}", GRANT, user="guest"),
    put("/api/users/{user}", _USER),
    put("/api/users/{user}", {"administrator": False, "password_hash": ""}),
    put("/api/permissions/{vhost}/{user}", GRANT),
    put("/api/topic-permissions/{vhost}/{user}", {"exchange": "amq.topic", "write": ".*", "read": ".*"}),
    put("/api/topic-permissions/{vhost}/{user}", {"exchange": "amq.topic", "write": "^a", "read": ".*"}),
    delete("/api/topic-permissions/{vhost}/{user}"),
    put("/api/topic-permissions/{vhost}/{user}/{exchange}", {"exchange": "trades", "write": ".*", "read": ".*"}),
    put("/api/topic-permissions/{vhost}/{user}/{exchange}", {"exchange": "trades", "write": "^a", "read": ".*"}),
    put(_QUEUE, {"durable": True, "auto_delete": False, "arguments": {"x-max-priority": 3}, "node": ""}),
    put(_QUEUE, {"passive": True}),
    put(_QUEUE, {"durable": True, "arguments": {"x-queue-type": "quorum"}}, name="quorum"),
    put(_QUEUE, {}, name="busy"),
    put(_EXCHANGE, {"type": "topic", "durable": True, "auto_delete": False, "internal": False, "arguments": {"a": 1}, "node": ""}),
    put(_EXCHANGE, {"passive": True}),
    put(_EXCHANGE, {"type": "x-delayed-message", "arguments": {"x-delayed-type": "direct"}}, exchange="later"),
    post(_BIND, {"routing_key": "eu.#", "arguments": {}}),
    post(_BIND, {"routing_key": "us.#", "arguments": {"a": 1}}, destination="quorum"),
    put("/api/policies/{vhost}/{name}", {"pattern": "^work$", "definition": {"max-length": 1000}}),
    put("/api/policies/{vhost}/{name}", {"pattern": ".*", "definition": {"max-length": 9}, "priority": 1, "apply-to": "classic_queues"}),
    put("/api/policies/{vhost}/{name}", {"pattern": "^t", "definition": {"alternate-exchange": "amq.fanout"}}, name="x"),
    put("/api/operator-policies/{vhost}/{name}", {"pattern": "^work$", "definition": {"expires": 9_000_000}}),
    put("/api/operator-policies/{vhost}/{name}", {"pattern": "^w", "definition": {"expires": 9_000_000}, "priority": 2, "apply-to": "all"}),
    put("/api/parameters/{component}/{vhost}/{name}", {"value": {"uri": "amqp://elsewhere"}}),
    put("/api/parameters/{component}/{vhost}/{name}", {"value": {"uri": "amqp://there"}}),
    put("/api/global-parameters/{name}", {"value": "festina lente"}),
    put("/api/global-parameters/{name}", {"value": [1, None]}),
    put("/api/cluster-name", {"name": "the-scene"}),
    put("/api/vhost-limits/{vhost}/{name}", {"value": 50}),
    put("/api/user-limits/{user}/{name}", {"value": 50}),
    put("/api/feature-flags/{name}/enable"),
    post(f"{_EXCHANGE}/publish", _MESSAGE),
    post(f"{_EXCHANGE}/publish", _MESSAGE | {"payload": "hello", "payload_encoding": "string", "properties": {}}),
    post(f"{_QUEUE}/get", {"ackmode": "ack_requeue_true", "count": 2, "encoding": "auto", "truncate": 3}),
    post(f"{_QUEUE}/actions", {"action": "sync"}),
    post(f"{_MESSAGES}/move", {"to_queue": "busy", "count": 1, "copy": True}),
    post(f"{_MESSAGES}/move", {"to_exchange": "amq.direct", "routing_key": "nowhere", "count": 1}),
    post(f"{_MESSAGES}/replay", {"to_queue": True, "strip_history": False, "ids": [1], "copy": False}),
    post("/api/definitions", {"queues": [{"vhost": VHOST, "name": "defined", "durable": True, "auto_delete": False, "arguments": {}}]}),
    post("/api/definitions/{vhost}", {"queues": []}),
    post("/api/all-configuration", {}),
    *(Step("POST", f"/api/{path}", _FORM, media="multipart/form-data; boundary=x") for path in _UPLOADS),
    post("/api/login", b"username=guest&password=guest")._replace(media="application/x-www-form-urlencoded"),
    post("/api/leveret/hash-password", {"password": "secret"}),
    post("/api/vhosts/{vhost}/start/{node}"),
    post("/api/vhosts/{vhost}/deletion/protection"),
    delete("/api/vhosts/{vhost}/deletion/protection"),
    post("/api/rebalance/queues"),
    put(f"{_CTL}/users/{{user}}/password", {"password": "another"}),
    put(f"{_CTL}/users/{{user}}/tags", {"tags": ["monitoring"]}),
    post(f"{_CTL}/users/{{user}}/authenticate", {"password": "another"}),
    delete(f"{_CTL}/users/{{user}}/password"),
    put(f"{_CTL}/environment/{{application}}/{{variable}}", {"value": 1_800_000}),
    put(f"{_CTL}/memory-high-watermark", {"absolute": 1 << 40}),
    put(f"{_CTL}/memory-high-watermark", {"relative": 0.9}),
    put(f"{_CTL}/disk-free-limit", {"mem_relative": 0}),
    put(f"{_CTL}/disk-free-limit", {"absolute": 1}),
    put(f"{_CTL}/log-level", {"level": "info"}),
    post(f"{_CTL}/rotate-logs"),
    post(f"{_CTL}/collect-garbage"),
    put(f"{_CTL}/vhosts/{{vhost}}/tracing"),
    delete(f"{_CTL}/vhosts/{{vhost}}/tracing"),
)  # fmt: skip
"""Statuses are those that are documented, each at least once."""

UNMAKING = (
    delete("/api/reset"),
    delete("/api/reset/{node}"),
    delete("/api/auth/attempts/{node}"),
    delete("/api/auth/attempts/{node}/source"),
    delete("/api/connections/username/{user}", user="nobody"),
    delete("/api/connections/{connection}"),
    delete("/api/bindings/{vhost}/e/{source}/{kind}/{destination}/{properties_key}"),
    delete(f"{_QUEUE}/contents"),
    delete(_QUEUE),
    delete(_EXCHANGE),
    delete("/api/policies/{vhost}/{name}"),
    delete("/api/operator-policies/{vhost}/{name}"),
    delete("/api/parameters/{component}/{vhost}/{name}"),
    delete("/api/global-parameters/{name}"),
    delete("/api/vhost-limits/{vhost}/{name}"),
    delete("/api/user-limits/{user}/{name}"),
    delete("/api/topic-permissions/{vhost}/{user}/{exchange}"),
    delete("/api/permissions/{vhost}/{user}"),
    post("/api/users/bulk-delete", {"users": ["nobody"]}),
    delete("/api/users/{user}"),
    delete("/api/vhosts/{vhost}"),
    post(f"{_CTL}/suspend"),
    post(f"{_CTL}/reset"),
    post(f"{_CTL}/resume"),
    post(f"{_CTL}/stop"),
)


class Scene:
    """A broker with one of everything, and the names of what only it can name."""

    def __init__(self, broker: Served) -> None:
        self.broker = broker
        self.names = dict(NAMES)

    def path(self, path: str, **names: str) -> str:
        """A route's path with names in it."""
        others = next((each for prefix, each in OTHER_NAMES.items() if path.startswith(prefix)), {})
        for name, value in (self.names | others | names).items():
            path = path.replace(f"{{{name}}}", quote(value, safe=""))
        return path

    @contextlib.contextmanager
    def clients(self) -> Iterator[None]:
        """With a connection, three channels, consumers of each kind, and an exclusive queue."""
        credentials = pika.PlainCredentials("guest", "guest")
        parameters = pika.ConnectionParameters(
            self.broker.host, self.broker.port, VHOST, credentials, client_properties={"connection_name": "the client"}
        )
        connection = pika.BlockingConnection(parameters)
        with self.broker.api() as api:
            consuming, confirming, committing = (connection.channel() for _ in range(3))
            confirming.confirm_delivery()
            committing.tx_select()
            self._consume(consuming)
            for _ in range(3):
                confirming.basic_publish("trades", "eu.x", b"hello")
            consuming.connection.process_data_events(0)
            soon(lambda: api.get(f"/api/queues/{VHOST}/busy")["messages_unacknowledged"] == 1, what="a message that somebody has")
            connections, channels = api.get("/api/connections"), api.get("/api/channels")
            self.names |= {"node": api.get("/api/overview")["node"], "port": str(self.broker.port)}
            self.names |= {"connection": connections[0]["name"], "channel": channels[0]["name"]}
            yield
        with contextlib.suppress(pika.exceptions.AMQPError):  # it may have been closed over HTTP
            connection.close()

    @staticmethod
    def _consume(channel: BlockingChannel) -> None:
        channel.queue_declare("private", exclusive=True)
        channel.queue_declare("one-by-one", arguments={"x-single-active-consumer": True})
        for tag in ("first", "second"):
            channel.basic_consume("one-by-one", lambda *_: None, consumer_tag=tag)
        channel.basic_consume("private", lambda *_: None, exclusive=True, arguments={"x-priority": 1})
        channel.basic_qos(prefetch_count=1)
        channel.basic_consume("busy", lambda *_: None)
        channel.basic_publish("", "busy", b"hello")
