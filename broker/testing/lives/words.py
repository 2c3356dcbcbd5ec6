"""Names, bindings and people as sentences have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.testing.talk.wording import quoted, table_text

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from protocol.tables import Table

LISTED = 3


def listed(items: Collection[str], most: int = LISTED) -> str:
    """`'a', 'b', 'c' and 2 more`; the items as they are."""
    shown = ", ".join(list(items)[:most])
    return shown if len(items) <= most else f"{shown} and {len(items) - most:,} more"


def exchange_text(name: str) -> str:
    """`exchange 'shop'`, `the default exchange`"""
    return f"exchange {quoted(name)}" if name else "the default exchange"


def binding_text(routing_key: str, arguments: Table) -> str:
    """What a binding asks for: its key, or where that is nothing its arguments."""
    return table_text(arguments) if arguments and not routing_key else quoted(routing_key)


def quotes(names: Sequence[str]) -> list[str]:
    """Each in single quotes."""
    return [quoted(each) for each in names]
