"""Limits of virtual hosts and of users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broker.admin import lists
from broker.admin.access import visible
from broker.admin.call import Answer, done
from broker.admin.errors import BadRequest, Missing, NoSuchObject
from broker.admin.resources.users import named
from broker.admin.routing import Access, Route
from broker.core.vhost import LIMITS

if TYPE_CHECKING:
    from broker.access.users import User
    from broker.admin.call import Call
    from broker.admin.routing import Handler
    from broker.core.vhost import VHost


async def _list(call: Call, facts: list[dict[str, Any]]) -> Answer:
    return await lists.answer(call, facts, lambda each: each, default_sort=("vhost", "user"), can_page=False)


async def _value(call: Call) -> dict[str, int]:
    """The limit in the path, with the number in the body."""
    body = await call.body()
    body.require("value")
    if body.values["value"] is None:
        raise BadRequest("value is null: expected a whole number")
    return {call.path["name"]: body.number("value")}


# --- virtual hosts --------------------------------------------------------------------------------------------------


async def list_vhost_limits(call: Call) -> Answer:
    """Lists the limits of virtual hosts that have any."""
    found = [{"vhost": vhost.name, "value": limits} for vhost in await visible(call) if (limits := _limits_of(vhost))]
    return await _list(call, found)


async def put_vhost_limit(call: Call) -> Answer:
    """Sets max-connections or max-queues of a virtual host; a negative number sets no limit."""
    # The body first: while it comes somebody may set the other limit.
    given = await _value(call)
    vhost = _vhost(call)
    call.operations.set_vhost_limits(vhost.name, _limits_of(vhost) | given, acting_user=call.user_name)
    await call.commit()
    return done()


async def delete_vhost_limit(call: Call) -> Answer:
    """Takes a limit of a virtual host away."""
    vhost = _vhost(call)
    limits = _limits_of(vhost)
    if call.path["name"] in limits:
        left = {name: value for name, value in limits.items() if name != call.path["name"]}
        if left:
            call.operations.set_vhost_limits(vhost.name, left, acting_user=call.user_name)
        else:
            call.operations.clear_parameter(vhost.name, *LIMITS, acting_user=call.user_name)
        await call.commit()
    return done()


def _vhost(call: Call) -> VHost:
    try:
        return call.vhost
    except NoSuchObject:
        raise Missing("vhost_not_found") from None


def _limits_of(vhost: VHost) -> dict[str, int]:
    limits: dict[str, int] = vhost.parameters.get(LIMITS, {})
    return limits


# --- users ----------------------------------------------------------------------------------------------------------


async def list_user_limits(call: Call) -> Answer:
    """Lists the limits of users who have any."""
    users = [named(call)] if "user" in call.path else call.operations.users
    return await _list(call, [{"user": user.name, "value": user.limits} for user in users if user.limits])


async def put_user_limit(call: Call) -> Answer:
    """Sets max-connections or max-channels of a user; a negative number sets no limit."""
    if call.path["user"] not in call.operations.users:
        raise BadRequest(f"no_such_user: user '{call.path['user']}' does not exist")
    call.operations.set_user_limits(call.path["user"], await _value(call), acting_user=call.user_name)
    await call.commit()
    return done()


async def delete_user_limit(call: Call) -> Answer:
    """Takes a limit of a user away, or with the name `all` every one."""
    user = _user(call)
    name = call.path["name"]
    limits = list(user.limits) if name == "all" else [name]
    call.operations.clear_user_limits(user.name, limits, acting_user=call.user_name)
    await call.commit()
    return done()


def _user(call: Call) -> User:
    try:
        return named(call)
    except NoSuchObject:
        raise Missing("user_not_found") from None


_VALUE: Final = {"value": "integer!"}
_OF_VHOST: Final = "/api/vhost-limits/{vhost}/{name}"
_OF_USER: Final = "/api/user-limits/{user}/{name}"
SCHEMAS: Final = {
    "VirtualHostLimits": {"vhost": "string", "value": "{integer}"},
    "UserLimits": {"user": "string", "value": "{integer}"},
}


def _lists(path: str, handler: Handler, kind: str) -> Route:
    return Route("GET", path, handler, Access.VHOST_VISIBLE, query=lists.SORTED, shows=kind)


ROUTES: Final = (
    _lists("/api/vhost-limits", list_vhost_limits, "[VirtualHostLimits]"),
    _lists("/api/vhost-limits/{vhost}", list_vhost_limits, "[VirtualHostLimits]"),
    Route("PUT", _OF_VHOST, put_vhost_limit, Access.ADMINISTRATOR, _VALUE, statuses=(204,)),
    Route("DELETE", _OF_VHOST, delete_vhost_limit, Access.ADMINISTRATOR),
    _lists("/api/user-limits", list_user_limits, "[UserLimits]"),
    _lists("/api/user-limits/{user}", list_user_limits, "[UserLimits]"),
    Route("PUT", _OF_USER, put_user_limit, Access.ADMINISTRATOR, _VALUE, statuses=(204,)),
    Route("DELETE", _OF_USER, delete_user_limit, Access.ADMINISTRATOR),
)
