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


async def carry_out(call: Call, steps: Steps[T]) -> T:
    """What the work returns. Raises HttpError, and what the work raises. A client that goes away breaks it off between two steps, for its
    request is cancelled (server.Api)."""
    context = call.context
    try:
        while True:
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
