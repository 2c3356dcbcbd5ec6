"""What the core needs of whoever checks logins; broker/access does it."""

from typing import TYPE_CHECKING, Protocol

from broker.core.permissions import Identity

if TYPE_CHECKING:
    from broker.core.session import Peer


class LoginRefused(Exception):
    """The login is refused; the text is for the log, the peer isn't told why."""


class Authenticator(Protocol):
    """Checks SASL responses."""

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """What connection.start offers, in order."""

    def authenticate(self, mechanism: str, response: bytes, peer: "Peer") -> Identity:
        """Who the peer is. Raises LoginRefused, and HandshakeFailed for a response that makes no sense."""
