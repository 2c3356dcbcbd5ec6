"""Health checks: whether the broker runs, alarms, virtual hosts, certificates. Exit status 0 is healthy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broker import control
from broker.cli.ctl.command import Call, Command
from broker.cli.ctl.errors import Failed, Invalid, Refused, error
from broker.cli.ctl.formats import Output
from broker.cli.ctl.terms import show

if TYPE_CHECKING:
    from collections.abc import Callable

ALARMS: Final = (("mem_alarm", "memory", "Memory"), ("disk_free_alarm", "disk", "Free disk space"))
TIME_UNITS: Final = ("days", "weeks", "months", "years")
NO_CHECKS: Final = "This command is DEPRECATED and is a no-op. It will be removed in a future version. "
PING_SECONDS: Final = 60
MIRRORING: Final = "classic_queue_mirroring"
"""The only deprecated feature that RabbitMQ 3.13's check looks at."""
_TIMEOUT: Final = {"timeout": int}


def ping(call: Call) -> Output:
    """Whether the broker answers on its control socket."""
    from broker.cli.ctl.api import TimedOut, Unreachable

    try:
        call.api.get("whoami")
    except (Failed, Unreachable, TimedOut) as problem:
        where = call.shown_node
        why = f"\n{problem.__cause__}" if isinstance(problem.__cause__, control.NoBroker) else ""
        raise error(f"Failed to connect and authenticate to {where} in {int((call.timeout_seconds or 0) * 1000)} ms{why}") from problem
    return Output("Ping succeeded")


def _pinging(call: Call) -> str:
    where = call.url or call.shown_node
    if not call.url:
        try:
            where = control.find(call.wanted_node).node
        except control.NoBroker:
            pass
    milliseconds = int((call.timeout_seconds or 0) * 1000)
    return f"Will ping {where}. This only checks if the OS process is running and registered with epmd. Timeout: {milliseconds} ms."


def is_booted(call: Call) -> bool:
    """Whether it has come up, and clients may connect. An HTTP API that answers belongs to a broker that has: AMQP is served before."""
    try:
        return bool(call.api.get("leveret", "ctl", "facts")["state"] == "running")
    except Refused as refused:
        if refused.status != 404:
            raise
        return True  # a RabbitMQ's, by --url


def _running(call: Call) -> str:
    return f"RabbitMQ on node {call.node} is fully booted and running"


def _stopped(call: Call) -> str:
    return f"RabbitMQ on node {call.node} is not running or has not fully booted yet (check with is_booting)"


def check_running(call: Call) -> Output:
    """Fails if it isn't."""
    if not is_booted(call):
        raise error(_stopped(call))
    return Output(_running(call))


def is_running(call: Call) -> Output:
    """Tells, and doesn't fail."""
    booted = is_booted(call)
    text = _running(call) if booted else _stopped(call)
    return Output(text, json={"message": text, "result": booted})


def is_booting(call: Call) -> Output:
    """Tells, and doesn't fail."""
    is_booted(call)
    text = f"RabbitMQ on node {call.node} is fully booted (check with is_running), stopped or has not started booting yet"
    return Output(text, json={"message": text, "result": False})


# --- alarms -------------------------------------------------------------------------------------------------------------


def alarms_of(node: dict[str, Any]) -> list[dict[str, str]]:
    """Those in effect, as RabbitMQ's JSON has them."""
    return [{"node": node["name"], "resource": resource, "type": "resource_limit"} for key, resource, _ in ALARMS if node.get(key)]


def alarm_lines(alarms: list[dict[str, str]]) -> list[str]:
    """As text."""
    titles = {resource: title for _, resource, title in ALARMS}
    return [f"{titles[alarm['resource']]} alarm on node {alarm['node']}" for alarm in alarms]


def _alarms(call: Call) -> list[dict[str, str]]:
    return alarms_of(call.api.get("nodes", call.node, columns="name,mem_alarm,disk_free_alarm"))


