"""The handle for coroutines: each method of Broker that waits for something, as a coroutine of the same name and arguments.

It works on a thread, of asyncio's or of trio's, whichever runs; anyio runs one of them.
"""

from __future__ import annotations

import functools
import sys
import types
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from leveret.addresses import Addresses
from leveret.broker import Broker
from leveret.entering import Entering

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from datetime import datetime
    from types import TracebackType
    from typing import Self

    from leveret.clock import Scheduling
    from leveret.faults import AsyncFaults

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(call: Callable[[], T]) -> T:
    """Its result, while other tasks go on."""
    trio = sys.modules.get("trio")
    if trio is not None:
        try:
            trio.lowlevel.current_task()
        except RuntimeError:
            pass  # it is imported, and something else runs
        else:
            result: T = await trio.to_thread.run_sync(call, abandon_on_cancel=True)
            return result
    import asyncio

    return await asyncio.to_thread(call)


class Twin(Generic[P, T]):
    """A method of Broker as a coroutine."""

    def __init__(self, method: Callable[Concatenate[Broker, P], T]) -> None:
        self._method = method
        functools.update_wrapper(self, method)  # type: ignore[arg-type]

    @overload
    def __get__(self, broker: None, owner: type[AsyncBroker]) -> Self: ...

    @overload
    def __get__(self, broker: AsyncBroker, owner: type[AsyncBroker]) -> Callable[P, Coroutine[Any, Any, T]]: ...

    def __get__(self, broker: AsyncBroker | None, owner: type[AsyncBroker]) -> Self | Callable[P, Coroutine[Any, Any, T]]:
        """The coroutine function of one handle, with the method's own signature."""
        if broker is None:
            return self
        method = types.MethodType(self._method, broker.broker)

        @functools.wraps(method)
        async def call(*arguments: P.args, **keywords: P.kwargs) -> T:
            return await in_thread(functools.partial(method, *arguments, **keywords))

        return call


class AsyncScheduling:
    """As clock.Scheduling."""

    def __init__(self, scheduling: Scheduling) -> None:
        self._scheduling = scheduling

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        await self.end()

    async def end(self) -> None:
        """See Scheduling."""
        await in_thread(self._scheduling.end)


class AsyncBroker(Addresses):
    """See the module. `broker` is the handle that this one is the twin of; what needs no request is here as it is there."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    async def __aenter__(self) -> Self:
        if not self.broker.is_running:
            await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        await in_thread(functools.partial(self.broker.__exit__, kind, error, traceback))

    def __repr__(self) -> str:
        return repr(self.broker).replace("Broker", "AsyncBroker", 1)

    # --- coroutines -------------------------------------------------------------------------------------------------

    async def start(self) -> Self:
        """See Broker."""
        await in_thread(self.broker.start)
        return self

    def sandbox(self, name: str | None = None) -> Entering[AsyncBroker]:
        """See Broker: `async with broker.sandbox() as mine`, or `mine = await broker.sandbox()`."""

        async def begin() -> AsyncBroker:
            return AsyncBroker(await in_thread(functools.partial(self.broker.sandbox, name)))

        return Entering(begin)

    def adversarial(self, seed: int | None = None) -> Entering[AsyncScheduling]:
        """See Broker: `async with broker.adversarial()`, or `await broker.adversarial()`."""

        async def begin() -> AsyncScheduling:
            return AsyncScheduling(await in_thread(functools.partial(self.broker.adversarial, seed)))

        return Entering(begin)

    async def now(self) -> datetime:
        """What time it is for the broker, in UTC."""
        return await in_thread(lambda: self.broker.now)

    async def is_frozen(self) -> bool:
        """Its clock stands still, but for `advance`."""
        return await in_thread(lambda: self.broker.is_frozen)

    stop = Twin(Broker.stop)
    kill = Twin(Broker.kill)
    restart = Twin(Broker.restart)

    advance = Twin(Broker.advance)
    freeze = Twin(Broker.freeze)
    resume = Twin(Broker.resume)

    wait_until_idle = Twin(Broker.wait_until_idle)
    wait_for = Twin(Broker.wait_for)
    wait_for_consumer = Twin(Broker.wait_for_consumer)
    wait_for_binding = Twin(Broker.wait_for_binding)
    wait_for_connection = Twin(Broker.wait_for_connection)
    wait_for_message = Twin(Broker.wait_for_message)

    messages = Twin(Broker.messages)
    history = Twin(Broker.history)
    report = Twin(Broker.report)
    findings = Twin(Broker.findings)

    assert_messages = Twin(Broker.assert_messages)
    assert_empty = Twin(Broker.assert_empty)
    assert_published = Twin(Broker.assert_published)
    assert_delivered = Twin(Broker.assert_delivered)
    assert_acked = Twin(Broker.assert_acked)
    assert_rejected = Twin(Broker.assert_rejected)
    assert_dead_lettered = Twin(Broker.assert_dead_lettered)
    assert_expired = Twin(Broker.assert_expired)
    assert_unroutable = Twin(Broker.assert_unroutable)
    assert_no_findings = Twin(Broker.assert_no_findings)
    check = Twin(Broker.check)

    snapshot = Twin(Broker.snapshot)
    restore = Twin(Broker.restore)
    forget = Twin(Broker.forget)
    reset = Twin(Broker.reset)
    export_state = Twin(Broker.export_state)
    load_state = Twin(Broker.load_state)

    @property
    def faults(self) -> AsyncFaults:
        """What is to go wrong in this vhost: `async with broker.faults.drop_connection(after_publishes=3) as fault:`."""
        from leveret.faults import AsyncFaults

        return AsyncFaults(self.broker.faults)

    # --- what needs no request --------------------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        """See Broker."""
        return self.broker.is_running

    @property
    def pid(self) -> int:
        """See Broker."""
        return self.broker.pid

    @property
    def seed(self) -> int:
        """See Broker."""
        return self.broker.seed

    def log(self, lines: int | None = None) -> str:
        """See Broker."""
        return self.broker.log(lines)

    @property
    def host(self) -> str:
        """See Addresses."""
        return self.broker.host

    @property
    def port(self) -> int:
        """See Addresses."""
        return self.broker.port

    @property
    def http_url(self) -> str:
        """See Addresses."""
        return self.broker.http_url

    @property
    def vhost(self) -> str:
        """See Addresses."""
        return self.broker.vhost

    @property
    def user(self) -> str:
        """See Addresses."""
        return self.broker.user

    @property
    def password(self) -> str:
        """See Addresses."""
        return self.broker.password

    @property
    def cafile(self) -> str | None:
        """See Addresses."""
        return self.broker.cafile

    @property
    def is_tls(self) -> bool:
        """See Addresses."""
        return self.broker.is_tls
