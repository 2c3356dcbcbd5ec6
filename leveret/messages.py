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

    state: str
    """ready, unacked, or delayed."""
    redelivered: bool
    delivery_count: int | None
    """How often it came back; None where the queue doesn't count."""
    held_by: Mapping[str, Any] | None
    """Who got it and hasn't acked it: connection, client_name, channel, consumer_tag, as far as there are."""
    expires_at: datetime | None
    """By the broker's clock."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a message."""

    at: datetime
    """By the broker's clock."""
    what: str
    """published, routed, delivered, acked, rejected, requeued, dead-lettered, expired, ..."""
    queue: str | None
    who: Any
    """The connection, channel and consumer, as far as there are."""
    detail: Any

    def __str__(self) -> str:
        where = f" '{self.queue}'" if self.queue is not None else ""
        return f"{self.at:%H:%M:%S.%f}"[:-3] + f" {self.what}{where}" + "".join(f" ({each})" for each in (self.who, self.detail) if each)


@dataclass(frozen=True, slots=True, kw_only=True)
class Life(Content):
    """A message from the moment it was published on."""

    id: int | str
    published_at: datetime
    by: Mapping[str, Any]
    """Who published it: connection, client_name, user, channel."""
    mandatory: bool
    routed: tuple[Mapping[str, str], ...]
    """The queues that it was routed to, and why: {"queue": ..., "why": ...}."""
    unroutable: str | None
    """Why no queue got it; None if one did."""
    events: tuple[Event, ...]
    state: str
    """What happened last."""

    @property
    def queues(self) -> list[str]:
        """The names of the queues that it was routed to."""
        return [each["queue"] for each in self.routed]


def message_of(facts: Mapping[str, Any]) -> Message:
    """Of GET V/queues/{queue}/messages."""
    return Message(
        **_content(facts),
        state=facts["state"],
        redelivered=facts["redelivered"],
        delivery_count=facts.get("delivery_count"),
        held_by=facts.get("held_by"),
        expires_at=None if facts.get("expires_at_ms") is None else moment(facts["expires_at_ms"]),
    )


def life_of(facts: Mapping[str, Any]) -> Life:
    """Of GET V/history."""
    return Life(
        **_content(facts),
        id=facts["id"],
        published_at=moment(facts["published_ms"]),
        by=facts["by"],
        mandatory=bool(facts.get("mandatory")),
        routed=tuple(facts.get("routed") or ()),
        unroutable=facts.get("unroutable"),
        events=tuple(
            Event(moment(each["at_ms"]), each["what"], each.get("queue"), each.get("who"), each.get("detail")) for each in facts["events"]
        ),
        state=facts["state"],
    )


def _content(facts: Mapping[str, Any]) -> dict[str, Any]:
    payload = facts["payload"]
    return {
        "exchange": facts["exchange"],
        "routing_key": facts["routing_key"],
        "properties": facts["properties"],
        "body": base64.b64decode(payload) if facts["payload_encoding"] == "base64" else payload.encode(),
    }
