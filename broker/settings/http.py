"""The rows of the HTTP API and of the metrics."""

from __future__ import annotations

from typing import Final

from broker.settings.setting import Setting, boolean, integer, size, text

_NOWHERE: Final = {"none": None}


def _port(name: str, attribute: str, doc: str, example: str) -> Setting:
    return integer(name, attribute, None, "port", 0, 65535, doc, words=_NOWHERE, example=example)


ROWS: Final = (
    _port(
        "management.tcp.port",
        "management.port",
        "Where the HTTP API is served; 0 takes a free port, `none` serves nothing there. Not given: 15672, if that is free.",
        "management.tcp.port = 15672",
    ),
    text(
        "management.tcp.ip",
        "management.ip",
        None,
        "an address",
        "On which address. Not given: on those of the AMQP listeners.",
        "management.tcp.ip = 127.0.0.1",
    ),
    _port(
        "management.listener.port",
        "management.port",
        "The same as management.tcp.port, by its old name.",
        "management.listener.port = 15672",
    ),
    text(
        "management.listener.ip",
        "management.ip",
        None,
        "an address",
        "The same as management.tcp.ip, by its old name.",
        "management.listener.ip = 127.0.0.1",
    ),
    text(
        "management.path_prefix",
        "management.path_prefix",
        None,
        "a path",
        "What stands before /api in all paths, for a proxy that serves several things.",
        "management.path_prefix = /leveret",
    ),
    size(
        "management.http.max_body_size",
        "management.max_body_size_bytes",
        "10000000",
        1,
        2**31,
        "The longest body of a request that is read.",
    ),
    boolean(
        "management.disable_stats",
        "management.disable_stats",
        "false",
        "Leave figures of messages, and rates, out of all answers.",
    ),
    boolean(
        "management.enable_queue_totals",
        "management.enable_queue_totals",
        "false",
        "With disable_stats: still tell how many messages each queue has.",
    ),
    _port(
        "prometheus.tcp.port",
        "prometheus.port",
        "Where the metrics are served; 0 takes a free port, `none` serves nothing there. Not given: 15692, if that is free.",
        "prometheus.tcp.port = 15692",
    ),
    text(
        "prometheus.tcp.ip",
        "prometheus.ip",
        None,
        "an address",
        "On which address. Not given: on those of the AMQP listeners.",
        "prometheus.tcp.ip = 127.0.0.1",
    ),
    text("prometheus.path", "prometheus.path", "/metrics", "a path", "The path of the metrics."),
    boolean(
        "prometheus.return_per_object_metrics",
        "prometheus.return_per_object_metrics",
        "false",
        "Metrics of each queue, channel and connection at that path, and not the sums alone.",
    ),
)
