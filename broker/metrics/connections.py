"""Connections: what went over their sockets, and how many channels they have. RabbitMQ calls the label `channel` here too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.metrics.scrape import Group
from broker.metrics.text import COUNTER, GAUGE, Family

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.core.session import Session
    from broker.metrics.scrape import Row, Scrape


def _label(session: Session) -> str:
    return f'{{channel="<0.{session.process}.0>"}} '


def _coarse(scrape: Scrape) -> Iterator[Row]:
    for session in scrape.sessions():
        yield _label(session), (session.received_bytes, session.sent_bytes, 0)


COARSE: Final = Group(
    "connection_coarse_metrics",
    (
        Family("connection_incoming_bytes_total", COUNTER, "Total number of bytes received on a connection"),
        Family("connection_outgoing_bytes_total", COUNTER, "Total number of bytes sent on a connection"),
        Family("connection_process_reductions_total", COUNTER, "Of Erlang's processes, which there are none of: 0"),
    ),
    _coarse,
    is_summed=True,
)


def _metrics(scrape: Scrape) -> Iterator[Row]:
    for session in scrape.sessions():
        yield _label(session), (session.received_reads, session.sent_writes, session.wire.output_bytes, len(session.channels))


METRICS: Final = Group(
    "connection_metrics",
    (
        Family("connection_incoming_packets_total", COUNTER, "Total number of packets received on a connection"),
        Family("connection_outgoing_packets_total", COUNTER, "Total number of packets sent on a connection"),
        Family("connection_pending_packets", GAUGE, "Bytes waiting to be sent on a connection, as RabbitMQ counts packets"),
        Family("connection_channels", GAUGE, "Channels on a connection"),
    ),
    _metrics,
    is_summed=True,
)
