"""Whoever decides may take its time (broker.core.login.Undecided): every method is tried again, and then does what it would have done.

One conversation that has every method in it is held twice, with an identity that answers at once and with one that has to be asked. Both
times one question may be answered with no. In the end the two must have heard the same, in the same order, and left the same behind.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

import pytest

from broker.access.http_backend import Asking
from broker.core.classes import HANDLERS
from broker.core.login import Answer, Attempt, LoginRefused, Query, Undecided
from broker.core.permissions import Identity, refused, topic_refused, vhost_refused
from broker.core.session import Peer, Session
from protocol.content import Properties, encode_properties
from protocol.errors import ChannelException, HandshakeFailed
from protocol.methods import Access, Basic, Channel, Confirm, Connection, Exchange, Queue, Tx, make
from protocol.tables import table_of
from tests.core.playbook import Acked, Delivered, Playbook, PlayedChannel, Reply, Said, Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.core.login import Question
    from broker.core.permissions import Kind, Resource, TopicKind
    from protocol.methods import Method

GENERATED = re.compile(r"amq\.(gen|ctag|rabbitmq\.reply-to)[-.][\w.-]+")


class Judge(Identity):
    """Says no to questions by their number, and yes to all others: at once, or when `decide` was called."""

    def __init__(self, *, slow: bool, refuses: int | None) -> None:
        super().__init__("guest")
        self.slow = slow
        self.refuses = refuses
        self.count = 0
        self.asked: list[str] = []
        self.known: dict[str, bool] = {}

    def _says(self, question: str) -> bool:
        if question not in self.known:
            if self.slow:
                raise Undecided(Query(question, (), lambda answer: self._decide(question)))
            self._decide(question)
        return self.known[question] if self.slow else self.known.pop(question)

    def _decide(self, question: str) -> None:
        self.known[question] = self.count != self.refuses
        self.count += 1
        self.asked.append(GENERATED.sub(r"amq.\1", question))

    def check(self, kind: Kind, resource: Resource, name: str, vhost: str) -> None:
        if not self._says(f"{kind} {resource} {name}"):
            raise refused(kind, resource, name, vhost, self.name)

    def check_topic(self, kind: TopicKind, vhost: str, exchange: str, routing_key: str) -> None:
        if not self._says(f"{kind} topic {exchange} {routing_key}"):
            raise topic_refused(kind, routing_key, exchange, vhost, self.name)

    def check_vhost(self, vhost: str) -> None:
        if not self._says(f"vhost {vhost}"):
            raise vhost_refused(vhost, self.name)

    def conclude(self) -> None:
        self.known.clear()


class Court(Playbook):
    """A playbook whose clients are all the same identity; questions are answered a turn later."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        super().__init__()

    def _start(self) -> None:
        super()._start()
        self.broker.authenticator = self

    def mechanisms(self, peer: Peer) -> tuple[str, ...]:
        return ("PLAIN",)

    def authenticate(self, mechanism: str, response: bytes, peer: Peer, attempt: Attempt) -> Identity:
        self.identity.conclude()
        return self.identity

    def decide(self, question: Question) -> None:
        self.turns()
        assert isinstance(question, Query)
        question.answered(Answer("allow"))


# --- the conversation -----------------------------------------------------------------------------------------------------


def headers(**properties: Any) -> bytes:
    return encode_properties(Properties(**properties), 1)


def declares(c: PlayedChannel) -> None:
    c.exchange("alternate", "fanout", durable=True)
    c.exchange("x", "topic", durable=True, arguments={"alternate-exchange": "alternate"})
    c.exchange("x", "topic", durable=True, arguments={"alternate-exchange": "alternate"})
    c.do(Exchange.Declare, exchange="x", passive=True)


