"""The broker itself: overview, node, health, and what comes up rarely."""

from typing import Any

from tests.admin.walk import Walk

CHECKS = """
    /health/checks/alarms /health/checks/local-alarms /health/checks/virtual-hosts /health/checks/node-is-quorum-critical
    /health/checks/node-is-mirror-sync-critical /health/checks/port-listener/{port} /health/checks/port-listener/1
    /health/checks/port-listener/x /health/checks/protocol-listener/amqp /health/checks/protocol-listener/http
    /health/checks/protocol-listener/mqtt /health/checks/protocol-listener/amqp091 /health/checks/protocol-listener/amqps
    /health/checks/certificate-expiration/1/days /health/checks/certificate-expiration/1/nonsense
    /health/checks/certificate-expiration/x/days /health/checks/certificate-expiration/5/weeks /health/checks/nope /healthchecks/node
    /healthchecks/node/{node} /healthchecks/node/nobody@nowhere /aliveness-test/%2F /aliveness-test/nowhere
"""


def overview(walk: Walk) -> None:
    walk.get("/overview", note="quiet")
    walk.vhost("over")
    with walk.connect("client", vhost="over") as wire:
        channel = wire.open_channel()
        channel.queue("q", durable=True)
        channel.confirm_select()
        channel.publish_confirmed("", "q", *[b"1"] * 5)
        channel.publish_confirmed("amq.topic", "lost", b"1")
        assert channel.get("q", no_ack=False) is not None
        channel.ack(1)
        assert channel.get("q", no_ack=True) is not None
        channel.consume("q", "tag")
        channel.deliveries(3)
        walk.get("/overview", until=_settled)
        walk.get("/overview?disable_stats=true")
        wire.close()
    walk.get("/nodes", until=lambda nodes: "mem_used_details" in nodes[0] and nodes[0]["connection_created_details"])
    walk.get(f"/nodes/{walk.node}", until=lambda node: "mem_used_details" in node)
    walk.get(f"/nodes/{walk.node}?memory=true", until=lambda node: "mem_used_details" in node)
    walk.get("/nodes/nobody@nowhere")
    walk.get(f"/nodes/{walk.node}/memory")
    walk.get(f"/nodes/{walk.node}/memory/relative")
    walk.get("/nodes/nobody@nowhere/memory")
    walk.get("/cluster-name")
    walk.put("/cluster-name", {})
    walk.put("/cluster-name", b"x")
    walk.put("/cluster-name", {"name": "another"})
    walk.get("/cluster-name")
    walk.get("/overview?columns=cluster_name")
    walk.put("/cluster-name", {"name": "the-cluster"})
    walk.get("/whoami")
    walk.get("/extensions")
    walk.get("/feature-flags")
    walk.put("/feature-flags/quorum_queue/enable", note="no body")
    walk.put("/feature-flags/quorum_queue/enable", {})
    walk.put("/feature-flags/no_such_flag/enable", {})
    walk.post("/rebalance/queues")
    walk.post("/rebalance/queues", {})
    walk.delete("/reset")
    walk.delete(f"/reset/{walk.node}")
    walk.delete("/reset/nobody@nowhere")


def _settled(body: dict[str, Any]) -> bool:
    objects, stats = body["object_totals"], body["message_stats"]
    there = all(objects[noun] == 1 for noun in ("connections", "channels", "consumers", "queues"))
    counted = body["queue_totals"]["messages"] == 3 and stats["deliver"] == 3 and stats["confirm"] >= 6
    return there and counted and body["churn_rates"]["queue_declared"] >= 1


def health(walk: Walk) -> None:
    for path in CHECKS.split():
        walk.get(path.format(node=walk.node, port=walk.managed.port))
    walk.ask("HEAD", "/health/checks/alarms")
    walk.quietly("DELETE", "/queues/%2F/aliveness-test")


def attempts(walk: Walk) -> None:
    where = f"/auth/attempts/{walk.node}"
    walk.delete(where)
    walk.get("/whoami", credentials=("guest", "wrong"))
    walk.get(where)
    walk.get(f"{where}/source")
    walk.get("/auth/attempts/nobody@nowhere")
    walk.delete(f"{where}/source")
    walk.get("/auth")
