"""Consumers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.admin import lists
from broker.admin.access import is_monitor, visible
from broker.admin.errors import BadRequest
from broker.admin.routing import Route
from broker.admin.shapes.consumer import of_consumer
from broker.admin.shapes.stats import QUERY as STATS
from broker.admin.shapes.stats import Reader

if TYPE_CHECKING:
    from broker.admin.call import Answer, Call


async def list_consumers(call: Call) -> Answer:
    """Lists consumers, of one virtual host or of all; who isn't a monitor sees their own."""
    if Reader(call).is_disabled:
        raise BadRequest("Stats in management UI are disabled on this node")
    everybody = is_monitor(call.identity)
    consumers = [
        consumer
        for vhost in await visible(call)
        for queue in vhost.queues.values()
        for consumer in queue.consumers
        if everybody or consumer.channel.session.identity.name == call.user_name
    ]
    return await lists.answer(call, consumers, of_consumer, default_sort=(), can_page=False)


ROUTES: Final = (
    Route("GET", "/api/consumers", list_consumers, query=lists.SORTED | STATS, shows="[Consumer]"),
    Route("GET", "/api/consumers/{vhost}", list_consumers, query=lists.SORTED | STATS, shows="[Consumer]"),
)
