"""What is to go wrong, and how often: rules that the broker follows.

    with broker.faults.drop_connection(after_publishes=3) as fault:
        ...
    assert fault.hits == 1

A rule holds from the call on, until the block ends or `remove`, and for one time unless `times` says otherwise (None: every time). Each method
takes what the rule is limited to as well (Which). What is left to chance depends on the broker's seed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec

if TYPE_CHECKING:

    from leveret.broker import Broker

P = ParamSpec("P")


class Fault:
    """A rule that holds."""

    def __init__(self, broker: Broker, id: str, rule: dict[str, Any]) -> None:
        self._broker = broker
        self.id = id
        self.rule = rule


class Faults:
    """Those of one vhost."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker


class AsyncFaults:
    """As Faults, with coroutines."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
