"""Snapshots, resets and files of states, through the handle."""

import asyncio
from pathlib import Path

import pika
import pytest

from leveret import Broker, Refused
from tests.handle.clients import channel_of, count


def test_a_snapshot_is_restored_under_its_clients(sandbox: Broker) -> None:
    with channel_of(sandbox, "orders", confirms=True) as channel:
        channel.basic_publish("", "orders", b"1")
        snapshot = sandbox.snapshot()
        assert (snapshot.queues, snapshot.messages) == (1, 1)
        channel.basic_publish("", "orders", b"2")
        channel.queue_declare("other")
        for _ in range(2):
            sandbox.restore(snapshot)
            assert count(channel, "orders") == 1
        sandbox.forget(snapshot)
        with pytest.raises(Refused, match="404"):
            sandbox.restore(snapshot)
        sandbox.reset()
        assert count(channel, "orders") == 0
        sandbox.reset(everything=True)
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="404"):
            count(channel, "orders")


def test_a_state_is_loaded_elsewhere(sandbox: Broker, server: Broker, tmp_path: Path) -> None:
    with channel_of(sandbox, "orders", confirms=True) as channel:
        channel.basic_publish("", "orders", "één".encode(), pika.BasicProperties(delivery_mode=2, headers={"n": 1}))
        channel.basic_publish("", "orders", b"\xff")
    sandbox.export_state(tmp_path / "state.json")
    with server.sandbox() as other:
        other.load_state(tmp_path / "state.json")
        with channel_of(other) as channel:
            _, properties, body = channel.basic_get("orders", auto_ack=True)
            assert (body.decode(), properties.headers) == ("één", {"n": 1})
            assert channel.basic_get("orders", auto_ack=True)[2] == b"\xff"


def test_coroutines(sandbox: Broker) -> None:
    async def main() -> None:
        snapshot = await sandbox.aio.snapshot()
        await sandbox.aio.restore(snapshot, close_connections=True)
        await sandbox.aio.reset(everything=True)

    asyncio.run(main())
