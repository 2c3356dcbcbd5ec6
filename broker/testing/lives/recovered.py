"""Messages that were there when the broker started: their lives begin then. What they are is read from the disk when somebody wants it."""

from __future__ import annotations

from collections import deque
from itertools import chain
from typing import TYPE_CHECKING

from broker.core.message import ID
from broker.core.walk import Walk
from broker.testing.lives import kinds
from broker.testing.lives.history import LIVES_MAX, history_of
from broker.testing.lives.trace import Hop, Way

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.core.pages import Pages
    from broker.core.steps import Steps
    from broker.core.vhost import VHost
    from broker.testing.lives.history import History
    from broker.testing.lives.queue import RememberingQueue

DETAIL = "was there at the start"


def there_at_the_start(queue: RememberingQueue, pages: Mapping[int, Pages]) -> None:
    """Recovery found these in the queue."""
    history = queue.history
    found = chain.from_iterable(each.ids_between(each.first_id, each.last_id + 1) for each in pages.values() if each.count)
    for number in sorted(deque(found, maxlen=LIVES_MAX)):
        life = history.get(number)
        if life is None:
            life = history.begin(kinds.RECOVERED)
            history.keep(life, number)
        if queue.kept_for is None:
            life.routes[queue.name] = Way((Hop("", f"it {DETAIL}"),))
        history.note(life, kinds.RECOVERED, queue.name, detail=DETAIL)
        if queue.kept_for is not None:
            life.delay(queue.name, None)


def read(vhost: VHost) -> Steps[None]:
    """Fetch what is on the disk only of the messages that have a life. Raises Unreadable."""
    history = history_of(vhost)
    if recovered := [life for life in history if life.origin == kinds.RECOVERED]:
        history.found(recovered)
    for queue in list(vhost.queues.values()):
        wanted = _unread(history, queue.name)
        if not wanted or queue.deleted:
            continue
        walk = Walk(queue, wanted)
        while (stretch := (yield from walk.onward())) is not None:
            for index, message in enumerate(stretch.messages):
                life = history.get(message[ID])
                if life is not None and life.header is None:
                    history.read(life, message)
                    if stretch.times_ms and not stretch.damaged:
                        life.begun_ms = stretch.times_ms[index]


def _unread(history: History, queue: str) -> list[int]:
    return sorted(number for life in history if life.header is None and life.is_in(queue) for number in life.ids)
