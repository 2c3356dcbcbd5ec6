"""Logins: how many were tried, by protocol. A protocol that nobody tried has no samples, as in RabbitMQ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.metrics.scrape import Group
from broker.metrics.text import COUNTER, Family, labels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.metrics.scrape import Row, Scrape


def _attempts(scrape: Scrape) -> Iterator[Row]:
    for protocol, count in scrape.context.authentication.attempts.by_protocol.items():
        yield labels(protocol=protocol), (count.total, count.succeeded, count.failed)


ATTEMPTS: Final = Group(
    "auth_attempt_metrics",
    (
        Family("auth_attempts_total", COUNTER, "Total number of authentication attempts"),
        Family("auth_attempts_succeeded_total", COUNTER, "Total number of successful authentication attempts"),
        Family("auth_attempts_failed_total", COUNTER, "Total number of failed authentication attempts"),
    ),
    _attempts,
)


def _sources(scrape: Scrape) -> Iterator[Row]:
    return iter(())


SOURCES: Final = Group(
    "auth_attempt_detailed_metrics",
    (
        Family("auth_attempts_detailed_total", COUNTER, "Total number of authentication attempts with source info"),
        Family("auth_attempts_detailed_succeeded_total", COUNTER, "Total number of successful authentication attempts with source info"),
        Family("auth_attempts_detailed_failed_total", COUNTER, "Total number of failed authentication attempts with source info"),
    ),
    _sources,
)
