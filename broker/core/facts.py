"""The facts of internal events, as RabbitMQ's headers have them, and in their order.

Only what RabbitMQ says that is of Erlang alone is left out (docs/architecture.md, "Logs and events").
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from protocol.erlang import terms

if TYPE_CHECKING:
    from broker.core.channel import Channel
    from broker.core.consumers import Consumer
    from broker.core.exchange import Destination, Exchange
    from broker.core.internal_events import Facts
    from broker.core.policy import Policy
    from broker.core.queue import Queue
    from broker.core.session import Session
    from broker.core.vhost import VHost
    from protocol.tables import Table

PERFORMED_BY = "user_who_performed_action"
PROTOCOL = "{0,9,1}"
QUEUE_MODULES = {"classic": "rabbit_classic_queue", "quorum": "rabbit_quorum_queue"}


def of_connection(session: Session) -> Facts:
    """connection.created"""
    host, port, peer_host, peer_port = _endpoints(session)
    tuning = session.wire.tuning
    return {
        PERFORMED_BY: session.identity.name,
        "node": session.broker.node,
        "connected_at": session.connected_at_ms,
        "client_properties": terms(session.client_properties),
        "channel_max": tuning.channel_max,
        "frame_max": tuning.frame_max,
        "timeout": tuning.heartbeat,
        "vhost": session.vhost.name,
        "user": session.identity.name,
        "protocol": PROTOCOL,
        "ssl_hash": "",
        "ssl_cipher": "",
        "ssl_key_exchange": "",
        "ssl_protocol": "",
        "auth_mechanism": session.mechanism,
        "peer_cert_validity": "",
        "peer_cert_issuer": "",
        "peer_cert_subject": "",
        "ssl": session.peer.is_tls,
        "peer_host": peer_host,
        "host": host,
        "peer_port": peer_port,
        "port": port,
        "name": session.peer.name,
        "pid": session.broker.process_text(session.process),
        "type": "network",
    } | _own_name(session)


def of_closed_connection(session: Session) -> Facts:
    """connection.closed"""
    return {
        "client_properties": terms(session.client_properties),
        "node": session.broker.node,
        "pid": session.broker.process_text(session.process),
        "name": session.peer.name,
    } | _own_name(session)


def of_login(session: Session, user: str | None, error: str | None = None) -> Facts:
    """user.authentication.success, and with the `error` user.authentication.failure."""
    host, _, peer_host, peer_port = _endpoints(session)
    failure = {} if error is None else {"error": error}
    return failure | {
        "ssl": session.peer.is_tls,
        "auth_mechanism": session.mechanism,
        "protocol": PROTOCOL,
        "peer_port": peer_port,
        "peer_host": peer_host,
        "connection_name": session.peer.name,
        "host": host,
    } | ({} if user is None else {"name": user}) | {"connection_type": "network"}  # fmt: skip


def of_channel(channel: Channel) -> Facts:
    """channel.created"""
    session = channel.session
    return {
        PERFORMED_BY: session.identity.name,
        "vhost": session.vhost.name,
        "user": session.identity.name,
        "number": channel.number,
        "connection": session.broker.process_text(session.process),
        "name": f"{session.peer.name} ({channel.number})",
        "pid": session.broker.process_text(channel.process),
    }


def of_closed_channel(channel: Channel) -> Facts:
    """channel.closed"""
    session = channel.session
    return {PERFORMED_BY: session.identity.name, "pid": session.broker.process_text(channel.process)}


def of_consumer(consumer: Consumer) -> Facts:
    """consumer.created"""
    broker = consumer.channel.session.broker
    return {
        PERFORMED_BY: broker.acting_user,
        "arguments": terms(consumer.arguments),
        "prefetch_count": consumer.prefetch,
        **_of_consumer(consumer),
        "ack_required": not consumer.no_ack,
        "exclusive": consumer.exclusive,
        "consumer_tag": consumer.tag,
    }


def of_deleted_consumer(consumer: Consumer) -> Facts:
    """consumer.deleted"""
    broker = consumer.channel.session.broker
    return {PERFORMED_BY: broker.acting_user, **_of_consumer(consumer), "consumer_tag": consumer.tag}


def _of_consumer(consumer: Consumer) -> Facts:
    queue, channel = consumer.queue, consumer.channel
    return {"queue": queue.name, "vhost": queue.vhost.name, "channel": channel.session.broker.process_text(channel.process)}


def of_queue(queue: Queue) -> Facts:
    """queue.created"""
    broker, owner = queue.vhost.broker, queue.owner
    return {
        PERFORMED_BY: broker.acting_user,
        "exclusive": owner is not None,
        "owner_pid": "" if owner is None else broker.process_text(owner.process),
        "arguments": terms(queue.arguments.table),
        "auto_delete": queue.auto_delete,
        "durable": queue.durable,
        "name": queue.name,
        "vhost": queue.vhost.name,
    }


def of_exchange(vhost: VHost, exchange: Exchange) -> Facts:
    """exchange.created"""
    return {
        PERFORMED_BY: vhost.broker.acting_user,
        "policy": "" if exchange.policy is None else exchange.policy.name,
        "arguments": terms(exchange.arguments),
        "internal": exchange.internal,
        "auto_delete": exchange.auto_delete,
        "durable": exchange.durable,
        "type": exchange.type,
        "name": exchange.name,
        "vhost": vhost.name,
    }


def of_deleted(vhost: VHost, name: str) -> Facts:
    """queue.deleted and exchange.deleted; policy.cleared likewise"""
    return {PERFORMED_BY: vhost.broker.acting_user, "name": name, "vhost": vhost.name}


def of_binding(vhost: VHost, exchange: Exchange, destination: Destination, routing_key: str, arguments: Table) -> Facts:
    """binding.created and binding.deleted"""
    return {
        PERFORMED_BY: vhost.broker.acting_user,
        "vhost": vhost.name,
        "arguments": terms(arguments),
        "routing_key": routing_key,
        "destination_kind": "queue" if destination.is_queue else "exchange",
        "destination_name": destination.name,
        "source_kind": "exchange",
        "source_name": exchange.name,
    }


def of_policy(vhost: VHost, policy: Policy) -> Facts:
    """policy.set, of operator policies too"""
    return {**_definition(policy), PERFORMED_BY: vhost.broker.acting_user, "vhost": vhost.name, "name": policy.name}


def of_queue_policy(queue: Queue, policy: Policy | None) -> Facts:
    """queue.policy.updated, and without a policy queue.policy.cleared"""
    facts: Facts = {} if policy is None else _definition(policy)
    return facts | {
        PERFORMED_BY: queue.vhost.broker.acting_user,
        "type": QUEUE_MODULES.get(queue.type, queue.type),
        "vhost": queue.vhost.name,
        "name": queue.name,
    }


def _definition(policy: Policy) -> Facts:
    return {"apply-to": policy.apply_to, "priority": policy.priority, "definition": dict(policy.definition), "pattern": policy.pattern}


def of_operator_policy_parameter(vhost: VHost, policy: Policy) -> Facts:
    """parameter.set, for operator policies are parameters in RabbitMQ"""
    return {
        PERFORMED_BY: vhost.broker.acting_user,
        "value": _definition(policy),
        "name": policy.name,
        "component": "operator_policy",
        "vhost": vhost.name,
    }


def of_parameter(vhost: VHost, component: str, name: str, **value: Any) -> Facts:
    """parameter.set with the `value`, parameter.cleared without"""
    return {PERFORMED_BY: vhost.broker.acting_user, **value, "name": name, "component": component, "vhost": vhost.name}


def of_vhost(vhost: VHost) -> Facts:
    """vhost.created"""
    broker, metadata = vhost.broker, vhost.metadata
    return {
        "tags": ",".join(metadata.get("tags", ())),
        "description": metadata.get("description", ""),
        PERFORMED_BY: broker.acting_user,
        "cluster_state": {broker.node: "running"},
        "tracing": vhost.tracer is not None,
        "default_queue_type": metadata.get("default_queue_type", "undefined"),
        "name": vhost.name,
    }


def _own_name(session: Session) -> Facts:
    return {"user_provided_name": session.own_name} if session.own_name else {}


def _endpoints(session: Session) -> tuple[str, int, str, int]:
    """Host and port of our side and of the peer's, the hosts as RabbitMQ prints them, out of `a -> b`."""
    peer, _, ours = session.peer.name.partition(" -> ")
    return *_endpoint(ours), *_endpoint(peer)


def _endpoint(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    try:
        address = ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return host or text, 0
    packed, step = address.packed, 1 if address.version == 4 else 2
    parts = [str(int.from_bytes(packed[at : at + step])) for at in range(0, len(packed), step)]
    return f"{{{','.join(parts)}}}", int(port)
