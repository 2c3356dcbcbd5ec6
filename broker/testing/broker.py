"""The broker under test: it makes watched vhosts and sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker.core.broker import Broker
from broker.testing.lives.outbox import RememberingOutbox
from broker.testing.session import WatchedSession
from broker.testing.vhost import WatchedVHost

if TYPE_CHECKING:
    from broker.core.login import Authenticator
    from broker.testing.rig import Rig
    from protocol.tables import Table


class WatchedBroker(Broker):
    """See the module."""

    vhost_type = WatchedVHost
    session_type = WatchedSession
    outbox_type = RememberingOutbox

    def __init__(self, rig: Rig, authenticator: Authenticator, server_properties: Table, **options: Any) -> None:
        """`options` are the keywords of Broker."""
        super().__init__(authenticator, server_properties, rig.clock.now_ms, rig.random_bytes, **options)
        self.rig = rig
        rig.broker = self

    def serve(self) -> bool:
        """See Broker."""
        return self.rig.standstill.serve(self.outbox, super().serve)
