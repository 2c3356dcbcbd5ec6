"""Definitions: out and in, of the whole broker and of one vhost, as JSON and as an upload."""

from typing import Any

from tests.admin.walk import Walk

V = "defs"
HASH = "aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789aBcDeFgHiJkL"
BOUNDARY = "----boundary"


def export(walk: Walk) -> None:
    walk.get("/definitions", note="empty")
    _declare(walk)
    walk.get("/definitions")
    walk.get(f"/definitions/{V}")
    walk.get("/definitions/nowhere")
    walk.ask("HEAD", "/definitions?download=broker.json")
    walk.ask("HEAD", f"/definitions/{V}?download=vhost.json")
    walk.get("/all-configuration?columns=rabbit_version", note="of old")
    walk.quietly("DELETE", "/global-parameters/global")


def _declare(walk: Walk) -> None:
    walk.vhost(V)
    walk.quietly("PUT", "/vhosts/told", {"description": "of what", "tags": "a,b"})
    walk.user("ann", "management,monitoring", V)
    walk.quietly("PUT", "/users/hashed", {"password_hash": HASH, "tags": ""})
    walk.quietly("PUT", f"/topic-permissions/{V}/ann", {"exchange": "amq.topic", "write": "^a", "read": ".*"})
    walk.quietly("PUT", "/user-limits/ann/max-channels", {"value": 5})
    walk.quietly("PUT", f"/vhost-limits/{V}/max-queues", {"value": 50})
    walk.quietly("PUT", "/global-parameters/global", {"value": {"a": 1}})
    walk.quietly("PUT", f"/policies/{V}/p", {"pattern": "^q", "definition": {"max-length": 10}, "apply-to": "queues", "priority": 1})
    walk.quietly("PUT", f"/operator-policies/{V}/o", {"pattern": "^q", "definition": {"max-length": 10}})
    walk.quietly("PUT", f"/exchanges/{V}/x", {"type": "topic", "durable": True, "arguments": {"alternate-exchange": "amq.fanout"}})
    walk.quietly("PUT", f"/exchanges/{V}/passing", {"type": "fanout", "durable": False, "auto_delete": True})
    walk.quietly("PUT", f"/queues/{V}/q", {"durable": True, "arguments": {"x-max-length": 5, "x-list": [1, "a"]}})
    walk.quietly("PUT", f"/queues/{V}/passing", {"durable": False, "auto_delete": True})
    walk.quietly("PUT", f"/queues/{V}/quorum", {"durable": True, "arguments": {"x-queue-type": "quorum"}})
    walk.quietly("POST", f"/bindings/{V}/e/x/q/q", {"routing_key": "a.#", "arguments": {"k": "v"}})
    walk.quietly("POST", f"/bindings/{V}/e/x/e/passing", {"routing_key": "b"})
    walk.quietly("POST", f"/bindings/{V}/e/x/q/passing", {"routing_key": "c"})


WHOLE: dict[str, Any] = {
    "rabbit_version": "3.10.8",
    "users": [
        {
            "name": "told",
            "password_hash": HASH,
            "hashing_algorithm": "rabbit_password_hashing_sha256",
            "tags": "administrator,x",
            "limits": {},
        },
        {"name": "listed", "password": "plain", "tags": ["management"]},
    ],
    "vhosts": [{"name": "in"}, {"name": "in2", "description": "d", "tags": ["t"]}],
    "permissions": [{"user": "told", "vhost": "in", "configure": ".*", "write": ".*", "read": ".*"}],
    "topic_permissions": [{"user": "told", "vhost": "in", "exchange": "amq.topic", "write": ".*", "read": ".*"}],
    "global_parameters": [{"name": "told", "value": {"a": 1}}],
    "parameters": [{"component": "vhost-limits", "vhost": "in", "name": "limits", "value": {"max-queues": 50}}],
    "policies": [{"vhost": "in", "name": "p", "pattern": "^q", "apply-to": "queues", "definition": {"max-length": 5}, "priority": 0}],
    "exchanges": [{"name": "x", "vhost": "in", "type": "topic", "durable": True, "auto_delete": False, "internal": False, "arguments": {}}],
    "queues": [{"name": "q", "vhost": "in", "durable": True, "auto_delete": False, "arguments": {"x-max-length": 5}}],
    "bindings": [{"source": "x", "vhost": "in", "destination": "q", "destination_type": "queue", "routing_key": "a", "arguments": {}}],
}
OF_A_VHOST = {
    "rabbit_version": "3.10.8",
    "policies": [{"name": "p2", "pattern": "^q", "apply-to": "queues", "definition": {"max-length": 5}, "priority": 0}],
    "exchanges": [{"name": "x2", "type": "topic", "durable": True, "auto_delete": False, "internal": False, "arguments": {}}],
    "queues": [{"name": "q2", "durable": True, "auto_delete": False, "arguments": {}}],
    "bindings": [{"source": "x2", "destination": "q2", "destination_type": "queue", "routing_key": "a", "arguments": {}}],
}