def alarms(call: Call) -> Output:
    """Tells, and doesn't fail."""
    found = _alarms(call)
    if not found:
        text = f"Node {call.node} reported no alarms, local or clusterwide"
        return Output(text, json={"alarms": [], "node": call.node, "result": "ok"})
    lines = alarm_lines(found)
    facts = {"global": [], "local": lines, "message": f"Node {call.node} reported alarms", "result": "ok"}
    return Output("\n".join(lines), json=facts)


def check_alarms(call: Call) -> Output:
    """Fails if there are any."""
    found = alarm_lines(_alarms(call))
    if found:
        facts = {"result": "error", "local": found, "global": [], "message": f"Node {call.node} reported alarms"}
        raise Failed(None if call.silent else "\n".join(found), facts=facts)
    return _passed(call, f"Node {call.node} reported no alarms, local or clusterwide")


def check_local_alarms(call: Call) -> Output:
    """Fails if there are any."""
    found = alarm_lines(_alarms(call))
    if found:
        facts = {"result": "error", "local": found, "message": f"Node {call.node} reported local alarms"}
        raise Failed(None if call.silent else "Error:\n" + "\n".join(found), facts=facts)
    return _passed(call, f"Node {call.node} reported no local alarms")


def _passed(call: Call, text: str) -> Output:
    return Output(None if call.silent else text, json={"result": "ok"})


# --- vhosts and certificates --------------------------------------------------------------------------------------------


def check_virtual_hosts(call: Call) -> Output:
    """Fails if one is down."""
    try:
        call.api.get("health", "checks", "virtual-hosts")
    except Refused as refused:
        if refused.status != 503:
            raise
        raise error(f"Some virtual hosts on node {call.node} are down:\n{refused.reason}") from refused
    return _passed(call, f"Node {call.node} reported all vhosts as running")


def check_certificate_expiration(call: Call) -> Output:
    """Fails if one ends soon."""
    within, unit = call.options["within"], call.options["unit"]
    try:
        call.api.get("health", "checks", "certificate-expiration", str(within), unit)
    except Refused as refused:
        if refused.status != 503:
            raise
        raise Failed(refused.reason, facts={"result": "error", "expired": refused.reason}) from refused
    return Output(f"No certificates are expiring within {within} {unit[:-1] if within == 1 else unit}.", json={"result": "ok"})


def _check_unit(call: Call) -> None:
    unit = call.options["unit"]
    if unit.lower() not in TIME_UNITS:
        raise Invalid(f"\"unit '{unit}' is not supported. Please use one of: {', '.join(TIME_UNITS)}\"")


def check_deprecated(call: Call) -> Output:
    """Fails if one is in use."""
    used = [each["name"] for each in call.api.get("deprecated-features", "used") if each["name"] == MIRRORING]
    if used:
        facts = {"result": "error", "deprecated_features": used, "message": "Cluster reported deprecated features in use"}
        raise Failed(None if call.silent else "\n".join(used), facts=facts)
    return _passed(call, "Cluster reported no deprecated features in use")


def check_mirroring(call: Call) -> Output:
    """Fails if a policy asks for it."""
    policies = [(f"{kind} {each['name']}", each) for kind, path in (("Policy", "policies"), ("Operator policy", "operator-policies"))
                for each in call.api.get(path) if any(key.startswith("ha-") for key in each["definition"])]  # fmt: skip
    if policies:
        text = "\n".join(f"{title} enables classic queue mirroring" for title, _ in policies)
        raise Failed(None if call.silent else text, facts={"result": "error", "policies": [each for _, each in policies]})
    return _passed(call, "Cluster reported no policies that enable classic queue mirroring")


def do_nothing(call: Call) -> Output:
    """It is deprecated in RabbitMQ, and does nothing."""
    return call.done()


def single_node(call: Call) -> Output:
    """A check that is about other nodes."""
    text = "Target node seems to be the only one in a single node cluster, the command does not apply"
    return Output(None if call.quiet else text, json={"message": text, "result": "ok"})


