"""What tools read from the HTTP API: paths of requests, and of each answer the fields with their types.

Telegraf's RabbitMQ input, the Datadog agent, kbudde's rabbitmq_exporter, KEDA's scaler, rabbit-hole (terraform, the topology operator, most
of what is written in Go), NServiceBus, and rabbitmqadmin v2, whose structures refuse an answer with a field too few.

The vhost `exported` has queues `work` (with traffic and a consumer), `quorum` and `own` (exclusive).
"""

from collections.abc import Mapping

VHOST = "exported"
KINDS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "number": (int, float),
    "text": (str,),
    "bool": (bool,),
    "list": (list,),
    "object": (dict,),
    "number?": (int, float, type(None)),
    "int?": (int, type(None)),
}
Fields = Mapping[str, str]


def fields(kind: str, names: str, *, of: str = "") -> dict[str, str]:
    """Fields of one type; `of` is where they are in the answer, `[]` for each item of a list."""
    return {f"{of}{name}": kind for name in names.split()}


def each(*groups: Fields) -> dict[str, str]:
    """The same fields, of each item of a list."""
    return {f"[].{name}": kind for group in groups for name, kind in group.items()}


def all_of(*groups: Fields) -> dict[str, str]:
    return {name: kind for group in groups for name, kind in group.items()}


STATS = fields("int", "ack deliver deliver_get deliver_no_ack get get_no_ack publish redeliver", of="message_stats.")
RATES = fields("number", "publish_details.rate deliver_get_details.rate ack_details.rate deliver_details.rate", of="message_stats.")
OBJECTS = fields("int", "channels connections consumers exchanges queues", of="object_totals.")
TOTALS = fields("int", "messages messages_ready messages_unacknowledged", of="queue_totals.")
CHURN = fields(
    "int",
    "connection_created connection_closed queue_declared queue_created queue_deleted channel_created channel_closed",
    of="churn_rates.",
)
NODE = all_of(
    fields(
        "int",
        "mem_used mem_limit disk_free disk_free_limit fd_used fd_total sockets_used sockets_total proc_used proc_total run_queue uptime",
    ),
    fields("bool", "running mem_alarm disk_free_alarm"),
    fields("list", "partitions"),
    fields("text", "name type"),
)
GC_AND_IO = "gc_num gc_bytes_reclaimed io_read_bytes io_write_bytes mnesia_disk_tx_count mnesia_ram_tx_count"
DEPTHS = fields(
    "int", "messages messages_ready messages_unacknowledged consumers memory message_bytes message_bytes_ready message_bytes_unacknowledged"
)
MEMORY = """
    connection_readers connection_writers connection_channels connection_other queue_procs quorum_queue_procs stream_queue_procs
    stream_queue_replica_reader_procs stream_queue_coordinator_procs plugins other_proc metrics mgmt_db mnesia other_ets binary
    msg_index code atom other_system allocated_unused reserved_unallocated
"""

