"""Commands about the machine: names, network interfaces, TLS. And what RabbitMQ's tools have that makes no sense without Erlang."""

from __future__ import annotations

import socket
from typing import Any, Final

from broker.cli.ctl.command import ANY, Call, Command
from broker.cli.ctl.errors import EXIT_DATA, Invalid, error
from broker.cli.ctl.formats import Output

FAMILIES: Final = {
    **dict.fromkeys(("inet", "inet4", "ipv4", "IPv4"), socket.AF_INET),
    **dict.fromkeys(("inet6", "ipv6", "IPv6"), socket.AF_INET6),
}
NXDOMAIN: Final = "Hostname does not resolve (resolution failed with an nxdomain)"


def resolve_hostname(call: Call) -> Output:
    """The addresses of a name."""
    name, family = call.arguments[0], call.options["address_family"]
    try:
        found = socket.getaddrinfo(name, None, FAMILIES[family], socket.SOCK_STREAM)
    except OSError as problem:
        raise error(NXDOMAIN, EXIT_DATA, {"result": "error", "node": call.node, "message": NXDOMAIN}) from problem
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    facts = {"address_family": family, "addresses": addresses, "hostname": name, "node": call.node, "result": "ok"}
    return Output("\n".join(addresses), json=facts)


def _check_family(call: Call) -> None:
    family = call.options["address_family"]
    if family not in FAMILIES:
        raise Invalid(f"Bad argument: unsupported IP address family {family}. Valid values are: ipv4, ipv6", EXIT_DATA)


def list_network_interfaces(call: Call) -> Output:
    """Their names."""
    names = [name for _, name in socket.if_nameindex()]
    facts = {"interfaces": {name: {} for name in names}, "message": f"Node {call.node} reported network interfaces", "result": "ok"}
    return Output("\n".join(f"Interface {name}" for name in names), json=facts)


def tls_versions(call: Call) -> Output:
    """That can be configured."""
    import ssl

    known = (("tlsv1.3", ssl.HAS_TLSv1_3), ("tlsv1.2", ssl.HAS_TLSv1_2))
    versions = [name for name, there in known if there]
    return Output("\n".join(versions), json={"versions": versions})


def cipher_suites(call: Call) -> Output:
    """Of OpenSSL, by its names."""
    import ssl

    names = [cipher["name"] for cipher in ssl.create_default_context().get_ciphers()]
    return Output("\n".join(names), json=names)


def discover_peers(call: Call) -> Output:
    """There are none."""
    return Output("No peers discovered", json={"message": "No peers discovered"})


def metadata_store_status(call: Call) -> Output:
    """SQLite."""
    return Output(rows=[{"Metadata Store": "sqlite"}])


def _refuse(why: str) -> Any:
    def run(call: Call) -> Output:
        raise error(why)

    return run


_ERLANG: Final = "it is about the Erlang runtime, which Leveret doesn't run on"
REFUSALS: Final = {
    "consume_event_stream": "bind a queue to the exchange amq.rabbitmq.event (event_exchange = true) to get internal events",
    "decode": "values encrypted for RabbitMQ can't be read here: give Leveret plain ones, or files and variables for secrets",
    "encode": "Leveret reads no encrypted values: give secrets by variables, or in files that nobody else may read",
    "erlang_cookie_hash": "there is no Erlang cookie: whoever may open the control socket is trusted",
    "erlang_cookie_sources": "there is no Erlang cookie: whoever may open the control socket is trusted",
    "eval_file": "Leveret runs no Erlang",
    "exec": "Leveret runs no Elixir",
    "list_ciphers": "Leveret reads no encrypted values, so it has no ciphers for them",
    "list_hashes": "Leveret reads no encrypted values, so it has no hash functions for them",
    "maybe_stuck": _ERLANG,
    "observer": f"{_ERLANG}: `leveret top` shows what goes on in a broker",
    "remote_shell": _ERLANG,
    "reset_node_auth_attempt_metrics": "authentication attempts are counted since the start; restart the broker to begin anew",
    "resolver_info": f"{_ERLANG}: names are resolved by the system",
    "runtime_thread_stats": _ERLANG,
    "schema_info": "there is no Mnesia: what is declared lies in a SQLite catalog (`leveret definitions export` reads it)",
    "stream_status": "not_found",
    "set_stream_retention_policy": "not_found",
    "restart_stream": "not_found",
    "coordinator_status": "Leveret has no streams",
}
"""Commands that can't do what they do in RabbitMQ, and what to do instead."""
_TIMEOUT: Final = {"timeout": int}
COMMANDS: Final = {
    "resolve_hostname": Command(
        resolve_hostname,
        "resolve_hostname <hostname> [--address-family <ipv4 | ipv6>]",
        (1, 1),
        "Asking node {node} to resolve hostname {0} to {address_family} addresses...",
        options={"address_family": str, "offline": bool},
        short={"a": "address_family"},
        defaults={"address_family": "IPv4"},
        check=_check_family,
    ),
    "list_network_interfaces": Command(
        list_network_interfaces,
        "list_network_interfaces",
        banner="Asking node {node} to report its network interfaces ...",
        options={"timeout": int, "offline": bool},
    ),
    "tls_versions": Command(tls_versions, "tls_versions", banner="Listing all TLS versions supported by the runtime...", options=_TIMEOUT),
    "cipher_suites": Command(
        cipher_suites,
        "cipher_suites [--format <openssl | erlang | map>] [--all]",
        banner="Listing available cipher suites in OpenSSL format",
        options={"timeout": int, "format": str, "all": bool},
    ),
    "discover_peers": Command(discover_peers, "discover_peers", banner="Discovering peers nodes ..."),
    "metadata_store_status": Command(
        metadata_store_status,
        "metadata_store_status",
        banner="Status of metadata store on node {node} ...",
        formatter="pretty_table",
    ),
    **{name: Command(_refuse(why), name, (0, ANY), needs_broker=False) for name, why in REFUSALS.items()},
}
