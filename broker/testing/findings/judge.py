"""Who collects findings: one per broker. What the core does is judged by what a client is doing meanwhile, the *scene*."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from broker.core.internal_events import INTERNAL_USER
from broker.testing.findings.finding import Finding, Findings
from protocol.tables import plain, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from broker.core.channel import Channel
    from broker.core.message import Message
    from broker.core.queue import Queue
    from broker.core.session import Session
    from protocol.methods import Method

NAME_LENGTH_MAX: Final = 200
"""Of what a client says of itself."""


class Scene:
    """What a client does just now: a method on a channel (None where there is none). The core's part is filled in as it comes about."""

    __slots__ = ("channel", "enqueued", "method", "refused", "session")

    def __init__(self, session: Session, channel: Channel | None, method: type[Method]) -> None:
        self.session = session
        self.channel = channel
        self.method = method
        self.enqueued: list[tuple[Queue, list[Message]]] = []
        """What was published, where it went."""
        self.refused: list[Queue] = []
        """Those that were full."""

    @property
    def place(self) -> dict[str, Any]:
        """Who does it."""
        return place_of(self.session, self.channel)


class Judge:
    """See the module."""

    def __init__(self) -> None:
        self.scene: Scene | None = None
        self.single_connections: Counter[tuple[str, str | None]] = Counter()
        """By vhost and client: connections that were opened for one message each."""
        self._vhosts: dict[str, Findings] = {}

    def of(self, vhost: str) -> Findings:
        """All of a vhost."""
        found = self._vhosts.get(vhost)
        if found is None:
            found = self._vhosts[vhost] = Findings()
        return found

    def forget(self, vhost: str) -> None:
        """The vhost is gone, or begins anew."""
        self._vhosts.pop(vhost, None)
        for key in [each for each in self.single_connections if each[0] == vhost]:
            del self.single_connections[key]

    def note(self, code: str, where: dict[str, Any], details: dict[str, Any] | None = None, **how: Any) -> None:
        """A finding in the vhost that `where` names; `how` are the other arguments of Finding."""
        self.of(where["vhost"]).add(Finding(code, where, details, **how))

    def note_all(self, findings: Iterable[Finding]) -> None:
        """The same for some that are there."""
        for finding in findings:
            self.of(finding.where["vhost"]).add(finding)

    @contextmanager
    def watching(self, scene: Scene | None) -> Iterator[None]:
        """While a client does something; None: what happens now is nobody's doing."""
        before, self.scene = self.scene, scene
        try:
            yield
        finally:
            self.scene = before

    def place(self, queue: Queue) -> dict[str, Any]:
        """A queue, and who is doing something with it."""
        scene = self.scene
        user = queue.vhost.broker.acting_user
        who = scene.place if scene is not None else {"user": None if user == INTERNAL_USER else user}
        return {**who, "vhost": queue.vhost.name, "queue": queue.name}


def place_of(session: Session, channel: Channel | None = None) -> dict[str, Any]:
    """A connection, or a channel of it."""
    return {
        "vhost": session.vhost_name,
        "client_name": client_name(session),
        "user": session.user_name,
        "connection": session.peer.name,
        "channel": None if channel is None else channel.number,
    }


def client_name(session: Session) -> str | None:
    """The name that the client gave the connection, or else what kind of client it says it is."""
    return session.own_name[:NAME_LENGTH_MAX] or product_of(session)


def product_of(session: Session) -> str | None:
    """What kind of client it says it is."""
    product = session.client_properties.get("product")
    return text(product.value)[:NAME_LENGTH_MAX] if product is not None and product.kind == "S" else None


def arguments_of(queue: Queue) -> dict[str, Any]:
    """What a queue was declared with, as JSON has it."""
    return plain(queue.arguments.table)
