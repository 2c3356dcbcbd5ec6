"""What is asked of the cluster as a whole, and of RabbitMQ's plugins that aren't here."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from broker.admin.call import Answer, done
from broker.admin.errors import NoSuchObject
from broker.admin.routing import Access, Route
from broker.admin.schemas import NO_BODY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.admin.call import Call
    from broker.admin.routing import Handler

_TEXT: Final = "text/plain; charset=utf-8"


def version(call: Call) -> Any:
    """Tells the version of RabbitMQ that the broker behaves like."""
    return call.context.node.version


def list_extensions(_call: Call) -> Any:
    """Lists pages that plugins add to the management UI: none."""
    return []


def reset(call: Call) -> Answer:
    """Forgets all samples, so that rates begin anew."""
    _check_node(call)
    call.context.samples.reset()
    return done()


def rebalance(_call: Call) -> Answer:
    """Moves leaders of queues between nodes: there is one node, so nothing moves."""
    return done()


def effective_configuration(call: Call) -> Answer:
    """Lists the configuration in effect, one setting a line, without secrets."""
    return Answer(body="".join(_settings(call.context.config)).encode("utf-8", "surrogateescape"), content_type=_TEXT)


def _settings(config: Any, prefix: str = "") -> Iterator[str]:
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if not field.repr:
            yield f"{prefix}{field.name} = ***\n"
        elif dataclasses.is_dataclass(value):
            yield from _settings(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name} = {value!r}\n"


# --- plugins that aren't here ---------------------------------------------------------------------------------------


def nothing(_call: Call) -> Any:
    """Lists what a plugin of RabbitMQ's would have: nothing."""
    return []


def nothing_in_vhost(call: Call) -> Any:
    """Lists what a plugin of RabbitMQ's would have in a virtual host: nothing."""
    _ = call.vhost
    return []


def top(call: Call) -> Any:
    """Lists the Erlang processes of a node: none."""
    _check_node(call)
    return {"node": call.context.node.name, "row_count": 0, "processes": []}


def _check_node(call: Call) -> None:
    if call.path.get("node", call.context.node.name) != call.context.node.name:
        raise NoSuchObject


def _absent(path: str, access: Access) -> tuple[Route, Route]:
    return _nothing(path, nothing, access), _nothing(f"{path}/{{vhost}}", nothing_in_vhost, access)


def _nothing(path: str, handler: Handler = nothing, access: Access = Access.ADMINISTRATOR) -> Route:
    return Route("GET", path, handler, access, shows="array")


SCHEMAS: Final = {"Processes": {"node": "string!", "row_count": "integer!", "processes": "array!"}}
ROUTES: Final = (
    Route("GET", "/api/version", version, shows="string"),
    Route("GET", "/api/extensions", list_extensions, shows="array"),
    Route("DELETE", "/api/reset", reset, Access.ADMINISTRATOR),
    Route("DELETE", "/api/reset/{node}", reset, Access.ADMINISTRATOR),
    Route("POST", "/api/rebalance/queues", rebalance, Access.ADMINISTRATOR, NO_BODY),
    Route("GET", "/api/config/effective", effective_configuration, Access.ADMINISTRATOR, shows="text/plain"),
    *_absent("/api/shovels", Access.MONITORING),
    *_absent("/api/federation-links", Access.MONITORING),
    *_absent("/api/stream/connections", Access.MANAGEMENT),
    *_absent("/api/stream/publishers", Access.MANAGEMENT),
    *_absent("/api/stream/consumers", Access.MANAGEMENT),
    Route("GET", "/api/top/{node}", top, Access.ADMINISTRATOR, shows="Processes"),
    *_absent("/api/traces", Access.ADMINISTRATOR),
    _nothing("/api/traces/node/{node}"),
    _nothing("/api/trace-files"),
    _nothing("/api/trace-files/node/{node}"),
)
