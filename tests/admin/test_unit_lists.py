"""Columns, order, pages, and slices of lists (broker.admin.lists)."""

import asyncio
import json
import random
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
from multidict import MultiDict

from broker.admin import lists, pacing
from broker.admin.call import Answer, Call
from broker.admin.errors import HttpError
from broker.admin.pacing import Turns
from broker.core.permissions import Identity

Facts = dict[str, Any]


def call(query: str = "") -> Call:
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    request = SimpleNamespace(method="GET", query=MultiDict((name, value) for name, _, value in pairs))
    return Call(cast("Any", SimpleNamespace(broker=None, turns=Turns())), cast("Any", request), {}, Identity("me"), "")


def listed(objects: list[Any], query: str = "", **options: Any) -> Any:
    return json.loads(text_of(asyncio.run(lists.answer(call(query), objects, lambda each: cast("Facts", each), **options))))


def text_of(answer: Answer) -> bytes:
    return answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)


def named(*names: str) -> list[Facts]:
    return [{"vhost": "/", "name": name} for name in names]


def names(found: list[Facts]) -> list[Any]:
    return [each["name"] for each in found]


def refused(query: str, objects: list[Facts]) -> tuple[str, str]:
    with pytest.raises(HttpError) as error:
        listed(objects, query)
    assert error.value.status == 400
    return error.value.error, error.value.reason


def test_columns_may_lie_deeper() -> None:
    item = {"name": "a", "vhost": "/", "stats": {"publish": 1, "ack": 2}, "list": [{"x": 1, "y": 2}], "nothing": None}

    def columns(asked: str) -> Any:
        return listed([item], f"columns={asked}")[0]

    assert columns("name,stats.publish") == {"name": "a", "stats": {"publish": 1}}
    assert columns("list.y") == {"list": [{"y": 2}]}
    assert columns("stats,stats.ack") == columns("stats.ack,stats") == {"stats": item["stats"]}
    assert columns("nothing.below,unknown,name.below") == {"name": "a", "nothing": None}
    assert columns("") == {}
    assert lists.only(call("columns=name"), item) == {"name": "a"}
    assert lists.only(call(), item) == item


def test_the_order_is_that_of_erlangs_terms_and_nothing_counts_as_0() -> None:
    items = [{"vhost": "/", "name": name, "x": x} for name, x in (("text", "a"), ("word", True), ("one", 1), ("none", None), ("less", -1))]
    assert names(listed(items, "sort=x")) == ["less", "none", "one", "word", "text"]
    assert names(listed(items, "sort=x&sort_reverse=true")) == ["text", "word", "one", "none", "less"]
    assert names(listed(items, "sort=y.z")) == sorted(names(items))
    assert names(listed(items, "sort=")) == sorted(names(items))
    deep = [{"vhost": "/", "name": str(x), "a": {"b": x}} for x in (3, 1, 2)]
    assert names(listed(deep, "sort=a.b")) == ["1", "2", "3"]


@pytest.mark.parametrize("count", [0, 1, lists.STRETCH, lists.STRETCH + 1, 3 * lists.STRETCH + 7])
def test_any_number_of_items_is_sorted(count: int) -> None:
    shuffled = [str(number) for number in range(count)]
    random.Random(count).shuffle(shuffled)
    assert names(listed(named(*shuffled))) == sorted(shuffled)


def test_equal_items_keep_their_order() -> None:
    items = [{"vhost": "/", "name": "same", "at": at} for at in range(2 * lists.STRETCH)]
    assert [each["at"] for each in listed(items)] == list(range(len(items)))


