"""Who may do what over the API: tags, and the vhosts that a user may enter (https://www.rabbitmq.com/docs/management#permissions)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.admin.errors import NOT_MANAGEMENT_USER, NotAuthorised
from broker.admin.routing import Access
from protocol.errors import ConnectionException

if TYPE_CHECKING:
    from broker.admin.call import Call
    from broker.admin.context import Context
    from broker.core.permissions import Identity
    from broker.core.vhost import VHost

ADMINISTRATOR: Final = "administrator"
MONITORS: Final = frozenset({ADMINISTRATOR, "monitoring"})
POLICYMAKERS: Final = frozenset({ADMINISTRATOR, "policymaker"})
MANAGERS: Final = MONITORS | POLICYMAKERS | {"management"}


def is_administrator(identity: Identity) -> bool:
    """May do everything."""
    return ADMINISTRATOR in identity.tags


def is_monitor(identity: Identity) -> bool:
    """May see everything."""
    return not MONITORS.isdisjoint(identity.tags)


def is_policymaker(identity: Identity) -> bool:
    """May set policies and parameters, in vhosts that it may enter."""
    return not POLICYMAKERS.isdisjoint(identity.tags)


async def enterable(context: Context, identity: Identity) -> frozenset[str]:
    """The vhosts that a user may enter."""
    return frozenset([name for name in list(context.broker.vhosts) if await may_enter(context, identity, name)])


async def may_enter(context: Context, identity: Identity, vhost: str) -> bool:
    """Whether a user may enter a vhost."""
    try:
        await context.decide(lambda: identity.check_vhost(vhost))
    except ConnectionException:
        return False
    finally:
        identity.conclude()
    return True


async def visible(call: Call) -> list[VHost]:
    """The vhost in the path, or all that the user sees. Raises NoSuchObject."""
    return await _vhosts(call, everything=is_monitor(call.identity))


async def reachable(call: Call) -> list[VHost]:
    """The vhost in the path, or all that the user sees into: monitors see those too that they may not enter, and not what is in them.
    Raises NoSuchObject."""
    return await _vhosts(call, everything=is_administrator(call.identity))


async def _vhosts(call: Call, *, everything: bool) -> list[VHost]:
    if "vhost" in call.path:
        return [call.vhost]
    if everything:
        return list(call.broker.vhosts.values())
    names = await enterable(call.context, call.identity)
    return [vhost for name, vhost in call.broker.vhosts.items() if name in names]


async def check(call: Call, access: Access) -> None:
    """Raises NotAuthorised, with RabbitMQ's reason."""
    identity = call.identity
    if access is Access.ANYBODY:
        return
    if MANAGERS.isdisjoint(identity.tags):
        raise NotAuthorised(NOT_MANAGEMENT_USER)
    if is_administrator(identity):
        return
    match access:
        case Access.MONITORING:
            _require(is_monitor(identity), "Not monitor user")
        case Access.ADMINISTRATOR:
            _require(False, "Not administrator user")
        case Access.VHOST:
            _require(await _may_enter_named(call), "User not authorised to access virtual host")
        case Access.VHOST_VISIBLE:
            _require(is_monitor(identity) or await _may_enter_named(call), "User not authorised to access virtual host")
        case Access.POLICYMAKER:
            _require(is_policymaker(identity) and await _may_enter_named(call), "User not authorised to access object")
        case Access.GLOBAL_PARAMETERS:
            _require(is_policymaker(identity), "User not authorised to access object")


def _require(is_allowed: bool, reason: str) -> None:
    if not is_allowed:
        raise NotAuthorised(reason)


async def _may_enter_named(call: Call) -> bool:
    """The vhost in the path; one that isn't there is found missing later."""
    name = call.path.get("vhost") or call.request.headers.get("x-vhost")
    return not name or name not in call.broker.vhosts or await may_enter(call.context, call.identity, name)
