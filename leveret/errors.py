"""What goes wrong between a program and its broker."""

from __future__ import annotations


class LeveretError(Exception):
    """The base of them all."""


class CannotStart(LeveretError):
    """The broker's process didn't start; the text ends with what it logged."""


class BrokerGone(LeveretError):
    """The broker doesn't answer; of a process that has ended the text says how, with the last lines of its log."""


class Refused(LeveretError):
    """The broker answered a request with an error. `status` is HTTP's, `reason` what it said."""

    def __init__(self, request: str, status: int, reason: str) -> None:
        super().__init__(f"{request}: {status}, {reason}")
        self.request = request
        self.status = status
        self.reason = reason

    def __reduce__(self) -> tuple[type[Refused], tuple[str, int, str]]:
        """For processes that hand each other what was raised (pytest-xdist, multiprocessing)."""
        return type(self), (self.request, self.status, self.reason)


class NotInTime(AssertionError, TimeoutError):
    """What was waited for didn't happen; the text says what there was instead. To a test it is a failed assertion."""
