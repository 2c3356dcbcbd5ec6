"""Lists: which columns, in which order, which page. All of it as RabbitMQ does it (rabbit_mgmt_util at v3.13.7), in slices.

    ?columns=name,message_stats.publish    parts of each item
    ?sort=messages&sort_reverse=true       by any column, dotted where it lies deeper; what has none comes first
    ?page=1&page_size=100&name=a&use_regex=true    one page of those whose name contains a text, or matches

The event loop is shared with everybody's messages: see pacing.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from heapq import merge
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from broker.admin.call import Answer
from broker.admin.errors import BadRequest
from broker.admin.jsons import dumps
from broker.admin.pacing import LOOK_EVERY, Pacer
from broker.core.permissions import InvalidPattern, compiled, octets

if TYPE_CHECKING:
    from broker.admin.call import Call

SORTED: Final = {
    "columns": "string: Parts of each item, separated by commas; a dot leads deeper.",
    "sort": "string: A column to sort by.",
    "sort_reverse": "boolean: The other way round.",
}
"""What a list reads of the query, for the OpenAPI document."""
PAGED: Final = SORTED | {
    "page": "integer: A page of the list, from 1.",
    "page_size": "integer: Items on a page, 500 at the most.",
    "name": "string: With page: only items whose name contains this.",
    "use_regex": "boolean: That is a regular expression.",
}
ONLY: Final = {"columns": "string: Parts of the object, separated by commas; a dot leads deeper."}

T = TypeVar("T")
Facts = dict[str, Any]
Columns = dict[str, Any]
"""By the first part of their names: the rest in the same way, or None for all that is there."""
Key = tuple[Any, ...]
Keyed = tuple[Key, Any, T]
"""What a list is sorted by, the name that pages are chosen by, and the object."""

STRETCH: Final = 1000
"""Items that are sorted in one go: a millisecond, or two where they are much alike."""
PART_BYTES: Final = 131_072
"""An answer is sent in parts of about this."""
PARTS_MAX: Final = 8
"""More of an answer is made only while it is sent: who doesn't read is no memory."""
PAGE_SIZE: Final = 100
PAGE_SIZE_MAX: Final = 500
DEFAULT_SORT: Final = ("vhost", "name")


