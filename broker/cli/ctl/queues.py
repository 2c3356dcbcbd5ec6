"""Commands about queues."""

from __future__ import annotations

from typing import Any, Final

from broker.cli.ctl.columns import check_columns, columns_of
from broker.cli.ctl.command import ANY, Call, Command
from broker.cli.ctl.errors import EXIT_USAGE, Invalid, Refused, bad_argument, error
from broker.cli.ctl.formats import Output, Row
from broker.cli.ctl.terms import Table

COLUMNS: Final = (
    "name", "durable", "auto_delete", "arguments", "policy", "operator_policy", "effective_policy_definition", "pid", "owner_pid",
    "exclusive", "exclusive_consumer_pid", "exclusive_consumer_tag", "messages_ready", "messages_unacknowledged", "messages",
    "messages_ready_ram", "messages_unacknowledged_ram", "messages_ram", "messages_persistent", "message_bytes", "message_bytes_ready",
    "message_bytes_unacknowledged", "message_bytes_ram", "message_bytes_persistent", "head_message_timestamp", "disk_reads", "disk_writes",
    "consumers", "consumer_utilisation", "consumer_capacity", "memory", "slave_pids", "synchronised_slave_pids", "state", "type", "leader",
    "members", "online", "mirror_pids", "synchronised_mirror_pids",
)  # fmt: skip
UNRESPONSIVE_COLUMNS: Final = ("name", "durable", "auto_delete", "arguments", "pid", "recoverable_slaves", "recoverable_mirrors", "type")
TIMEOUT_SECONDS: Final = 60
PEEKED_CHARACTERS: Final = 64
PAYLOAD: Final = "payload (max 64 bytes)"
_DEFAULTS: Final = {"timeout": TIMEOUT_SECONDS}


def list_queues(call: Call) -> Output:
    """The columns asked for. A vhost that isn't there has no queues; so says RabbitMQ, too."""
    columns = columns_of(call, "name", "messages")
    if call.options.get("offline") and not call.options.get("online"):
        return Output(rows=[])
    asked = ",".join(dict.fromkeys(["name", *columns, *["exclusive"] * ("owner_pid" in columns)]))
    try:
        queues = call.api.get("queues", call.vhost, columns=asked)
    except Refused as refused:
        if refused.status == 404:
            return Output(rows=[])
        raise
    if "owner_pid" in columns:
        for queue in queues:
            queue["owner_pid"] = _owner(call, queue["name"]) if queue["exclusive"] else None
    return Output(rows=[{name: _value(queue, name) for name in columns} for queue in queues])


def _owner(call: Call, queue: str) -> str | None:
    """The pid of the connection whose queue it is; only the single queue's object says that."""
    try:
        found = call.api.get("queues", call.vhost, queue, columns="owner_pid_details")
    except Refused:
        return None  # gone meanwhile
    owner = found.get("owner_pid_details") or {}
    return owner.get("pid", owner.get("name"))


def _value(queue: dict[str, Any], column: str) -> Any:
    value = queue.get(column)
    if column == "arguments":
        return Table(value or {})
    return 0 if value is None and column in ("disk_reads", "disk_writes") else value


def list_unresponsive_queues(call: Call) -> Output:
    """None: all queues of a broker are served by one loop, which has just answered."""
    call.api.get("queues", call.vhost, columns="name", page=1, page_size=1)
    return Output(rows=[])


def purge_queue(call: Call) -> Output:
    """Its ready messages are gone."""
    try:
        call.api.delete("queues", call.vhost, call.arguments[0], "contents")
    except Refused as refused:
        raise error("not_found" if refused.status == 404 else refused.reason) from refused
    return call.done()


def delete_queue(call: Call) -> Output:
    """With its messages, whose number is told."""
    name = call.arguments[0]
    conditions: dict[str, Any] = {key.replace("_", "-"): True for key in ("if_empty", "if_unused") if call.options.get(key)}
    try:
        ready = call.api.get("queues", call.vhost, name, columns="messages_ready").get("messages_ready", 0)
        call.api.delete("queues", call.vhost, name, **conditions)
    except Refused as refused:
        if refused.status == 404:
            raise error("Queue not found", EXIT_USAGE) from refused
        for word, text in (("not empty", "Queue is not empty"), ("in use", "Queue is in use")):
            if word in refused.reason:
                raise error(text, EXIT_USAGE) from refused
        raise
    text = f"Queue was successfully deleted with {ready} ready messages"
    return Output(text, json={"message": text})


