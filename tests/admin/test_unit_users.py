"""Users, permissions and limits over HTTP; what is quoted is RabbitMQ's (3.10.8; who may see what, 3.13)."""

import socket
from typing import Any

import pytest

from tests.admin.client import Http
from tests.admin.served import Served

EVERYTHING = {"configure": ".*", "write": ".*", "read": ".*"}
NOT_FOUND = {"error": "Object Not Found", "reason": "Not Found"}
TAGS = ("administrator", "monitoring", "policymaker", "management")


def bad(reason: str) -> dict[str, str]:
    return {"error": "bad_request", "reason": reason}


def ask(api: Http, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    answer = api.ask(method, path, body)
    return answer.status, answer.json if answer.body else None


@pytest.fixture(scope="module", autouse=True)
def users(served: Served) -> None:
    """One user for each tag, and one without; all but `outsider` may enter the vhost `theirs`."""
    with served.api() as api:
        assert ask(api, "PUT", "/api/vhosts/theirs") == (201, None)
        for name in (*TAGS, "untagged", "outsider"):
            tag = {"untagged": "", "outsider": "management"}.get(name, name)
            assert ask(api, "PUT", f"/api/users/{name}", {"password": "x", "tags": tag}) == (201, None)
            if name != "outsider":
                assert ask(api, "PUT", f"/api/permissions/theirs/{name}", EVERYTHING) == (201, None)


class TestUsers:
    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (None, "tags_not_present"),
            ({"password": "x"}, "tags_not_present"),
            (b"nonsense", "not_json"),
            ([], "not_json"),
            ({"tags": "", "password": "a", "password_hash": "AAAA"}, "both_password_and_password_hash_are_provided"),
            ({"tags": 5}, "tags are neither a list nor text"),
            ({"tags": [], "password_hash": "!!"}, "password_hash is not base64"),
            ({"tags": [], "password_hash": "AAAA", "hashing_algorithm": "nope"}, "unknown hashing algorithm 'nope'"),
            ({"tags": [], "limits": {"max-foo": 3}}, "limit 'max-foo' of user 'u': expected one of max-connections, max-channels"),
        ],
    )
    def test_what_is_no_user(self, api: Http, body: Any, reason: str) -> None:
        assert ask(api, "PUT", "/api/users/u", body) == (400, bad(reason))
        assert ask(api, "GET", "/api/users/u") == (404, NOT_FOUND)

    def test_created_changed_deleted(self, api: Http) -> None:
        assert ask(api, "PUT", "/api/users/u1", {"tags": "b, a", "password": "one"}) == (201, None)
        created = api.get("/api/users/u1")
        assert {**created, "password_hash": ""} == {
            "name": "u1",
            "password_hash": "",
            "hashing_algorithm": "rabbit_password_hashing_sha256",
            "tags": ["b", "a"],
            "limits": {},
        }
        assert ask(api, "PUT", "/api/users/u1", {"tags": ["management"], "password": "two"}) == (204, None)
        assert api.ask("GET", "/api/whoami", credentials=("u1", "two")).json["tags"] == ["management"]
        assert api.ask("GET", "/api/whoami", credentials=("u1", "one")).status == 401
        assert ask(api, "DELETE", "/api/users/u1") == (204, None)
        assert ask(api, "DELETE", "/api/users/u1") == (404, NOT_FOUND)
        assert api.ask("GET", "/api/whoami", credentials=("u1", "two")).status == 401

    def test_without_a_password_nobody_logs_in_any_more(self, api: Http) -> None:
        for body in ({"tags": "management", "password": "x"}, {"tags": "management"}):
            api.ask("PUT", "/api/users/u2", body)
        assert api.get("/api/users/u2")["password_hash"] == ""
        assert api.ask("GET", "/api/whoami", credentials=("u2", "x")).status == 401

    def test_a_hash_is_taken_as_it_is(self, api: Http) -> None:
        """One user's hash lets another one in with the same password."""
        hashed = api.get("/api/users/management")["password_hash"]
        assert ask(api, "PUT", "/api/users/u3", {"tags": ["management"], "password_hash": hashed}) == (201, None)
        assert api.get("/api/users/u3")["password_hash"] == hashed
        assert api.ask("GET", "/api/whoami", credentials=("u3", "x")).status == 200

    def test_the_older_way_to_make_an_administrator(self, api: Http) -> None:
        assert ask(api, "PUT", "/api/users/u4", {"administrator": "true"}) == (201, None)
        assert api.get("/api/users/u4")["tags"] == ["administrator"]

    def test_permissions_come_with_a_new_user(self, api: Http) -> None:
        body = {"tags": "", "permissions": {"theirs": EVERYTHING}}
        assert ask(api, "PUT", "/api/users/u5", body) == (201, None)
        assert api.get("/api/users/u5/permissions") == [{"user": "u5", "vhost": "theirs", **EVERYTHING}]
        assert api.ask("PUT", "/api/users/u6", {"tags": "", "permissions": {"nope": EVERYTHING}}).status == 404
        assert api.ask("PUT", "/api/users/u6", {"tags": "", "permissions": {"theirs": EVERYTHING | {"read": "("}}}).status == 400
        assert api.ask("GET", "/api/users/u6").status == 404
        assert api.ask("GET", "/api/users/u6").status == 404

    def test_lists(self, api: Http) -> None:
        names = [user["name"] for user in api.get("/api/users?columns=name")]
        assert names == sorted(names) and {"guest", "management", "untagged"} <= set(names)
        page = api.get("/api/users?page=1&page_size=2")
        assert [user["name"] for user in page["items"]] == names[:2] and page["total_count"] == len(names)
        without = {user["name"] for user in api.get("/api/users/without-permissions")}
        assert "outsider" in without and not without & {"guest", "management"}

    def test_many_are_deleted(self, api: Http) -> None:
        for name in ("d1", "d2", "d3"):
            api.ask("PUT", f"/api/users/{name}", {"tags": ""})
        assert ask(api, "POST", "/api/users/bulk-delete", {"users": ["d1", "nope", "d3"]}) == (204, None)
        assert [api.ask("GET", f"/api/users/d{number}").status for number in (1, 2, 3)] == [404, 200, 404]
        assert ask(api, "POST", "/api/users/bulk-delete", {}) == (400, bad("[{key_missing,users}]"))
        assert ask(api, "POST", "/api/users/bulk-delete", {"users": "x"}) == (400, bad("users: expected a list of names"))


