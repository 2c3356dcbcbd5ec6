"""Waiting for the broker to be in some state, without sleeping: it answers the moment it is."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from leveret.asking import Asking, given

SECONDS: Final = 5.0
"""How long is waited for, if nothing else is said."""
Count: TypeAlias = "int | tuple[int | None, int | None]"
"""So many, or from the first to the second number of them: (1, None) is at least one."""


class Waits(Asking):
    """See the module. All raise NotInTime, which says what there was instead."""

    def wait_until_idle(self, *, quiet: float = 0.02, timeout: float = SECONDS) -> None:
        """Wait until nothing is under way any more in this vhost: no client says anything, and nobody has anything to get, for `quiet`
        seconds. What consumers hold unacked counts as something that they work at."""
        self._wait_for("idle", timeout, quiet=quiet)

    def wait_for(
        self,
        queue: str,
        *,
        ready: Count | None = None,
        unacked: Count | None = None,
        messages: Count | None = None,
        consumers: Count | None = None,
        timeout: float = SECONDS,
    ) -> None:
        """Wait until the queue is there, and has so many messages that are ready, that are unacked, or both together (`messages`), and so
        many consumers: `wait_for(queue="orders", ready=0, unacked=0)`."""
        numbers = given(ready=ready, unacked=unacked, messages=messages, consumers=consumers)
        self._wait_for("queue", timeout, queue=queue, **{name: _limits(count) for name, count in numbers.items()})

    def wait_for_consumer(self, queue: str, *, tag: str | None = None, count: int | None = None, timeout: float = SECONDS) -> None:
        """Wait until the queue has a consumer, one of that tag, or so many."""
        self._wait_for("consumer", timeout, queue=queue, tag=tag, count=count)

    def wait_for_binding(
        self, *, queue: str | None = None, exchange: str | None = None, routing_key: str | None = None, timeout: float = SECONDS
    ) -> None:
        """Wait until there is a binding of that queue, to that exchange, with that key: as far as they are given."""
        self._wait_for("binding", timeout, queue=queue, exchange=exchange, routing_key=routing_key)

    def wait_for_connection(self, *, client_name: str | None = None, count: int | None = None, timeout: float = SECONDS) -> None:
        """Wait until there is a connection, one that calls itself so (connection_name), or so many."""
        self._wait_for("connection", timeout, client_name=client_name, count=count)

    def wait_for_message(
        self,
        *,
        queue: str | None = None,
        exchange: str | None = None,
        routing_key: str | None = None,
        message_id: str | None = None,
        state: str | None = None,
        count: int | None = None,
        timeout: float = SECONDS,
    ) -> None:
        """Wait until that has happened to a message (or to `count` of them) that fits what is given: published, routed, unroutable,
        delivered, acked, rejected, requeued, dead-lettered, expired, ... What has happened before counts."""
        self._wait_for(
            "message",
            timeout,
            queue=queue,
            exchange=exchange,
            routing_key=routing_key,
            message_id=message_id,
            state=state,
            count=count,
        )

    def _wait_for(self, what: str, timeout: float, **conditions: Any) -> None:
        self._wait("POST", self._vhost_path("/wait"), {"for": what, "timeout": timeout, **given(**conditions)}, timeout)


def _limits(count: Count) -> Any:
    if isinstance(count, int):
        return count
    least, most = count
    if least is not None and most is not None and least > most:
        raise ValueError(f"{count}: expected the least and the most, in this order")
    return given(min=least, max=most)
