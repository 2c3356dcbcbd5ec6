"""A channel of a broker under test."""

from __future__ import annotations

from broker.testing.lives.channel import RememberingChannel, RememberingTransaction
from broker.testing.vanished import ForgivingChannel, ForgivingTransaction


class WatchedTransaction(ForgivingTransaction, RememberingTransaction):
    """What it holds until its commit."""


class WatchedChannel(ForgivingChannel, RememberingChannel):
    """See the module."""

    transaction_type = WatchedTransaction
