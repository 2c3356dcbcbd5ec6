"""Users, what they may do, and how many connections they may have."""

from tests.admin.walk import Walk

EVERYTHING = {"configure": ".*", "write": ".*", "read": ".*"}
HASH = "aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789aBcDeFgHiJkL"


def users(walk: Walk) -> None:
    walk.get("/users")
    walk.get("/users/guest")
    walk.get("/users/none")
    walk.put("/users/ann", {"password": "secret", "tags": "management,custom"})
    walk.put("/users/ann", {"password": "secret", "tags": ["administrator"]})
    walk.get("/users/ann")
    walk.get("/whoami", credentials=("ann", "secret"))
    walk.put("/users/ann", {"tags": "monitoring , policymaker"}, note="without a password")
    walk.get("/users/ann")
    walk.get("/whoami", credentials=("ann", "secret"), note="the password is gone")
    walk.put("/users/bob", {"password_hash": HASH, "tags": ""})
    walk.get("/users/bob")
    walk.put("/users/bob", {"password_hash": HASH, "hashing_algorithm": "rabbit_password_hashing_sha512", "tags": ""})
    walk.get("/users/bob")
    walk.put("/users/cleo", {"password_hash": "", "tags": "administrator"})
    walk.get("/users/cleo")
    _refused(walk)
    walk.put("/users/with%20space", {"password": "x", "tags": ""})
    walk.put("/users/with%2Fslash", {"password": "x", "tags": ""})
    walk.put("/users/%C3%A9lan", {"password": "x", "tags": ""})
    walk.put("/users/eve", {"name": "ignored", "password": "x", "tags": "", "extra": 1}, note="extra keys")
    walk.get("/users")
    walk.get("/users?columns=name,tags")
    walk.get("/users?columns=name&sort=name&sort_reverse=true")
    walk.get("/users/without-permissions")
    walk.get("/users/ann/permissions")
    walk.get("/users/none/permissions")
    walk.get("/users/none/topic-permissions")
    walk.get("/users/ann/topic-permissions")
    walk.post("/users/bulk-delete", {"users": ["with space", "with/slash", "nobody-at-all"]})
    walk.post("/users/bulk-delete", {})
    walk.post("/users/bulk-delete", {"users": "eve"})
    walk.post("/users/bulk-delete", b"[")
    walk.delete("/users/eve")
    walk.delete("/users/eve", note="again")
    walk.delete("/users/%C3%A9lan")
    walk.get("/users?columns=name")


def _refused(walk: Walk) -> None:
    for body in (
        {"password": "x"},
        {"tags": "", "password": "x", "password_hash": HASH},
        {"tags": "", "password_hash": "not base64!"},
        {"tags": "", "password_hash": "AAAA"},
        {"tags": "", "password": ""},
        {"tags": 5, "password": "x"},
        {"tags": None, "password": "x"},
        {"tags": "", "password": 5},
        {"tags": "", "password": "x", "hashing_algorithm": "no_such_module"},
    ):
        walk.put("/users/refused", body, note=str(body))
        walk.quietly("DELETE", "/users/refused")
    for raw in (b"", b"{", b"[]", b'"x"', b"null", b"5"):
        walk.put("/users/refused", raw, note=raw.decode())
    walk.get("/users/refused")


def permissions(walk: Walk) -> None:
    walk.vhost("perm")
    walk.vhost("perm/2")
    walk.user("ann", "management")
    walk.get("/permissions")
    walk.get("/permissions/perm/ann")
    walk.put("/permissions/perm/ann", {"configure": "^a", "write": "", "read": ".*"})
    walk.put("/permissions/perm/ann", EVERYTHING)
    walk.put("/permissions/perm%2F2/ann", EVERYTHING)
    walk.get("/permissions/perm/ann")
    walk.get("/permissions/perm%2F2/ann")
    for body in ({}, {"configure": ".*"}, {"configure": "[", "write": ".*", "read": ".*"}, {"configure": 5, "write": ".*", "read": ".*"}):
        walk.put("/permissions/perm/ann", body, note=str(body))
        walk.quietly("PUT", "/permissions/perm/ann", EVERYTHING)
    walk.put("/permissions/perm/ann", b"x")
    walk.put("/permissions/perm/nobody", EVERYTHING)
    walk.put("/permissions/nowhere/ann", EVERYTHING)
    walk.get("/permissions/perm/nobody")
    walk.get("/permissions/nowhere/ann")
    walk.get("/permissions")
    walk.get("/permissions?sort=user&sort_reverse=true&columns=user,vhost")
    walk.get("/vhosts/perm/permissions")
    walk.get("/vhosts/nowhere/permissions")
    walk.get("/users/ann/permissions")
    _topics(walk)
    walk.delete("/permissions/perm/ann")
    walk.delete("/permissions/perm/ann", note="again")
    walk.delete("/permissions/nowhere/ann")
    walk.delete("/permissions/perm/nobody")
    walk.get("/users/ann/permissions")
    walk.get("/users/without-permissions")


