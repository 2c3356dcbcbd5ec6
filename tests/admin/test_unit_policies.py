"""Policies, parameters, definitions and feature flags over HTTP; what is quoted is RabbitMQ's (3.10.8)."""

import json
from typing import Any

import pytest

from broker.admin.resources.definitions import ITEMS
from tests.admin.client import Answer, Http
from tests.admin.test_unit_users import NOT_FOUND, ask, bad

LIMIT = {"max-length": 5}
BOUNDARY = "x-y-z"


@pytest.fixture(scope="module", autouse=True)
def vhost(served: Any) -> None:
    with served.api() as api:
        api.ask("PUT", "/api/vhosts/v1")


@pytest.mark.parametrize("kind", ["policies", "operator-policies"])
class TestPolicies:
    def test_created_changed_deleted(self, api: Http, kind: str) -> None:
        path = f"/api/{kind}/v1/p"
        assert ask(api, "PUT", path, {"pattern": "^a", "definition": LIMIT, "name": "p", "vhost": "v1"}) == (201, None)
        shown = {"vhost": "v1", "name": "p", "pattern": "^a", "apply-to": "all", "definition": LIMIT, "priority": 0}
        assert api.get(path) == shown
        changed = {"pattern": "^a", "definition": {"max-length": 6}, "priority": "3", "apply-to": "queues"}
        assert ask(api, "PUT", path, changed) == (204, None)
        shown |= {"definition": {"max-length": 6}, "priority": 3, "apply-to": "queues"}
        assert api.get(f"/api/{kind}") == api.get(f"/api/{kind}/v1") == [shown]
        assert ask(api, "DELETE", path) == (204, None)
        assert ask(api, "DELETE", path) == ask(api, "GET", path) == (404, NOT_FOUND)
        assert api.get(f"/api/{kind}/v1") == []

    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (None, "[{key_missing,pattern},{key_missing,definition}]"),
            ({"definition": LIMIT}, "[{key_missing,pattern}]"),
            ({"pattern": "a", "definition": {}}, "Validation failed\n\nno policy provided\n"),
            ({"pattern": "a", "definition": 'x"'}, 'definition is "x\\"": expected an object'),
            ({"pattern": 5, "definition": LIMIT}, "pattern is 5: expected text"),
            ({"pattern": "a", "definition": LIMIT, "priority": "x"}, 'priority is "x": expected a whole number'),
        ],
    )
    def test_what_is_none(self, api: Http, kind: str, body: Any, reason: str) -> None:
        assert ask(api, "PUT", f"/api/{kind}/v1/bad", body) == (400, bad(reason))
        assert ask(api, "GET", f"/api/{kind}/v1/bad") == (404, NOT_FOUND)

    def test_where_nothing_is(self, api: Http, kind: str) -> None:
        assert ask(api, "GET", f"/api/{kind}/nope") == (404, NOT_FOUND)
        body = {"pattern": "a", "definition": LIMIT}
        assert ask(api, "PUT", f"/api/{kind}/nope/p", body) == (404, {"error": "not_found", "reason": "vhost_not_found"})


def test_what_a_page_could_show_is_escaped(api: Http) -> None:
    """In policies, and not in operator policies, as in RabbitMQ."""
    body = {"pattern": "a", "definition": {"nope": 6}}
    text = '[{<<"nope">>,6}] are not recognised policy settings'
    escaped = text.replace("<", "&lt;").replace(">", "&gt;")
    assert ask(api, "PUT", "/api/policies/v1/bad", body) == (400, bad(f"Validation failed\n\n{escaped}\n"))
    assert ask(api, "PUT", "/api/operator-policies/v1/bad", body) == (400, bad(f"Validation failed\n\n{text}\n"))


