"""What users may do in virtual hosts, and with which routing keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broker.admin import lists
from broker.admin.call import Answer, created, done
from broker.admin.errors import BadRequest, NoSuchObject
from broker.admin.resources.users import named
from broker.admin.routing import Access, Route
from broker.admin.shapes.user import permissions_of, topic_permissions_of

if TYPE_CHECKING:
    from broker.access.users import User
    from broker.admin.call import Call
    from broker.admin.routing import Handler

_SORT: Final = ("vhost", "user")


async def _list(call: Call, facts: list[dict[str, Any]]) -> Answer:
    return await lists.answer(call, facts, lambda each: each, default_sort=_SORT, can_page=False)


def _there(call: Call) -> User:
    """The user in the path, if the vhost is there too. Raises NoSuchObject."""
    _ = call.vhost
    return named(call)


def _to_change(call: Call) -> User:
    """The same. Raises BadRequest, as RabbitMQ does where something is to be granted."""
    try:
        return _there(call)
    except NoSuchObject:
        raise BadRequest("vhost_or_user_not_found") from None


# --- permissions ----------------------------------------------------------------------------------------------------


async def list_permissions(call: Call) -> Answer:
    """Lists what all users may do in all virtual hosts."""
    return await _list(call, permissions_of(call.operations.users))


async def list_permissions_of_user(call: Call) -> Answer:
    """Lists what a user may do, by virtual host."""
    return await _list(call, permissions_of([named(call)]))


async def list_permissions_in_vhost(call: Call) -> Answer:
    """Lists who may do what in a virtual host."""
    return await _list(call, permissions_of(call.operations.users, call.vhost.name))


def get_permissions(call: Call) -> Any:
    """Tells what a user may do in a virtual host."""
    found = permissions_of([_there(call)], call.path["vhost"])
    if not found:
        raise NoSuchObject
    return found[0]


async def put_permissions(call: Call) -> Answer:
    """Lets a user into a virtual host, or changes what it may do there."""
    user, vhost = _to_change(call), call.path["vhost"]
    body = await call.body()
    body.require("configure", "write", "read")
    is_new = user.permissions(vhost) is None
    patterns = [body.string(kind) for kind in ("configure", "write", "read")]
    call.operations.set_permissions(user.name, vhost, *patterns, acting_user=call.user_name)
    await call.commit()
    return created() if is_new else done()


async def delete_permissions(call: Call) -> Answer:
    """Lets a user into a virtual host no more."""
    user, vhost = _there(call), call.path["vhost"]
    if user.permissions(vhost) is None:
        raise NoSuchObject
    call.operations.clear_permissions(user.name, vhost, acting_user=call.user_name)
    await call.commit()
    return done()


# --- topic permissions ----------------------------------------------------------------------------------------------


async def list_topic_permissions(call: Call) -> Answer:
    """Lists which routing keys users may use, in all virtual hosts."""
    return await _list(call, topic_permissions_of(call.operations.users))


async def list_topic_permissions_of_user(call: Call) -> Answer:
    """Lists which routing keys a user may use, by virtual host and exchange."""
    return await _list(call, topic_permissions_of([named(call)]))


async def list_topic_permissions_in_vhost(call: Call) -> Answer:
    """Lists which routing keys users may use in a virtual host."""
    return await _list(call, topic_permissions_of(call.operations.users, call.vhost.name))


def get_topic_permissions(call: Call) -> Any:
    """Tells which routing keys a user may use in a virtual host, by exchange."""
    found = topic_permissions_of([_there(call)], call.path["vhost"])
    if not found:
        raise NoSuchObject
    return found


async def put_topic_permissions(call: Call) -> Answer:
    """Restricts a user to some routing keys of a topic exchange."""
    user, vhost = _to_change(call), call.path["vhost"]
    body = await call.body()
    body.require("exchange", "write", "read")
    is_new = not topic_permissions_of([user], vhost)
    exchange, write, read = (body.string(name) for name in ("exchange", "write", "read"))
    call.operations.set_topic_permissions(user.name, vhost, exchange, write, read, acting_user=call.user_name)
    await call.commit()
    return created() if is_new else done()


async def delete_topic_permissions(call: Call) -> Answer:
    """Frees the routing keys of one exchange, or of all in a virtual host."""
    user, vhost = _there(call), call.path["vhost"]
    if not topic_permissions_of([user], vhost):
        raise NoSuchObject
    call.operations.clear_topic_permissions(user.name, vhost, call.path.get("exchange"), acting_user=call.user_name)
    await call.commit()
    return done()


_PATH: Final = "/api/permissions/{vhost}/{user}"
_TOPIC_PATH: Final = "/api/topic-permissions/{vhost}/{user}"
_PUT: Final = {"configure write read": "string!"}
_PUT_TOPIC: Final = {"exchange write read": "string!"}


def _lists(path: str, handler: Handler, kind: str) -> Route:
    return Route("GET", path, handler, Access.ADMINISTRATOR, query=lists.SORTED, shows=kind)


ROUTES: Final = (
    _lists("/api/permissions", list_permissions, "[Permissions]"),
    Route("GET", _PATH, get_permissions, Access.ADMINISTRATOR, shows="Permissions"),
    Route("PUT", _PATH, put_permissions, Access.ADMINISTRATOR, _PUT),
    Route("DELETE", _PATH, delete_permissions, Access.ADMINISTRATOR),
    _lists("/api/users/{user}/permissions", list_permissions_of_user, "[Permissions]"),
    _lists("/api/vhosts/{vhost}/permissions", list_permissions_in_vhost, "[Permissions]"),
    _lists("/api/topic-permissions", list_topic_permissions, "[TopicPermissions]"),
    Route("GET", _TOPIC_PATH, get_topic_permissions, Access.ADMINISTRATOR, shows="[TopicPermissions]"),
    Route("PUT", _TOPIC_PATH, put_topic_permissions, Access.ADMINISTRATOR, _PUT_TOPIC),
    Route("DELETE", _TOPIC_PATH, delete_topic_permissions, Access.ADMINISTRATOR),
    Route("GET", f"{_TOPIC_PATH}/{{exchange}}", get_topic_permissions, Access.ADMINISTRATOR, shows="[TopicPermissions]"),
    Route("PUT", f"{_TOPIC_PATH}/{{exchange}}", put_topic_permissions, Access.ADMINISTRATOR, _PUT_TOPIC),
    Route("DELETE", f"{_TOPIC_PATH}/{{exchange}}", delete_topic_permissions, Access.ADMINISTRATOR),
    _lists("/api/users/{user}/topic-permissions", list_topic_permissions_of_user, "[TopicPermissions]"),
    _lists("/api/vhosts/{vhost}/topic-permissions", list_topic_permissions_in_vhost, "[TopicPermissions]"),
)
