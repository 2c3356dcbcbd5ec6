"""Commands about policies, operator policies, parameters and limits: JSON under a name."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from broker.cli.ctl.command import Call, Command
from broker.cli.ctl.errors import Failed, Refused, error, no_such_vhost
from broker.cli.ctl.formats import Output, encode
from broker.cli.ctl.terms import show
from broker.cli.ctl.users import exists, no_such_user

if TYPE_CHECKING:
    from collections.abc import Callable

MISSING: Final = "Parameter does not exist"
VHOST_LIMITS: Final = ("max-connections", "max-queues")
USER_LIMITS: Final = ("max-connections", "max-channels")


def parsed(text: str) -> Any:
    """JSON of the command line. Raises Failed in RabbitMQ's words."""
    try:
        return json.loads(text)
    except ValueError as problem:
        raise error("JSON decoding error. Reason: badarg") from problem


# --- policies -----------------------------------------------------------------------------------------------------------


def set_policy(call: Call) -> Output:
    """See _set_policy."""
    return _set_policy(call, "policies")


def set_operator_policy(call: Call) -> Output:
    """See _set_policy."""
    return _set_policy(call, "operator-policies")


def _set_policy(call: Call, kind: str) -> Output:
    name, pattern, definition = call.arguments
    body = {
        "pattern": pattern,
        "definition": parsed(definition),
        "priority": call.options["priority"],
        "apply-to": call.options["apply_to"],
    }
    _in_vhost(call, lambda: call.api.put(kind, call.vhost, name, body=body))
    return call.done()


def clear_policy(call: Call) -> Output:
    """Delete it."""
    return _clear(call, "policies", call.vhost, call.arguments[0])


def clear_operator_policy(call: Call) -> Output:
    """Delete it."""
    return _clear(call, "operator-policies", call.vhost, call.arguments[0])


def list_policies(call: Call) -> Output:
    """vhost, name, pattern, apply-to, definition, priority."""
    return _list_policies(call, "policies")


def list_operator_policies(call: Call) -> Output:
    """The same columns."""
    return _list_policies(call, "operator-policies")


def _list_policies(call: Call, kind: str) -> Output:
    policies = _in_vhost(call, lambda: call.api.get(kind, call.vhost))
    return Output(rows=[_policy_row(policy) for policy in policies], whole=True)


def _policy_row(policy: dict[str, Any]) -> dict[str, Any]:
    row = {name: policy[name] for name in ("vhost", "name", "pattern", "apply-to")}
    return {**row, "definition": _json(policy["definition"]), "priority": policy["priority"]}


def list_policies_that_match(call: Call) -> Output:
    """The policies whose pattern fits a queue or an exchange, the one that counts first."""
    name, is_queue = call.arguments[0], call.options["object_type"] == "queue"
    try:
        call.api.get("queues" if is_queue else "exchanges", call.vhost, name)
    except Refused as refused:
        facts = {"result": "error", "message": "object (queue, exchange) not found", "policies": []}
        raise Failed("Error:\nnot_found", facts=facts) if refused.status == 404 else error(refused.reason) from refused
    rows = [_policy_row(each) for each in call.api.get("policies", call.vhost) if re.search(each["pattern"], name)]
    targets = ("all", "queues", "classic_queues", "quorum_queues", "streams") if is_queue else ("all", "exchanges")
    rows = sorted((row for row in rows if row["apply-to"] in targets), key=lambda row: -row["priority"])
    return Output(rows=rows, json={"policies": rows, "result": "ok"})


# --- parameters ---------------------------------------------------------------------------------------------------------


def set_parameter(call: Call) -> Output:
    """Of a component, in --vhost."""
    component, name, value = call.arguments
    body = {"value": parsed(value)}
    _in_vhost(call, lambda: call.api.put("parameters", component, call.vhost, name, body=body))
    return call.done()


def clear_parameter(call: Call) -> Output:
    """Delete it."""
    component, name = call.arguments
    return _clear(call, "parameters", component, call.vhost, name)


def list_parameters(call: Call) -> Output:
    """component, name, value."""
    rows = [
        {"component": each["component"], "name": each["name"], "value": encode(each["value"])}
        for each in call.api.get("parameters")
        if each["vhost"] == call.vhost
    ]
    return Output(rows=rows, whole=True)


def set_global_parameter(call: Call) -> Output:
    """Of no vhost."""
    name, value = call.arguments
    call.api.put("global-parameters", name, body={"name": name, "value": parsed(value)})
    return call.done()


def clear_global_parameter(call: Call) -> Output:
    """Delete it."""
    return _clear(call, "global-parameters", call.arguments[0])


def list_global_parameters(call: Call) -> Output:
    """name, value."""
    rows = [{"name": each["name"], "value": encode(each["value"])} for each in call.api.get("global-parameters")]
    return Output(rows=rows, whole=True)


