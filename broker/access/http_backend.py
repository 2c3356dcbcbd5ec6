"""Another server decides, by HTTP (https://github.com/rabbitmq/rabbitmq-server/tree/main/deps/rabbitmq_auth_backend_http).

    user        username, password                                          -> allow tag1 tag2 ...
    vhost       username, vhost, ip, tags                                   -> allow
    resource    username, vhost, resource, name, permission, tags           -> allow
    topic       the same with resource=topic, routing_key, variable_map.*   -> allow

Any question may be answered with `deny`; everything else is an error, which refuses as well. What is asked and what an answer means
is said here; broker/runtime does the asking.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from broker.access.backends import Rejected
from broker.core.login import Query, Undecided
from broker.core.permissions import DECISIONS_MAX, DEFAULT_EXCHANGE, Identity, octets, refused, topic_refused, vhost_refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.access.backends import Credentials
    from broker.core.login import Answer, Attempt
    from broker.core.permissions import Kind, Resource, TopicKind

NAME: Final = "rabbit_auth_backend_http"
"""What texts call it, as RabbitMQ does."""
SHOWN_MAX: Final = 40
"""Of an answer that makes no sense, so much is shown."""

Fields = tuple[tuple[str, bytes], ...]


class Decision(NamedTuple):
    """What the other server said of one question; an error refuses, and isn't remembered."""

    is_allowed: bool
    error: str = ""


class Http:
    """The other server (broker.access.backends.Backend). `clock` tells seconds; decisions count for `cache_seconds`."""

    def __init__(self, clock: Callable[[], float], cache_seconds: float) -> None:
        self._clock = clock
        self._cache_seconds = cache_seconds

    def authenticate(self, credentials: Credentials, attempt: Attempt) -> tuple[str, ...]:
        """See Backend."""
        name, password, _ = credentials
        fields: Fields = (("username", octets(name)),)
        if password is not None:
            fields += (("password", password),)
        answer = attempt.ask(NAME, "user", fields)
        words = answer.body.lower().split()
        if not answer.error and words[:1] == ["allow"]:
            return tuple(words[1:])
        if not answer.error and words == ["deny"]:
            raise Rejected(f"user '{name}' - Denied by the backing HTTP service")
        raise Rejected(f"{NAME} failed authenticating {name}: {answer.error or _bad_response(answer)}", is_guess=False)

    def authorize(self, credentials: Credentials, tags: tuple[str, ...], attempt: Attempt, *, proven_here: bool) -> Identity:
        """See Backend. Whom another backend has let in is asked for here too; the tags are then still the other's, as in RabbitMQ."""
        if not proven_here:
            self.authenticate(credentials, attempt)
        return Asking(credentials.user, tags, credentials.address, self._clock, self._cache_seconds)


class Asking(Identity):
    """An identity whose permissions another server knows. One connection's: what was decided is remembered here."""

    __slots__ = ("_address", "_answers", "_cache_seconds", "_clock", "_decisions", "_revision", "_tag_words")

    def __init__(self, name: str, tags: tuple[str, ...], address: str, clock: Callable[[], float], cache_seconds: float) -> None:
        self._revision = 0
        self._clock = clock
        self._cache_seconds = cache_seconds
        self._address = address
        self._tag_words = " ".join(tags)
        self._decisions: dict[Fields, tuple[float, Decision]] = {}
        """By question, until when they count: the oldest first."""
        self._answers: dict[Fields, Decision] = {}
        """What was asked for the event that is being tried: it counts until that is over, however long that takes."""
        super().__init__(name, tags)

    @property
    def revision(self) -> int:
        """See Identity: it also grows when a decision is no longer remembered, for routes depend on it."""
        if self._decisions:
            self._forget_old()
        return self._revision

    @revision.setter
    def revision(self, revision: int) -> None:
        self._revision = revision

    def check_vhost(self, vhost: str) -> None:
        """See Identity."""
        decision = self._decide("vhost", ("vhost", vhost), ("ip", self._address), ("tags", self._tag_words))
        if not decision.is_allowed:
            raise vhost_refused(vhost, self.name, _because(decision))

    def permits(self, kind: Kind, resource: Resource, name: str, vhost: str) -> bool:
        """See Identity."""
        return self._may(kind, resource, name, vhost).is_allowed

    def check(self, kind: Kind, resource: Resource, name: str, vhost: str) -> None:
        """See Identity."""
        decision = self._may(kind, resource, name, vhost)
        if not decision.is_allowed:
            raise refused(kind, resource, name, vhost, self.name, _because(decision))

    def check_topic(self, kind: TopicKind, vhost: str, exchange: str, routing_key: str) -> None:
        """See Identity."""
        decision = self._decide(
            "topic",
            ("vhost", vhost),
            ("resource", "topic"),
            ("name", exchange),
            ("permission", kind),
            ("tags", self._tag_words),
            ("routing_key", routing_key),
            ("variable_map.username", self.name),
            ("variable_map.vhost", vhost),
        )
        if not decision.is_allowed:
            raise topic_refused(kind, routing_key, exchange, vhost, self.name, _because(decision))

    def conclude(self) -> None:
        """See Identity."""
        self._answers.clear()
        if self._cache_seconds <= 0:
            self._revision += 1

    def _may(self, kind: Kind, resource: Resource, name: str, vhost: str) -> Decision:
        asked = name if name or resource == "queue" else DEFAULT_EXCHANGE
        return self._decide(
            "resource", ("vhost", vhost), ("resource", resource), ("name", asked), ("permission", kind), ("tags", self._tag_words)
        )

    def _decide(self, kind: str, *parameters: tuple[str, str]) -> Decision:
        """What was said of this question. Raises Undecided if it has to be asked."""
        fields: Fields = (("username", octets(self.name)), *((name, octets(value)) for name, value in parameters))
        answer = self._answers.get(fields)
        if answer is not None:
            return answer
        self._forget_old()
        remembered = self._decisions.get(fields)
        if remembered is not None:
            return remembered[1]
        raise Undecided(Query(kind, fields, lambda given: self._take(fields, given)))

    def _take(self, fields: Fields, answer: Answer) -> None:
        """The other server has answered."""
        decision = _decision(answer)
        self._answers[fields] = decision
        if not decision.error and self._cache_seconds > 0:
            if len(self._decisions) >= DECISIONS_MAX:
                self._decisions.clear()
                self._revision += 1
            self._decisions[fields] = (self._clock() + self._cache_seconds, decision)

    def _forget_old(self) -> None:
        now = self._clock()
        while self._decisions:
            fields = next(iter(self._decisions))
            if self._decisions[fields][0] > now:
                return
            del self._decisions[fields]
            self._revision += 1


def _decision(answer: Answer) -> Decision:
    word = answer.body.strip().lower()
    if not answer.error and word in ("allow", "deny"):
        return Decision(word == "allow")
    return Decision(False, answer.error or _bad_response(answer))


def _bad_response(answer: Answer) -> str:
    """RabbitMQ's words for what is neither allow nor deny."""
    shown = answer.body if len(answer.body) <= SHOWN_MAX else answer.body[:SHOWN_MAX] + "..."
    return f"bad_response {shown!r}, expected allow or deny"


def _because(decision: Decision) -> str:
    return f", backend {NAME} returned an error: {decision.error}" if decision.error else ""