def _check_delete(call: Call) -> None:
    if not call.arguments[0]:
        raise bad_argument("queue name cannot be an empty string")


def _deleting(call: Call) -> str:
    conditions = [f"if queue is {word} " for word, key in (("empty", "if_empty"), ("unused", "if_unused")) if call.options.get(key)]
    return f"Deleting queue '{call.arguments[0]}' on vhost '{call.vhost}' {'and '.join(conditions)}..."


def peek(call: Call) -> Output:
    """The message at a position of a quorum queue, 1 the next to be delivered."""
    name, position = call.arguments
    try:
        queue = call.api.get("queues", call.vhost, name)
    except Refused as refused:
        if refused.status == 404:
            raise error(f"Target queue was not found in virtual host '{call.vhost}'") from refused
        raise
    if queue.get("type") != "quorum":
        raise error("Cannot peek into a classic queue")
    found = call.api.get("leveret", "queues", call.vhost, name, "messages", offset=int(position) - 1, limit=1)["items"]
    if not found:
        raise error("Target queue does not have a message at that position")
    message = found[0]
    properties = dict(message.get("properties") or {})
    headers = properties.pop("headers", None) or {}
    facts = {
        **properties,
        "routing_keys": message["routing_key"],
        "exchange": message["exchange"],
        PAYLOAD: message["payload"][:PEEKED_CHARACTERS],
        **{f"header.{key}": value for key, value in headers.items()},
        "header.x-delivery-count": message["delivery_count"],
    }
    rows: list[Row] = [{"keys": key, "values": value} for key, value in facts.items()]
    told = facts | {"routing_keys": [message["routing_key"]]}
    return Output(rows=rows, json={"message": dict(sorted(told.items())), "result": "ok"})


def _check_peek(call: Call) -> None:
    if not call.arguments[1].isdecimal() or int(call.arguments[1]) < 1:
        raise Invalid('"position value must be a positive integer"')


def quorum_status(call: Call) -> Output:
    """A quorum queue has one member, this node."""
    name = call.arguments[0]
    try:
        queue = call.api.get("queues", call.vhost, name)
    except Refused as refused:
        raise error("not_found" if refused.status == 404 else refused.reason) from refused
    if queue.get("type") != "quorum":
        raise error(f"Cannot get quorum status of a {queue.get('type', 'classic')} queue")
    row = {
        "Node Name": call.node,
        "Raft State": "leader",
        "Log Index": 0,
        "Commit Index": 0,
        "Snapshot Index": None,
        "Term": 1,
        "Machine Version": 0,
    }
    return Output(rows=[row])


def rebalance(call: Call) -> Output:
    """Nothing to do on one node, and RabbitMQ says how many there are."""
    call.api.post("rebalance", "queues", body={})
    quorum = sum(queue.get("type") == "quorum" for queue in call.api.get("queues", columns="type"))
    if not quorum:
        return Output("[]", json=[])
    return Output(rows=[{"Node name": call.node, "Number of quorum queues": quorum, "Number of replicated classic queues": 0}])


def _check_rebalance(call: Call) -> None:
    if call.arguments[0] not in ("all", "classic", "quorum", "stream"):
        raise error(f"type {call.arguments[0]} is not supported. Try one of all, classic, quorum, stream.")


def refuse_replicas(call: Call) -> Output:
    """There is nowhere else to put one."""
    raise error(f"node '{call.node}' is the only one: Leveret has no clusters, so queues have one replica")


def do_nothing(call: Call) -> Output:
    """What keeps RabbitMQ's replicas in shape isn't needed here."""
    return call.done()


def is_single(call: Call) -> Output:
    """A check that is about other nodes."""
    text = f"Node {call.node} seems to be the only one in a single node cluster, the check does not apply"
    return Output(text, json={"message": text, "result": "ok"})


