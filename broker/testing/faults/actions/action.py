"""What can go wrong: the base of all actions, and what a test may say of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from broker.testing.faults.moment import AFTER, BEFORE, BROKER_METHODS, CLIENT_METHODS

if TYPE_CHECKING:
    from collections.abc import Collection

    from broker.testing.faults.connection import FaultyConnection
    from broker.testing.faults.moment import Moment
    from broker.testing.faults.rule import Rule

ANY_METHOD: Final = CLIENT_METHODS | BROKER_METHODS
EITHER: Final = (BEFORE, AFTER)


class Option(NamedTuple):
    """One of an action's own fields. `kind` is text, whole number, number, flag, or words with `|` between them; a number is 0 or more."""

    kind: str
    what: str
    default: Any = None
    is_required: bool = False


class Action:
    """One for each rule; `options` are its own fields, checked and complete. Its docstring says what a test needs to know."""

    name: ClassVar[str]
    methods: ClassVar[frozenset[str]] = frozenset()
    """What it may be on; nothing, if it begins with the rule."""
    on: ClassVar[str | None] = None
    """What it is on if the rule doesn't say, `*` for whatever the client says; None: it begins at once."""
    whens: ClassVar[tuple[str, ...]] = (BEFORE,)
    """Of these the first is meant if the rule doesn't say."""
    times: ClassVar[int | None] = 1
    """How often, if the rule doesn't say."""
    is_state: ClassVar[bool] = False
    """It lasts, on a connection, until the rule is taken away."""
    is_of_the_broker: ClassVar[bool] = False
    """It is about all connections: no filter makes sense."""
    options: ClassVar[dict[str, Option]] = {}

    def __init__(self, options: dict[str, Any]) -> None:
        self.given = options

    @classmethod
    def check_moment(cls, methods: Collection[str], when: str) -> None:
        """Raises ValueError if it can't be at any of these methods."""

    def fits(self, moment: Moment) -> bool:
        """Whether it can be done at such a moment."""
        return True

    def act(self, rule: Rule, moment: Moment) -> bool:
        """Do it; True if the moment itself doesn't take place any more. May raise what events raise."""
        raise NotImplementedError

    def ordered(self, rule: Rule) -> None:
        """The rule is in effect from now on."""

    def removed(self, rule: Rule) -> None:
        """The rule was taken away."""

    def begin(self, rule: Rule, connection: FaultyConnection) -> None:
        """Of a state: it begins there."""

    def end(self, rule: Rule, connection: FaultyConnection) -> None:
        """Of a state: it ends there."""


class State(Action):
    """What lasts on a connection: from the moment that the rule is on, or else from the rule's or the connection's beginning."""

    methods = ANY_METHOD
    whens = (AFTER, BEFORE)
    times = None
    is_state = True

    def act(self, rule: Rule, moment: Moment) -> bool:
        """See Action."""
        if moment.connection not in rule.connections:
            rule.begin(moment.connection)
        return False
