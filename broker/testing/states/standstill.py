"""A vhost in which nothing happens, for the length of what has to see it, or change it, as a whole: its clients aren't read from, and its
queues give nothing out. All others go on.

A connection that comes in meanwhile isn't held up, nor is what is asked for over HTTP.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from broker.core.outbox import Outbox
    from broker.core.queue import Queue
    from broker.core.vhost import VHost
    from broker.node import Node
    from broker.testing.connection import WatchedConnection


class Standstill:
    """One per broker."""

    def __init__(self) -> None:
        self._vhosts: set[VHost] = set()
        self._waiting: list[Queue] = []
        """Queues that were touched meanwhile."""

    @contextmanager
    def of(self, vhost: VHost, node: Node) -> Iterator[None]:
        """Nothing happens in the vhost until the block ends; not for two at a time."""
        held = connections_of(vhost, node)
        for each in held:
            each.hold("standstill")
        self._vhosts.add(vhost)
        try:
            yield
        finally:
            self._vhosts.discard(vhost)
            vhost.broker.outbox.touched += self._waiting
            self._waiting.clear()
            for each in held:
                each.go_on("standstill")

    def busy(self, vhost: VHost) -> str | None:
        """What goes on there, in words (Rig.busy)."""
        return "its messages are being copied, put back or thrown away" if vhost in self._vhosts else None

    def serve(self, outbox: Outbox, serve: Callable[[], None]) -> None:
        """Serve the queues of all others; see Broker.serve."""
        if self._vhosts:
            touched, outbox.touched = outbox.touched, []
            for queue in touched:
                (self._waiting if queue.vhost in self._vhosts else outbox.touched).append(queue)
        serve()


def connections_of(vhost: VHost, node: Node) -> list[WatchedConnection]:
    """Those that are in the vhost, or have been and are about to go."""
    return [cast("WatchedConnection", each) for each in node.server.connections if getattr(each.session, "vhost", None) is vhost]