def _topics(walk: Walk) -> None:
    body = {"exchange": "amq.topic", "write": "^a", "read": ".*"}
    walk.get("/topic-permissions")
    walk.get("/topic-permissions/perm/ann")
    walk.put("/topic-permissions/perm/ann", body)
    walk.put("/topic-permissions/perm/ann", body | {"write": "^b"})
    walk.put("/topic-permissions/perm/ann", body | {"exchange": "another"})
    walk.get("/topic-permissions/perm/ann")
    walk.get("/topic-permissions")
    walk.get("/users/ann/topic-permissions")
    walk.get("/vhosts/perm/topic-permissions")
    walk.get("/vhosts/nowhere/topic-permissions")
    for bad in ({}, {"exchange": "x"}, body | {"write": "["}):
        walk.put("/topic-permissions/perm/ann", bad, note=str(bad))
    walk.put("/topic-permissions/perm/nobody", body)
    walk.put("/topic-permissions/nowhere/ann", body)
    walk.delete("/topic-permissions/perm/ann/another")
    walk.delete("/topic-permissions/perm/ann/another", note="again")
    walk.get("/topic-permissions/perm/ann")
    walk.delete("/topic-permissions/perm/ann")
    walk.delete("/topic-permissions/perm/ann", note="again")
    walk.get("/topic-permissions/perm/ann")


def limits(walk: Walk) -> None:
    walk.user("ann", "management")
    walk.vhost("lim")
    walk.get("/user-limits")
    walk.get("/user-limits/ann")
    walk.get("/user-limits/nobody")
    walk.put("/user-limits/ann/max-connections", {"value": 10})
    walk.put("/user-limits/ann/max-channels", {"value": 20})
    walk.put("/user-limits/ann/max-channels", {"value": 30}, note="again")
    walk.get("/user-limits")
    walk.get("/user-limits/ann")
    for body in ({}, {"value": "10"}, {"value": "x"}, {"value": 1.5}, {"value": None}, {"value": -1}):
        walk.put("/user-limits/ann/max-connections", body, note=str(body))
    walk.put("/user-limits/ann/max-nonsense", {"value": 1})
    walk.put("/user-limits/nobody/max-channels", {"value": 1})
    walk.put("/user-limits/ann/max-channels", b"x")
    walk.get("/user-limits/ann")
    walk.delete("/user-limits/ann/max-channels")
    walk.delete("/user-limits/ann/max-channels", note="again")
    walk.delete("/user-limits/ann/max-connections")
    walk.delete("/user-limits/nobody/max-channels")
    walk.get("/user-limits/ann")
    walk.get("/vhost-limits")
    walk.get("/vhost-limits/lim")
    walk.get("/vhost-limits/nowhere")
    walk.put("/vhost-limits/lim/max-connections", {"value": 10})
    walk.put("/vhost-limits/lim/max-queues", {"value": 2})
    walk.put("/vhost-limits/lim/max-queues", {"value": 1}, note="again")
    walk.get("/vhost-limits")
    walk.get("/vhost-limits/lim")
    walk.get("/parameters/vhost-limits")
    walk.put("/queues/lim/one", {})
    walk.put("/queues/lim/two", {})
    for body in ({}, {"value": "10"}, {"value": 1.5}, {"value": None}, {"value": -1}):
        walk.put("/vhost-limits/lim/max-connections", body, note=str(body))
    walk.put("/vhost-limits/lim/max-nonsense", {"value": 1})
    walk.put("/vhost-limits/nowhere/max-queues", {"value": 1})
    walk.get("/vhost-limits/lim")
    walk.delete("/vhost-limits/lim/max-queues")
    walk.delete("/vhost-limits/lim/max-queues", note="again")
    walk.delete("/vhost-limits/lim/max-connections")
    walk.get("/vhost-limits/lim")
