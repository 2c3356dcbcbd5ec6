"""A channel of a broker under test."""

from __future__ import annotations

from broker.testing.faults.confirms import FaultyConfirms
from broker.testing.faults.consumers import FaultyConsumer
from broker.testing.lives.channel import RememberingChannel, RememberingConsumer, RememberingTransaction
from broker.testing.lives.confirms import RememberingConfirms
from broker.testing.states.vanished import ForgivingChannel, ForgivingTransaction


class WatchedConfirms(FaultyConfirms, RememberingConfirms):
    """What its publisher is told."""


class WatchedConsumer(FaultyConsumer, RememberingConsumer):
    """One basic.consume."""


class WatchedTransaction(ForgivingTransaction, RememberingTransaction):
    """What it holds until its commit."""


class WatchedChannel(ForgivingChannel, RememberingChannel):
    """See the module."""

    confirms_type = WatchedConfirms
    consumer_type = WatchedConsumer
    transaction_type = WatchedTransaction