class TestPermissions:
    def test_granted_changed_taken_away(self, api: Http) -> None:
        path = "/api/permissions/theirs/outsider"
        assert ask(api, "GET", path) == (404, NOT_FOUND)
        assert ask(api, "PUT", path, {**EVERYTHING, "vhost": "x"}) == (201, None)
        assert ask(api, "PUT", path, {"configure": "", "write": "^a", "read": ".*"}) == (204, None)
        granted = {"user": "outsider", "vhost": "theirs", "configure": "", "write": "^a", "read": ".*"}
        assert api.get(path) == granted
        assert api.get("/api/users/outsider/permissions") == [granted]
        assert granted in api.get("/api/permissions") and granted in api.get("/api/vhosts/theirs/permissions")
        assert ask(api, "DELETE", path) == (204, None)
        assert ask(api, "DELETE", path) == (404, NOT_FOUND)

    @pytest.mark.parametrize(
        ("path", "body", "reason"),
        [
            ("nope/outsider", EVERYTHING, "vhost_or_user_not_found"),
            ("theirs/nope", EVERYTHING, "vhost_or_user_not_found"),
            ("theirs/outsider", None, "[{key_missing,configure},{key_missing,write},{key_missing,read}]"),
            ("theirs/outsider", {"configure": "", "write": ""}, "[{key_missing,read}]"),
            ("theirs/outsider", {**EVERYTHING, "write": 5}, "write is 5: expected text"),
        ],
    )
    def test_what_cannot_be_granted(self, api: Http, path: str, body: Any, reason: str) -> None:
        assert ask(api, "PUT", f"/api/permissions/{path}", body) == (400, bad(reason))

    def test_a_pattern_that_is_none(self, api: Http) -> None:
        status, answer = ask(api, "PUT", "/api/permissions/theirs/outsider", {**EVERYTHING, "read": "("})
        assert status == 400 and answer["reason"].startswith("invalid regular expression '('")

    @pytest.mark.parametrize("path", ["/api/users/nope/permissions", "/api/vhosts/nope/permissions", "/api/users/nope/topic-permissions"])
    def test_of_nobody(self, api: Http, path: str) -> None:
        assert ask(api, "GET", path) == (404, NOT_FOUND)

    def test_topics(self, api: Http) -> None:
        path = "/api/topic-permissions/theirs/management"
        assert ask(api, "PUT", path, {}) == (400, bad("[{key_missing,exchange},{key_missing,write},{key_missing,read}]"))
        assert ask(api, "PUT", path, {"exchange": "amq.topic", "write": "^a", "read": ".*"}) == (201, None)
        assert ask(api, "PUT", path, {"exchange": "other", "write": "^b", "read": ".*"}) == (204, None)
        granted = [
            {"user": "management", "vhost": "theirs", "exchange": exchange, "write": write, "read": ".*"}
            for exchange, write in (("amq.topic", "^a"), ("other", "^b"))
        ]
        for listing in (path, "/api/topic-permissions", "/api/users/management/topic-permissions", "/api/vhosts/theirs/topic-permissions"):
            assert api.get(listing) == granted
        assert ask(api, "DELETE", f"{path}/amq.topic") == (204, None)
        assert api.get(path) == granted[1:]
        assert ask(api, "DELETE", path) == (204, None)
        assert ask(api, "DELETE", path) == (404, NOT_FOUND)
        assert ask(api, "GET", path) == (404, NOT_FOUND)


