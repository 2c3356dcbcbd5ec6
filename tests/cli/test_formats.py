"""What is printed: rows and texts in every format, values as Erlang prints them, the command line as it is read."""

import json

import pytest

from broker.cli.ctl import admin_tables, likeness, options, terms, units
from broker.cli.ctl.errors import Invalid
from broker.cli.ctl.formats import Output, Style
from broker.cli.ctl.terms import Atom, Characters, Table

ROWS = [
    {"name": "orders", "messages": 12, "durable": True, "policy": None, "arguments": Table({"x-max-length": 5})},
    {"name": "q", "messages": 1000, "durable": False, "policy": "p", "arguments": Table()},
]


def render(formatter: str, **style: bool) -> str | None:
    return Output(rows=ROWS).render(Style(formatter, **style))


def test_a_table_for_a_pipe() -> None:
    header = "name\tmessages\tdurable\tpolicy\targuments\n"
    lines = 'orders\t12\ttrue\t\t[{"x-max-length",5}]\nq\t1000\tfalse\tp\t[]'
    assert render("table") == header + lines
    assert render("table", headers=False) == lines


def test_a_table_for_people() -> None:
    assert render("table", aligned=True) == (
        'name    messages  durable  policy  arguments\norders        12  true             [{"x-max-length",5}]\n'
        "q           1000  false    p       []"
    )
    assert "\x1b[1mname" in str(render("table", aligned=True, colours=True))


def test_csv() -> None:
    assert render("csv") == (
        '"name","messages","durable","policy","arguments"\n"orders","12","true","","[{""x-max-length"",5}]"\n"q","1000","false","p","[]"'
    )


def test_json() -> None:
    text = str(render("json"))
    assert text.splitlines()[0] == "[" and text.splitlines()[2].startswith(",{")
    assert json.loads(text) == [
        {"name": "orders", "messages": 12, "durable": True, "policy": "", "arguments": [["x-max-length", "signedint", 5]]},
        {"name": "q", "messages": 1000, "durable": False, "policy": "p", "arguments": []},
    ]


def test_erlang() -> None:
    assert render("erlang") == (
        '[[{name,<<"orders">>},\n  {messages,12},\n  {durable,true},\n  {policy,undefined},\n'
        '  {arguments,[{<<"x-max-length">>,signedint,5}]}],\n'
        ' [{name,<<"q">>},\n  {messages,1000},\n  {durable,false},\n  {policy,<<"p">>},\n  {arguments,[]}]]'
    )
    assert Output(rows=[{"name": "q", "messages": 1}]).render(Style("erlang")) == '[[{name,<<"q">>},{messages,1}]]'


def test_boxes() -> None:
    assert Output(rows=[{"a": 1, "b": "x"}]).render(Style("pretty_table")) == "\n".join(
        ["┌───┬───┐", "│ a │ b │", "├───┼───┤", "│ 1 │ x │", "└───┴───┘"]
    )


def test_no_rows() -> None:
    for formatter, out in (("table", None), ("csv", None), ("json", "[\n]"), ("pretty_table", None), ("erlang", "[]")):
        assert Output(rows=[]).render(Style(formatter)) == out
    for formatter, out in (("table", ""), ("json", "[]")):
        assert Output(rows=[], whole=True).render(Style(formatter)) == out


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "undefined"),
        (True, "true"),
        (5, "5"),
        (0.4, "0.4"),
        ("a", '<<"a">>'),
        ("žluť", '<<"žluť"/utf8>>'),
        (Atom("rabbit@host"), "rabbit@host"),
        (Atom("rabbit-1@host"), "'rabbit-1@host'"),
        (Atom("Big"), "'Big'"),
        (Characters('say "x"\n'), '"say \\"x\\"\\n"'),
        ((Atom("ok"), 1_800_000), "{ok,1800000}"),
        ([1, [Atom("a")]], "[1,[a]]"),
        ({"a": 1}, '#{<<"a">> => 1}'),
        (Table({"n": 2**40, "t": True}), '[{<<"n">>,long,1099511627776},{<<"t">>,bool,true}]'),
        (Table({"f": 1.5, "l": [1, "a"]}), '[{<<"f">>,double,1.5},{<<"l">>,array,[{signedint,1},{longstr,<<"a">>}]}]'),
        (Table({"d": {"k": "v"}}), '[{<<"d">>,table,[{<<"k">>,longstr,<<"v">>}]}]'),
    ],
)
def test_terms(value: object, shown: str) -> None:
    assert terms.show(value) == shown