RABBITMQADMIN_V2: dict[str, Fields] = {
    "/overview": all_of(
        fields("text", "cluster_name node erlang_version erlang_full_version rabbitmq_version product_name product_version rates_mode"),
        fields("int", "statistics_db_event_queue"),
        fields("object", "queue_totals message_stats"),
        fields("text", "node protocol ip_address", of="listeners[]."),
        fields("int", "port", of="listeners[]."),
        CHURN,
        OBJECTS,
    ),
    "/nodes": each(
        fields("text", "name os_pid rates_mode"),
        fields("int", "uptime run_queue processors fd_total proc_total mem_limit disk_free_limit"),
        fields("bool", "mem_alarm disk_free_alarm being_drained"),
        fields("list", "enabled_plugins"),
    ),
    "/nodes/{node}/memory": all_of(
        fields("int", "rss allocated erlang", of="memory.total."), fields("text", "memory.strategy"), fields("int", MEMORY, of="memory.")
    ),
    f"/queues/{VHOST}": each(
        fields("text", "name vhost type"), fields("bool", "durable auto_delete exclusive"), fields("object", "arguments")
    ),
    "/exchanges": each(fields("text", "name vhost type"), fields("bool", "durable auto_delete"), fields("object", "arguments")),
    "/bindings": each(
        fields("text", "vhost source destination destination_type routing_key properties_key"), fields("object", "arguments")
    ),
    "/connections": each(
        fields("text", "name node protocol user"),
        fields("int", "connected_at channel_max frame_max"),
        fields("object", "client_properties"),
    ),
    "/channels": each(
        fields("int", "number consumer_count prefetch_count messages_unacknowledged messages_unconfirmed connection_details.peer_port"),
        fields("text", "name vhost state connection_details.name connection_details.peer_host"),
        fields("bool", "confirm"),
    ),
    "/consumers": each(
        fields("text", "consumer_tag queue.name queue.vhost channel_details.name channel_details.connection_name"),
        fields("bool", "active ack_required exclusive"),
        fields("int", "prefetch_count channel_details.number"),
        fields("object", "arguments"),
    ),
    "/users": each(fields("text", "name password_hash"), fields("list", "tags")),
    "/vhosts": each(fields("text", "name"), fields("bool", "tracing"), fields("list", "tags")),
    "/permissions": each(fields("text", "user vhost configure write read")),
    "/feature-flags": each(fields("text", "name state desc doc_url stability provided_by")),
    "/whoami": all_of(fields("text", "name"), fields("list", "tags")),
    f"/queues/{VHOST}?page=1&page_size=2": all_of(
        fields("int", "total_count item_count filtered_count page page_size page_count"), fields("list", "items")
    ),
}
TELEGRAF: dict[str, Fields] = {
    "/overview": all_of(
        OBJECTS, TOTALS, STATS, RATES, fields("int", "message_stats.return_unroutable"), fields("text", "node protocol", of="listeners[].")
    ),
    "/nodes": each(
        NODE,
        fields("int", GC_AND_IO),
        fields("number", "io_read_avg_time io_write_avg_time"),
        fields("number", " ".join(f"{name}_details.rate" for name in f"{GC_AND_IO} io_read_avg_time io_write_avg_time".split())),
    ),
    "/nodes/{node}/memory": fields("int", "connection_readers queue_procs plugins binary code atom metrics", of="memory."),
    "/queues": each(
        DEPTHS,
        fields("int", "message_bytes_ram message_bytes_persistent"),
        fields("number?", "consumer_utilisation"),
        fields("number", "messages_details.rate messages_ready_details.rate messages_unacknowledged_details.rate"),
        fields("text", "name node vhost state"),
        fields("bool", "durable auto_delete"),
    ),
    f"/queues/{VHOST}/work": fields("int?", "head_message_timestamp"),
    "/exchanges": each(fields("text", "name type vhost"), fields("bool", "internal durable auto_delete")),
}
DATADOG: dict[str, Fields] = {
    "/overview": all_of(OBJECTS, TOTALS, fields("text", "cluster_name rabbitmq_version node")),
    "/vhosts": each(fields("text", "name")),
    "/queues": each(DEPTHS, fields("number", "messages_details.rate messages_ready_details.rate"), fields("text", "name vhost")),
    f"/queues/{VHOST}/work/bindings": each(fields("text", "source destination")),
    "/nodes": each(NODE),
    f"/vhosts/{VHOST}/connections": each(fields("text", "vhost state")),
}
KBUDDE: dict[str, Fields] = {
    "/overview": all_of(OBJECTS, TOTALS, RATES, fields("text", "node cluster_name rabbitmq_version erlang_version")),
    "/nodes": each(NODE),
    "/queues?sort=": each(
        DEPTHS,
        fields("int", "messages_persistent messages_ram message_bytes_persistent message_bytes_ram"),
        fields("number?", "consumer_utilisation"),
    ),
    "/exchanges?sort=": each(fields("text", "name vhost")),
    "/connections?sort=": each(
        fields("text", "vhost node peer_host user state"), fields("int", "channels recv_oct recv_cnt send_oct send_cnt send_pend")
    ),
}
KEDA: dict[str, Fields] = {
    f"/queues/{VHOST}/work": all_of(
        fields("int", "messages messages_ready messages_unacknowledged"),
        fields("text", "name"),
        fields("number", "publish_details.rate deliver_get_details.rate", of="message_stats."),
    ),
    f"/queues/{VHOST}?page=1&use_regex=true&pagination=false&name=%5Ework%24&page_size=100": fields("int", "items[].messages page_count"),
}
RABBIT_HOLE: dict[str, Fields] = {
    f"/queues/{VHOST}/work": all_of(
        DEPTHS,
        STATS,
        fields("number", "consumer_utilisation"),
        fields("text", "consumer_details[].consumer_tag consumer_details[].channel_details.name node state"),
        fields("int", "consumer_details[].prefetch_count"),
    ),
    f"/queues/{VHOST}/quorum": all_of(fields("list", "members online"), fields("text", "members[] online[] leader type")),
    f"/queues/{VHOST}/own": all_of(fields("text", "name peer_host", of="owner_pid_details."), fields("int", "owner_pid_details.peer_port")),
    "/nodes": each(
        fields("text", "auth_mechanisms[].name exchange_types[].name exchange_types[].description applications[].name"),
        fields("bool", "auth_mechanisms[].enabled"),
    ),
    "/connections": each(
        fields("int", "port peer_port channels timeout channel_max"), fields("bool", "ssl"), fields("text", "auth_mechanism type")
    ),
}
NSERVICEBUS: dict[str, Fields] = {
    f"/queues/{VHOST}/work": fields("object", "effective_policy_definition"),
    "/overview": fields("text", "rabbitmq_version"),
}
TOOLS: dict[str, dict[str, Fields]] = {
    "rabbitmqadmin-v2": RABBITMQADMIN_V2,
    "telegraf": TELEGRAF,
    "datadog": DATADOG,
    "kbudde": KBUDDE,
    "keda": KEDA,
    "rabbit-hole": RABBIT_HOLE,
    "nservicebus": NSERVICEBUS,
}
NEWER = {"being_drained"}
"""Not in RabbitMQ 3.10."""
