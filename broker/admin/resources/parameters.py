"""Parameters of virtual hosts, global parameters, and the cluster's name, which is one of them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from broker import definitions
from broker.admin import lists
from broker.admin.access import reachable
from broker.admin.call import Answer, created, done
from broker.admin.errors import Missing, NoSuchObject
from broker.admin.resources.policies import refusal
from broker.admin.routing import Access, Route
from broker.core.policy import InvalidPolicy
from broker.core.vhost import LIMITS
from broker.operations import OPERATOR_POLICY, POLICY

if TYPE_CHECKING:
    from broker.admin.call import Call
    from broker.core.vhost import VHost

log = logging.getLogger("management")

CLUSTER_NAME: Final = "cluster_name"
_USED: Final = (LIMITS[0], OPERATOR_POLICY, POLICY)
"""The components that mean something here."""
_KEPT: Final = ("shovel", "federation", "federation-upstream", "federation-upstream-set")
"""Those of RabbitMQ's plugins: kept for whoever moves on with the definitions, and nothing comes of them."""


def _parameters(vhost: VHost, component: str | None) -> list[dict[str, Any]]:
    """Policies are parameters too, and listed only if they are asked for."""
    if component == POLICY:
        found = [{"component": POLICY, "name": each.name, "value": _without_name(each)} for each in vhost.policies.values()]
    else:
        found = [each for each in definitions.parameters_of(vhost) if component in (None, each["component"])]
    return [{"value": each["value"], "vhost": vhost.name, "component": each["component"], "name": each["name"]} for each in found]


def _without_name(policy: Any) -> dict[str, Any]:
    return {key: value for key, value in definitions.of_policy(policy).items() if key != "name"}


async def list_parameters(call: Call) -> Answer:
    """Lists the parameters of virtual hosts, of one component or of all."""
    component = call.path.get("component")
    found = [each for vhost in await reachable(call) for each in _parameters(vhost, component)]
    return await lists.answer(call, found, lambda each: each, can_page=False)


def get_parameter(call: Call) -> Any:
    """Describes a parameter."""
    for found in _parameters(call.vhost, call.path["component"]):
        if found["name"] == call.path["name"]:
            return found
    raise NoSuchObject


async def put_parameter(call: Call) -> Answer:
    """Creates or replaces a parameter."""
    try:
        vhost = call.vhost
    except NoSuchObject:
        raise Missing("vhost_not_found") from None
    body = await call.body()
    body.require("value")
    component, name = call.path["component"], call.path["name"]
    if component not in (*_USED, *_KEPT):
        raise refusal(f"component {component} not found")
    is_new = all(found["name"] != name for found in _parameters(vhost, component))
    try:
        call.operations.set_parameter(vhost.name, component, name, body.values["value"], acting_user=call.user_name)
    except InvalidPolicy as error:
        raise refusal(str(error)) from error
    if component in _KEPT:
        log.warning("parameter '%s' of component '%s' is kept, but nothing here acts on it", name, component)
    await call.commit()
    return created() if is_new else done()


async def delete_parameter(call: Call) -> Answer:
    """Deletes a parameter."""
    get_parameter(call)
    vhost, component, name = call.path["vhost"], call.path["component"], call.path["name"]
    if component == POLICY:
        call.operations.clear_policy(vhost, name, acting_user=call.user_name)
    else:
        call.operations.clear_parameter(vhost, component, name, acting_user=call.user_name)
    await call.commit()
    return done()


# --- global ---------------------------------------------------------------------------------------------------------


async def list_global_parameters(call: Call) -> Answer:
    """Lists the global parameters."""
    found = [{"name": name, "value": value} for name, value in call.broker.global_parameters.items()]
    return await lists.answer(call, found, lambda each: each, default_sort=("name",), can_page=False)


def get_global_parameter(call: Call) -> Any:
    """Describes a global parameter."""
    name = call.path["name"]
    if name not in call.broker.global_parameters:
        raise NoSuchObject
    return {"value": call.broker.global_parameters[name], "name": name}


async def put_global_parameter(call: Call) -> Answer:
    """Creates or replaces a global parameter."""
    body = await call.body()
    body.require("value")
    name = call.path["name"]
    is_new = name not in call.broker.global_parameters
    call.operations.set_global_parameter(name, body.values["value"], acting_user=call.user_name)
    await call.commit()
    return created() if is_new else done()


async def delete_global_parameter(call: Call) -> Answer:
    """Deletes a global parameter."""
    get_global_parameter(call)
    call.operations.clear_global_parameter(call.path["name"], acting_user=call.user_name)
    await call.commit()
    return done()


def get_cluster_name(call: Call) -> Any:
    """Tells what the cluster is called."""
    return {"name": call.context.node.cluster_name}


async def put_cluster_name(call: Call) -> Answer:
    """Calls the cluster by another name."""
    body = await call.body()
    body.require("name")
    call.operations.set_global_parameter(CLUSTER_NAME, body.text("name"), acting_user=call.user_name)
    await call.commit()
    return done()


_PATH: Final = "/api/parameters/{component}/{vhost}/{name}"
_GLOBAL_PATH: Final = "/api/global-parameters/{name}"
_VALUE: Final = {"value": "any!"}
_MINE: Final = Access.POLICYMAKER
_ALL: Final = Access.GLOBAL_PARAMETERS
SCHEMAS: Final = {
    "Parameter": {"component vhost name": "string", "value": "any"},
    "GlobalParameter": {"name": "string", "value": "any"},
    "ClusterName": {"name": "string!"},
}
ROUTES: Final = (
    Route("GET", "/api/parameters", list_parameters, _MINE, query=lists.SORTED, shows="[Parameter]"),
    Route("GET", "/api/parameters/{component}", list_parameters, _MINE, query=lists.SORTED, shows="[Parameter]"),
    Route("GET", "/api/parameters/{component}/{vhost}", list_parameters, _MINE, query=lists.SORTED, shows="[Parameter]"),
    Route("GET", _PATH, get_parameter, _MINE, shows="Parameter"),
    Route("PUT", _PATH, put_parameter, _MINE, _VALUE),
    Route("DELETE", _PATH, delete_parameter, _MINE),
    Route("GET", "/api/global-parameters", list_global_parameters, _ALL, query=lists.SORTED, shows="[GlobalParameter]"),
    Route("GET", _GLOBAL_PATH, get_global_parameter, _ALL, shows="GlobalParameter"),
    Route("PUT", _GLOBAL_PATH, put_global_parameter, _ALL, _VALUE),
    Route("DELETE", _GLOBAL_PATH, delete_global_parameter, _ALL),
    Route("GET", "/api/cluster-name", get_cluster_name, shows="ClusterName"),
    Route("PUT", "/api/cluster-name", put_cluster_name, Access.ADMINISTRATOR, {"name": "string!"}, statuses=(204,)),
)
