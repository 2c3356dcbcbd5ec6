"""Queues: what there is, declaring and deleting them, and dropping what is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from broker.admin import lists
from broker.admin.access import reachable
from broker.admin.call import Answer, created, done
from broker.admin.channel import channel, named_vhost
from broker.admin.errors import BadRequest
from broker.admin.routing import Access, Route
from broker.admin.shapes.queue import QUERY, QueueReader
from broker.admin.shapes.table import table_of
from protocol.methods import Queue, make

if TYPE_CHECKING:
    from broker.admin.bodies import Body
    from broker.admin.call import Call
    from broker.core.queue import Queue as DeclaredQueue

NAME_MAX_BYTES: Final = 255
ACTIONS: Final = ("sync", "cancel_sync")
"""What could be asked of mirrors; there are none to keep in step."""


async def _visible(call: Call) -> list[DeclaredQueue]:
    """All but those in which an exchange keeps something: the exchange tells how much that is."""
    return [queue for vhost in await reachable(call) for queue in vhost.declared_queues]


async def list_queues(call: Call) -> Answer:
    """Lists queues, of one virtual host or of all that the user may enter."""
    reader = QueueReader(call)
    return await lists.answer(call, await _visible(call), reader.shape, basic=reader.basics)


async def list_queues_in_detail(call: Call) -> Answer:
    """Lists queues with their consumers."""
    reader = QueueReader(call)
    return await lists.answer(call, await _visible(call), reader.detailed, basic=reader.basics)


def get_queue(call: Call) -> Any:
    """Describes one queue, with its consumers."""
    return lists.only(call, QueueReader(call).detailed(call.queue))


async def put_queue(call: Call) -> Answer:
    """Declares a queue."""
    body = await call.body()
    vhost, name = named_vhost(call), call.path["name"]
    check_name("queue", name)
    check_node(call, body)
    is_new = name not in vhost.queues
    method = make(
        Queue.Declare,
        queue=name,
        passive=body.flag("passive"),
        durable=body.flag("durable"),
        auto_delete=body.flag("auto_delete"),
        arguments=cast("Any", table_of(body.object("arguments"))),
    )
    async with channel(call, vhost) as opened:
        await opened.do(method)
    return created() if is_new else done()


async def delete_queue(call: Call) -> Answer:
    """Deletes a queue; with if-empty or if-unused only one that is so."""
    method = make(Queue.Delete, queue=call.queue.name, if_empty=call.flag("if-empty"), if_unused=call.flag("if-unused"))
    async with channel(call, call.vhost) as opened:
        await opened.do(method)
    return done()


async def purge_queue(call: Call) -> Answer:
    """Drops all messages of a queue that are ready."""
    method = make(Queue.Purge, queue=call.queue.name)
    async with channel(call, call.vhost) as opened:
        await opened.do(method)
    await call.commit()
    return done()


async def act_on_queue(call: Call) -> Answer:
    """Takes the actions on mirrors, and does nothing."""
    body = await call.body()
    body.require("action")
    assert call.queue is not None
    action = body.text("action")
    if action not in ACTIONS:
        raise BadRequest(f"unknown action '{action}': expected {' or '.join(ACTIONS)}")
    return done()


def check_name(kind: str, name: str) -> None:
    """Raises BadRequest for a name that AMQP can't hold."""
    size = len(name.encode("utf-8", "surrogateescape"))
    if size > NAME_MAX_BYTES:
        raise BadRequest(f"{kind} should be less than {NAME_MAX_BYTES} bytes, actually was {size}\n")


def check_node(call: Call, body: Body) -> None:
    """Raises BadRequest for what is to be done on another node."""
    node = body.text("node")
    if node and node != call.context.node.name:
        raise BadRequest(f"Node {node} could not be contacted")


_LIST: Final = lists.PAGED | QUERY
_ONE: Final = lists.ONLY | QUERY
_PUT: Final = {"durable auto_delete passive": "boolean", "arguments": "object", "node": "string"}
_DELETE: Final = {"if-empty": "boolean: Only if no message is ready.", "if-unused": "boolean: Only if it has no consumers."}
_PATH: Final = "/api/queues/{vhost}/{name}"
ROUTES: Final = (
    Route("GET", "/api/queues", list_queues, query=_LIST, shows="[Queue]"),
    Route("GET", "/api/queues/detailed", list_queues_in_detail, query=_LIST, shows="[QueueInDetail]"),
    Route("GET", "/api/queues/{vhost}", list_queues, Access.VHOST, query=_LIST, shows="[Queue]"),
    Route("GET", _PATH, get_queue, Access.VHOST, query=_ONE, shows="QueueInDetail"),
    Route("PUT", _PATH, put_queue, Access.VHOST, _PUT),
    Route("DELETE", _PATH, delete_queue, Access.VHOST, query=_DELETE),
    Route("DELETE", f"{_PATH}/contents", purge_queue, Access.VHOST),
    Route("POST", f"{_PATH}/actions", act_on_queue, Access.ADMINISTRATOR, {"action": "'sync'|'cancel_sync'!"}),
)
