"""Which lives are kept, for how long, and what is known of messages that were there before."""

from pathlib import Path
from typing import Any

import pytest

from broker.testing.lives import kinds as words
from broker.testing.lives.history import BODY_BYTES_MAX, LIVES_MAX, History
from broker.testing.lives.life import EVENTS_MAX
from tests.admin.client import Answer
from tests.runtime.process import publish_bytes, send_many
from tests.testing.box import Box
from tests.testing.stories import heard, kinds, life, lives, story
from tests.testing.supervised import ROOT_PATH, Supervised
from tests.wire import Wire

KIB = 1024


def forgotten(box: Box) -> int:
    headers = {"Authorization": f"Bearer {box.broker.card['token']}"}
    answer = box.broker.http.ask("GET", f"{ROOT_PATH}/vhosts/{box.vhost}/history?limit=0", headers=headers, credentials=("", ""))
    assert answer.json == []
    return int(answer.headers["leveret-forgotten"])


def as_owner(box: Box, method: str, path: str) -> Answer:
    return box.broker.http.ask(method, path, credentials=(box.user, box.password))


def purge(box: Box, queue: str) -> None:
    assert as_owner(box, "DELETE", f"/api/queues/{box.vhost}/{queue}/contents").status == 204


# --- bounds ---------------------------------------------------------------------------------------------------------


def test_the_oldest_that_are_over_are_forgotten(box: Box) -> None:
    wire = box.wire()
    channel = wire.open_channel()
    channel.queue("q", exclusive=False)
    channel.publish("", "q", b"stays")
    send_many(wire, publish_bytes(channel.number, "", "nowhere", b"x"), LIVES_MAX + 5)
    heard(channel)
    found = lives(box)
    assert len(found) == LIVES_MAX and forgotten(box) == 6
    assert found[0]["payload"] == "stays" and found[0]["state"] == "routed"
    assert [each["id"] - found[0]["id"] for each in found[1:3]] == [7, 8]


def test_of_those_that_are_not_over_the_oldest(box: Box) -> None:
    wire = box.wire()
    channel = wire.open_channel()
    channel.queue("q", exclusive=False)
    channel.publish("", "q", b"first")
    heard(channel)
    first = life(box)["id"]
    send_many(wire, publish_bytes(channel.number, "", "q", b"x"), LIVES_MAX + 2)
    channel.counts("q")
    assert forgotten(box) == 3 and lives(box)[0]["id"] == first + 3
    assert channel.take("q").body == b"first", "a message without a life is as good as any"
    heard(channel)
    assert len(box.ask("GET", "/queues/q/messages")) == LIVES_MAX + 2


def test_bodies_are_bounded_too() -> None:
    history = History(lambda: 0)
    for number in range(1, 2000):
        life = history.begin(words.PUBLISHED)
        life.read((number, b"\x00\x00", b"", bytes(65_536)))
        history.keep(life, number)
        history.conclude(life)
    assert len(history) == BODY_BYTES_MAX // 65_536 and history.forgotten == 1999 - len(history)
    assert history.get(1) is None and history.get(1999) is not None


def test_what_goes_round_forgets_the_middle() -> None:
    history = History(lambda: 0)
    life = history.begin(words.PUBLISHED)
    history.keep(life, 1)
    for number in range(1000):
        history.note(life, words.ROUTED if not number else words.REQUEUED, "q", detail=str(number))
    assert len(life.events) == EVENTS_MAX and life.left_out == 1000 - EVENTS_MAX
    assert (life.events[0].detail, life.events[-1].detail) == ("0", "999") and life.is_in("q")


def test_what_went_on_is_not_over() -> None:
    """A delayed message is in no queue for a moment."""
    history = History(lambda: 0)
    life = history.begin(words.PUBLISHED)
    history.keep(life, 1)
    history.note(life, words.DELAYED, "d")
    history.note(life, words.DUE, "d")
    history.keep(life, 2)
    history.note(life, words.ROUTED, "q")
    for number in range(3, LIVES_MAX + 5):
        other = history.begin(words.PUBLISHED)
        history.keep(other, number)
        history.conclude(other)
    assert history.get(2) is history.get(1) is life and history.forgotten


