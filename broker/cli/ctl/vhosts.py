"""Commands about virtual hosts, and the firehose of each."""

from __future__ import annotations

from typing import Any, Final

from broker.cli.ctl.columns import check_columns, columns_of
from broker.cli.ctl.command import ANY, Call, Command
from broker.cli.ctl.errors import EXIT_DATA, EXIT_SOFTWARE, EXIT_USAGE, Failed, Invalid, Refused, bad_argument, error, no_such_vhost
from broker.cli.ctl.formats import Output
from broker.cli.ctl.terms import Atom

COLUMNS: Final = ("name", "description", "tags", "default_queue_type", "tracing", "cluster_state")
QUEUE_TYPES: Final = ("quorum", "stream", "classic")
_METADATA: Final = {"description": str, "tags": str, "default_queue_type": str}


def list_vhosts(call: Call) -> Output:
    """Columns that a vhost has no value for are left out of its row."""
    rows = []
    for vhost in call.api.get("vhosts"):
        facts = {
            **vhost.get("metadata", {}),
            "name": vhost["name"],
            "tracing": vhost.get("tracing", False),
            "cluster_state": [(Atom(node), Atom(state)) for node, state in vhost.get("cluster_state", {}).items()],
        }
        facts.setdefault("description", vhost.get("description"))
        facts.setdefault("tags", vhost.get("tags", []))
        rows.append({name: facts[name] for name in columns_of(call, "name") if facts.get(name) is not None})
    return Output(rows=rows)


def add_vhost(call: Call) -> Output:
    """One that is there already stays as it is."""
    name = call.arguments[0]
    if _get(call, name) is None:
        try:
            call.api.put("vhosts", name, body=_given(call))
        except Refused as refused:
            if "queue type" in refused.reason:
                raise error("Unsupported default queue type", EXIT_USAGE) from refused
            raise
    return call.done()


def delete_vhost(call: Call) -> Output:
    """With all that is in it."""
    name = call.arguments[0]
    try:
        call.api.delete("vhosts", name)
    except Refused as refused:
        if refused.status == 404:
            raise no_such_vhost(name) from refused
        raise
    return call.done()


def update_vhost_metadata(call: Call) -> Output:
    """What is given; the rest stays."""
    name = call.arguments[0]
    vhost = _get(call, name)
    if vhost is None:
        raise no_such_vhost(name)
    call.api.put("vhosts", name, body=_kept(vhost) | _given(call))
    return call.done()


def set_vhost_tags(call: Call) -> Output:
    """In place of those there were."""
    name, *tags = call.arguments
    vhost = _get(call, name)
    if vhost is None:
        facts = {"result": "error", "node": call.node, "message": f'Virtual host "{name}" does not exists'}
        raise Failed(f'Error:\nVirtual host "{name}" does not exist', 69 if call.formatter == "json" else EXIT_DATA, facts)
    call.api.put("vhosts", name, body=_kept(vhost) | {"tags": ",".join(tags)})
    return call.done()


def restart_vhost(call: Call) -> Output:
    """A vhost of Leveret's runs for as long as it is there."""
    if _get(call, call.vhost) is None:
        what = f"Failed to start vhost '{call.vhost}' on node '{call.node}'"
        raise error(f'{what}Reason: {{:no_such_vhost, "{call.vhost}"}}', EXIT_SOFTWARE)
    return Output(f"Vhost '{call.vhost}' is already running on node '{call.node}'")


def trace_on(call: Call) -> Output:
    """Copies of all messages go to amq.rabbitmq.trace."""
    return _trace(call, True)


def trace_off(call: Call) -> Output:
    """No more."""
    return _trace(call, False)


def _trace(call: Call, on: bool) -> Output:
    try:
        (call.api.put if on else call.api.delete)("leveret", "ctl", "vhosts", call.vhost, "tracing")
    except Refused as refused:
        if refused.status == 404:
            raise no_such_vhost(call.vhost) from refused
        raise
    return Output(f"Trace {'enabled' if on else 'disabled'} for vhost {call.vhost}")


def _get(call: Call, name: str) -> dict[str, Any] | None:
    try:
        vhost: dict[str, Any] = call.api.get("vhosts", name)
    except Refused as refused:
        if refused.status == 404:
            return None
        raise
    return vhost


def _given(call: Call) -> dict[str, Any]:
    return {name: call.given[name] for name in _METADATA if name in call.given}


def _kept(vhost: dict[str, Any]) -> dict[str, Any]:
    metadata = vhost.get("metadata", {})
    kept = {name: metadata[name] for name in _METADATA if metadata.get(name) not in (None, "undefined")}
    if isinstance(kept.get("tags"), list):
        kept["tags"] = ",".join(kept["tags"])
    return kept


def _check_metadata(call: Call) -> None:
    if not _given(call):
        raise Invalid("not enough arguments.")
    queue_type = call.given.get("default_queue_type")
    if queue_type is not None and queue_type not in QUEUE_TYPES:
        raise bad_argument(f"Default queue type must be one of: {', '.join(QUEUE_TYPES)}. Provided: {queue_type}")


_SHORT: Final = {"d": "description"}
COMMANDS: Final = {
    "list_vhosts": Command(
        list_vhosts,
        "list_vhosts [--no-table-headers] [<column> ...]",
        (0, ANY),
        "Listing vhosts ...",
        options={"timeout": int},
        check=check_columns(COLUMNS),
        formatter="table",
        details=(("<column>", f"one of {', '.join(sorted(COLUMNS))}"),),
    ),
    "add_vhost": Command(
        add_vhost,
        'add_vhost <vhost> [--description <description> --tags "<tag1>,<tag2>,<...>" --default-queue-type <quorum|classic|stream>]',
        (1, 1),
        'Adding vhost "{0}" ...',
        options=_METADATA,
        short=_SHORT,
    ),
    "delete_vhost": Command(delete_vhost, "delete_vhost <vhost>", (1, 1), 'Deleting vhost "{0}" ...'),
    "update_vhost_metadata": Command(
        update_vhost_metadata,
        'update_vhost_metadata <vhost> [--description <description>] [--tags "<tag1>,<tag2>,<...>"] '
        "[--default-queue-type <quorum|classic|stream>]",
        (1, 1),
        'Updating metadata of vhost "{0}" ...',
        options=_METADATA,
        short=_SHORT,
        check=_check_metadata,
    ),
    "set_vhost_tags": Command(
        set_vhost_tags,
        "set_vhost_tags <vhost> <tag> [...]",
        (1, ANY),
        lambda call: f'Setting tags for virtual host "{call.arguments[0]}" to [{", ".join(call.arguments[1:])}] ...',
    ),
    "restart_vhost": Command(
        restart_vhost, "restart_vhost [--vhost <vhost>]", banner="Trying to restart vhost '{vhost}' on node '{node}' ..."
    ),
    "trace_on": Command(trace_on, "trace_on [--vhost <vhost>]", (0, ANY), 'Starting tracing for vhost "{vhost}" ...'),
    "trace_off": Command(trace_off, "trace_off [--vhost <vhost>]", (0, ANY), 'Stopping tracing for vhost "{vhost}" ...'),
}
