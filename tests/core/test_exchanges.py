"""Exchanges: what all types that match share, direct, fanout and headers. The sentences are the contract's (3.x)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.core.exchange import Destination, Exchange, LooksAt, alternate_of
from broker.core.exchanges import create, exchange_types
from protocol.errors import ChannelException
from protocol.tables import Field, Table


class Queue:
    """A destination that is nothing else."""

    is_queue = True
    type = "classic"

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


def names(found: object) -> list[str]:
    assert isinstance(found, tuple)
    return sorted(queue.name for queue in found)


def text(value: str) -> Field:
    return Field("S", value.encode())


A, B, C = Queue("a"), Queue("b"), Queue("c")
TYPES = ["direct", "fanout", "headers", "topic"]
"""The types that match; those that choose are in test_choosing.py."""


@pytest.fixture(params=TYPES)
def exchange(request: pytest.FixtureRequest) -> Exchange:
    return create(request.param, "x")


class TestEveryType:
    def test_is_registered_under_its_name(self) -> None:
        assert set(TYPES) < set(exchange_types)
        assert all(name == kind.type for name, kind in exchange_types.items())

    def test_keeps_its_properties(self, exchange: Exchange) -> None:
        made = create(exchange.type, "y", durable=True, auto_delete=True, internal=True, arguments={"alternate-exchange": text("ae")})
        assert (made.name, made.durable, made.auto_delete, made.internal, made.alternate) == ("y", True, True, True, "ae")
        assert not (exchange.durable or exchange.auto_delete or exchange.internal or exchange.arguments)
        assert exchange.alternate is None
        assert not exchange.is_queue

    def test_binding_twice_is_once(self, exchange: Exchange) -> None:
        assert exchange.bind(A, "k", {})
        assert not exchange.bind(A, "k", {})
        assert names(exchange.matches("k", {})) == ["a"]
        assert exchange.binding_count == 1 and len(list(exchange.bindings())) == 1
        assert exchange.unbind(A, "k", {})
        assert names(exchange.matches("k", {})) == []

    def test_bindings_that_differ_in_arguments_are_two(self, exchange: Exchange) -> None:
        assert exchange.bind(A, "k", {})
        assert exchange.bind(A, "k", {"x-n": Field("I", 1)})
        assert names(exchange.matches("k", {})) == ["a"]
        assert exchange.unbind(A, "k", {})
        assert names(exchange.matches("k", {})) == ["a"]
        assert exchange.unbind(A, "k", {"x-n": Field("I", 1)})
        assert names(exchange.matches("k", {})) == []

    def test_two_destinations_of_one_name_are_two(self, exchange: Exchange) -> None:
        other = create("fanout", "a")
        exchange.bind(A, "k", {})
        exchange.bind(other, "k", {})
        assert set(exchange.matches("k", {})) == {A, other}
        exchange.unbind(A, "k", {})
        assert tuple(exchange.matches("k", {})) == (other,)

    def test_unbinding_what_is_not_there_is_no_error(self, exchange: Exchange) -> None:
        assert not exchange.unbind(A, "k", {})
        exchange.bind(A, "k", {})
        assert not exchange.unbind(A, "k2", {})
        assert not exchange.unbind(B, "k", {})
        assert not exchange.unbind(A, "k", {"x": Field("I", 1)})
        assert names(exchange.matches("k", {})) == ["a"]

    def test_a_destination_goes_with_all_its_bindings(self, exchange: Exchange) -> None:
        for key in ("k1", "k2", "#", "*"):
            exchange.bind(A, key, {})
            exchange.bind(B, key, {})
        gone = exchange.unbind_destination(A)
        assert [binding.routing_key for binding in gone] == ["k1", "k2", "#", "*"]
        assert all(binding.source is exchange and binding.destination is A for binding in gone)
        assert names(exchange.matches("k1", {})) == ["b"]
        assert exchange.bindings_of(A) == [] and len(exchange.bindings_of(B)) == 4
        assert exchange.unbind_destination(A) == []
        assert exchange.binding_count == 4

    def test_is_unused_and_had_binding(self, exchange: Exchange) -> None:
        """auto_delete: when its last binding as source goes, not before it had one."""
        assert exchange.is_unused and not exchange.had_binding
        exchange.bind(A, "k", {})
        assert not exchange.is_unused and exchange.had_binding
        exchange.unbind(A, "k", {})
        assert exchange.is_unused and exchange.had_binding and exchange.binding_count == 0

    def test_what_matched_does_not_change_with_later_bindings(self, exchange: Exchange) -> None:
        exchange.bind(A, "k", {})
        found = exchange.matches("k", {})
        exchange.bind(B, "k", {})
        exchange.unbind_destination(A)
        assert names(found) == ["a"]

    def test_keys_that_are_not_utf8_are_keys(self, exchange: Exchange) -> None:
        key = b"\xff.\xfe".decode("utf-8", "surrogateescape")
        exchange.bind(A, key, {})
        assert names(exchange.matches(key, {})) == ["a"]

    def test_finds_in_the_order_of_binding(self, exchange: Exchange) -> None:
        queues: list[Destination] = [Queue(str(number)) for number in range(50)]
        for queue in queues:
            exchange.bind(queue, "k", {})
        assert list(exchange.matches("k", {})) == queues


def test_unknown_type() -> None:
    """Unknown type 406 `unknown exchange type 'foo'`."""
    with pytest.raises(ChannelException) as caught:
        create("foo", "x")
    assert (caught.value.code, caught.value.text) == (406, "unknown exchange type 'foo'")


def test_alternate_exchange_is_text() -> None:
    """alternate-exchange: another type than text 406 (the text as the oracle gives it)."""
    assert alternate_of({}, "x", "/") is None
    assert alternate_of({"alternate-exchange": text("")}, "x", "/") == ""
    for field, found in ((Field("I", 5), "signedint"), (Field("x", b"a"), "binary")):
        with pytest.raises(ChannelException) as caught:
            alternate_of({"alternate-exchange": field}, "ae1", "/")
        assert caught.value.code == 406
        assert caught.value.text == f"invalid type '{found}' for arg 'alternate-exchange' in exchange 'ae1' in vhost '/'"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"b": Field("I", 1), "a": Field("I", 2)}, {"a": Field("I", 2), "b": Field("I", 1)}, True),
        ({"k": Field("I", 1)}, {"k": Field("l", 1)}, False),
        ({"k": Field("l", 1)}, {"k": Field("L", 1)}, True),
        ({"k": Field("I", 1)}, {"k": Field("d", 1.0)}, False),
        ({"k": Field("t", True)}, {"k": Field("I", 1)}, False),
        ({"k": Field("d", 0.0)}, {"k": Field("d", -0.0)}, True),
        ({"k": Field("A", [Field("I", 1)])}, {"k": Field("A", [Field("I", 1)])}, True),
        ({"k": Field("A", [Field("I", 1)])}, {"k": Field("A", [Field("l", 1)])}, False),
        ({"k": Field("F", {"a": Field("I", 1), "b": Field("I", 2)})}, {"k": Field("F", {"b": Field("I", 2), "a": Field("I", 1)})}, False),
    ],
)
def test_arguments_that_make_the_same_binding(one: Table, other: Table, same: bool) -> None:
    """As the oracle lists the bindings after both were bound."""
    exchange = create("direct", "x")
    exchange.bind(A, "k", one)
    assert exchange.bind(A, "k", other) is not same
    assert exchange.unbind(A, "k", other)
    assert exchange.is_unused is same


class TestDirect:
    def test_matches_the_very_key(self) -> None:
        exchange = create("direct", "x")
        for queue, key in ((A, "k"), (B, "k"), (B, "K"), (C, ""), (C, "*")):
            exchange.bind(queue, key, {})
        assert names(exchange.matches("k", {})) == ["a", "b"]
        assert names(exchange.matches("K", {})) == ["b"]
        assert names(exchange.matches("", {})) == ["c"]
        assert names(exchange.matches("k.", {})) == []


class TestFanout:
    def test_matches_any_key_once(self) -> None:
        exchange = create("fanout", "x")
        assert names(exchange.matches("k", {})) == []
        for queue, key in ((A, "k"), (A, "l"), (B, "")):
            exchange.bind(queue, key, {})
        assert names(exchange.matches("other", {})) == ["a", "b"]
        exchange.unbind(A, "k", {})
        assert names(exchange.matches("other", {})) == ["a", "b"]
        exchange.unbind(A, "l", {})
        assert names(exchange.matches("other", {})) == ["b"]


def headers_match(arguments: Table, headers: Table) -> bool:
    exchange = create("headers", "x")
    exchange.bind(A, "", arguments)
    matched = names(exchange.matches("any key", headers)) == ["a"]
    assert exchange.unbind(A, "", arguments)
    assert names(exchange.matches("", headers)) == []
    return matched


ONE, LONG_ONE, FLOAT_ONE, VOID = Field("I", 1), Field("l", 1), Field("d", 1.0), Field("V", None)


class TestHeaders:
    @pytest.mark.parametrize(
        ("bound", "header", "matched"),
        [
            (ONE, LONG_ONE, True),
            (ONE, Field("b", 1), True),
            (ONE, Field("T", 1), True),
            (Field("T", 5), Field("T", 5), True),
            (Field("f", 1.5), Field("d", 1.5), True),
            (ONE, FLOAT_ONE, False),  # equal on the oracle, 3.10
            (ONE, Field("t", True), False),
            (text("1"), ONE, False),
            (text("a"), Field("x", b"a"), True),
            (text("a"), text("A"), False),
            (VOID, ONE, True),
            (VOID, VOID, True),
            (ONE, VOID, False),
            (Field("D", (1, 10)), Field("D", (1, 10)), True),
            (Field("D", (1, 10)), Field("D", (2, 100)), False),
            (Field("D", (0, 1)), ONE, False),
            (Field("A", [ONE]), Field("A", [ONE]), True),
            (Field("A", [ONE]), Field("A", [LONG_ONE]), False),
            (Field("F", {"a": ONE, "b": ONE}), Field("F", {"a": ONE, "b": ONE}), True),
            (Field("F", {"a": ONE, "b": ONE}), Field("F", {"b": ONE, "a": ONE}), False),
            (Field("d", 0.0), Field("d", -0.0), True),
        ],
    )
    def test_values(self, bound: Field, header: Field, matched: bool) -> None:
        """Compared by value whatever the integer or string type. Each line but the marked one is what the oracle does."""
        assert headers_match({"k": bound}, {"k": header}) is matched
        assert headers_match({"x-match": text("any"), "k": bound}, {"k": header, "other": ONE}) is matched

    @pytest.mark.parametrize(
        ("arguments", "headers", "matched"),
        [
            ({}, {}, True),
            ({}, {"a": ONE}, True),
            ({"x-match": text("all")}, {}, True),
            ({"x-match": text("any")}, {"a": ONE}, False),
            ({"a": ONE, "b": ONE}, {"a": ONE}, False),
            ({"a": ONE, "b": ONE}, {"a": ONE, "b": ONE, "c": ONE}, True),
            ({"x-match": text("any"), "a": ONE, "b": ONE}, {"b": ONE}, True),
            ({"x-match": text("any"), "a": VOID}, {"b": ONE}, False),
            ({"x-match": text("all"), "x-foo": ONE}, {}, True),
            ({"x-match": text("any"), "x-foo": ONE}, {"x-foo": ONE}, False),
            ({"x-match": text("any-with-x"), "x-foo": ONE}, {"x-foo": ONE}, True),
            ({"x-match": text("any-with-x")}, {"x-match": text("any-with-x")}, False),
            ({"x-match": text("all-with-x"), "x-foo": ONE}, {}, False),
            ({"x-match": text("all-with-x")}, {}, True),
        ],
    )
    def test_modes(self, arguments: Table, headers: Table, matched: bool) -> None:
        assert headers_match(arguments, headers) is matched

    @pytest.mark.parametrize(
        ("field", "complaint"),
        [
            (text("some"), 'field value <<"some">>'),
            (text("All"), 'field value <<"All">>'),
            (text(""), "field value <<>>"),
            (Field("S", b"\x01\x02"), "field value <<1,2>>"),
            (Field("x", b"all"), 'field type binary (value <<"all">>)'),
            (Field("I", 5), "field type signedint (value 5)"),
            (Field("V", None), "field type void (value undefined)"),
            (Field("t", True), "field type bool (value true)"),
            (Field("d", 1.5), "field type double (value 1.5)"),
            (Field("d", 1e30), "field type double (value 1.0e30)"),
            (Field("f", 0.10000000149011612), "field type float (value 0.10000000149011612)"),
            (Field("D", (1, 15)), "field type decimal (value {1,15})"),
            (Field("A", [ONE, text("a")]), 'field type array (value [{signedint,1},{longstr,<<"a">>}])'),
            (Field("F", {"k": ONE}), 'field type table (value [{<<"k">>,signedint,1}])'),
        ],
    )
    def test_x_match_of_another_kind_is_refused(self, field: Field, complaint: str) -> None:
        """Word for word what the oracle answers."""
        exchange = create("headers", "x")
        with pytest.raises(ChannelException) as caught:
            exchange.bind(A, "", {"x-match": field})
        expected = "expected longstr" if "type" in complaint else "expected all, any, all-with-x, or any-with-x"
        assert (caught.value.code, caught.value.text) == (406, f"Invalid x-match {complaint}; {expected}")
        assert exchange.is_unused and not exchange.had_binding

    def test_only_headers_looks_at_headers(self) -> None:
        looks = dict.fromkeys(TYPES, LooksAt.KEY) | {"headers": LooksAt.HEADERS}
        assert {name: exchange_types[name].looks_at for name in TYPES} == looks


values = st.sampled_from([ONE, LONG_ONE, FLOAT_ONE, VOID, text("a"), text("b"), Field("t", True), Field("x", b"a")])
tables = st.dictionaries(st.sampled_from(["a", "b", "c", "x-a", "x-b"]), values, max_size=4)
modes = st.sampled_from([None, "all", "any", "all-with-x", "any-with-x"])


def simply_equal(bound: Field, header: Field) -> bool:
    if bound.kind == "V":
        return True
    groups = {"I": "int", "l": "int", "S": "text", "x": "text"}
    return groups.get(bound.kind, bound.kind) == groups.get(header.kind, header.kind) and bound.value == header.value


def simply_matches(arguments: Table, headers: Table) -> bool:
    """The twin: the rule as the documentation words it, one argument after the other."""
    mode = arguments["x-match"].value.decode() if "x-match" in arguments else "all"
    taking_part = [name for name in arguments if name != "x-match" and (mode.endswith("-with-x") or not name.startswith("x-"))]
    fulfilled = [name in headers and simply_equal(arguments[name], headers[name]) for name in taking_part]
    return any(fulfilled) if mode.startswith("any") else all(fulfilled)


@given(
    bound=st.lists(st.tuples(st.sampled_from([A, B, C]), modes, tables, st.booleans()), max_size=12),
    headers=tables,
)
def test_headers_match_as_the_twin_does(bound: list[tuple[Queue, str | None, Table, bool]], headers: Table) -> None:
    exchange = create("headers", "x")
    kept: list[tuple[Queue, Table]] = []
    for queue, mode, table, keep in bound:
        arguments = table if mode is None else {"x-match": text(mode), **table}
        exchange.bind(queue, "", arguments)
        kept.append((queue, arguments))
        if not keep:
            queue, arguments = kept.pop(0)
            exchange.unbind(queue, "", arguments)
            kept = [(other, table) for other, table in kept if (other, table) != (queue, arguments)]
    assert set(exchange.matches("", headers)) == {queue for queue, arguments in kept if simply_matches(arguments, headers)}
    for queue in (A, B, C):
        exchange.unbind_destination(queue)
    assert exchange.is_unused and exchange.matches("", headers) == ()
    assert not exchange._rules and not exchange._by_condition and not exchange._unconditional  # type: ignore[attr-defined]
