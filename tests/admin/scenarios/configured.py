"""What settings change; each of these has a broker of its own."""

from tests.admin.walk import Walk

V = "conf"
SETTINGS: dict[str, tuple[str, ...]] = {
    "stats-off": ("management.disable_stats = true",),
    "totals-only": ("management.disable_stats = true", "management.enable_queue_totals = true"),
    "prefix": ("management.path_prefix = /before",),
}


def stats_off(walk: Walk) -> None:
    walk.vhost(V)
    with walk.connect("client", vhost=V) as wire:
        channel = wire.open_channel()
        channel.queue("q", durable=True)
        channel.confirm_select()
        channel.publish_confirmed("", "q", b"1", b"2")
        channel.consume("q", "tag")
        channel.deliveries(2)
        walk.get("/overview", until=lambda body: body["object_totals"]["connections"] == 1)
        walk.get(f"/queues/{V}")
        walk.get(f"/queues/{V}/q")
        walk.get(f"/queues/{V}?page=1&columns=name,messages")
        walk.get(f"/exchanges/{V}?columns=name,message_stats")
        walk.get(f"/exchanges/{V}/amq.topic")
        walk.get("/vhosts")
        walk.get(f"/vhosts/{V}")
        walk.get("/nodes?columns=name,running,mem_used")
        walk.get("/connections?columns=name,user,recv_oct")
        walk.get("/channels?columns=name,message_stats")
        walk.get(f"/connections/{walk.path_of(wire)}?columns=name")
        walk.get(f"/channels/{walk.path_of(wire)}%20(1)?columns=name")
        walk.get(f"/consumers/{V}")
        walk.get(f"/bindings/{V}")
        walk.get("/health/checks/alarms")
        walk.post(f"/queues/{V}/q/get", {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"})
        wire.close()


def prefix(walk: Walk) -> None:
    walk.vhost(V)
    walk.quietly("PUT", f"/queues/{V}/q", {})
    walk.get("/whoami")
    walk.post(f"/bindings/{V}/e/amq.topic/q/q", {"routing_key": "a.*"})
    walk.get(f"/bindings/{V}/e/amq.topic/q/q/a.%2A")
    for path in (
        "//",
        "//api/whoami",
        "//api/queues",
        "//api",
        "//before",
        "//before/",
        "//before/api",
        "//before/api/nope",
        "//before/nope",
    ):
        walk.ask("HEAD", path)
