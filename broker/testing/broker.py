"""The broker under test: it makes watched vhosts and sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker.core import entries
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
        super().__init__(authenticator, server_properties, rig.clock.now_ms, rig.chance("names").randbytes, **options)
        self.rig = rig
        rig.broker = self
        self._started_seconds = rig.seed & 0x7FFFFFFF  # process numbers stand in events
        if self.logs:
            self.outbox.put(entries.TESTING_STARTS, entries.dump({"count": rig.starts}))

    def serve(self) -> None:
        """See Broker."""
        self.rig.scheduling.arrange(self.outbox)
        self.rig.standstill.serve(self.outbox, super().serve)
