"""What can be awaited, and entered with `async with`: what a coroutine opens and somebody has to end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from types import TracebackType


class Ended(Protocol):
    """What ends with its `async with` block."""

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """End it."""


E = TypeVar("E", bound=Ended)


class Entering(Generic[E]):
    """`thing = await opening`, or `async with opening as thing:`, which also ends it. It is opened then, and not before."""

    def __init__(self, opening: Callable[[], Coroutine[Any, Any, E]]) -> None:
        self._opening = opening
        self._opened: list[E] = []

    def __await__(self) -> Generator[Any, Any, E]:
        return self._opening().__await__()

    async def __aenter__(self) -> E:
        self._opened.append(await self._opening())
        return self._opened[-1]

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        await self._opened.pop().__aexit__(kind, error, traceback)
