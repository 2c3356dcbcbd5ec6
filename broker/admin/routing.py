"""From a path to a route: segments that stand for themselves, and segments that stand for a name.

    /api/queues/%2F/my%20queue  ->  Route("GET", "/api/queues/{vhost}/{name}", ...), {"vhost": "/", "name": "my queue"}

Paths are cut before they are decoded, so that a name may have any character. A slash at the end makes no difference.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from broker.admin.errors import MethodNotAllowed, NoSuchObject

if TYPE_CHECKING:
    from broker.admin.call import Call
    from broker.admin.schemas import Fields, Query

Handler = Callable[["Call"], Any | Awaitable[Any]]


class Access(Enum):
    """Who may call a route (https://www.rabbitmq.com/docs/management#permissions); a tag of administrator may call all."""

    ANYBODY = "anybody, without a login"
    MANAGEMENT = "who has any of the tags"
    MONITORING = "monitoring"
    ADMINISTRATOR = "administrator"
    VHOST = "who may enter the vhost in the path"
    VHOST_VISIBLE = "who may enter the vhost in the path, and monitoring"
    POLICYMAKER = "policymaker, who may enter the vhost in the path"
    GLOBAL_PARAMETERS = "policymaker"
    TESTING = "who has the token of a broker for tests"


class Route(NamedTuple):
    """One method of one path. `path` has names in braces; the first line of the handler's docstring says what it does.

    For the OpenAPI document (schemas.py has the words for types): `body` are the fields of what is sent, as one of `body_types`, NO_BODY if
    nothing is read of it; `query` and `headers` what is read there; `shows` the type of what is answered, or its media type if it is no
    JSON; `statuses` those of success, where they are others than usual for the method; `refusals` those that few routes answer with.
    """

    method: str
    path: str
    handler: Handler
    access: Access = Access.MANAGEMENT
    body: Fields | None = None
    query: Query | None = None
    shows: str = ""
    statuses: tuple[int, ...] = ()
    refusals: tuple[int, ...] = ()
    body_types: tuple[str, ...] = ("application/json",)
    headers: Query | None = None

    @property
    def summary(self) -> str:
        """One line of what it does."""
        return (self.handler.__doc__ or "").strip().partition("\n")[0]


class _Node:
    __slots__ = ("children", "name", "routes", "wildcard")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.wildcard: _Node | None = None
        self.name = ""
        self.routes: dict[str, tuple[Route, tuple[str, ...]]] = {}
        """By method; and the names in the path, in order."""


class Router:
    """A tree of segments. A segment that is spelled out wins over one that stands for a name."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        for route in routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        node = self._root
        names: list[str] = []
        for segment in _segments(route.path):
            if segment.startswith("{"):
                names.append(segment[1:-1])
                node.wildcard = node.wildcard or _Node()
                node = node.wildcard
            else:
                node = node.children.setdefault(segment, _Node())
        if route.method in node.routes:
            raise ValueError(f"two routes for {route.method} {route.path}")
        node.routes[route.method] = (route, tuple(names))

    def find(self, method: str, raw_path: str) -> tuple[Route, dict[str, str]]:
        """The route, and what stands for the names. HEAD is as GET. Raises NoSuchObject and MethodNotAllowed."""
        node, values = self._find(raw_path)
        if method == "HEAD":
            method = "GET"
        if method not in node.routes:
            raise MethodNotAllowed(self._allowed(node))
        route, names = node.routes[method]
        return route, dict(zip(names, values, strict=True))

    def allowed(self, raw_path: str) -> tuple[str, ...]:
        """The methods that a path has, HEAD and OPTIONS among them. Raises NoSuchObject."""
        return self._allowed(self._find(raw_path)[0])

    def _find(self, raw_path: str) -> tuple[_Node, list[str]]:
        segments = _segments(raw_path)
        found = self._walk(self._root, segments, 0)
        if found is None:
            raise NoSuchObject
        node, positions = found
        try:
            return node, [unquote(segments[position], errors="surrogateescape") for position in positions]
        except UnicodeError:
            raise NoSuchObject from None

    def _walk(self, node: _Node, segments: list[str], at: int) -> tuple[_Node, list[int]] | None:
        if at == len(segments):
            return (node, []) if node.routes else None
        child = node.children.get(segments[at])
        if child is not None and (found := self._walk(child, segments, at + 1)) is not None:
            return found
        if node.wildcard is None or not segments[at]:
            return None
        found = self._walk(node.wildcard, segments, at + 1)
        if found is None:
            return None
        return found[0], [at, *found[1]]

    @staticmethod
    def _allowed(node: _Node) -> tuple[str, ...]:
        heads = ("HEAD",) if "GET" in node.routes else ()
        return (*heads, *sorted(node.routes), "OPTIONS")


def _segments(path: str) -> list[str]:
    segments = path.split("/")[1:]
    return segments[:-1] if len(segments) > 1 and not segments[-1] else segments
