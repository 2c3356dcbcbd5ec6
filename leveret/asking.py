"""What the parts of a handle have in common: they ask the broker about one vhost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from leveret.addresses import Addresses
from leveret.errors import BrokerGone, NotInTime, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from leveret.api import Api


REQUEST_TIMEOUT: Final = 408
"""The status that says that what was waited for didn't happen."""


class Asking(Addresses):
    """See the module."""

    @property
    def api(self) -> Api:
        """The HTTP API for tests, for what has no method here. Raises BrokerGone before the start."""
        raise NotImplementedError

    def _explain(self) -> str | None:
        """Why nobody answers, if that is known."""
        return None

    def _ask(self, method: str, path: str, body: Any = None, *, waits_seconds: float = 0.0) -> Any:
        """What `api.ask` answers; who doesn't answer is explained. Raises Refused, BrokerGone."""
        try:
            return self.api.ask(method, path, body, waits_seconds=waits_seconds)
        except BrokerGone as error:
            why = self._explain()
            if why is None:
                raise
            raise BrokerGone(why) from error

    def _ask_vhost(
        self, method: str, path: str, body: Any = None, *, query: Mapping[str, Any] | None = None, waits_seconds: float = 0.0
    ) -> Any:
        """The same below /vhosts/{vhost}; what is None in the query isn't sent."""
        asked = given(**(query or {}))
        text = f"?{urlencode(asked)}" if asked else ""
        return self._ask(method, f"{self._vhost_path(path)}{text}", body, waits_seconds=waits_seconds)

    def _vhost_path(self, path: str) -> str:
        return f"/vhosts/{segment(self.vhost)}{path}"

    def _wait(self, method: str, path: str, body: Any, timeout: float) -> Any:
        """What is answered once something has happened, for which the broker waits `timeout` seconds. Raises NotInTime, and ValueError for
        a timeout that is no number of seconds."""
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not math.isfinite(timeout):
            raise ValueError(f"timeout: expected seconds, not {timeout!r}")
        try:
            return self._ask(method, path, body, waits_seconds=timeout)
        except Refused as refused:
            if refused.status != REQUEST_TIMEOUT:
                raise
            raise NotInTime(refused.reason) from None


def segment(name: str) -> str:
    """A name as it stands in a path."""
    return quote(name, safe="")


def given(**values: Any) -> dict[str, Any]:
    """Those that aren't None."""
    return {name: value for name, value in values.items() if value is not None}
