"""Who is let in, and as what; methods, headers and paths that every resource shares."""

from tests.admin.brokers import ORIGIN
from tests.admin.client import NOBODY
from tests.admin.walk import Walk

TAGS = ("management", "policymaker", "monitoring", "administrator")
VHOST, OTHER = "access", "access-other"
READ = """
    /overview /whoami /nodes /nodes/{node} /nodes/{node}/memory /extensions /cluster-name /definitions /definitions/access /parameters
    /parameters/vhost-limits/access /global-parameters /policies /policies/access /operator-policies /operator-policies/access
    /vhost-limits /vhost-limits/access /user-limits /user-limits/guest /connections /channels /consumers /consumers/access
    /exchanges/access /exchanges/access-other /queues/access /queues/access-other /queues/access/q /bindings/access /vhosts
    /vhosts/access /vhosts/access-other /vhosts/access/permissions /vhosts/access/connections /vhosts/access/channels /users /users/guest
    /users/without-permissions /users/guest/permissions /permissions /permissions/access/guest /topic-permissions /feature-flags
    /auth/attempts/{node} /aliveness-test/access /healthchecks/node /health/checks/alarms /health/checks/virtual-hosts
    /connections/username/guest
"""
RESOURCES = """
    /overview /queues /queues/access /queues/access/q /queues/access/q/get /queues/access/q/contents /queues/access/q/bindings
    /exchanges/access/amq.topic /exchanges/access/amq.topic/publish /bindings /bindings/access/e/amq.topic/q/q
    /bindings/access/e/amq.topic/q/q/x /connections /channels /consumers /vhosts /vhosts/access /users /users/guest
    /permissions/access/guest /topic-permissions/access/guest /whoami /definitions /definitions/access /policies/access/p
    /operator-policies/access/p /parameters/c/access/n /global-parameters/n /vhost-limits/access/max-queues
    /user-limits/guest/max-channels /nodes /cluster-name /aliveness-test/%2F /healthchecks/node /health/checks/alarms /feature-flags
    /rebalance/queues /users/bulk-delete /login /extensions /auth/attempts/{node} /connections/username/guest
"""


def logins(walk: Walk) -> None:
    walk.user("untagged", "")
    walk.user("tagged", "nothing-known")
    walk.user("monitor", "monitoring")
    walk.quietly("PUT", "/users/locked", {"password_hash": "", "tags": "administrator"})
    for credentials in (NOBODY, ("guest", "wrong"), ("nobody-here", "guest"), ("untagged", "secret"), ("tagged", "secret"), ("locked", "")):
        walk.get("/overview", credentials=credentials)
        walk.get("/queues/%2F", credentials=credentials)
    walk.get("/whoami", credentials=("monitor", "secret"))
    walk.get("/whoami")
    walk.get("/whoami", credentials=("guest", ""), note="no password")
    for header in ("Basic", "Basic !!!", "Basic Z3Vlc3Q=", "Bearer abc", "Digest username=guest", "nonsense"):
        walk.get("/whoami", headers={"Authorization": header}, note=header)
    walk.get("/whoami", headers={"Authorization": "basic Z3Vlc3Q6Z3Vlc3Q="}, note="basic in lower case")
    walk.get("/nope", credentials=NOBODY)
    walk.get("/nope")
    walk.get("/users/monitor", credentials=("monitor", "secret"))
    walk.put("/users/x", {"tags": ""}, credentials=("monitor", "secret"))
    walk.get("/queues/no-such-vhost", credentials=("monitor", "secret"))
    walk.post("/login", b"username=guest&password=guest", headers={"Content-Type": "application/x-www-form-urlencoded"}, credentials=NOBODY)
    walk.post("/login", b"username=guest&password=no", headers={"Content-Type": "application/x-www-form-urlencoded"}, credentials=NOBODY)
    walk.get("/login", credentials=NOBODY)


def tags(walk: Walk) -> None:
    """What each tag sees, of its own vhost and of another's."""
    walk.vhost(VHOST)
    walk.vhost(OTHER)
    for name in TAGS:
        walk.user(name, name, VHOST)
    walk.quietly("PUT", f"/queues/{VHOST}/q", {})
    walk.quietly("PUT", f"/queues/{OTHER}/q", {})
    for name in TAGS:
        walk.acting_as(name)
        for path in READ.format(node=walk.node).split():
            walk.get(path)
        walk.quietly("DELETE", f"/queues/{VHOST}/aliveness-test")
        _writes(walk, name)
    walk.acting_as(None)


