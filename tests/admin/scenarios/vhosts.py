"""Virtual hosts."""

from tests.admin.walk import Walk


def vhosts(walk: Walk) -> None:
    walk.get("/vhosts")
    walk.get("/vhosts/%2F")
    walk.get("/vhosts/none")
    walk.put("/vhosts/plain")
    walk.put("/vhosts/plain", note="again")
    walk.ask("PUT", "/vhosts/json", headers={"Content-Type": "application/json"}, note="JSON without a body")
    walk.put("/vhosts/empty", {})
    walk.put("/vhosts/full", {"description": "said so", "tags": "one,two", "tracing": False})
    walk.put("/vhosts/listed", {"description": "said so", "tags": ["one", "two"]})
    walk.put("/vhosts/traced", {"tracing": True})
    walk.put("/vhosts/typed", {"default_queue_type": "quorum"})
    walk.put("/vhosts/with%2Fslash")
    walk.put("/vhosts/with%20space")
    walk.put("/vhosts/%C3%A9t%C3%A9")
    walk.put("/vhosts/plus+sign")
    for name in ("%2F", "plain", "full", "listed", "traced", "with%2Fslash", "with%20space", "with+space", "%C3%A9t%C3%A9", "plus%20sign"):
        walk.get(f"/vhosts/{name}")
    walk.get("/vhosts")
    walk.get("/vhosts?columns=name,tracing&sort=name&sort_reverse=true")
    walk.get("/vhosts?columns=name&page=1&page_size=3")
    walk.put("/vhosts/traced", {"tracing": False})
    walk.get("/vhosts/traced?columns=name,tracing")
    walk.put("/vhosts/traced", {"tracing": "true"})
    walk.get("/vhosts/traced?columns=name,tracing")
    walk.put("/vhosts/full", {"description": "said otherwise"})
    walk.get("/vhosts/full")
    walk.put("/vhosts/full", note="no body")
    walk.get("/vhosts/full")
    for raw in (b"{", b"[]", b"5"):
        walk.put("/vhosts/refused", raw, note=raw.decode())
        walk.quietly("DELETE", "/vhosts/refused")
    for body in ({"description": 5}, {"tags": 5}, {"tracing": "maybe"}, {"tracing": 5}):
        walk.put("/vhosts/refused", body, note=str(body))
        walk.quietly("DELETE", "/vhosts/refused")
    walk.get("/vhosts/plain/connections")
    walk.get("/vhosts/plain/channels")
    walk.get("/vhosts/none/connections")
    walk.get("/vhosts/none/channels")
    walk.get("/vhosts/plain/permissions")
    walk.get("/vhosts/plain/topic-permissions")
    walk.post(f"/vhosts/plain/start/{walk.node}")
    walk.get("/queues/plain")
    walk.get("/exchanges/plain?columns=name,type")
    walk.get("/bindings/plain")
    walk.delete("/vhosts/plain")
    walk.delete("/vhosts/plain", note="again")
    walk.get("/queues/plain")
    walk.get("/exchanges/plain")
    walk.get("/bindings/plain")
    walk.get("/consumers/plain")


def totals(walk: Walk) -> None:
    """A vhost with messages in it."""
    walk.vhost("vt")
    with walk.connect("client", vhost="vt") as wire:
        channel = wire.open_channel()
        channel.queue("q", durable=True)
        channel.confirm_select()
        channel.publish_confirmed("", "q", b"1", b"2", b"3")
        assert channel.get("q", no_ack=False) is not None
        walk.get(
            "/vhosts/vt", until=lambda vhost: vhost["messages"] == 3 and vhost["messages_unacknowledged"] == 1 and vhost["recv_oct"] > 0
        )
        walk.get("/vhosts", until=lambda vhosts: any(vhost.get("messages") == 3 for vhost in vhosts))
        wire.close()
