"""A rule: what goes wrong, at which moments, and how often. It counts by itself.

A moment *fits* if its method is one that the rule is on, and each filter that was given fits it. The first `skip` moments that fit go
through, then `chance` is drawn for each, and after `times` hits the rule is spent.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from broker.testing.faults.moment import HOLD

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from broker.core.session import Session
    from broker.core.timers import Timer
    from broker.testing.faults.actions.action import Action
    from broker.testing.faults.connection import FaultyConnection
    from broker.testing.faults.moment import About, Moment
    from broker.testing.faults.rules import Rules

CONNECTION_FILTERS: Final = ("vhost", "client_name", "user")
SUBJECT_FILTERS: Final = ("queue", "exchange", "routing_key", "consumer_tag")


class Pattern:
    """A name, exactly; with `*` in it, which stands for anything, all names that look so."""

    __slots__ = ("_expression", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._expression = re.compile(".*".join(map(re.escape, text.split("*"))), re.DOTALL) if "*" in text else None

    def fits(self, name: str | None) -> bool:
        """None, for what there isn't, fits nothing."""
        if name is None:
            return False
        return name == self.text if self._expression is None else self._expression.fullmatch(name) is not None


class Hold:
    """Something that a rule holds back until `seconds` of the broker's clock have passed (None: for ever), or the rule is taken away."""

    __slots__ = ("_let_go", "_rule", "_timer")

    def __init__(self, rule: Rule, seconds: float | None, let_go: Callable[[], None]) -> None:
        self._rule = rule
        self._let_go = let_go
        self._timer: Timer | None = None if seconds is None else rule.rules.later(seconds, self.end)
        rule.holds[self] = None

    def end(self) -> None:
        """Let it go now; again is fine."""
        if self in self._rule.holds:
            del self._rule.holds[self]
            if self._timer is not None:
                self._timer.cancel()
            self._let_go()


class Rule:
    """See the module. `order` is what a test sent, with what it left out; without `methods` it begins at once."""

    def __init__(
        self,
        rules: Rules,
        rule_id: str,
        order: dict[str, Any],
        action: Action,
        methods: frozenset[str],
        filters: dict[str, Pattern],
        random: Random,
    ) -> None:
        self.rules = rules
        self.id = rule_id
        self.order = order
        self.action = action
        self.methods = methods
        self.when: str | None = HOLD if HOLD in action.whens else order.get("when")
        self.skip: int = order["skip"]
        self.times: int | None = order["times"]
        self.chance: float | None = order.get("chance")
        self.random = random
        self.hits = 0
        self.seen = 0
        """Moments that fit, hit or not."""
        self.last: dict[str, Any] | None = None
        """When and where the last hit was."""
        self.is_removed = False
        self.holds: dict[Hold, None] = {}
        self.connections: dict[FaultyConnection, None] = {}
        """On which a state has begun."""
        self._on_connection = [(name, filters[name]) for name in CONNECTION_FILTERS if name in filters and not action.is_of_the_broker]
        self._on_subject = [(name, filters[name]) for name in SUBJECT_FILTERS if name in filters]

    @property
    def vhost(self) -> str | None:
        """Where it is in effect, if it says so by the name: it goes when that goes."""
        return self.order.get("vhost")

    @property
    def is_spent(self) -> bool:
        """It won't hit any more."""
        return self.is_removed or (self.times is not None and self.hits >= self.times)

    @property
    def facts(self) -> dict[str, Any]:
        """What a test is shown of it."""
        remaining = None if self.times is None else self.times - self.hits
        return {"id": self.id, "rule": self.order, "hits": self.hits, "remaining": remaining, "seen": self.seen, "last": self.last}

    # --- does it fit? -----------------------------------------------------------------------------------------------

    def concerns(self, session: Session) -> bool:
        """Something that is said on that connection may fit."""
        said = {"vhost": session.vhost_name, "client_name": session.own_name, "user": session.user_name}
        return all(pattern.fits(said[name]) for name, pattern in self._on_connection)

    @property
    def is_personal(self) -> bool:
        """It is about some connections or consumers, and not about all that use a queue."""
        return any(name in ("client_name", "user") for name, _ in self._on_connection) or any(
            name == "consumer_tag" for name, _ in self._on_subject
        )

    def fits(self, moment: Moment) -> bool:
        """See the module."""
        return (
            moment.method in self.methods
            and all(pattern.fits(getattr(moment, name)) for name, pattern in self._on_connection)
            and (not self._on_subject or any(map(self.is_about, moment.about)))
            and self.action.fits(moment)
        )

    def is_about(self, about: About) -> bool:
        """This is what the rule is about."""
        return all(pattern.fits(getattr(about, name)) for name, pattern in self._on_subject)

    # --- counting ---------------------------------------------------------------------------------------------------

    def hits_now(self, moment: Moment) -> bool:
        """Ask it about a moment, once; it counts."""
        if self.is_spent or not self.fits(moment):
            return False
        self.seen += 1
        if self.seen <= self.skip or (self.chance is not None and self.random.random() >= self.chance):
            return False
        self.count(moment.session, moment.method, moment.number)
        return True

    def count(self, session: Session | None, method: str | None = None, channel: int = 0) -> None:
        """It hits."""
        self.hits += 1
        self.last = {"at_ms": self.rules.now_ms(), "method": method, "when": self.order.get("when")}
        if session is not None:
            self.last |= {"connection": session.peer.name, "client_name": session.own_name, "user": session.user_name, "channel": channel}
            self.rules.tell(session, self, method)

    def hold(self, seconds: float | None, let_go: Callable[[], None]) -> Hold:
        """Have `let_go` called later, or when the rule is taken away; see Hold."""
        return Hold(self, seconds, let_go)

    # --- states -----------------------------------------------------------------------------------------------------

    def begin(self, connection: FaultyConnection) -> None:
        """A state begins on that connection, which has been counted."""
        self.connections[connection] = None
        self.action.begin(self, connection)

    def end(self, connection: FaultyConnection) -> None:
        """It is over there; again is fine."""
        if connection in self.connections:
            del self.connections[connection]
            self.action.end(self, connection)

    def remove(self) -> None:
        """Take the rule away: what it holds back is let go, its states end."""
        self.is_removed = True
        for connection in list(self.connections):
            self.end(connection)
        for hold in list(self.holds):
            hold.end()
