"""Queues: what they are declared with, what is told of them, how they go."""

from tests.admin.walk import Walk

V = "qs"


def has_stats(body: object) -> bool:
    """Whether all queues have their figures, which RabbitMQ collects by and by."""
    queues = body if isinstance(body, list) else [body]
    return all("messages_details" in queue and "memory" in queue for queue in queues)


ARGUMENTS = {
    "x-message-ttl": 60000, "x-expires": 1800000, "x-max-length": 100, "x-max-length-bytes": 100000, "x-overflow": "reject-publish",
    "x-dead-letter-exchange": "amq.fanout", "x-dead-letter-routing-key": "dead", "x-single-active-consumer": True, "x-max-priority": 5,
    "x-queue-mode": "lazy", "x-queue-version": 2, "x-own": "anything", "x-number": 1.5, "x-list": [1, "a", {"b": True}],
}  # fmt: skip


def queues(walk: Walk) -> None:
    walk.vhost(V)
    walk.get(f"/queues/{V}")
    walk.get("/queues/nowhere")
    walk.put(f"/queues/{V}/plain", note="no body")
    walk.put(f"/queues/{V}/plain", {}, note="again")
    walk.put(f"/queues/{V}/durable", {"durable": True, "auto_delete": False, "arguments": {}})
    walk.put(f"/queues/{V}/transient", {"durable": False})
    walk.put(f"/queues/{V}/deleting", {"durable": True, "auto_delete": True})
    walk.put(f"/queues/{V}/strings", {"durable": "true", "auto_delete": "false"})
    walk.put(f"/queues/{V}/admin", {"name": "admin", "vhost": V, "node": walk.node, "durable": "true", "queue_type": "classic"})
    walk.put(f"/queues/{V}/all", {"durable": True, "arguments": ARGUMENTS})
    walk.put(f"/queues/{V}/quorum", {"durable": True, "arguments": {"x-queue-type": "quorum", "x-delivery-limit": 3}})
    walk.put(f"/queues/{V}/classic", {"durable": True, "arguments": {"x-queue-type": "classic"}})
    for name in ("plain", "durable", "transient", "deleting", "strings", "admin", "all", "quorum", "classic"):
        walk.get(
            f"/queues/{V}/{name}", until=lambda queue: (has_stats(queue) and queue["exclusive_consumer_tag"] is None) or "leader" in queue
        )
    walk.get(f"/queues/{V}/none")
    walk.get("/queues/nowhere/q")
    _refused(walk)
    walk.put(f"/queues/{V}/with%20space", {})
    walk.put(f"/queues/{V}/with%2Fslash", {})
    walk.put(f"/queues/{V}/%E2%82%AC", {})
    for name in ("with%20space", "with+space", "with%2Fslash", "%E2%82%AC"):
        walk.get(f"/queues/{V}/{name}?columns=name,vhost")
    walk.get(f"/queues/{V}", until=has_stats)
    walk.get("/queues", until=has_stats)
    walk.get(f"/queues/{V}?disable_stats=true")
    walk.get(f"/queues/{V}?disable_stats=true&enable_queue_totals=true")
    walk.get(f"/queues/{V}/durable?disable_stats=true")
    walk.get(f"/queues/{V}/durable/bindings")
    walk.get(f"/queues/{V}/none/bindings")
    _deleting(walk)


def _refused(walk: Walk) -> None:
    walk.put(f"/queues/{V}/durable", {"durable": False})
    walk.put(f"/queues/{V}/durable", {"durable": True, "auto_delete": True})
    walk.put(f"/queues/{V}/durable", {"durable": True, "arguments": {"x-max-length": 1}})
    walk.put(f"/queues/{V}/all", {"durable": True, "arguments": ARGUMENTS | {"x-max-length": 1}})
    walk.put(f"/queues/{V}/amq.mine", {})
    walk.put("/queues/nowhere/q", {})
    for body in (
        {"durable": "maybe"},
        {"durable": 5},
        {"durable": None},
        {"auto_delete": []},
        {"arguments": 5},
        {"arguments": []},
        {"arguments": None},
        {"arguments": {"x-message-ttl": "60000"}},
        {"arguments": {"x-message-ttl": -1}},
        {"arguments": {"x-max-length": 1.5}},
        {"arguments": {"x-expires": 0}},
        {"arguments": {"x-overflow": "nope"}},
        {"arguments": {"x-queue-type": "nope"}},
        {"arguments": {"x-max-priority": 256}},
        {"arguments": {"x-dead-letter-exchange": 5}},
        {"durable": False, "arguments": {"x-queue-type": "quorum"}},
        {"node": "nobody@nowhere"},
        {"node": 5},
        {"exclusive": True},
    ):
        walk.put(f"/queues/{V}/refused", body, note=str(body))
        walk.quietly("DELETE", f"/queues/{V}/refused")
    for raw in (b"", b"{", b"[]", b"5", b"null", b'"x"'):
        walk.put(f"/queues/{V}/refused", raw, note=raw.decode())
        walk.quietly("DELETE", f"/queues/{V}/refused")
    walk.put(f"/queues/{V}/{'x' * 256}", {}, note="256 letters")