_QUEUE: Final = ("<queue>", "the queue's name")
_REPLICA_USAGES: Final = {
    "add_member": "add_member [--vhost <vhost>] <queue> <node>",
    "delete_member": "delete_member [--vhost <vhost>] <queue> <node>",
    "grow": "grow <node> <all | even> [--vhost-pattern <pattern>] [--queue-pattern <pattern>]",
    "shrink": "shrink <node>",
    "add_replica": "add_replica [--vhost <vhost>] <queue> <node>",
    "delete_replica": "delete_replica [--vhost <vhost>] <queue> <node>",
}
COMMANDS: Final = {
    "list_queues": Command(
        list_queues,
        "list_queues [--vhost <vhost>] [--online] [--offline] [--local] [--no-table-headers] [<column>, ...]",
        (0, ANY),
        lambda call: f"Timeout: {float(call.timeout_seconds or 0)} seconds ...\nListing queues for vhost {call.vhost} ...",
        options={"offline": bool, "online": bool, "local": bool, "timeout": int},
        defaults=_DEFAULTS,
        check=check_columns(COLUMNS),
        formatter="table",
        details=(
            ("<column>", f"one of {', '.join(sorted(COLUMNS))}"),
            ("--online", "of nodes that can be reached: all queues"),
            ("--offline", "of nodes that can't be reached: none"),
            ("--local", "of this node: all queues"),
        ),
    ),
    "list_unresponsive_queues": Command(
        list_unresponsive_queues,
        "list_unresponsive_queues [--local] [--queue-timeout <milliseconds>] [<column> ...] [--no-table-headers]",
        (0, ANY),
        "Listing unresponsive queues for vhost {vhost} ...",
        options={"queue_timeout": int, "local": bool, "timeout": int},
        check=check_columns(UNRESPONSIVE_COLUMNS),
        formatter="table",
    ),
    "purge_queue": Command(
        purge_queue,
        "purge_queue <queue>",
        (1, 1),
        "Purging queue '{0}' in vhost '{vhost}' ...",
        options={"timeout": int},
        details=(_QUEUE,),
    ),
    "delete_queue": Command(
        delete_queue,
        "delete_queue [--vhost <vhost>] <queue_name> [--if-empty|-e] [--if-unused|-u]",
        (1, 1),
        _deleting,
        options={"if_empty": bool, "if_unused": bool, "timeout": int},
        short={"e": "if_empty", "u": "if_unused"},
        check=_check_delete,
        details=(
            ("<queue_name>", "the queue's name"),
            ("--if-empty", "only if it has no ready messages"),
            ("--if-unused", "only if it has no consumers"),
        ),
    ),
    "peek": Command(
        peek,
        "peek [--vhost <vhost>] <queue> <position>",
        (2, 2),
        "Peeking at quorum queue {0} at position {1} on node {node} ...",
        options={"timeout": int},
        check=_check_peek,
        formatter="pretty_table",
    ),
    "quorum_status": Command(
        quorum_status,
        "quorum_status [--vhost <vhost>] <queue>",
        (1, 1),
        "Status of quorum queue {0} on node {node} ...",
        options={"timeout": int},
        formatter="pretty_table",
    ),
    "rebalance": Command(
        rebalance,
        "rebalance < all | classic | quorum | stream > [--vhost-pattern <pattern>] [--queue-pattern <pattern>]",
        (1, 1),
        lambda call: f"Re-balancing leaders of {call.arguments[0]} queues...",
        options={"vhost_pattern": str, "queue_pattern": str, "timeout": int},
        check=_check_rebalance,
        formatter="pretty_table",
    ),
    "reclaim_quorum_memory": Command(
        do_nothing, "reclaim_quorum_memory [--vhost <vhost>] <quorum queue>", (1, 1), "Will flush Raft WAL of quorum queue {0} ..."
    ),
    "sync_queue": Command(do_nothing, "sync_queue [--vhost <vhost>] <queue>", (1, 1), "Synchronising queue '{0}' in vhost '{vhost}' ..."),
    "cancel_sync_queue": Command(
        do_nothing, "cancel_sync_queue [--vhost <vhost>] <queue>", (1, 1), "Stopping synchronising queue '{0}' in vhost '{vhost}' ..."
    ),
    "check_if_node_is_quorum_critical": Command(
        is_single,
        "check_if_node_is_quorum_critical",
        banner="Checking if node {node} is critical for quorum of any quorum queues ...",
        options={"timeout": int},
    ),
    "check_if_node_is_mirror_sync_critical": Command(
        is_single,
        "check_if_node_is_mirror_sync_critical",
        banner="Checking if node {node} is critical for data safety of any classic mirrored queues ...",
        options={"timeout": int},
    ),
    **{
        name: Command(refuse_replicas, usage, (1, 2), options={"vhost_pattern": str, "queue_pattern": str, "timeout": int})
        for name, usage in _REPLICA_USAGES.items()
    },
}
