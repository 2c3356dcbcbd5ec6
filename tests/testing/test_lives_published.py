"""How a message's life begins: who published it, where it was routed and why, and what nobody got."""

from collections.abc import Iterator
from typing import Any

import pytest
from pamqp.commands import Basic, Exchange, Queue, Tx

from tests.testing.box import Box
from tests.testing.stories import heard, kinds, life, lives, story, without_gaps
from tests.wire import METHOD, WireChannel, content_frames, encode_method, frame_bytes


@pytest.fixture(autouse=True)
def whole(box: Box) -> Iterator[None]:
    yield from without_gaps(box)


@pytest.fixture
def channel(box: Box) -> WireChannel:
    opened = box.wire("shop").open_channel()
    for name in ("orders", "audit"):
        opened.queue(name, exclusive=False)
    return opened


def why(of: dict[str, Any]) -> dict[str, str]:
    return {each["queue"]: each["why"] for each in of["routed"]}


# --- published ------------------------------------------------------------------------------------------------------


def test_all_that_is_known_of_it(box: Box, channel: WireChannel) -> None:
    channel.confirm_select()
    channel.exchange("sales", "topic")
    channel.bind("orders", "sales", "orders.*")
    before = box.broker.ask("GET", "")["now_ms"]
    channel.publish("sales", "orders.new", b'{"id": 7}', mandatory=True, message_id="m7", headers={"n": 1})
    channel.confirms(1)
    found = life(box)
    assert before <= found["published_ms"] <= box.broker.ask("GET", "")["now_ms"]
    assert found["by"] | {"connection": ""} == {
        "connection": "", "client_name": "shop", "user": box.user, "channel": channel.number,
    }  # fmt: skip
    assert found["by"]["connection"].endswith(f"-> 127.0.0.1:{box.broker.port}")
    assert (found["exchange"], found["routing_key"], found["payload"], found["payload_encoding"]) == (
        "sales", "orders.new", '{"id": 7}', "string",
    )  # fmt: skip
    assert found["properties"] == {"message_id": "m7", "headers": {"n": 1}}
    assert found["mandatory"] and found["confirm"] == 1 and found["unroutable"] is None and found["state"] == "routed"
    assert story(found) == [
        "published shop/1",
        "routed 'orders': 'orders.new' fits 'orders.*': * is 'new'",
        "confirmed shop/1",
    ]
    hop = {"exchange": "sales", "why": "'orders.new' fits 'orders.*': * is 'new'", "binding_key": "orders.*", "arguments": {}}
    assert found["routed"] == [{"queue": "orders", "why": hop["why"], "through": [hop]}]


def test_each_of_a_run_has_a_life(box: Box, channel: WireChannel) -> None:
    channel.confirm_select()
    for number in range(50):
        channel.publish("", "orders", b"%d" % number)
    channel.confirms(50)
    found = lives(box)
    assert [each["payload"] for each in found] == [str(number) for number in range(50)]
    assert [each["confirm"] for each in found] == list(range(1, 51))
    assert all(kinds(each) == ["published", "routed", "confirmed"] for each in found)
    assert [each["id"] for each in lives(box, limit=2)] == [each["id"] for each in found[-2:]]


def test_a_big_body_is_cut_where_no_character_is(box: Box, channel: WireChannel) -> None:
    channel.publish("", "orders", "ä".encode() * 40_000)
    channel.publish("", "orders", b"x" + "ä".encode() * 40_000)
    channel.publish("", "orders", b"\xff" * 65_537)
    heard(channel)
    even, odd, octets = lives(box)
    assert (even["payload"], even["payload_bytes"], even["is_truncated"]) == ("ä" * 32_768, 80_000, True)
    assert odd["payload"] == "x" + "ä" * 32_767
    assert octets["payload_encoding"] == "base64" and octets["is_truncated"]
    messages = box.ask("GET", "/queues/orders/messages")
    assert [len(each["payload"]) for each in messages[:2]] == [40_000, 40_001]


# --- routed ---------------------------------------------------------------------------------------------------------


