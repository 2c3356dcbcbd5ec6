"""What RabbitMQ-Overview, the official Grafana dashboard (10991), asks Prometheus: its queries of RabbitMQ 3.13 and of 4.x.

`@` stands for the join that every query has: with rabbitmq_identity_info, chosen by cluster, namespace and, in 4.x, endpoint.
"""

CLUSTER_JOIN = "* on(instance, job) group_left(rabbitmq_cluster, rabbitmq_node) rabbitmq_identity_info"


def total(name: str) -> str:
    return f"sum({name} @)"


def by_node(name: str) -> str:
    return f"sum({name} @) by(rabbitmq_node)"


def rate(name: str) -> str:
    """Per second, of a counter."""
    return f"sum(rate(rabbitmq_{name}_total[60s]) @) by(rabbitmq_node)"


def two_rates(first: str, sign: str, second: str) -> str:
    left, right = (f"rate(rabbitmq_global_messages_{name}_total[60s]) @" for name in (first, second))
    return f"sum(({left}) {sign} ({right})) by(rabbitmq_node)"


def share(lower: str | None, upper: str) -> str:
    """How many of the messages are of a size between two bounds."""
    above = f'sum(increase(rabbitmq_message_size_bytes_bucket{{le="{upper}"}}[60s]) @)'
    below = "" if lower is None else f' - sum(increase(rabbitmq_message_size_bytes_bucket{{le="{lower}"}}[60s]) @)'
    return f'({above}{below}) / sum(increase(rabbitmq_message_size_bytes_bucket{{le="+Inf"}}[60s]) @)'


DELIVERED = ("delivered_consume_auto_ack", "delivered_consume_manual_ack", "delivered_get_auto_ack", "delivered_get_manual_ack")
COMMON = (
    *map(total, ("rabbitmq_queue_messages_ready", "rabbitmq_queue_messages_unacked", "rabbitmq_global_publishers")),
    *map(total, ("rabbitmq_connections", "rabbitmq_channels", "rabbitmq_queues")),
    "(rabbitmq_resident_memory_limit_bytes @) - (rabbitmq_process_resident_memory_bytes @)",
    *map(by_node, ("rabbitmq_queue_messages_ready", "rabbitmq_queue_messages_unacked")),
    *(rate(f"global_messages_{name}") for name in ("received", "confirmed", "routed", "unroutable_dropped", "unroutable_returned")),
    two_rates("received_confirm", "-", "confirmed"),
    two_rates("delivered_consume_auto_ack", "+", "delivered_consume_manual_ack"),
    *(rate(f"global_messages_{name}") for name in ("redelivered", "acknowledged", "get_empty", *DELIVERED)),
    *(f"rabbitmq_{name} @" for name in ("queues", "channels", "connections")),
    *(rate(f"queues_{name}") for name in ("declared", "created", "deleted")),
    *(rate(f"{noun}_{what}") for noun in ("channels", "connections") for what in ("opened", "closed")),
)
OVERVIEW_3_13 = (
    *COMMON,
    total("rabbitmq_consumers"),
    total("rabbitmq_build_info"),
    "rabbitmq_build_info @",
    "sum(rate(rabbitmq_global_messages_received_total[60s]) @)",
    " + ".join(f"sum(rate(rabbitmq_global_messages_{name}_total[60s]) @)" for name in ("redelivered", *DELIVERED)),
    "rabbitmq_disk_space_available_bytes @",
    "(rabbitmq_process_max_fds @) - (rabbitmq_process_open_fds @)",
    "(rabbitmq_process_max_tcp_sockets @) - (rabbitmq_process_open_tcp_sockets @)",
)
BOUNDS = ("100.0", "1000.0", "10000.0", "100000.0", "1e+06", "1e+07", "5e+07", "1e+08", "+Inf")
OVERVIEW_4 = (
    *COMMON,
    total("rabbitmq_global_consumers"),
    "count(rabbitmq_identity_info{WHERE})",
    "rabbitmq_erlang_uptime_seconds * on(instance, job) group_left(rabbitmq_version, erlang_version) rabbitmq_build_info @",
    "sum(irate(rabbitmq_global_messages_received_total[60s]) @)",
    "sum(irate(rabbitmq_global_messages_delivered_total[60s]) @)",
    "(rabbitmq_disk_space_available_bytes - rabbitmq_disk_space_available_limit_bytes) @",
    "(rabbitmq_process_max_fds - rabbitmq_process_open_fds) @",
    "sum(increase(rabbitmq_message_size_bytes_sum[60s]) @) / sum(increase(rabbitmq_message_size_bytes_count[60s]) @)",
    *(share(lower, upper) for lower, upper in zip((None, *BOUNDS[:-1]), BOUNDS, strict=True)),
)


def query(panel: str, cluster: str, endpoint: str | None) -> str:
    """A panel's query, with the dashboard's variables filled in."""
    where = f'rabbitmq_cluster="{cluster}", namespace=""' + (f', rabbitmq_endpoint="{endpoint}"' if endpoint else "")
    return panel.replace("@", f"{CLUSTER_JOIN}{{{where}}}").replace("WHERE", where)
