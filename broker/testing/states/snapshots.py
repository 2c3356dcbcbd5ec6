"""Snapshots: what was in a vhost at a moment, kept in memory until the broker ends, the vhost's sandbox does, or it is let go.

capture.py     what is in a vhost         clearing.py      throwing messages away
topology.py    what is declared           restoration.py   putting all of it back
document.py    the same as JSON           standstill.py    nothing happens meanwhile
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from broker import definitions
from broker.core.steps import until_durable
from broker.operations import InvalidOperation, NotFound
from broker.testing.lives.history import history_of
from broker.testing.states.capture import capture
from broker.testing.states.clearing import clear
from broker.testing.states.document import write
from broker.testing.states.document_reader import read
from broker.testing.states.restoration import Restored, restore
from broker.testing.states.standstill import connections_of
from broker.testing.states.state import VHostState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.core.steps import Steps
    from broker.core.vhost import VHost
    from broker.definitions import Section
    from broker.node import Node
    from broker.operations import Operations
    from broker.testing.rig import Rig

T = TypeVar("T")

CLOSING: Final = "the test closes all connections of its vhost"
RESTORED: Final = "a snapshot was restored"
LOADED: Final = "a state was loaded"
RESET: Final = "the test threw all messages away"


class Busy(InvalidOperation):
    """Something of this kind is under way in the vhost."""


class Snapshot(NamedTuple):
    """What is told of one."""

    id: str
    queues: int
    messages: int
    taken_ms: int


class Snapshots:
    """One per broker. All that it does goes in steps (core/steps.py), and for one vhost after the other. Raises Busy."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._states: dict[str, dict[str, VHostState]] = {}
        """By vhost and id."""
        self._count = 0
        self._busy: set[str] = set()
        rig.on_sandbox_end.append(self.forget)

    def of(self, vhost: str) -> list[Snapshot]:
        """Those of a vhost, the oldest first."""
        return [_told(number, state) for number, state in self._states.get(vhost, {}).items()]

    def take(self, vhost: VHost, node: Node) -> Steps[Snapshot]:
        """Keep what is in the vhost now. Raises Unreadable."""
        state = yield from self._alone(vhost, node, capture(vhost))
        self._count += 1
        number = str(self._count)
        self._states.setdefault(vhost.name, {})[number] = state
        return _told(number, state)

    def export(self, operations: Operations, vhost: VHost, node: Node) -> Steps[list[bytes]]:
        """What is in the vhost now, as a document, in parts. Raises Unreadable."""
        state, sections = yield from self._alone(vhost, node, _capture_with_definitions(operations, vhost))
        return (yield from write(operations, vhost.name, sections, state))

    def load(self, vhost: VHost, node: Node, document: Mapping[str, Any], acting_user: str) -> Steps[Restored]:
        """Make the vhost what a document says. Raises InvalidDefinitions, and then nothing has changed."""
        state, left_out = yield from read(document, vhost.name, vhost.broker.outbox.clock(), acting_user)
        restored = yield from self._put(vhost, node, state, LOADED)
        return restored._replace(left_out=left_out + restored.left_out)

    def restore(self, vhost: VHost, node: Node, number: str, *, closes: bool) -> Steps[Restored]:
        """Make the vhost what it was then. Raises NotFound where there is no such snapshot."""
        state = self._states.get(vhost.name, {}).get(number)
        if state is None:
            raise NotFound(f"there is no snapshot '{number}' of virtual host '{vhost.name}': a restart of the broker forgets all of them")
        if closes:
            self._close(vhost, node)
        return (yield from self._put(vhost, node, state, RESTORED))

    def _put(self, vhost: VHost, node: Node, state: VHostState, why: str) -> Steps[Restored]:
        restored = yield from self._alone(vhost, node, restore(vhost, state, why))
        yield from until_durable(vhost.broker.outbox)
        return restored

    def reset(self, vhost: VHost, node: Node, *, everything: bool, closes: bool) -> Steps[int]:
        """Throw all messages away, or `everything` that is in the vhost, with its history; returns how many messages it had in queues."""
        if closes:
            self._close(vhost, node)
        count = yield from self._alone(vhost, node, self._empty(vhost) if everything else clear(vhost, RESET))
        yield from until_durable(vhost.broker.outbox)
        return count

    @staticmethod
    def _empty(vhost: VHost) -> Steps[int]:
        count = yield from clear(vhost, RESET)
        yield from restore(vhost, VHostState(vhost.broker.outbox.clock()), RESET)
        history_of(vhost).forget()
        return count

    def forget(self, vhost: str, number: str | None = None) -> None:
        """Let one go, or all of a vhost. Raises NotFound where there is no such one."""
        if number is None:
            self._states.pop(vhost, None)
        elif self._states.get(vhost, {}).pop(number, None) is None:
            raise NotFound(f"there is no snapshot '{number}' of virtual host '{vhost}'")

    @staticmethod
    def _close(vhost: VHost, node: Node) -> None:
        for connection in connections_of(vhost, node):
            connection.end(CLOSING)

    def _alone(self, vhost: VHost, node: Node, steps: Steps[T]) -> Steps[T]:
        """Take the steps while the vhost stands still. Raises Busy, and NotFound where the vhost goes meanwhile."""
        if vhost.name in self._busy:
            raise Busy(f"a snapshot, a restore or a reset of virtual host '{vhost.name}' is under way: ask again when it is over")
        self._busy.add(vhost.name)
        try:
            with self._rig.standstill.of(vhost, node):
                return (yield from _while_there(vhost, steps))
        finally:
            self._busy.discard(vhost.name)


def _capture_with_definitions(operations: Operations, vhost: VHost) -> Steps[tuple[VHostState, list[Section]]]:
    state = yield from capture(vhost)
    sections = definitions.sections(operations, vhost.name)
    # Definitions have bindings by destination. Some exchanges go by the order in which theirs were made, so it has to be told.
    order = {binding: position for position, binding in enumerate(each for one in vhost.exchanges.values() for each in one.bindings())}
    for section in sections:
        if section.name == "bindings":
            section.objects.sort(key=lambda pair: order[pair[1]])
    return state, sections


def _while_there(vhost: VHost, steps: Steps[T]) -> Steps[T]:
    try:
        while True:
            try:
                step = next(steps)
            except StopIteration as stop:
                result: T = stop.value
                return result
            yield step
            if vhost.broker.vhosts.get(vhost.name) is not vhost:
                raise NotFound(f"virtual host '{vhost.name}' was deleted meanwhile")
    finally:
        steps.close()


def _told(number: str, state: VHostState) -> Snapshot:
    return Snapshot(number, len(state.queues), state.messages, state.taken_ms)
