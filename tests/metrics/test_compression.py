"""Answers that are compressed while they are made."""

import asyncio
import gzip
from collections.abc import AsyncIterator

import pytest

from broker.metrics.serving import compressed


@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
def test_pieces_stay_in_order(count: int) -> None:
    pieces = [f"{number} ".encode() * (number * 100) for number in range(count)]

    async def made() -> AsyncIterator[bytes]:
        for piece in pieces:
            await asyncio.sleep(0)
            yield piece

    async def sent() -> bytes:
        return b"".join([part async for part in compressed(made())])

    assert gzip.decompress(asyncio.run(sent())) == b"".join(pieces)