class Page(NamedTuple):
    """What of a list is asked for; `matches` decides by name."""

    number: int
    size: int
    matches: Callable[[str], bool]


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

    `basic` makes less of them, and cheaply: enough to sort by its columns and to choose a page before `shape` is asked, which isn't asked
    at all where no other columns are wanted. An object that is gone when its turn comes is still shown as it is then. Raises BadRequest
    for a page that makes no sense.
    """
    page = _page(call) if can_page else None
    columns = _columns(call)
    sort = [column for column in call.query.getall("sort", [])[:1] if column]
    by = [column.split(".") for column in dict.fromkeys([*sort, *default_sort])]
    known = frozenset(basic(objects[0]) if basic is not None and objects else ())
    is_cheap = basic is not None and all(path[0] in known for path in by)
    first = basic if basic is not None and is_cheap else shape
    make = basic if basic is not None and columns is not None and columns.keys() <= known else shape
    pacer = Pacer(call.context.turns)
    if len(objects) > LOOK_EVERY:
        await pacer.rest()
    # What was made to sort by isn't kept: so many dicts at once would be a lot of memory, and work for the garbage collector.
    keyed: list[Keyed[T]] = []
    for each in objects:
        facts = first(each)
        keyed.append((_sort_key(facts, by), facts.get("name"), each))
        if pacer.is_due:
            await pacer.rest()
    keyed = await _sorted(keyed, pacer)
    if call.flag("sort_reverse"):
        keyed.reverse()
    envelope, chosen = await _cut(keyed, page, pacer)
    return await joined(envelope, [each for _, _, each in chosen], make, columns, pacer)


async def _sorted(keyed: list[Keyed[T]], pacer: Pacer) -> list[Keyed[T]]:
    """By their keys: short stretches first, which are then merged item by item, for a long sort would hold up the loop."""
    stretches = [keyed[first : first + STRETCH] for first in range(0, len(keyed), STRETCH)]
    for stretch in stretches:
        stretch.sort(key=_key_of)
        await pacer.rest()
    if len(stretches) < 2:
        return stretches[0] if stretches else []
    merged = []
    for entry in merge(*stretches, key=_key_of):
        merged.append(entry)
        if pacer.is_due:
            await pacer.rest()
    return merged


async def joined(envelope: Facts | None, items: Sequence[T], shape: Callable[[T], Facts], columns: Columns | None, pacer: Pacer) -> Answer:
    """The list of what `shape` makes of each of the items, as JSON text in parts, none of which takes long to copy."""
    rest = _parts(envelope, items, shape, columns, pacer)
    parts = []
    async for part in rest:
        parts.append(part)
        if len(parts) == PARTS_MAX:
            return Answer(body=_chained(parts, rest))
    return Answer(body=parts if len(parts) > 1 else parts[0])


async def _parts(
    envelope: Facts | None, items: Sequence[T], shape: Callable[[T], Facts], columns: Columns | None, pacer: Pacer
) -> AsyncIterator[bytes]:  # fmt: skip
    begin = b"[" if envelope is None else dumps(envelope)[:-1] + b',"items":['
    texts: list[bytes] = []
    size = 0
    for each in items:
        text = dumps(shape(each) if columns is None else _with(columns, shape(each)))
        texts.append(text)
        size += len(text)
        if size > PART_BYTES:
            yield begin + b",".join(texts)
            begin = b","
            texts.clear()
            size = 0
        if pacer.is_due:
            await pacer.rest()
    if not texts and begin == b",":
        begin = b""
    yield begin + b",".join(texts) + (b"]" if envelope is None else b"]}")


async def _chained(parts: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    while parts:
        yield parts.pop(0)
    async for part in rest:
        yield part


def only(call: Call, facts: Facts) -> Facts:
    """One object, with the columns that were asked for."""
    columns = _columns(call)
    chosen: Facts = facts if columns is None else _with(columns, facts)
    return chosen


# --- columns --------------------------------------------------------------------------------------------------------


def _columns(call: Call) -> Columns | None:
    asked = call.query.get("columns")
    if asked is None:
        return None
    columns: Columns = {}
    for column in asked.split(","):
        *path, last = column.split(".")
        branch: Columns | None = columns
        for part in path:
            branch = branch.setdefault(part, {}) if branch is not None else None
        if branch is not None and last:
            branch[last] = None
    return columns


def _with(columns: Columns, facts: Any) -> Any:
    if isinstance(facts, list):
        return [_with(columns, each) for each in facts]
    if not isinstance(facts, dict):
        return facts
    chosen = {}
    for name, value in facts.items():
        if name in columns:
            below = columns[name]
            chosen[name] = value if below is None else _with(below, value)
    return chosen


# --- order ----------------------------------------------------------------------------------------------------------

_key_of: Final = itemgetter(0)


def _sort_key(facts: Facts, by: Sequence[list[str]]) -> Key:
    """Rank and value by turns, of each of the columns (the parts of their names)."""
    key: list[Any] = []
    for path in by:
        value: Any = facts
        for part in path:
            if not isinstance(value, dict):
                value = None
                break
            value = value.get(part)
        if isinstance(value, str):
            key += (3, value)
        elif value is None:
            key += (0, 0)
        else:
            key += _rank(value)
    return tuple(key)


def _rank(value: Any) -> tuple[int, Any]:
    """Numbers, words, texts: the order of Erlang's terms. Nothing counts as 0."""
    if isinstance(value, bool):
        return 1, str(value)
    return (0, value) if isinstance(value, int | float) else (2, str(value))


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


async def _cut(items: Sequence[Keyed[T]], page: Page | None, pacer: Pacer) -> tuple[Facts | None, Sequence[Keyed[T]]]:
    """The page of what matches, with what stands around it."""
    if page is None:
        return None, items
    matching = []
    for each in items:
        if page.matches(str(each[1] or "")):
            matching.append(each)
        # One name may take a pattern milliseconds.
        if pacer.is_over:
            await pacer.rest()
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
