"""Waiting through the handle, and the texts of what didn't happen."""

import threading

import anyio
import pika
import pytest

from leveret import Broker, NotInTime
from tests.handle.clients import channel_of

SECONDS = 0.05
"""For what is not going to happen."""


def test_it_waits_until_it_is_so(sandbox: Broker) -> None:
    with channel_of(sandbox, "orders") as channel:
        for number in range(3):
            channel.basic_publish("", "orders", b"%d" % number)
        sandbox.wait_for(queue="orders", ready=3, unacked=0)
        sandbox.wait_until_idle()
        waiting = threading.Thread(target=lambda: sandbox.wait_for("orders", ready=(None, 1), unacked=(1, 2), consumers=1, messages=3))
        waiting.start()
        channel.basic_qos(prefetch_count=2)
        channel.basic_consume("orders", lambda *_: None, consumer_tag="mine")
        waiting.join(10)
        assert not waiting.is_alive()
        sandbox.wait_for_consumer("orders")
        sandbox.wait_for_consumer("orders", tag="mine", count=1)
        sandbox.wait_for_connection(count=1)
    sandbox.wait_for_connection(count=0)


def test_bindings_and_names(sandbox: Broker) -> None:
    parameters = sandbox.pika_parameters(client_properties={"connection_name": "worker"})
    with pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        channel.queue_declare("orders")
        channel.queue_bind("orders", "amq.topic", "order.*")
        sandbox.wait_for_binding(queue="orders", exchange="amq.topic", routing_key="order.*")
        sandbox.wait_for_connection(client_name="worker")
        with pytest.raises(NotInTime, match=r"amq\.topic.*order\.\*"):
            sandbox.wait_for_binding(exchange="amq.topic", routing_key="order.new", timeout=SECONDS)


def test_what_did_not_happen(sandbox: Broker) -> None:
    with channel_of(sandbox, "orders") as channel:
        channel.basic_publish("", "orders", b"1")
        with pytest.raises(NotInTime, match=r"orders.* 2 ready.*it has 1 ready") as raised:
            sandbox.wait_for("orders", ready=2, timeout=SECONDS)
        assert isinstance(raised.value, AssertionError) and isinstance(raised.value, TimeoutError)
        channel.basic_consume("orders", lambda *_: None)
        sandbox.wait_for("orders", unacked=1)
        with pytest.raises(NotInTime, match=r"orders.* 1 message unacked"):
            sandbox.wait_until_idle(timeout=SECONDS)
    with pytest.raises(NotInTime, match="there is no such queue"):
        sandbox.wait_for("order", timeout=SECONDS)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_coroutines_wait_and_others_go_on(backend: str, sandbox: Broker) -> None:
    async def main() -> None:
        with channel_of(sandbox, "orders") as channel, anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: sandbox.aio.wait_for("orders", ready=1))
                await anyio.lowlevel.checkpoint()
                channel.basic_publish("", "orders", b"1")
        with pytest.raises(NotInTime):
            await sandbox.aio.wait_for("orders", ready=2, timeout=SECONDS)

    anyio.run(main, backend=backend)
