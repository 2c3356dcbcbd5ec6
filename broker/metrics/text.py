"""Prometheus's text format (https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format), in the order of RabbitMQ's:

    # TYPE rabbitmq_queue_messages gauge
    # HELP rabbitmq_queue_messages Sum of ready and unacknowledged messages - total queue depth
    rabbitmq_queue_messages{vhost="/",queue="orders"} 7

Ten thousand queues have a third of a million such lines, so the text is put together by the column: the labels of all objects are made
once, and a column that has one value for all of them (most have: 0) is one join.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

Value = int | float

CONTENT_TYPE: Final = "text/plain; version=0.0.4"
COUNTER: Final = "counter"
GAUGE: Final = "gauge"
UNTYPED: Final = "untyped"
HISTOGRAM: Final = "histogram"
SUMMARY: Final = "summary"
NO_LABELS: Final = " "
_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


class Family(NamedTuple):
    """A metric: its name without the prefix, its type, and what it is. `is_summed`: the sum over all objects means something."""

    name: str
    kind: str
    help: str
    is_summed: bool = True

    def head(self, prefix: str) -> str:
        """The two lines before the samples."""
        name = prefix + self.name
        return f"# TYPE {name} {self.kind}\n# HELP {name} {self.help}\n"


def escaped(text: str) -> str:
    """A label's value. Names may be any octets (surrogates stand for what is no UTF-8), and the format is UTF-8: these become U+FFFD."""
    if not text.isascii():
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if '"' in text or "\\" in text or "\n" in text:
        text = text.translate(_ESCAPES)
    return text


def labels(**values: str) -> str:
    """What stands between a name and a value: `{vhost="/",queue="orders"} `."""
    return "{" + ",".join([f'{name}="{escaped(value)}"' for name, value in values.items()]) + "} "


def samples(name: str, labelled: Sequence[str], values: Sequence[Value | None]) -> str:
    """A line for each value; None is none. There is at least one value."""
    first = values[0]
    if values.count(first) == len(values):
        return "" if first is None else name + f"{first}\n{name}".join(labelled) + f"{first}\n"
    return "".join([f"{name}{label}{value}\n" for label, value in zip(labelled, values, strict=True) if value is not None])