def list_auth_attempts(call: Call) -> Output:
    """By protocol, or with --by-source by who tried."""
    path = ("source",) if call.options["by_source"] else ()
    rows = call.api.get("auth", "attempts", call.node, *path)
    if not rows:
        facts = {"attempts": [], "node": call.node, "result": "ok"}
        return Output(f"Node {call.node} reported no authentication attempt stats", json=facts)
    return Output(rows=rows, json={"attempts": rows, "node": call.node, "result": "ok"})


def certificates(call: Call) -> Output:
    """Their files; none without TLS."""
    found = call.api.get("leveret", "ctl", "facts")["certificates"]
    return Output(show(found) if found else "#{}", json=found, erlang=found or {})


def _command(run: Callable[[Call], Output], name: str, banner: str | Callable[[Call], str] | None, *, needs_broker: bool = True) -> Command:
    return Command(run, name, banner=banner, options=_TIMEOUT, needs_broker=needs_broker)


COMMANDS: Final = {
    "ping": Command(ping, "ping", banner=_pinging, options=_TIMEOUT, defaults={"timeout": PING_SECONDS}, needs_broker=False),
    "check_running": _command(check_running, "check_running", "Checking if RabbitMQ is running on node {node} ..."),
    "is_running": _command(is_running, "is_running", "Asking node {node} for its status ..."),
    "is_booting": _command(is_booting, "is_booting", "Asking node {node} for its boot status ..."),
    "alarms": _command(alarms, "alarms", "Asking node {node} to report any known resource alarms ..."),
    "check_alarms": _command(check_alarms, "check_alarms", "Asking node {node} to report any local resource alarms ..."),
    "check_local_alarms": _command(check_local_alarms, "check_local_alarms", "Asking node {node} to report any local resource alarms ..."),
    "check_virtual_hosts": _command(check_virtual_hosts, "check_virtual_hosts", "Checking if all vhosts are running on node {node} ..."),
    "check_certificate_expiration": Command(
        check_certificate_expiration,
        "check_certificate_expiration [--within <period>] [--unit <unit>]",
        banner="Checking certificate expiration on node {node} ...",
        options={"unit": str, "within": int, "timeout": int},
        defaults={"unit": "weeks", "within": 4},
        check=_check_unit,
        details=(
            ("<period>", "how many units; 4 if it isn't given"),
            ("<unit>", f"one of {', '.join(TIME_UNITS)}; weeks if it isn't given"),
        ),
    ),
    "certificates": Command(certificates, "certificates", banner="Certificates of node {node} ...", formatter="erlang", options=_TIMEOUT),
    "check_if_any_deprecated_features_are_used": _command(
        check_deprecated, "check_if_any_deprecated_features_are_used", "Checking if any deprecated features are used ..."
    ),
    "check_if_cluster_has_classic_queue_mirroring_policy": _command(
        check_mirroring,
        "check_if_cluster_has_classic_queue_mirroring_policy",
        "Checking if cluster has any classic queue mirroring policy ...",
    ),
    "node_health_check": Command(
        do_nothing,
        "node_health_check",
        banner=f"{NO_CHECKS}\nUse one of the options covered in https://www.rabbitmq.com/monitoring.html#health-checks instead.",
    ),
    "list_node_auth_attempt_stats": Command(
        list_auth_attempts,
        "list_node_auth_attempts [--by-source]",
        banner='Listing authentication\n attempts for node "{node}" ...',
        options={"by_source": bool},
        defaults={"by_source": False},
        formatter="table",
    ),
    "await_online_quorum_plus_one": Command(
        single_node,
        "await_online_quorum_plus_one",
        banner="Will wait for a quorum + 1 of nodes to be online for all quorum queues for {timeout} seconds...",
        defaults={"timeout": 120},
    ),
    "await_online_synchronized_mirror": Command(
        single_node,
        "await_online_synchronized_mirror",
        banner="Will wait for a synchronised mirror be online for all classic mirrored queues for {timeout} seconds...",
        defaults={"timeout": 120},
    ),
}