def test_why_it_came_there(box: Box, channel: WireChannel) -> None:
    channel.exchange("fan", "fanout")
    channel.bind("orders", "fan")
    channel.exchange("heads", "headers")
    channel.bind("orders", "heads", arguments={"x-match": "all", "kind": "new"})
    channel.exchange("straight")
    channel.bind("orders", "straight", "a")
    channel.bind("audit", "straight", "b")
    channel.publish("", "orders", b"default")
    channel.publish("fan", "any", b"fanout")
    channel.publish("heads", "any", b"headers", headers={"kind": "new"})
    channel.publish("straight", "a", b"cc", headers={"CC": ["b"]})
    heard(channel)
    default, fanout, headers, cc = lives(box)
    assert why(default) == {"orders": "the routing key is the queue's name"}
    assert why(fanout) == {"orders": "an exchange of type fanout sends everything to every binding"}
    assert why(headers) == {"orders": "all are as they should be: 'kind'"}
    assert headers["routed"][0]["through"][0]["arguments"] == {"x-match": "all", "kind": "new"}
    assert why(cc) == {
        "orders": "the routing key is its binding key 'a'",
        "audit": "its binding key 'b' is one of the keys in CC and BCC",
    }
    assert cc["routing_keys"] == ["a", "b"] and lives(box, routing_key="b") == [cc]


def test_the_way_through_several_exchanges(box: Box, channel: WireChannel) -> None:
    channel.exchange("last", "fanout")
    channel.exchange("first", "topic", arguments={"alternate-exchange": "last"})
    channel.exchange("second", "topic")
    channel.call(Exchange.Bind, destination="second", source="first", routing_key="a.#")
    channel.bind("orders", "second", "*.b")
    channel.bind("audit", "last")
    channel.publish("first", "a.b", b"on")
    channel.publish("first", "c", b"alternate")
    heard(channel)
    on, alternate = lives(box)
    assert why(on) == {"orders": "exchange 'first': 'a.b' fits 'a.#': # is 'b'; exchange 'second': 'a.b' fits '*.b': * is 'a'"}
    assert why(alternate) == {
        "audit": "exchange 'first': nothing matches there, and 'last' is its alternate exchange; "
        "exchange 'last': an exchange of type fanout sends everything to every binding"
    }


def test_an_exchange_that_chooses_by_a_hash_or_by_chance(box: Box, channel: WireChannel) -> None:
    channel.exchange("hash", "x-consistent-hash")
    channel.bind("orders", "hash", "1")
    channel.exchange("luck", "x-random")
    channel.bind("orders", "luck")
    channel.bind("audit", "luck")
    for exchange in ("hash", "luck"):
        channel.publish(exchange, "k")
    heard(channel)
    by_hash, by_chance = lives(box)
    assert why(by_hash) == {"orders": "the hash falls to it"}
    assert list(why(by_chance).values()) == ["any binding may be the one"]


def test_what_an_exchange_delays_keeps_its_life(box: Box, channel: WireChannel) -> None:
    channel.exchange("later", "x-delayed-message", arguments={"x-delayed-type": "direct"})
    channel.bind("orders", "later", "k")
    box.broker.ask("POST", "/clock/freeze")  # or it may go on between the publish and the delay
    for key, delay in (("k", 600_000), ("k", 30), ("nothing", 30), ("k", 0)):
        channel.publish("later", key, b"%d" % delay, headers={"x-delay": delay})
    heard(channel)
    box.broker.ask("POST", "/clock/advance", {"seconds": 1})
    box.broker.ask("POST", "/clock/resume")
    held, due, nowhere, at_once = lives(box)
    queue = "amq.delayed.later"
    assert story(held) == ["published shop/1", f"delayed '{queue}': for 600 s, by exchange 'later'"]
    assert held["queues"][0] | {"since_ms": 0} == {
        "queue": queue, "state": "delayed", "since_ms": 0, "due_ms": held["published_ms"] + 600_000, "who": None,
    }  # fmt: skip
    assert story(due) == [
        "published shop/1",
        f"delayed '{queue}': for 0.030 s, by exchange 'later'",
        f"due '{queue}'",
        "routed 'orders': the routing key is its binding key 'k'",
    ]
    assert story(nowhere)[3:] == ["unroutable: matched no binding; there is 'k'"]
    assert nowhere["unroutable"] == "matched no binding; there is 'k'"
    assert kinds(at_once) == ["published", "routed"]
    (message,) = box.ask("GET", f"/queues/{queue}/messages")
    assert (message["state"], message["id"], message["due_at_ms"]) == ("delayed", held["id"], held["published_ms"] + 600_000)
    assert {each["id"] for each in box.ask("GET", "/queues/orders/messages")} == {due["id"], at_once["id"]}


