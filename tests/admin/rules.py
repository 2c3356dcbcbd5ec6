"""What in RabbitMQ's answers is no fact of the interface: figures of this machine and this moment, and what only Erlang has.

Patterns are paths as in `items[].message_stats.publish`; `*` stands for what is between two dots, `**` for anything. The first rule that
fits counts.
"""

import re
from collections.abc import Callable
from functools import cache
from typing import Any

from tests.admin.shapes import UNORDERED, canonical, each, is_special, placeholder

Rule = Callable[[Any], Any]


def volatile(value: Any) -> Any:
    """Only the types of what is in it."""
    if isinstance(value, dict) and not is_special(value):
        return {key: volatile(item) for key, item in value.items()}
    if isinstance(value, list):
        return each([volatile(item) for item in value])
    return placeholder(value)


def any_length(value: Any) -> Any:
    """A list of whatever length; its items are alike, but for what other rules leave of them."""
    return each(value) if isinstance(value, list) else value


def no_number(value: Any) -> Any:
    """Ports that have no name."""
    return "<int>" if type(value) is int else value


def unordered(value: Any) -> Any:
    return {UNORDERED: sorted(value, key=canonical)} if isinstance(value, list) else value


def number(value: Any) -> Any:
    """Erlang writes 0 where other languages write 0.0, and clients take both."""
    return value if value is None else "<float|int>"


RULES: tuple[tuple[str, Rule], ...] = (
    # Moments, and what comes with them.
    ("**_details", volatile),
    ("**(idle_since|connected_at|uptime|os_pid|connection_closed_at|user_who_performed_at)", volatile),
    ("**(memory|reductions|garbage_collection|backing_queue_status|statistics_db_event_queue)", volatile),
    ("**(recv_oct|recv_cnt|send_oct|send_cnt|send_pend)", volatile),
    ("**(consumer_utilisation|consumer_capacity)", number),
    # A node's figures.
    ("**(churn_rates|metrics_gc_queue_length|ra_open_file_metrics)", volatile),
    ("**(mem_used|mem_limit|disk_free|disk_free_limit|fd_used|fd_total|sockets_used|sockets_total|proc_used|proc_total)", volatile),
    ("**(processors|run_queue|context_switches|gc_num|gc_bytes_reclaimed|db_dir|log_files|config_files)", volatile),
    ("**(io|mnesia|msg_store|queue_index|connection|channel|queue)_*(count|bytes|avg_time|created|closed|declared|deleted)", volatile),
    ("**(erlang_version|erlang_full_version|crypto_lib_version)", volatile),
    ("(**applications|cluster_links)", any_length),
    ("**applications[].*", volatile),
    # Sets that are written as lists.
    ("**(listeners[].port|ports[])", no_number),
    ("**(exchange_types|auth_mechanisms|enabled_plugins|listeners|contexts|ports|protocols)", unordered),
    ("users|vhosts|permissions|topic_permissions|parameters|global_parameters|policies|queues|exchanges|bindings", unordered),
)


def shape(label: str, body: Any) -> Any:
    """The shape of one answer of RabbitMQ's; two are then merged."""
    if ": GET /auth/attempts" in label:
        return volatile(body)
    shaped = _shape(body, "")
    if "GET /consumers" in label:
        return unordered(shaped)
    if (": GET /overview" in label or "(quiet)" in label) and isinstance(shaped, dict):
        return shaped | dict.fromkeys(shaped.keys() & {"message_stats", "queue_totals", "churn_rates"}, "<object>")
    totals = ("GET /overview", "GET /vhosts", ": GET /exchanges")
    return _totals(shaped) if any(part in label for part in totals) else shaped


def _totals(body: Any) -> Any:
    """What happened before the scenario counts too."""
    if isinstance(body, list):
        return [_totals(item) for item in body]
    if isinstance(body, dict) and "message_stats" in body:
        stats = volatile(body["message_stats"])
        if "object_totals" in body or "queue_totals" in body:
            return body | {"message_stats": stats}
        return {key: value for key, value in body.items() if key != "message_stats"} | {"message_stats?": stats}
    return body


def _shape(value: Any, path: str) -> Any:
    rule = rule_for(path)
    if rule in (volatile, number):
        return rule(value)
    if isinstance(value, str) and "{'EXIT'" in value:
        return "<string>"  # what is left of a crashed process, indented by the length of the node's name
    if isinstance(value, dict):
        value = {key: _shape(item, f"{path}.{key}" if path else key) for key, item in value.items()}
    elif isinstance(value, list):
        value = [_shape(item, f"{path}[]") for item in value]
    return rule(value) if rule is not None else value


@cache
def rule_for(path: str) -> Rule | None:
    return next((rule for pattern, rule in RULES if pattern_of(pattern).fullmatch(path)), None)


@cache
def pattern_of(pattern: str) -> "re.Pattern[str]":
    parts = {"**": ".*", "*": "[^.]*", "|": "|", "(": "(?:", ")": ")"}
    return re.compile("".join(parts.get(part, re.escape(part)) for part in re.split(r"(\*\*|\*|\||\(|\))", pattern)))
