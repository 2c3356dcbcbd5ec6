"""Snapshots: whatever happened since, a restore makes a vhost what it was, and clients go on."""

import http.client
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pamqp.commands import Basic, Exchange, Queue

from tests.admin.client import Http
from tests.runtime.process import publish_bytes, send_many, soon
from tests.testing.state_box import StateBox
from tests.testing.supervised import ROOT_PATH, Supervised
from tests.wire import Typed, Wire, WireChannel


@pytest.fixture
def wire(vhost: StateBox) -> Iterator[Wire]:
    with vhost.wire() as found:
        yield found


@pytest.fixture
def channel(wire: Wire) -> WireChannel:
    return wire.open_channel()


# --- what there may be ----------------------------------------------------------------------------------------------


def plain(channel: WireChannel) -> None:
    channel.queue("q", durable=True)
    publish(channel, "q", *"abcdef")


def with_what_came_back(channel: WireChannel) -> None:
    plain(channel)
    tags = [channel.take("q", no_ack=False).tag for _ in range(4)]
    channel.nack(tags[1])
    channel.nack(tags[3])
    channel.ack(tags[0])
    channel.nack(channel.take("q", no_ack=False).tag)


def with_priorities(channel: WireChannel) -> None:
    channel.queue("q", durable=True, arguments={"x-max-priority": 5})
    for number, priority in enumerate((1, 5, None, 3, 5, 9, 1)):
        channel.publish("", "q", b"%d" % number, **({} if priority is None else {"priority": priority}))
    channel.nack(channel.take("q", no_ack=False).tag)
    channel.take("q", no_ack=False)
    channel.take("q", no_ack=False)


def quorum(channel: WireChannel) -> None:
    channel.queue("q", durable=True, arguments={"x-queue-type": "quorum"})
    publish(channel, "q", *"abcde")
    channel.nack(channel.take("q", no_ack=False).tag)
    publish(channel, "q", *"fg")
    channel.nack(channel.take("q", no_ack=False).tag)
    channel.take("q", no_ack=False)


def quorum_with_a_limit(channel: WireChannel) -> None:
    channel.queue("q", durable=True, arguments={"x-queue-type": "quorum", "x-delivery-limit": 9})
    publish(channel, "q", *"abcde")
    tags = [channel.take("q", no_ack=False).tag for _ in range(4)]
    channel.nack(tags[2])
    channel.nack(tags[0])


def with_moments(channel: WireChannel) -> None:
    channel.queue("q", durable=True, arguments={"x-message-ttl": 3_600_000})
    publish(channel, "q", "a", "b", delivery_mode=2)
    channel.publish("", "q", b"c", expiration="60000", delivery_mode=2)
    channel.queue("unlimited", durable=True)
    channel.publish("", "unlimited", b"d", expiration="7200000")
    channel.publish("", "unlimited", b"e")
    channel.take("q", no_ack=False)


def with_all_kinds(channel: WireChannel) -> None:
    channel.queue("durable", durable=True)
    channel.queue("transient", durable=False)
    channel.queue("auto-delete", auto_delete=True)
    channel.queue("exclusive")
    channel.queue("unused", auto_delete=True)
    channel.exchange("e", "topic", durable=True, arguments={"alternate-exchange": "fallback"})
    channel.exchange("fallback", "fanout", auto_delete=True)
    channel.exchange("inner", "headers", internal=True)
    channel.exchange("never-bound", "direct", auto_delete=True)
    channel.bind("durable", "e", "a.*", {"x": Typed("b", 1)})
    channel.bind("durable", "e", "a.*", {"x": Typed("I", 1)})
    channel.bind("exclusive", "fallback")
    channel.bind("transient", "amq.topic", "#")
    channel.wire.call(channel.number, bind_exchange("inner", "e", "b.#"))
    for name in ("durable", "transient", "auto-delete", "exclusive", "unused"):
        publish(channel, name, "x", "y", headers={"n": 1}, content_type="text/plain")


