"""Health checks: RabbitMQ's, each 200 or 503 with what is wrong, and our own `/health` and `/ready`, which ask for no login."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any, Final

from broker.admin import jsons
from broker.admin.call import Answer
from broker.admin.channel import channel
from broker.admin.errors import BadRequest, NoSuchObject
from broker.admin.routing import Access, Route
from broker.core.direct import Got
from broker.core.permissions import InvalidPattern, compiled
from broker.node import AMQP, AMQPS, HTTP
from protocol import methods

if TYPE_CHECKING:
    from broker.admin.call import Call
    from broker.admin.routing import Handler

OK: Final = {"status": "ok"}
FAILED: Final = 503
STORE: Final = "store"
"""The alarm that stays until a restart (Node.alarms)."""
_RESOURCES: Final = {"disk": "disk space", STORE: "message store"}
"""RabbitMQ's names of what alarms are about, where they are other words."""
_UNITS: Final = {"days": 86_400, "weeks": 7 * 86_400, "months": 365 * 86_400 // 12, "years": 365 * 86_400}
"""Seconds."""
_NO_LISTENER: Final = "No active listener"
_OTHER_NAMES: Final = {
    **dict.fromkeys(("amqp091", "amqp0.9.1", "amqp0-9-1", "amqp0_9_1", "amqp10", "amqp1.0", "amqp1-0", "amqp1_0"), AMQP),
    "amqps": AMQPS,
    **dict.fromkeys(("http1", "http1.1", "http_api", "management", "management_ui", "ui"), HTTP),
    **dict.fromkeys(("cli", "distribution"), "clustering"),
}
"""What else protocols may be called. Those of RabbitMQ's other plugins are nowhere here, whatever they are called."""
_ALIVENESS_QUEUE: Final = "aliveness-test"
_SINGLE_NODE: Final = {"status": "ok", "reason": "single node cluster"}


def failed(reason: str, **more: Any) -> Answer:
    """503, and why."""
    return Answer(FAILED, jsons.dumps({"status": "failed", "reason": reason, **more}))


# --- our own --------------------------------------------------------------------------------------------------------


def health(_call: Call) -> Any:
    """Answers as long as the broker's event loop turns: for liveness probes."""
    return OK


def ready(call: Call) -> Any:
    """Tells whether clients are served and what they publish can be stored: for readiness probes."""
    node = call.context.node
    reasons = []
    if not node.server.is_serving:
        reasons.append("AMQP is not served (the broker is starting or stopping)")
    if STORE in node.alarms:
        reasons.append("the message store failed, and nothing more can be made durable until a restart")
    return failed("; ".join(reasons), reasons=reasons) if reasons else OK


# --- RabbitMQ's -----------------------------------------------------------------------------------------------------


def alarms(call: Call) -> Any:
    """Fails while memory, disk or store hold publishers back, on any node."""
    return _alarms(call, "There are alarms in effect in the cluster")


def local_alarms(call: Call) -> Any:
    """Fails while memory, disk or store hold publishers back, on this node."""
    return _alarms(call, "There are alarms in effect on the node")


def _alarms(call: Call, reason: str) -> Any:
    node = call.context.node
    active = [{"resource": _RESOURCES.get(alarm, alarm), "node": node.name} for alarm in node.alarms]
    return failed(reason, alarms=active) if active else OK


def certificate_expiration(call: Call) -> Any:
    """Fails if a certificate that is in use ends within so many days, weeks, months or years, or isn't valid yet."""
    try:
        within = int(call.path["within"])
    except ValueError:
        raise BadRequest("Invalid expiration value.") from None
    unit = _UNITS.get(call.path["unit"].lower())
    if unit is None:
        raise BadRequest(f"Time unit not recognised. Supported units: {', '.join(_UNITS)}.")
    now = datetime.datetime.now(datetime.UTC)
    try:
        until = now + datetime.timedelta(seconds=within * unit)
    except OverflowError:
        raise BadRequest("Invalid expiration value.") from None
    node = call.context.node
    expired = []
    for each in node.listeners:
        contexts = node.tls.get(each.protocol)
        if contexts is None:
            continue
        by_file = {file: contexts.ending(file, now, until) for file in (contexts.options.certfile, contexts.options.cacertfile)}
        if any(by_file.values()):
            expired.append(
                {
                    "node": node.name,
                    "protocol": each.protocol,
                    "interface": each.host,
                    "port": each.port,
                    "certfile": str(contexts.options.certfile or ""),
                    "cacertfile": str(contexts.options.cacertfile or ""),
                    "certfile_expires_on": by_file[contexts.options.certfile],
                    "cacertfile_expires_on": by_file[contexts.options.cacertfile],
                }
            )
    return failed("Certificates expiring", expired=expired) if expired else OK


def port_listener(call: Call) -> Any:
    """Fails if nothing listens on a port."""
    try:
        port = int(call.path["port"])
    except ValueError:
        raise BadRequest("Invalid port") from None
    ports = list(dict.fromkeys(each.port for each in call.context.node.listeners))
    return {"status": "ok", "port": port} if port in ports else failed(_NO_LISTENER, missing=port, ports=ports)


def protocol_listener(call: Call) -> Any:
    """Fails if a protocol isn't served, or of several with commas between them one."""
    protocols = list(dict.fromkeys(each.protocol for each in call.context.node.listeners))
    wanted = [_OTHER_NAMES.get(name, name) for name in call.path["protocol"].lower().split(",")]
    missing = [protocol for protocol in wanted if protocol not in protocols]
    if not missing:
        return {"status": "ok", "protocol": ",".join(wanted)} if len(wanted) == 1 else {"status": "ok", "protocols": protocols}
    return failed(_NO_LISTENER, missing=missing[0] if len(wanted) == 1 else missing, protocols=protocols)


def virtual_hosts(_call: Call) -> Any:
    """Fails if a virtual host is down; here they all run, or none does."""
    return OK


def single_node(_call: Call) -> Any:
    """Fails if other nodes need this one: there are none."""
    return _SINGLE_NODE


def metadata_store(_call: Call) -> Any:
    """Fails until the catalog has been read, and before that nothing is served."""
    return OK


def metadata_store_with_data(call: Call) -> Any:
    """Fails if there is no virtual host."""
    if call.broker.vhosts:
        return OK
    return failed("Metadata store has not yet been initialized: it reports to have no virtual hosts")


def quorum_queues(call: Call) -> Any:
    """Fails if a quorum queue has no leader; here each has one. Checks the pattern and the virtual host that are named."""
    if "vhost" in call.path:
        _ = call.vhost
    try:
        compiled(call.path.get("pattern", ".*"))
    except InvalidPattern as error:
        raise BadRequest(f"pattern: {error}") from error
    return OK


def in_service(call: Call) -> Any:
    """Fails while the broker is starting or stopping."""
    return OK if call.context.node.server.is_serving else failed("this rabbit node is not currently available to serve")


def below_connection_limit(call: Call) -> Any:
    """Fails if there are as many connections as may be."""
    return failed("node connection limit is reached") if _is_full(call) else OK


def _is_full(call: Call) -> bool:
    most = call.context.config.connection_max
    return most is not None and call.context.node.sockets_used >= most


def ready_to_serve_clients(call: Call) -> Any:
    """Fails if the broker isn't in service, or takes no more connections."""
    node = call.context.node
    if not node.server.is_serving:
        return failed("the rabbit node is not currently available to serve")
    if not node.ports(AMQP, AMQPS):
        return failed("no active listeners for AMQP/AMQPS")
    if _is_full(call):
        return failed("node connection limit is reached", connections=node.sockets_used)
    return OK


def target_cluster_size(_call: Call) -> Any:
    """Fails if nodes of the cluster are missing: there is one."""
    return OK


# --- older ----------------------------------------------------------------------------------------------------------


def node_healthcheck(call: Call) -> Any:
    """Fails while alarms are in effect. Deprecated in RabbitMQ."""
    if call.path.get("node", call.context.node.name) != call.context.node.name:
        raise NoSuchObject
    if call.context.node.alarms:
        return failed(f"resource alarm(s) in effect:[{','.join(call.context.node.alarms)}]")
    return OK


async def aliveness(call: Call) -> Any:
    """Declares the queue aliveness-test in a virtual host, publishes to it, and takes the message out again; the queue stays."""
    async with channel(call, call.vhost) as opened:
        await opened.do(methods.Queue.Declare(queue=_ALIVENESS_QUEUE))
        name = _ALIVENESS_QUEUE.encode()
        await opened.publish(bytes((0, len(name))) + name, 0, bytes((0, 60, 0, 0)) + len(_PROBE).to_bytes(8, "big") + b"\0\0", _PROBE)
        taken = await opened.do(methods.Basic.Get(queue=_ALIVENESS_QUEUE, no_ack=True))
    return OK if isinstance(taken, Got) else failed("aliveness-test queue is empty")


_PROBE: Final = b"test_message"
_CHECKS: Final = "/api/health/checks"
_LEADERS: Final = f"{_CHECKS}/quorum-queues-without-elected-leaders"
SCHEMAS: Final = {
    "Health": {
        "status": "'ok'|'failed'!",
        "reason": "string",
        "reasons": "[string]",
        "alarms expired": "[object]",
        "missing": "string|integer|[string]",
        "port": "integer",
        "ports": "[integer]",
        "protocol": "string",
        "protocols": "[string]",
        "connections": "integer",
    },
}


def _check(path: str, handler: Handler, access: Access = Access.MANAGEMENT) -> Route:
    return Route("GET", path, handler, access, shows="Health", refusals=(400, FAILED))


ROUTES: Final = (
    _check("/health", health, Access.ANYBODY),
    _check("/ready", ready, Access.ANYBODY),
    _check(f"{_CHECKS}/alarms", alarms),
    _check(f"{_CHECKS}/local-alarms", local_alarms),
    _check(f"{_CHECKS}/certificate-expiration/{{within}}/{{unit}}", certificate_expiration),
    _check(f"{_CHECKS}/port-listener/{{port}}", port_listener),
    _check(f"{_CHECKS}/protocol-listener/{{protocol}}", protocol_listener),
    _check(f"{_CHECKS}/virtual-hosts", virtual_hosts),
    _check(f"{_CHECKS}/node-is-quorum-critical", single_node),
    _check(f"{_CHECKS}/node-is-mirror-sync-critical", single_node),
    _check(f"{_CHECKS}/metadata-store/initialized", metadata_store),
    _check(f"{_CHECKS}/metadata-store/initialized/with-data", metadata_store_with_data),
    _check(f"{_LEADERS}/all-vhosts", quorum_queues),
    _check(f"{_LEADERS}/all-vhosts/pattern/{{pattern}}", quorum_queues),
    _check(f"{_LEADERS}/vhost/{{vhost}}", quorum_queues),
    _check(f"{_LEADERS}/vhost/{{vhost}}/pattern/{{pattern}}", quorum_queues),
    _check(f"{_CHECKS}/is-in-service", in_service),
    _check(f"{_CHECKS}/below-node-connection-limit", below_connection_limit),
    _check(f"{_CHECKS}/ready-to-serve-clients", ready_to_serve_clients),
    _check(f"{_CHECKS}/reached-target-cluster-size", target_cluster_size),
    _check("/api/healthchecks/node", node_healthcheck),
    _check("/api/healthchecks/node/{node}", node_healthcheck),
    _check("/api/aliveness-test/{vhost}", aliveness, Access.VHOST),
)
