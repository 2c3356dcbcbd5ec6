"""The comparison itself: it must see what differs, and nothing else."""

from typing import Any

import pytest

from tests.admin.rules import pattern_of, shape
from tests.admin.shapes import ABSENT, Found, differences, each, merge, placeholder


@pytest.mark.parametrize(
    ("recorded", "same", "other"),
    [
        (1, 1, 2),
        (1, 1, 1.0),
        (1, 1, True),
        (0.0, 0.0, 0),
        (None, None, ""),
        ("<int>", 7, 7.0),
        ("<float|null>", None, 1),
        ("<int>", 0, False),
        ("<any>", [1], ...),
        ({"a": 1}, {"a": 1}, {}),
        ({"a?": 1}, {}, {"a": 2}),
        ({"a": {"b": "<string>"}}, {"a": {"b": ""}}, {"a": {"b": None}}),
        ([1, 2], [1, 2], [2, 1]),
        ([1], [1], [1, 1]),
        ({"<each>": {"a": "<int>"}}, [{"a": 1}, {"a": 2}], [{"a": 1}, {}]),
        ({"<each>": "<int>"}, [], {}),
        ({"<unordered>": [{"a": 1}, {"a": 2}]}, [{"a": 2}, {"a": 1}], [{"a": 1}, {"a": 1}]),
        ({"<unordered>": [1]}, [1], [1, 2]),
        ({"<at least>": [1]}, [2, 1], [2]),
        ({"<one of>": [1, "<string>"]}, "x", 2),
    ],
)
def test_what_is_like_a_shape(recorded: Any, same: Any, other: Any) -> None:
    assert not list(differences(recorded, same, extra=False))
    assert other is ... or list(differences(recorded, other, extra=False))


def test_more_keys_are_welcome_but_for_error() -> None:
    assert not list(differences({"a": 1}, {"a": 1, "b": 2}, extra=True))
    assert list(differences({"a": 1}, {"a": 1, "b": 2}, extra=False)) == [Found("b", ABSENT, 2)]
    assert list(differences({"a": 1}, {"a": 1, "error": "x"}, extra=True)) == [Found("error", ABSENT, "x")]


@pytest.mark.parametrize(
    ("first", "second", "merged"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, {"a": 1, "b": "<int>"}),
        ({"a": 1}, {"a": 1, "b": None}, {"a": 1, "b?": None}),
        ({"a?": 1}, {"a": 1}, {"a?": 1}),
        (1, 2.0, "<float|int>"),
        ("<float|int>", None, "<float|int|null>"),
        ([1, 2], [1, 3], [1, "<int>"]),
        ([{"a": 1}], [{"a": 2}, {"a": 3, "b": 0}], {"<each>": {"a": "<int>", "b?": 0}}),
    ],
)
def test_what_two_answers_have_in_common(first: Any, second: Any, merged: Any) -> None:
    assert merge(first, second) == merged
    for answer in (first, second):
        if "<" not in str(answer) and "?" not in str(answer):
            assert not list(differences(merged, answer, extra=False))


def test_rules() -> None:
    body = {"memory": 5, "name": "q", "message_stats": {"publish": 3, "publish_details": {"rate": 0.0}}, "consumer_utilisation": 0}
    assert shape("GET /queues/v/q", body) == {
        "memory": "<int>",
        "name": "q",
        "message_stats": {"publish": 3, "publish_details": {"rate": "<float>"}},
        "consumer_utilisation": "<float|int>",
    }
    assert pattern_of("body[].*.(a|b)").fullmatch("body[].x.b") and not pattern_of("body[].*.(a|b)").fullmatch("body[].x.y.b")
    assert each([]) == "<list>" and placeholder({"<each>": 1}) == "<list>"
