"""Refused logins, by address: whoever guesses passwords is answered more and more slowly.

Nobody is locked out: a right password gets in from anywhere, late by one delay at the most. (RabbitMQ has nothing like it.)
"""

from __future__ import annotations

import socket
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW_SECONDS: Final = 60.0
"""How long a refused login counts."""
DELAY_MIN_SECONDS: Final = 0.1
ADDRESSES_MAX: Final = 10_000
"""Addresses remembered; past it the one goes whose last refusal is the oldest."""
DOUBLINGS_MAX: Final = 16
"""More refusals than these beyond the limit change nothing, and aren't counted."""
IPV6_NETWORK_BYTES: Final = 8
"""Whoever has an IPv6 address has the 2^64 beside it."""


class Failures:
    """Refused logins of the last minute. `clock` tells seconds; `most` of them are free, and 0 switches it off."""

    def __init__(self, clock: Callable[[], float], most: int, delay_max_seconds: float) -> None:
        self._clock = clock
        self._most = most
        self._delay_max_seconds = delay_max_seconds
        self._times: OrderedDict[bytes, deque[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._times)

    def delay(self, address: str) -> float:
        """Seconds that a login from there has to wait, mostly 0."""
        times = self._times.get(network_of(address)) if self._times else None
        if times is None:
            return 0.0
        oldest = self._clock() - WINDOW_SECONDS
        beyond = sum(time > oldest for time in times) - self._most
        return min(DELAY_MIN_SECONDS * 2.0**beyond, self._delay_max_seconds) if beyond >= 0 else 0.0

    def add(self, address: str) -> None:
        """A login from there was refused."""
        if not self._most:
            return
        network = network_of(address)
        times = self._times.setdefault(network, deque(maxlen=self._most + DOUBLINGS_MAX))
        times.append(self._clock())
        self._times.move_to_end(network)
        if len(self._times) > ADDRESSES_MAX:
            self._times.popitem(last=False)


def network_of(address: str) -> bytes:
    """What counts as one place: an IPv4 address, or the /64 of an IPv6 address. Text that is neither counts as it stands."""
    try:
        packed = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address.partition("%")[0])
    except (OSError, ValueError):
        return address.encode("utf-8", "surrogateescape")
    if packed[:12] == bytes(10) + b"\xff\xff":
        return packed[12:]
    return packed if len(packed) == 4 else packed[:IPV6_NETWORK_BYTES]