def test_others_hear_of_what_happens() -> None:
    history, heard = History(lambda: 7), []
    history.on_event.append(lambda life, event: heard.append((life.id, event.what, event.at_ms, life.state)))
    life = history.begin(words.PUBLISHED)
    history.keep(life, 1)
    history.note(life, words.PUBLISHED)
    history.note(life, words.ROUTED, "q")
    history.note(life, words.CONFIRMED)
    assert heard == [(1, "published", 7, "published"), (1, "routed", 7, "routed"), (1, "confirmed", 7, "routed")]


# --- filters --------------------------------------------------------------------------------------------------------


def test_what_one_may_ask_for(box: Box) -> None:
    channel = box.wire().open_channel()
    channel.exchange("fan", "fanout")
    for queue in ("a", "b"):
        channel.queue(queue, exclusive=False)
        channel.bind(queue, "fan")
    channel.publish("fan", "k", b"1", message_id="m")
    channel.publish("", "a", b"2")
    channel.ack(channel.take("a", no_ack=False).tag)
    heard(channel)
    both, one = lives(box)
    assert lives(box, queue="a") == [both, one] and lives(box, queue="b") == [both]
    assert lives(box, state="acked") == lives(box, state="acked", queue="a") == [both]
    assert lives(box, state="acked", queue="b") == [], "it was acked in another queue"
    assert lives(box, state="ready") == [both, one] and lives(box, state="ready", queue="a") == [one]
    assert lives(box, exchange="fan") == lives(box, message_id="m") == lives(box, routing_key="k") == [both]
    assert lives(box, exchange="") == [one] and lives(box, exchange="fan", routing_key="a") == []
    assert lives(box, state="published", limit=1) == [one] and lives(box, limit=0) == []


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("state=eaten", "state: expected one of published, "),
        ("limit=-1", "limit: expected 0 or more, not -1"),
        ("limit=x", "limit: expected a whole number"),
        ("que=q", "que: unknown here, there is queue, exchange, routing_key, message_id, state, limit"),
    ],
)
def test_what_one_may_not(box: Box, query: str, told: str) -> None:
    assert told in box.ask("GET", f"/history?{query}", status=400)["reason"]


def test_nothing_where_there_is_nothing(box: Box) -> None:
    assert lives(box) == [] and forgotten(box) == 0
    box.broker.ask_vhost("GET", "nowhere", "/history", status=404)
    answer = box.ask("GET", "/queues/q/messages", status=404)
    assert answer["reason"] == f"there is no queue 'q' in vhost '{box.vhost}', there is no queue at all"


# --- the disk -------------------------------------------------------------------------------------------------------


def _fill(wire: Wire) -> None:
    channel = wire.open_channel()
    channel.confirm_select()
    channel.exchange("fan", "fanout", durable=True)
    channel.exchange("later", "x-delayed-message", durable=True, arguments={"x-delayed-type": "fanout"})
    channel.exchange("once", "x-message-deduplication", durable=True, arguments={"x-cache-size": 9, "x-cache-persistence": "disk"})
    for queue, arguments in (("a", {}), ("b", {"x-max-priority": 5}), ("c", {"x-message-ttl": 3_600_000})):
        channel.queue(queue, exclusive=False, durable=True, arguments=arguments)
        channel.bind(queue, "fan")
    channel.bind("a", "later")
    channel.publish("fan", "k", b"1", delivery_mode=2, message_id="one")
    channel.publish("", "a", b"2", delivery_mode=2)
    channel.publish("later", "k", b"3", delivery_mode=2, headers={"x-delay": 3_600_000})
    channel.publish("once", "k", b"4", delivery_mode=2, headers={"x-deduplication-header": "x"})
    channel.confirms(4)


def _without_times(of: dict[str, Any]) -> dict[str, Any]:
    return {key: of[key] for key in ("exchange", "routing_key", "payload", "properties")}