def test_what_an_exchange_has_kept_for_new_bindings(box: Box, channel: WireChannel) -> None:
    channel.exchange("news", "x-recent-history")
    channel.publish("news", "k", b"old")
    channel.bind("orders", "news")
    first, again = lives(box)
    assert kinds(first) == ["published", "unroutable"]
    assert story(again) == [
        "kept: by exchange 'news', for what is bound to it later",
        "routed 'orders': what is newly bound gets what the exchange has kept",
    ]
    assert again["payload"] == "old" and again["by"]["user"] is None


def test_what_the_broker_says_itself(box: Box, channel: WireChannel) -> None:
    broker = box.broker.http
    assert broker.ask("PUT", f"/api/vhosts/{box.vhost}", {"tracing": True}).status == 204
    channel.bind("audit", "amq.rabbitmq.trace", "publish.#")
    channel.publish("", "orders", b"seen")
    heard(channel)
    seen, trace = lives(box)
    assert kinds(trace) == ["announced", "routed"] and why(trace) == {"audit": "'publish.' fits 'publish.#': # is ''"}
    assert seen["payload"] == trace["payload"] == "seen"


def test_http_publishes_as_management(box: Box, channel: WireChannel) -> None:
    body = {"routing_key": "orders", "properties": {}, "payload": "by hand", "payload_encoding": "string"}
    login = box.user, box.password
    answer = box.broker.http.ask("POST", f"/api/exchanges/{box.vhost}/amq.default/publish", body, credentials=login)
    assert answer.json == {"routed": True}
    found = life(box)
    assert kinds(found) == ["published", "routed", "confirmed"]
    assert (found["by"]["connection"], found["by"]["user"], found["mandatory"]) == ("management", box.user, True)


# --- direct reply-to ------------------------------------------------------------------------------------------------


def test_a_direct_reply(box: Box, channel: WireChannel) -> None:
    asking = box.wire("asker").open_channel()
    asking.consume("amq.rabbitmq.reply-to", "me", no_ack=True)
    asking.publish("", "orders", b"?", reply_to="amq.rabbitmq.reply-to")
    heard(asking)
    address = channel.take("orders").properties["reply_to"]
    channel.publish("", address, b"!")
    assert asking.deliver().body == b"!"
    asking.cancel("me")
    channel.publish("", address, b"too late")
    heard(channel)
    reply, late = lives(box)[1:]
    assert story(reply) == ["published shop/1", "delivered me #1 of asker/1: a direct reply, which isn't acked"]
    assert reply["unroutable"] is None and reply["state"] == "delivered"
    assert story(late) == ["published shop/1", "unroutable: found nobody who waits for that reply"]


# --- nobody gets it -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "arguments", "bindings", "key", "headers", "told"),
    [
        ("topic", {}, [("orders.*", {})], "order.new", {}, "matched no binding; nearest: 'orders.*'"),
        (
            "topic",
            {},
            [("Orders", {})],
            "orders",
            {},
            "matched no binding; nearest: 'Orders' ('Orders' and 'orders' differ in upper and lower case)",
        ),
        (
            "direct",
            {},
            [("x", {}), ("y", {}), ("z", {}), ("a", {})],
            "orders",
            {},
            "matched no binding; there are 'x', 'y', 'z' and 1 more",
        ),
        ("fanout", {}, [], "orders", {}, "matched no binding: there is none"),
        (
            "topic",
            {"alternate-exchange": "lost"},
            [],
            "k",
            {},
            "matched no binding, and its alternate exchange 'lost' doesn't exist: there is none",
        ),
        (
            "topic",
            {"alternate-exchange": "amq.direct"},
            [("b", {})],
            "k",
            {},
            "matched no binding, nor one of its alternate exchange 'amq.direct'; there is 'b'",
        ),
        (
            "headers",
            {},
            [("", {"x-match": "all", "a": 1, "b": 1})],
            "k",
            {"a": 1},
            "matched no binding; nearest: {'x-match': 'all', 'a': 1, 'b': 1}",
        ),
        ("headers", {}, [("", {"x-match": "all", "a": 1})], "k", {}, "matched no binding; there is {'x-match': 'all', 'a': 1}"),
    ],
    ids=range(8),
)
def test_why_no_queue_got_it(
    box: Box, channel: WireChannel, kind: str, arguments: dict[str, Any], bindings: Any, key: str, headers: dict[str, Any], told: str
) -> None:
    channel.exchange("e", kind, arguments=arguments)
    for bound, asked in bindings:
        channel.bind("orders", "e", bound, asked)
    channel.publish("e", key, b"x", **({"headers": headers} if headers else {}))
    heard(channel)
    found = life(box)
    assert found["unroutable"] == told
    assert story(found) == ["published shop/1", f"unroutable: {told}"] and found["state"] == "unroutable"