def test_a_list_that_is_long_fills_its_lines() -> None:
    lines = terms.pretty([Atom(f"cipher_number_{number}") for number in range(10)]).splitlines()
    assert len(lines) == 3 and all(len(line) < 80 for line in lines) and lines[1].startswith(" cipher_number_")


def parse(*words: str) -> options.Parsed:
    return options.parse(words, {**options.GLOBAL, "priority": int, "if_empty": bool}, {**options.SHORT, "e": "if_empty"})


def test_the_command_line() -> None:
    assert parse("list", "-p", "v", "a", "--timeout=5", "--no-table-headers", "-q", "b") == (
        ["list", "a", "b"], {"vhost": "v", "timeout": 5, "table_headers": False, "quiet": True}, [],
    )  # fmt: skip
    assert parse("x", "--priority", "-1", "-5").options == {"priority": -1}
    assert parse("x", "-pv", "-qs", "-n=rabbit").options == {"vhost": "v", "quiet": True, "silent": True, "node": "rabbit"}
    assert parse("x", "--", "-p", "--nope").arguments == ["x", "-p", "--nope"]
    assert parse("x", "--if-empty", "-").arguments == ["x", "-"]


def test_what_is_wrong_with_the_command_line() -> None:
    assert parse("x", "--nope", "y").invalid == [("--nope", "")]
    assert parse("x", "--nope=1").invalid == [("--nope", "1")]
    assert parse("x", "-p").invalid == [("-p", "")]
    assert parse("x", "-p", "--quiet").invalid == [("-p", "")]
    assert parse("x", "--timeout", "soon").invalid == [("--timeout", "soon")]
    assert parse("x", "--quiet=perhaps").invalid == [("--quiet", "perhaps")]
    assert parse("x", "-z").invalid == [("-z", "")]


def test_sizes() -> None:
    assert [units.size(text) for text in ("5", "1kB", "1k", "2MB", "2M", "1GB", "1GiB")] == [
        5, 1000, 1024, 2_000_000, 2 << 20, 1_000_000_000, 1 << 30,
    ]  # fmt: skip
    for text in ("", "x", "-1", "1.5GB", "1XB", "1 GB"):
        with pytest.raises(Invalid):
            units.size(text)
    assert units.shown(50_000_000, "gb") == "0.05" and units.shown(50_000_000, "mb") == "50.0" and units.shown(7, "bytes") == "7"


def test_likeness() -> None:
    assert likeness.jaro("list_queues", "list_queues") == 1
    assert likeness.jaro("check_port_listener", "check_portx") > likeness.ALIKE
    assert likeness.jaro("martha", "marhta") == pytest.approx(0.9444, abs=1e-4)
    assert likeness.jaro("dixon", "dicksonx") == pytest.approx(0.7667, abs=1e-4)
    assert likeness.jaro("abc", "xyz") == 0 == likeness.jaro("", "x")


def test_columns_of_columns() -> None:
    items = json.dumps([{"name": "q", "a": {"b": 1, "c": {"d": True}}, "l": ["x", "y"], "m": [1], "n": None}])
    assert admin_tables.show(items, "tsv", [], 1, None, headers=True) == "name\tl\tm\tn\nq\tx y\t[1]\t"
    assert admin_tables.show(items, "kvp", [], 3, None, headers=True) == 'name="q" a.b="1" a.c.d="True" l="x y" m="[1]" n=""'
    assert admin_tables.show(items, "tsv", ["a.c.d", "nope"], 1, None, headers=False) == "True\t"
    assert admin_tables.show(items, "tsv", ["name", "a"], 1, "a", headers=False) == 'q\t{"b": 1, "c": {"d": true}}'
    assert admin_tables.show("[]", "table", [], 1, None, headers=True) == "No items"
    assert admin_tables.show("[]", "table", [], 1, None, headers=False) is None
