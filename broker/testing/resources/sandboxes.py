"""Sandboxes: a vhost and a user for one test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.admin import jsons
from broker.admin.call import Answer, done
from broker.admin.routing import Access, Route
from broker.testing.resources.info import ROOT, rig_of

if TYPE_CHECKING:
    from broker.admin.call import Call


async def begin(call: Call) -> Answer:
    """Makes a vhost and a user who may do everything there: under the name that is asked for, or that with a number if it is taken."""
    body = await call.body()
    name = "" if body.values.get("name") is None else body.string("name")
    sandbox = rig_of(call).sandboxes.begin(call.operations, name, call.user_name)
    await call.commit()
    return Answer(201, jsons.dumps(sandbox._asdict()))


async def end(call: Call) -> Answer:
    """Ends a sandbox: its connections are closed at once, and all that was in it goes."""
    rig_of(call).sandboxes.end(call.operations, call.context.node, call.path["vhost"], call.user_name)
    await call.commit()
    return done()


SCHEMAS: Final = {"Sandbox": {"vhost user password": "string!"}}
ROUTES: Final = (
    Route("POST", f"{ROOT}/sandboxes", begin, Access.TESTING, {"name": "string"}, shows="Sandbox", statuses=(201,)),
    Route("DELETE", f"{ROOT}/sandboxes/{{vhost}}", end, Access.TESTING),
)
