"""What is sent to the API (broker.admin.bodies), and JSON that goes out (broker.admin.jsons)."""

import json

import pytest

from broker.admin.bodies import Body
from broker.admin.errors import BadRequest
from broker.admin.jsons import dumps


@pytest.mark.parametrize("sent", [b"", b"  ", b"null", b"undefined", b"{}"])
def test_nothing_is_an_empty_object(sent: bytes) -> None:
    assert Body.parse(sent).values == {}


@pytest.mark.parametrize(("sent", "reason"), [(b"{", "not_json"), (b"[]", "not_json"), (b"1", "not_json"), (b'"{}"', "doubly")])
def test_anything_else_is_refused(sent: bytes, reason: str) -> None:
    with pytest.raises(BadRequest) as refused:
        Body.parse(sent)
    assert reason in refused.value.reason


@pytest.mark.parametrize(("sent", "value"), [(True, True), ("true", True), ("FALSE", False), (None, False)])
def test_flags(sent: object, value: bool) -> None:
    assert Body({"durable": sent}).flag("durable") is value


@pytest.mark.parametrize(("sent", "value"), [(5, 5), ("5", 5), ("-1", -1), (None, 7)])
def test_numbers(sent: object, value: int) -> None:
    assert Body({"count": sent}).number("count", 7) == value


@pytest.mark.parametrize(("sent", "value"), [("a", "a"), (5, "5"), (None, "d")])
def test_texts(sent: object, value: str) -> None:
    assert Body({"key": sent}).text("key", "d") == value


@pytest.mark.parametrize("sent", [{}, [], "", None])
def test_empty_objects(sent: object) -> None:
    assert Body({"arguments": sent}).object("arguments") == {}


def test_what_is_of_the_wrong_kind_is_named() -> None:
    body = Body({"a": "maybe", "b": [1], "c": 1.5, "d": {"x" * 100: 1}})
    for getter, name, text in (
        (body.flag, "a", 'a is "maybe": expected true or false'),
        (body.text, "b", "b is [1]: expected text"),
        (body.number, "c", "c is 1.5: expected a whole number"),
        (body.object, "c", "c is 1.5: expected an object"),
    ):
        with pytest.raises(BadRequest) as refused:
            getter(name)
        assert refused.value.reason == text
    with pytest.raises(BadRequest) as refused:
        body.number("d")
    assert len(refused.value.reason) < 130


def test_missing_keys_are_named_as_rabbitmq_does() -> None:
    with pytest.raises(BadRequest) as refused:
        Body({"count": 1}).require("count", "ackmode", "encoding")
    assert refused.value.reason == "[{key_missing,ackmode},{key_missing,encoding}]"


def test_names_that_are_no_text_become_text() -> None:
    facts = {"name": "a\udcff", "\udcfe": ["\udcfd", 1, None], "big": 1 << 70}
    assert json.loads(dumps(facts)) == {"name": "a\ufffd", "\ufffd": ["\ufffd", 1, None], "big": 1 << 70}
    assert dumps({"a": [1, 2.5, True, None, "ä"]}) == '{"a":[1,2.5,true,null,"ä"]}'.encode()
