"""Anything may happen in a vhost, in any order, and a restore of any snapshot makes it what it was: no answer of a client's is ever
unknown, and what a look shows is what a look showed then."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from pamqp.commands import Basic, Exchange, Queue

from tests.testing.state_box import StateBox
from tests.testing.supervised import Supervised

QUEUES: dict[str, dict[str, Any]] = {
    "plain": {"durable": True},
    "transient": {"durable": False},
    "ranked": {"durable": True, "arguments": {"x-max-priority": 2}},
    "quorum": {"durable": True, "arguments": {"x-queue-type": "quorum"}},
    "limited": {"durable": True, "arguments": {"x-queue-type": "quorum", "x-delivery-limit": 1000}},
    "timed": {"durable": True, "arguments": {"x-message-ttl": 3_600_000, "x-dead-letter-exchange": "fanout"}},
    "once": {"durable": True, "arguments": {"x-message-deduplication": True}},
    "mine": {"exclusive": True},
}
EXCHANGES: dict[str, dict[str, Any]] = {
    "topic": {"kind": "topic", "durable": True},
    "fanout": {"kind": "fanout", "auto_delete": True},
    "delays": {"kind": "x-delayed-message", "durable": True, "arguments": {"x-delayed-type": "topic"}},
    "history": {"kind": "x-recent-history", "arguments": {"x-recent-history-length": 2}},
}
queues, exchanges = st.sampled_from(sorted(QUEUES)), st.sampled_from(sorted(EXCHANGES))
keys = st.sampled_from(["a", "a.b", "#", "a.*"])


class Machine(RuleBasedStateMachine):
    """One channel that does what it likes."""

    vhost: StateBox

    @initialize()
    def begin(self) -> None:
        self.vhost.reset(everything=True)
        for each in self.vhost.ask("GET", "/snapshots"):
            self.vhost.ask("DELETE", f"/snapshots/{each['id']}")
        self.wire = self.vhost.wire()
        self.channel = self.wire.open_channel()
        self.held: list[int] = []
        """Tags that were given, and not answered; what they stand for may have vanished."""
        self.taken: dict[str, Any] = {}
        """By snapshot: what was there."""
        self.count = 0
        for name in ("plain", "quorum"):
            self.declare(name)

    def teardown(self) -> None:
        if hasattr(self, "wire"):
            self.wire.abort()

    @rule(name=queues)
    def declare(self, name: str) -> None:
        self.channel.queue(name, **QUEUES[name])

    @rule(name=queues)
    def delete(self, name: str) -> None:
        self.channel.call(Queue.Delete, queue=name)

    @rule(name=exchanges)
    def declare_exchange(self, name: str) -> None:
        self.channel.exchange(name, **EXCHANGES[name])

    @rule(name=exchanges)
    def delete_exchange(self, name: str) -> None:
        self.channel.call(Exchange.Delete, exchange=name)

    @rule(name=queues, exchange=exchanges, key=keys)
    def bind(self, name: str, exchange: str, key: str) -> None:
        self.declare(name)
        self.declare_exchange(exchange)
        self.channel.bind(name, exchange, key)

    @rule(name=queues, exchange=exchanges, key=keys)
    def unbind(self, name: str, exchange: str, key: str) -> None:
        self.declare(name)
        self.declare_exchange(exchange)
        self.channel.unbind(name, exchange, key)

    @rule(name=queues, count=st.integers(1, 5), priority=st.integers(0, 3), long=st.booleans())
    def publish(self, name: str, count: int, priority: int, long: bool) -> None:
        for _ in range(count):
            self.count += 1
            headers = {"n": self.count, "x-deduplication-header": self.count % 4}
            properties: dict[str, Any] = {} if long else {"expiration": "7200000"}
            self.channel.publish("", name, b"%d" % self.count, headers=headers, priority=priority, **properties)

    @rule(exchange=exchanges, key=keys, delay=st.sampled_from([None, 3_600_000, 1_800_000]))
    def publish_to_exchange(self, exchange: str, key: str, delay: int | None) -> None:
        self.declare_exchange(exchange)
        self.count += 1
        self.channel.publish(exchange, key, b"%d" % self.count, headers={} if delay is None else {"x-delay": delay})

    @rule(name=queues, count=st.integers(1, 4))
    def get(self, name: str, count: int) -> None:
        self.declare(name)
        for _ in range(count):
            message = self.channel.get(name, no_ack=False)
            if message is not None:
                self.held.append(message.tag)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), multiple=st.booleans(), answer=st.sampled_from(["ack", "nack", "reject"]), requeue=st.booleans())
    def answer(self, data: st.DataObject, multiple: bool, answer: str, requeue: bool) -> None:
        tag = data.draw(st.sampled_from(self.held))
        if answer == "ack":
            self.channel.ack(tag, multiple=multiple)
        elif answer == "nack":
            self.channel.nack(tag, multiple=multiple, requeue=requeue)
        else:
            self.channel.reject(tag, requeue=requeue)
            multiple = False
        self.held = [each for each in self.held if (each > tag if multiple else each != tag)]
        self.channel.call(Basic.Qos, prefetch_count=0)  # the channel is open

    @rule(limit=st.sampled_from([None, 2, 5]))
    def set_policy(self, limit: int | None) -> None:
        path = f"/api/policies/{self.vhost.vhost}/p"
        http = self.vhost.broker.http
        if limit is None:
            http.ask("DELETE", path)
        else:
            policy = {"pattern": "^(plain|timed)$", "definition": {"max-length": limit}, "apply-to": "queues"}
            assert http.ask("PUT", path, policy).status in (201, 204)

    @rule()
    def snapshot(self) -> None:
        self.channel.call(Basic.Qos, prefetch_count=0)  # all of it has arrived
        number = self.vhost.snapshot()
        # What is unacked counts as if it came back then: let it come back.
        self.channel.call(Basic.Recover, requeue=True)
        self.held = []
        self.taken[number] = self.vhost.contents()

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.taken)))
        assert self.vhost.restore(number)["left_out"] == []
        assert self.vhost.contents() == self.taken[number]

    @rule(everything=st.booleans())
    def reset(self, everything: bool) -> None:
        self.vhost.reset(everything=everything)
        contents = self.vhost.contents()
        assert not any(contents["messages"].values())
        if everything:
            assert not any(contents.values())

    @rule()
    def export_and_load(self) -> None:
        self.channel.call(Basic.Qos, prefetch_count=0)
        document = self.vhost.ask("GET", "/state")
        if not document["exclusive_queues"]:
            self.vhost.ask("PUT", "/state", document)
            assert _said(self.vhost.ask("GET", "/state")) == _said(document)


def _said(document: dict[str, Any]) -> dict[str, Any]:
    """Without who held what, and what of its time has passed meanwhile."""
    messages = [
        {key: value for key, value in each.items() if key not in ("held_by", "expires_in_ms", "due_in_ms")}
        for section in ("messages", "delayed")
        for each in document[section]
    ]
    return {key: value for key, value in document.items() if key not in ("taken_ms", "delayed")} | {"messages": messages}


@pytest.fixture(scope="module")
def vhost() -> Iterator[StateBox]:
    with Supervised() as testing_broker:
        yield StateBox(testing_broker)


def run(vhost: StateBox, profile: settings) -> None:
    class OnVHost(Machine):
        pass

    OnVHost.vhost = vhost
    run_state_machine_as_test(OnVHost, settings=profile)


COMMON = settings(deadline=None, suppress_health_check=list(HealthCheck), database=None)


def test_any_history(vhost: StateBox) -> None:
    run(vhost, settings(COMMON, max_examples=40, stateful_step_count=40, derandomize=True))


@pytest.mark.soak
def test_any_history_for_long(vhost: StateBox) -> None:
    run(vhost, settings(COMMON, max_examples=1000, stateful_step_count=60))
