"""Queues over HTTP: what RabbitMQ 3.10.8 answered to the same requests, but where a comment says otherwise."""

from collections.abc import Iterator
from urllib.parse import quote

import pika
import pytest

from broker.admin.shapes.contents import READY_OF_ONE
from tests.admin.client import Http
from tests.admin.served import Served
from tests.runtime.process import soon

LOCKED = (
    "cannot obtain exclusive access to locked queue 'private' in vhost '{}'. It could be originally declared on another connection or the "
    "exclusive property value does not match that of the original declaration."
)


@pytest.fixture
def api(shared: Served) -> Iterator[Http]:
    with shared.api() as http:
        yield http


@pytest.fixture(scope="module")
def queues(vhost: str) -> str:
    """The path of this module's queues."""
    return f"/api/queues/{vhost}"


def test_declaring_is_201_then_204_and_takes_what_clients_send(api: Http, queues: str) -> None:
    sent = {"durable": "true", "auto_delete": "false", "name": "other", "vhost": "nowhere", "queue_type": None, "payload_file": 1}
    assert api.do("PUT", f"{queues}/lenient", sent) == 201
    assert api.do("PUT", f"{queues}/lenient", {"durable": True}) == 204
    facts = api.get(f"{queues}/lenient")
    assert (facts["durable"], facts["auto_delete"], facts["exclusive"], facts["arguments"]) == (True, False, False, {})


def test_no_body_at_all_is_a_transient_queue(api: Http, queues: str) -> None:
    assert [api.do("PUT", f"{queues}/bare", body) for body in (None, b"", b"null", {"arguments": []})] == [201, 204, 204, 204]
    assert api.get(f"{queues}/bare")["durable"] is False


def test_arguments_keep_their_types(api: Http, queues: str) -> None:
    arguments = {"x-max-length": 10, "a": 1, "b": 1.5, "c": True, "d": [1, "x", {"k": []}], "e": {"f": "g"}, "u": "hä"}
    assert api.do("PUT", f"{queues}/typed", {"arguments": arguments}) == 201
    assert api.do("PUT", f"{queues}/typed", {"arguments": arguments}) == 204
    assert api.get(f"{queues}/typed")["arguments"] == arguments


def test_what_is_refused_is_refused_in_amqps_words(api: Http, vhost: str, queues: str) -> None:
    api.do("PUT", f"{queues}/there", {"durable": True})

    def refused(name: str, body: object) -> tuple[int, str, str]:
        return api.refusal("PUT", f"{queues}/{name}", body)

    where = f"queue 'there' in vhost '{vhost}'"
    text = f"inequivalent arg 'durable' for {where}: received 'false' but current is 'true'"
    assert refused("there", {"durable": False}) == (400, "bad_request", text)
    text = f"invalid arg 'x-max-length' for queue 'new' in vhost '{vhost}': \"expected integer, got longstr\""
    assert refused("new", {"arguments": {"x-max-length": "10"}}) == (400, "bad_request", text)
    text = f"invalid property 'non-durable' for queue 'new' in vhost '{vhost}'"
    assert refused("new", {"arguments": {"x-queue-type": "quorum"}}) == (400, "bad_request", text)
    assert refused("amq.mine", {}) == (401, "not_authorised", "Access refused.")
    assert refused("new", {"passive": True}) == (404, "not_found", f"no queue 'new' in vhost '{vhost}'")
    assert refused("new", {"arguments": {"a": None}}) == (400, "bad_request", "null_not_allowed")
    assert refused("new", {"node": "rabbit@elsewhere"}) == (400, "bad_request", "Node rabbit@elsewhere could not be contacted")
    assert refused("new", b"{nope") == (400, "bad_request", "not_json")
    assert refused("n" * 256, {}) == (400, "bad_request", "queue should be less than 255 bytes, actually was 256\n")
    assert api.do("PUT", f"{queues}/{'n' * 255}", {}) == 201
    assert api.refusal("PUT", "/api/queues/nowhere/q", {}) == (404, "not_found", "vhost_not_found")


def test_what_is_not_there(api: Http, vhost: str, queues: str) -> None:
    missing = (404, "Object Not Found", "Not Found")
    assert api.refusal("GET", f"{queues}/nope") == missing
    assert api.refusal("DELETE", f"{queues}/nope") == missing
    assert api.refusal("DELETE", f"{queues}/nope/contents") == missing
    assert api.refusal("GET", "/api/queues/nowhere") == missing


def test_any_name_survives_the_path(api: Http, queues: str) -> None:
    for name in ("a b", "a+b", "a/b", "%2F", "a%b", "ä", " ", "."):
        path = f"{queues}/{quote(name, safe='')}"
        assert api.do("PUT", path) == 201
        assert api.get(path)["name"] == name
        assert api.do("DELETE", path) == 204


