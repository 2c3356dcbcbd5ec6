"""Looking into queues, moving, replaying and explaining routes over HTTP, on a broker as its users run it."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from http.client import HTTPConnection
from socket import create_connection
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import pika
import pytest
from pika.exceptions import AMQPError

from tests.oracle.leveret import Leveret
from tests.oracle.rabbitmq import free_port
from tests.wire import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pika.adapters.blocking_connection import BlockingChannel

ADMINISTRATOR = "guest:guest"
READER = "reader:secret"
"""May read `a-...` and write to `b-...` and the default exchange."""


class Api:
    """What curl would do."""

    def __init__(self, port: int) -> None:
        self._port = port

    def call(self, method: str, path: str, body: Any = None, *, user: str = ADMINISTRATOR, **query: Any) -> tuple[int, Any]:
        """Status, and the JSON that came."""
        where = f"/api/{path}?{urlencode(query)}" if query else f"/api/{path}"
        headers = {"Authorization": "Basic " + base64.b64encode(user.encode()).decode()}
        connection = HTTPConnection("127.0.0.1", self._port, timeout=30)
        connection.request(method, where, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, json.loads(text) if text else None

    def look(self, queue: str, **query: Any) -> Any:
        status, found = self.call("GET", f"leveret/queues/%2F/{quote(queue, '')}/messages", **query)
        assert status == 200, found
        return found

    def bodies(self, queue: str, **query: Any) -> list[str]:
        return [item["payload"] for item in self.look(queue, **query)["items"]]

    def move(self, queue: str, what: str = "move", **body: Any) -> Any:
        status, found = self.call("POST", f"leveret/queues/%2F/{quote(queue, '')}/{what}", body)
        assert status == 200, found
        return found


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Leveret]:
    directory: Path = tmp_path_factory.mktemp("inspected")
    port = free_port()
    (directory / "broker.conf").write_text(f"management.tcp.port = {port}\nmanagement.tcp.ip = 127.0.0.1\n")
    with Leveret(directory / "data", arguments=("--config", str(directory / "broker.conf"))) as served:
        served.http_port = port  # type: ignore[attr-defined]
        api = Api(port)
        assert api.call("PUT", "users/reader", {"password": "secret", "tags": "management"})[0] == 201
        rights = {"configure": "", "write": "^(b-.*|amq\\.default)$", "read": "^a-.*"}
        assert api.call("PUT", "permissions/%2F/reader", rights)[0] == 201
        yield served


@pytest.fixture
def api(broker: Leveret) -> Api:
    return Api(broker.http_port)  # type: ignore[attr-defined]


@pytest.fixture
def amqp(broker: Leveret) -> Iterator[BlockingChannel]:
    """A client's channel; queues that it declares with `declare` are gone afterwards."""
    connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", broker.port))
    yield connection.channel()
    with suppress(AMQPError):  # the broker may have been killed
        connection.close()


@pytest.fixture
def queues(api: Api, amqp: BlockingChannel) -> Iterator[tuple[str, str]]:
    """A queue with five messages, and an empty one."""
    for name in ("a-full", "b-empty"):
        amqp.queue_declare(name, durable=True)
    for body in "12345":
        properties = pika.BasicProperties(headers={"number": int(body)}, delivery_mode=2)
        amqp.basic_publish("", "a-full", body.encode(), properties)
    yield "a-full", "b-empty"
    for name in ("a-full", "b-empty"):
        assert api.call("DELETE", f"queues/%2F/{name}")[0] == 204


def test_a_look_takes_nothing(api: Api, amqp: BlockingChannel, queues: tuple[str, str]) -> None:
    for _ in range(2):
        found = api.look("a-full", limit=2, offset=1)
        assert (found["messages_ready"], found["messages_unacknowledged"], found["examined"], found["is_at_end"]) == (5, 0, 2, False)
        item = found["items"][0]
        number = item.pop("id")
        assert isinstance(number, int)
        assert item == {
            "position": 1,
            "redelivered": False,
            "delivery_count": 0,
            "exchange": "",
            "routing_key": "a-full",
            "properties": {"headers": {"number": 2}, "delivery_mode": 2},
            "payload_bytes": 1,
            "is_truncated": False,
            "is_on_disk": False,
            "payload": "2",
            "payload_encoding": "string",
        }
    method, _, body = amqp.basic_get("a-full", auto_ack=True)
    assert method is not None and (method.redelivered, body) == (False, b"1")
    assert api.bodies("a-full", filter="number=4") == ["4"]
    assert api.bodies("a-full", encoding="base64", limit=1) == ["Mg=="]
    assert api.look("a-full", truncate=0)["items"][0]["is_truncated"] is True