def test_the_default_exchange_finds_no_queue(box: Box, channel: WireChannel) -> None:
    for key in ("order", "Orders", "x"):
        channel.publish("", key)
    heard(channel)
    assert [each["unroutable"] for each in lives(box)] == [
        "found no queue of that name; nearest: 'orders'",
        "found no queue of that name; nearest: 'orders' ('orders' and 'Orders' differ in upper and lower case)",
        "found no queue of that name; there are 'orders', 'audit'",
    ]


def test_an_exchange_on_the_way_matches_nothing(box: Box, channel: WireChannel) -> None:
    channel.exchange("first", "fanout")
    channel.exchange("second", "topic")
    channel.call(Exchange.Bind, destination="second", source="first")
    channel.bind("orders", "second", "orders.#")
    channel.publish("first", "order.x")
    heard(channel)
    assert life(box)["unroutable"] == "went on to exchange 'second', but matched no binding there; nearest: 'orders.#'"


def test_a_returned_one_and_its_confirm(box: Box, channel: WireChannel) -> None:
    channel.confirm_select()
    channel.publish("", "nowhere", b"x", mandatory=True)
    channel.returned()
    channel.confirms(1)
    assert kinds(life(box)) == ["published", "unroutable", "returned", "confirmed"]
    assert life(box)["state"] == "unroutable"


def test_duplicates(box: Box, channel: WireChannel) -> None:
    channel.exchange("once", "x-message-deduplication", durable=True, arguments={"x-cache-size": 10, "x-cache-persistence": "disk"})
    channel.bind("orders", "once")
    channel.queue("single", exclusive=False, arguments={"x-message-deduplication": True})
    for _ in range(2):
        channel.publish("once", "k", b"x", headers={"x-deduplication-header": "a"})
        channel.publish("", "single", b"x", headers={"x-deduplication-header": "a"})
    heard(channel)
    first, kept, second, dropped = lives(box)
    assert why(first) == {"orders": "an exchange of type x-message-deduplication sends everything to every binding"}
    assert second["unroutable"] == "was a duplicate: a message with the same x-deduplication-header was there lately"
    assert kinds(kept) == ["published", "routed"]
    assert story(dropped) == ["published shop/1", "ignored 'single': the queue has one with the same x-deduplication-header"]
    assert [each["queue"] for each in dropped["routed"]] == ["single"] and dropped["unroutable"] is None


# --- refused --------------------------------------------------------------------------------------------------------