def test_deleting_if_empty_or_unused(api: Http, shared: Served, vhost: str, queues: str) -> None:
    api.do("PUT", f"{queues}/full", {})
    with shared.channel(vhost) as channel:
        channel.confirm_delivery()
        channel.basic_publish("", "full", b"x")
        channel.queue_declare("used")
        channel.basic_consume("used", lambda *_: None)
        where = f"in vhost '{vhost}'"
        assert api.refusal("DELETE", f"{queues}/full?if-empty=true") == (400, "bad_request", f"queue 'full' {where} not empty")
        assert api.refusal("DELETE", f"{queues}/used?if-unused=true") == (400, "bad_request", f"queue 'used' {where} in use")
        assert api.do("DELETE", f"{queues}/full/contents") == 204
        assert api.do("DELETE", f"{queues}/full?if-empty=true&if-unused=true") == 204
        assert api.do("DELETE", f"{queues}/used") == 204


def test_an_exclusive_queue_is_shown_with_its_owner_and_is_nobody_elses(api: Http, shared: Served, vhost: str, queues: str) -> None:
    with shared.channel(vhost) as channel:
        channel.queue_declare("private", exclusive=True)
        facts = api.get(f"{queues}/private")
        owner = facts["owner_pid_details"]
        assert facts["exclusive"] is True
        assert (owner["peer_host"], owner["name"]) == ("127.0.0.1", f"127.0.0.1:{owner['peer_port']} -> 127.0.0.1:{shared.port}")
        locked = (400, "bad_request", LOCKED.format(vhost))
        for method, path, body in (("DELETE", "", None), ("DELETE", "/contents", None), ("PUT", "", {})):
            assert api.refusal(method, f"{queues}/private{path}", body) == locked
    # An exclusive queue of a request's would be gone with it: as in RabbitMQ it isn't one.
    assert api.do("PUT", f"{queues}/shared", {"exclusive": True}) == 201
    assert api.get(f"{queues}/shared")["exclusive"] is False


FIELDS = {
    "name": str, "vhost": str, "type": str, "durable": bool, "auto_delete": bool, "exclusive": bool, "arguments": dict, "node": str,
    "state": str, "consumers": int, "memory": int, "messages": int, "messages_ready": int, "messages_unacknowledged": int,
    "messages_ram": int, "messages_ready_ram": int, "messages_unacknowledged_ram": int, "messages_persistent": int,
    "messages_paged_out": int, "message_bytes": int, "message_bytes_ready": int, "message_bytes_unacknowledged": int,
    "message_bytes_ram": int, "message_bytes_persistent": int, "message_bytes_paged_out": int, "messages_details": dict,
    "effective_policy_definition": dict, "message_stats": dict, "consumer_details": list, "deliveries": list, "incoming": list,
    "garbage_collection": dict, "reductions": int,
}  # fmt: skip


def test_one_queue_with_everything_that_readers_look_for(api: Http, shared: Served, vhost: str, queues: str) -> None:
    api.do("PUT", f"/api/policies/{vhost}/ttl", {"pattern": "^whole$", "definition": {"message-ttl": 600_000}, "apply-to": "queues"})
    with shared.channel(vhost) as channel:
        channel.queue_declare("whole", durable=True, arguments={"x-max-length": 100})
        channel.basic_qos(prefetch_count=3)
        channel.confirm_delivery()
        for size in range(1, 11):
            channel.basic_publish(
                "", "whole", b"x" * size, pika.BasicProperties(timestamp=1_700_000_000 + size, delivery_mode=1 + size % 2)
            )
        got = channel.basic_get("whole")[0]
        assert got is not None
        channel.basic_consume("whole", lambda *_: None, consumer_tag="me", arguments={"x-priority": 1})
        facts = soon(lambda: (found := api.get(f"{queues}/whole"))["messages_unacknowledged"] == 4 and found)
        assert {name: type(facts[name]) for name in FIELDS} == FIELDS
        assert (facts["messages"], facts["messages_ready"], facts["consumers"]) == (10, 6, 1)
        assert (facts["message_bytes"], facts["message_bytes_ready"], facts["message_bytes_unacknowledged"]) == (55, 45, 10)
        assert (facts["messages_persistent"], facts["message_bytes_persistent"]) == (5, 25)
        assert facts["head_message_timestamp"] == 1_700_000_001  # somebody has it
        assert (facts["policy"], facts["operator_policy"]) == ("ttl", None)
        assert facts["effective_policy_definition"] == {"message-ttl": 600_000}
        stats = facts["message_stats"]
        expected = {"publish": 10, "deliver": 3, "get": 1, "deliver_get": 4, "ack": 0, "redeliver": 0}
        assert {name: stats[name] for name in expected} == expected
        assert isinstance(stats["publish_details"]["rate"], float)
        (consumer,) = facts["consumer_details"]
        assert (consumer["consumer_tag"], consumer["prefetch_count"], consumer["ack_required"]) == ("me", 3, True)
        assert consumer["arguments"] == {"x-priority": 1}
        assert (consumer["queue"], consumer["channel_details"]["user"]) == ({"name": "whole", "vhost": vhost}, "guest")
        assert (facts["exclusive_consumer_tag"], facts["single_active_consumer_tag"]) == (None, None)


