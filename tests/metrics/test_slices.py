"""Ten thousand queues are told of in slices, and quickly."""

import asyncio
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pamqp.commands import Queue

from broker.admin import pacing
from broker.metrics import queues
from broker.metrics.scrape import Group, Scrape
from tests.core.playbook import Playbook
from tests.metrics.scraping import get
from tests.metrics.serving import Scraped
from tests.wire import Wire

QUEUES = 500


@pytest.fixture(scope="module")
def book() -> Playbook:
    book = Playbook()
    channel = book.connect().channel()
    for number in range(QUEUES):
        channel.declare(f"q{number}")
        channel.publish(f"q{number}", b"1")
    book.turn()
    return book


@pytest.mark.parametrize("group", [queues.COARSE, queues.METRICS, queues.DELIVERY], ids=lambda group: group.name)
@pytest.mark.parametrize("aggregated", [True, False])
def test_others_have_their_turn_meanwhile(book: Playbook, group: Group, aggregated: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "SLICE_SECONDS", 0.0)  # as if each step took too long
    turns = 0
    is_told = asyncio.Event()

    async def other() -> None:
        nonlocal turns
        while not is_told.is_set():
            turns += 1
            await asyncio.sleep(0)

    async def both() -> str:
        scrape = Scrape(cast(Any, SimpleNamespace(node=None, broker=book.broker, turns=pacing.Turns())))
        beside = asyncio.create_task(other())
        text = "".join([piece async for piece in group.text(scrape, "x_", aggregated=aggregated)])
        is_told.set()
        await beside
        return text

    text = asyncio.run(both())
    if not (aggregated and group.totals is not None):  # what was counted since the start isn't added up by queue
        assert turns >= QUEUES // pacing.LOOK_EVERY
    assert (
        "x_queue_messages 500\n" if aggregated else 'x_queue_messages{vhost="/",queue="q499"} 1\n'
    ) in text or group is not queues.COARSE


def test_queues_that_go_meanwhile(book: Playbook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "SLICE_SECONDS", 0.0)

    async def both() -> str:
        scrape = Scrape(cast(Any, SimpleNamespace(node=None, broker=book.broker, turns=pacing.Turns())))
        told = asyncio.create_task(_text(queues.METRICS, scrape))
        await asyncio.sleep(0)
        vhost = book.broker.vhosts["/"]
        for queue in list(vhost.queues.values())[QUEUES // 2 :]:
            vhost.delete_queue(queue)
        return await told

    assert asyncio.run(both()).count("x_queue_messages_ram{") == QUEUES


async def _text(group: Group, scrape: Scrape) -> str:
    return "".join([piece async for piece in group.text(scrape, "x_", aggregated=False)])


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    """Ten thousand queues, some with messages."""
    with Scraped(tmp_path_factory.mktemp("metrics") / "crowded") as broker, Wire.connect(broker) as wire:
        channel = wire.open_channel()
        for number in range(10_000):
            channel.send(Queue.Declare, queue=f"europe.orders.{number}", nowait=True)
            if number % 3 == 0:
                channel.publish("", f"europe.orders.{number}", b"x" * (number % 100))
        channel.counts("europe.orders.9999")
        get(broker.metrics_port, "/metrics")
        yield broker


@pytest.mark.soak
@pytest.mark.parametrize("path", ["/metrics", "/metrics/per-object", "/metrics/detailed?family=queue_coarse_metrics&family=queue_metrics"])
def test_ten_thousand_queues_within_300_ms(crowded: Scraped, path: str) -> None:
    seconds = []
    for _ in range(5):
        begin = time.perf_counter()
        assert get(crowded.metrics_port, path, accept_encoding="gzip").status == 200
        seconds.append(time.perf_counter() - begin)
    assert min(seconds) < 0.3