def _deleting(walk: Walk) -> None:
    body = {"properties": {}, "routing_key": "durable", "payload": "x", "payload_encoding": "string"}
    walk.quietly("POST", f"/exchanges/{V}/amq.default/publish", body)
    walk.delete(f"/queues/{V}/durable?if-empty=true")
    walk.delete(f"/queues/{V}/durable/contents")
    walk.delete(f"/queues/{V}/none/contents")
    walk.delete("/queues/nowhere/q/contents")
    with walk.connect("consumer", vhost=V) as wire:
        channel = wire.open_channel()
        channel.consume("durable", "tag")
        walk.delete(f"/queues/{V}/durable?if-unused=true")
        walk.delete(f"/queues/{V}/durable?if-empty=true&if-unused=true")
        own = channel.queue("own", exclusive=True)
        walk.delete(f"/queues/{V}/{own}")
        walk.delete(f"/queues/{V}/{own}/contents")
        walk.put(f"/queues/{V}/{own}", {})
        walk.post(f"/queues/{V}/{own}/get", {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"})
        wire.close()
    walk.delete(f"/queues/{V}/durable?if-empty=false&if-unused=nonsense")
    walk.delete(f"/queues/{V}/durable", note="again")
    walk.delete(f"/queues/{V}/quorum?if-empty=true")
    walk.delete(f"/queues/{V}/quorum")
    walk.delete("/queues/nowhere/q")
    walk.get(f"/queues/{V}?columns=name")
    walk.post(f"/queues/{V}/plain/actions", {"action": "sync"})
    walk.post(f"/queues/{V}/plain/actions", {"action": "nope"})
    walk.post(f"/queues/{V}/plain/actions", {})
    walk.post(f"/queues/{V}/none/actions", {"action": "sync"})


def busy(walk: Walk) -> None:
    """A queue with messages, unacked ones, consumers, traffic in both directions, and an exclusive one."""
    walk.vhost("busy")
    with walk.connect("publisher", vhost="busy") as publisher, walk.connect("consumer", vhost="busy") as taker:
        out, inwards = publisher.open_channel(), taker.open_channel()
        out.queue("work", durable=True)
        out.queue("pending", durable=True)
        inwards.queue("own", exclusive=True)
        inwards.queue("reply", auto_delete=True)
        out.bind("work", "amq.topic", "a.#")
        out.confirm_select()
        out.publish_confirmed("", "work", *[b"0123456789"] * 10, delivery_mode=2)
        out.publish_confirmed("amq.topic", "a.b", b"0123456789", timestamp=1700000000)
        out.publish_confirmed("", "pending", *[b"0123456789"] * 4, delivery_mode=2, timestamp=1700000000)
        inwards.consume("own", "mine", exclusive=True)
        inwards.qos(3)
        inwards.consume("work", "taker", arguments={"x-priority": 2})
        inwards.deliveries(3)
        inwards.ack(1)
        inwards.deliver()
        assert inwards.get("pending") is not None
        assert inwards.get("pending", no_ack=False) is not None

        def settled(queue: dict) -> bool:  # type: ignore[type-arg]
            stats = queue["message_stats"]
            return queue["messages"] == 10 and queue["messages_unacknowledged"] == 3 and stats["ack"] == 1 and stats["publish"] == 11

        walk.get("/queues/busy/work", until=settled)
        walk.get("/queues/busy/pending", until=lambda queue: queue["message_stats"]["get_no_ack"] == 1 and queue["messages"] == 3)
        walk.get("/queues/busy/own", until=lambda queue: queue["consumers"] == 1 and has_stats(queue))
        walk.get("/queues/busy/reply", until=has_stats)
        walk.get("/queues/busy", until=lambda queues: has_stats(queues) and settled(queues[3]))
        walk.get("/queues/busy?disable_stats=true&enable_queue_totals=true")
        walk.get("/queues/busy/work?columns=messages,message_stats.publish,consumer_details.consumer_tag")
        walk.get("/consumers/busy", until=lambda consumers: len(consumers) == 2)
        walk.get("/consumers")
        walk.get("/exchanges/busy/amq.topic", until=lambda exchange: exchange["message_stats"]["publish_out"] == 1)
        walk.get("/exchanges/busy/amq.default", until=lambda exchange: exchange["message_stats"]["publish_in"] == 14)
        walk.delete("/queues/busy/work/contents")
        walk.get(
            "/queues/busy/work",
            until=lambda queue: queue["messages"] == 3 and queue["messages_ready"] == 0 and queue["message_bytes"] == 30,
        )
        publisher.close()
        taker.close()
    walk.get(
        "/queues/busy?columns=name,consumers", until=lambda queues: len(queues) == 3 and all(queue["consumers"] == 0 for queue in queues)
    )
    walk.get(
        "/queues/busy/work",
        until=lambda queue: queue["messages_ready"] == 3 and "consumer_details" in queue and not queue["consumer_details"],
    )
    walk.get("/queues/busy/own")


def messages(walk: Walk) -> None:
    """POST .../get."""
    walk.vhost(V)
    walk.quietly("PUT", f"/queues/{V}/q", {"durable": True})
    where = f"/queues/{V}/q/get"
    good = {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}
    walk.post(where, good)
    with walk.connect("client", vhost=V) as wire:
        channel = wire.open_channel()
        channel.confirm_select()
        channel.publish_confirmed(
            "", "q", b"text", content_type="text/plain", delivery_mode=2, headers={"a": 1, "b": [True, None, "x"], "c": {"d": 2.5}}
        )
        channel.publish_confirmed("amq.fanout", "lost", b"nowhere")
        channel.publish_confirmed("", "q", b"\xff\x00\xfe")
        channel.publish_confirmed("", "q", b"", priority=3)
        channel.publish_confirmed("", "q", "\u20ac".encode() * 100)
        wire.close()
    walk.post(where, good | {"count": 10})
    walk.post(where, good | {"count": 10}, note="again: redelivered")
    walk.post(where, good | {"count": 10, "encoding": "base64"})
    walk.post(where, good | {"count": 10, "truncate": 7})
    walk.post(
        where,
        good | {"count": "2", "truncate": "50000", "name": "q", "vhost": V, "payload_file": None, "queue": "q"},
        note="numbers as text",
    )
    walk.post(where, good | {"ackmode": "reject_requeue_true"})
    walk.post(where, good | {"count": 0})
    walk.post(where, good | {"count": -1})
    for bad in (
        {"count": "x"},
        {"count": 1.5},
        {"count": None},
        {"ackmode": "nope"},
        {"ackmode": 5},
        {"encoding": "rot13"},
        {"truncate": "x"},
    ):
        walk.post(where, good | bad, note=str(bad))
    for key in good:
        walk.post(where, {name: value for name, value in good.items() if name != key}, note=f"without {key}")
    walk.post(where, {"count": 1, "requeue": True, "encoding": "auto"}, note="requeue, of old")
    walk.post(where, {"count": 1, "requeue": False, "encoding": "auto", "ackmode": "ack_requeue_true"}, note="requeue and ackmode")
    for raw in (b"", b"{", b"[]"):
        walk.post(where, raw, note=raw.decode())
    walk.post(where, good | {"ackmode": "ack_requeue_false"})
    walk.post(where, good | {"ackmode": "reject_requeue_false"})
    walk.post(where, good | {"count": 10, "ackmode": "ack_requeue_false"})
    walk.post(where, good)
    walk.post(f"/queues/{V}/none/get", good)
    walk.post("/queues/nowhere/q/get", good)
    walk.get(f"/queues/{V}/q/get")