def bind_exchange(destination: str, source: str, key: str) -> Any:

    return Exchange.Bind(destination=destination, source=source, routing_key=key)


def publish(channel: WireChannel, queue: str, *bodies: str, **properties: Any) -> None:
    for body in bodies:
        channel.publish("", queue, body.encode(), **properties)


SITUATIONS = [plain, with_what_came_back, with_priorities, quorum, quorum_with_a_limit, with_moments, with_all_kinds]


# --- what may have happened since -----------------------------------------------------------------------------------


def nothing(vhost: StateBox, channel: WireChannel) -> None:
    pass


def consumed(vhost: StateBox, channel: WireChannel) -> None:
    for name in queues(vhost):
        channel.bodies(name)


def purged_by_a_reset(vhost: StateBox, channel: WireChannel) -> None:
    vhost.reset()


def deleted(vhost: StateBox, channel: WireChannel) -> None:
    vhost.reset(everything=True)
    assert not queues(vhost)


def declared_otherwise(vhost: StateBox, channel: WireChannel) -> None:
    """All names are taken by other things."""
    names = queues(vhost)
    exclusive = {each["name"] for each in vhost.broker.http.get(f"/api/queues/{vhost.vhost}") if each["exclusive"]}
    vhost.reset(everything=True)
    for name in names:
        channel.queue(name, durable=name in exclusive, auto_delete=True, arguments={"x-max-length": 1})
        publish(channel, name, "other", "another")
    for name in ("e", "fallback", "inner", "never-bound"):
        channel.exchange(name, "x-recent-history", durable=True)
        channel.bind(names[0], name)
        channel.publish(name, "", b"kept")


def added_to(vhost: StateBox, channel: WireChannel) -> None:
    names = queues(vhost)
    for name in [*names, "new"]:
        if name == "new":
            channel.queue(name)
        publish(channel, name, "later")
        channel.take(name, no_ack=False)
        for exchange in ("amq.fanout", "amq.headers", "amq.topic"):
            channel.bind(name, exchange, "later", {"a": 1})
        channel.publish("amq.fanout", "later", b"later")
    put = vhost.broker.http.ask
    policy = {"pattern": ".*", "definition": {"message-ttl": 100_000, "max-length": 1}}
    assert put("PUT", f"/api/policies/{vhost.vhost}/later", policy).status == 201
    assert put("PUT", f"/api/vhost-limits/{vhost.vhost}/max-queues", {"value": 1}).status == 204


def unbound(vhost: StateBox, channel: WireChannel) -> None:
    for each in vhost.broker.http.get(f"/api/bindings/{vhost.vhost}"):
        if each["source"] and each["destination_type"] == "queue" and not each["arguments"]:
            channel.unbind(each["destination"], each["source"], each["routing_key"])
        elif each["source"]:
            kind = each["destination_type"][0]
            path = f"/api/bindings/{vhost.vhost}/e/{each['source']}/{kind}/{each['destination']}/{each['properties_key']}"
            login = vhost.user, vhost.password
            assert vhost.broker.http.ask("DELETE", path, credentials=login).status == 204


def queues(vhost: StateBox) -> list[str]:
    return [each["name"] for each in vhost.broker.http.get(f"/api/queues/{vhost.vhost}")]


CHANGES = [nothing, consumed, purged_by_a_reset, deleted, declared_otherwise, added_to, unbound]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_what_was_there_is_there_again(
    vhost: StateBox, channel: WireChannel, situation: Callable[[WireChannel], None], change: Callable[[StateBox, WireChannel], None]
) -> None:
    situation(channel)
    other = channel.wire.open_channel()
    channel.call(Basic.Qos, prefetch_count=0)  # all of it has arrived
    taken = vhost.snapshot()
    # What is unacked counts as if it came back then; so let it, for comparison.
    channel.close()
    then = vhost.contents()
    change(vhost, other)
    for _ in range(2):
        restored = vhost.restore(taken)
        assert restored["left_out"] == []
        assert vhost.contents() == then
    for name in queues(vhost):
        assert [message["payload"].encode() for message in then["messages"][name]] == other.bodies(name)
    assert vhost.restore(taken)["messages"] == sum(map(len, then["messages"].values()))
    assert vhost.contents() == then


