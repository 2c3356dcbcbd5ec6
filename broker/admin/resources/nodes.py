"""Nodes: there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broker.admin import lists
from broker.admin.errors import NoSuchObject
from broker.admin.routing import Access, Route
from broker.admin.shapes import node as shape
from broker.admin.shapes.stats import QUERY as STATS
from broker.admin.shapes.stats import Reader

if TYPE_CHECKING:
    from broker.admin.call import Answer, Call
    from broker.admin.routing import Handler
    from broker.admin.schemas import Query
    from broker.node import Node


async def list_nodes(call: Call) -> Answer:
    """Lists the nodes of the cluster: this one."""
    reader = Reader(call)
    return await lists.answer(call, [call.context.node], lambda node: shape.of_node(node, reader), default_sort=("name",))


def _node(call: Call) -> Node:
    node = call.context.node
    if call.path["node"] != node.name:
        raise NoSuchObject
    return node


def get_node(call: Call) -> Any:
    """Describes one node; with ?memory=true its memory, too."""
    node = _node(call)
    facts = shape.of_node(node, Reader(call))
    if call.flag("memory"):
        facts["memory"] = shape.memory(node)
    return lists.only(call, facts)


def get_memory(call: Call) -> Any:
    """Tells what the node's memory is used for, in bytes."""
    return {"memory": shape.memory(_node(call))}


def get_memory_shares(call: Call) -> Any:
    """Tells what the node's memory is used for, in hundredths."""
    return {"memory": shape.memory_shares(_node(call))}


def get_tables(call: Call) -> Any:
    """Tells what Erlang's tables take: there are none."""
    _node(call)
    return {"ets_tables": {"total": 0}}


_MEMORY: Final = {"memory": "boolean: With what the memory is used for."}
_PATH: Final = "/api/nodes/{node}"
SCHEMAS: Final = {
    "NodeMemory": {"memory": "Memory!"},
    "NodeMemoryShares": {"memory": "MemoryShares!"},
    "Tables": {"ets_tables": "{integer}!"},
}


def _facts(path: str, handler: Handler, kind: str, query: Query | None = None) -> Route:
    return Route("GET", path, handler, Access.MONITORING, query=query, shows=kind)


ROUTES: Final = (
    _facts("/api/nodes", list_nodes, "[Node]", lists.PAGED | STATS),
    _facts(_PATH, get_node, "Node", lists.ONLY | STATS | _MEMORY),
    _facts(f"{_PATH}/memory", get_memory, "NodeMemory"),
    _facts(f"{_PATH}/memory/relative", get_memory_shares, "NodeMemoryShares"),
    _facts(f"{_PATH}/memory/ets", get_tables, "Tables"),
    _facts(f"{_PATH}/memory/ets/relative", get_tables, "Tables"),
)