def declares_queues(c: PlayedChannel) -> None:
    c.declare("q", durable=True, arguments={"x-dead-letter-exchange": "alternate"})
    c.declare("q", durable=True, arguments={"x-dead-letter-exchange": "alternate"})
    c.do(Queue.Declare, queue="q", passive=True)
    c.declare("", exclusive=True)
    c.do(Queue.Bind, queue="", exchange="x", routing_key="a.b")
    c.declare("", exclusive=True, arguments={"x-dead-letter-exchange": "alternate"})
    c.declare("r")


def binds(c: PlayedChannel) -> None:
    c.bind("q", "x", "a.*")
    c.bind("r", "alternate")
    c.do(Exchange.Bind, source="x", destination="amq.fanout", routing_key="a.#")
    c.bind("r", "amq.fanout")


def publishes(c: PlayedChannel) -> None:
    c.do(Confirm.Select)
    c.publish("q", b"1")
    c.publish("q", b"2", b"3", b"4")
    c.publish("a.b", b"5", b"6", exchange="x")
    c.publish_run("a.b", [headers(message_id="7"), headers(message_id="8")], [b"7", b"8"], exchange="x")
    c.publish("nowhere", b"9", mandatory=True)
    c.publish("r", b"a", headers=table_of({"CC": ["q"]}))
    c.publish("r", b"b", user_id="guest")
    c.publish("r", b"c", expiration="100000")
    c.publish("other", b"d", exchange="x")


def commits(c: PlayedChannel) -> None:
    c.do(Tx.Select)
    c.publish("r", b"e")
    c.publish("a.c", b"f", exchange="x")
    c.get("r")
    c.do(Tx.Rollback)
    c.publish("r", b"g")
    c.publish("r", b"h")
    c.commit()


def consumes(c: PlayedChannel) -> None:
    c.qos(3)
    c.consume("q", "c")
    c.book.turns()
    c.ack(1)
    c.nack(2)
    c.reject(3, requeue=False)
    c.book.turns()
    c.do(Basic.Recover, requeue=True)
    c.do(Basic.RecoverAsync, requeue=True)
    c.do(Basic.Cancel, consumer_tag="c")
    c.do(Basic.Consume, queue="r", no_ack=True)
    c.do(Basic.Consume, queue="amq.rabbitmq.reply-to", no_ack=True)
    c.publish("q", b"i", reply_to="amq.rabbitmq.reply-to")


def gets(c: PlayedChannel) -> None:
    c.get("q", no_ack=True)
    c.get("q")
    c.acks(2)
    c.do(Access.Request)
    c.do(Channel.Flow, active=True)
    c.do(Queue.Purge, queue="r")
    c.publish("r", b"j")


def unbinds(c: PlayedChannel) -> None:
    c.do(Queue.Unbind, queue="q", exchange="x", routing_key="a.*")
    c.do(Queue.Unbind, queue="r", exchange="missing")
    c.do(Exchange.Unbind, source="x", destination="amq.fanout", routing_key="a.#")


def deletes(c: PlayedChannel) -> None:
    c.do(Queue.Delete, queue="r")
    c.do(Queue.Delete, queue="missing")
    c.do(Exchange.Delete, exchange="alternate")
    c.close()


CONVERSATION: tuple[Callable[[PlayedChannel], None], ...] = (
    declares, declares_queues, binds, publishes, commits, consumes, gets, unbinds, deletes,
)  # fmt: skip


# --- what came of it ------------------------------------------------------------------------------------------------------


def text(value: object) -> str:
    """Without what is drawn by lot."""
    return GENERATED.sub(r"amq.\1", str(value))


def said(reply: Reply) -> str:
    match reply:
        case Said(_, method):
            return text(f"{method.name} {method.marshal()!r}" if hasattr(method, "marshal") else method.name)
        case Delivered(channel, _, tag, redelivered, message):
            return f"deliver {channel} {tag} {redelivered} {message[0]} {message[3]!r}"
        case _:
            return text(reply)


