"""Bindings over HTTP: what RabbitMQ 3.10.8 answered to the same requests, but where a comment says otherwise."""

from collections.abc import Iterator
from urllib.parse import unquote

import pytest

from broker.admin.shapes.binding import properties_key
from protocol.tables import table_of
from tests.admin.client import Http
from tests.admin.served import Served

KEYS = {
    "": ("~", "~"),
    "a.*": ("a.%2A", "a.%252A"),
    "a b~c/ä%": ("a+b%7Ec%2F%C3%A4%25", "a%2Bb%257Ec%252F%25C3%25A4%2525"),
    "#": ("%23", "%2523"),
    "a+b": ("a%2Bb", "a%252Bb"),
}
"""Routing key to its properties_key, and to how that stands in a path."""


@pytest.fixture
def api(shared: Served) -> Iterator[Http]:
    with shared.api() as http:
        yield http


@pytest.fixture(scope="module")
def between(shared: Served, vhost: str) -> str:
    """The path of the bindings from an exchange to a queue."""
    with shared.api() as api:
        for path in ("exchanges/{}/source", "exchanges/{}/other", "queues/{}/target"):
            assert api.do("PUT", "/api/" + path.format(vhost)) == 201
    return f"/api/bindings/{vhost}/e/source/q/target"


@pytest.mark.parametrize("key", KEYS)
def test_a_binding_is_found_under_the_location_that_it_was_made_with(api: Http, vhost: str, between: str, key: str) -> None:
    in_facts, in_path = KEYS[key]
    made = api.ask("POST", between, {"routing_key": key, "arguments": {}})
    assert (made.status, made.headers["location"], made.body) == (201, f"target/{in_path}", b"")
    facts = api.get(f"{between}/{in_path}")
    assert facts == {
        "source": "source", "vhost": vhost, "destination": "target", "destination_type": "queue", "routing_key": key, "arguments": {},
        "properties_key": in_facts,
    }  # fmt: skip
    # Terraform: the last segment of the location, decoded once, is the properties_key.
    assert unquote(made.headers["location"].rpartition("/")[2].replace("+", " ")) == in_facts
    assert facts in api.get(between)
    assert api.do("DELETE", f"{between}/{in_path}") == 204
    assert api.do("DELETE", f"{between}/{in_path}") == 404


def test_a_location_leads_back_where_names_have_spaces(api: Http, vhost: str, between: str) -> None:
    assert api.do("PUT", f"/api/queues/{vhost}/a%20target") == 201
    made = api.ask("POST", f"/api/bindings/{vhost}/e/source/q/a%20target", {"routing_key": "a b"})
    assert made.headers["location"] == "a+target/a%2Bb"
    path = f"/api/bindings/{vhost}/e/source/q/{made.headers['location']}"
    assert (api.get(path)["destination"], api.get(path)["routing_key"]) == ("a target", "a b")
    assert api.do("DELETE", path) == 204
    assert api.do("DELETE", f"/api/queues/{vhost}/a%20target") == 204


def test_arguments_make_another_binding(api: Http, between: str) -> None:
    bodies = [{"routing_key": "k"}, {"routing_key": "k", "arguments": {"x": 1}}, {"routing_key": "k", "arguments": {"x": "1"}}]
    locations = [api.ask("POST", between, body).headers["location"] for body in bodies]
    assert locations[0] == "target/k"
    assert len(set(locations)) == 3
    assert all(each.startswith("target/k~") for each in locations[1:])
    keys = [each["properties_key"] for each in api.get(between) if each["routing_key"] == "k"]
    assert sorted(keys) == sorted(each.partition("/")[2] for each in locations)
    assert api.get(f"{between}/{keys[-1]}")["properties_key"] == keys[-1]
    for key in keys:
        assert api.do("DELETE", f"{between}/{key}") == 204


def test_the_hash_of_arguments_does_not_depend_on_their_order_and_is_safe_in_a_path() -> None:
    one, other = table_of({"a": 1, "b": "x"}), table_of({"b": "x", "a": 1})
    key = properties_key("", one)
    assert key == properties_key("", other)
    assert key.startswith("~")
    assert key[1:].replace("-", "").replace("_", "").isalnum()
    assert key != properties_key("", table_of({"a": 2, "b": "x"}))


def test_no_body_is_no_key_and_again_is_the_same(api: Http, between: str) -> None:
    assert [api.ask("POST", between, body).headers["location"] for body in (None, {}, {"routing_key": ""})] == ["target/~"] * 3
    assert [each["properties_key"] for each in api.get(between)] == ["~"]
    assert api.do("DELETE", f"{between}/~") == 204


def test_exchanges_are_bound_to_exchanges(api: Http, vhost: str) -> None:
    path = f"/api/bindings/{vhost}/e/source/e/other"
    assert api.ask("POST", path, {"routing_key": "k"}).headers["location"] == "other/k"
    (facts,) = api.get(path)
    assert (facts["destination"], facts["destination_type"]) == ("other", "exchange")
    assert facts in api.get(f"/api/exchanges/{vhost}/source/bindings/source")
    assert api.get(f"/api/exchanges/{vhost}/other/bindings/destination") == [facts]
    assert api.do("DELETE", f"{path}/k") == 204
    assert api.get(path) == []


def test_what_is_refused(api: Http, vhost: str, between: str) -> None:
    base = f"/api/bindings/{vhost}/e"
    assert api.refusal("POST", f"{base}/source/q/nope", {}) == (404, "not_found", f"no queue 'nope' in vhost '{vhost}'")
    assert api.refusal("POST", f"{base}/nope/q/target", {}) == (404, "not_found", f"no exchange 'nope' in vhost '{vhost}'")
    assert api.refusal("POST", f"{base}/amq.default/q/target", {}) == (401, "not_authorised", "Access refused.")
    assert api.refusal("POST", "/api/bindings/nowhere/e/source/q/target", {}) == (404, "not_found", "vhost_not_found")
    assert api.do("POST", between, {"routing_key": "k" * 256}) == 400
    missing = (404, "Object Not Found", "Not Found")
    for key in ("nope", "k~nope", "a~b~c"):
        assert api.refusal("GET", f"{between}/{key}") == api.refusal("DELETE", f"{between}/{key}") == missing
    assert api.get(f"{base}/source/q/nope") == api.get(f"{base}/nope/q/target") == api.get(f"/api/queues/{vhost}/nope/bindings") == []
    assert api.do("GET", f"{base}/source/x/target") == 404  # 500 in RabbitMQ


def test_every_queue_is_bound_to_the_default_exchange(api: Http, vhost: str, between: str) -> None:
    by_name = {
        "source": "", "vhost": vhost, "destination": "target", "destination_type": "queue", "routing_key": "target", "arguments": {},
        "properties_key": "target",
    }  # fmt: skip
    assert api.get(f"/api/queues/{vhost}/target/bindings") == [by_name]
    assert api.get(f"/api/exchanges/{vhost}/amq.default/bindings/source") == [by_name]
    assert api.get(f"/api/bindings/{vhost}/e/amq.default/q/target/target") == by_name
    assert by_name in api.get("/api/bindings")
    assert api.do("POST", between, {"routing_key": "z"}) == 201
    assert [(each["source"], each["routing_key"]) for each in api.get(f"/api/bindings/{vhost}")] == [("", "target"), ("source", "z")]
    assert api.get(f"/api/bindings/{vhost}?columns=properties_key") == [{"properties_key": "target"}, {"properties_key": "z"}]
    assert api.do("DELETE", f"{between}/z") == 204
