"""Logging in: what protocol.sasl has parsed against the backends (contract 1.3, https://www.rabbitmq.com/docs/authentication).

The peer learns that it was refused, and not why; the log learns that, in RabbitMQ's words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.access.attempts import AMQP, Attempts
from broker.access.backends import Confined, Credentials, Rejected
from broker.core.login import Delay, LoginRefused, Undecided
from protocol.errors import HandshakeFailed
from protocol.sasl import AMQPLAIN, ANONYMOUS, EXTERNAL, PLAIN, parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.access.backends import Chain
    from broker.access.failures import Failures
    from broker.access.users import Users
    from broker.core.login import Attempt
    from broker.core.permissions import Identity
    from broker.core.session import Peer
    from protocol.sasl import Credentials as Said

DEFAULT: Final = (PLAIN, AMQPLAIN)


class Authentication:
    """Who may log in, and how (broker.core.login.Authenticator).

    `mechanisms` are those that are configured, in the order of connection.start; ANONYMOUS logs in as `anonymous_user`. `attempts` counts.
    """

    def __init__(
        self,
        chain: Chain,
        users: Users,
        failures: Failures,
        *,
        mechanisms: Sequence[str] = DEFAULT,
        anonymous_user: str | None = None,
    ) -> None:
        self._chain = chain
        self._users = users
        self._failures = failures
        self._mechanisms = tuple(mechanisms)
        self._anonymous_user = anonymous_user
        self.attempts = Attempts()

    def mechanisms(self, peer: Peer) -> tuple[str, ...]:
        """What is offered to this peer. EXTERNAL over TLS also where there is no certificate: the log then says what is missing."""
        return tuple(
            mechanism
            for mechanism in self._mechanisms
            if not (mechanism == EXTERNAL and not peer.is_tls) and not (mechanism == ANONYMOUS and self._anonymous_user is None)
        )

    def authenticate(self, mechanism: str, response: bytes, peer: Peer, attempt: Attempt) -> Identity:
        """See Authenticator. Undecided while somebody has to be asked, or while the peer has to wait (see Failures)."""
        user: str | None = None
        try:
            if mechanism not in self.mechanisms(peer):
                raise HandshakeFailed(f"unknown authentication mechanism '{mechanism}'")
            said = parse(mechanism, response)
            claim = self._claim(mechanism, said, peer)
            user = claim.user
            identity = self.admit(claim, attempt, is_loopback=peer.is_loopback)
        except (Rejected, HandshakeFailed) as refused:
            self.attempts.add(AMQP, peer.address, user or "", succeeded=False)
            if isinstance(refused, Rejected):
                raise LoginRefused(f"{mechanism} login refused: {refused.reason}", user) from refused
            raise
        self.attempts.add(AMQP, peer.address, identity.name, succeeded=True)
        return identity

    def admit(self, claim: Credentials, attempt: Attempt, *, is_loopback: bool) -> Identity:
        """Who that is, whatever protocol they came by. Raises Rejected, Confined among them, and Undecided as `authenticate` does."""
        if not attempt.has_waited:
            attempt.has_waited = True
            delay = 0.0 if is_loopback else self._failures.delay(claim.address)
            if delay:
                raise Undecided(Delay(delay))
        try:
            identity = self._chain.login(claim, attempt)
            if not is_loopback and self._users.is_confined(identity.name):
                raise Confined(f"user '{identity.name}' can only connect via localhost")
        except Rejected as rejected:
            if rejected.is_guess and not is_loopback:
                self._failures.add(claim.address)
            raise
        return identity

    def _claim(self, mechanism: str, said: Said | None, peer: Peer) -> Credentials:
        """Who the peer claims to be, and what speaks for it."""
        if mechanism == EXTERNAL:
            if peer.certificate_name is None:
                raise Rejected("connection peer presented no TLS (x.509) certificate", is_guess=False)
            return Credentials(peer.certificate_name, None, peer.address)
        if mechanism == ANONYMOUS:
            assert self._anonymous_user is not None
            return Credentials(self._anonymous_user, None, peer.address)
        assert said is not None
        return Credentials(said.user, said.password, peer.address)
