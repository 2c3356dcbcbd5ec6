"""Lists of what is alive: connections, channels, consumers, queues with messages; and closing connections."""

from collections.abc import Iterator
from typing import Any

import pika
import pytest

from tests.cli.conftest import Served
from tests.wire import eventually


@pytest.fixture
def client(served: Served) -> Iterator[pika.BlockingConnection]:
    """With a queue of three messages, one that is being consumed, and one of its own."""
    properties = {"connection_name": "loader"}
    connection = pika.BlockingConnection(pika.ConnectionParameters(served.host, served.port, client_properties=properties))
    channel = connection.channel()
    channel.queue_declare("q1", durable=True, arguments={"x-max-length": 1000})
    channel.queue_declare("q2", auto_delete=True)
    channel.queue_declare("excl", exclusive=True)
    for number in range(3):
        channel.basic_publish("", "q1", b"hello %d" % number, pika.BasicProperties(delivery_mode=2, timestamp=1_700_000_000))
    channel.basic_publish("", "q2", b"x")
    channel.basic_qos(prefetch_count=7)
    channel.basic_consume("q2", lambda *_: None, consumer_tag="tag1", arguments={"x-priority": 5})
    channel.basic_consume("excl", lambda *_: None, auto_ack=True, consumer_tag="tag2")
    connection.channel().confirm_delivery()
    yield connection
    if connection.is_open:
        connection.close()
    served.call("rabbitmqctl", "delete_queue", "q1")


def rows(served: Served, *words: str) -> list[list[str]]:
    """What a list has below its header."""
    done = served.call("rabbitmqctl", "-s", *words)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return sorted(line.split("\t") for line in done.stdout.splitlines())


def port_of(client: pika.BlockingConnection) -> int:
    port: int = client._impl._transport._sock.getsockname()[1]
    return port


def test_connections(served: Served, client: pika.BlockingConnection) -> None:
    name = f"127.0.0.1:{port_of(client)} -> 127.0.0.1:{served.port}"
    columns = (
        "name port host peer_port peer_host ssl ssl_protocol peer_cert_subject state channels protocol auth_mechanism user vhost timeout"
    )
    expected = [
        name, str(served.port), "127.0.0.1", str(port_of(client)), "127.0.0.1", "false", "", "", "running", "2", "{0,9,1}", "PLAIN",
        "guest", "/", "60",
    ]  # fmt: skip
    assert rows(served, "list_connections", *columns.split()) == [expected]
    assert rows(served, "list_connections") == [["guest", "127.0.0.1", str(port_of(client)), "running"]]


def test_client_properties_are_shown_as_erlang_prints_them(served: Served, client: pika.BlockingConnection) -> None:
    ((shown,),) = rows(served, "list_connections", "client_properties")
    assert shown.startswith('[{"product","Pika Python Client Library"},') and '{"connection_name","loader"}' in shown
    assert '{"capabilities",[{"authentication_failure_close",true},' in shown


def test_channels(served: Served, client: pika.BlockingConnection) -> None:
    columns = "number user vhost transactional confirm consumer_count messages_unacknowledged messages_unconfirmed prefetch_count"
    eventually(lambda: rows(served, "list_channels", *columns.split())[0][6] == "1")
    assert rows(served, "list_channels", *columns.split()) == [
        ["1", "guest", "/", "false", "false", "2", "1", "0", "7"],
        ["2", "guest", "/", "false", "true", "0", "0", "0", "0"],
    ]


def test_consumers(served: Served, client: pika.BlockingConnection) -> None:
    columns = "queue_name consumer_tag ack_required prefetch_count active activity_status arguments"
    assert rows(served, "list_consumers", *columns.split()) == [
        ["excl", "tag2", "false", "7", "true", "up", "[]"],
        ["q2", "tag1", "true", "7", "true", "up", '[{"x-priority",5}]'],
    ]


def test_a_pid_is_the_same_wherever_it_stands(served: Served, client: pika.BlockingConnection) -> None:
    ((connection,),) = rows(served, "list_connections", "pid")
    assert connection.startswith(f"<{served.node}.") and connection.endswith(".0>")
    assert {owner for _, owner in rows(served, "list_channels", "pid", "connection")} == {connection}
    channel = rows(served, "list_channels", "number", "pid")[0][1]
    assert {pid for _, pid in rows(served, "list_consumers", "consumer_tag", "channel_pid")} == {channel}
    assert rows(served, "list_queues", "name", "owner_pid")[0] == ["excl", connection]


def test_queues_with_messages(served: Served, client: pika.BlockingConnection) -> None:
    columns = "name messages messages_ready messages_persistent message_bytes head_message_timestamp consumers exclusive arguments"
    assert rows(served, "list_queues", *columns.split())[1] == [
        "q1", "3", "3", "3", "21", "1700000000", "0", "false", '[{"x-max-length",1000}]',
    ]  # fmt: skip
    assert served.call("rabbitmqctl", "delete_queue", "q1", "--if-empty").stderr == "Error:\nQueue is not empty\n"
    assert served.call("rabbitmqctl", "delete_queue", "q2", "--if-unused").stderr == "Error:\nQueue is in use\n"
    done = served.call("rabbitmqctl", "-q", "delete_queue", "q1")
    assert done.stdout == "Queue was successfully deleted with 3 ready messages\n"


def test_purge(served: Served, client: pika.BlockingConnection) -> None:
    assert served.call("rabbitmqctl", "-q", "purge_queue", "q1").returncode == 0
    assert rows(served, "list_queues", "name", "messages")[1] == ["q1", "0"]


def test_a_connection_is_closed_by_its_pid_and_told_why(served: Served, client: pika.BlockingConnection) -> None:
    ((pid,),) = rows(served, "list_connections", "pid")
    done = served.call("rabbitmqctl", "close_connection", pid, "go away")
    assert (done.returncode, done.stdout) == (0, f"Closing connection {pid}, reason: go away...\n")
    assert "go away" in closed(client)
    eventually(lambda: rows(served, "list_connections") == [])


def test_all_connections_are_closed(served: Served, client: pika.BlockingConnection) -> None:
    done = served.call("rabbitmqctl", "close_all_connections", "--global", "maintenance")
    assert done.stdout.splitlines()[-1] == "Closed 1 connections"
    assert "maintenance" in closed(client)


def closed(client: pika.BlockingConnection) -> str:
    """Why the broker closed it."""
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as refused:
        serve(client)
    reason: Any = refused.value.reply_text
    return str(reason)


def serve(client: pika.BlockingConnection) -> None:
    """Until something is raised."""
    while True:
        client.process_data_events(time_limit=5)


def test_peek_leaves_the_message_where_it_is(served: Served, client: pika.BlockingConnection) -> None:
    channel = client.channel()
    channel.queue_declare("quorum", durable=True, arguments={"x-queue-type": "quorum"})
    channel.basic_publish("", "quorum", b"hello", pika.BasicProperties(content_type="text/plain", headers={"a": 1}))
    for _ in range(2):
        done = served.call("rabbitmq-queues", "peek", "quorum", "1", "--formatter", "json")
        assert done.stdout == (
            '{"message":{"content_type":"text/plain","exchange":"","header.a":1,"header.x-delivery-count":0,'
            '"payload (max 64 bytes)":"hello","routing_keys":["quorum"]},"result":"ok"}\n'
        )
    assert served.call("rabbitmq-queues", "peek", "q1", "1").stderr == "Error:\nCannot peek into a classic queue\n"
    channel.queue_delete("quorum")
