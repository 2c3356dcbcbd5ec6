"""Where Leveret must or may answer otherwise than RabbitMQ 3.10.8, and why.

A row names steps (a pattern for `scenario: step`), a path in the answer (as in rules.py: `body.items[].name`), and what is expected there
instead: a shape, OPTIONAL for a key that may be absent, or a function of the recorded shape. Rows are applied in their order.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tests.admin.rules import pattern_of
from tests.admin.shapes import AT_LEAST, ONE_OF, UNORDERED, is_special

Change = Callable[[Any], Any]


class Row(NamedTuple):
    steps: str
    path: str
    expected: Any
    why: str


class Optional:
    """The key may be absent; if it is there, it is as recorded, or as `shape` says."""

    def __init__(self, shape: Any = None) -> None:
        self.shape = shape


OPTIONAL = Optional()


def or_like(*shapes: Any) -> Change:
    """As recorded, or like one of these."""
    return lambda recorded: {ONE_OF: [recorded, *shapes]}


def at_least(recorded: Any) -> Any:
    """Leveret has these and more."""
    return {AT_LEAST: recorded[UNORDERED]} if isinstance(recorded, dict) and UNORDERED in recorded else recorded


def without_clustering(recorded: Any) -> Any:
    """The listener between the nodes of a cluster is Erlang's."""
    items = recorded[UNORDERED] if isinstance(recorded, dict) else recorded
    kept = [item for item in items if item != "clustering" and not (isinstance(item, dict) and item.get("protocol") == "clustering")]
    return {AT_LEAST: kept}


VERSION = "3.13.7"
ERLANG = "it has no meaning without Erlang"
ROWS: tuple[Row, ...] = (
    Row("*", "body.**(management_version|rabbitmq_version|product_version|rabbit_version)", VERSION, "the RabbitMQ that Leveret is like"),
    Row("*", "body.product_name", "Leveret", "whose broker it is"),
    Row("*", "body.**exchange_types", at_least, "all types are built in"),
    Row("*", "body.**exchange_types.**description", "<string>", "texts for people"),
    Row("*", "body.**auth_mechanisms", at_least, "which there are differs"),
    Row("*", "body.listeners", without_clustering, "no Erlang distribution; metrics are always on"),
    Row("*", "body.listeners.**(socket_opts|ip_address)", "<any>", "Erlang's options of sockets; the default is both families"),
    Row("*", "body.**contexts", at_least, "metrics are always on"),
    Row("*", "body.**contexts[].*", lambda shape: "<string>" if shape != "{http}" else shape, "texts of Erlang's"),
    Row(
        "*",
        "body.**(backing_queue_status|pending_raft_commands|ra_open_file_metrics|metrics_gc_queue_length|cluster_links)",
        OPTIONAL,
        ERLANG,
    ),
    Row(
        "*",
        "body.**reason",
        lambda shape: {ONE_OF: [shape, "<string>"]} if isinstance(shape, list) else shape,
        "an Erlang term; a text says more",
    ),
)
CRASH = {
    "status": {ONE_OF: [400, 401, 404, 405]},
    "headers": {"content-type": "application/json"},
    "body": {"error": "<string>", "reason": "<string|list>"},
}
"""Where RabbitMQ answers 500 without a word, Leveret says what is wrong with the request."""


def expected_of(scenario: str, step: dict[str, Any]) -> dict[str, Any]:
    """What Leveret has to answer, made of what was recorded."""
    if step["status"] == 500:
        step = step | CRASH
    label = f"{scenario}: {step['step']}"
    for row in ROWS:
        if steps_of(row).fullmatch(label):
            step = _changed(step, row, "")
    return step


def steps_of(row: Row) -> "re.Pattern[str]":
    return re.compile(re.escape(row.steps).replace(r"\*", ".*").replace(r"\|", "|").replace(r"\{", "{").replace(r"\}", "}"))


def _changed(shape: Any, row: Row, path: str) -> Any:
    if isinstance(shape, list):
        return [_at(item, row, f"{path}[]") for item in shape]
    if not isinstance(shape, dict):
        return shape
    if is_special(shape) or ONE_OF in shape:
        return {key: _inside(value, row, path) for key, value in shape.items()}
    changed: dict[str, Any] = {}
    for name, value in shape.items():
        key = name.removesuffix("?")
        where = f"{path}.{key}" if path else key
        if isinstance(row.expected, Optional) and pattern_of(row.path).fullmatch(where):
            changed[f"{key}?"] = value if row.expected.shape is None else row.expected.shape
        else:
            changed[name] = _at(value, row, where)
    return changed


def _inside(value: Any, row: Row, path: str) -> Any:
    """What lies in <each> and its like has the path of an item."""
    return [_at(item, row, f"{path}[]") for item in value] if isinstance(value, list) else _at(value, row, f"{path}[]")


def _at(value: Any, row: Row, path: str) -> Any:
    if not isinstance(row.expected, Optional) and pattern_of(row.path).fullmatch(path):
        return row.expected(value) if callable(row.expected) else row.expected
    return _changed(value, row, path)


def matches(row: Row, scenario: str, step: dict[str, Any]) -> bool:
    """Whether the row says something about this step."""
    return bool(steps_of(row).fullmatch(f"{scenario}: {step['step']}")) and any(
        pattern_of(row.path).fullmatch(path) for path in _paths(step, "")
    )


def _paths(shape: Any, path: str) -> Iterator[str]:
    yield path
    if isinstance(shape, list):
        for item in shape:
            yield from _paths(item, f"{path}[]")
    elif isinstance(shape, dict):
        special = is_special(shape)
        for key, value in shape.items():
            inner = path if special else f"{path}.{key.removesuffix('?')}" if path else key.removesuffix("?")
            if special and not isinstance(value, list):
                inner = f"{path}[]"
            yield from _paths(value, inner)
