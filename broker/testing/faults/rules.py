"""All rules that are in effect, and who is to ask them."""

from __future__ import annotations

import logging
from collections import defaultdict
from random import Random
from typing import TYPE_CHECKING, Any, cast

from broker.testing.faults.order import parse
from broker.testing.faults.rule import Rule

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.access.users import Users
    from broker.core.session import Session
    from broker.core.timers import Timer
    from broker.core.vhost import VHost
    from broker.testing.connection import WatchedConnection
    from broker.testing.faults.alarms import OrderedAlarms
    from broker.testing.faults.connection import FaultyConnection
    from broker.testing.faults.disk import Disk
    from broker.testing.faults.moment import Moment
    from broker.testing.rig import Rig
    from broker.testing.session import WatchedSession

log = logging.getLogger("leveret")


class Rules:
    """One per broker."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._all: dict[str, Rule] = {}
        self._active: list[Rule] = []
        """Those that may still hit something that is said, in the order in which they came."""
        self._states: list[Rule] = []
        """Those that begin on a connection as soon as it is open."""
        self._given: defaultdict[str | None, int] = defaultdict(int)
        """How many there have been, by their vhost."""
        self._count = 0
        self._postponed: list[Callable[[], None]] = []
        self.now_ms = rig.clock.now_ms
        rig.after_turn.append(self._after_turn)
        rig.on_sandbox_end.append(self.forget)
        rig.busy.append(self._busy)

    def attach(self, store: Any, users: Users) -> None:
        """What rules may be about: a store as faults.store has it, and the users."""
        self.disk: Disk = store.disk
        self.users = users

    # --- coming and going -------------------------------------------------------------------------------------------

    def add(self, document: dict[str, Any]) -> Rule:
        """Have a rule in effect from now on. Raises InvalidOrder.

        What is left to chance depends on the seed and on how many rules its vhost had before, and not on the vhost's name: a test finds
        the same whether it runs alone or as one of many."""
        order, action, methods, filters = parse(document)
        self._count += 1
        vhost = order.get("vhost")
        self._given[vhost] += 1
        purpose = f"faults/{'' if vhost is None else 'vhost/'}{self._given[vhost]}"
        random = self._rig.chance(purpose) if order.get("seed") is None else Random(f"{order['seed']}/{purpose}")
        rule = Rule(self, f"f{self._count}", order, action, methods, filters, random)
        self._all[rule.id] = rule
        log.info("fault %s is ordered: %s", rule.id, order)
        if methods and not action.is_of_the_broker:
            self._active.append(rule)
        elif action.is_state:
            self._states.append(rule)
            for connection in list(self._rig.server.connections):
                self._begin(rule, cast("FaultyConnection", connection))
        action.ordered(rule)
        return rule

    def find(self, rule_id: str) -> Rule | None:
        """The rule of that id."""
        return self._all.get(rule_id)

    def of(self, vhost: str | None) -> list[Rule]:
        """Those of a vhost, None for all, in the order in which they came."""
        return [rule for rule in self._all.values() if vhost is None or rule.vhost == vhost]

    def remove(self, rule: Rule) -> None:
        """Take it away; a turn has to follow."""
        del self._all[rule.id]
        for rules in (self._active, self._states):
            if rule in rules:
                rules.remove(rule)
        rule.remove()
        rule.action.removed(rule)

    def forget(self, vhost: str) -> None:
        """The vhost goes, and its rules with it."""
        for rule in self.of(vhost):
            self.remove(rule)
        self._given.pop(vhost, None)

    # --- who asks ---------------------------------------------------------------------------------------------------

    @property
    def are_active(self) -> bool:
        """There is a rule that may hit."""
        return bool(self._active)

    def concern(self, session: Session) -> bool:
        """There is one for what is said on that connection."""
        return any(not rule.is_spent and rule.concerns(session) for rule in self._active)

    def hitting(self, when: str, moment: Moment) -> list[Rule]:
        """Those that hit at this moment; they have counted it."""
        return [rule for rule in self._active[:] if rule.when == when and self._hits(rule, moment)]

    def act(self, when: str, moment: Moment) -> bool:
        """Let go wrong what is to go wrong at this moment; True if the moment itself doesn't take place any more. Raises what actions
        raise, and then no further rule is asked."""
        return any(rule.when == when and self._hits(rule, moment) and rule.action.act(rule, moment) for rule in self._active[:])

    def _hits(self, rule: Rule, moment: Moment) -> bool:
        hits = rule.hits_now(moment)
        if rule.is_spent and rule in self._active:
            self._active.remove(rule)
        return hits

    def opened(self, connection: FaultyConnection) -> None:
        """A connection is open: states that begin at once begin there."""
        for rule in self._states:
            self._begin(rule, connection)

    def _begin(self, rule: Rule, connection: FaultyConnection) -> None:
        session = connection.session
        if session.entered and not rule.is_spent and rule.concerns(session) and connection not in rule.connections:
            rule.count(session)
            rule.begin(connection)

    def closed(self, connection: FaultyConnection) -> None:
        """A connection is gone."""
        for rule in self._all.values():
            rule.connections.pop(connection, None)

    # --- for actions ------------------------------------------------------------------------------------------------

    def later(self, seconds: float, act: Callable[[], None]) -> Timer:
        """Call it when so much time has passed for the broker."""
        return self._rig.broker.timers.at(self.now_ms() + round(seconds * 1000), act)

    def postpone(self, act: Callable[[], None]) -> None:
        """Call it at the end of the turn: what ends channels and connections can't be done while queues are served."""
        self._postponed.append(act)

    def only_vhost_of(self, user: str | None) -> str | None:
        """The vhost that this user may enter, if it is one only: where a login is for, which doesn't say so."""
        found = self.users.get(user or "")
        vhosts = [] if found is None else found.vhosts()
        return vhosts[0] if len(vhosts) == 1 else None

    @property
    def alarms(self) -> OrderedAlarms:
        """Of the whole broker."""
        return cast("OrderedAlarms", self._rig.server.alarms)

    def _busy(self, vhost: VHost) -> str | None:
        """What is on its way to the broker on a line that a fault makes slow."""
        for session in vhost.sessions:
            connection = cast("WatchedSession", session).connection
            if connection is not None and connection.line.from_client.is_moving:
                return f"what connection '{session.own_name or session.peer.name}' has sent is late, by a fault"
        return None

    def _after_turn(self) -> None:
        postponed, self._postponed = self._postponed, []
        for act in postponed:
            act()
        if postponed:
            self._rig.server.turn.schedule()

    def tell(self, session: Session, rule: Rule, method: str | None) -> None:
        """Write down for the test's report that the rule hits."""
        connection = cast("WatchedSession", session).connection
        if connection is not None:
            when = f" {rule.order['when']} {method}" if method is not None else ""
            cast("WatchedConnection", connection).conversation.note(f"fault {rule.id}: {rule.action.name}{when}")