def test_a_full_queue_refuses(box: Box, channel: WireChannel) -> None:
    channel.queue("short", exclusive=False, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    channel.queue("small", exclusive=False, arguments={"x-max-length-bytes": 3, "x-overflow": "reject-publish"})
    channel.confirm_select()
    channel.exchange("fan", "fanout")
    channel.bind("short", "fan")
    channel.bind("orders", "fan")
    for exchange, key in (("", "short"), ("fan", ""), ("", "small"), ("", "small")):
        channel.publish(exchange, key, b"ab")
    assert channel.confirms(4) == {1: True, 2: False, 3: True, 4: False}
    _, half, _, bytes_ = lives(box)
    assert story(half) == [
        "published shop/1",
        "refused 'short': it has 1 message ready, and takes 1",
        "routed 'orders': an exchange of type fanout sends everything to every binding",
        "nacked shop/1",
    ]
    assert [each["queue"] for each in half["routed"]] == ["short", "orders"] and half["state"] == "routed"
    assert story(bytes_)[1] == "refused 'small': it has 2 bytes ready, and takes 3" and bytes_["state"] == "refused"
    assert lives(box, state="refused", queue="short") == [half]


def test_what_is_refused_may_be_a_dead_letter(box: Box, channel: WireChannel) -> None:
    arguments = {"x-max-length": 1, "x-overflow": "reject-publish-dlx", "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "audit"}
    channel.queue("short", exclusive=False, arguments=arguments)
    for body in (b"1", b"2"):
        channel.publish("", "short", body)
    heard(channel)
    found = {(each["payload"], each["origin"]): each for each in lives(box)}
    refused, dead = found["2", "published"], found["2", "dead-letter"]
    assert story(refused) == [
        "published shop/1",
        "refused 'short': it has 1 message ready, and takes 1",
        "dead-lettered 'short': maxlen: to the default exchange with key 'audit' ->",
    ]
    assert story(dead) == ["dead-letter: maxlen in 'short'", "routed 'audit': the routing key is the queue's name"]
    assert refused["next"] == [dead["id"]] and dead["previous"] == refused["id"]


# --- never a message ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exchange", "properties", "told"),
    [
        ("shopp", {}, "404 NOT_FOUND - no exchange 'shopp' in vhost '{vhost}'; nearest: 'shop'"),
        ("nothing", {}, "404 NOT_FOUND - no exchange 'nothing' in vhost '{vhost}'"),
        ("shop", {"expiration": "soon"}, "406 PRECONDITION_FAILED - invalid expiration 'soon': no_integer"),
        ("hidden", {}, "403 ACCESS_REFUSED - cannot publish to internal exchange 'hidden' in vhost '{vhost}'"),
    ],
    ids=["mistyped", "unknown", "expiration", "internal"],
)
def test_a_publish_that_closes_the_channel(box: Box, channel: WireChannel, exchange: str, properties: dict[str, str], told: str) -> None:
    channel.exchange("shop")
    channel.exchange("hidden", internal=True)
    channel.publish(exchange, "k", b"x", mandatory=True, **properties)
    channel.expect_close(int(told[:3]))
    found = life(box)
    assert story(found) == [f"failed shop/1: the channel was closed: {told.format(vhost=box.vhost)}"]
    assert (found["state"], found["origin"], found["exchange"], found["payload"]) == ("failed", "failed", exchange, "x")
    assert found["routed"] == [] and str(found["id"]).startswith("failed-")
    assert not lives(box, state="published")


def test_what_came_before_the_error_counts_and_what_came_behind_does_not(box: Box, channel: WireChannel) -> None:
    properties = [{}, {"expiration": "x"}, {}]
    data = b"".join(_frames(channel, b"%d" % number, each) for number, each in enumerate(properties))
    channel.wire.send_raw(data)
    channel.expect_close(406)
    assert [(each["payload"], each["state"]) for each in lives(box)] == [("0", "routed"), ("1", "failed")]


def _frames(channel: WireChannel, body: bytes, properties: dict[str, Any]) -> bytes:
    method = frame_bytes(METHOD, channel.number, encode_method(Basic.Publish, exchange="", routing_key="orders"))
    return method + content_frames(channel.number, body, properties, 131_072)


def test_a_transaction(box: Box, channel: WireChannel) -> None:
    channel.call(Tx.Select)
    channel.publish("", "orders", b"1")
    heard(channel)
    assert lives(box) == [], "it isn't committed"
    channel.commit()
    channel.publish("", "orders", b"2")
    channel.publish("", "nowhere", b"3")
    channel.rollback()
    channel.publish("", "orders", b"4")
    channel.close()
    committed, routed, unroutable, closed = lives(box)
    assert story(committed) == ["published shop/1: tx.commit", "routed 'orders': the routing key is the queue's name"]
    assert story(routed) == ["rolled-back shop/1: tx.rollback"] and list(why(routed)) == ["orders"]
    assert story(unroutable) == ["rolled-back shop/1: tx.rollback"]
    assert unroutable["unroutable"] == "found no queue of that name; there are 'orders', 'audit'"
    assert story(closed) == ["rolled-back shop/1: its channel was closed"]


def test_a_commit_routes_as_it_was_when_it_was_published(box: Box, channel: WireChannel) -> None:
    channel.exchange("sales", "topic")
    channel.bind("orders", "sales", "a")
    channel.bind("audit", "sales", "#")
    channel.call(Tx.Select)
    channel.publish("sales", "a")
    channel.publish("", "audit")
    channel.unbind("orders", "sales", "a")
    channel.call(Queue.Delete, queue="audit")
    channel.commit()
    first, gone = lives(box)
    assert why(first) == {"orders": "'a' fits 'a'", "audit": "'a' fits '#': # is 'a'"}
    assert kinds(first) == ["published", "routed"]
    assert story(gone)[1] == "unroutable: found its queues deleted at the commit"
