"""Connections, channels and consumers of clients that are there."""

from typing import Any

from tests.admin.walk import Walk
from tests.wire import Wire

V = "conn"
PROPERTIES = {"product": "walker", "connection_name": "walks", "list": [1, "a"], "number": 5}


def _settled(connection: dict[str, Any]) -> bool:
    return (
        connection["state"] == "running"
        and connection["recv_oct"] > 300
        and "recv_oct_details" in connection
        and connection["channels"] > 0
    )


def connections(walk: Walk) -> None:
    walk.vhost(V)
    walk.user("ann", "management", V)
    walk.user("bob", "management", V)
    walk.get("/connections")
    walk.get("/channels")
    walk.get("/connections/nobody")
    walk.get("/channels/nobody")
    walk.delete("/connections/nobody")
    with (
        walk.connect("first", vhost=V, properties=PROPERTIES, heartbeat=60) as first,
        walk.connect("second", vhost=V, user="ann", password="secret") as second,
    ):
        one, two = first.open_channel(), first.open_channel()
        three = second.open_channel()
        one.queue("q", durable=True)
        two.confirm_select()
        two.publish_confirmed("", "q", b"1", b"2", b"3", b"4")
        one.qos(2)
        one.consume("q", "tag")
        one.deliveries(2)
        three.tx_select()
        three.publish("", "q", b"uncommitted")
        assert three.get("q", no_ack=False) is not None
        three.ack(1)
        three.qos(7, everywhere=True)
        walk.get("/connections", until=lambda found: len(found) == 2 and all(map(_settled, found)))
        walk.get(f"/connections/{walk.path_of(first)}", until=_settled)
        walk.get(f"/connections/{walk.path_of(second)}", until=_settled)
        walk.get(f"/vhosts/{V}/connections", until=lambda found: len(found) == 2 and all(map(_settled, found)))
        walk.get("/connections?columns=name,user,channels,client_properties.product&sort=user")
        walk.get("/connections?page=1&page_size=1&columns=user&sort=user")
        walk.get("/connections?disable_stats=true&columns=name,user")
        _channels(walk, first, second)
        _seen_by(walk, first, second)
        _closing(walk, first, second)
    walk.get("/connections", until=lambda found: not found)
    walk.get("/channels", until=lambda found: not found)
    walk.get("/consumers", until=lambda found: not found)


def _channels(walk: Walk, first: Wire, second: Wire) -> None:
    def ready(found: list[dict[str, Any]]) -> bool:
        by_name = {channel["name"].rpartition("(")[0] + str(channel["number"]): channel for channel in found}
        return len(by_name) == 3 and all(_channel_ready(channel) for channel in found)

    walk.get("/channels", until=ready)
    walk.get(f"/vhosts/{V}/channels", until=ready)
    for wire, number in ((first, 1), (first, 2), (second, 1)):
        walk.get(f"/channels/{walk.path_of(wire)}%20({number})", until=_channel_ready)
        walk.get(f"/channels/{walk.path_of(wire)}%20%28{number}%29?columns=name,number")
    walk.get(f"/channels/{walk.path_of(first)}%20(9)")
    walk.get(f"/connections/{walk.path_of(first)}/channels", until=lambda found: len(found) == 2 and all(map(_channel_ready, found)))
    walk.get("/connections/nobody/channels")
    walk.get(f"/consumers/{V}", until=lambda found: len(found) == 1 and found[0]["channel_details"])
    walk.get("/consumers/nowhere")


def _channel_ready(channel: dict[str, Any]) -> bool:
    stats = channel.get("message_stats", {})
    wanted = {
        (True, False): True,
        (False, True): channel["messages_uncommitted"] == 1 and channel["acks_uncommitted"] == 1 and stats.get("get") == 1,
        (False, False): stats.get("deliver") == 2 and channel["messages_unacknowledged"] == 2,
    }
    return bool(wanted[channel["confirm"], channel["transactional"]] and channel["state"] == "running")


def _seen_by(walk: Walk, first: Wire, second: Wire) -> None:
    """Users see their own connections only, unless they monitor."""
    for user in ("ann", "bob"):
        walk.acting_as(user)
        walk.get("/connections?columns=name,user")
        walk.get("/channels?columns=name,user")
        walk.get("/consumers?columns=consumer_tag")
        walk.get(f"/connections/{walk.path_of(first)}?columns=name")
        walk.get(f"/connections/{walk.path_of(second)}?columns=name")
        walk.get(f"/channels/{walk.path_of(second)}%20(1)?columns=name")
        walk.get("/connections/username/ann?columns=name")
        walk.get(f"/vhosts/{V}/connections?columns=name")
        walk.delete(f"/connections/{walk.path_of(first)}")
    walk.acting_as(None)


def _closing(walk: Walk, first: Wire, second: Wire) -> None:
    walk.get("/connections/username/ann", until=lambda found: len(found) == 1)
    walk.get("/connections/username/nobody")
    walk.delete(f"/connections/{walk.path_of(first)}", headers={"X-Reason": "enough of it"}, note="with a reason")
    first.expect_close(320, "CONNECTION_FORCED - enough of it")
    walk.delete("/connections/username/ann")
    second.expect_close(320, "CONNECTION_FORCED - Closed via management plugin")
    walk.delete("/connections/username/nobody")


def blocked(walk: Walk) -> None:
    """States of connections and channels that do nothing or were told to wait."""
    walk.vhost(V)
    with walk.connect("bare", vhost=V, capabilities={}) as bare, walk.connect("paused", vhost=V) as paused:
        channel = paused.open_channel()
        channel.queue("q")
        channel.consume("q", "own", exclusive=True)
        walk.get(
            f"/connections/{walk.path_of(bare)}",
            until=lambda found: found["state"] == "running" and "recv_oct_details" in found and found["recv_oct"],
        )
        walk.get(f"/channels/{walk.path_of(paused)}%20(1)", until=lambda found: found["consumer_count"] == 1 and found["consumer_details"])
        walk.get(f"/consumers/{V}", until=lambda found: len(found) == 1)
        bare.close()
        paused.close()
