"""The lives of messages as short lines, for tests: what happened, in which queue, by whom, and what else there is to say."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from pamqp.commands import Basic

from tests.testing.box import Box
from tests.wire import WireChannel


def lives(box: Box, **filters: Any) -> list[dict[str, Any]]:
    """The oldest first."""
    found: list[dict[str, Any]] = box.ask("GET", f"/history?{urlencode(filters)}" if filters else "/history")
    return found


def life(box: Box, **filters: Any) -> dict[str, Any]:
    """The only one that fits."""
    (found,) = lives(box, **filters)
    return found


def story(of: dict[str, Any]) -> list[str]:
    """`delivered 'q' to c1 #1 of worker/1: redelivered`; lives go by their numbers since the first, `<1>`."""
    return list(map(line, of["events"]))


def line(event: dict[str, Any]) -> str:
    queue = "" if event["queue"] is None else f" '{event['queue']}'"
    who = "" if event["who"] is None else f" {person(event['who'])}"
    detail = "" if event["detail"] is None else f": {event['detail']}"
    other = "" if event["life"] is None else " ->"
    return f"{event['what']}{queue}{who}{detail}{other}"


def person(who: dict[str, Any]) -> str:
    """`c1 #1 of worker/1`: consumer tag, delivery tag, client name, channel."""
    parts = [
        who["consumer_tag"],
        None if who["delivery_tag"] is None else f"#{who['delivery_tag']}",
        "of" * (who["delivery_tag"] is not None),
    ]
    return " ".join([*filter(None, parts), f"{who['client_name'] or '?'}/{who['channel']}"])


def kinds(of: dict[str, Any]) -> list[str]:
    return [event["what"] for event in of["events"]]


def heard(channel: WireChannel) -> None:
    """All that was sent on the channel was heard."""
    channel.call(Basic.Cancel, consumer_tag="nobody")


def without_gaps(box: Box) -> Iterator[None]:
    """Whatever a test does: of each message that left a queue it is known why."""
    yield
    queues = {each["name"] for each in box.broker.http.get(f"/api/queues/{box.vhost}")}
    for each in lives(box):
        assert "gone" not in kinds(each), story(each)
        places = {place["queue"]: place["state"] for place in each["queues"]}
        for queue in queues & {queue for queue, state in places.items() if state in ("ready", "unacked")}:
            there = {found["id"] for found in box.ask("GET", f"/queues/{queue}/messages")}
            assert each["id"] in there, (queue, story(each))
