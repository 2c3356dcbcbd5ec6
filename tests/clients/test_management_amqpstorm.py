"""AMQPStorm's client of the HTTP API. It raises for any status from 400 on, and for any object with a key `error`."""

from collections.abc import Iterator

import amqpstorm
import pytest
from amqpstorm.management import ApiError, ManagementApi

from tests.admin.brokers import Managed
from tests.runtime.process import soon

VHOST = "storm"


@pytest.fixture
def api(managed: Managed) -> Iterator[ManagementApi]:
    with ManagementApi(f"http://{managed.host}:{managed.http_port}", "guest", "guest") as api:
        api.virtual_host.create(VHOST)
        api.user.set_permission("guest", VHOST)
        yield api
    managed.http().ask("DELETE", f"/api/vhosts/{VHOST}")


def test_the_broker(api: ManagementApi, managed: Managed) -> None:
    assert api.aliveness_test("/") == {"status": "ok"}
    assert set(api.cluster_name()) == {"name"}
    (node,) = api.nodes()
    assert api.node(node["name"])["running"] is True
    assert api.overview()["node"] == node["name"]
    assert api.whoami()["tags"] == ["administrator"]
    assert api.healthchecks.get()["status"] == "ok"
    assert api.healthchecks.get(node["name"])["status"] == "ok"
    api.queue.delete("aliveness-test")


def test_users_and_vhosts(api: ManagementApi) -> None:
    api.user.create("storm-user", "secret", tags="monitoring")
    assert api.user.get("storm-user")["tags"] == ["monitoring"]
    assert {user["name"] for user in api.user.list()} >= {"guest", "storm-user"}
    api.user.set_permission("storm-user", VHOST, configure_regex="^a", write_regex="", read_regex=".*")
    expected = {"user": "storm-user", "vhost": VHOST, "configure": "^a", "write": "", "read": ".*"}
    assert api.user.get_permission("storm-user", VHOST) == expected
    assert api.user.get_permissions("storm-user") == [expected]
    assert expected in api.virtual_host.get_permissions(VHOST)
    api.user.delete_permission("storm-user", VHOST)
    api.user.delete("storm-user")
    with pytest.raises(ApiError) as missing:
        api.user.get("storm-user")
    assert missing.value.error_code == 404
    api.user.create("storm-1", "x")
    api.user.create("storm-2", "x")
    api.user.delete(["storm-1", "storm-2"])
    assert not {user["name"] for user in api.user.list()} & {"storm-1", "storm-2"}
    assert api.virtual_host.get(VHOST)["name"] == VHOST
    assert VHOST in [vhost["name"] for vhost in api.virtual_host.list()]


def test_exchanges_queues_and_bindings(api: ManagementApi) -> None:
    api.exchange.declare("x", "topic", virtual_host=VHOST, durable=True)
    assert api.exchange.get("x", VHOST)["type"] == "topic"
    assert len(api.exchange.list(VHOST, show_all=False)) == 8
    assert [exchange["name"] for exchange in api.exchange.list(VHOST, name="x")] == ["x"]
    for number in range(5):
        api.queue.declare(f"q-{number}", VHOST, durable=True)
    assert len(api.queue.list(VHOST, page_size=2)) == 5
    assert [queue["name"] for queue in api.queue.list(VHOST, name="^q-[34]$", use_regex=True)] == ["q-3", "q-4"]
    api.queue.bind("q-0", "x", "a.*", VHOST)
    api.exchange.bind("amq.fanout", "x", "b", VHOST)
    assert {binding["routing_key"] for binding in api.queue.bindings("q-0", VHOST)} == {"q-0", "a.*"}
    assert sorted(binding["destination"] for binding in api.exchange.bindings("x", VHOST)) == ["amq.fanout", "q-0"]
    api.queue.unbind("q-0", "x", "a.*", VHOST)
    api.exchange.unbind("amq.fanout", "x", "b", VHOST)
    assert api.exchange.bindings("x", VHOST) == []
    with pytest.raises(ApiError) as wrong:
        api.queue.declare("q-0", VHOST, durable=False)
    assert wrong.value.error_code == 400
    api.queue.delete("q-0", VHOST)
    api.exchange.delete("x", VHOST)


def test_messages(api: ManagementApi) -> None:
    api.queue.declare("q", VHOST)
    for number in range(3):
        published = api.basic.publish(
            f"message {number}", "q", virtual_host=VHOST, properties={"headers": {"number": number}, "delivery_mode": 2}
        )
        assert published == {"routed": True}
    (first,) = api.basic.get("q", VHOST, requeue=True)
    assert (first.body, first.properties["headers"]) == ("message 0", {"number": 0})
    assert [each["redelivered"] for each in api.basic.get("q", VHOST, to_dict=True, count=2)] == [True, False]
    api.queue.purge("q", VHOST)
    assert api.basic.get("q", VHOST) == []


def test_connections(api: ManagementApi, managed: Managed) -> None:
    with amqpstorm.Connection(managed.host, "guest", "guest", port=managed.port, virtual_host=VHOST) as connection:
        connection.channel()
        mine = soon(lambda: [each for each in api.connection.list() if each["vhost"] == VHOST], what="the connection")[0]
        assert mine["client_properties"]["product"] == "AMQPStorm"
        assert soon(lambda: [each for each in api.channel.list() if each["vhost"] == VHOST], what="the channel")[0]["number"] == 1
        assert api.connection.get(mine["name"])["user"] == "guest"
        assert api.channel.get(f"{mine['name']} (1)")["connection_details"]["name"] == mine["name"]
        api.connection.close(mine["name"], reason="told to")

        def closed() -> bool:
            try:
                connection.check_for_errors()
            except amqpstorm.AMQPConnectionError as error:
                return "told to" in str(error)
            return False

        soon(closed, what="the connection is closed")
