"""Virtual hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broker.access.users import tags_of
from broker.admin import lists
from broker.admin.access import visible
from broker.admin.call import Answer, created, done
from broker.admin.errors import BadRequest, PreconditionFailed
from broker.admin.routing import Access, Route
from broker.admin.schemas import NO_BODY
from broker.admin.shapes import vhost as shape
from broker.admin.shapes.stats import QUERY as STATS
from broker.admin.shapes.stats import Reader
from broker.operations import PROTECTED, Protected

if TYPE_CHECKING:
    from broker.admin.call import Call


async def list_vhosts(call: Call) -> Answer:
    """Lists the virtual hosts that the user sees."""
    reader = Reader(call)
    return await lists.answer(call, await visible(call), lambda vhost: shape.of_vhost(vhost, reader), default_sort=("name",))


def get_vhost(call: Call) -> Any:
    """Describes one virtual host."""
    return lists.only(call, shape.of_vhost(call.vhost, Reader(call)))


async def put_vhost(call: Call) -> Answer:
    """Creates a virtual host, or changes its description, tags, default queue type and tracing.

    A description and tags that aren't given are none, as in RabbitMQ; what else isn't given stays as it is.
    """
    body = await call.body()
    name = call.path["vhost"]
    is_new = name not in call.broker.vhosts
    kind = body.text("default_queue_type") or body.text("defaultqueuetype")
    call.operations.put_vhost(
        name,
        description=body.text("description"),
        tags=_tags(body.values.get("tags")),
        default_queue_type=None if kind in ("", "undefined") else kind,
        tracing=body.flag("tracing") if "tracing" in body else None,
        protected=body.flag(PROTECTED) if PROTECTED in body else None,
        acting_user=call.user_name,
    )
    await call.commit()
    return created() if is_new else done()


def _tags(given: Any) -> list[str]:
    try:
        return [] if given in (None, "undefined", "null") else tags_of(given)
    except ValueError as error:
        raise BadRequest(str(error)) from error


async def delete_vhost(call: Call) -> Answer:
    """Deletes a virtual host with all that is in it; its connections are closed. One that is protected stays (412)."""
    try:
        call.operations.delete_vhost(call.vhost.name, acting_user=call.user_name)
    except Protected as error:
        raise PreconditionFailed(str(error)) from error
    await call.commit()
    return done()


def start_vhost(call: Call) -> Answer:
    """Starts a virtual host on a node, where it runs already."""
    node = call.path["node"]
    if node != call.context.node.name:
        raise BadRequest(f"Request to node {node} failed with nodedown")
    if call.path["vhost"] not in call.broker.vhosts:
        raise BadRequest(f"Request to node {node} failed with no_such_vhost: '{call.path['vhost']}'")
    return done()


def get_protection(call: Call) -> Any:
    """Tells whether a virtual host is protected from being deleted."""
    return {"vhost": call.vhost.name, PROTECTED: bool(call.vhost.metadata.get(PROTECTED))}


async def protect(call: Call) -> Answer:
    """Protects a virtual host from being deleted."""
    return await _set_protection(call, protected=True)


async def unprotect(call: Call) -> Answer:
    """Lets a virtual host be deleted again."""
    return await _set_protection(call, protected=False)


async def _set_protection(call: Call, *, protected: bool) -> Answer:
    call.operations.put_vhost(call.vhost.name, protected=protected, acting_user=call.user_name)
    await call.commit()
    return done()


_PATH: Final = "/api/vhosts/{vhost}"
_PROTECTION: Final = f"{_PATH}/deletion/protection"
_PUT: Final = {
    "description default_queue_type defaultqueuetype": "string",
    "tags": "string|[string]",
    f"tracing {PROTECTED}": "boolean",
}
SCHEMAS: Final = {"Protection": {"vhost": "string!", PROTECTED: "boolean!"}}
ROUTES: Final = (
    Route("GET", "/api/vhosts", list_vhosts, query=lists.PAGED | STATS, shows="[VirtualHost]"),
    Route("GET", _PATH, get_vhost, Access.ADMINISTRATOR, query=lists.ONLY | STATS, shows="VirtualHost"),
    Route("PUT", _PATH, put_vhost, Access.ADMINISTRATOR, _PUT),
    Route("DELETE", _PATH, delete_vhost, Access.ADMINISTRATOR, refusals=(412,)),
    Route("POST", f"{_PATH}/start/{{node}}", start_vhost, Access.ADMINISTRATOR, NO_BODY),
    Route("GET", _PROTECTION, get_protection, Access.ADMINISTRATOR, shows="Protection"),
    Route("POST", _PROTECTION, protect, Access.ADMINISTRATOR, NO_BODY),
    Route("DELETE", _PROTECTION, unprotect, Access.ADMINISTRATOR),
)
