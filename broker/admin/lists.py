"""Lists: which columns, in which order, which page. All of it as RabbitMQ does it (rabbit_mgmt_util at v3.13.7), in slices.

    ?columns=name,message_stats.publish    parts of each item
    ?sort=messages&sort_reverse=true       by any column, dotted where it lies deeper; what has none comes first
    ?page=1&page_size=100&name=a&use_regex=true    one page of those whose name contains a text, or matches

The event loop is shared with everybody's messages: after SLICE_SECONDS of work a list lets them have it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from broker.admin.call import Answer
from broker.admin.errors import BadRequest
from broker.admin.jsons import dumps
from broker.core.permissions import InvalidPattern, compiled, octets

if TYPE_CHECKING:
    from broker.admin.call import Call

T = TypeVar("T")
Facts = dict[str, Any]
Columns = list[list[str]]
"""Each cut at its dots."""

SLICE_SECONDS: Final = 0.002
LOOK_EVERY: Final = 16
"""Items between two looks at the clock."""
PAGE_SIZE: Final = 100
PAGE_SIZE_MAX: Final = 500
DEFAULT_SORT: Final = ("vhost", "name")


class Page(NamedTuple):
    """What of a list is asked for; `matches` decides by name."""

    number: int
    size: int
    matches: Callable[[str], bool]


class Pacer:
    """Lets others have the event loop from time to time."""

    def __init__(self) -> None:
        self._count = 0
        self._until = time.perf_counter() + SLICE_SECONDS

    async def step(self) -> None:
        """One more item is done."""
        self._count += 1
        if not self._count % LOOK_EVERY and time.perf_counter() > self._until:
            await asyncio.sleep(0)
            self._until = time.perf_counter() + SLICE_SECONDS


async def answer(
    call: Call,
    objects: Sequence[T],
    shape: Callable[[T], Facts],
    *,
    basic: Callable[[T], Facts] | None = None,
    default_sort: Sequence[str] = DEFAULT_SORT,
    can_page: bool = True,
) -> Answer:
    """The list of what `shape` makes of each of the objects.

    `basic` makes less of them, and cheaply: enough to sort by its columns and to choose a page before `shape` is asked. An object that is
    gone when its turn comes is still shown as it is then. Raises BadRequest for a page that makes no sense.
    """
    page = _page(call) if can_page else None
    columns = _columns(call)
    sort = [column for column in call.query.getall("sort", [])[:1] if column]
    by = list(dict.fromkeys([*sort, *default_sort]))
    is_cheap = basic is not None and (not objects or set(by) <= basic(objects[0]).keys())
    pacer = Pacer()
    chosen: Sequence[Any]
    if is_cheap:
        assert basic is not None
        keyed = []
        for each in objects:
            facts = basic(each)
            keyed.append((facts, each))
            await pacer.step()
        keyed.sort(key=lambda pair: _sort_key(pair[0], by))
        if call.flag("sort_reverse"):
            keyed.reverse()
        envelope, chosen = _cut(keyed, page, name_of=lambda pair: pair[0].get("name"))
        items = [dumps(_with(columns, shape(each))) async for _, each in _paced(chosen, pacer)]
    else:
        whole = [shape(each) async for each in _paced(objects, pacer)]
        whole.sort(key=lambda facts: _sort_key(facts, by))
        if call.flag("sort_reverse"):
            whole.reverse()
        envelope, chosen = _cut(whole, page, name_of=lambda facts: facts.get("name"))
        items = [dumps(_with(columns, facts)) async for facts in _paced(chosen, pacer)]
    listed = b"[" + b",".join(items) + b"]"
    if envelope is None:
        return Answer(body=listed)
    return Answer(body=dumps(envelope)[:-1] + b',"items":' + listed + b"}")


async def _paced(items: Sequence[T], pacer: Pacer) -> Any:
    for each in items:
        yield each
        await pacer.step()


def only(call: Call, facts: Facts) -> Facts:
    """One object, with the columns that were asked for."""
    chosen: Facts = _with(_columns(call), facts)
    return chosen


# --- columns --------------------------------------------------------------------------------------------------------


def _columns(call: Call) -> Columns | None:
    asked = call.query.get("columns")
    if asked is None:
        return None
    return [column.split(".") for column in asked.split(",") if column]


def _with(columns: Columns | None, facts: Any) -> Any:
    if columns is None:
        return facts
    if isinstance(facts, list):
        return [_with(columns, each) for each in facts]
    if not isinstance(facts, dict):
        return facts
    heads = {column[0] for column in columns}
    return {name: _with(_below(columns, name), value) for name, value in facts.items() if name in heads}


def _below(columns: Columns, name: str) -> Columns | None:
    """The columns within one that is wanted; None for all of it."""
    deeper = [column[1:] for column in columns if column[0] == name]
    return None if any(not column for column in deeper) else deeper


# --- order ----------------------------------------------------------------------------------------------------------


def _sort_key(facts: Facts, columns: Sequence[str]) -> list[tuple[int, Any]]:
    return [_rank(_dotted(facts, column)) for column in columns]


def _dotted(facts: Any, column: str) -> Any:
    for part in column.split("."):
        facts = facts.get(part) if isinstance(facts, dict) else None
    return 0 if facts is None else facts


def _rank(value: Any) -> tuple[int, Any]:
    """Numbers, words, lists, texts: the order of Erlang's terms. Nothing counts as 0."""
    match value:
        case bool():
            return 1, str(value)
        case int() | float():
            return 0, value
        case str():
            return 3, value
        case _:
            return 2, str(value)


# --- pages ----------------------------------------------------------------------------------------------------------


def _page(call: Call) -> Page | None:
    try:
        number, size = (int(call.query[name]) if name in call.query else None for name in ("page", "page_size"))
    except ValueError:
        raise BadRequest("Pagination parameters are invalid") from None
    if number is None:
        return None
    if size is None:
        size = PAGE_SIZE
    if number < 1 or not 1 <= size <= PAGE_SIZE_MAX:
        reason = f"Invalid pagination parameters: page number {number}, page size {size}"
        raise BadRequest(reason, "invalid_pagination_parameters")
    return Page(number, size, _matcher(call.query.get("name", ""), is_pattern=call.flag("use_regex")))


def _matcher(text: str, *, is_pattern: bool) -> Callable[[str], bool]:
    if not text:
        return lambda name: True
    if not is_pattern:
        lower = text.lower()
        return lambda name: lower in name.lower()
    try:
        pattern = compiled(f"(?i){text}")
    except InvalidPattern as error:
        raise BadRequest(f"name: {error}") from None
    return lambda name: pattern.search(octets(name)) is not None


def _cut(items: Sequence[T], page: Page | None, name_of: Callable[[T], Any]) -> tuple[Facts | None, Sequence[T]]:
    """The page of what matches, with what stands around it."""
    if page is None:
        return None, items
    matching = [each for each in items if page.matches(str(name_of(each) or ""))]
    first = (page.number - 1) * page.size
    if first > len(matching):
        reason = f"Page out of range, page: {page.number} page size: {page.size}, len: {len(matching)}"
        raise BadRequest(reason, "page_out_of_range")
    chosen = matching[first : first + page.size]
    return {
        "total_count": len(items),
        "item_count": len(chosen),
        "filtered_count": len(matching),
        "page": page.number,
        "page_size": page.size,
        "page_count": -(-len(matching) // page.size),
    }, chosen
