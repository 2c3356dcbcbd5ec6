"""Celery Flower's broker tab: its own code, and what its page shows of each queue."""

import asyncio

import pytest
from flower.utils.broker import Broker

from tests.admin.brokers import Managed
from tests.runtime.process import soon
from tests.wire import Wire


@pytest.mark.parametrize("vhost", ["/", "tasks"])
def test_the_broker_tab(managed: Managed, vhost: str) -> None:
    http = managed.http()
    if vhost != "/":
        http.ask("PUT", f"/api/vhosts/{vhost}")
        http.ask("PUT", f"/api/permissions/{vhost}/guest", {"configure": ".*", "write": ".*", "read": ".*"})
    with Wire.connect(managed, vhost=vhost) as wire:
        channel = wire.open_channel()
        for queue in ("celery", "celery.pidbox", "idle"):
            channel.queue(queue, durable=True)
        channel.confirm_select()
        channel.publish_confirmed("", "celery", b"1", b"2", b"3")
        channel.consume("celery.pidbox")
        assert channel.get("celery", no_ack=False) is not None
        url = f"amqp://guest:guest@{managed.host}:{managed.port}/{'' if vhost == '/' else vhost}"
        broker = Broker(url, broker_options={}, http_api=f"http://guest:guest@{managed.host}:{managed.http_port}/api/")

        def shown() -> dict[str, tuple[object, ...]]:
            queues = asyncio.run(broker.queues(["celery", "celery.pidbox"]))
            columns = ("messages", "messages_unacknowledged", "messages_ready", "consumers")
            return {queue["name"]: tuple(queue.get(column, "N/A") for column in columns) for queue in queues}

        soon(lambda: shown() == {"celery": (3, 1, 2, 0), "celery.pidbox": (0, 0, 0, 1)}, what="the tab")
        for queue in ("celery", "celery.pidbox", "idle"):
            http.ask("DELETE", f"/api/queues/{'%2F' if vhost == '/' else vhost}/{queue}")
        wire.close()
    if vhost != "/":
        http.ask("DELETE", f"/api/vhosts/{vhost}")
