"""Carries out work in steps (broker/core/steps.py) with a Playbook's turns and disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from broker.core.inspection import Filter, look, look_at_unacked
from broker.core.relocation import relocate

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.core.inspection import Look
    from broker.core.relocation import FindWay, Relocation
    from broker.core.steps import Steps
    from tests.core.playbook import Playbook

T = TypeVar("T")


def carry_out(book: Playbook, steps: Steps[T], meanwhile: Callable[[], None] = lambda: None) -> T:
    """What the work returns; `meanwhile` happens whenever it lets go."""
    while True:
        try:
            step = next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result
        meanwhile()
        if step is None:
            book.turn()
            continue
        assert callable(step), "nobody here answers questions"
        went_on: list[bool] = []
        step(lambda: went_on.append(True))  # noqa: B023  it is waited for at once
        book.settle()
        assert went_on, "what it waits for never comes"


def seen(book: Playbook, name: str = "q", offset: int = 0, limit: int = 1000, wanted: str | None = None) -> str:
    """The bodies that a look shows, one letter each."""
    return text(carry_out(book, look(book.queue(name), offset, limit, None if wanted is None else Filter(wanted))))


def unacked(book: Playbook, name: str = "q") -> Look:
    return carry_out(book, look_at_unacked(book.queue(name)))


def text(found: Look) -> str:
    return "".join(each.body.decode() for each in found.seen)


def move(book: Playbook, way: FindWay, name: str = "q", **options: object) -> Relocation:
    return carry_out(book, relocate(book.queue(name), way, lambda _: None, **options))  # type: ignore[arg-type]
