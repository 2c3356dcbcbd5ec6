"""Exchanges over HTTP: what RabbitMQ 3.10.8 answered to the same requests, but where a comment says otherwise."""

from collections.abc import Iterator

import pytest

from tests.admin.client import Http
from tests.admin.served import Served


@pytest.fixture
def api(shared: Served) -> Iterator[Http]:
    with shared.api() as http:
        yield http


@pytest.fixture(scope="module")
def exchanges(vhost: str) -> str:
    """The path of this module's exchanges."""
    return f"/api/exchanges/{vhost}"


def test_no_body_is_a_transient_direct_exchange(api: Http, vhost: str, exchanges: str) -> None:
    assert [api.do("PUT", f"{exchanges}/bare") for _ in range(2)] == [201, 204]
    assert api.get(f"{exchanges}/bare") == {
        "name": "bare", "vhost": vhost, "type": "direct", "durable": False, "auto_delete": False, "internal": False, "arguments": {},
        "user_who_performed_action": "guest",
        "incoming": [], "outgoing": [],
    }  # fmt: skip


def test_declaring_takes_what_clients_send(api: Http, exchanges: str) -> None:
    arguments = {"alternate-exchange": "bare"}
    sent = {"type": "topic", "durable": "true", "auto_delete": "false", "internal": "false", "arguments": arguments, "name": "other"}
    assert api.do("PUT", f"{exchanges}/topic", sent) == 201
    assert api.do("PUT", f"{exchanges}/topic", {"type": "topic", "durable": True, "arguments": arguments}) == 204
    facts = api.get(f"{exchanges}/topic")
    assert (facts["type"], facts["durable"], facts["internal"], facts["arguments"]) == ("topic", True, False, arguments)


def test_what_is_refused_is_refused_in_amqps_words(api: Http, vhost: str, exchanges: str) -> None:
    api.do("PUT", f"{exchanges}/there", {"type": "fanout"})
    text = f"inequivalent arg 'type' for exchange 'there' in vhost '{vhost}': received 'direct' but current is 'fanout'"
    assert api.refusal("PUT", f"{exchanges}/there", {}) == (400, "bad_request", text)
    assert api.refusal("PUT", f"{exchanges}/new", {"type": "nope"}) == (400, "bad_request", "unknown exchange type 'nope'")
    refused = (401, "not_authorised", "Access refused.")
    assert api.refusal("PUT", f"{exchanges}/amq.mine", {}) == refused
    assert api.refusal("PUT", f"{exchanges}/amq.default", {"durable": True}) == refused
    assert api.refusal("DELETE", f"{exchanges}/amq.default") == refused
    assert api.refusal("DELETE", f"{exchanges}/amq.direct") == refused
    assert api.do("PUT", f"{exchanges}/amq.direct", {"durable": True}) == 204
    missing = (404, "Object Not Found", "Not Found")
    assert api.refusal("GET", f"{exchanges}/nope") == api.refusal("DELETE", f"{exchanges}/nope") == missing
    assert api.refusal("GET", "/api/exchanges/nowhere") == missing
    assert api.refusal("PUT", "/api/exchanges/nowhere/x", {}) == (404, "not_found", "vhost_not_found")
    # RabbitMQ takes it, and then no client can name it.
    assert api.do("PUT", f"{exchanges}/{'x' * 256}", {}) == 400


def test_deleting_if_unused(api: Http, vhost: str, exchanges: str) -> None:
    api.do("PUT", f"{exchanges}/used")
    api.do("PUT", f"/api/queues/{vhost}/bound")
    assert api.do("POST", f"/api/bindings/{vhost}/e/used/q/bound", {}) == 201
    assert api.refusal("DELETE", f"{exchanges}/used?if-unused=true") == (400, "bad_request", f"exchange 'used' in vhost '{vhost}' in use")
    assert api.do("DELETE", f"{exchanges}/used") == 204


def test_a_list_has_the_standard_exchanges(api: Http, exchanges: str) -> None:
    found = {(each["name"], each["type"]) for each in api.get(exchanges) if not each["name"] or each["name"].startswith("amq.")}
    assert found == {
        ("", "direct"), ("amq.direct", "direct"), ("amq.fanout", "fanout"), ("amq.headers", "headers"), ("amq.match", "headers"),
        ("amq.rabbitmq.trace", "topic"), ("amq.topic", "topic"),
    }  # fmt: skip
    page = api.get(f"{exchanges}?page=1&page_size=1&columns=name,message_stats")
    assert page["items"][0]["name"] == ""


def test_what_went_through_is_counted(api: Http, exchanges: str) -> None:
    api.do("PUT", f"{exchanges}/counted")
    assert "message_stats" not in api.get(f"{exchanges}/counted")
    sent = {"routing_key": "k", "payload": "", "payload_encoding": "string", "properties": {}}
    assert api.ask("POST", f"{exchanges}/counted/publish", sent).json == {"routed": False}
    stats = api.get(f"{exchanges}/counted")["message_stats"]
    assert (stats["publish_in"], stats["publish_out"]) == (1, 0)
    assert "message_stats" not in api.get(f"{exchanges}/counted?disable_stats=true")
