"""Policies and operator policies."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any, Final

from broker import definitions
from broker.admin import lists
from broker.admin.access import reachable
from broker.admin.call import Answer, created, done
from broker.admin.errors import BadRequest, Missing, NoSuchObject
from broker.admin.routing import Access, Route
from broker.core.policy import InvalidPolicy

if TYPE_CHECKING:
    from broker.admin.call import Call
    from broker.admin.routing import Handler
    from broker.core.policy import Policy
    from broker.core.vhost import VHost


def refusal(text: str, *, escaped: bool = True) -> BadRequest:
    """RabbitMQ's form of what a validation found; `escaped` to be shown in a page, as it does for all but operator policies."""
    reason = f"Validation failed\n\n{text}\n"
    return BadRequest(html.escape(reason, quote=False) if escaped else reason)


def _policies(vhost: VHost, *, operator: bool) -> dict[str, Policy]:
    return vhost.operator_policies if operator else vhost.policies


def _shown(vhost: VHost, policy: Policy) -> dict[str, Any]:
    return {"vhost": vhost.name, **definitions.of_policy(policy)}


async def list_policies(call: Call) -> Answer:
    """Lists policies."""
    return await _list(call, operator=False)


async def list_operator_policies(call: Call) -> Answer:
    """Lists operator policies."""
    return await _list(call, operator=True)


async def _list(call: Call, *, operator: bool) -> Answer:
    vhosts = await reachable(call)
    found = [_shown(vhost, policy) for vhost in vhosts for policy in _policies(vhost, operator=operator).values()]
    return await lists.answer(call, found, lambda each: each, default_sort=("priority", "vhost", "name"), can_page=False)


def get_policy(call: Call) -> Any:
    """Describes a policy."""
    return _get(call, operator=False)


def get_operator_policy(call: Call) -> Any:
    """Describes an operator policy."""
    return _get(call, operator=True)


def _get(call: Call, *, operator: bool) -> dict[str, Any]:
    found = _policies(call.vhost, operator=operator).get(call.path["name"])
    if found is None:
        raise NoSuchObject
    return _shown(call.vhost, found)


async def put_policy(call: Call) -> Answer:
    """Creates or replaces a policy; it acts at once."""
    return await _put(call, operator=False)


async def put_operator_policy(call: Call) -> Answer:
    """Creates or replaces an operator policy; it acts at once."""
    return await _put(call, operator=True)


async def _put(call: Call, *, operator: bool) -> Answer:
    try:
        vhost = call.vhost
    except NoSuchObject:
        raise Missing("vhost_not_found") from None
    body = await call.body()
    body.require("pattern", "definition")
    name = call.path["name"]
    is_new = name not in _policies(vhost, operator=operator)
    try:
        call.operations.set_policy(
            vhost.name,
            name,
            body.string("pattern"),
            body.object("definition"),
            priority=body.number("priority"),
            apply_to=body.text("apply-to", "all"),
            operator=operator,
            acting_user=call.user_name,
        )
    except InvalidPolicy as error:
        raise refusal(str(error), escaped=not operator) from error
    await call.commit()
    return created() if is_new else done()


async def delete_policy(call: Call) -> Answer:
    """Deletes a policy."""
    return await _delete(call, operator=False)


async def delete_operator_policy(call: Call) -> Answer:
    """Deletes an operator policy."""
    return await _delete(call, operator=True)


async def _delete(call: Call, *, operator: bool) -> Answer:
    _get(call, operator=operator)
    call.operations.clear_policy(call.path["vhost"], call.path["name"], operator=operator, acting_user=call.user_name)
    await call.commit()
    return done()


_BODY: Final = {"pattern": "string!", "definition": "object!", "priority": "integer", "apply-to": "string"}
_PATH: Final = "/api/policies/{vhost}/{name}"
_OPERATORS: Final = "/api/operator-policies/{vhost}/{name}"
SCHEMAS: Final = {"Policy": {"vhost name pattern apply-to": "string", "definition": "object", "priority": "integer"}}


def _lists(path: str, handler: Handler) -> Route:
    return Route("GET", path, handler, Access.VHOST, query=lists.SORTED, shows="[Policy]")


ROUTES: Final = (
    _lists("/api/policies", list_policies),
    _lists("/api/policies/{vhost}", list_policies),
    Route("GET", _PATH, get_policy, Access.POLICYMAKER, shows="Policy"),
    Route("PUT", _PATH, put_policy, Access.POLICYMAKER, _BODY),
    Route("DELETE", _PATH, delete_policy, Access.POLICYMAKER),
    _lists("/api/operator-policies", list_operator_policies),
    _lists("/api/operator-policies/{vhost}", list_operator_policies),
    Route("GET", _OPERATORS, get_operator_policy, Access.ADMINISTRATOR, shows="Policy"),
    Route("PUT", _OPERATORS, put_operator_policy, Access.ADMINISTRATOR, _BODY),
    Route("DELETE", _OPERATORS, delete_operator_policy, Access.ADMINISTRATOR),
)