# --- limits -------------------------------------------------------------------------------------------------------------


def set_vhost_limits(call: Call) -> Output:
    """In place of those there were."""
    limits = parsed(call.arguments[0])
    _check_limits(limits)
    body = {"value": limits}
    _in_vhost(call, lambda: call.api.put("parameters", "vhost-limits", call.vhost, "limits", body=body))
    return call.done()


def _check_limits(limits: Any) -> None:
    """Raises Failed in RabbitMQ's words."""
    if not isinstance(limits, dict):
        raise error("JSON decoding error. Reason: badarg")
    unknown = [(key, value) for key, value in limits.items() if key not in VHOST_LIMITS]
    if unknown:
        raise error(f"Validation failed\n\nUnrecognised terms {show(unknown)} in limits\n")
    for name, value in limits.items():
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise error(f"Validation failed\n\n{name} should be a number, actually was {show(value)}\n")


def clear_vhost_limits(call: Call) -> Output:
    """All of them."""
    return _clear(call, "parameters", "vhost-limits", call.vhost, "limits")


def list_vhost_limits(call: Call) -> Output:
    """Of --vhost, or with --global of all."""
    if call.options.get("global"):
        rows = [{"vhost": each["vhost"], "limits": _json(each["value"])} for each in call.api.get("vhost-limits")]
        return Output(rows=rows, whole=True)
    found = _in_vhost(call, lambda: call.api.get("vhost-limits", call.vhost))
    if not found:
        return Output(rows=[], whole=True)
    value = _json(found[0]["value"])
    return Output(value, json={"node": call.node, "result": "ok", "value": value})


def set_user_limits(call: Call) -> Output:
    """Added to those there are."""
    name, limits = call.arguments[0], parsed(call.arguments[1])
    if not isinstance(limits, dict):
        raise error("JSON decoding error. Reason: badarg")
    unknown = [(key, value) for key, value in limits.items() if key not in USER_LIMITS]
    if unknown:
        raise error(f"Unrecognised terms {show(unknown)} in user-limits")
    try:
        for limit, value in limits.items():
            call.api.put("user-limits", name, limit, body={"value": value})
    except Refused as refused:
        raise _refused_user(call, name, refused) from refused
    return call.done()


def clear_user_limits(call: Call) -> Output:
    """One of them, or `all`."""
    name, which = call.arguments
    try:
        for limit in USER_LIMITS if which == "all" else (which,):
            call.api.delete("user-limits", name, limit)
    except Refused as refused:
        if not exists(call, name):
            raise error(f'{{:no_such_user, "{name}"}}') from refused
        if refused.status != 404:
            raise
    return call.done()


def list_user_limits(call: Call) -> Output:
    """Of --user, or with --global of all."""
    if call.options.get("global"):
        rows = [{"user": each["user"], "limits": _json(each["value"])} for each in call.api.get("user-limits")]
        return Output(rows=rows, whole=True)
    name = call.options["user"]
    try:
        user = call.api.get("users", name)
    except Refused as refused:
        raise no_such_user(refused, name) from refused
    return Output(_json(user.get("limits") or {}))


# --- what they share ----------------------------------------------------------------------------------------------------


def _json(value: Any) -> str:
    return encode(dict(sorted(value.items()))) if isinstance(value, dict) else encode(value)


def _in_vhost(call: Call, act: Callable[[], Any]) -> Any:
    try:
        return act()
    except Refused as refused:
        if refused.status == 404:
            raise no_such_vhost(call.vhost) from refused
        raise


def _clear(call: Call, *path: str) -> Output:
    try:
        call.api.delete(*path)
    except Refused as refused:
        raise error(MISSING if refused.status == 404 else refused.reason) from refused
    return call.done()


def _refused_user(call: Call, name: str, refused: Refused) -> Failed:
    if refused.status in (400, 404) and not exists(call, name):
        return error(f'{{:no_such_user, "{name}"}}')
    return error(refused.reason)


