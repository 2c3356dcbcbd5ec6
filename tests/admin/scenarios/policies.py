"""Policies, operator policies, parameters."""

from tests.admin.scenarios.queues import has_stats
from tests.admin.walk import Walk

V = "pol"


def policies(walk: Walk) -> None:
    walk.vhost(V)
    walk.put(f"/queues/{V}/q1", {"durable": True})
    walk.put(f"/queues/{V}/other", {"durable": True})
    walk.get("/policies")
    walk.get(f"/policies/{V}")
    walk.get("/policies/nowhere")
    walk.get(f"/policies/{V}/none")
    walk.get("/policies/nowhere/none")
    full = {"pattern": "^q", "definition": {"max-length": 10, "overflow": "reject-publish"}, "priority": 5, "apply-to": "queues"}
    walk.put(f"/policies/{V}/full", full)
    walk.put(f"/policies/{V}/full", full | {"priority": 6}, note="again")
    walk.put(f"/policies/{V}/least", {"pattern": "^amq", "definition": {"alternate-exchange": "amq.fanout"}})
    walk.put(f"/policies/{V}/text", {"pattern": "^none", "definition": {"max-length": 10}, "priority": "3", "apply-to": "all"})
    walk.quietly("DELETE", f"/policies/{V}/text")
    walk.put(f"/policies/{V}/extra", {"pattern": "^none", "definition": {"max-length": 10}, "name": "n", "vhost": "v", "nonsense": 1})
    walk.put(f"/policies/{V}/with%20space", {"pattern": "^none", "definition": {"expires": 1000}, "apply-to": "exchanges"})
    for name in ("full", "least", "extra", "with%20space"):
        walk.get(f"/policies/{V}/{name}")
    walk.get("/policies")
    walk.get(f"/policies/{V}?columns=name,priority&sort=priority&sort_reverse=true")
    walk.get(f"/queues/{V}/q1", until=lambda queue: queue["policy"] == "full" and has_stats(queue))
    walk.get(f"/queues/{V}/other", until=has_stats)
    walk.get(f"/queues/{V}?disable_stats=true", note="with policies")
    walk.get(f"/exchanges/{V}/amq.topic")
    _refused(walk, "policies")
    walk.delete(f"/policies/{V}/full")
    walk.delete(f"/policies/{V}/full", note="again")
    walk.delete("/policies/nowhere/x")
    walk.get(f"/queues/{V}/q1?columns=policy,effective_policy_definition", until=lambda queue: not queue["policy"])


def _refused(walk: Walk, kind: str) -> None:
    for body in (
        {},
        {"pattern": "^q"},
        {"definition": {"max-length": 1}},
        {"pattern": "^q", "definition": {}},
        {"pattern": "^q", "definition": {"nope": 5}},
        {"pattern": "^q", "definition": {"max-length": "x"}},
        {"pattern": "^q", "definition": {"max-length": -1}},
        {"pattern": "^q", "definition": {"max-length": 1, "message-ttl": "x"}},
        {"pattern": "^q", "definition": 5},
        {"pattern": "^q", "definition": []},
        {"pattern": "[", "definition": {"max-length": 1}},
        {"pattern": 5, "definition": {"max-length": 1}},
        {"pattern": "^q", "definition": {"max-length": 1}, "priority": "x"},
        {"pattern": "^q", "definition": {"max-length": 1}, "priority": 1.5},
        {"pattern": "^q", "definition": {"max-length": 1}, "apply-to": "nope"},
        {"pattern": "^q", "definition": {"max-length": 1}, "apply-to": 5},
    ):
        walk.put(f"/{kind}/{V}/refused", body, note=str(body))
        walk.quietly("DELETE", f"/{kind}/{V}/refused")
    for raw in (b"", b"{", b"[]"):
        walk.put(f"/{kind}/{V}/refused", raw, note=raw.decode())
    walk.put(f"/{kind}/nowhere/refused", {"pattern": "^q", "definition": {"max-length": 1}})


def operator_policies(walk: Walk) -> None:
    walk.vhost(V)
    walk.put(f"/queues/{V}/q1", {"durable": True})
    walk.get("/operator-policies")
    walk.get(f"/operator-policies/{V}/none")
    walk.get("/operator-policies/nowhere")
    walk.put(f"/operator-policies/{V}/low", {"pattern": "^q", "definition": {"max-length": 5}, "priority": 1, "apply-to": "queues"})
    walk.put(f"/operator-policies/{V}/low", {"pattern": "^q", "definition": {"max-length": 5}, "priority": 2}, note="again")
    walk.put(f"/policies/{V}/high", {"pattern": "^q", "definition": {"max-length": 50, "message-ttl": 60000}})
    walk.get(f"/operator-policies/{V}/low")
    walk.get("/operator-policies")
    walk.get(f"/operator-policies/{V}")
    walk.get(f"/queues/{V}/q1", until=lambda queue: queue["operator_policy"] == "low" and queue["policy"] == "high" and has_stats(queue))
    _refused(walk, "operator-policies")
    walk.put(f"/operator-policies/{V}/refused", {"pattern": "^q", "definition": {"dead-letter-exchange": "x"}})
    walk.delete(f"/operator-policies/{V}/low")
    walk.delete(f"/operator-policies/{V}/low", note="again")
    walk.get(f"/operator-policies/{V}")


def parameters(walk: Walk) -> None:
    walk.vhost(V)
    walk.get("/parameters")
    walk.get("/parameters/vhost-limits")
    walk.get("/parameters/nothing")
    walk.get(f"/parameters/vhost-limits/{V}")
    walk.get("/parameters/vhost-limits/nowhere")
    walk.get(f"/parameters/vhost-limits/{V}/limits")
    walk.put(f"/parameters/vhost-limits/{V}/limits", {"value": {"max-queues": 5}})
    walk.put(f"/parameters/vhost-limits/{V}/limits", {"value": {"max-queues": 6}, "component": "x", "name": "y"}, note="again")
    walk.get(f"/parameters/vhost-limits/{V}/limits")
    walk.get("/parameters")
    walk.get(f"/parameters/vhost-limits/{V}")
    for body in ({}, {"value": 5}, {"value": {"nope": 5}}, {"value": {"max-queues": "x"}}):
        walk.put(f"/parameters/vhost-limits/{V}/limits", body, note=str(body))
    walk.put(f"/parameters/nothing/{V}/n", {"value": {}})
    walk.quietly("DELETE", f"/parameters/nothing/{V}/n")
    walk.put("/parameters/vhost-limits/nowhere/limits", {"value": {"max-queues": 5}})
    walk.put(f"/parameters/policy/{V}/n", {"value": {"pattern": "^q", "definition": {"max-length": 1}}})
    walk.delete(f"/parameters/vhost-limits/{V}/limits")
    walk.delete(f"/parameters/vhost-limits/{V}/limits", note="again")
    walk.delete("/parameters/vhost-limits/nowhere/limits")
    walk.get("/global-parameters")
    walk.get("/global-parameters/none")
    walk.put("/global-parameters/mine", {"value": {"a": [1, "x", None], "b": True}})
    walk.put("/global-parameters/mine", {"value": "text"}, note="again")
    walk.put("/global-parameters/number", {"value": 5, "name": "ignored"})
    walk.get("/global-parameters/mine")
    walk.get("/global-parameters")
    walk.put("/global-parameters/mine", {})
    walk.put("/global-parameters/mine", b"x")
    walk.delete("/global-parameters/mine")
    walk.delete("/global-parameters/mine", note="again")
    walk.delete("/global-parameters/number")
