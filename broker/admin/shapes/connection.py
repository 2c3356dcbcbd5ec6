"""Connections and channels as the API shows them. `pid` is Leveret's own: what log lines and rabbitmqctl call them by."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from broker.admin import figures
from broker.admin.schemas import counted
from broker.admin.shapes.table import json_of

if TYPE_CHECKING:
    from broker.admin.shapes.stats import Reader
    from broker.core.channel import Channel
    from broker.core.session import Session

PROTOCOL: Final = "AMQP 0-9-1"
GARBAGE: Final = {"fullsweep_after": 0, "max_heap_size": 0, "min_bin_vheap_size": 0, "min_heap_size": 0, "minor_gcs": 0}
"""What Erlang says of each of its processes; readers expect the fields."""

_DETAILS: Final = {"name peer_host pid": "string", "peer_port": "integer"}
_CHANNEL: Final = {
    "name vhost user node pid state user_who_performed_action": "string",
    "number": "integer",
    "acks_uncommitted messages_unacknowledged messages_uncommitted messages_unconfirmed pending_raft_commands": "integer",
    "consumer_count prefetch_count global_prefetch_count": "integer",
    "confirm transactional": "boolean",
    "connection_details": "ConnectionDetails",
    "garbage_collection": "{integer}",
    **counted("reductions"),
    "idle_since": "string",
    "message_stats": "MessageStats",
}
SCHEMAS: Final = {
    "Connection": {
        "name vhost user node pid auth_mechanism host peer_host protocol type user_who_performed_action": "string",
        "channel_max channels connected_at frame_max peer_port port send_pend timeout recv_cnt send_cnt": "integer",
        "client_properties": "object",
        "garbage_collection": "{integer}",
        "peer_cert_issuer peer_cert_subject peer_cert_validity ssl_cipher ssl_hash ssl_key_exchange ssl_protocol": "string|null",
        "user_provided_name": "string|null",
        "ssl": "boolean",
        "state": "'running'|'blocked'",
        **counted("reductions recv_oct send_oct"),
    },
    "ConnectionDetails": _DETAILS,
    "Channel": _CHANNEL,
    "ChannelInDetail": _CHANNEL | {"consumer_details": "[Consumer]", "deliveries publishes": "array"},
    "ChannelDetails": _DETAILS | {"connection_name node user": "string", "number": "integer"},
}


def channel_name(channel: Channel) -> str:
    """RabbitMQ's: the connection's, with the number."""
    return f"{channel.session.peer.name} ({channel.number})"


def endpoints(name: str) -> tuple[str, int, str, int]:
    """Our host and port and the peer's, out of the connection's name."""
    peer, _, ours = name.partition(" -> ")
    return *_endpoint(ours), *_endpoint(peer)


def _endpoint(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port) if port.isdecimal() else 0


@lru_cache(maxsize=1024)
def time_text(ms: int) -> str:
    """A moment as RabbitMQ prints it: 2026-11-28T02:23:03.036+00:00."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")


def basics_of_connection(session: Session) -> dict[str, Any]:
    """What lists are sorted and cut by."""
    return {"name": session.peer.name, "vhost": session.vhost.name, "user": session.identity.name, "node": session.broker.node}


def of_connection(session: Session, reader: Reader, unset: str | None = None) -> dict[str, Any]:
    """GET /api/connections/{name}; `unset` stands for what a connection doesn't have."""
    peer, tuning, user = session.peer, session.wire.tuning, session.identity.name
    host, port, peer_host, peer_port = endpoints(peer.name)
    facts: dict[str, Any] = {
        **basics_of_connection(session),
        "auth_mechanism": session.mechanism,
        "channel_max": tuning.channel_max,
        "channels": len(session.channels),
        "client_properties": json_of(session.client_properties),
        "connected_at": session.connected_at_ms,
        "frame_max": tuning.frame_max,
        "garbage_collection": GARBAGE,
        "host": host,
        "peer_cert_issuer": unset,
        "peer_cert_subject": unset if peer.certificate_name is None else peer.certificate_name,
        "peer_cert_validity": unset,
        "peer_host": peer_host,
        "peer_port": peer_port,
        "pid": session.broker.process_text(session.process),
        "port": port,
        "protocol": PROTOCOL,
        **reader.of_nothing(("reductions",), "data_rates"),
        "send_pend": session.wire.output_bytes,
        "ssl": peer.is_tls,
        "ssl_cipher": peer.tls_cipher or unset,
        "ssl_hash": unset,
        "ssl_key_exchange": unset,
        "ssl_protocol": peer.tls_version or unset,
        "state": "blocked" if session.blocked else "running",
        "timeout": tuning.heartbeat,
        "type": "network",
        "user_provided_name": session.own_name or unset,
        "user_who_performed_action": user,
    }
    if reader.is_disabled:
        return facts
    stats = reader.of("connection", figures.CONNECTION, session)
    return facts | stats.with_details(figures.SOCKET[:2], "data_rates") | {name: stats[name] for name in figures.SOCKET[2:]}


def details_of_connection(session: Session) -> dict[str, Any]:
    """What channels say of their connection, and exclusive queues of their owner."""
    _, _, peer_host, peer_port = endpoints(session.peer.name)
    pid = session.broker.process_text(session.process)
    return {"name": session.peer.name, "peer_host": peer_host, "peer_port": peer_port, "pid": pid}


def details_of_channel(channel: Channel) -> dict[str, Any]:
    """What consumers say of their channel."""
    session = channel.session
    _, _, peer_host, peer_port = endpoints(session.peer.name)
    return {
        "connection_name": session.peer.name,
        "name": channel_name(channel),
        "node": session.broker.node,
        "number": channel.number,
        "peer_host": peer_host,
        "peer_port": peer_port,
        "pid": session.broker.process_text(channel.process),
        "user": session.identity.name,
    }


def basics_of_channel(channel: Channel) -> dict[str, Any]:
    """What lists are sorted and cut by."""
    session = channel.session
    return {
        "name": channel_name(channel),
        "vhost": session.vhost.name,
        "user": session.identity.name,
        "number": channel.number,
        "node": session.broker.node,
    }


def of_channel(channel: Channel, reader: Reader) -> dict[str, Any]:
    """GET /api/channels/{name}, without its consumers."""
    session, transaction, confirms = channel.session, channel.transaction, channel.confirms
    facts: dict[str, Any] = {
        **basics_of_channel(channel),
        "acks_uncommitted": 0 if transaction is None else sum(1 for _ in transaction.leases()),
        "confirm": confirms is not None,
        "connection_details": details_of_connection(session),
        "consumer_count": len(channel.consumers) + (channel.reply_consumer is not None),
        "garbage_collection": GARBAGE,
        "global_prefetch_count": channel.prefetch_shared,
        "messages_unacknowledged": len(channel.unacked),
        "messages_uncommitted": 0 if transaction is None else len(transaction.publishes),
        "messages_unconfirmed": 0 if confirms is None else confirms.unconfirmed,
        "pending_raft_commands": 0,
        "pid": session.broker.process_text(channel.process),
        "prefetch_count": channel.prefetch,
        **reader.of_nothing(("reductions",), "data_rates"),
        "state": "running",
        "transactional": transaction is not None,
        "user_who_performed_action": session.identity.name,
    }
    if reader.is_disabled:
        return facts
    stats = reader.of("channel", figures.CHANNEL, channel)
    if stats.idle_since_ms is not None:
        facts["idle_since"] = time_text(stats.idle_since_ms)
    if message_stats := stats.messages(figures.CHANNEL):
        facts["message_stats"] = message_stats
    return facts