def test_pages() -> None:
    items = named("bb", "a", "ab", "B", "c")
    page = listed(items, "page=1&page_size=2&name=b")
    assert page == {
        "total_count": 5, "item_count": 2, "filtered_count": 3, "page": 1, "page_size": 2, "page_count": 2, "items": named("B", "ab"),
    }  # fmt: skip
    assert names(listed(items, "page=2&page_size=2&name=b")["items"]) == ["bb"]
    assert names(listed(items, "page=1&name=^b&use_regex=true")["items"]) == ["B", "bb"]
    assert listed([], "page=1")["page_count"] == 0
    assert refused("page=3&page_size=10", []) == ("page_out_of_range", "Page out of range, page: 3 page size: 10, len: 0")
    assert refused("page=0", items)[0] == refused("page=1&page_size=501", items)[0] == "invalid_pagination_parameters"
    assert refused("page=x", items)[0] == "bad_request"
    assert names(listed(items, "page=1&page_size=1", can_page=False)) == sorted(names(items))


def test_a_page_by_cheap_columns_asks_only_for_its_items() -> None:
    asked = []

    def shape(name: str) -> Facts:
        asked.append(name)
        return {"vhost": "/", "name": name, "size": len(name)}

    def basic(name: str) -> Facts:
        return {"vhost": "/", "name": name}

    objects = [f"object-{number:04}" for number in range(1000)]

    def page(query: str) -> list[Facts]:
        asked.clear()
        found = asyncio.run(lists.answer(call(query), objects, shape, basic=basic))
        items: list[Facts] = json.loads(text_of(found))["items"]
        return items

    assert page("page=2&page_size=2") == [shape("object-0002"), shape("object-0003")]
    page("page=1&page_size=5&sort=name&sort_reverse=true&name=99")
    assert asked == ["object-0999", "object-0998", "object-0997", "object-0996", "object-0995"]
    assert page("page=1&page_size=2&columns=name") == [{"name": "object-0000"}, {"name": "object-0001"}]
    assert asked == []
    assert page("page=1&page_size=1&sort=size&columns=size") == [{"size": 11}]
    assert len(asked) == len(objects) + 1


def test_long_answers_come_in_parts() -> None:
    items = [{"vhost": "/", "name": f"{number:04}", "text": "x" * 1000} for number in range(700)]
    answer = asyncio.run(lists.answer(call(), items, lambda each: each))
    assert isinstance(answer.body, list)
    assert max(map(len, answer.body)) < 2 * lists.PART_BYTES
    assert json.loads(b"".join(answer.body)) == items


@pytest.mark.parametrize("count", [0, 1, 900, 1000, 1016, 1017, 1018, 3000])
def test_longer_ones_are_made_while_they_are_sent(count: int) -> None:
    made = []

    def shape(number: int) -> Facts:
        made.append(number)
        return {"vhost": "/", "name": f"{number:04}", "text": "x" * 1000}

    async def whole() -> tuple[int, bytes]:
        answer = await lists.joined({"n": 1}, range(count), shape, None, pacing.Pacer(Turns()))
        made_before = len(made)
        if isinstance(answer.body, bytes):
            return made_before, answer.body
        if isinstance(answer.body, list):
            return made_before, b"".join(answer.body)
        return made_before, b"".join([part async for part in answer.body])

    made_before, body = asyncio.run(whole())
    assert [int(each["name"]) for each in json.loads(body)["items"]] == list(range(count)) == made
    assert made_before <= 1100


def test_the_event_loop_is_shared() -> None:
    """A list that takes long lets others have the loop every few milliseconds."""
    work_seconds = 0.0002

    def shape(name: str) -> Facts:
        end = time.thread_time() + work_seconds
        while time.thread_time() < end:
            pass
        return {"vhost": "/", "name": name}

    async def others_meanwhile() -> int:
        turns = 0
        making = asyncio.ensure_future(lists.answer(call(), [str(number) for number in range(500)], shape))
        while not making.done():
            await asyncio.sleep(0)
            turns += 1
        return turns

    slices = 2 * 500 * work_seconds / pacing.SLICE_SECONDS  # each is made to sort by, and made again to be shown
    assert asyncio.run(others_meanwhile()) > slices / 4
