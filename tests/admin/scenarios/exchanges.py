"""Exchanges, and what is published to them over HTTP."""

from tests.admin.walk import Walk

V = "xs"


def exchanges(walk: Walk) -> None:
    walk.vhost(V)
    walk.get(f"/exchanges/{V}")
    walk.get("/exchanges/%2F?columns=name,type")
    walk.get("/exchanges/nowhere")
    walk.put(f"/exchanges/{V}/plain", note="no body")
    walk.put(f"/exchanges/{V}/plain", {}, note="again")
    walk.put(f"/exchanges/{V}/topic", {"type": "topic", "durable": True, "auto_delete": False, "internal": False, "arguments": {}})
    walk.put(f"/exchanges/{V}/strings", {"type": "fanout", "durable": "true", "auto_delete": "false", "internal": "false"})
    walk.put(f"/exchanges/{V}/odd", {"type": "headers", "durable": False, "auto_delete": True, "internal": True})
    walk.put(
        f"/exchanges/{V}/alt", {"type": "direct", "durable": True, "arguments": {"alternate-exchange": "amq.fanout", "x": 1, "y": [1.5]}}
    )
    walk.put(f"/exchanges/{V}/extra", {"type": "direct", "name": "other", "vhost": "other", "node": "n", "nonsense": []})
    walk.put(f"/exchanges/{V}/hash", {"type": "x-consistent-hash", "durable": True})
    for name in ("plain", "topic", "strings", "odd", "alt", "extra", "hash", "amq.topic", "amq.default", "none"):
        walk.get(f"/exchanges/{V}/{name}")
    walk.get("/exchanges/nowhere/x")
    _refused(walk)
    walk.put(f"/exchanges/{V}/with%20space", {})
    walk.put(f"/exchanges/{V}/with%2Fslash", {})
    walk.put(f"/exchanges/{V}/%E2%82%AC", {})
    for name in ("with%20space", "with+space", "with%2Fslash", "%E2%82%AC"):
        walk.get(f"/exchanges/{V}/{name}")
    walk.get(f"/exchanges/{V}")
    walk.get(f"/exchanges/{V}?sort=type&columns=name,type")
    walk.get(f"/exchanges/{V}?page=1&page_size=5&columns=name")
    walk.get(f"/exchanges/{V}?page=1&name=amq&columns=name")
    walk.get(f"/exchanges/{V}?page=1&name=%5Eamq%5C..%2Ac%24&use_regex=true&columns=name")
    for side in ("source", "destination"):
        walk.get(f"/exchanges/{V}/topic/bindings/{side}")
        walk.get(f"/exchanges/{V}/none/bindings/{side}")
    walk.quietly("PUT", f"/queues/{V}/q", {})
    walk.post(f"/bindings/{V}/e/topic/q/q", {"routing_key": "a"})
    walk.delete(f"/exchanges/{V}/topic?if-unused=true")
    walk.delete(f"/exchanges/{V}/plain?if-unused=true")
    walk.delete(f"/exchanges/{V}/topic?if-unused=false")
    walk.delete(f"/exchanges/{V}/topic", note="again")
    walk.delete(f"/exchanges/{V}/amq.topic")
    walk.delete(f"/exchanges/{V}/amq.default")
    walk.delete("/exchanges/nowhere/x")


def _refused(walk: Walk) -> None:
    walk.put(f"/exchanges/{V}/topic", {"type": "direct"})
    walk.put(f"/exchanges/{V}/topic", {"type": "topic", "durable": False})
    walk.put(f"/exchanges/{V}/topic", {"type": "topic", "durable": True, "arguments": {"x": 1}})
    walk.put(f"/exchanges/{V}/amq.mine", {"type": "topic"})
    walk.put(f"/exchanges/{V}/amq.default", {"type": "direct"})
    walk.put("/exchanges/nowhere/x", {"type": "topic"})
    for body in (
        {"type": "nope"},
        {"type": 5},
        {"type": None},
        {"type": ""},
        {"durable": "maybe"},
        {"durable": 5},
        {"durable": None},
        {"arguments": 5},
        {"arguments": []},
        {"arguments": None},
        {"arguments": {"alternate-exchange": 5}},
    ):
        walk.put(f"/exchanges/{V}/refused", body, note=str(body))
        walk.quietly("DELETE", f"/exchanges/{V}/refused")
    for raw in (b"{", b"[]", b"5", b"null", b'"x"'):
        walk.put(f"/exchanges/{V}/refused", raw, note=raw.decode())
        walk.quietly("DELETE", f"/exchanges/{V}/refused")


