"""What handlers wait for (admin/context.py, admin/channel.py): the disk, and decisions, and what is different when they have come."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from broker.access.users import Users
from broker.admin.channel import channel
from broker.admin.context import Context
from broker.admin.errors import Missing
from broker.config import Config
from broker.core.login import Answer, Query, Question
from broker.operations import Operations
from protocol.methods import Queue, make
from tests.core.playbook import Playbook
from tests.core.test_undecided import Judge


def context_of(book: Playbook, ask: Callable[[Question, Callable[[], None]], object]) -> Context:
    """Each turn that is asked for comes at once."""
    node = cast("Any", SimpleNamespace(schedule_turn=book.turn, sockets_max=0, has_room_for=lambda number: True))
    loop = asyncio.get_running_loop()
    return Context(Operations(book.broker, Users()), Config(), node, cast("Any", None), cast("Any", None), loop, ask)


def nobody(_question: Question, _answered: Callable[[], None]) -> None:
    raise AssertionError("there is nothing to decide")


async def rounds() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize("turns", [0, 1], ids=["nothing shipped yet", "all shipped already"])
def test_a_commit_waits_for_all_that_was_changed(turns: int) -> None:
    async def scene() -> None:
        book = Playbook()
        context = context_of(book, nobody)
        context.operations.put_vhost("v")
        for _ in range(turns):
            book.turn()
        commit = asyncio.ensure_future(context.commit())
        await rounds()
        assert not commit.done()
        book.sync()
        await rounds()
        assert commit.done() and "vhost/v" in book.disk.durable_keys()

    asyncio.run(scene())


def test_a_commit_of_nothing_waits_for_no_disk() -> None:
    async def scene() -> None:
        await asyncio.wait_for(context_of(Playbook(), nobody).commit(), 10)

    asyncio.run(scene())


def test_a_vhost_that_is_deleted_while_the_permission_is_asked_for_gets_nothing() -> None:
    async def scene() -> None:
        book = Playbook()
        vhost = book.broker.add_vhost("v")

        def ask(question: Question, answered: Callable[[], None]) -> None:
            if "v" in book.broker.vhosts:
                book.broker.delete_vhost(vhost)
            assert isinstance(question, Query)
            question.answered(Answer("allow"))
            answered()

        call = cast("Any", SimpleNamespace(context=context_of(book, ask), broker=book.broker, identity=Judge(slow=True, refuses=None)))
        with pytest.raises(Missing):
            async with channel(call, vhost) as opened:
                await opened.do(make(Queue.Declare, queue="q", durable=True))
        book.restart()

    asyncio.run(scene())