def upload(data: bytes, filename: str = "defs.json") -> tuple[bytes, dict[str, str]]:
    """The body and headers of a form with one file in it."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\nContent-Type: application/json\r\n\r\n'
    return head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode(), {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def imports(walk: Walk) -> None:
    walk.post("/definitions", WHOLE, note="the whole")
    walk.post("/definitions", WHOLE, note="again")
    walk.get("/users?columns=name,tags,hashing_algorithm")
    walk.get("/permissions?columns=user,vhost")
    walk.get("/queues/in?columns=name,arguments,policy", until=lambda queues: queues[0]["policy"] == "p")
    walk.get("/bindings/in?columns=source,destination,routing_key")
    walk.get("/parameters?columns=component,vhost,value")
    walk.get("/vhosts/in2")
    walk.get("/whoami", credentials=("listed", "plain"))
    walk.post("/definitions/in", OF_A_VHOST, note="of a vhost")
    walk.get("/queues/in?columns=name")
    walk.get("/policies/in?columns=name,vhost")
    walk.post("/definitions/nowhere", OF_A_VHOST)
    walk.post("/definitions", OF_A_VHOST, note="of a vhost, for the whole")
    walk.quietly("PUT", "/vhosts/up")
    body, headers = upload(b'{"vhosts": [{"name": "up2"}]}')
    walk.post("/definitions", body, headers=headers, note="upload")
    body, headers = upload(b'{"queues": [{"name": "uq", "durable": true, "auto_delete": false, "arguments": {}}]}')
    walk.post("/definitions/up", body, headers=headers, note="upload for a vhost")
    body, headers = upload(b"{")
    walk.post("/definitions", body, headers=headers, note="an upload that is no JSON")
    walk.get("/vhosts?columns=name")
    walk.get("/queues/up?columns=name")
    walk.post("/definitions", {}, note="nothing")
    _refused(walk)
    walk.quietly("DELETE", "/global-parameters/told")


def _refused(walk: Walk) -> None:
    for raw in (b"", b"{", b"[]", b'"x"', b"null"):
        walk.post("/definitions", raw, note=raw.decode())
    queue = {"vhost": "in", "durable": True, "auto_delete": False, "arguments": {}}
    for document in (
        {"queues": [queue]},
        {"queues": [queue | {"name": "bad", "arguments": {"x-message-ttl": "x"}}]},
        {"queues": [queue | {"name": "bad", "vhost": "nowhere"}]},
        {"queues": {}},
        {"exchanges": [{"name": "bad", "vhost": "in", "type": "nope", "durable": True, "auto_delete": False, "arguments": {}}]},
        {
            "bindings": [
                {"source": "none", "vhost": "in", "destination": "q", "destination_type": "queue", "routing_key": "", "arguments": {}}
            ]
        },
        {"users": [{"name": "bad", "password": "x"}]},
        {"users": [{"name": "bad", "password": "x", "password_hash": HASH, "tags": ""}]},
        {"users": [{"password": "x", "tags": ""}]},
        {"permissions": [{"user": "nobody", "vhost": "in", "configure": ".*", "write": ".*", "read": ".*"}]},
        {"permissions": [{"user": "told", "vhost": "nowhere", "configure": ".*", "write": ".*", "read": ".*"}]},
        {"policies": [{"vhost": "in", "name": "bad", "pattern": "[", "definition": {"max-length": 1}}]},
        {"policies": [{"vhost": "in", "name": "bad", "pattern": "x", "definition": {"nope": 1}}]},
        {"parameters": [{"component": "nothing", "vhost": "in", "name": "n", "value": {}}]},
        {"nonsense": []},
    ):
        walk.post("/definitions", document, note=str(document))
    walk.get("/queues/in?columns=name", note="after what was refused")
    walk.get("/exchanges/in?columns=name", note="after what was refused")
    walk.get("/users?columns=name", note="after what was refused")
