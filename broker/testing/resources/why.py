"""Why an assertion failed: what became of the messages that aren't there, and where those come from that are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broker.admin.routing import Access, Route
from broker.admin.steps import carry_out
from broker.testing.lives import recovered
from broker.testing.lives.why import Question, why
from broker.testing.resources.history import FILTERS, given, number
from broker.testing.resources.info import ROOT

if TYPE_CHECKING:
    from broker.admin.call import Call


async def get_why(call: Call) -> Any:
    """Tells why there are so many messages, and not as many as were wanted."""
    vhost = call.vhost
    filters = given(call, *FILTERS, "wanted", "found")
    wanted, found = number(call, "wanted"), number(call, "found")
    await carry_out(call, recovered.read(vhost))
    asked = Question(**{name: filters[name] for name in FILTERS}, wanted=wanted, found=found)
    return {"text": why(vhost, asked)}


_QUERY: Final = {
    "queue": "string: The queue that they were to be in, or to come from.",
    "exchange": "string: Where they were to be published.",
    "routing_key": "string: With which routing key.",
    "message_id": "string: Their property.",
    "state": "string: What was to happen to them, if it isn't about being in the queue.",
    "wanted": "integer: How many.",
    "found": "integer: How many there were.",
}
SCHEMAS: Final = {"Why": {"text": "string!"}}
ROUTES: Final = (Route("GET", f"{ROOT}/vhosts/{{vhost}}/why", get_why, Access.TESTING, query=_QUERY, shows="Why"),)
