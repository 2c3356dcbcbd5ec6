"""Where publishes lead, remembered: by exchange and key, and for a headers exchange also by what the headers say where it asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from protocol.forms import mask_of_fields

if TYPE_CHECKING:
    from collections.abc import Container

    from broker.core.exchange import Exchange
    from broker.core.outbox import Target
    from broker.core.queue import Queue
    from protocol.forms import Form, Forms

ROUTES_MAX: Final = 4096
"""Routes that a session remembers; past it they are all forgotten: only keys made up by the thousand get there."""
HEADER_ROUTES_MAX: Final = 1024
"""The same for those that headers decide, of all keys together: each may take as much as a header."""


class Route:
    """Where one exchange and routing key lead, as long as the topology and the user's permissions stay."""

    __slots__ = ("by_headers", "by_key", "exchange", "plain", "queues", "revision", "routing", "routing_key", "target", "topology")

    def __init__(self, exchange: Exchange, routing_key: str, routing: bytes, topology: int, revision: int) -> None:
        self.exchange = exchange
        self.routing_key = routing_key
        self.routing = routing
        self.topology = topology
        self.revision = revision
        self.queues: tuple[Queue, ...] = ()
        self.target: Target | None = None
        """The durable ones of the queues, for the log."""
        self.by_key = True
        """The key decides alone. Otherwise `queues` is empty, and each message asks for its own."""
        self.by_headers: HeaderRoutes | None = None
        """The key and some of the headers decide."""
        self.plain = False
        """Nothing about a message can change where it goes."""


class HeaderRoutes:
    """The routes of one exchange and key that also depend on headers: a route for each thing that they say where the exchange's bindings
    ask. Of a header whose form is known (protocol.forms) that is one mask, and nothing is decoded."""

    __slots__ = ("_asked", "_known")

    def __init__(self, asked: Container[str]) -> None:
        """`asked` are the names of the headers that decide."""
        self._asked = asked
        self._known: dict[Form, tuple[int, dict[int, Route]]] = {}

    def find(self, forms: Forms, header: bytes) -> Route | None:
        """The route of a message with this content header, if it is known."""
        number = int.from_bytes(header, "little")
        form = forms.of(len(header), number)
        known = self._known.get(form) if form is not None else None
        return known[1].get(number & known[0]) if known is not None else None

    def keep(self, forms: Forms, header: bytes, route: Route) -> None:
        """This is the route of a message with this content header."""
        number = int.from_bytes(header, "little")
        form = forms.of(len(header), number)
        if form is None:
            return
        if form not in self._known:
            self._known[form] = int.from_bytes(mask_of_fields(header, self._asked), "little"), {}
        mask, routes = self._known[form]
        routes[number & mask] = route