def test_what_is_unacked_is_with_somebody(api: Api, amqp: BlockingChannel, queues: tuple[str, str]) -> None:
    method, _, _ = amqp.basic_get("a-full")
    assert method is not None
    (item,) = api.look("a-full", state="unacked")["items"]
    held = item["held_by"]
    assert (item["payload"], held["user"], held["channel"], held["consumer_tag"], held["delivery_tag"]) == ("1", "guest", 1, None, 1)
    assert " -> 127.0.0.1:" in held["connection"] and held["since"] > 1_700_000_000_000
    amqp.basic_nack(method.delivery_tag)
    assert amqp.queue_declare("a-full", passive=True).method.message_count == 5
    assert [(item["payload"], item["redelivered"]) for item in api.look("a-full", limit=2)["items"]] == [("1", True), ("2", False)]


def test_messages_are_moved_copied_and_chosen(api: Api, queues: tuple[str, str]) -> None:
    assert api.move("a-full", to_queue="b-empty", count=2) == {
        "moved": 2,
        "moved_bytes": 2,
        "is_complete": True,
        "destinations": [{"exchange": "", "routing_key": "b-empty", "queue": "b-empty", "count": 2}],
        "left": [],
    }
    assert (api.bodies("a-full"), api.bodies("b-empty")) == (["3", "4", "5"], ["1", "2"])
    chosen = [item["id"] for item in api.look("a-full", filter="number=4")["items"]]
    found = api.move("a-full", to_exchange="amq.default", routing_key="b-empty", ids=[*chosen, 1 << 60], copy=True)
    assert (found["moved"], found["left"]) == (1, [{"reason": "not ready", "count": 1, "examples": []}])
    assert (api.bodies("a-full"), api.bodies("b-empty")) == (["3", "4", "5"], ["1", "2", "4"])
    found = api.move("a-full", to_exchange="amq.topic", routing_key="nobody")
    assert [(each["reason"], each["count"], len(each["examples"])) for each in found["left"]] == [("unroutable", 3, 3)]


def test_what_was_moved_is_there_after_a_crash(api: Api, broker: Leveret, queues: tuple[str, str]) -> None:
    api.move("a-full", to_queue="b-empty", count=3)
    broker.kill()
    broker.start()
    assert (api.bodies("a-full"), api.bodies("b-empty")) == (["4", "5"], ["1", "2", "3"])


