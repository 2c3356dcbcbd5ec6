"""Snapshots of a vhost, what is in it as a document, and throwing it away."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from broker.admin import jsons
from broker.admin.call import Answer, done
from broker.admin.errors import HttpError
from broker.admin.routing import Access, Route
from broker.admin.schemas import NO_BODY
from broker.admin.steps import carry_out
from broker.testing.resources.info import ROOT, rig_of
from broker.testing.states.document_reader import parse
from broker.testing.states.snapshots import Busy

if TYPE_CHECKING:
    from broker.admin.call import Call
    from broker.core.steps import Steps


STATE_BYTES_MAX: Final = 268_435_456
"""Of a document."""
_under_way: Final[set[asyncio.Task[Any]]] = set()


async def _done(call: Call, steps: Steps[Any]) -> Any:
    """What the steps return. They go on to their end though the client be gone: nothing is to be half restored."""
    task = asyncio.ensure_future(carry_out(call, steps))
    _under_way.add(task)
    task.add_done_callback(_under_way.discard)
    try:
        return await asyncio.shield(task)
    except Busy as error:
        raise HttpError(409, "conflict", str(error)) from error


def list_snapshots(call: Call) -> Any:
    """Lists the snapshots of a virtual host."""
    return [each._asdict() for each in rig_of(call).snapshots.of(call.vhost.name)]


async def take(call: Call) -> Answer:
    """Takes a snapshot of a virtual host: all that is declared, and all messages."""
    snapshot = await _done(call, rig_of(call).snapshots.take(call.vhost, call.context.node))
    return Answer(201, jsons.dumps(snapshot._asdict()))


async def restore(call: Call) -> Any:
    """Makes a virtual host what it was when a snapshot was taken; connections stay, unless they are to be closed."""
    body = await call.body()
    closes = body.flag("close_connections")
    restored = await _done(call, rig_of(call).snapshots.restore(call.vhost, call.context.node, call.path["id"], closes=closes))
    return restored._asdict()


def forget(call: Call) -> Answer:
    """Lets a snapshot go."""
    rig_of(call).snapshots.forget(call.vhost.name, call.path["id"])
    return done()


async def export(call: Call) -> Answer:
    """Gives all that is in a virtual host as a document: RabbitMQ's definitions, and every message."""
    return Answer(body=await _done(call, rig_of(call).snapshots.export(call.operations, call.vhost, call.context.node)))


async def load(call: Call) -> Any:
    """Makes a virtual host what such a document says; what else is in it goes."""
    vhost = call.vhost
    document = parse(await call.read(STATE_BYTES_MAX, exactly=True))
    steps = rig_of(call).snapshots.load(vhost, call.context.node, document, call.user_name)
    restored = await _done(call, steps)
    return restored._asdict()


async def reset(call: Call) -> Any:
    """Throws away all messages of a virtual host, or with `everything` all that is in it; connections stay unless they are to be closed."""
    body = await call.body()
    everything, closes = body.flag("everything"), body.flag("close_connections")
    steps = rig_of(call).snapshots.reset(call.vhost, call.context.node, everything=everything, closes=closes)
    return {"messages": await _done(call, steps)}


_PATH: Final = f"{ROOT}/vhosts/{{vhost}}"
_CLOSES: Final = {"close_connections": "boolean"}
_STATE: Final = {"leveret_state": "integer!"} | {
    "parameters policies queues exchanges bindings messages delayed seen recent exclusive_queues": "[object]"
}
SCHEMAS: Final = {
    "VHostState": _STATE | {"leveret_version rabbit_version rabbitmq_version vhost": "string", "taken_ms": "integer"},
    "Snapshot": {"id": "string!", "queues messages taken_ms": "integer!"},
    "Restored": {"queues messages": "integer!", "left_out": "[string]!"},
    "WasReset": {"messages": "integer!"},
}
ROUTES: Final = (
    Route("GET", f"{_PATH}/snapshots", list_snapshots, Access.TESTING, shows="[Snapshot]"),
    Route("POST", f"{_PATH}/snapshots", take, Access.TESTING, NO_BODY, shows="Snapshot", statuses=(201,), refusals=(409,)),
    Route("POST", f"{_PATH}/snapshots/{{id}}/restore", restore, Access.TESTING, _CLOSES, shows="Restored", refusals=(409,)),
    Route("DELETE", f"{_PATH}/snapshots/{{id}}", forget, Access.TESTING),
    Route("GET", f"{_PATH}/state", export, Access.TESTING, shows="VHostState", refusals=(409,)),
    Route("PUT", f"{_PATH}/state", load, Access.TESTING, _STATE, shows="Restored", statuses=(200,), refusals=(409,)),
    Route("POST", f"{_PATH}/reset", reset, Access.TESTING, _CLOSES | {"everything": "boolean"}, shows="WasReset", refusals=(409,)),
)
