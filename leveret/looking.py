"""What the broker knows: messages in queues, what became of others, what may go wrong elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from leveret.asking import Asking, segment
from leveret.messages import life_of, message_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from leveret.messages import Life, Message


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that works here and won't elsewhere, or may lose messages."""

    code: str
    severity: str
    """breaks (on a newer RabbitMQ), loses (messages), or risks."""
    what: str
    where: Mapping[str, Any]
    """vhost, queue, exchange, client_name, connection, channel, ..., as far as there are."""
    advice: str
    count: int
    """How often it was seen."""
    text: str
    """All of it in one paragraph."""

    def __str__(self) -> str:
        return self.text


class Looking(Asking):
    """See the module."""

    def messages(self, queue: str, *, limit: int | None = None) -> list[Message]:
        """What is in the queue, whoever holds it, in the order of delivery: unacked, then ready. Nothing is taken out or changed. Raises
        Refused (404) without such a queue."""
        return [message_of(facts) for facts in self._ask_vhost("GET", f"/queues/{segment(queue)}/messages", query={"limit": limit})]

    def history(
        self,
        *,
        queue: str | None = None,
        exchange: str | None = None,
        routing_key: str | None = None,
        message_id: str | None = None,
        state: str | None = None,
        limit: int | None = None,
    ) -> list[Life]:
        """The lives of this vhost's messages, or of those that fit what is given; the oldest first, the latest `limit` of them. `queue`:
        they were routed to it; `state`: that has happened to them, or is where they are (ready, unacked)."""
        query = {
            "queue": queue,
            "exchange": exchange,
            "routing_key": routing_key,
            "message_id": message_id,
            "state": state,
            "limit": limit,
        }
        return [life_of(facts) for facts in self._ask_vhost("GET", "/history", query=query)]

    def report(self) -> str:
        """What the broker saw in this vhost, to read: conversations, queues with what is left in them, who holds what, what was unroutable
        and why."""
        return str(self._ask_vhost("GET", "/report") or "")

    def findings(self, for_version: str | None = None, *, severity: Collection[str] = (), ignore: Collection[str] = ()) -> list[Finding]:
        """What clients did in this vhost that breaks on a newer RabbitMQ (`for_version`: 4.3; if not given, the latest), or may lose
        messages; the worst first. Only those of some severities, if they are given, and not those whose codes are to be ignored;
        a string has commas between them."""
        words = {
            name: (values if isinstance(values, str) else ",".join(values)) or None
            for name, values in (("severity", severity), ("ignore", ignore))
        }
        found = self._ask_vhost("GET", "/findings", query={"for": for_version, **words})
        return [Finding(**{name: each[name] for name in _FIELDS}) for each in found]


_FIELDS: Final = tuple(each.name for each in fields(Finding))
