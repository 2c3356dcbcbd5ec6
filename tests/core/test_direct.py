"""A channel without a socket (core/direct.py) while what it works in goes away."""

import pytest

from broker.core.direct import Closed, Direct, Reply
from broker.core.login import Answer, Query, Undecided
from broker.core.session import Peer
from protocol.constants import CONNECTION_FORCED
from protocol.methods import Queue, make
from tests.core.playbook import Playbook
from tests.core.test_undecided import Judge


class Talk:
    """A direct channel in a vhost of its own, and what it heard."""

    def __init__(self, book: Playbook, *, slow: bool) -> None:
        self.broker = book.broker
        self.vhost = book.broker.add_vhost("v")
        self.heard: list[Reply] = []
        judge = Judge(slow=slow, refuses=None)
        self.direct = Direct(book.broker, self.vhost, judge, Peer("management", True), self.heard.append)
        self.heard.clear()

    def declare(self) -> None:
        self.direct.send(make(Queue.Declare, queue="q", durable=True))

    def is_ended(self) -> bool:
        (closed,) = self.heard
        return isinstance(closed, Closed) and closed.error.code == CONNECTION_FORCED and not self.broker.channels


def test_a_vhost_that_is_deleted_ends_it_and_gets_nothing_more(book: Playbook) -> None:
    talk = Talk(book, slow=False)
    book.broker.delete_vhost(talk.vhost)
    talk.declare()
    talk.direct.publish(b"\0\1q", 0, bytes(14), b"")
    book.restart()  # which an entry of a vhost that isn't there would stop
    assert talk.is_ended()
    talk.direct.close()
    assert talk.is_ended()


def test_what_is_being_decided_meanwhile_is_not_done(book: Playbook) -> None:
    talk = Talk(book, slow=True)
    with pytest.raises(Undecided) as undecided:
        talk.declare()
    book.broker.delete_vhost(talk.vhost)
    assert isinstance(undecided.value.question, Query)
    undecided.value.question.answered(Answer("allow"))
    talk.direct.session.retry()
    book.restart()
    assert talk.is_ended()
