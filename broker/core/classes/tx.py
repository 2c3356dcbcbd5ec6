"""Classes tx and confirm: the two modes of a channel, of which it can have one (contract 5.4, 8.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocol.constants import PRECONDITION_FAILED
from protocol.errors import ChannelException
from protocol.methods import Confirm, Tx, make

if TYPE_CHECKING:
    from broker.core.channel import Channel
    from broker.core.session import Session
    from broker.core.transaction import Transaction


def confirm_select(session: Session, channel: Channel, method: Confirm.Select) -> None:
    """confirm.select: publishes are counted from the first one on."""
    if channel.transaction is not None:
        raise ChannelException(PRECONDITION_FAILED, "cannot switch from tx to confirm mode")
    if channel.confirms is None:
        channel.confirms = channel.confirms_type(channel)
    if not method.nowait:
        channel.send(make(Confirm.SelectOk))


def select(session: Session, channel: Channel, method: Tx.Select) -> None:
    """tx.select"""
    if channel.confirms is not None:
        raise ChannelException(PRECONDITION_FAILED, "cannot switch from confirm to tx mode")
    if channel.transaction is None:
        channel.transaction = channel.transaction_type(channel)
    channel.send(make(Tx.SelectOk))


def _transaction(channel: Channel) -> Transaction:
    if channel.transaction is None:
        raise ChannelException(PRECONDITION_FAILED, "channel is not transactional")
    return channel.transaction


def commit(session: Session, channel: Channel, method: Tx.Commit) -> None:
    """tx.commit: commit-ok when all of it is durable."""
    transaction = _transaction(channel)
    transaction.commit()
    if session.broker.outbox.has_records:
        transaction.committing = True
        channel.send_durable(make(Tx.CommitOk))
    else:
        channel.send(make(Tx.CommitOk))


def rollback(session: Session, channel: Channel, method: Tx.Rollback) -> None:
    """tx.rollback"""
    _transaction(channel).rollback()
    channel.send(make(Tx.RollbackOk))