def test_the_same_snapshot_is_taken_of_what_was_restored(vhost: StateBox, channel: WireChannel) -> None:
    with_all_kinds(channel)
    first = vhost.ask("GET", "/state")
    vhost.restore(vhost.snapshot())
    assert _without_time(vhost.ask("GET", "/state")) == _without_time(first)


def _without_time(document: dict[str, Any]) -> dict[str, Any]:
    return document | {"taken_ms": None}


# --- what exchanges keep --------------------------------------------------------------------------------------------


def test_what_is_delayed_is_due_when_it_was(vhost: StateBox, channel: WireChannel) -> None:
    channel.exchange("d", "x-delayed-message", durable=True, arguments={"x-delayed-type": "direct"})
    channel.queue("q", durable=True)
    channel.bind("q", "d", "k")
    for body, delay in ((b"second", 400), (b"third", 3_600_000), (b"first", 300)):
        channel.publish("d", "k", body, headers={"x-delay": delay}, delivery_mode=2)
    channel.counts("q")
    due = [each["due_at"] for each in vhost.messages("amq.delayed.d")]
    taken = vhost.snapshot()
    vhost.reset(everything=True)
    vhost.restore(taken)
    assert [each["due_at"] for each in vhost.messages("amq.delayed.d")] == due
    channel.consume("q", "c", no_ack=True)
    assert [message.body for message in channel.deliveries(2)] == [b"first", b"second"]
    assert [each["payload"] for each in vhost.messages("amq.delayed.d")] == ["third"]
    assert vhost.reset() == 0
    assert vhost.messages("amq.delayed.d") == []


@pytest.mark.parametrize("persistence", ["memory", "disk"])
def test_what_was_seen_is_seen_again_and_what_was_not_is_not(vhost: StateBox, channel: WireChannel, persistence: str) -> None:
    arguments = {"x-cache-size": 10, "x-cache-persistence": persistence}
    channel.exchange("once", "x-message-deduplication", durable=True, arguments=arguments)
    channel.queue("q")
    channel.bind("q", "once")

    def passes(value: Any) -> bool:
        channel.publish("once", "", b"x", headers={"x-deduplication-header": value})
        return channel.get("q") is not None

    values = ("a", 7, Typed("F", {"a": [1, "b"]}), Typed("x", b"\xff"))
    assert all(map(passes, values)) and not any(map(passes, values))
    taken = vhost.snapshot()
    assert passes("later") and not passes("later")
    vhost.restore(taken)
    assert not any(map(passes, values)) and passes("later")
    vhost.reset()
    assert all(map(passes, values))
    vhost.restore(taken)
    assert not any(map(passes, values))


def test_a_queue_knows_its_duplicates_again(vhost: StateBox, channel: WireChannel) -> None:
    channel.queue("q", durable=True, arguments={"x-message-deduplication": True})
    publish(channel, "q", "a", headers={"x-deduplication-header": "v"})
    channel.take("q", no_ack=False)
    taken = vhost.snapshot()
    vhost.reset()
    publish(channel, "q", "b", headers={"x-deduplication-header": "v"})
    assert channel.counts("q") == (1, 0)
    vhost.restore(taken)
    publish(channel, "q", "c", headers={"x-deduplication-header": "v"})
    assert channel.bodies("q") == [b"a"]


