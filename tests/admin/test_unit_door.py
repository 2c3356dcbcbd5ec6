"""The door of the HTTP API (admin/door.py) where what is behind it can't be opened."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from broker.admin.door import Door, Opening
from tests.admin.test_unit_context import context_of, nobody
from tests.core.playbook import Playbook


def broken(_connect: Callable[[Any], asyncio.Protocol]) -> Any:
    raise OSError("it can't be accepted")


def test_who_waits_is_told_when_it_can_not_be_served(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        openings = [Opening(sockets[0], "management"), Opening(sockets[1], "management", broken)]
        door = Door(openings, context_of(Playbook(), nobody), loop)
        door.start()
        reader, writer = await asyncio.open_connection(*sockets[1].getsockname())
        with suppress(ConnectionResetError):
            assert not await asyncio.wait_for(reader.read(), 20)
        writer.close()
        await door.close()

    asyncio.run(scene())
    assert [record.message for record in caplog.records if record.name == "management"] == ["the HTTP API can't be served"]