class TestParameters:
    def test_limits(self, api: Http) -> None:
        path = "/api/parameters/vhost-limits/v1/limits"
        assert ask(api, "PUT", path, {}) == (400, bad("[{key_missing,value}]"))
        assert ask(api, "PUT", path, {"value": {"max-queues": 7}}) == (201, None)
        assert ask(api, "PUT", path, {"value": {"max-queues": 8}}) == (204, None)
        shown = {"value": {"max-queues": 8}, "vhost": "v1", "component": "vhost-limits", "name": "limits"}
        assert api.get(path) == shown
        for listing in ("/api/parameters", "/api/parameters/vhost-limits", "/api/parameters/vhost-limits/v1"):
            assert api.get(listing) == [shown]
        assert api.get("/api/vhost-limits") == [{"vhost": "v1", "value": {"max-queues": 8}}]
        assert ask(api, "DELETE", path) == (204, None)
        assert ask(api, "DELETE", path) == ask(api, "GET", path) == (404, NOT_FOUND)

    def test_policies_are_listed_if_they_are_asked_for(self, api: Http) -> None:
        """Operator policies always, as RabbitMQ has it."""
        for kind in ("policies", "operator-policies"):
            api.ask("PUT", f"/api/{kind}/v1/p", {"pattern": "a", "definition": LIMIT})
        value = {"pattern": "a", "definition": LIMIT, "priority": 0, "apply-to": "all"}
        shown = [{"value": value, "vhost": "v1", "component": component, "name": "p"} for component in ("policy", "operator_policy")]
        assert api.get("/api/parameters/policy") == shown[:1]
        assert api.get("/api/parameters/policy/v1/p") == shown[0]
        assert api.get("/api/parameters") == api.get("/api/parameters/operator_policy/v1") == shown[1:]
        refused = bad("policies may not be set using this method")
        assert ask(api, "PUT", "/api/parameters/policy/v1/p2", {"value": value}) == (400, refused)
        for component in ("policy", "operator_policy"):
            assert ask(api, "DELETE", f"/api/parameters/{component}/v1/p") == (204, None)
        assert api.get("/api/policies/v1") == api.get("/api/operator-policies/v1") == []

    def test_those_of_plugins_are_kept(self, api: Http, served: Any) -> None:
        path = "/api/parameters/shovel/v1/s"
        assert ask(api, "PUT", path, {"value": {"src-uri": "amqp://"}}) == (201, None)
        assert api.get(path)["value"] == {"src-uri": "amqp://"}
        served.wait_for_log(r"\[warning\].*parameter 's' of component 'shovel' is kept, but nothing here acts on it")
        assert ask(api, "DELETE", path) == (204, None)

    def test_where_nothing_is(self, api: Http) -> None:
        assert api.get("/api/parameters/nope") == []
        refused = bad("Validation failed\n\ncomponent nope not found\n")
        assert ask(api, "PUT", "/api/parameters/nope/v1/x", {"value": 1}) == (400, refused)
        assert ask(api, "GET", "/api/parameters/vhost-limits/nope") == (404, NOT_FOUND)
        body = {"value": {"max-queues": 1}}
        expected = (404, {"error": "not_found", "reason": "vhost_not_found"})
        assert ask(api, "PUT", "/api/parameters/vhost-limits/nope/limits", body) == expected

    def test_global_ones(self, api: Http) -> None:
        path = "/api/global-parameters/gp"
        assert ask(api, "PUT", path, {}) == (400, bad("[{key_missing,value}]"))
        for status, value in ((201, {"a": 1}), (204, None), (204, "text")):
            assert ask(api, "PUT", path, {"value": value}) == (status, None)
            assert api.get(path) == {"value": value, "name": "gp"}
        assert {"name": "gp", "value": "text"} in api.get("/api/global-parameters")
        assert ask(api, "DELETE", path) == (204, None)
        assert ask(api, "DELETE", path) == ask(api, "GET", path) == (404, NOT_FOUND)

    def test_the_clusters_name_is_one_of_them(self, api: Http) -> None:
        before = api.get("/api/cluster-name")
        assert before["name"].startswith("rabbit@")
        assert ask(api, "PUT", "/api/cluster-name", {}) == (400, bad("[{key_missing,name}]"))
        assert ask(api, "PUT", "/api/cluster-name", {"name": "hares"}) == (204, None)
        assert api.get("/api/cluster-name") == {"name": "hares"}
        assert api.get("/api/global-parameters/cluster_name") == {"value": "hares", "name": "cluster_name"}
        assert api.get("/api/overview")["cluster_name"] == "hares"