@pytest.mark.parametrize("kind", ["x-recent-history", "x-delayed-message"])
def test_a_history_is_the_same_and_is_given_to_nobody_by_a_restore(vhost: StateBox, channel: WireChannel, kind: str) -> None:
    channel.exchange("h", kind, arguments={"x-delayed-type": "x-recent-history"} if kind == "x-delayed-message" else None)
    channel.queue("bound")
    channel.bind("bound", "h")
    for body in (b"1", b"2"):
        channel.publish("h", "k", body)
    assert channel.bodies("bound") == [b"1", b"2"]
    taken = vhost.snapshot()
    channel.publish("h", "k", b"3")
    channel.unbind("bound", "h")
    vhost.restore(taken)
    assert channel.bodies("bound") == []
    channel.queue("new")
    channel.bind("new", "h")
    assert channel.bodies("new") == [b"1", b"2"]


def test_limits_forbid_nothing_that_was_there(vhost: StateBox, channel: WireChannel) -> None:
    for name in ("a", "b", "c"):
        channel.queue(name, durable=True)
    assert vhost.broker.http.ask("PUT", f"/api/vhost-limits/{vhost.vhost}/max-queues", {"value": 1}).status == 204
    taken = vhost.snapshot()
    channel.call(queue_delete("b"))
    vhost.restore(taken)
    assert queues(vhost) == ["a", "b", "c"]
    channel.call(Queue.Declare, queue="a", durable=True)
    channel.send(Queue.Declare, queue="d", durable=True)
    channel.expect_close(406)


def test_what_comes_back_counts_as_published_no_second_time(vhost: StateBox, channel: WireChannel) -> None:
    plain(channel)
    channel.counts("q")
    vhost.restore(vhost.snapshot())
    assert vhost.broker.http.get(f"/api/queues/{vhost.vhost}/q")["message_stats"]["publish"] == 6


# --- clients --------------------------------------------------------------------------------------------------------


def test_consumers_stay_where_their_queue_does(vhost: StateBox, channel: WireChannel) -> None:
    channel.queue("stays", durable=True)
    publish(channel, "stays", "a", "b")
    channel.queue("comes back", durable=True)
    taken = vhost.snapshot()
    channel.queue("goes", durable=True)
    channel.consume("goes", "2")
    channel.consume("comes back", "3")
    channel.consume("stays", "1")
    assert [message.body for message in channel.deliveries(2)] == [b"a", b"b"]
    channel.ack(1)
    vhost.restore(taken)
    assert channel.expect(Basic.Cancel).consumer_tag == "2"
    again = channel.deliveries(2)
    assert [(message.body, message.tag, message.method.redelivered) for message in again] == [(b"a", 3, False), (b"b", 4, False)]
    channel.ack(2)  # it vanished
    channel.ack(4, multiple=True)
    publish(channel, "comes back", "c")
    assert channel.deliver().method.consumer_tag == "3"
    channel.nothing_more()


def test_a_consumer_of_a_queue_that_became_another_is_told(vhost: StateBox, channel: WireChannel) -> None:
    channel.queue("q", durable=True)
    taken = vhost.snapshot()
    channel.call(queue_delete("q"))
    channel.queue("q", durable=True, arguments={"x-max-length": 5})
    channel.consume("q", "c")
    vhost.restore(taken)
    assert channel.expect(Basic.Cancel).consumer_tag == "c"
    assert channel.counts("q") == (0, 0)


def queue_delete(name: str) -> Any:

    return Queue.Delete(queue=name)


def test_exclusive_queues_come_back_to_their_connection(vhost: StateBox, channel: WireChannel) -> None:
    channel.queue("mine")
    publish(channel, "mine", "a")
    taken = vhost.snapshot()
    channel.call(queue_delete("mine"))
    assert vhost.restore(taken)["left_out"] == []
    assert channel.bodies("mine") == [b"a"]
    with vhost.wire() as other:
        second = other.open_channel()
        second.queue("theirs")
        both = vhost.snapshot()
        other.close()
    left_out = vhost.restore(both)["left_out"]
    assert left_out == ["exclusive queue 'theirs': the connection that declared it has ended"]
    assert queues(vhost) == ["mine"]


