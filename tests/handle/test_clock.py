"""The broker's time, moved through the handle."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from leveret import Broker
from tests.handle.clients import channel_of, count


def test_time_is_moved(sandbox: Broker) -> None:
    with channel_of(sandbox) as channel:
        channel.queue_declare("orders", arguments={"x-message-ttl": 3_600_000})
        channel.basic_publish("", "orders", b"1")
        assert count(channel, "orders") == 1
        before = sandbox.now
        assert abs(before - datetime.now(UTC)) < timedelta(days=2) or before.tzinfo is UTC
        moved = sandbox.advance(timedelta(hours=1, seconds=1))
        assert moved.fired >= 1 and moved.now - before >= timedelta(hours=1)
        assert count(channel, "orders") == 0


def test_a_clock_that_stands_still_goes_on_after_the_sandbox(server: Broker) -> None:
    with server.sandbox() as sandbox:
        sandbox.freeze()
        assert sandbox.is_frozen and sandbox.now == sandbox.now
        before = sandbox.now
        assert sandbox.advance(seconds=60, settle=True).now == before + timedelta(seconds=60)
        sandbox.resume()
        assert not server.is_frozen
        sandbox.freeze()
    assert not server.is_frozen


def test_it_goes_on_when_all_who_have_stopped_it_are_over(server: Broker) -> None:
    first, second = server.sandbox(), server.sandbox()
    first.freeze()
    second.freeze()
    first.stop()
    assert second.is_frozen
    second.stop()
    assert not server.is_frozen


def test_who_resumes_it_resumes_it(server: Broker) -> None:
    with server.sandbox() as first, server.sandbox() as second:
        first.freeze()
        second.resume()
        assert not first.is_frozen


def test_coroutines(sandbox: Broker) -> None:
    async def main() -> None:
        aio = sandbox.aio
        before = await aio.now()
        await aio.freeze()
        assert await aio.is_frozen()
        await aio.resume()
        assert (await aio.advance(seconds=5)).now >= before + timedelta(seconds=5)
        async with aio.adversarial(seed=3):
            assert mode(sandbox) == "adversarial"
        await (await aio.adversarial()).end()

    asyncio.run(main())
    assert mode(sandbox) == "fair"


def mode(broker: Broker) -> object:
    return broker._ask_vhost("GET", "/scheduling")["mode"]


def test_an_adversarial_order(sandbox: Broker) -> None:
    with sandbox.adversarial(seed=1):
        assert mode(sandbox) == "adversarial"
    assert mode(sandbox) == "fair"
    with pytest.raises(ZeroDivisionError), sandbox.adversarial():
        raise ZeroDivisionError
    assert mode(sandbox) == "fair"
