"""The handle: sandboxes, brokers that run already, coroutines."""

import asyncio
import inspect
import subprocess
import sys

import anyio
import pika
import pytest
from pika.exceptions import ConnectionClosedByBroker, ProbableAuthenticationError

from leveret import AsyncBroker, Broker, BrokerGone, LeveretError, Refused
from leveret.addresses import Addresses
from leveret.asynchronous import Twin
from tests.handle.test_api import token
from tests.house.conftest import ROOT, clean_environment

WITHOUT_TWIN = {"sandbox", "adversarial", "connect", "start", "log", "aio"}
"""They are written out, or need none."""


def test_a_sandbox_is_ones_own_and_goes(server: Broker) -> None:
    with server.sandbox() as one, server.sandbox() as other:
        assert one.vhost != other.vhost and one.user != other.user
        with pytest.raises(ProbableAuthenticationError):
            pika.BlockingConnection(one.pika_parameters(credentials=pika.PlainCredentials(one.user, "wrong")))
        with pytest.raises(pika.exceptions.AMQPError):
            pika.BlockingConnection(one.pika_parameters(virtual_host=other.vhost))
        connection = pika.BlockingConnection(one.pika_parameters())
    with pytest.raises(ConnectionClosedByBroker, match="is over"):
        connection.process_data_events(time_limit=10)
    with pytest.raises(pika.exceptions.AMQPError):
        pika.BlockingConnection(one.pika_parameters())
    one.stop()
    assert server.is_running


def test_a_sandbox_of_a_name(server: Broker) -> None:
    with server.sandbox("orders") as one, server.sandbox("orders") as other:
        assert one.vhost == "orders" and other.vhost.startswith("orders-")
        assert repr(one) == f"<leveret.Broker 127.0.0.1:{server.port}, vhost 'orders'>"


def test_a_sandbox_outlives_no_broker() -> None:
    with Broker() as broker:
        sandbox = broker.sandbox()
        broker.kill()
        sandbox.stop()
        with pytest.raises(BrokerGone, match="ended by signal 9"):
            broker.sandbox()


def test_a_broker_that_runs_already(server: Broker) -> None:
    with Broker.connect(server.http_url, token(server)) as broker:
        assert broker.url == server.url and broker.seed == server.seed and broker.is_running
        with broker.sandbox() as sandbox, pika.BlockingConnection(sandbox.pika_parameters()) as connection:
            assert connection.is_open
        for act in (broker.kill, broker.restart):
            with pytest.raises(LeveretError, match="was started elsewhere"):
                act()
        with pytest.raises(LeveretError):
            _ = broker.pid
    assert server.is_running
    with pytest.raises(Refused, match="401"):
        Broker.connect(server.http_url, "wrong")


def test_a_broker_as_docker_compose_starts_it() -> None:
    """It is waited for, and its AMQP port is told by the HTTP API."""
    with Broker() as other:
        http_port = other.http_url.rpartition(":")[2]
    command = [sys.executable, "-m", "leveret", "serve", "--memory", "--port", "0", "--http-port", http_port]
    environment = clean_environment(LEVERET_TESTING="true", LEVERET_TESTING_TOKEN="from-compose")
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    try:
        with Broker.connect(f"http://localhost:{http_port}", "from-compose", timeout=20) as broker:
            assert broker.host == "localhost" and broker.port not in (0, int(http_port))
            with pika.BlockingConnection(broker.pika_parameters()) as connection:
                assert connection.is_open
        elsewhere = Broker.connect(f"http://localhost:{http_port}", "from-compose", port=5673, user="me", password="secret", vhost="mine")
        assert elsewhere.url == "amqp://me:secret@localhost:5673/mine"
        elsewhere.stop()
    finally:
        process.kill()
        process.wait()


# --- coroutines -----------------------------------------------------------------------------------------------------


def test_every_method_that_waits_has_its_twin() -> None:
    names = {name for name, member in inspect.getmembers(Broker) if inspect.isfunction(member) and not name.startswith("_")}
    offline = {name for name, member in inspect.getmembers(Addresses) if inspect.isfunction(member)}
    broker = Broker()
    for name in names - WITHOUT_TWIN - offline:
        assert isinstance(inspect.getattr_static(AsyncBroker, name), Twin), name
        twin, method = getattr(broker.aio, name), getattr(broker, name)
        assert inspect.iscoroutinefunction(twin) and not inspect.iscoroutinefunction(method)
        assert inspect.signature(twin) == inspect.signature(method) and twin.__doc__ == method.__doc__


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_coroutines(backend: str, server: Broker) -> None:
    async def main() -> None:
        async with Broker() as broker, broker.sandbox("mine") as mine:
            assert isinstance(broker, AsyncBroker) and isinstance(mine, AsyncBroker)
            assert mine.url.endswith("/mine") and mine.vhost == "mine" and repr(mine).startswith("<leveret.AsyncBroker")
            with pika.BlockingConnection(mine.pika_parameters()) as connection:
                assert connection.is_open
            other = await broker.sandbox()
            await other.stop()
            handles.append(broker)
        async with server.aio.sandbox() as again:
            assert again.port == server.port

    handles: list[AsyncBroker] = []
    anyio.run(main, backend=backend)
    assert not handles[0].is_running


def test_other_tasks_go_on_while_one_waits(server: Broker) -> None:
    async def main() -> list[str]:
        done = []

        async def wait() -> None:
            await server.aio.sandbox()
            done.append("sandbox")

        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        done.append("other")
        await waiting
        return done

    assert asyncio.run(main()) == ["other", "sandbox"]


def test_a_sandbox_that_is_over_says_so(server: Broker) -> None:
    sandbox = server.sandbox("short")
    sandbox.stop()
    with pytest.raises(LeveretError, match="sandbox 'short' is over: its vhost is gone"):
        sandbox.messages("orders")
    sandbox.stop()
