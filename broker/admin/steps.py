"""Work in steps (core/steps.py) for the length of a request: it goes on when what it waits for has come, and everybody else has turns."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from broker.admin.errors import HttpError, Unavailable
from broker.core.steps import StoreFailed
from broker.core.walk import Unreadable

if TYPE_CHECKING:
    from broker.admin.call import Call
    from broker.core.steps import Steps

T = TypeVar("T")


class Gone(HttpError):
    """Nobody waits for the answer any more, so nobody gets this one."""

    def __init__(self) -> None:
        super().__init__(503, "service_unavailable", "the client is gone")


async def carry_out(call: Call, steps: Steps[T], *, only_while_asked: bool = False) -> T:
    """What the work returns. With `only_while_asked` it ends when the client is gone (Gone). Raises HttpError, and what the work raises."""
    context = call.context
    try:
        while True:
            if only_while_asked and (call.request.transport is None or call.request.transport.is_closing()):
                raise Gone
            try:
                step = next(steps)
            except StopIteration as stop:
                result: T = stop.value
                return result
            finally:
                context.node.schedule_turn()
            if step is None:
                await asyncio.sleep(0)
            elif callable(step):
                came: asyncio.Future[None] = context.loop.create_future()
                step(lambda came=came: None if came.done() else came.set_result(None))  # type: ignore[misc]
                context.node.schedule_turn()
                await came
            else:
                await context.answer(step)
    except StoreFailed as failed:
        raise HttpError(500, "internal_server_error", str(failed)) from failed
    except Unreadable as failed:
        raise Unavailable(str(failed)) from failed
    finally:
        steps.close()
