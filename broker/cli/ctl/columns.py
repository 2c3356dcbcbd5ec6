"""Columns of lists: `list_queues name messages`, `list_queues name,messages`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.cli.ctl.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from broker.cli.ctl.command import Call


def columns_of(call: Call, *default: str) -> list[str]:
    """Those that were asked for, each once."""
    asked = [name.strip() for word in call.arguments for name in word.split(",")]
    return list(dict.fromkeys(name for name in asked if name)) or list(default)


def check_columns(known: Collection[str]) -> Callable[[Call], None]:
    """A check for `Command.check`."""

    def check(call: Call) -> None:
        unknown = sorted(name for name in columns_of(call) if name not in known)
        if unknown:
            raise Invalid(f"Info key(s) {','.join(unknown)} are not supported")

    return check