def test_connections_can_be_closed(vhost: StateBox, channel: WireChannel) -> None:
    plain(channel)
    channel.queue("mine")
    channel.counts("q")
    taken = vhost.snapshot()
    assert vhost.restore(taken, close_connections=True)["left_out"] == ["exclusive queue 'mine': the connection that declared it has ended"]
    channel.wire.expect_close(320, "CONNECTION_FORCED - the test closes all connections of its vhost")
    channel.wire.read_to_eof()
    with vhost.wire() as again:
        assert again.open_channel().counts("q") == (6, 0)


def test_confirms_are_answered(vhost: StateBox, channel: WireChannel) -> None:
    channel.queue("q", durable=True)
    taken = vhost.snapshot()
    channel.confirm_select()
    for number in range(200):
        channel.publish("", "q", b"%d" % number, delivery_mode=2)
        if number == 100:
            vhost.restore(taken)
    assert all(channel.confirms(200).values())
    vhost.restore(taken)
    assert channel.counts("q") == (0, 0)


def test_an_open_transaction_commits_into_what_is_there(vhost: StateBox, channel: WireChannel) -> None:
    channel.queue("q", durable=True)
    publish(channel, "q", "old")
    channel.tx_select()
    channel.publish("", "q", b"uncommitted")
    channel.counts("q")
    taken = vhost.snapshot()
    channel.publish("", "q", b"later")
    vhost.restore(taken)
    channel.commit()
    assert channel.bodies("q") == [b"old", b"uncommitted", b"later"]


def test_a_queue_that_expired_meanwhile_is_there_again_and_its_time_begins_anew(vhost: StateBox, channel: WireChannel) -> None:
    channel.queue("q", durable=True, arguments={"x-expires": 150})
    publish(channel, "q", "a")
    channel.counts("q")
    taken = vhost.snapshot()
    for _ in range(2):
        soon(lambda: not queues(vhost), what="the end of a queue's time")
        vhost.restore(taken)
        assert [each["payload"] for each in vhost.messages("q")] == ["a"]


