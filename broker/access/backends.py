"""Backends: who says who a user is, and who says what it may do (https://www.rabbitmq.com/docs/access-control#backends).

Backend          the interface
  Internal       the users of the broker's own database
  Http           another server (http_backend.py)
Chain            auth_backends.N in order, as RabbitMQ's rabbit_access_control goes through them
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from broker.access.users import User
from broker.core.permissions import Identity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from broker.access.users import Users
    from broker.core.login import Attempt


class Credentials(NamedTuple):
    """Who somebody claims to be. `password` is None where something else vouches for it (a certificate)."""

    user: str
    password: bytes | None
    address: str = ""
    """Where it comes from: an IP address as text."""

    def __repr__(self) -> str:
        return f"Credentials({self.user!r})"


class Rejected(Exception):
    """A backend says no, in RabbitMQ's words. `is_guess` unless nobody could be asked: then it says nothing about the password."""

    def __init__(self, reason: str, *, is_guess: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_guess = is_guess


class Confined(Rejected):
    """A user that may log in from this machine only (loopback_users) tried it from elsewhere."""


class Backend(Protocol):
    """Both raise Rejected, and Undecided as long as somebody else has to be asked."""

    def authenticate(self, credentials: Credentials, attempt: Attempt) -> tuple[str, ...]:
        """The tags of the user that the credentials prove."""

    def authorize(self, credentials: Credentials, tags: tuple[str, ...], attempt: Attempt, *, proven_here: bool) -> Identity:
        """What somebody may do who has proven, here or to another backend, to be that user, and has these tags from there."""


class Internal:
    """The broker's own users (Backend)."""

    def __init__(self, users: Users) -> None:
        self._users = users
        # Checked in place of a user there isn't, so that the time it takes doesn't tell who there is.
        self._nobody = User("nobody")
        self._nobody.set_password(b"nobody")

    def authenticate(self, credentials: Credentials, attempt: Attempt) -> tuple[str, ...]:
        """See Backend."""
        name, password, _ = credentials
        user = self._users.get(name)
        if password == b"":
            raise Rejected(f"user '{name}' attempted to log in with a blank password, which is prohibited by the internal authN backend")
        is_right = password is None or (user or self._nobody).has_password(password)
        if user is None or not is_right:
            raise Rejected(f"user '{name}' - invalid credentials")
        return tuple(user.tags)

    def authorize(self, credentials: Credentials, tags: tuple[str, ...], attempt: Attempt, *, proven_here: bool) -> Identity:
        """See Backend. Mostly the user itself, so that what is granted to it acts at once on all its connections."""
        user = self._users.get(credentials.user)
        if user is None:
            raise Rejected(f"user '{credentials.user}' - invalid credentials")
        return user if user.tags.issuperset(tags) else Tagged(user, tags)


class Tagged(Identity):
    """An internal user who has tags of another backend's beside its own; all else is the user's."""

    __slots__ = ("_user",)

    def __init__(self, user: User, tags: Iterable[str]) -> None:
        # Not by Identity's own, which would begin to count anew.
        self._user = user
        self.name = user.name
        self.tags = user.tags.union(tags)
        self._permissions, self._topics = user._permissions, user._topics

    @property
    def revision(self) -> int:  # type: ignore[override]
        """See Identity."""
        return self._user.revision

    @property
    def limits(self) -> dict[str, int]:  # type: ignore[override]
        """See Identity."""
        return self._user.limits

    @property
    def connections(self) -> int:
        """See Identity."""
        return self._user.connections

    @connections.setter
    def connections(self, connections: int) -> None:
        self._user.connections = connections

    @property
    def channels(self) -> int:
        """See Identity."""
        return self._user.channels

    @channels.setter
    def channels(self, channels: int) -> None:
        self._user.channels = channels


class Step(NamedTuple):
    """One of auth_backends.N."""

    authn: Backend
    authz: Backend


class Chain:
    """Backends in order: the first one that takes the credentials, and whose authz takes the user, decides."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = tuple(steps)

    def login(self, credentials: Credentials, attempt: Attempt) -> Identity:
        """Who that is. Raises Rejected with the reasons of all backends, and Undecided."""
        reasons: dict[str, None] = {}
        is_guess = True
        for authn, authz in self._steps:
            try:
                tags = authn.authenticate(credentials, attempt)
                return authz.authorize(credentials, tags, attempt, proven_here=authn is authz)
            except Rejected as rejected:
                reasons[rejected.reason] = None
                is_guess = is_guess and rejected.is_guess
        raise Rejected("; ".join(reasons), is_guess=is_guess)
