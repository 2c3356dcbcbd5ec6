"""The metrics over HTTP: on a port of their own without a login, and under /metrics of the API's port with one.

An answer is made and sent piece by piece: that of ten thousand queues is 20 MB. Compression runs on a thread meanwhile.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from typing import TYPE_CHECKING, Final

from broker.admin.call import Answer
from broker.admin.routing import Access, Route
from broker.core.permissions import InvalidPattern, compiled, octets
from broker.metrics import endpoints, telemetry
from broker.metrics.scrape import Scrape
from broker.metrics.text import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from broker.admin.call import Call

PIECE: Final = 262_144
"""Characters that are encoded, compressed and sent in one go."""
QUEUE_FILTER_MAX: Final = 2000
"""Characters of a pattern."""
_GZIP: Final = 31
"""zlib's wbits for a gzip header, and the largest window."""
_FASTEST: Final = 1
_DETAILED: Final = {
    "family": "string: Of detailed: a family of metrics; may be given several times.",
    "vhost": "string: Of detailed: a virtual host; may be given several times.",
    "queue": "string: Of detailed: a regular expression for the names of queues.",
}
IDENTITY: Final = "identity"
GZIP: Final = "gzip"


def routes(path: str, access: Access) -> tuple[Route, ...]:
    """What is served at a path, and below it."""
    return (
        Route("GET", path or "/", metrics, access, shows="text/plain"),
        Route("GET", f"{path}/{{endpoint}}", endpoint_metrics, access, query=_DETAILED, shows="text/plain"),
    )


def metrics(call: Call) -> Answer:
    """Metrics for Prometheus: sums over all objects, or with prometheus.return_per_object_metrics each of them."""
    per_object = call.context.config.prometheus.return_per_object_metrics
    return _answer(call, Scrape(call.context), endpoints.PER_OBJECT if per_object else endpoints.AGGREGATED, telemetry.DEFAULT)


def endpoint_metrics(call: Call) -> Answer:
    """Metrics for Prometheus of each object (per-object, detailed), or of where the memory is (memory-breakdown)."""
    endpoint = call.path["endpoint"]
    match endpoint:
        case endpoints.DETAILED:
            return _detailed(call)
        case endpoints.PER_OBJECT | endpoints.MEMORY_BREAKDOWN:
            return _answer(call, Scrape(call.context), endpoint, endpoint)
        case telemetry.DEFAULT:
            return metrics(call)
    return _plain(404, "Unknown Registry")


def _detailed(call: Call) -> Answer:
    patterns = call.query.getall("queue", [])
    if len(patterns) > 1:
        return _plain(400, "Only one 'queue' query parameter is allowed")
    if patterns and len(patterns[0]) > QUEUE_FILTER_MAX:
        return _plain(400, "'queue' regex too long")
    try:
        matches = _matcher(patterns[0]) if patterns and patterns[0] else None
    except InvalidPattern as error:
        return _plain(400, f"Invalid 'queue' regex: {error}")
    asked = call.query.getall("vhost", None)
    vhosts = None if asked is None else frozenset(asked)
    scrape = Scrape(call.context, vhosts, matches)
    return _answer(call, scrape, endpoints.DETAILED, endpoints.DETAILED, call.query.getall("family", []))


def _matcher(text: str) -> Callable[[str], bool]:
    """Raises InvalidPattern."""
    pattern = compiled(text)
    return lambda name: pattern.search(octets(name)) is not None


def _plain(status: int, reason: str) -> Answer:
    return Answer(status, reason.encode(), content_type="text/plain")


def _answer(call: Call, scrape: Scrape, endpoint: str, registry: str, families: Sequence[str] = ()) -> Answer:
    encoding = GZIP if _accepts_gzip(call.request.headers.get("Accept-Encoding", "")) else IDENTITY
    headers = {"Content-Encoding": GZIP} if encoding == GZIP else {}
    return Answer(
        headers=headers,
        content_type=CONTENT_TYPE,
        body=_observed(call.context.telemetry, registry, encoding, _whole(scrape, endpoint, registry, families)),
    )


def _accepts_gzip(header: str) -> bool:
    for part in header.lower().split(","):
        name, _, parameters = part.partition(";")
        if name.strip() == GZIP:
            return parameters.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


async def _whole(scrape: Scrape, endpoint: str, registry: str, families: Sequence[str]) -> AsyncIterator[bytes]:
    """All text of an answer, in pieces of a good size."""
    parts: list[str] = []
    size = 0
    await scrape.pacer.rest()
    async for text in endpoints.text(scrape, endpoint, families):
        parts.append(text)
        size += len(text)
        if size >= PIECE:
            yield "".join(parts).encode()
            parts.clear()
            size = 0
    parts.append(scrape.context.telemetry.text(registry))
    yield "".join(parts).encode()


async def _observed(
    observer: telemetry.Telemetry, registry: str, encoding: str, pieces: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:  # fmt: skip
    """The pieces as they are sent; then their sizes, and how long it took, are noted."""
    begin = time.perf_counter()
    sizes = [0, 0]

    async def measured() -> AsyncIterator[bytes]:
        async for piece in pieces:
            sizes[0] += len(piece)
            yield piece

    async for sent in compressed(measured()) if encoding == GZIP else measured():
        sizes[1] += len(sent)
        yield sent
    observer.add(registry, encoding, time.perf_counter() - begin, *sizes)


async def compressed(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """While one piece is compressed on a thread, the next one is made. The last one, which is often the only one, is done here."""
    loop = asyncio.get_running_loop()
    compressor = zlib.compressobj(_FASTEST, zlib.DEFLATED, _GZIP)
    before: bytes | None = None
    running: asyncio.Future[bytes] | None = None
    async for piece in pieces:
        if running is not None:
            yield await running
        running = None if before is None else loop.run_in_executor(None, compressor.compress, before)
        before = piece
    if running is not None:
        yield await running
    yield compressor.compress(before or b"") + compressor.flush()


ROUTES: Final = routes("/metrics", Access.MONITORING)
"""On the API's port."""
