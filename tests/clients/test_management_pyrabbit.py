"""pyrabbit2, which sends `[]` for no arguments and null for no routing key."""

from collections.abc import Iterator

import pika
import pytest
from pyrabbit2.api import Client
from pyrabbit2.http import HTTPError

from tests.admin.brokers import Managed
from tests.runtime.process import soon

VHOST = "py-rabbit"


@pytest.fixture
def client(managed: Managed) -> Iterator[Client]:
    client = Client(f"{managed.host}:{managed.http_port}", "guest", "guest")
    client.create_vhost("py-rabbit")
    client.set_vhost_permissions("py-rabbit", "guest", ".*", ".*", ".*")
    yield client
    client.delete_vhost("py-rabbit")


def test_the_broker(client: Client) -> None:
    assert client.is_alive()
    assert client.get_whoami()["name"] == "guest"
    overview = client.get_overview()
    assert [node["name"] for node in client.get_nodes()] == [overview["node"]]
    assert VHOST in client.get_vhost_names()
    assert client.get_vhost("py-rabbit")["name"] == VHOST
    assert client.get_cluster_name().keys() == {"name"}
    assert client.get_definitions()["rabbit_version"] == overview["rabbitmq_version"]
    assert client.get_all_shovels() == []
    client.delete_queue("/", "aliveness-test")


def test_users(client: Client) -> None:
    client.create_user("py-user", "secret", tags="management")
    assert "py-user" in [user["name"] for user in client.get_users()]
    client.set_vhost_permissions("py-rabbit", "py-user", "^a", "^b", "^c")
    assert client.get_permission("py-rabbit", "py-user") == {
        "user": "py-user",
        "vhost": VHOST,
        "configure": "^a",
        "read": "^b",
        "write": "^c",
    }
    assert len(client.get_user_permissions("py-user")) == 1
    assert len(client.get_vhost_permissions("py-rabbit")) == 2
    assert len(client.get_permissions()) >= 3
    client.delete_permission("py-rabbit", "py-user")
    client.delete_user("py-user")


def test_exchanges_queues_and_messages(client: Client) -> None:
    client.create_exchange(VHOST, "x", "topic")
    client.create_queue(VHOST, "q", durable=True)
    assert client.get_exchange(VHOST, "x")["arguments"] == {}
    assert len(client.get_exchanges(VHOST)) == 8
    assert client.get_queue(VHOST, "q")["durable"] is True
    client.create_binding(VHOST, "x", "q", "a.b")
    client.create_binding(VHOST, "amq.fanout", "q", "")
    assert len(client.get_queue_bindings(VHOST, "q")) == 3
    assert client.publish(VHOST, "x", "a.b", "payload") is True
    assert client.publish(VHOST, "x", "elsewhere", "payload") is False
    soon(lambda: client.get_queue(VHOST, "q").get("messages") == 1, what="the queue's depth")
    assert client.get_queue_depth(VHOST, "q") == 1
    assert soon(lambda: client.get_queues(VHOST, pattern="q"), what="the queue")[0]["name"] == "q"
    (message,) = client.get_messages(VHOST, "q", requeue=True)
    assert (message["payload"], message["payload_bytes"], message["properties"]) == ("payload", 7, [])
    client.purge_queue(VHOST, "q")
    assert client.get_messages(VHOST, "q") == []
    client.delete_binding(VHOST, "x", "q", "a.b")
    assert len(client.get_queue_bindings(VHOST, "q")) == 2
    client.create_policy("py-rabbit", "p", pattern="^q", definition={"max-length": 5})
    assert client.get_policy("py-rabbit", "p")["definition"] == {"max-length": 5}
    client.delete_policy("py-rabbit", "p")
    client.delete_queue(VHOST, "q")
    client.delete_exchange(VHOST, "x")
    with pytest.raises(HTTPError) as missing:
        client.get_queue(VHOST, "q")
    assert missing.value.status == 404


def test_connections(client: Client, managed: Managed) -> None:
    parameters = pika.ConnectionParameters(managed.host, managed.port, VHOST)
    with pika.BlockingConnection(parameters) as connection:
        connection.channel()
        mine = soon(lambda: [each for each in client.get_connections() or [] if each["vhost"] == VHOST], what="the connection")[0]
        assert mine["client_properties"]["product"] == "Pika Python Client Library"
        assert client.get_connection(mine["name"])["peer_host"] == managed.host
        soon(lambda: [each for each in client.get_channels() or [] if each["vhost"] == VHOST], what="the channel")
        assert client.get_channel(f"{mine['name']} (1)")["number"] == 1
        client.delete_connection(mine["name"])
        with pytest.raises(pika.exceptions.ConnectionClosedByBroker, match="320"):
            connection.process_data_events(time_limit=10)