def test_the_first_message_is_the_oldest_whoever_has_it(api: Http, shared: Served, vhost: str, queues: str) -> None:
    with shared.channel(vhost) as channel:
        other = channel.connection.channel()
        channel.queue_declare("shared-out")
        channel.confirm_delivery()
        for second in range(3):
            channel.basic_publish("", "shared-out", b"", pika.BasicProperties(timestamp=1_700_000_000 + second))
        first, second_tag = other.basic_get("shared-out")[0].delivery_tag, channel.basic_get("shared-out")[0].delivery_tag
        timestamps = [api.get(f"{queues}/shared-out")["head_message_timestamp"]]
        other.basic_ack(first)
        soon(lambda: api.get(f"{queues}/shared-out")["messages"] == 2)
        timestamps.append(api.get(f"{queues}/shared-out")["head_message_timestamp"])
        channel.basic_ack(second_tag)
        soon(lambda: api.get(f"{queues}/shared-out")["messages"] == 1)
        timestamps.append(api.get(f"{queues}/shared-out")["head_message_timestamp"])
        assert timestamps == [1_700_000_000, 1_700_000_001, 1_700_000_002]


def test_of_many_messages_some_are_looked_at(api: Http, shared: Served, vhost: str, queues: str) -> None:
    with shared.channel(vhost) as channel:
        channel.queue_declare("deep", durable=True)
        channel.confirm_delivery()
        for number in range(2 * READY_OF_ONE):
            channel.basic_publish("", "deep", b"xx", pika.BasicProperties(delivery_mode=1 + number % 2))
        facts = api.get(f"{queues}/deep")
        assert (facts["messages"], facts["messages_persistent"]) == (2 * READY_OF_ONE, READY_OF_ONE)
        assert facts["message_bytes_persistent"] == 2 * READY_OF_ONE
        channel.queue_delete("deep")


def test_without_a_policy_its_definition_is_an_empty_object(api: Http, queues: str) -> None:
    api.do("PUT", f"{queues}/free", {})
    facts = api.get(f"{queues}/free")
    assert (facts["policy"], facts["effective_policy_definition"]) == (None, {})
    assert "message_stats" not in facts  # nothing has happened


def test_a_quorum_queue_names_its_members(api: Http, queues: str) -> None:
    api.do("PUT", f"{queues}/quorum", {"durable": True, "arguments": {"x-queue-type": "quorum"}})
    facts = api.get(f"{queues}/quorum")
    assert facts["type"] == "quorum"
    assert facts["leader"] == facts["node"]
    assert facts["members"] == facts["online"] == [facts["node"]]
    assert "x-queue-type" in facts["arguments"]


def test_single_active_consumers(api: Http, shared: Served, vhost: str, queues: str) -> None:
    with shared.channel(vhost) as channel:
        channel.queue_declare("single", arguments={"x-single-active-consumer": True})
        channel.basic_consume("single", lambda *_: None, consumer_tag="first")
        channel.basic_consume("single", lambda *_: None, consumer_tag="second")
        facts = api.get(f"{queues}/single")
        assert facts["single_active_consumer_tag"] == "first"
        activity = {each["consumer_tag"]: (each["active"], each["activity_status"]) for each in facts["consumer_details"]}
        assert activity == {"first": (True, "single_active"), "second": (False, "waiting")}


BASIC = {"arguments", "auto_delete", "durable", "exclusive", "name", "node", "state", "type", "vhost"}


def test_without_stats_there_is_only_what_was_declared(api: Http, queues: str) -> None:
    api.do("PUT", f"{queues}/quiet", {})
    assert api.get(f"{queues}/quiet?disable_stats=true").keys() == BASIC
    listed = {each["name"]: each for each in api.get(f"{queues}?disable_stats=true&enable_queue_totals=true")}
    assert listed["quiet"].keys() == BASIC | {"messages", "messages_ready", "messages_unacknowledged"}