class TestLimits:
    def test_of_vhosts(self, api: Http) -> None:
        path = "/api/vhost-limits/theirs"
        assert ask(api, "PUT", f"{path}/max-queues", {"value": 5}) == (204, None)
        assert ask(api, "PUT", f"{path}/max-connections", {"value": "-1"}) == (204, None)
        limits = {"vhost": "theirs", "value": {"max-queues": 5, "max-connections": -1}}
        assert api.get(path) == api.get("/api/vhost-limits") == [limits]
        assert api.get("/api/vhost-limits/%2F") == []
        assert ask(api, "DELETE", f"{path}/max-queues") == (204, None)
        assert api.get(path) == [{"vhost": "theirs", "value": {"max-connections": -1}}]
        assert ask(api, "DELETE", f"{path}/max-connections") == (204, None)
        assert ask(api, "DELETE", f"{path}/max-connections") == (204, None)
        assert api.get(path) == []
        assert api.get("/api/parameters") == []

    def test_two_that_are_set_at_once_are_both_set(self, api: Http) -> None:
        path = "/api/vhost-limits/theirs"
        with socket.create_connection((api.host, api.port), 10) as slow:
            head = f"PUT {path}/max-queues HTTP/1.1\r\nHost: here\r\nAuthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\nContent-Length: 11\r\n\r\n"
            slow.sendall(head.encode())
            assert api.do("GET", "/api/whoami") == 200  # by then the head has been read
            assert api.do("PUT", f"{path}/max-connections", {"value": 7}) == 204
            slow.sendall(b'{"value":5}')
            assert slow.recv(1000).startswith(b"HTTP/1.1 204 ")
        assert api.get(path) == [{"vhost": "theirs", "value": {"max-connections": 7, "max-queues": 5}}]
        for name in ("max-queues", "max-connections"):
            api.do("DELETE", f"{path}/{name}")

    @pytest.mark.parametrize(
        ("path", "body", "expected"),
        [
            (
                "theirs/max-foo",
                {"value": 1},
                (400, "limit 'max-foo' of virtual host 'theirs': expected one of max-connections, max-queues"),
            ),
            ("theirs/max-queues", {}, (400, "[{key_missing,value}]")),
            ("theirs/max-queues", {"value": None}, (400, "value is null: expected a whole number")),
            ("theirs/max-queues", {"value": "many"}, (400, 'value is "many": expected a whole number')),
            ("nope/max-queues", {"value": 1}, (404, "vhost_not_found")),
        ],
    )
    def test_what_is_no_limit(self, api: Http, path: str, body: Any, expected: tuple[int, str]) -> None:
        status, answer = ask(api, "PUT", f"/api/vhost-limits/{path}", body)
        assert (status, answer["reason"]) == expected

    def test_of_users(self, api: Http) -> None:
        path = "/api/user-limits/outsider"
        for name, value in (("max-connections", 5), ("max-channels", 7)):
            assert ask(api, "PUT", f"{path}/{name}", {"value": value}) == (204, None)
        assert api.get(path) == api.get("/api/user-limits") == [{"user": "outsider", "value": {"max-connections": 5, "max-channels": 7}}]
        assert ask(api, "DELETE", f"{path}/max-channels") == (204, None)
        assert api.get(path) == [{"user": "outsider", "value": {"max-connections": 5}}]
        assert ask(api, "DELETE", f"{path}/all") == (204, None)
        assert api.get(path) == []
        assert ask(api, "GET", "/api/user-limits/nope") == (404, NOT_FOUND)
        assert ask(api, "DELETE", "/api/user-limits/nope/all") == (404, {"error": "not_found", "reason": "user_not_found"})
        assert api.ask("PUT", "/api/user-limits/nope/max-channels", {"value": 1}).status == 400


