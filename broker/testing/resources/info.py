"""What broker it is, and what time it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from broker.admin.routing import Access, Route
from broker.identity import LEVERET_VERSION

if TYPE_CHECKING:
    from broker.admin.call import Call
    from broker.testing.broker import WatchedBroker
    from broker.testing.rig import Rig

ROOT: Final = "/api/leveret/testing"


def rig_of(call: Call) -> Rig:
    """What the broker has for tests."""
    return cast("WatchedBroker", call.broker).rig


def get_info(call: Call) -> Any:
    """Tells the broker's version, seed and time."""
    rig = rig_of(call)
    return {
        "leveret_version": LEVERET_VERSION,
        "seed": rig.seed,
        "now_ms": rig.clock.now_ms(),
        "frozen": rig.clock.is_frozen,
        "data_dir": None if call.context.config.data_dir is None else str(call.context.config.data_dir),
        "listeners": [{"protocol": each.protocol, "host": each.host, "port": each.port} for each in call.context.node.listeners],
    }


ROUTES: Final = (Route("GET", ROOT, get_info, Access.TESTING, shows="object"),)