def test_dead_letters_are_replayed(api: Api, amqp: BlockingChannel) -> None:
    amqp.exchange_declare("orders", "topic", auto_delete=True)
    amqp.queue_declare("work", durable=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"})
    amqp.queue_declare("dead", durable=True)
    amqp.queue_bind("work", "orders", "eu.#")
    amqp.basic_publish("orders", "eu.1", b"one")
    method, _, _ = amqp.basic_get("work")
    assert method is not None
    amqp.basic_reject(method.delivery_tag, requeue=False)
    amqp.basic_publish("", "dead", b"never died")
    found = api.move("dead", "replay", strip_history=True)
    assert found["destinations"] == [{"exchange": "orders", "routing_key": "eu.1", "queue": None, "count": 1}]
    assert [(each["reason"], each["count"]) for each in found["left"]] == [("no x-death", 1)]
    (item,) = api.look("work")["items"]
    assert (item["payload"], item["exchange"], item["routing_key"], item["properties"]) == ("one", "orders", "eu.1", [])
    for name in ("work", "dead"):
        amqp.queue_delete(name)


def test_a_route_is_explained(api: Api, amqp: BlockingChannel, queues: tuple[str, str]) -> None:
    amqp.exchange_declare("explained", "topic", auto_delete=True)
    amqp.queue_bind("a-full", "explained", "orders.*.eu")
    status, found = api.call("GET", "leveret/route", exchange="explained", routing_key="orders.new.eu")
    assert (status, found["routed"], found["verdict"], [each["name"] for each in found["queues"]]) == (
        200,
        True,
        "1 queue gets it.",
        ["a-full"],
    )
    assert found["steps"][0]["matched"][0]["why"] == "'orders.new.eu' fits 'orders.*.eu': * is 'new'"
    _, found = api.call("GET", "leveret/route", exchange="explained", routing_key="orders.new.us")
    assert found["verdict"].startswith("No queue gets it") and found["queues"] == []
    assert [(each["routing_key"], each["why"]) for each in found["nearest"]] == [
        ("orders.*.eu", "word 3 is 'us', and 'orders.*.eu' wants 'eu'")
    ]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "reason"),
    [
        ("GET", "leveret/queues/%2F/none/messages", None, 404, "Not Found"),
        ("GET", "leveret/queues/none/a-full/messages", None, 404, "Not Found"),
        ("GET", "leveret/queues/%2F/a-full/messages?limit=-1", None, 400, "limit: expected 0 to 1000, not -1"),
        ("GET", "leveret/queues/%2F/a-full/messages?offset=x", None, 400, "offset: expected a whole number, not 'x'"),
        ("GET", "leveret/queues/%2F/a-full/messages?state=x", None, 400, "state: expected ready or unacked"),
        ("POST", "leveret/queues/%2F/a-full/move", {}, 400, "expected either to_queue or to_exchange"),
        ("POST", "leveret/queues/%2F/a-full/move", {"to_queue": "none"}, 404, "no queue 'none' in vhost '/'"),
        ("POST", "leveret/queues/%2F/a-full/move", {"to_exchange": "none"}, 404, "no exchange 'none' in vhost '/'"),
        ("POST", "leveret/queues/%2F/a-full/move", {"to_queue": "b-empty", "ids": ["x"]}, 400, "ids: expected a list"),
        ("POST", "leveret/queues/%2F/a-full/move", {"to_queue": "b-empty", "count": -1}, 400, "count: expected a number"),
        ("GET", "leveret/route?exchange=none", None, 404, "no exchange 'none' in vhost '/'"),
        ("GET", f"leveret/route?routing_key={'k' * 256}", None, 400, "routing_key: expected 255 bytes at the most"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(
    api: Api, queues: tuple[str, str], method: str, path: str, body: Any, status: int, reason: str
) -> None:
    found, answer = api.call(method, path, body)
    assert found == status and answer["reason"].startswith(reason), answer
    assert api.bodies("a-full") == [*"12345"]


def test_a_client_that_goes_away_breaks_a_move_off(api: Api, broker: Leveret, queues: tuple[str, str]) -> None:
    source, target = queues
    for _ in range(11):
        assert api.call("POST", f"leveret/queues/%2F/{source}/move", {"to_queue": source, "copy": True})[0] == 200
    whole = 5 * 2**11

    def ready(name: str) -> int:
        count: int = api.look(name, limit=1)["messages_ready"]
        return count

    login = base64.b64encode(ADMINISTRATOR.encode()).decode()
    with create_connection(("127.0.0.1", broker.http_port), 10) as peer:  # type: ignore[attr-defined]
        body = json.dumps({"to_queue": target})
        head = f"POST /api/leveret/queues/%2F/{source}/move HTTP/1.1\r\nHost: here\r\nAuthorization: Basic {login}\r\n"
        peer.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        assert eventually(lambda: ready(target))
    # What is moved is there, and no more is while others are asked for: nobody works for who has gone.
    assert eventually(lambda: ready(target) == ready(target))
    moved = ready(target)
    assert 0 < moved < whole and moved + ready(source) == whole


def test_permissions_are_those_of_a_client(api: Api, queues: tuple[str, str]) -> None:
    """The default exchange may be written to, so a-full may be moved to a queue, but not through amq.fanout; b-empty may not be read."""
    path = "leveret/queues/%2F/{}/{}"
    assert api.call("GET", path.format("a-full", "messages"), user=READER)[0] == 200
    status, answer = api.call("GET", path.format("b-empty", "messages"), user=READER)
    assert (status, answer["reason"]) == (401, "read access to queue 'b-empty' in vhost '/' refused for user 'reader'")
    assert api.call("POST", path.format("b-empty", "move"), {"to_queue": "a-full"}, user=READER)[0] == 401
    status, answer = api.call("POST", path.format("a-full", "move"), {"to_exchange": "amq.fanout"}, user=READER)
    assert (status, answer["moved"], answer["left"][0]["reason"], answer["left"][0]["count"]) == (200, 0, "access refused", 5)
    status, answer = api.call("POST", path.format("a-full", "move"), {"to_queue": "b-empty"}, user=READER)
    assert (status, answer["moved"]) == (200, 5)


def test_an_exclusive_queue_is_only_looked_at(api: Api, amqp: BlockingChannel) -> None:
    name = amqp.queue_declare("", exclusive=True).method.queue
    amqp.basic_publish("", name, b"1")
    assert api.bodies(name) == ["1"]
    status, answer = api.call("POST", f"leveret/queues/%2F/{name}/move", {"to_queue": name})
    assert (status, answer["reason"]) == (400, f"queue '{name}' in vhost '/' is exclusive to a connection")
