"""Faults ordered through the handle."""

import asyncio
import inspect

import pika
import pytest
from pika.exceptions import AMQPError, ChannelClosedByBroker, NackError, StreamLostError

from leveret import Broker, BrokerGone, Refused
from leveret.faults import AsyncFaults, Faults, Ordering, Which, WhichElse
from tests.handle.clients import channel_of, count

ARGUMENTS = {
    "fail_method": {"on": "queue.declare"},
    "delay_method": {"on": "queue.declare", "seconds": 1},
    "delay_confirms": {"seconds": 1},
    "delay_deliveries": {"seconds": 1},
    "slow_handshake": {"seconds": 1},
    "slow_down": {"bytes_per_second": 1000},
    "add_latency": {"seconds": 0.001},
    "slow_disk": {"seconds": 0.001},
}
"""What has to be given."""
NOT_ACTIONS = {"order", "all", "clear"}
ACTIONS = sorted(name for name, _ in inspect.getmembers(Faults, inspect.isfunction) if not name.startswith("_") and name not in NOT_ACTIONS)


def test_a_connection_is_dropped_after_three_publishes(sandbox: Broker) -> None:
    with channel_of(sandbox, "orders", confirms=True) as channel:
        with sandbox.faults.drop_connection(after_publishes=3) as fault:
            channel.basic_publish("", "orders", b"1")
            channel.basic_publish("", "orders", b"2")
            assert (fault.hits, fault.remaining) == (0, 1)
            with pytest.raises(StreamLostError):
                channel.basic_publish("", "orders", b"3")
            assert (fault.hits, fault.remaining) == (1, 0)
        assert (fault.hits, fault.facts()["last"]["method"]) == (1, "basic.publish")
    with channel_of(sandbox) as channel:
        assert count(channel, "orders") == 3


def test_a_rule_ends_with_its_block_or_is_removed(sandbox: Broker) -> None:
    with channel_of(sandbox, "orders", confirms=True) as channel:
        with sandbox.faults.nack_confirms(times=None, queue="orders"):
            for _ in range(2):
                with pytest.raises(NackError):
                    channel.basic_publish("", "orders", b"")
        channel.basic_publish("", "orders", b"")
        fault = sandbox.faults.close_channel(on="queue.declare", code=404, text="not today")
        assert [each.id for each in sandbox.faults.all()] == [fault.id]
        fault.remove()
        fault.remove()
        channel.queue_declare("other")
        sandbox.faults.fail_method("queue.declare", code=405, text="not today")
        with pytest.raises(ChannelClosedByBroker, match=r"405.*not today"):
            channel.queue_declare("other")
    sandbox.faults.clear()
    assert not sandbox.faults.all()


def test_rules_are_the_sandboxs_and_go_with_it(server: Broker) -> None:
    with server.sandbox() as sandbox, server.sandbox() as other:
        refused = sandbox.faults.refuse_login(times=None)
        sandbox.faults.drop_connection(times=None)
        with pytest.raises(AMQPError):
            pika.BlockingConnection(sandbox.pika_parameters())
        assert refused.hits == 1
        with channel_of(other, "orders"), channel_of(server, "orders"):
            pass
    assert server.api.ask("GET", "/faults") == []
    assert refused.hits == 1


@pytest.mark.parametrize("name", ACTIONS)
def test_the_broker_takes_every_action(name: str, sandbox: Broker) -> None:
    with getattr(sandbox.faults, name)(**ARGUMENTS.get(name, {})) as fault:
        assert fault.facts()["rule"]["do"] == name
    assert fault.facts()["rule"]["do"] == name


def test_what_makes_no_sense_is_told(sandbox: Broker) -> None:
    with pytest.raises(Refused, match=r"did you mean 'drop_connection'"):
        sandbox.faults.order("drop_conection")
    with pytest.raises(Refused, match=r"on: "):
        sandbox.faults.drop_connection(on="basic.publsh")
    with pytest.raises(ValueError, match="after_publishes, after_deliveries, after_acks: one of them"):
        sandbox.faults.drop_connection(after_publishes=1, after_acks=1)


def test_every_action_has_its_twin(sandbox: Broker) -> None:
    assert Which.__annotations__.keys() - {"on", "when"} == WhichElse.__annotations__.keys()
    for name in [*ACTIONS, "order"]:
        assert isinstance(inspect.getattr_static(AsyncFaults, name), Ordering)
        assert getattr(sandbox.aio.faults, name).__doc__ == getattr(Faults, name).__doc__


def test_coroutines(sandbox: Broker) -> None:
    async def main() -> None:
        faults = sandbox.aio.faults
        async with faults.drop_connection(after_publishes=1) as fault:
            assert await fault.remaining() == 1
            with pytest.raises(StreamLostError), channel_of(sandbox, "orders", confirms=True) as channel:
                channel.basic_publish("", "orders", b"")
        assert await fault.hits() == 1 and (await fault.facts())["remaining"] == 0
        fault = await faults.withhold_confirms()
        assert [each.id for each in await faults.all()] == [fault.id]
        await fault.remove()
        await faults.clear()

    asyncio.run(main())


def test_a_broker_that_is_gone_masks_nothing() -> None:
    with Broker() as broker, broker.faults.drop_connection() as fault:
        broker.kill()
    with pytest.raises(BrokerGone):
        _ = fault.hits


def test_a_rule_says_what_it_is(sandbox: Broker) -> None:
    assert "'do': 'get_empty'" in repr(sandbox.faults.get_empty(queue="orders"))
