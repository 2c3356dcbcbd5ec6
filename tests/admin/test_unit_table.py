"""Field tables and JSON (broker.admin.shapes.table), as RabbitMQ has them."""

import pytest

from broker.admin.errors import BadRequest
from broker.admin.shapes.table import json_of, table_of
from protocol.tables import DEPTH_MAX, Field


def test_json_becomes_types() -> None:
    given = {"a": 1, "b": -(2**63), "c": 1.5, "d": True, "e": "hä", "f": {"g": []}, "h": [1, "x", False]}
    table = table_of(given)
    assert {name: field.kind for name, field in table.items()} == {"a": "l", "b": "l", "c": "d", "d": "t", "e": "S", "f": "F", "h": "A"}
    assert table["h"].value == [Field("l", 1), Field("S", b"x"), Field("t", False)]
    assert json_of(table) == given


def test_every_type_is_shown() -> None:
    table = {
        "time": Field("T", 1_700_000_000), "octets": Field("x", b"abc"), "none": Field("V", None), "decimal": Field("D", (2, 314)),
        "short": Field("s", -1), "float": Field("f", 0.5), "broken": Field("S", b"\xff"),
    }  # fmt: skip
    assert json_of(table) == {
        "time": 1_700_000_000, "octets": "abc", "none": None, "decimal": 3.14, "short": -1, "float": 0.5,
        "broken": "Not UTF-8, base64 is: /w==",
    }  # fmt: skip


@pytest.mark.parametrize("value", [None, 2**63, -(2**63) - 1, [None], {"a": {"b": None}}])
def test_what_no_table_holds_is_refused(value: object) -> None:
    with pytest.raises(BadRequest):
        table_of({"a": value})


def test_depth_and_names_have_limits() -> None:
    deep: dict[str, object] = {}
    listed: list[object] = []
    for _ in range(DEPTH_MAX):
        deep, listed = {"a": deep}, [listed]
    for value in (deep, {"a": listed}, {"n" * 256: 1}):
        with pytest.raises(BadRequest):
            table_of(value)
    assert table_of({"n" * 255: 1})
