"""Handshakes that fail, or take long."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from broker.core.permissions import vhost_refused
from broker.testing.faults.actions.action import Action, Option
from protocol.constants import NOT_ALLOWED
from protocol.errors import ConnectionException

if TYPE_CHECKING:
    from broker.testing.faults.moment import Moment
    from broker.testing.faults.rule import Rule

START_OK, OPEN = "connection.start-ok", "connection.open"


class RefuseLogin(Action):
    """The login is refused with 403 ACCESS_REFUSED, as for a wrong password; with `silent` it isn't answered at all, and the broker gives
    up after its handshake timeout. A client hasn't said yet which vhost it wants: a rule with a vhost fits users who may enter no other."""

    name = "refuse_login"
    methods = frozenset({START_OK})
    on = START_OK
    options: ClassVar = {"silent": Option("flag", "no answer at all", False)}

    def act(self, rule: Rule, moment: Moment) -> bool:
        """See Action."""
        if self.given["silent"]:
            return True
        assert moment.session is not None
        moment.session.refused_user = moment.user or ""
        return False


class RefuseVhost(Action):
    """connection.open is refused with 530 NOT_ALLOWED, as for a user without permissions in the vhost."""

    name = "refuse_vhost"
    methods = frozenset({OPEN})
    on = OPEN
    options: ClassVar = {"text": Option("text", "what follows the code's name, if it isn't what RabbitMQ says")}

    def act(self, rule: Rule, moment: Moment) -> bool:
        """See Action."""
        error = vhost_refused(moment.vhost or "", moment.user or "")
        if self.given["text"] is not None:
            error = ConnectionException(NOT_ALLOWED, self.given["text"])
        error.class_id, error.method_id = moment.method_ids
        raise error


class SlowHandshake(Action):
    """The broker takes so many (real) seconds to answer a step of the handshake. For a rule with a vhost see refuse_login."""

    name = "slow_handshake"
    methods = frozenset({START_OK, "connection.tune-ok", OPEN})
    on = START_OK
    options: ClassVar = {"seconds": Option("number", "how long it takes", is_required=True)}

    def act(self, rule: Rule, moment: Moment) -> bool:
        """See Action."""
        assert moment.session is not None
        moment.session.put_off(0, moment.event, self.given["seconds"])
