"""A broker that is configured as people do it: variables of a compose file, a file, `--host ::`. Real processes, real clients."""

import re
import socket
import ssl
from pathlib import Path

import pika
import pytest

from tests.house.test_serve import Served
from tests.runtime.certificates import Authority


def port_of(broker: Served, address: str) -> int:
    found = re.search(rf"{re.escape(address)}:(\d+)", "".join(broker.lines))
    assert found is not None, broker.lines
    return int(found[1])


def connect(host: str, port: int, user: str, password: str, vhost: str = "/") -> pika.BlockingConnection:
    credentials = pika.PlainCredentials(user, password)
    return pika.BlockingConnection(pika.ConnectionParameters(host, port, vhost, credentials, socket_timeout=10))


def server_properties(connection: pika.BlockingConnection) -> dict[str, object]:
    properties: dict[str, object] = connection._impl.server_properties
    return properties


def test_a_compose_files_variables(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    variables = {
        "RABBITMQ_DEFAULT_USER": "alice", "RABBITMQ_DEFAULT_PASS_FILE": str(secret), "RABBITMQ_DEFAULT_VHOST": "orders",
        "RABBITMQ_NODENAME": "rabbit@hare", "RABBITMQ_NODE_PORT": "0", "RABBITMQ_MNESIA_BASE": str(tmp_path),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-rabbit heartbeat 11 -kernel net_ticktime 5",
    }  # fmt: skip
    with Served(**variables) as broker:
        with connect("127.0.0.1", port_of(broker, "127.0.0.1"), "alice", "s3cret", "orders") as connection:
            assert server_properties(connection)["cluster_name"] == "rabbit@hare"
        text = "".join(broker.lines)
    assert (tmp_path / "rabbit@hare").is_dir()
    assert "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: Leveret goes on without -kernel" in text
    assert "s3cret" not in text


def test_a_configuration_file_as_a_chart_writes_it(tmp_path: Path) -> None:
    conf = tmp_path / "rabbitmq.conf"
    conf.write_text(
        "listeners.tcp.1 = 127.0.0.1:0\ncluster_name = eu\ndefault_users.bob.password = b\nauth_mechanisms.1 = PLAIN\n"
        "default_users.bob.vhost_pattern = ^/$\ncluster_partition_handling = autoheal\nqueue_master_locator = min-masters\n"
    )
    with (
        Served("--config", str(conf), "--memory") as broker,
        connect("127.0.0.1", port_of(broker, "127.0.0.1"), "bob", "b") as connection,
    ):
        assert server_properties(connection)["cluster_name"] == "eu"
        assert any("cluster_partition_handling" in line and "[warning]" in line for line in broker.lines)


def test_tls_by_a_configuration_file(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = authority.server("server")
    (tmp_path / "rabbitmq.conf").write_text(
        f"listeners.tcp = none\nlisteners.ssl.1 = 127.0.0.1:0\nssl_options.certfile = {server}\nssl_options.keyfile = {server}\n"
        "ssl_options.versions.1 = tlsv1.3\n"
    )
    with Served("--memory", RABBITMQ_CONFIG_FILE=str(tmp_path / "rabbitmq")) as broker:
        context = ssl.create_default_context(cafile=str(authority.file))
        port = port_of(broker, "127.0.0.1")
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as tls,
        ):
            tls.sendall(b"AMQP\x00\x00\x09\x01")
            assert tls.recv(1) == b"\x01"
            assert tls.version() == "TLSv1.3"


@pytest.mark.parametrize("arguments", [("--host", "::"), ("--host", "*")])
def test_every_address_is_both_families(arguments: tuple[str, ...]) -> None:
    with Served(*arguments, "--port", "0", "--memory") as broker:
        for host in ("127.0.0.1", "::1"):
            connect(host, port_of(broker, "0.0.0.0"), "guest", "guest").close()
        assert port_of(broker, "[::]") == port_of(broker, "0.0.0.0")