def publish(walk: Walk) -> None:
    walk.vhost(V)
    walk.quietly("PUT", f"/queues/{V}/q", {"durable": True})
    where = f"/exchanges/{V}/amq.default/publish"
    good = {"properties": {}, "routing_key": "q", "payload": "hello", "payload_encoding": "string"}
    walk.post(where, good)
    walk.post(where, good | {"routing_key": "nobody"})
    walk.post(where, good | {"payload": "aGVsbG8=", "payload_encoding": "base64"})
    walk.post(where, good | {"name": "amq.default", "vhost": V, "props": {}, "extra": 1}, note="extra keys")
    walk.post(where, good | {"properties": [], "routing_key": "nobody"}, note="properties []")
    walk.post(where, good | {"payload": ""}, note="an empty payload")
    walk.post(where, good | {"payload": "\u20ac \u00e9"}, note="UTF-8")
    properties = {
        "content_type": "text/plain",
        "content_encoding": "utf-8",
        "delivery_mode": 2,
        "priority": 5,
        "correlation_id": "c",
        "reply_to": "r",
        "expiration": "60000",
        "message_id": "m",
        "timestamp": 1700000000,
        "type": "t",
        "user_id": "guest",
        "app_id": "a",
        "cluster_id": "cl",
        "headers": {
            "int": 1,
            "long": 5000000000,
            "text": "x",
            "float": 1.5,
            "true": True,
            "null": None,
            "list": [1, "a"],
            "map": {"k": "v"},
        },
    }
    walk.post(where, good | {"properties": properties}, note="all properties")
    walk.post(where, good | {"properties": {"delivery_mode": "2", "priority": "3", "timestamp": "1700000000"}}, note="numbers as text")
    for bad in (
        {"user_id": "other"},
        {"delivery_mode": "x"},
        {"expiration": "x"},
        {"headers": 5},
        {"nonsense": 1},
        {"priority": 1.5},
        {"content_type": 5},
    ):
        walk.post(where, good | {"properties": bad}, note=f"properties {bad}")
    for key in good:
        walk.post(where, {name: value for name, value in good.items() if name != key}, note=f"without {key}")
    walk.post(where, {}, note="nothing")
    walk.post(where, good | {"payload_encoding": "rot13"}, note="rot13")
    walk.post(where, good | {"payload": "!", "payload_encoding": "base64"}, note="no base64")
    walk.post(where, good | {"payload": 5}, note="a number")
    walk.post(where, good | {"payload": None}, note="null")
    walk.post(where, good | {"payload": {"a": 1}}, note="an object")
    walk.post(where, good | {"routing_key": 5}, note="key 5")
    walk.post(where, good | {"properties": 5}, note="properties 5")
    for raw in (b"", b"{", b"[]"):
        walk.post(where, raw, note=raw.decode())
    walk.post(f"/exchanges/{V}/none/publish", good)
    walk.post("/exchanges/nowhere/amq.default/publish", good)
    walk.put(f"/exchanges/{V}/inner", {"type": "fanout", "internal": True})
    walk.post(f"/exchanges/{V}/inner/publish", good)
    walk.post(f"/exchanges/{V}/amq.fanout/publish", good)
    walk.post(f"/queues/{V}/q/get", {"count": 100, "ackmode": "ack_requeue_true", "encoding": "auto"})
    walk.get(f"/exchanges/{V}/amq.fanout", until=lambda exchange: exchange["message_stats"]["publish_in"] == 1)
