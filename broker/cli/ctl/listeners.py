"""Commands about where the broker listens."""

from __future__ import annotations

import socket
from typing import Any, Final

from broker.cli.ctl.command import Call, Command
from broker.cli.ctl.errors import EXIT_DATA, Failed, Invalid, error
from broker.cli.ctl.formats import Output, Row
from broker.cli.ctl.terms import Atom

PURPOSES: Final = {
    "amqp": "AMQP 0-9-1 and AMQP 1.0",
    "amqp/ssl": "AMQP 0-9-1 and AMQP 1.0 over TLS",
    "http": "HTTP API",
    "https": "HTTP API over TLS (HTTPS)",
    "http/prometheus": "Prometheus exporter API over HTTP",
    "https/prometheus": "Prometheus exporter API over TLS (HTTPS)",
    "clustering": "inter-node and CLI tool communication",
    "mqtt": "MQTT",
    "stomp": "STOMP",
}
"""RabbitMQ's words, which scripts compare; Leveret speaks AMQP 0-9-1 alone."""
_PROTOCOLS: Final = {
    **dict.fromkeys(("amqp091", "amqp0.9.1", "amqp0-9-1", "amqp0_9_1", "amqp10", "amqp1.0", "amqp1-0", "amqp1_0"), "amqp"),
    **dict.fromkeys(("amqps", "amqp+tls", "amqp+ssl"), "amqp/ssl"),
    **dict.fromkeys(("http1", "http1.1", "http_api", "management", "management_ui", "ui"), "http"),
    **dict.fromkeys(("mqtt3.1", "mqtt3.1.1", "mqtt31", "mqtt311", "mqtt3_1", "mqtt3_1_1"), "mqtt"),
    **dict.fromkeys(("stomp1.0", "stomp1.1", "stomp1.2", "stomp10", "stomp11", "stomp12"), "stomp"),
    **dict.fromkeys(("cli", "distribution"), "clustering"),
}
"""Other names of protocols."""
CONNECT_SECONDS: Final = 30


def all_listeners(call: Call) -> list[Row]:
    """node, protocol, interface, port, purpose; in JSON's order of keys."""
    found = call.api.get("overview", columns="listeners")["listeners"]
    return [listener_row(each, call.node) for each in found]


def listener_row(listener: dict[str, Any], node: str) -> Row:
    """One of overview's listeners."""
    address, protocol = listener["ip_address"], listener["protocol"]
    return {
        "interface": f"[{address}]" if ":" in address else address,
        "node": listener.get("node", node),
        "port": int(listener["port"]),
        "protocol": protocol,
        "purpose": PURPOSES.get(protocol, protocol),
    }


def line(row: Row) -> str:
    """As text."""
    return f"Interface: {row['interface']}, port: {row['port']}, protocol: {row['protocol']}, purpose: {row['purpose']}"


def listeners(call: Call) -> Output:
    """Every address."""
    rows = all_listeners(call)
    columns = ("node", "protocol", "interface", "port", "purpose")
    if call.formatter == "csv":
        return Output(rows=[{name: row[name] for name in columns} for row in rows])
    erlang = [[(Atom(name), row[name]) for name in columns] for row in rows]
    text = "\n".join(map(line, rows)) if rows else f"Node {call.node} reported no enabled listeners."
    return Output(text, json={"listeners": rows, "node": call.node, "result": "ok"}, erlang=erlang)


def check_port_connectivity(call: Call) -> Output:
    """Open a connection to each port, and close it."""
    rows, address = all_listeners(call), call.options.get("address")
    seconds = (call.timeout_seconds or CONNECT_SECONDS) / (len(rows) + 1)
    failures = [row for row in rows if not _connects(address or _target(row["interface"]), row["port"], seconds)]
    if failures:
        head = f"Connection to ports of the following listeners on node {call.node} failed: "
        facts = {"result": "error", "node": call.node, "failures": failures}
        raise error("\n".join([head, *map(line, failures)]), facts=facts)
    ports = ", ".join(map(str, sorted({row["port"] for row in rows})))
    how = f"using {address} for target IP address" if address else "using node hostname resolution"
    text = f"Successfully connected to ports {ports} on node {call.node} ({how})"
    return Output(text, json={"listeners": rows, "node": call.node, "result": "ok"})


def _target(interface: str) -> str:
    """An address by which this machine reaches it."""
    address = interface.strip("[]")
    return {"::": "localhost", "0.0.0.0": "localhost"}.get(address, address)


def _connects(host: str, port: int, seconds: float) -> bool:
    try:
        socket.create_connection((host, port), timeout=seconds).close()
    except OSError:
        return False
    return True


def check_port_listener(call: Call) -> Output:
    """Whether it listens on a port."""
    port, rows = call.arguments[0], all_listeners(call)
    ports = sorted({row["port"] for row in rows})
    if int(port) not in ports:
        text = f"No listener for port {port} is active on node {call.node}. "
        text += f"Found listeners that use the following ports: {', '.join(map(str, ports))}"
        raise Failed(text, facts={"result": "error", "missing": int(port), "ports": ports, "listeners": rows})
    text = f"A listener for port {port} is running on node {call.node}."
    return Output(text, json={"node": call.node, "port": int(port), "result": "ok"})


def _check_port(call: Call) -> None:
    if not (call.arguments[0].isdecimal() and int(call.arguments[0]) > 0):
        raise Invalid("Bad argument: Argument must be a positive integer", EXIT_DATA)


def check_protocol_listener(call: Call) -> Output:
    """Whether it speaks a protocol."""
    protocol, rows = normal_protocol(call.arguments[0]), all_listeners(call)
    protocols = sorted({row["protocol"] for row in rows})
    if protocol not in protocols:
        text = f"No listener for protocol {protocol} is active on node {call.node}. "
        text += f"Found listeners for the following protocols: {', '.join(protocols)}"
        raise error(text, facts={"result": "error", "missing": protocol, "protocols": protocols, "listeners": rows})
    text = f"A listener for protocol {protocol} is running on node {call.node}."
    return Output(text, json={"node": call.node, "protocol": protocol, "result": "ok"})


def normal_protocol(name: str) -> str:
    """RabbitMQ's word for a protocol."""
    return _PROTOCOLS.get(name.lower(), name.lower())


_TIMEOUT: Final = {"timeout": int}
COMMANDS: Final = {
    "listeners": Command(listeners, "listeners", banner="Asking node {node} to report its protocol listeners ...", options=_TIMEOUT),
    "check_port_connectivity": Command(
        check_port_connectivity,
        "check_port_connectivity [--address <target address>]",
        banner=lambda call: (
            f"Testing TCP connections to all active listeners on node {call.node} using {call.options['address']} for node IP address ..."
            if call.options.get("address")
            else f"Testing TCP connections to all active listeners on node {call.node} using hostname resolution ..."
        ),
        options={"timeout": int, "address": str},
        short={"a": "address"},
    ),
    "check_port_listener": Command(
        check_port_listener,
        "check_port_listener <port>",
        (1, 1),
        "Asking node {node} if there's an active listener on port {0} ...",
        options=_TIMEOUT,
        check=_check_port,
    ),
    "check_protocol_listener": Command(
        check_protocol_listener,
        "check_protocol_listener <protocol>",
        (1, 1),
        lambda call: f"Asking node {call.node} if there's an active listener for protocol {normal_protocol(call.arguments[0])} ...",
        options=_TIMEOUT,
    ),
}
