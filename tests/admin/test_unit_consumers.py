"""Consumers over HTTP, as RabbitMQ 3.10.8 shows them."""

from pathlib import Path

from tests.admin.served import Served
from tests.runtime.process import soon


def test_consumers_and_whose_they_are(shared: Served, vhost: str) -> None:
    with shared.api() as api, shared.channel(vhost) as channel:
        channel.queue_declare("consumed")
        channel.basic_qos(prefetch_count=7)
        channel.basic_consume("consumed", lambda *_: None, consumer_tag="one", arguments={"x-priority": 2})
        channel.basic_consume("consumed", lambda *_: None, consumer_tag="two", auto_ack=True)
        one, two = soon(lambda: len(found := api.get(f"/api/consumers/{vhost}")) == 2 and found)
        details = one.pop("channel_details")
        connection = f"127.0.0.1:{details['peer_port']} -> 127.0.0.1:{shared.port}"
        assert details == {
            "connection_name": connection, "name": f"{connection} (1)", "node": details["node"], "number": 1, "peer_host": "127.0.0.1",
            "peer_port": details["peer_port"], "user": "guest", "pid": details["pid"],  # the last is Leveret's own
        }  # fmt: skip
        assert one == {
            "arguments": {"x-priority": 2}, "ack_required": True, "active": True, "activity_status": "up", "consumer_tag": "one",
            "consumer_timeout": 1_800_000, "exclusive": False, "prefetch_count": 7, "queue": {"name": "consumed", "vhost": vhost},
        }  # fmt: skip
        assert (two["consumer_tag"], two["ack_required"], two["arguments"]) == ("two", False, {})
        assert api.get("/api/consumers?columns=consumer_tag") == [{"consumer_tag": "one"}, {"consumer_tag": "two"}]
        with shared.user("consumer-watcher", "monitoring") as watcher:
            assert watcher.get("/api/consumers") == api.get("/api/consumers")
        with shared.user("consumer-user", "management", **{vhost: ".*"}) as user:
            assert user.get("/api/consumers") == []  # its own
        assert api.refusal("GET", "/api/consumers/nowhere") == (404, "Object Not Found", "Not Found")


def test_without_stats_there_are_no_consumers(tmp_path: Path) -> None:
    (tmp_path / "leveret.conf").write_text("management.disable_stats = true\n")
    with Served("--config", str(tmp_path / "leveret.conf")) as broker, broker.api() as api:
        text = "Stats in management UI are disabled on this node"
        assert api.refusal("GET", "/api/consumers") == (400, "bad_request", text)