def heard_by(channel: PlayedChannel) -> list[str]:
    """All of a channel's replies. How confirms are put together is the turns' business, and of a channel that was closed how many."""
    replies = channel.take()
    confirmed = [reply.tag for reply in replies if isinstance(reply, Acked)]
    lines = [said(reply) for reply in replies if not isinstance(reply, Acked)]
    if channel.number in channel.peer.session.channels:
        lines.append(f"confirmed up to {max(confirmed, default=0)}")
    return lines


def left_behind(book: Playbook) -> list[str]:
    """Everything that there is, and the numbers that were given."""
    vhost = book.broker.vhosts["/"]
    lines = [
        f"{text(name)} {[message[0] for part in book.waiting(queue) for message in part]} {queue.durable} {len(queue.consumers)} "
        f"{sorted(f'{text(binding.source.name)} {binding.routing_key}' for binding in vhost.bindings_to(queue))}"
        for name, queue in vhost.queues.items()
    ]
    lines += [f"{name} {exchange.type} {exchange.own_alternate}" for name, exchange in vhost.exchanges.items()]
    lines += sorted(text(entry.key) for entry in book.disk.entries())
    ledger = book.broker.outbox.ledger
    lines.append(f"ids {ledger.next_id} queues {book.broker.queue_ids} memory {book.broker.memory.used} records {len(book.disk.synced)}")
    return lines


def held(*, slow: bool, refuses: int | None) -> tuple[list[str], list[str]]:
    """The conversation: what was asked, and what came of it. A new channel for each part, and after a hard error a new connection."""
    judge = Judge(slow=slow, refuses=refuses)
    book = Court(judge)
    outcome: list[str] = []
    peer = book.connect()
    for part in CONVERSATION:
        if peer.lost:
            outcome += [said(reply) for reply in peer.take()]
            peer = book.connect()
            if peer.lost:
                outcome.append("lost")
                continue
        channel = peer.channel()
        try:
            part(channel)
        except KeyError:
            # The broker closed the channel: the protocol layer would drop the rest.
            if channel.number in peer.session.channels:
                raise
        book.settle()
        outcome.append(f"{part.__name__}: {heard_by(channel)}")
    return judge.asked, outcome + left_behind(book)


QUESTIONS = held(slow=False, refuses=None)[0]