class TestVhosts:
    def test_what_a_put_leaves_out_is_gone(self, api: Http) -> None:
        """But for tracing and the default queue type."""
        described = {"description": "d", "tags": "a,b", "tracing": "true", "default_queue_type": "quorum"}
        assert ask(api, "PUT", "/api/vhosts/v1", described) == (201, None)
        assert ask(api, "PUT", "/api/vhosts/v1") == (204, None)
        found = api.get("/api/vhosts/v1")
        assert (found["description"], found["tags"], found["tracing"], found["default_queue_type"]) == ("", [], True, "quorum")
        assert found["metadata"] == {"description": "", "tags": [], "default_queue_type": "quorum"}

    def test_whoever_makes_one_may_enter_it(self, api: Http) -> None:
        api.ask("PUT", "/api/vhosts/v2")
        assert api.get("/api/vhosts/v2/permissions") == [{"user": "guest", "vhost": "v2", **EVERYTHING}]

    def test_bad_ones(self, api: Http) -> None:
        assert ask(api, "PUT", "/api/vhosts/v3", b"x") == (400, bad("not_json"))
        assert ask(api, "PUT", "/api/vhosts/v3", {"tags": 5}) == (400, bad("tags are neither a list nor text"))
        assert api.ask("PUT", "/api/vhosts/v3", {"default_queue_type": "nope"}).status == 400
        assert ask(api, "GET", "/api/vhosts/v3") == ask(api, "DELETE", "/api/vhosts/v3") == (404, NOT_FOUND)
        assert api.ask("PUT", "/api/vhosts/").status == 405

    def test_one_that_is_protected_is_not_deleted(self, api: Http) -> None:
        api.ask("PUT", "/api/vhosts/v4")
        assert ask(api, "POST", "/api/vhosts/v4/deletion/protection") == (204, None)
        assert api.get("/api/vhosts/v4/deletion/protection") == {"vhost": "v4", "protected_from_deletion": True}
        reason = "Refusing to delete virtual host 'v4' because it is protected from deletion"
        assert ask(api, "DELETE", "/api/vhosts/v4") == (412, {"error": "precondition_failed", "reason": reason})
        assert ask(api, "DELETE", "/api/vhosts/v4/deletion/protection") == (204, None)
        assert ask(api, "DELETE", "/api/vhosts/v4") == (204, None)
        assert ask(api, "POST", "/api/vhosts/v4/deletion/protection") == (404, NOT_FOUND)

    def test_they_run_already(self, api: Http, served: Served) -> None:
        assert ask(api, "POST", f"/api/vhosts/theirs/start/{served.node}") == (204, None)
        assert ask(api, "POST", "/api/vhosts/theirs/start/foo") == (400, bad("Request to node foo failed with nodedown"))
        assert api.ask("POST", f"/api/vhosts/nope/start/{served.node}").status == 400


ANY, ADMINISTRATOR = "Not management user", "Not administrator user"
VHOST, OBJECT, MONITOR = "User not authorised to access virtual host", "User not authorised to access object", "Not monitor user"


