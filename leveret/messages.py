"""Messages as a test sees them: in a queue, and their lives."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from leveret.clock import moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What was published."""

    exchange: str
    """Empty: the default exchange."""
    routing_key: str
    properties: Mapping[str, Any]
    """Under AMQP's names: content_type, delivery_mode, message_id, headers, ..."""
    body: bytes = field(repr=False)
    body_bytes: int
    """How long it is."""

    @property
    def text(self) -> str:
        """The body as UTF-8. Raises UnicodeDecodeError."""
        return self.body.decode()

    @property
    def headers(self) -> Mapping[str, Any]:
        """The property `headers`; empty without."""
        headers: Mapping[str, Any] = self.properties.get("headers") or {}
        return headers

    @property
    def message_id(self) -> str | None:
        """The property."""
        return self.properties.get("message_id")

    def json(self) -> Any:
        """The body as JSON. Raises ValueError."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message(Content):
    """A message in a queue."""

    id: int
    """The broker's number of it; its life has the same."""
    state: str
    """ready, unacked, or delayed."""
    redelivered: bool
    delivery_count: int
    """How often it came back."""
    held_by: Mapping[str, Any] | None
    """Who got it and hasn't acked it: connection, client_name, user, channel, consumer_tag, delivery_tag."""
    expires_at: datetime | None
    """By the broker's clock, as all that follows."""
    due_at: datetime | None
    """When it is delivered, if it is delayed."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a message."""

    at: datetime
    """By the broker's clock."""
    what: str
    """published, routed, delivered, acked, rejected, requeued, dead-lettered, expired, ..."""
    queue: str | None
    who: Mapping[str, Any] | None
    """Whose doing it was: connection, client_name, user, channel, consumer_tag, delivery_tag."""
    detail: str | None

    def __str__(self) -> str:
        where = f" '{self.queue}'" if self.queue is not None else ""
        who = "" if self.who is None else self.who["client_name"] or self.who["connection"]
        return f"{self.at:%H:%M:%S.%f}"[:-3] + f" {self.what}{where}" + "".join(f" ({each})" for each in (who, self.detail) if each)


@dataclass(frozen=True, slots=True, kw_only=True)
class Life(Content):
    """A message from the moment it was published on."""

    id: int | str
    """The broker's number of it; for what never became a message, a text."""
    origin: str
    """How it began: published, or dead-letter, recovered, restored, ..."""
    published_at: datetime
    by: Mapping[str, Any]
    """Who published it: connection, client_name, user, channel; None where nobody did."""
    mandatory: bool
    is_truncated: bool
    """The broker has kept only the beginning of the body."""
    routed: tuple[Mapping[str, Any], ...]
    """The queues that it was routed to, and why: {"queue": ..., "why": ...}."""
    unroutable: str | None
    """Why no queue got it; None if one did."""
    places: Mapping[str, str]
    """Each queue that it has been in, and its state there: ready, unacked, delayed, or how it ended."""
    events: tuple[Event, ...]
    """What happened to it, in order; of very many some in the middle are left out."""
    state: str
    """What happened last."""
    previous: int | str | None
    """The message that it comes of: what died, or was moved."""
    next: tuple[int, ...]
    """Its dead letters, and where it was moved or copied."""

    @property
    def queues(self) -> list[str]:
        """The names of the queues that it was routed to."""
        return [each["queue"] for each in self.routed]


def message_of(facts: Mapping[str, Any]) -> Message:
    """Of GET V/queues/{queue}/messages."""
    return Message(
        **_content(facts),
        id=facts["id"],
        state=facts["state"],
        redelivered=facts["redelivered"],
        delivery_count=facts["delivery_count"],
        held_by=facts["held_by"],
        expires_at=_moment(facts["expires_at_ms"]),
        due_at=_moment(facts["due_at_ms"]),
    )


def life_of(facts: Mapping[str, Any]) -> Life:
    """Of GET V/history."""
    return Life(
        **_content(facts),
        id=facts["id"],
        origin=facts["origin"],
        published_at=moment(facts["published_ms"]),
        by=facts["by"],
        mandatory=facts["mandatory"],
        is_truncated=facts["is_truncated"],
        routed=tuple(facts["routed"]),
        unroutable=facts["unroutable"],
        places={each["queue"]: each["state"] for each in facts["queues"]},
        events=tuple(Event(moment(each["at_ms"]), each["what"], each["queue"], each["who"], each["detail"]) for each in facts["events"]),
        state=facts["state"],
        previous=facts["previous"],
        next=tuple(facts["next"]),
    )


def _moment(ms: int | None) -> datetime | None:
    return None if ms is None else moment(ms)


def _content(facts: Mapping[str, Any]) -> dict[str, Any]:
    payload = facts["payload"]
    return {
        "exchange": facts["exchange"],
        "routing_key": facts["routing_key"],
        "properties": facts["properties"] or {},
        "body_bytes": facts["payload_bytes"],
        "body": base64.b64decode(payload) if facts["payload_encoding"] == "base64" else payload.encode(),
    }
