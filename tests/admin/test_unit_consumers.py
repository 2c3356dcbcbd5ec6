"""Consumers over HTTP, as RabbitMQ 3.10.8 shows them."""

from pathlib import Path

from tests.admin.served import Served, serve
from tests.runtime.process import soon


def test_consumers_and_whose_they_are(served: Served, vhost: str) -> None:
    api = served.api
    with served.client(vhost) as channel:
        channel.queue_declare("consumed")
        channel.basic_qos(prefetch_count=7)
        channel.basic_consume("consumed", lambda *_: None, consumer_tag="one", arguments={"x-priority": 2})
        channel.basic_consume("consumed", lambda *_: None, consumer_tag="two", auto_ack=True)
        one, two = soon(lambda: len(found := api.get(f"/api/consumers/{vhost}")) == 2 and found)
        details = one.pop("channel_details")
        assert details == {
            "connection_name": f"127.0.0.1:{details['peer_port']} -> 127.0.0.1:{served.broker.port}",
            "name": f"127.0.0.1:{details['peer_port']} -> 127.0.0.1:{served.broker.port} (1)",
            "node": details["node"], "number": 1, "peer_host": "127.0.0.1", "peer_port": details["peer_port"], "user": "guest",
        }  # fmt: skip
        assert one == {
            "arguments": {"x-priority": 2}, "ack_required": True, "active": True, "activity_status": "up", "consumer_tag": "one",
            "consumer_timeout": 1_800_000, "exclusive": False, "prefetch_count": 7, "queue": {"name": "consumed", "vhost": vhost},
        }  # fmt: skip
        assert (two["consumer_tag"], two["ack_required"], two["arguments"]) == ("two", False, {})
        assert api.get("/api/consumers?columns=consumer_tag") == [{"consumer_tag": "one"}, {"consumer_tag": "two"}]
        assert served.user("consumer-watcher", "monitoring").get("/api/consumers") == api.get("/api/consumers")
        # Others see their own.
        assert served.user("consumer-user", "management", **{vhost: ".*"}).get("/api/consumers") == []
    assert api.refusal("GET", "/api/consumers/nowhere") == (404, "Object Not Found", "Not Found")


def test_without_stats_there_are_no_consumers(tmp_path: Path) -> None:
    with serve(tmp_path, "management.disable_stats = true") as served:
        text = "Stats in management UI are disabled on this node"
        assert served.api.refusal("GET", "/api/consumers") == (400, "bad_request", text)