def test_lists_have_columns_pages_and_an_order(api: Http, shared: Served) -> None:
    vhost = shared.add_vhost("pages")
    for name in ("b", "a", "C", "aa"):
        api.do("PUT", f"/api/queues/{vhost}/{name}")
    api.do(
        "POST",
        f"/api/exchanges/{vhost}/amq.default/publish",
        {"routing_key": "b", "payload": "", "payload_encoding": "string", "properties": {}},
    )
    listed = f"/api/queues/{vhost}?columns=name"
    assert [each["name"] for each in api.get(listed)] == ["C", "a", "aa", "b"]
    assert api.get(listed + ",messages&sort=messages&sort_reverse=true")[0] == {"name": "b", "messages": 1}
    page = api.get(listed + "&page=1&page_size=2&name=a")
    assert page.pop("items") == [{"name": "a"}, {"name": "aa"}]
    assert page == {"total_count": 4, "item_count": 2, "filtered_count": 2, "page": 1, "page_size": 2, "page_count": 1}
    detailed = api.get("/api/queues/detailed?columns=name,vhost&sort=name")
    assert [each["name"] for each in detailed if each["vhost"] == vhost] == ["C", "a", "aa", "b"]


def test_what_an_exchange_keeps_is_the_exchanges_to_show(api: Http, shared: Served, vhost: str, queues: str) -> None:
    exchange = f"/api/exchanges/{vhost}/later"
    assert api.do("PUT", exchange, {"type": "x-delayed-message", "arguments": {"x-delayed-type": "fanout"}}) == 201
    sent = {"routing_key": "", "payload": "", "payload_encoding": "string", "properties": {"headers": {"x-delay": 600_000}}}
    assert api.ask("POST", f"{exchange}/publish", sent).json == {"routed": True}
    assert api.get(exchange)["messages_delayed"] == 1
    assert "amq.delayed.later" not in [each["name"] for each in api.get(queues)]
    assert api.get(f"{queues}/amq.delayed.later")["messages"] == 1
    assert "amq.delayed.later" not in [each["destination"] for each in api.get(f"/api/bindings/{vhost}")]
    # Totals are those of the lists.
    assert api.get(f"/api/vhosts/{vhost}")["messages"] == sum(each["messages"] for each in api.get(queues))
    assert api.get("/api/overview")["object_totals"]["queues"] == len(api.get("/api/queues"))
    metrics = api.ask("GET", "/metrics/per-object").body.decode()
    assert f"\nrabbitmq_queues {len(api.get('/api/queues'))}\n" in metrics
    assert "amq.delayed" not in metrics


def test_actions_on_mirrors_are_taken(api: Http, queues: str) -> None:
    api.do("PUT", f"{queues}/acted", {})
    assert api.do("POST", f"{queues}/acted/actions", {"action": "sync"}) == 204
    assert api.refusal("POST", f"{queues}/acted/actions", {}) == (400, "bad_request", "[{key_missing,action}]")
    assert api.do("POST", f"{queues}/acted/actions", {"action": "explode"}) == 400


def test_users_need_their_rights(shared: Served, api: Http, vhost: str, queues: str) -> None:
    api.do("PUT", f"{queues}/ours", {})
    with shared.user("stranger", "management") as stranger:
        assert stranger.refusal("GET", f"{queues}/ours") == (401, "not_authorised", "User not authorised to access virtual host")
        assert stranger.get("/api/queues") == []
    with shared.user("queue-reader", "management", **{vhost: "^mine"}) as reader:
        assert reader.get(f"{queues}/ours")["name"] == "ours"
        assert reader.refusal("PUT", f"{queues}/ours", {}) == (401, "not_authorised", "Access refused.")
        assert reader.refusal("DELETE", f"{queues}/ours") == (401, "not_authorised", "Access refused.")
        assert reader.do("PUT", f"{queues}/mine", {}) == 201
    # A monitor sees other users' connections, but not into vhosts that it may not enter.
    with shared.user("queue-monitor", "monitoring") as monitor:
        assert monitor.get("/api/queues") == []
        for what in ("connections", "channels"):
            assert monitor.refusal("GET", f"/api/vhosts/{vhost}/{what}") == (
                401,
                "not_authorised",
                "User not authorised to access virtual host",
            )
        assert monitor.do("GET", f"/api/leveret/route?vhost={vhost}&routing_key=ours") == 404


def test_an_administrator_sees_all_and_does_nothing_without_permissions(shared: Served, api: Http, vhost: str, queues: str) -> None:
    api.do("PUT", f"{queues}/theirs", {})
    refused = (401, "not_authorised", "Access refused.")
    got = {"ackmode": "ack_requeue_false", "encoding": "auto", "count": 1}
    with shared.user("queue-administrator", "administrator") as administrator:
        assert administrator.get(f"{queues}/theirs")["name"] == "theirs"
        assert administrator.refusal("PUT", f"{queues}/another", {}) == refused
        assert administrator.refusal("POST", f"{queues}/theirs/get", got) == refused
