"""The node: what came and went, what it takes and may take, its alarms, and where its memory is."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Final

from broker.admin.shapes.node import memory_parts
from broker.metrics.scrape import Group
from broker.metrics.text import COUNTER, GAUGE, NO_LABELS, UNTYPED, Family

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.metrics.scrape import Row, Scrape, Values

NET_TICKTIME_SECONDS: Final = 60
PROCESSES_MAX: Final = 1_048_576
"""What RabbitMQ has; nothing here is bound by them."""


def _churn(scrape: Scrape) -> Iterator[Row]:
    churn = scrape.broker.churn
    yield NO_LABELS, (
        churn.connection_created, churn.connection_closed, churn.channel_created, churn.channel_closed, churn.queue_declared,
        churn.queue_created, churn.queue_deleted,
    )  # fmt: skip


def _coarse(scrape: Scrape) -> Iterator[Row]:
    node, broker = scrape.node, scrape.broker
    collections = sum(generation["collections"] for generation in gc.get_stats())
    processes = broker.connections + broker.channels
    yield NO_LABELS, (
        node.files_open, node.sockets_used, node.memory_used_bytes, node.disk_free_bytes, processes, collections, 0, _context_switches(),
    )  # fmt: skip


def _context_switches() -> int:
    try:
        import resource
    except ImportError:  # Windows
        return 0
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_nvcsw + usage.ru_nivcsw


def _limits(scrape: Scrape) -> Iterator[Row]:
    node = scrape.node
    yield NO_LABELS, (
        node.files_max, node.sockets_max, node.memory_limit_bytes, node.disk_free_limit_bytes, PROCESSES_MAX, 0, NET_TICKTIME_SECONDS,
        node.uptime_ms / 1000,
    )  # fmt: skip


def _persister(scrape: Scrape) -> Iterator[Row]:
    yield NO_LABELS, (0,) * len(PERSISTER.families)


CHURN: Final = Group(
    "connection_churn_metrics",
    (
        Family("connections_opened_total", COUNTER, "Total number of connections opened"),
        Family("connections_closed_total", COUNTER, "Total number of connections closed or terminated"),
        Family("channels_opened_total", COUNTER, "Total number of channels opened"),
        Family("channels_closed_total", COUNTER, "Total number of channels closed"),
        Family("queues_declared_total", COUNTER, "Total number of queues declared"),
        Family("queues_created_total", COUNTER, "Total number of queues created"),
        Family("queues_deleted_total", COUNTER, "Total number of queues deleted"),
    ),
    _churn,
)
COARSE: Final = Group(
    "node_coarse_metrics",
    (
        Family("process_open_fds", GAUGE, "Open file descriptors"),
        Family("process_open_tcp_sockets", GAUGE, "Open TCP sockets"),
        Family("process_resident_memory_bytes", GAUGE, "Memory used in bytes"),
        Family("disk_space_available_bytes", GAUGE, "Disk space available in bytes"),
        Family("erlang_processes_used", GAUGE, "Connections and channels, for which RabbitMQ has Erlang processes"),
        Family("erlang_gc_runs_total", COUNTER, "Total number of Python's garbage collections"),
        Family("erlang_gc_reclaimed_bytes_total", COUNTER, "Not known here: 0"),
        Family("erlang_scheduler_context_switches_total", COUNTER, "Total number of context switches of the process"),
    ),
    _coarse,
)
LIMITS: Final = Group(
    "node_metrics",
    (
        Family("process_max_fds", GAUGE, "Open file descriptors limit"),
        Family("process_max_tcp_sockets", GAUGE, "Open TCP sockets limit"),
        Family("resident_memory_limit_bytes", GAUGE, "Memory high watermark in bytes"),
        Family("disk_space_available_limit_bytes", GAUGE, "Free disk space low watermark in bytes"),
        Family("erlang_processes_limit", GAUGE, "What RabbitMQ has here; there are no such processes"),
        Family("erlang_scheduler_run_queue", GAUGE, "Not known here: 0"),
        Family("erlang_net_ticktime_seconds", GAUGE, "Inter-node heartbeat interval; there are no other nodes"),
        Family("erlang_uptime_seconds", GAUGE, "Node uptime"),
    ),
    _limits,
)
PERSISTER: Final = Group(
    "node_persister_metrics",
    tuple(
        Family(name, COUNTER, f"Of RabbitMQ's stores, which have no counterpart here: 0 ({what})")
        for name, what in {
            "io_read_ops_total": "reads",
            "io_read_bytes_total": "bytes read",
            "io_write_ops_total": "writes",
            "io_write_bytes_total": "bytes written",
            "io_sync_ops_total": "syncs",
            "io_seek_ops_total": "seeks",
            "io_reopen_ops_total": "files opened again",
            "schema_db_ram_tx_total": "transactions in memory",
            "schema_db_disk_tx_total": "transactions on the disk",
            "msg_store_read_total": "messages read",
            "msg_store_write_total": "messages written",
            "queue_index_read_ops_total": "reads of queue indexes",
            "queue_index_write_ops_total": "writes of queue indexes",
            "io_read_time_seconds_total": "time spent reading",
            "io_write_time_seconds_total": "time spent writing",
            "io_sync_time_seconds_total": "time spent syncing",
            "io_seek_time_seconds_total": "time spent seeking",
        }.items()
    ),
    _persister,
)


def _alarms(scrape: Scrape) -> Iterator[Row]:
    alarms = scrape.node.alarms
    yield NO_LABELS, (0, int("disk" in alarms), int("memory" in alarms))


def _peers(scrape: Scrape) -> Iterator[Row]:
    yield NO_LABELS, (0,)


def _process(scrape: Scrape) -> Iterator[Row]:
    yield NO_LABELS, (scrape.node.started_ms // 1000,)


ALARMS: Final = Group(
    "alarms",
    (
        Family("alarms_file_descriptor_limit", UNTYPED, "is 1 if file descriptor limit alarm is in effect"),
        Family("alarms_free_disk_space_watermark", UNTYPED, "is 1 if free disk space watermark alarm is in effect"),
        Family("alarms_memory_used_watermark", UNTYPED, "is 1 if VM memory watermark alarm is in effect"),
    ),
    _alarms,
)
PEERS: Final = Group(
    "peers",
    (Family("unreachable_cluster_peers_count", GAUGE, "Number of peers in the cluster the current node cannot reach."),),
    _peers,
)
PROCESS: Final = Group(
    "process", (Family("process_start_time_seconds", GAUGE, "Start time of the process since unix epoch in seconds."),), _process
)

# --- memory ---------------------------------------------------------------------------------------------------------

_PARTS: Final = {
    "code_module": "code",
    "client_connection_reader": "connection_readers",
    "client_connection_writer": "connection_writers",
    "client_connection_channel": "connection_channels",
    "client_connection_other": "connection_other",
    "classic_queue_erlang_process": "queue_procs",
    "quorum_queue_erlang_process": "quorum_queue_procs",
    "quorum_queue_dlx_erlang_process": "quorum_queue_dlx_procs",
    "stream_erlang_process": "stream_queue_procs",
    "stream_replica_reader_erlang_process": "stream_queue_replica_reader_procs",
    "stream_coordinator_erlang_process": "stream_queue_coordinator_procs",
    "plugin": "plugins",
    "modern_metadata_store": "metadata_store",
    "other_erlang_process": "other_proc",
    "metrics": "metrics",
    "management_stats_db": "mgmt_db",
    "classic_metadata_store": "mnesia",
    "quorum_queue_ets_table": "quorum_ets",
    "modern_metadata_store_ets_table": "metadata_store_ets",
    "other_ets_table": "other_ets",
    "binary_heap": "binary",
    "message_index": "msg_index",
    "atom_table": "atom",
    "other_system": "other_system",
    "runtime_allocated_unused": "allocated_unused",
    "runtime_reserved_unallocated": "reserved_unallocated",
}
"""What RabbitMQ 4 calls the parts of its memory here, and what it calls them in the HTTP API."""


def _memory(scrape: Scrape) -> Iterator[Row]:
    parts = memory_parts(scrape.node)
    values: Values = [parts.get(part, 0) for part in _PARTS.values()]
    yield NO_LABELS, values


MEMORY: Final = Group(
    "node_memory",
    tuple(Family(f"memory_{name}_bytes", GAUGE, f"Memory footprint in bytes: {part}") for name, part in _PARTS.items()),
    _memory,
)
