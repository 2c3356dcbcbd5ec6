"""Logging in: what protocol.sasl has parsed against the users (contract 1.3, https://www.rabbitmq.com/docs/authentication).

The peer learns that it was refused, and not why; the log learns that, in RabbitMQ's words.
"""

from typing import Final

from broker.access.users import User, Users

PLAIN: Final = "PLAIN"
AMQPLAIN: Final = "AMQPLAIN"
EXTERNAL: Final = "EXTERNAL"
ANONYMOUS: Final = "ANONYMOUS"

Credentials = tuple[str, bytes | None]
"""Who the peer says it is, and its password; None where something else vouches for it (a certificate)."""


class Refused(Exception):
    """The login is refused. `log_reason` is for the log; `user` is the name that was tried, None without one."""

    def __init__(self, mechanism: str, reason: str, user: str | None = None) -> None:
        self.log_reason = f"{mechanism} login refused: {reason}"
        self.user = user
        super().__init__(self.log_reason)


class Authentication:
    """Who may log in, and how. `mechanisms` is what connection.start offers, in order.

    `external` adds EXTERNAL (with TLS and client certificates), `anonymous_user` ANONYMOUS, which logs in as that user.
    """

    def __init__(self, users: Users, *, external: bool = False, anonymous_user: str | None = None) -> None:
        self.users = users
        self.anonymous_user = anonymous_user
        offered = [PLAIN, AMQPLAIN]
        if external:
            offered.append(EXTERNAL)
        if anonymous_user is not None:
            offered.append(ANONYMOUS)
        self.mechanisms = tuple(offered)
        # Checked in place of a user there isn't, so that the time it takes doesn't tell who there is.
        self._nobody = User("nobody")
        self._nobody.set_password(b"nobody")

    def authenticate(self, mechanism: str, credentials: Credentials | None, peer_is_loopback: bool) -> User:
        """The user that the peer has shown to be. Raises Refused.

        For EXTERNAL `credentials` is the certificate's name and None, or None altogether without a certificate.
        """
        if mechanism not in self.mechanisms:
            raise Refused(mechanism, "the mechanism is not enabled")
        if mechanism == ANONYMOUS and self.anonymous_user is not None:
            user = self._vouched_for(mechanism, self.anonymous_user)
        elif credentials is None:
            raise Refused(mechanism, "connection peer presented no TLS (x.509) certificate" if mechanism == EXTERNAL else "no credentials")
        elif mechanism == EXTERNAL:
            user = self._vouched_for(mechanism, credentials[0])
        else:
            user = self._with_password(mechanism, *credentials)
        if not peer_is_loopback and self.users.is_confined(user.name):
            raise Refused(mechanism, f"user '{user.name}' can only connect via localhost", user.name)
        return user

    def _vouched_for(self, mechanism: str, name: str) -> User:
        user = self.users.get(name)
        if user is None:
            raise Refused(mechanism, f"user '{name}' - invalid credentials", name)
        return user

    def _with_password(self, mechanism: str, name: str, password: bytes | None) -> User:
        user = self.users.get(name)
        if not password:
            reason = f"user '{name}' attempted to log in with a blank password, which is prohibited by the internal authN backend"
            raise Refused(mechanism, reason, name)
        if not (user or self._nobody).has_password(password) or user is None:
            raise Refused(mechanism, f"user '{name}' - invalid credentials", name)
        return user