def test_what_was_there_at_the_start(tmp_path: Path) -> None:
    with Supervised(tmp_path / "data") as broker:
        box = Box(broker)
        _fill(box.wire())
        before = {each["payload"]: each for each in lives(box)}
        broker.kill()
        broker.start()
        found = {each["payload"]: each for each in lives(box)}
        assert sorted(found) == ["1", "2", "3"]
        for payload, each in found.items():
            assert _without_times(each) == _without_times(before[payload])
            assert 0 <= each["published_ms"] - before[payload]["published_ms"] < 1000 and each["id"] == before[payload]["id"]
            assert each["by"] == {"connection": None, "client_name": None, "user": None, "channel": None}
        assert sorted(story(found["1"])) == [f"recovered '{queue}': was there at the start" for queue in "abc"]
        assert {each["why"] for each in found["1"]["routed"]} == {"it was there at the start"}
        assert (found["3"]["queues"][0]["state"], found["3"]["routed"]) == ("delayed", [])
        assert lives(box, message_id="one") == lives(box, queue="c") == [found["1"]]
        wire = box.wire("after")
        channel = wire.open_channel()
        channel.ack(channel.take("a", no_ack=False).tag)
        channel.take("b")
        broker.ask("POST", "/clock/advance", {"seconds": 3600})
        one, _, delayed = lives(box)
        assert sorted(kinds(one)) == ["acked", "delivered", "delivered", "expired", "recovered", "recovered", "recovered"]
        assert kinds(delayed) == ["recovered", "due", "routed"] and delayed["id"] == found["3"]["id"]
        wire.abort()


def test_what_is_purged_before_anybody_read_it(tmp_path: Path) -> None:
    with Supervised(tmp_path / "data") as broker:
        box = Box(broker)
        _fill(box.wire())
        broker.kill()
        broker.start()
        purge(box, "a")
        found = lives(box)
        assert [story(each)[-1] for each in found if "purged" in kinds(each)] == ["purged 'a': queue.purge"] * 2
        assert found[1]["payload"] == "" and found[1]["queues"][0]["state"] == "purged"


def test_what_is_paged_out_and_read_again(tmp_path: Path) -> None:
    """A backlog that doesn't fit into memory: its messages leave it, and the queue's head may be on the disk."""
    settings = tmp_path / "leveret.conf"
    settings.write_text("vm_memory_high_watermark.absolute = 2MB\n")
    with Supervised(tmp_path / "data", arguments=("--config", str(settings))) as broker:
        box = Box(broker)
        channel = box.wire("worker").open_channel()
        channel.confirm_select()
        for queue in ("read", "purged", "dropped"):
            channel.queue(queue, exclusive=False, durable=True)
        for queue in ("read", "purged", "dropped"):
            for number in range(100):
                channel.publish("", queue, b"%3d" % number + bytes(20 * KIB), delivery_mode=2)
        channel.confirms(300)
        looked = as_owner(box, "GET", f"/api/leveret/queues/{box.vhost}/dropped/messages?limit=1&offset=99").json
        assert looked["items"][0]["is_on_disk"], "nothing was paged out"
        for _ in range(100):
            channel.take("read")
        purge(box, "purged")
        policy = {"pattern": "dropped", "definition": {"max-length": 10}}
        assert broker.http.ask("PUT", f"/api/policies/{box.vhost}/p", policy).status < 300
        box.wait("queue", queue="dropped", ready=10)
        found = lives(box)
        assert {(each["routing_key"], each["state"]) for each in found[:290]} == {
            ("read", "delivered"), ("purged", "purged"), ("dropped", "dropped"),
        }  # fmt: skip
        assert [each["state"] for each in found[290:]] == ["routed"] * 10
        assert [each["payload"][:3] for each in box.ask("GET", "/queues/dropped/messages")] == [f"{number:3}" for number in range(90, 100)]


# --- snapshots ------------------------------------------------------------------------------------------------------


def test_what_a_snapshot_brings_back(box: Box) -> None:
    channel = box.wire().open_channel()
    channel.queue("q", exclusive=False)
    channel.publish("", "q", b"x", message_id="m")
    heard(channel)
    taken = box.ask("POST", "/snapshots", status=201)["id"]
    channel.take("q")
    box.ask("POST", f"/snapshots/{taken}/restore", {})
    restored = lives(box, state="ready")
    assert [(kinds(each), each["payload"]) for each in restored] == [(["restored"], "x")]
    assert restored[0]["routed"][0] | {"through": []} == {"queue": "q", "why": "it was there before", "through": []}
    assert restored[0]["id"] == box.ask("GET", "/queues/q/messages")[0]["id"]
    box.ask("POST", "/reset", {})
    assert lives(box, state="ready") == []
    assert life(box, state="purged", message_id="m")["state"] == "purged"
