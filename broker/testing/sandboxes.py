"""A vhost and a user for one test, made in no time and gone in no time, whatever its clients are doing.

A sandbox is told by a tag, of its vhost and of its user, which the catalog keeps: one that was made before a restart can be ended too.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from broker.operations import PROTECTED, NotFound

if TYPE_CHECKING:
    from broker.node import Node
    from broker.operations import Operations
    from broker.testing.connection import WatchedConnection
    from broker.testing.rig import Rig

TAG: Final = "sandbox"
EVERYTHING: Final = ".*"
NAME_BYTES: Final = 6
PASSWORD_BYTES: Final = 16


class Sandbox(NamedTuple):
    """What a test logs in with, and where."""

    vhost: str
    user: str
    password: str


class Sandboxes:
    """Makes them and ends them."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._chance = rig.chance("sandboxes")

    def begin(self, operations: Operations, name: str, acting_user: str) -> Sandbox:
        """A vhost, and a user of the same name who may do everything there. A name that is taken gets a number; for an empty one there is
        one from the seed. Raises InvalidOperation for what can't be a name."""
        password = self._chance.randbytes(PASSWORD_BYTES).hex()
        name = self._free(operations, name or f"{TAG}-{self._chance.randbytes(NAME_BYTES).hex()}")
        operations.put_vhost(name, description="of one test", tags=[TAG], acting_user=acting_user)
        operations.add_user(name, password, ["management", TAG], acting_user=acting_user)
        operations.set_permissions(name, name, EVERYTHING, EVERYTHING, EVERYTHING, acting_user=acting_user)
        return Sandbox(name, name, password)

    @staticmethod
    def _free(operations: Operations, wanted: str) -> str:
        names = (f"{wanted}-{number}" if number else wanted for number in count())
        return next(each for each in names if each not in operations.broker.vhosts and each not in operations.users)

    def end(self, operations: Operations, node: Node, name: str, acting_user: str) -> None:
        """Close its connections, and delete the vhost, the user, and all that the rig keeps about it. What the test has deleted by itself
        is missed by nobody. Raises NotFound where there is no such sandbox."""
        vhost, user = operations.broker.vhosts.get(name), operations.users.get(name)
        if vhost is not None and TAG not in vhost.metadata.get("tags", ()):
            vhost = None
        if user is not None and TAG not in user.tags:
            user = None
        if vhost is None and user is None:
            raise NotFound(f"there is no sandbox '{name}'")
        for connection in list(node.server.connections):
            session = connection.session
            if (vhost and session.vhost_name == name) or (user and getattr(session, "identity", None) is user):
                cast("WatchedConnection", connection).end(f"sandbox '{name}' is over")
        if user is not None:
            operations.delete_user(name, acting_user=acting_user)
        if vhost is not None:
            if vhost.metadata.get(PROTECTED):
                operations.put_vhost(name, protected=False, acting_user=acting_user)
            operations.delete_vhost(name, acting_user=acting_user)
        for forget in self._rig.on_sandbox_end:
            forget(name)
