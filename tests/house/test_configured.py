"""A broker as rabbitmq.conf and the official image's variables configure it: a real process, and real clients."""

import ssl
from pathlib import Path

import pika
import pytest

from tests.oracle.leveret import Leveret
from tests.runtime.certificates import Authority

CONF = """
listeners.ssl.1 = 127.0.0.1:0
ssl_options.certfile = {certificate}
ssl_options.keyfile = {certificate}
ssl_options.cacertfile = {ca}
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
auth_mechanisms.1 = PLAIN
auth_mechanisms.2 = EXTERNAL
ssl_cert_login_from = common_name
default_users.hare.tags = monitoring
default_users.hare.vhost_pattern = ^orders
default_users.alice.password = $(ALICE)
default_users.alice.vhost_pattern = (?<name>orders)
default_limits.vhosts.1.max_queues = 1
default_queue_type = quorum
channel_max = 7
connection_max = 5
"""


@pytest.fixture
def broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Leveret:
    """Configured by a file, files beside it, secrets in files and variables."""
    authority = Authority(tmp_path)
    (tmp_path / "more").mkdir()
    (tmp_path / "rabbitmq.conf").write_text("channel_max = 3\nheartbeat = 33\n", encoding="utf-8")
    (tmp_path / "more" / "10-tls.conf").write_text(CONF.format(certificate=authority.server("server"), ca=authority.file), encoding="utf-8")
    (tmp_path / "pass").write_text("carrots\n", encoding="utf-8")
    authority.client("hare")
    for name, value in {
        "RABBITMQ_CONFIG_FILE": str(tmp_path / "rabbitmq"),
        "RABBITMQ_CONFIG_FILES": str(tmp_path / "more"),
        "RABBITMQ_NODENAME": "warren@eu",
        "RABBITMQ_DEFAULT_USER": "owner",
        "RABBITMQ_DEFAULT_PASS_FILE": str(tmp_path / "pass"),
        "RABBITMQ_DEFAULT_VHOST": "orders",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-rabbit consumer_timeout 36000000",
        "ALICE": "in wonderland",
    }.items():
        monkeypatch.setenv(name, value)
    return Leveret()


def connected(port: int, user: str, password: str, **more: object) -> pika.BlockingConnection:
    credentials = pika.PlainCredentials(user, password)
    return pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port, "orders", credentials, **more))


def test_what_is_configured_is_what_clients_meet(broker: Leveret, tmp_path: Path) -> None:
    with broker:
        files = f"{tmp_path / 'rabbitmq.conf'}, {tmp_path / 'more' / '10-tls.conf'}"
        assert f"configuration read from {files}\n" in broker.log
        owner = connected(broker.port, "owner", "carrots")
        implementation = owner._impl
        assert implementation.server_properties["cluster_name"] == "warren@eu"
        assert (implementation.params.channel_max, implementation.params.heartbeat) == (7, 33)
        channel = owner.channel()
        channel.queue_declare("q", durable=True)
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="queue limit in vhost 'orders'"):
            channel.queue_declare("second", durable=True)
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="x-queue-type"):  # it is a quorum queue
            owner.channel().queue_declare("q", durable=True, arguments={"x-queue-type": "classic"})
        connected(broker.port, "alice", "in wonderland").close()
        port = int(broker.wait_for_log(r"started TLS").rpartition(":")[2])
        context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
        context.load_cert_chain(tmp_path / "client-hare.pem")
        credentials = pika.credentials.ExternalCredentials()
        options = pika.SSLOptions(context, "localhost")
        parameters = pika.ConnectionParameters("127.0.0.1", port, "orders", credentials, ssl_options=options)
        pika.BlockingConnection(parameters).close()
        owner.close()
        assert "carrots" not in broker.log and "wonderland" not in broker.log
