"""Bindings: their keys in paths, escaped once or twice."""

from urllib.parse import quote

from tests.admin.walk import Walk

V = "bind/ing"
W = "bind%2Fing"
KEYS = ("", "a", "a.*.#", "with space", "with/slash", "with~tilde", "per%cent", "pl+us", "\u20ac", "a-b_c.d", "q?x=1&y=2")


def bindings(walk: Walk) -> None:
    walk.vhost(V)
    walk.quietly("PUT", f"/queues/{W}/q", {})
    walk.quietly("PUT", f"/queues/{W}/with%20space", {})
    walk.quietly("PUT", f"/queues/{W}/with%2Fslash", {})
    walk.quietly("PUT", f"/exchanges/{W}/x", {"type": "fanout"})
    walk.get(f"/bindings/{W}")
    walk.get("/bindings/nowhere")
    walk.get(f"/bindings/{W}/e/amq.topic/q/q")
    walk.get(f"/bindings/{W}/e/amq.default/q/q")
    for key in KEYS:
        answer = walk.post(f"/bindings/{W}/e/amq.topic/q/q", {"routing_key": key}, note=repr(key))
        last = answer.headers.get("location", "missing").rpartition("/")[2]
        walk.get(f"/bindings/{W}/e/amq.topic/q/q/{last}", note="as Location has it")
        walk.get(f"/bindings/{W}/e/amq.topic/q/q/{quote(key, safe='') or '~'}")
    walk.post(f"/bindings/{W}/e/amq.topic/q/q", {"routing_key": "a"}, note="again")
    walk.post(f"/bindings/{W}/e/amq.topic/q/q", {}, note="empty")
    walk.post(f"/bindings/{W}/e/amq.topic/q/q", note="no body")
    walk.post(f"/bindings/{W}/e/amq.topic/q/with%20space", {"routing_key": "a"})
    walk.post(f"/bindings/{W}/e/amq.topic/q/with%2Fslash", {"routing_key": "a"})
    walk.post(f"/bindings/{W}/e/amq.topic/e/x", {"routing_key": "a"})
    walk.post(f"/bindings/{W}/e/amq.topic/e/amq.fanout", {"routing_key": "b", "arguments": {}})
    walk.get(f"/bindings/{W}/e/amq.topic/e/x")
    walk.get(f"/bindings/{W}/e/amq.topic/e/x/a")
    walk.get(f"/bindings/{W}/e/amq.topic/q/q")
    walk.get(f"/bindings/{W}")
    walk.get(f"/bindings/{W}?columns=source,destination,properties_key&sort=properties_key")
    walk.get(f"/queues/{W}/q/bindings")
    walk.get(f"/queues/{W}/with%20space/bindings")
    walk.get(f"/exchanges/{W}/amq.topic/bindings/source")
    walk.get(f"/exchanges/{W}/amq.topic/bindings/destination")
    walk.get(f"/exchanges/{W}/x/bindings/destination")
    walk.get(f"/exchanges/{W}/amq.default/bindings/source")
    walk.get("/bindings?columns=vhost,source,destination")
    for key in KEYS:
        walk.delete(f"/bindings/{W}/e/amq.topic/q/q/{quote(key, safe='').replace('~', '%7E') or '~'}")
    walk.delete(f"/bindings/{W}/e/amq.topic/q/q/a", note="again")
    walk.get(f"/bindings/{W}/e/amq.topic/q/q")


def arguments(walk: Walk) -> None:
    """Keys of bindings that have arguments: the hash is RabbitMQ's own, the round trip is what counts."""
    walk.vhost(V)
    walk.quietly("PUT", f"/queues/{W}/q", {})
    for body in (
        {"routing_key": "", "arguments": {"x-match": "all", "k": "v"}},
        {"routing_key": "", "arguments": {"x-match": "any", "n": 5}},
        {"routing_key": "a.*", "arguments": {"x-match": "all-with-x", "l": [1, {"m": True}]}},
    ):
        answer = walk.post(f"/bindings/{W}/e/amq.headers/q/q", body, note=str(body))
        last = answer.headers.get("location", "missing").rpartition("/")[2]
        walk.names |= {last: "{key twice}", last.replace("%25", "%"): "{key}"}
        walk.name_last()
        found = walk.get(f"/bindings/{W}/e/amq.headers/q/q/{last}", note="as Location has it")
        listed = walk.get(f"/bindings/{W}/e/amq.headers/q/q")
        assert found is None or found["properties_key"] in [each["properties_key"] for each in listed], (found, listed)
        walk.get(f"/bindings/{W}/e/amq.headers/q/q/~")
        if found is not None:
            walk.delete(f"/bindings/{W}/e/amq.headers/q/q/{quote(found['properties_key'], safe='~')}", note="as properties_key has it")
        walk.quietly("DELETE", f"/bindings/{W}/e/amq.headers/q/q/{last}")
        for name in ("{key}", "{key twice}"):
            walk.names = {literal: used for literal, used in walk.names.items() if used != name}
    walk.get(f"/bindings/{W}/e/amq.headers/q/q")


def refused(walk: Walk) -> None:
    walk.vhost(V)
    walk.quietly("PUT", f"/queues/{W}/q", {})
    walk.quietly("PUT", f"/exchanges/{W}/x", {"type": "fanout", "internal": True})
    for path in """
        amq.topic/q/none none/q/q amq.topic/e/none amq.default/q/q amq.topic/e/amq.default amq.topic/x/q x/q/q
    """.split():
        walk.post(f"/bindings/{W}/e/{path}", {"routing_key": "k"})
        walk.get(f"/bindings/{W}/e/{path}")
        walk.get(f"/bindings/{W}/e/{path}/k")
        walk.delete(f"/bindings/{W}/e/{path}/k")
    walk.quietly("DELETE", f"/queues/{W}/q")
    walk.quietly("PUT", f"/queues/{W}/q", {})
    walk.post("/bindings/nowhere/e/amq.topic/q/q", {"routing_key": "k"})
    walk.get("/bindings/nowhere/e/amq.topic/q/q")
    walk.delete("/bindings/nowhere/e/amq.topic/q/q/k")
    for body in (
        {"routing_key": 5},
        {"routing_key": None},
        {"arguments": 5},
        {"arguments": []},
        {"arguments": None},
        {"routing_key": "x" * 256},
    ):
        walk.post(f"/bindings/{W}/e/amq.topic/q/q", body, note=str(body)[:40])
        walk.quietly("DELETE", f"/queues/{W}/q")
        walk.quietly("PUT", f"/queues/{W}/q", {})
    walk.post(f"/bindings/{W}/e/amq.headers/q/q", {"arguments": {"x-match": "nope"}})
    for raw in (b"{", b"[]"):
        walk.post(f"/bindings/{W}/e/amq.topic/q/q", raw, note=raw.decode())
    walk.quietly("PUT", f"/exchanges/{W}/hash", {"type": "x-consistent-hash"})
    walk.post(f"/bindings/{W}/e/hash/q/q", {"routing_key": "no number"})
