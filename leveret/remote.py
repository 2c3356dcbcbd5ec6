"""A broker that runs already, somewhere: in a container, or started by hand with `leveret serve --testing`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from leveret.api import Api
from leveret.errors import BrokerGone, LeveretError
from leveret.process import AMQP, listeners_of, port_of

if TYPE_CHECKING:
    import ssl

LOOK_SECONDS: Final = 0.05


class Remote:
    """As process.Process, as far as one can say it of a broker that isn't ours to start or end."""

    keeps = True

    def __init__(self, http_url: str, token: str, port: int | None, cafile: str | None, timeout: float) -> None:
        """Asks it what it is, for so many seconds if it isn't there yet. Raises BrokerGone, Refused."""
        context: ssl.SSLContext | None = None
        if cafile is not None:
            import ssl

            context = ssl.create_default_context(cafile=cafile)
        self.api = Api(http_url, token, context)
        self.cafile = cafile
        facts = self._facts(timeout)
        listeners = listeners_of(facts)
        self.seed: int = facts["seed"]
        self.host = self.api.host
        self.port = port or port_of(listeners, *AMQP)
        self.is_tls = port_of(listeners, AMQP[0]) == 0 if port is None else _is_tls(listeners, port)
        self.http_url = self.api.url

    def _facts(self, timeout: float) -> Any:
        deadline = time.monotonic() + timeout
        while True:
            try:
                return self.api.ask("GET", "")
            except BrokerGone:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(LOOK_SECONDS)

    @property
    def is_running(self) -> bool:
        """It was, when it was asked last."""
        return True

    @property
    def pid(self) -> int:
        """Nobody here knows. Raises LeveretError."""
        raise LeveretError("which process it is, only the machine knows that this broker runs on")

    def log(self, lines: int | None = None) -> str:
        """Is where the broker is."""
        return "(the log of a broker that was started elsewhere is there)"

    def epitaph(self) -> str | None:
        """See Process."""
        return None

    def start(self) -> None:
        """It runs."""

    def stop(self) -> None:
        """It goes on; only our connections to it end."""
        self.api.close()

    def kill(self) -> None:
        """Raises LeveretError."""
        raise LeveretError(f"the broker at {self.http_url} was started elsewhere, and is stopped, killed and started again there")

    restart = kill


def _is_tls(listeners: list[Any], port: int) -> bool:
    return any(each.port == port and each.protocol == AMQP[1] for each in listeners)
