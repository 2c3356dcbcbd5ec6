"""The log as messages: each line is published to amq.rabbitmq.log in the default vhost (log.exchange, https://www.rabbitmq.com/docs/logging).

The routing key is the level; the body is the line. Whoever wants them binds a queue to it, and while nobody has, nothing is done.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from broker.logs.formats import JsonFormatter
from broker.logs.levels import level_name
from protocol.content import Properties, encode_properties
from protocol.tables import table_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.core.broker import Broker
    from broker.core.vhost import VHost

LOG_EXCHANGE: Final = "amq.rabbitmq.log"


class LogExchange(logging.Handler):
    """Makes announcements of lines (core/announcements.py), so that a line may come up anywhere, on any thread.

    `wake` has a turn follow; it is called on the thread that the line comes from. It is taken off (logs.remove) when there are no more
    turns; a line that is under way on another thread just then may meet a loop that is closed.
    """

    def __init__(self, broker: Broker, vhost: VHost, wake: Callable[[], object]) -> None:
        super().__init__()
        self._broker = broker
        self._vhost = vhost
        self._exchange = vhost.system_exchange(LOG_EXCHANGE)
        self._wake = wake

    def emit(self, record: logging.LogRecord) -> None:
        """Publish the line, unless it is the publishing of a line that it is about. Raises nothing: what can't be published is lost here,
        and in the other sinks."""
        try:
            self._publish(record)
        except Exception:  # noqa: BLE001 - as each of logging's own: whoever has something to say is not to die of it
            self.handleError(record)

    def _publish(self, record: logging.LogRecord) -> None:
        announcements = self._broker.announcements
        if not self._exchange.binding_count or announcements.is_publishing:
            return
        body = self.format(record).encode("utf-8", "backslashreplace") + b"\n"
        properties = Properties(
            content_type="application/json" if isinstance(self.formatter, JsonFormatter) else "text/plain",
            timestamp=int(record.created),
            headers=table_of({"node": self._broker.node}),
        )
        announcements.add(self._vhost, self._exchange, level_name(record), encode_properties(properties, len(body)), body)
        self._wake()
