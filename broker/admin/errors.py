"""Answers other than success, in RabbitMQ's forms: `{"error": ..., "reason": ...}`."""

from __future__ import annotations

from typing import Final

NOT_MANAGEMENT_USER: Final = "Not management user"


class HttpError(Exception):
    """An answer that ends the request: its status, and the two words of its body (RabbitMQ's reasons are lists here and there).
    `challenge` asks for a login."""

    def __init__(self, status: int, error: str, reason: str | list[str], *, challenge: bool = False) -> None:
        super().__init__(reason)
        self.status = status
        self.error = error
        self.reason = reason
        self.challenge = challenge


class BadRequest(HttpError):
    """400: what was sent makes no sense."""

    def __init__(self, reason: str | list[str], error: str = "bad_request") -> None:
        super().__init__(400, error, reason)


class NotAuthorised(HttpError):
    """401 without a challenge: logged in, and not allowed to. RabbitMQ spells it so."""

    def __init__(self, reason: str) -> None:
        super().__init__(401, "not_authorised", reason)


class NotAuthenticated(HttpError):
    """401 with a challenge: the login was refused."""

    def __init__(self, reason: str = "Login failed") -> None:
        super().__init__(401, "not_authorized", reason, challenge=True)


class NoSuchObject(HttpError):
    """404: the path leads to nothing."""

    def __init__(self) -> None:
        super().__init__(404, "Object Not Found", "Not Found")


class Missing(HttpError):
    """404: something that the request is about isn't there; the reason says what."""

    def __init__(self, reason: str) -> None:
        super().__init__(404, "not_found", reason)


class MethodNotAllowed(HttpError):
    """405, with the methods that are."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__(405, "Method Not Allowed", "Method Not Allowed")
        self.allowed = allowed


class PreconditionFailed(HttpError):
    """412: something stands in the way; the reason says what."""

    def __init__(self, reason: str) -> None:
        super().__init__(412, "precondition_failed", reason)


class UnsupportedMediaType(HttpError):
    """415: what was sent says that it is of a kind that isn't taken."""

    def __init__(self, reason: str) -> None:
        super().__init__(415, "unsupported_media_type", reason)


class Unavailable(HttpError):
    """503: not now."""

    def __init__(self, reason: str) -> None:
        super().__init__(503, "service_unavailable", reason)