class TestDefinitions:
    def test_out_and_in(self, api: Http) -> None:
        api.ask("PUT", "/api/vhosts/defs", {"description": "d"})
        api.ask("PUT", "/api/policies/defs/p", {"pattern": "a", "definition": LIMIT})
        api.ask("PUT", "/api/users/someone", {"tags": "b,a", "password": "x"})
        whole = api.get("/api/definitions")
        assert whole["rabbitmq_version"] and {"users", "vhosts", "permissions", "queues", "bindings"} <= whole.keys()
        api.ask("DELETE", "/api/vhosts/defs")
        api.ask("DELETE", "/api/users/someone")
        assert ask(api, "POST", "/api/definitions", whole) == (204, None)
        assert api.get("/api/definitions") == whole
        assert api.get("/api/all-configuration") == whole

    def test_as_a_file(self, api: Http) -> None:
        answer = api.ask("GET", "/api/definitions?download=d.json")
        assert answer.headers["content-disposition"] == "attachment; filename=d.json"
        assert "content-disposition" not in api.ask("GET", "/api/definitions?download=a%0Ab").headers

    def test_of_a_vhost(self, api: Http) -> None:
        queue = {"name": "q1", "durable": True, "auto_delete": False, "arguments": {}}
        api.ask("PUT", "/api/vhosts/defs2")
        assert ask(api, "POST", "/api/definitions/defs2", {"queues": [queue]}) == (204, None)
        found = api.get("/api/definitions/defs2")
        assert [{**each, "type": "classic"} for each in [queue]] == found["queues"]
        assert ask(api, "GET", "/api/definitions/nope") == (400, bad("vhost_not_found"))
        assert ask(api, "POST", "/api/definitions/nope", {}) == (404, {"error": "not_found", "reason": "vhost_not_found"})

    @pytest.mark.parametrize("count", [ITEMS, ITEMS + 1])
    def test_of_many(self, api: Http, count: int) -> None:
        api.ask("PUT", "/api/vhosts/many")
        names = [f"q{number}" for number in range(count)]
        queues = [{"name": name, "durable": False, "auto_delete": False, "arguments": {}} for name in names]
        assert ask(api, "POST", "/api/definitions/many", {"queues": queues}) == (204, None)
        assert [each["name"] for each in api.get("/api/definitions/many")["queues"]] == names
        api.ask("DELETE", "/api/vhosts/many")

    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (b"x", "failed_to_parse_json"),
            (b"[]", "failed_to_parse_json"),
            ({"users": [{"name": "u", "password": "x"}]}, "users[0] 'u': there are no tags"),
            ({"queues": [{"name": "q1"}]}, "queues[0] 'q1': expected a field vhost"),
            ({"bindings": 5}, "bindings is 5: expected a list"),
        ],
    )
    def test_what_cannot_be_imported(self, api: Http, body: Any, reason: str) -> None:
        status, answer = ask(api, "POST", "/api/definitions", body)
        assert (status, answer["error"]) == (400, "bad_request") and answer["reason"].startswith(reason)

    def test_nothing(self, api: Http) -> None:
        assert ask(api, "POST", "/api/definitions", {}) == (204, None)
        assert api.ask("POST", "/api/definitions", b"{}", headers={"Content-Type": "text/plain"}).status == 415

    def test_a_form(self, api: Http) -> None:
        document = json.dumps({"vhosts": [{"name": "form"}]})
        assert post_form(api, {"file": document}).status == 204
        assert api.get("/api/vhosts/form")["name"] == "form"
        sent_on = post_form(api, {"file": "{}", "redirect": "../#/"})
        assert (sent_on.status, sent_on.headers["location"]) == (303, "../#/")
        missing = post_form(api, {"other": document})
        assert missing.status == 400 and missing.json["reason"].startswith("failed_to_parse_json")
        broken = api.ask("POST", "/api/definitions", b"no form", headers={"Content-Type": "multipart/form-data"})
        assert broken.json == bad("the request is no form (multipart/form-data)")

    def test_many_objects_come_in_whole(self, api: Http) -> None:
        queues = [{"name": f"q{number}", "vhost": "/", "durable": True, "auto_delete": False, "arguments": {}} for number in range(500)]
        assert ask(api, "POST", "/api/definitions", {"queues": queues}) == (204, None)
        assert len(api.get("/api/definitions/%2F")["queues"]) == 500


def post_form(api: Http, parts: dict[str, str]) -> Answer:
    lines = [f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{content}\r\n' for name, content in parts.items()]
    body = "".join([*lines, f"--{BOUNDARY}--\r\n"]).encode()
    return api.ask("POST", "/api/definitions", body, headers={"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"})


class TestFeatures:
    def test_what_nservicebus_looks_for(self, api: Http) -> None:
        flags = {flag["name"]: flag for flag in api.get("/api/feature-flags")}
        assert flags["stream_queue"]["state"] == "enabled"
        keys = {"name", "desc", "doc_url", "state", "stability", "provided_by"}
        assert all(flag.keys() == keys and flag["state"] == "enabled" for flag in flags.values())

    def test_enabling(self, api: Http) -> None:
        assert ask(api, "PUT", "/api/feature-flags/stream_queue/enable", {}) == (204, None)
        assert ask(api, "PUT", "/api/feature-flags/nope/enable", {}) == (400, bad("unsupported"))

    def test_what_is_deprecated_and_what_of_it_is_used(self, api: Http) -> None:
        names = {feature["name"] for feature in api.get("/api/deprecated-features")}
        assert {"transient_nonexcl_queues", "global_qos"} <= names
        assert api.get("/api/deprecated-features/used") == []
        api.ask("GET", "/api/aliveness-test/%2F")
        assert [feature["name"] for feature in api.get("/api/deprecated-features/used")] == ["transient_nonexcl_queues"]
