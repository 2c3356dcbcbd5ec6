"""Virtual hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broker.admin import lists
from broker.admin.call import Answer, created, done
from broker.admin.errors import NoSuchObject
from broker.admin.routing import Access, Route
from broker.admin.shapes import vhost as shape
from broker.admin.shapes.stats import Reader

if TYPE_CHECKING:
    from broker.admin.call import Call


async def list_vhosts(call: Call) -> Answer:
    """Lists the virtual hosts that the user sees."""
    reader = Reader(call)
    return await lists.answer(call, call.vhosts(), lambda vhost: shape.of_vhost(vhost, reader), default_sort=("name",))


def get_vhost(call: Call) -> Any:
    """Describes one virtual host."""
    return lists.only(call, shape.of_vhost(call.vhost, Reader(call)))


async def put_vhost(call: Call) -> Answer:
    """Creates a virtual host, or changes its description, tags, default queue type and tracing."""
    body = await call.body()
    name = call.path["vhost"]
    is_new = name not in call.broker.vhosts
    tags = body.values.get("tags")
    if isinstance(tags, str):
        tags = [tag.strip() for tag in tags.split(",") if tag.strip()]
    call.operations.put_vhost(
        name,
        description=body.text("description") if "description" in body else None,
        tags=tags,
        default_queue_type=body.text("default_queue_type") or None,
        tracing=body.flag("tracing") if "tracing" in body else None,
        acting_user=call.user_name,
    )
    await call.commit()
    return created() if is_new else done()


async def delete_vhost(call: Call) -> Answer:
    """Deletes a virtual host with all that is in it; its connections are closed."""
    if call.path["vhost"] not in call.broker.vhosts:
        raise NoSuchObject
    call.operations.delete_vhost(call.path["vhost"], acting_user=call.user_name)
    await call.commit()
    return done()


ROUTES: Final = (
    Route("GET", "/api/vhosts", list_vhosts),
    Route("GET", "/api/vhosts/{vhost}", get_vhost, Access.VHOST_VISIBLE),
    Route("PUT", "/api/vhosts/{vhost}", put_vhost, Access.ADMINISTRATOR),
    Route("DELETE", "/api/vhosts/{vhost}", delete_vhost, Access.ADMINISTRATOR),
)
