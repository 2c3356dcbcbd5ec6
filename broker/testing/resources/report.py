"""What the broker saw, as a text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broker.admin.call import Answer
from broker.admin.routing import Access, Route
from broker.admin.steps import carry_out
from broker.testing import report as texts
from broker.testing.resources.info import ROOT, rig_of

if TYPE_CHECKING:
    from broker.admin.call import Call

TEXT: Final = "text/plain; charset=utf-8"


async def report(call: Call) -> Any:
    """Tells what happened in a vhost, and what was left: for the report of a test that failed."""
    text = await carry_out(call, texts.report(rig_of(call), call.vhost))
    return Answer(body=text.encode("utf-8", "replace"), content_type=TEXT)


def conversations(call: Call) -> Any:
    """Tells all that is kept of what clients of a vhost and the broker said to each other."""
    return Answer(body=texts.conversations(rig_of(call), call.vhost).encode("utf-8", "replace"), content_type=TEXT)


ROUTES: Final = (
    Route("GET", f"{ROOT}/vhosts/{{vhost}}/report", report, Access.TESTING, shows="text/plain"),
    Route("GET", f"{ROOT}/vhosts/{{vhost}}/conversations", conversations, Access.TESTING, shows="text/plain"),
)
