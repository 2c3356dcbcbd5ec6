"""What scrapes themselves take: how long they last and how long their answers are, for each endpoint."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from broker.metrics.text import CONTENT_TYPE, SUMMARY, Family, labels

_DURATION: Final = Family("telemetry_scrape_duration_seconds", SUMMARY, "Scrape duration")
_SIZE: Final = Family("telemetry_scrape_size_bytes", SUMMARY, "Scrape size, not encoded")
_ENCODED: Final = Family("telemetry_scrape_encoded_size_bytes", SUMMARY, "Scrape size, encoded")
DEFAULT: Final = "default"
"""What RabbitMQ calls the endpoint without a name."""


class Summary:
    """How many there were, and their sum."""

    def __init__(self) -> None:
        self.count = 0
        self.sum = 0.0

    def add(self, value: float) -> None:
        """One more."""
        self.count += 1
        self.sum += value


class Telemetry:
    """The scrapes that have been answered; a scrape tells of those before it."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, Summary] = defaultdict(Summary)
        self._sizes: defaultdict[str, Summary] = defaultdict(Summary)
        self._encoded: defaultdict[tuple[str, str], Summary] = defaultdict(Summary)

    def add(self, endpoint: str, encoding: str, seconds: float, size: int, encoded_size: int) -> None:
        """A scrape was answered: sizes in bytes."""
        self._seconds[endpoint].add(seconds)
        self._sizes[endpoint].add(size)
        self._encoded[endpoint, encoding].add(encoded_size)

    def text(self, endpoint: str) -> str:
        """The end of an answer. What was sent in the end is told by the endpoint without a name, for all of them."""
        text = _DURATION.head("") + _samples(_DURATION, labels(registry=endpoint, content_type=CONTENT_TYPE), self._seconds.get(endpoint))
        text += _SIZE.head("") + _samples(_SIZE, labels(registry=endpoint, content_type=CONTENT_TYPE), self._sizes.get(endpoint))
        text += _ENCODED.head("")
        if endpoint != DEFAULT:
            return text
        return text + "".join(
            _samples(_ENCODED, labels(registry=name, content_type=CONTENT_TYPE, encoding=encoding), summary)
            for (name, encoding), summary in self._encoded.items()
        )


def _samples(family: Family, label: str, summary: Summary | None) -> str:
    if summary is None:
        return ""
    total = int(summary.sum) if summary.sum.is_integer() else summary.sum
    return f"{family.name}_count{label}{summary.count}\n{family.name}_sum{label}{total}\n"