def _writes(walk: Walk, name: str) -> None:
    mine = f"{VHOST}/by-{name}"
    walk.put(f"/queues/{mine}", {})
    walk.put(f"/queues/{OTHER}/by-{name}", {})
    walk.put(f"/exchanges/{mine}", {"type": "fanout"})
    walk.post(f"/bindings/{VHOST}/e/by-{name}/q/by-{name}", {})
    walk.post(f"/exchanges/{mine}/publish", {"properties": {}, "routing_key": "", "payload": "x", "payload_encoding": "string"})
    walk.post(f"/queues/{mine}/get", {"count": 1, "ackmode": "ack_requeue_false", "encoding": "auto"})
    walk.delete(f"/queues/{mine}/contents")
    walk.put(f"/policies/{mine}", {"pattern": "^none$", "definition": {"max-length": 1}})
    walk.put(f"/policies/{OTHER}/by-{name}", {"pattern": "^none$", "definition": {"max-length": 1}})
    walk.put(f"/operator-policies/{mine}", {"pattern": "^none$", "definition": {"max-length": 1}})
    walk.put(f"/parameters/nothing/{mine}", {"value": {}})
    walk.put(f"/global-parameters/by-{name}", {"value": {}})
    walk.put(f"/vhost-limits/{VHOST}/max-queues", {"value": 100})
    walk.put(f"/user-limits/{name}/max-channels", {"value": 100})
    walk.put(f"/vhosts/by-{name}")
    walk.put(f"/users/by-{name}", {"password": "x", "tags": ""})
    walk.put(f"/permissions/{VHOST}/guest", {"configure": ".*", "write": ".*", "read": ".*"})
    walk.put(f"/topic-permissions/{VHOST}/guest", {"exchange": "amq.topic", "write": ".*", "read": ".*"})
    walk.put("/cluster-name", {"name": "the-cluster"})
    walk.post("/definitions", {})
    walk.post(f"/definitions/{VHOST}", {})
    walk.post("/rebalance/queues")
    walk.post("/users/bulk-delete", {"users": []})
    walk.delete("/connections/nobody")
    walk.delete(f"/auth/attempts/{walk.node}")
    for path in (f"/policies/{mine}", f"/exchanges/{mine}", f"/queues/{mine}", f"/global-parameters/by-{name}", f"/users/by-{name}"):
        walk.delete(path)
    walk.delete(f"/vhosts/by-{name}")
    walk.delete(f"/topic-permissions/{VHOST}/guest")
    walk.quietly("DELETE", f"/user-limits/{name}/max-channels")
    walk.quietly("DELETE", f"/operator-policies/{mine}")
    walk.quietly("DELETE", f"/parameters/nothing/{mine}")


def permissions(walk: Walk) -> None:
    """A management user whose patterns leave some names only."""
    walk.vhost(VHOST)
    walk.user("narrow", "management")
    walk.quietly("PUT", f"/permissions/{VHOST}/narrow", {"configure": "^mine", "write": "^(mine|amq)", "read": "^mine"})
    walk.quietly("PUT", f"/queues/{VHOST}/theirs", {})
    walk.acting_as("narrow")
    walk.put(f"/queues/{VHOST}/mine", {})
    walk.put(f"/queues/{VHOST}/yours", {})
    walk.put(f"/exchanges/{VHOST}/yours", {})
    walk.delete(f"/queues/{VHOST}/theirs")
    walk.post(f"/bindings/{VHOST}/e/amq.direct/q/mine", {"routing_key": "k"})
    walk.post(f"/bindings/{VHOST}/e/amq.direct/q/theirs", {"routing_key": "k"})
    walk.post(
        f"/exchanges/{VHOST}/amq.default/publish", {"properties": {}, "routing_key": "mine", "payload": "x", "payload_encoding": "string"}
    )
    walk.post(f"/queues/{VHOST}/theirs/get", {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"})
    walk.delete(f"/queues/{VHOST}/theirs/contents")
    walk.get(f"/queues/{VHOST}", until=lambda queues: all("messages" in queue for queue in queues))
    walk.get("/vhosts")
    walk.get("/permissions")
    walk.get(f"/permissions/{VHOST}/narrow")
    walk.get("/users/narrow")
    walk.get("/users/narrow/permissions")
    walk.acting_as(None)


def methods(walk: Walk) -> None:
    """HEAD, OPTIONS, methods that aren't allowed, trailing slashes, redirects, CORS."""
    walk.vhost(VHOST)
    walk.quietly("PUT", f"/queues/{VHOST}/q", {})
    for path in RESOURCES.format(node=walk.node).split():
        walk.ask("OPTIONS", path)
        walk.ask("PATCH", path)
    walk.ask("OPTIONS", "/queues", credentials=NOBODY)
    walk.ask("PATCH", "/queues", credentials=NOBODY)
    walk.ask("OPTIONS", "/nope")
    walk.ask("DELETE", "/nope")
    walk.put("/queues", {})
    walk.post("/queues", {})
    walk.delete("/vhosts")
    for path in ("/overview", "/queues", f"/queues/{VHOST}", f"/queues/{VHOST}/q", f"/queues/{VHOST}/none", "/whoami", "/nope"):
        walk.ask("HEAD", path)
    walk.ask("HEAD", "/queues", credentials=NOBODY)
    for path in (
        "/users/",
        "/vhosts/",
        "/queues/",
        f"/queues/{VHOST}/",
        "/whoami/",
        "/health/checks/virtual-hosts/",
        "/overview/",
        "/nodes/",
    ):
        walk.ask("HEAD", path)
        walk.get(path if path.startswith("/health") else f"{path}?columns=name")
    walk.put(f"/queues/{VHOST}/slash/", {})
    for path in ("//", "//api", "//api/", "//cli", "//cli/", "//doc/stats.html", "//mgmt", "//no-such-page", "//cli/rabbitmqadmin"):
        walk.ask("HEAD", path)
    for origin in (ORIGIN, "http://stranger.example"):
        for path in ("/whoami", f"/queues/{VHOST}/q", f"/queues/{VHOST}/none"):
            walk.ask("HEAD", path, headers={"Origin": origin}, note=origin)
            asked = {"Origin": origin, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization,x-vhost"}
            walk.ask("OPTIONS", path, headers=asked, credentials=NOBODY, note=f"preflight from {origin}")
    walk.get("/whoami", headers={"Origin": ORIGIN}, credentials=NOBODY, note="an origin, nobody")
    for accept in ("application/bert, application/json;q=0.1", "*/*", "application/json", "text/html", "application/bert"):
        walk.get("/whoami", headers={"Accept": accept}, note=f"Accept: {accept}")
