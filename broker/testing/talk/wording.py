"""What clients and broker say, in one line for people: methods as the specification names them, messages with what is in them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, cast

from broker.core.message import split_routing
from protocol.content import MalformedProperties, Properties, decode_properties
from protocol.events import IMMEDIATE, MANDATORY
from protocol.methods import CLASSES, Basic, Connection, Method, Queue, arguments
from protocol.tables import plain, plain_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from protocol.tables import Table

BODY_SHOWN: Final = 200
"""Characters of a body."""
BODY_KEPT: Final = 1000
"""Bytes of a body that are kept to be shown."""
VALUE_SHOWN: Final = 200
"""Characters of a header, or of a method's argument."""
ARGUMENTS_SHOWN: Final = 600
SECRETS: Final = {Connection.StartOk: {"response", "locale"}, Connection.UpdateSecret: {"new_secret"}, Connection.SecureOk: {"response"}}
"""What is never shown, by method (and what is of no interest)."""
OF_NO_USE: Final = frozenset(("capabilities", "insist", "known_hosts", "out_of_band", "ticket"))
"""Arguments that the specification reserves."""
TOLD_ANYWAY: Final = {Basic.Qos: {"prefetch_count"}, Queue.DeclareOk: {"message_count", "consumer_count"}}
"""Numbers that say something if they are 0."""
OF_NO_INTEREST: Final = {"content_type": ("application/json", "text/plain"), "content_encoding": ("utf-8",)}
"""What the body shows by itself."""
OF_A_TASK: Final = frozenset(
    "argsrepr eta expires group group_index id ignore_result kwargsrepr lang origin parent_id replaced_task_nesting retries root_id shadow "
    "stamped_headers stamps task timelimit".split()
)
"""Headers that Celery gives a task, which is told in other words."""
CLIENT: Final = ("product", "version", "connection_name")
"""Of what a client says of itself."""
_OF_DEATHS: Final = ("x-death", "x-first-death-", "x-last-death-")
METHOD_NAMES: Final = {cls: re.sub("(?<=[a-z])(?=[A-Z])", "-", cls.name).lower() for cls in CLASSES.values()}
"""As the specification writes them: `basic.get-ok`"""


def method_name(method: Method) -> str:
    """`basic.get-ok`"""
    return METHOD_NAMES[type(method)]


def method_text(method: Method) -> str:
    """A method with its arguments, but for those that say nothing: `queue.declare queue='q' durable arguments={'x-max-length': 10}`."""
    cls = type(method)
    if isinstance(method, Basic.Nack | Basic.Reject):
        multiple = " and all before it" if isinstance(method, Basic.Nack) and method.multiple else ""
        return f"{method_name(method)} #{method.delivery_tag}{multiple} {'requeue' if method.requeue else 'without requeue'}"
    if isinstance(method, Basic.Return):
        routing = f"exchange={quoted(method.exchange or '')} key={quoted(method.routing_key or '')}"
        return f"{method_name(method)} {method.reply_code} {method.reply_text} {routing}"
    parts = [method_name(method)]
    for name, kind in arguments(cls):
        value = getattr(method, name)
        if name in OF_NO_USE or name in SECRETS.get(cls, ()) or not (value or name in TOLD_ANYWAY.get(cls, ())):
            continue
        name = name.rstrip("_").replace("_", "-")
        if kind == "bit":
            parts.append(name)
        elif kind == "table":
            parts.append(f"{name}={table_text(_said_of_itself(value) if cls is Connection.StartOk else value)}")
        elif kind == "longstr":
            parts.append(f"{name}={quoted(value.decode('utf-8', 'backslashreplace'))}")
        elif kind == "shortstr":
            parts.append(f"{name}={quoted(value)}")
        else:
            parts.append(f"{name}={value}")
    return cut(" ".join(parts), ARGUMENTS_SHOWN)


def client_text(method: Connection.StartOk) -> str:
    """What the client says it is: `pika 1.3.2`."""
    said = plain(_said_of_itself(cast("Table", method.client_properties)))
    return cut(" ".join(str(said[name]) for name in ("product", "version") if name in said), VALUE_SHOWN)


def _said_of_itself(properties: Table) -> Table:
    return {name: properties[name] for name in CLIENT if name in properties}


def quoted(text: str) -> str:
    """In single quotes, on one line."""
    return f"'{cut(printable(text), VALUE_SHOWN)}'"