@pytest.mark.parametrize(
    ("path", "reason", "may"),
    [
        ("/api/whoami", ANY, TAGS),
        ("/api/vhosts", ANY, TAGS),
        ("/api/users", ADMINISTRATOR, TAGS[:1]),
        ("/api/users/guest", ADMINISTRATOR, TAGS[:1]),
        ("/api/users/without-permissions", ADMINISTRATOR, TAGS[:1]),
        ("/api/permissions", ADMINISTRATOR, TAGS[:1]),
        ("/api/permissions/%2F/guest", ADMINISTRATOR, TAGS[:1]),
        ("/api/topic-permissions", ADMINISTRATOR, TAGS[:1]),
        ("/api/vhosts/theirs", ADMINISTRATOR, TAGS[:1]),
        ("/api/vhosts/theirs/permissions", ADMINISTRATOR, TAGS[:1]),
        ("/api/vhost-limits", VHOST, TAGS),
        ("/api/vhost-limits/theirs", VHOST, TAGS),
        ("/api/vhost-limits/%2F", VHOST, TAGS[:2]),
        ("/api/user-limits", VHOST, TAGS),
        ("/api/policies", VHOST, TAGS),
        ("/api/policies/theirs", VHOST, TAGS),
        ("/api/policies/%2F", VHOST, TAGS[:1]),
        ("/api/policies/theirs/p", OBJECT, ("administrator", "policymaker")),
        ("/api/operator-policies/theirs", VHOST, TAGS),
        ("/api/operator-policies/theirs/p", ADMINISTRATOR, TAGS[:1]),
        ("/api/parameters", OBJECT, ("administrator", "policymaker")),
        ("/api/parameters/policy/%2F", OBJECT, TAGS[:1]),
        ("/api/global-parameters", OBJECT, ("administrator", "policymaker")),
        ("/api/definitions", ADMINISTRATOR, TAGS[:1]),
        ("/api/definitions/theirs", ADMINISTRATOR, TAGS[:1]),
        ("/api/cluster-name", ANY, TAGS),
        ("/api/feature-flags", ANY, TAGS),
        ("/api/auth/attempts/NODE", MONITOR, TAGS[:2]),
        ("/api/auth/hash_password/x", ADMINISTRATOR, TAGS[:1]),
        ("/api/config/effective", ADMINISTRATOR, TAGS[:1]),
        ("/api/aliveness-test/theirs", VHOST, TAGS),
        ("/api/health/checks/alarms", ANY, TAGS),
        ("/api/shovels", MONITOR, TAGS[:2]),
        ("/api/version", ANY, TAGS),
    ],
)
def test_who_may_see_what(api: Http, served: Served, path: str, reason: str, may: tuple[str, ...]) -> None:
    """As is_authorized of each resource has it in RabbitMQ 3.13."""
    path = path.replace("NODE", served.node)
    refused = {name: api.ask("GET", path, credentials=(name, "x")) for name in (*TAGS, "untagged")}
    assert tuple(name for name, answer in refused.items() if answer.status != 401) == may
    for name in set(refused) - set(may):
        wanted = ANY if name == "untagged" else reason
        assert refused[name].json == {"error": "not_authorised", "reason": wanted}
        assert "www-authenticate" not in refused[name].headers


def test_who_may_change_what(api: Http) -> None:
    policy = {"pattern": "", "definition": {"max-length": 1}}
    for credentials, path, status in (
        (("policymaker", "x"), "/api/policies/theirs/p", 201),
        (("policymaker", "x"), "/api/policies/%2F/p", 401),
        (("monitoring", "x"), "/api/policies/theirs/p", 401),
        (("management", "x"), "/api/policies/theirs/p", 401),
        (("policymaker", "x"), "/api/operator-policies/theirs/p", 401),
    ):
        assert api.ask("PUT", path, policy, credentials=credentials).status == status
    for path in ("/api/cluster-name", "/api/users/x", "/api/vhosts/x", "/api/vhost-limits/theirs/max-queues"):
        assert api.ask("PUT", path, {"name": "x", "value": 1, "tags": ""}, credentials=("monitoring", "x")).status == 401


def test_they_see_their_own_vhosts(api: Http) -> None:
    api.ask("PUT", "/api/policies/%2F/hidden", {"pattern": "", "definition": {"max-length": 1}})
    for name, vhosts in (("management", {"theirs"}), ("outsider", set()), ("monitoring", {"/", "theirs"})):
        seen = api.ask("GET", "/api/vhosts", credentials=(name, "x")).json
        assert vhosts == {vhost["name"] for vhost in seen} & {"/", "theirs"}
        policies = api.ask("GET", "/api/policies", credentials=(name, "x")).json
        assert "hidden" not in {policy["name"] for policy in policies}


def test_logins(api: Http, served: Served) -> None:
    nobody = api.ask("GET", "/api/whoami", credentials=("", ""))
    assert (nobody.status, nobody.body, nobody.headers["www-authenticate"]) == (401, b"", 'Basic realm="RabbitMQ Management"')
    wrong = api.ask("GET", "/api/whoami", credentials=("guest", "wrong"))
    assert wrong.json == {"error": "not_authorized", "reason": "Login failed"}
    assert wrong.headers["www-authenticate"] == 'Basic realm="RabbitMQ Management"'
    served.wait_for_log(r"\[warning\].*HTTP access denied: user 'guest' - invalid credentials")
    served.wait_for_log(r"\[warning\].*HTTP access denied: user 'untagged' - Not management user")