_POLICY: Final = {"priority": int, "apply_to": str}
_DEFAULTS: Final = {"priority": 0, "apply_to": "all"}
_POLICY_DETAILS: Final = (
    ("<name>", "the policy's name"),
    ("<pattern>", "a regular expression over names"),
    ("<definition>", "a JSON object of settings"),
    ("--priority <priority>", "of those that fit, the highest counts"),
    ("--apply-to <queues | classic_queues | quorum_queues | streams | exchanges | all>", "what it is for"),
)
_LIST: Final = {"timeout": int}
COMMANDS: Final = {
    "set_policy": Command(
        set_policy,
        "set_policy [--vhost <vhost>] [--priority <priority>] [--apply-to <apply-to>] <name> <pattern> <definition>",
        (3, 3),
        'Setting policy "{0}" for pattern "{1}" to "{2}" with priority "{priority}" for vhost "{vhost}" ...',
        options=_POLICY,
        defaults=_DEFAULTS,
        details=_POLICY_DETAILS,
    ),
    "set_operator_policy": Command(
        set_operator_policy,
        "set_operator_policy [--vhost <vhost>] [--priority <priority>] [--apply-to <apply-to>] <name> <pattern> <definition>",
        (3, 3),
        'Setting operator policy override "{0}" for pattern "{1}" to "{2}" with priority "{priority}" for vhost "{vhost}" ...',
        options=_POLICY,
        defaults=_DEFAULTS,
        details=_POLICY_DETAILS,
    ),
    "clear_policy": Command(clear_policy, "clear_policy [--vhost <vhost>] <name>", (1, 1), 'Clearing policy "{0}" on vhost "{vhost}" ...'),
    "clear_operator_policy": Command(
        clear_operator_policy,
        "clear_operator_policy [--vhost <vhost>] <name>",
        (1, 1),
        'Clearing operator policy "{0}" on vhost "{vhost}" ...',
    ),
    "list_policies": Command(
        list_policies,
        "list_policies [--vhost <vhost>] [--no-table-headers]",
        banner='Listing policies for vhost "{vhost}" ...',
        options=_LIST,
        formatter="table",
    ),
    "list_operator_policies": Command(
        list_operator_policies,
        "list_operator_policies [--vhost <vhost>] [--no-table-headers]",
        banner='Listing operator policy overrides for vhost "{vhost}" ...',
        options=_LIST,
        formatter="table",
    ),
    "list_policies_that_match": Command(
        list_policies_that_match,
        "list_policies_that_match [--object-type <type>] <name>",
        (1, 1),
        "Listing policies that match {object_type} '{0}' in vhost '{vhost}' ...",
        options={"object_type": str},
        defaults={"object_type": "queue"},
        formatter="pretty_table",
    ),
    "set_parameter": Command(
        set_parameter,
        "set_parameter [--vhost <vhost>] <component_name> <name> <value>",
        (3, 3),
        'Setting runtime parameter "{1}" for component "{0}" to "{2}" in vhost "{vhost}" ...',
    ),
    "clear_parameter": Command(
        clear_parameter,
        "clear_parameter [--vhost <vhost>] <component_name> <name>",
        (2, 2),
        'Clearing runtime parameter "{1}" for component "{0}" on vhost "{vhost}" ...',
    ),
    "list_parameters": Command(
        list_parameters,
        "list_parameters [--vhost <vhost>] [--no-table-headers]",
        banner='Listing runtime parameters for vhost "{vhost}" ...',
        options=_LIST,
        formatter="table",
    ),
    "set_global_parameter": Command(
        set_global_parameter, "set_global_parameter <name> <value>", (2, 2), 'Setting global runtime parameter "{0}" to "{1}" ...'
    ),
    "clear_global_parameter": Command(
        clear_global_parameter, "clear_global_parameter <name>", (1, 1), 'Clearing global runtime parameter "{0}" ...'
    ),
    "list_global_parameters": Command(
        list_global_parameters,
        "list_global_parameters [--no-table-headers]",
        banner="Listing global runtime parameters ...",
        options=_LIST,
        formatter="table",
    ),
    "set_vhost_limits": Command(
        set_vhost_limits,
        "set_vhost_limits [--vhost <vhost>] <definition>",
        (1, 1),
        'Setting vhost limits to "{0}" for vhost "{vhost}" ...',
    ),
    "clear_vhost_limits": Command(clear_vhost_limits, "clear_vhost_limits [--vhost <vhost>]", banner='Clearing vhost "{vhost}" limits ...'),
    "list_vhost_limits": Command(
        list_vhost_limits,
        "list_vhost_limits [--vhost <vhost>] [--global] [--no-table-headers]",
        banner=lambda call: (
            "Listing limits for all vhosts ..." if call.options.get("global") else f'Listing limits for vhost "{call.vhost}" ...'
        ),
        options={"global": bool},
        formatter="table",
    ),
    "set_user_limits": Command(
        set_user_limits, "set_user_limits <username> <definition>", (2, 2), 'Setting user limits to "{1}" for user "{0}" ...'
    ),
    "clear_user_limits": Command(
        clear_user_limits,
        "clear_user_limits <username> <limit_type> | all",
        (2, 2),
        lambda call: (
            f'Clearing all limits for user "{call.arguments[0]}" ...'
            if call.arguments[1] == "all"
            else f'Clearing "{call.arguments[1]}" limit for user "{call.arguments[0]}" ...'
        ),
    ),
    "list_user_limits": Command(
        list_user_limits,
        "list_user_limits [--user <username>] [--global]",
        banner=lambda call: (
            "Listing limits for all users ..." if call.options.get("global") else f'Listing limits for user "{call.options["user"]}" ...'
        ),
        options={"global": bool, "user": str},
        defaults={"user": "guest"},
        formatter="table",
    ),
}