def printable(text: str) -> str:
    """On one line, and without what a terminal would obey."""
    return text if text.isprintable() else "".join(each if each.isprintable() else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode()


def cut(text: str, most: int) -> str:
    """No more than so many characters."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def table_text(table: Table) -> str:
    """`{'x-max-length': 10}`"""
    return f"{{{', '.join(f'{name!r}: {cut(repr(value), VALUE_SHOWN)}' for name, value in plain(table).items())}}}"


# --- messages -------------------------------------------------------------------------------------------------------------


def publish_text(routing: bytes, bits: int, header: bytes, body: bytes, size: int) -> str:
    """basic.publish; of the body, which has `size` bytes, the first BODY_KEPT are enough."""
    flags = " mandatory" * bool(bits & MANDATORY) + " immediate" * bool(bits & IMMEDIATE)
    return f"basic.publish {routing_text(routing)}{flags}, {content_text(header, body, size)}"


def routing_text(routing: bytes) -> str:
    """`exchange='shop' key='order.new'`"""
    exchange, key = split_routing(routing)
    return f"exchange={quoted(exchange)} key={quoted(key)}"


def content_text(header: bytes, body: bytes, size: int) -> str:
    """`12 bytes {"id": 7}, message_id='m1' headers={...}`"""
    try:
        properties = decode_properties(header)
    except MalformedProperties:
        return f"{number(size, 'byte')}, with properties that can't be read"
    shown = properties_text(properties)
    return f"{number(size, 'byte')} {body_text(properties, body, size)}".rstrip() + (f", {shown}" if shown else "")


def number(count: int, noun: str) -> str:
    """`1 message`, `2 messages`"""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def seconds(ms: int) -> str:
    """A time in ms, as few seconds of it as tell enough."""
    value = ms / 1000
    return f"{value:.3f} s" if value < 1 else f"{value:.1f} s" if value < 100 else f"{value:,.0f} s"


def properties_text(properties: Properties) -> str:
    """Those that are there, but for what the body shows by itself."""
    told: list[str] = []
    for name in Properties.__slots__:
        value = getattr(properties, name)
        if value is None or value in OF_NO_INTEREST.get(name, ()):
            continue
        if name == "headers":
            told += _headers(value)
        elif name == "delivery_mode":
            told.append("persistent" if value == 2 else "transient" if value == 1 else f"delivery_mode={value}")
        else:
            told.append(f"{name}={quoted(value) if isinstance(value, str) else value}")
    return cut(", ".join(told), ARGUMENTS_SHOWN)


def _headers(table: Table) -> Iterator[str]:
    """Those of a dead letter tell of its deaths in a few words."""
    others = {name: value for name, value in table.items() if not name.startswith(_OF_DEATHS)}
    deaths = plain(table).get("x-death") if len(others) < len(table) else None
    if isinstance(deaths, list) and all(isinstance(death, dict) for death in deaths):
        for death in deaths:
            count = death.get("count")
            times = f" {count} times" if isinstance(count, int) and count > 1 else ""
            yield f"died in {quoted(str(death.get('queue')))}{times}: {death.get('reason')}"
        table = others
    if _task(table) is not None:
        table = {name: value for name, value in table.items() if name not in OF_A_TASK}
    if table:
        yield f"headers={table_text(table)}"


def body_text(properties: Properties, body: bytes, size: int) -> str:
    """The body as what it is: a Celery task, JSON, text or bytes."""
    if (task := _celery(properties)) is not None:
        return cut(task, BODY_SHOWN)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        if len(body) == size or error.start < len(body) - 3:  # else a character was cut
            return cut(repr(body), BODY_SHOWN)
        text = body[: error.start].decode()
    if len(body) == size and text.lstrip()[:1] in ("{", "["):
        try:
            text = json.dumps(json.loads(text), ensure_ascii=False)
        except (ValueError, RecursionError):
            pass  # as it stands, then
    shown = printable(text)
    shown = cut(shown if len(body) == size or len(shown) > BODY_SHOWN else f"{shown}...", BODY_SHOWN)
    return shown if shown[:1] in ("{", "[") else f"'{shown}'" if shown else ""


def _task(table: Table) -> tuple[str, str] | None:
    """Name and id of the task that a message of Celery's protocol 2 is: its headers have them."""
    if "task" not in table or "id" not in table:
        return None
    task, number = plain_value(table["task"]), plain_value(table["id"])
    return (task, number) if isinstance(task, str) and isinstance(number, str) else None


def _celery(properties: Properties) -> str | None:
    task = _task(properties.headers or {})
    if task is None:
        return None
    headers = plain(properties.headers or {})
    given = [_inside(headers.get("argsrepr"), "()"), _inside(headers.get("kwargsrepr"), "{}")]
    more = [f"{name}={headers[name]}" for name in ("retries", "eta", "expires") if headers.get(name)]
    return " ".join([f"celery task {task[0]}({', '.join(filter(None, given))})", f"id={task[1]}", *more])


def _inside(text: object, brackets: str) -> str:
    if not isinstance(text, str):
        return "..."
    return text.removeprefix(brackets[0]).removesuffix(brackets[1]).rstrip(",")
