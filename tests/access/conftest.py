"""A broker whose users and vhosts an operator changes while clients are connected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.access.users import User, Users
from broker.core import entries
from broker.operations import Operations
from tests.core.playbook import Playbook

if TYPE_CHECKING:
    from broker.core.login import Attempt
    from broker.core.permissions import Identity
    from broker.core.session import Peer


class Office(Playbook):
    """A playbook with users: `connect(user="u", vhost="v")` logs in as one, whatever its password."""

    def _start(self) -> None:
        super()._start()
        self.users = Users()
        for entry in self.disk.entries():
            if entry.key.startswith("user/"):
                self.users.put(User.from_json(entries.load(entry.value)))
        self.operations = Operations(self.broker, self.users)
        self.broker.authenticator = _ByName(self.users)


class _ByName:
    def __init__(self, users: Users) -> None:
        self._users = users

    def mechanisms(self, peer: Peer) -> tuple[str, ...]:
        return ("PLAIN",)

    def authenticate(self, mechanism: str, response: bytes, peer: Peer, attempt: Attempt) -> Identity:
        found = self._users.get(response.decode())
        assert found is not None
        return found


@pytest.fixture
def office() -> Office:
    """With the user guest, who may do everything in /."""
    office = Office()
    office.operations.add_user("guest", "guest", ["administrator"])
    office.operations.set_permissions("guest", "/", ".*", ".*", ".*")
    office.settle()
    return office
