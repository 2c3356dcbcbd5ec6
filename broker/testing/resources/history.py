"""The lives of a vhost's messages."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from broker.admin import jsons
from broker.admin.call import Answer
from broker.admin.errors import BadRequest
from broker.admin.routing import Access, Route
from broker.admin.steps import carry_out
from broker.testing.lives import kinds, recovered, shapes
from broker.testing.lives.history import history_of
from broker.testing.resources.info import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.admin.call import Call
    from broker.core.steps import Steps
    from broker.testing.lives.life import Life

FILTERS: Final = ("queue", "exchange", "routing_key", "message_id", "state")
FORGOTTEN: Final = "Leveret-Forgotten"
"""The header that says how many lives are no longer kept."""
STEP: Final = 128
"""Lives that are put into JSON at a time."""


def given(call: Call, *names: str) -> dict[str, str | None]:
    """Of these names what the query says. Raises BadRequest for any other name there, and for a state that there isn't."""
    if unknown := [name for name in call.query if name not in names]:
        raise BadRequest(f"{unknown[0]}: unknown here, there is {', '.join(names)}")
    values = {name: call.query.get(name) for name in names}
    state = values.get("state")
    if state is not None and state not in kinds.WORDS:
        raise BadRequest(f"state: expected one of {', '.join(kinds.WORDS)}, not '{state[:80]}'")
    return values


def number(call: Call, name: str) -> int | None:
    """A number in the query that isn't negative. Raises BadRequest."""
    value = call.integer(name)
    if value is not None and value < 0:
        raise BadRequest(f"{name}: expected 0 or more, not {value}")
    return value


async def get_history(call: Call) -> Answer:
    """Lists the lives of messages: of all, or of those that fit; the oldest first."""
    vhost = call.vhost
    filters, limit = given(call, *FILTERS, "limit"), number(call, "limit")
    del filters["limit"]
    await carry_out(call, recovered.read(vhost))
    history = history_of(vhost)
    found = deque(history.find(**filters), maxlen=limit)
    parts = await carry_out(call, _in_json(found))
    return Answer(body=parts, headers={FORGOTTEN: str(history.forgotten)})


def _in_json(lives: Sequence[Life]) -> Steps[list[bytes]]:
    parts: list[bytes] = []
    for index, life in enumerate(lives, 1):
        parts.append(jsons.dumps(shapes.of_life(life)))
        if index % STEP == 0:
            yield None
    return [b"[", b",".join(parts), b"]"]


_QUERY: Final = {
    "queue": "string: Messages that were routed there.",
    "exchange": "string: Where they were published.",
    "routing_key": "string: Their routing key, or one of CC and BCC.",
    "message_id": "string: Their property.",
    "state": "string: What has happened to them, or (ready, unacked) where they are.",
    "limit": "integer: So many at the most, the latest.",
}
SCHEMAS: Final = shapes.SCHEMAS
ROUTES: Final = (Route("GET", f"{ROOT}/vhosts/{{vhost}}/history", get_history, Access.TESTING, query=_QUERY, shows="[Life]"),)
