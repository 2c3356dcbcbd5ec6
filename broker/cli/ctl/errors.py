"""How commands end: exit statuses (RabbitMQ's, from sysexits.h), and the exceptions that carry them to `main`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

EXIT_OK: Final = 0
EXIT_USAGE: Final = 64
EXIT_DATA: Final = 65
EXIT_NO_USER: Final = 67
EXIT_UNAVAILABLE: Final = 69
EXIT_SOFTWARE: Final = 70
EXIT_TEMPORARY: Final = 75


class Failed(Exception):
    """The command has failed. `text` goes to stderr as it stands (None: nothing is said); with --formatter json `facts` take its place."""

    def __init__(self, text: str | None, status: int = EXIT_UNAVAILABLE, facts: Mapping[str, Any] | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.status = status
        self.facts = facts


class Invalid(Exception):
    """The command line makes no sense: `text` says what is wrong with it, and the usage follows."""

    def __init__(self, text: str, status: int = EXIT_USAGE, *, prefix: str = "Error (argument validation)") -> None:
        super().__init__(text)
        self.text = text
        self.status = status
        self.prefix = prefix


class Refused(Exception):
    """The broker's answer is an error: the HTTP status, and RabbitMQ's `error` and `reason`."""

    def __init__(self, status: int, error: str, reason: str) -> None:
        super().__init__(f"{status} {error}: {reason}")
        self.status = status
        self.error = error
        self.reason = reason


def error(text: str, status: int = EXIT_UNAVAILABLE, facts: Mapping[str, Any] | None = None) -> Failed:
    """The failure that is told as most are."""
    return Failed(f"Error:\n{text}", status, facts)


def bad_argument(text: str = "") -> Invalid:
    """An argument that can't be used."""
    return Invalid(f"Bad argument: {text}" if text else "Bad argument.", EXIT_DATA)


def no_such_vhost(vhost: str) -> Failed:
    """What most commands say of a vhost that isn't there."""
    return Failed(f"Virtual host '{vhost}' does not exist", EXIT_DATA)