def test_what_expired_meanwhile_dies_its_death(vhost: StateBox, channel: WireChannel) -> None:
    channel.queue("q", durable=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"})
    channel.queue("dead", durable=True)
    channel.publish("", "q", b"short", expiration="100")
    publish(channel, "q", "long")
    channel.counts("q")
    taken = vhost.snapshot()
    for _ in range(2):
        soon(lambda: vhost.messages("dead"), what="a dead letter")
        assert vhost.messages("dead")[0]["properties"]["headers"]["x-first-death-reason"] == "expired"
        vhost.restore(taken)
    assert [each["payload"] for each in vhost.messages("q")] == ["long"]


def test_moments_are_absolute_by_the_broker_s_clock(vhost: StateBox, channel: WireChannel) -> None:
    channel.exchange("d", "x-delayed-message", durable=True, arguments={"x-delayed-type": "fanout"})
    channel.queue("q", durable=True)
    channel.bind("q", "d")
    for hours, body in ((1, b"an hour"), (3, b"three hours")):
        channel.publish("", "q", body, expiration=str(hours * 3_600_000))
        channel.publish("d", "", b"after " + body, headers={"x-delay": hours * 3_600_000})
    channel.counts("q")
    taken = vhost.snapshot()
    vhost.broker.ask("POST", "/clock/advance", {"seconds": 7200})
    vhost.restore(taken)
    assert channel.bodies("q") == [b"three hours", b"after an hour"]
    vhost.broker.ask("POST", "/clock/advance", {"seconds": 3600})
    assert channel.bodies("q") == [b"after three hours"]


# --- while it happens ----------------------------------------------------------------------------------------------

MANY = 20_000


def fill(channel: WireChannel) -> None:
    channel.queue("q", durable=True)
    send_many(channel.wire, publish_bytes(channel.number, "", "q", b"x" * 10), MANY)
    assert channel.counts("q") == (MANY, 0)


def test_who_asked_may_go_away(vhost: StateBox, channel: WireChannel) -> None:
    """What was begun is done: nothing is half restored."""
    fill(channel)
    taken = vhost.snapshot()
    channel.call(Queue.Purge, queue="q")
    asking = http.client.HTTPConnection(vhost.broker.host, vhost.broker.http_port)
    headers = {"Authorization": f"Bearer {vhost.broker.card['token']}"}
    asking.request("POST", f"{ROOT_PATH}/vhosts/{vhost.vhost}/snapshots/{taken}/restore", headers=headers)
    soon(lambda: vhost.broker.http.get(f"/api/queues/{vhost.vhost}/q")["messages"], what="the first messages")
    asking.close()
    assert channel.counts("q") == (MANY, 0)  # nobody is heard before it is over
    channel.publish("", "q", b"after")
    assert channel.counts("q") == (MANY + 1, 0)


def test_a_sandbox_may_end_meanwhile(testing_broker: Supervised) -> None:
    ended = StateBox(testing_broker)
    fill(ended.wire().open_channel())
    taken = ended.snapshot()
    statuses: list[int] = []

    def restore() -> None:
        with Http(testing_broker.host, testing_broker.http_port) as asking:
            headers = {"Authorization": f"Bearer {testing_broker.card['token']}"}
            path = f"{ROOT_PATH}/vhosts/{ended.vhost}/snapshots/{taken}/restore"
            statuses.append(asking.ask("POST", path, headers=headers, credentials=("", "")).status)

    ended.reset()
    thread = threading.Thread(target=restore)
    thread.start()
    soon(lambda: testing_broker.http.get(f"/api/queues/{ended.vhost}/q")["messages"], what="the first messages")
    ended.end()
    thread.join()
    assert statuses in ([404], [200])
    again = StateBox(testing_broker)
    assert again.restore(again.snapshot()) == {"queues": 0, "messages": 0, "left_out": []}
    again.end()


# --- which ----------------------------------------------------------------------------------------------------------


def test_several_are_kept_and_let_go(vhost: StateBox, channel: WireChannel) -> None:
    channel.queue("q", durable=True)
    numbers = []
    for body in "abc":
        numbers.append(vhost.snapshot())
        publish(channel, "q", body)
        channel.counts("q")
    told = vhost.ask("GET", "/snapshots")
    assert [(each["id"], each["queues"], each["messages"]) for each in told] == [(numbers[0], 1, 0), (numbers[1], 1, 1), (numbers[2], 1, 2)]
    for number, count in ((numbers[2], 2), (numbers[0], 0), (numbers[1], 1)):
        assert vhost.restore(number)["messages"] == count
        assert channel.counts("q") == (count, 0)
    vhost.ask("DELETE", f"/snapshots/{numbers[1]}", status=204)
    for method, path in (("DELETE", ""), ("POST", "/restore")):
        vhost.ask(method, f"/snapshots/{numbers[1]}{path}", status=404)
    assert [each["id"] for each in vhost.ask("GET", "/snapshots")] == [numbers[0], numbers[2]]


def test_they_go_with_their_sandbox(testing_broker: Supervised) -> None:
    first = StateBox(testing_broker, "again")
    number = first.snapshot()
    first.end()
    second = StateBox(testing_broker, "again")
    assert second.ask("GET", "/snapshots") == []
    assert "a restart of the broker forgets all of them" in str(second.ask("POST", f"/snapshots/{number}/restore", status=404))
    second.end()


def test_other_vhosts_are_left_alone(vhost: StateBox, testing_broker: Supervised, channel: WireChannel) -> None:
    other = StateBox(testing_broker)
    with other.wire() as wire:
        theirs = wire.open_channel()
        theirs.queue("q", durable=True)
        publish(theirs, "q", "a", "b")
        theirs.take("q", no_ack=False)
        plain(channel)
        vhost.restore(vhost.snapshot())
        vhost.reset(everything=True)
        theirs.ack(1)
        assert theirs.bodies("q") == [b"b"]
    other.end()
