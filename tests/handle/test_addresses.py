"""What clients are given to connect with."""

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import kombu
import pika
import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker

from leveret import Broker
from leveret.testcontainers import RabbitMqContainer
from tests.runtime.certificates import Authority

NAME = "a/b c%41:@é?#"
"""Of a vhost: everything that has to be quoted in a URL (but for a `%2F` that means itself: aiormq takes that for a slash)."""


@pytest.fixture(scope="module")
def odd(server: Broker) -> Iterator[Broker]:
    with server.sandbox(NAME) as broker:
        yield broker


def test_every_client_finds_it(server: Broker, odd: Broker) -> None:
    assert server.url == f"amqp://guest:guest@127.0.0.1:{server.port}/%2F"
    assert odd.vhost == odd.user == NAME and odd.kombu_url == odd.url
    for broker in (server, odd):
        with pika.BlockingConnection(broker.pika_parameters(heartbeat=0)) as connection:
            assert connection._impl.params.heartbeat == 0
        with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
            assert connection.is_open
        with kombu.Connection(broker.url) as connection:
            connection.ensure_connection(max_retries=1)
        asyncio.run(connect(broker))


async def connect(broker: Broker, context: ssl.SSLContext | None = None) -> None:
    async with await aio_pika.connect(broker.url, ssl_context=context) as connection:
        channel = await connection.channel()
        await channel.declare_queue(exclusive=True)


def test_celery(sandbox: Broker) -> None:
    app = Celery("leveret_tests")
    app.conf.update(sandbox.celery_config(task_default_queue="work"))

    @app.task
    def double(number: int) -> int:
        return 2 * number

    with start_worker(app, perform_ping_check=False, loglevel="WARNING"):
        assert double.delay(21).get(timeout=10) == 42
        with pika.BlockingConnection(sandbox.pika_parameters()) as connection:
            assert connection.channel().queue_declare("work", passive=True).method.consumer_count == 1


def test_clients_over_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate = authority.server("server", "127.0.0.1")
    with Broker(tls={"certfile": certificate, "keyfile": certificate, "cacertfile": authority.file, "host": "127.0.0.1"}) as broker:
        asyncio.run(connect(broker, broker.ssl_context()))
        with kombu.Connection(broker.url, ssl=broker.celery_config()["broker_use_ssl"]) as connection:
            connection.ensure_connection(max_retries=1)


def test_the_names_that_testcontainers_has() -> None:
    with RabbitMqContainer("rabbitmq:3.13-management", username="me", password="secret", vhost="mine") as container:
        with pika.BlockingConnection(container.get_connection_params()) as connection:
            assert connection.is_open
        assert (container.username, container.password, container.vhost) == ("me", "secret", "mine")
        assert container.get_container_host_ip() == "127.0.0.1"
        assert container.get_exposed_port(5672) == container.get_exposed_port("5672") == container.port
        assert container.http_url.endswith(f":{container.get_exposed_port(15672)}")
        with pytest.raises(ValueError, match="nothing is served at port 5671"):
            container.get_exposed_port(5671)