def test_every_method_is_in_the_conversation(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[type] = set()
    on_method = Session.on_method

    def watch(session: Session, channel: int, method: Method) -> int:
        seen.add(type(method))
        return on_method(session, channel, method)

    monkeypatch.setattr(Session, "on_method", watch)
    held(slow=False, refuses=None)
    assert set(HANDLERS) <= seen


def test_nothing_is_changed_before_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every check of a method comes before its first change."""
    books: list[Court] = []
    counts: list[int] = []

    def watched(event: Callable[..., int]) -> Callable[..., int]:
        def watch(session: Session, *arguments: Any) -> int:
            before = left_behind(books[-1])
            try:
                return event(session, *arguments)
            except Undecided:
                assert left_behind(books[-1]) == before
                counts.append(1)
                raise

        return watch

    start = Court._start

    def remember(court: Court) -> None:
        books.append(court)
        start(court)

    monkeypatch.setattr(Court, "_start", remember)
    monkeypatch.setattr(Session, "on_method", watched(Session.on_method))
    monkeypatch.setattr(Session, "on_publishes", watched(Session.on_publishes))
    held(slow=True, refuses=None)
    assert len(counts) == len(QUESTIONS)


def test_nothing_is_refused_and_everything_asked() -> None:
    asked, outcome = held(slow=True, refuses=None)
    expected = held(slow=False, refuses=None)
    assert outcome == expected[1]
    assert asked == expected[0] == QUESTIONS and asked[0] == "vhost /"
    assert not any("Channel.Close " in line or "lost" in line for line in outcome), "nothing in the conversation is wrong"


@pytest.mark.parametrize("number", range(len(QUESTIONS)), ids=lambda number: f"{number}-{QUESTIONS[number].replace(' ', '-')}")
def test_one_is_refused(number: int) -> None:
    """Whatever is refused, and however late that is known, nothing is done twice or by half."""
    assert held(slow=True, refuses=number)[1] == held(slow=False, refuses=number)[1]


# --- what can happen meanwhile --------------------------------------------------------------------------------------------


@pytest.fixture
def court() -> Court:
    """Whoever asks here has to wait."""
    return Court(Judge(slow=True, refuses=None))


def test_a_login_that_takes_its_time(court: Court) -> None:
    """The handshake goes on where it was: one tune, one open-ok, counted once."""
    asked: list[Attempt] = []

    def authenticate(mechanism: str, response: bytes, peer: Peer, attempt: Attempt) -> Identity:
        asked.append(attempt)
        if attempt.ask("key", "user", ()).body != "allow" or attempt.ask("other", "user", ()).body != "allow":
            raise LoginRefused("no")
        return court.identity

    court.authenticate = authenticate  # type: ignore[method-assign]
    session = court.broker.open_session(Peer("peer", True))
    session.wire = wire = Wire()
    peer = court.connect()
    assert len(asked) == 3 and len(set(map(id, asked))) == 1 and not peer.lost
    assert (court.identity.connections, court.broker.connections, len(court.broker.vhosts["/"].sessions)) == (1, 1, 1)
    for method, heard in (
        (make(Connection.StartOk, mechanism="PLAIN", response=b""), "Connection.Tune"),
        (make(Connection.TuneOk, channel_max=2047, frame_max=131_072), None),
        (make(Connection.Open, virtual_host="/"), "Connection.OpenOk"),
    ):
        tried = 0
        while True:
            try:
                if tried:
                    session.retry()
                else:
                    session.on_method(0, method)
                break
            except Undecided as undecided:
                assert not wire.heard
                tried += 1
                court.decide(undecided.question)
        assert [reply.method.name for reply in wire.heard if isinstance(reply, Said)] == ([heard] if heard else [])
        wire.heard.clear()


def test_a_login_that_is_refused_late(court: Court) -> None:
    """As when it is refused at once: 403, and the handshake is over (contract 1.3)."""

    def authenticate(mechanism: str, response: bytes, peer: Peer, attempt: Attempt) -> Identity:
        attempt.ask("key", "user", ())
        raise LoginRefused("no")

    court.authenticate = authenticate  # type: ignore[method-assign]
    session = court.broker.open_session(Peer("peer", True))
    session.wire = wire = Wire()
    capabilities = table_of({"capabilities": {"authentication_failure_close": True}})
    with pytest.raises(Undecided) as caught:
        session.on_method(0, make(Connection.StartOk, mechanism="PLAIN", response=b"", client_properties=capabilities))
    assert not wire.heard
    court.decide(caught.value.question)
    with pytest.raises(HandshakeFailed, match="no"):
        session.retry()
    [close] = wire.heard
    assert isinstance(close, Said) and isinstance(close.method, Connection.Close) and close.method.reply_code == 403


def undecided(channel: PlayedChannel, event: Callable[[], object]) -> Question:
    """Begin an event that has to wait."""
    with pytest.raises(Undecided) as caught:
        event()
    assert not channel.take()
    return caught.value.question


def test_a_channel_that_the_broker_closes_meanwhile(court: Court) -> None:
    """Its frames are dropped, and this one with them; the connection goes on."""
    channel = court.connect().channel()
    session = channel.peer.session
    question = undecided(channel, lambda: session.on_method(channel.number, make(Queue.Declare, queue="q")))
    session.close_channel(channel.number, ChannelException(406, "a delivery wasn't acked in time"))
    court.decide(question)
    session.retry()
    assert "q" not in court.broker.vhosts["/"].queues and channel.names() == ["Channel.Close"]
    other = channel.peer.channel()
    assert other.call(Queue.Declare, queue="q").name == "Queue.DeclareOk"


def test_a_connection_that_ends_meanwhile(court: Court) -> None:
    channel = court.connect().channel()
    question = undecided(channel, lambda: channel.peer.session.on_method(channel.number, make(Queue.Declare, queue="q")))
    channel.peer.lose()
    court.decide(question)
    channel.peer.session.retry()
    court.settle()
    assert "q" not in court.broker.vhosts["/"].queues and not court.broker.sessions


def test_a_connection_that_ends_before_it_is_open(court: Court) -> None:
    session = court.broker.open_session(Peer("peer", True))
    session.wire = wire = Wire()
    session.on_method(0, make(Connection.StartOk, mechanism="PLAIN", response=b""))
    wire.heard.clear()
    with pytest.raises(Undecided) as caught:
        session.on_method(0, make(Connection.Open, virtual_host="/"))
    session.terminate()
    court.decide(caught.value.question)
    session.retry()
    assert not wire.heard and court.broker.connections == 0 and not court.broker.vhosts["/"].sessions


def test_a_generated_name_is_asked_for_once_and_used_once(court: Court) -> None:
    assert isinstance(court.identity, Judge)
    channel = court.connect().channel()
    names = [cast("Queue.DeclareOk", channel.call(Queue.Declare, exclusive=True)).queue for _ in range(3)]
    assert len(set(names)) == 3 and set(names) == set(court.broker.vhosts["/"].queues)
    assert court.identity.count == 4  # the vhost is the first


class TestRoutes:
    """Routes are remembered by publishers only as long as the decisions that let them."""

    def court(self, cache_seconds: float) -> tuple[Clerk, PlayedChannel]:
        clerk = Clerk(cache_seconds)
        channel = clerk.connect().channel()
        channel.declare("q", durable=True)
        clerk.settle()
        channel.take()
        clerk.asked.clear()
        return clerk, channel

    def test_remembered(self) -> None:
        clerk, channel = self.court(15.0)
        for _ in range(3):
            channel.publish("q", b"1", b"2")
        assert clerk.asked == ["write amq.default"]
        clerk.seconds += 15.0
        clerk.answer = "deny"
        channel.publish("q", b"3")
        assert clerk.asked == ["write amq.default"] * 2
        assert channel.refusal()[1].startswith("ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused")
        assert clerk.ready("q") == [b"1", b"2"] * 3

    def test_not_remembered(self) -> None:
        clerk, channel = self.court(0)
        for _ in range(3):
            channel.publish("q", b"1", b"2")
        assert clerk.asked == ["write amq.default"] * 3 and len(clerk.ready("q")) == 6

    def test_a_refusal_is_remembered_too(self) -> None:
        clerk, channel = self.court(15.0)
        clerk.answer = "deny"
        for _ in range(2):
            channel = channel.peer.channel()
            channel.publish("q", b"1")
            assert channel.refusal()[0] == 403
        assert clerk.asked == ["write amq.default"]

    def test_topics(self) -> None:
        clerk, channel = self.court(15.0)
        for key in ("a", "b", "a", "b"):
            channel.publish(key, b"1", exchange="amq.topic")
        assert clerk.asked == ["write amq.topic", "write amq.topic a", "write amq.topic b"]


class Clerk(Court):
    """Another server, which is asked by HTTP."""

    def __init__(self, cache_seconds: float) -> None:
        self.seconds = 0.0
        self.answer = "allow"
        self.asked: list[str] = []
        super().__init__(Asking("guest", (), "203.0.113.7", lambda: self.seconds, cache_seconds))

    def decide(self, question: Question) -> None:
        assert isinstance(question, Query)
        fields = {name: value.decode() for name, value in question.fields}
        self.asked.append(" ".join(fields[name] for name in ("permission", "name", "routing_key") if name in fields))
        question.answered(Answer(self.answer))
