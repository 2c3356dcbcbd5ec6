"""Contract 9.1 and 9.2: who may do what. The names of queues and exchanges here say what user `u` may do to them: `cwr-1` everything,
`w-2` writing alone.

The users come from one file of definitions, for either broker.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from pamqp.commands import Connection, Exchange, Queue

from broker.access import passwords
from tests.conformance.defined import defined, permission, user
from tests.fixtures import Connect, Unique
from tests.spec import Broker, differs, expect_on, spec
from tests.wire import Wire, WireChannel, eventually, table

USERS = {
    "users": [
        user("u"),
        user("all", "administrator"),
        user("impostor", "impersonator"),
        user("topics"),
        user("default"),
        user("none"),
        user("reader"),
        user("sha512", hashing_algorithm=passwords.SHA512, algorithm=passwords.SHA512),
        user("md5", hashing_algorithm=passwords.MD5, algorithm=passwords.MD5),
        user("locked", password_hash=""),
    ],
    "vhosts": [{"name": "other"}],
    "permissions": [
        permission("u", "^c", "^c?w", "^c?w?r"),
        permission("all", ".*", ".*", ".*"),
        permission("impostor", "", ".*", ""),
        permission("topics", ".*", ".*", ".*"),
        permission("default", "^default", "^amq[.]default$", "^default"),
        permission("none", "", "", "", "other"),
        permission("reader", ".*", "^$", ".*"),
        permission("sha512", "", "", ""),
        permission("md5", "", "", ""),
    ],
    "topic_permissions": [
        {"user": "topics", "vhost": "/", "exchange": "amq.topic", "write": "^{username}[.]", "read": "^{vhost}|^{username}[.]"},
    ],
}


@pytest.fixture(scope="module")
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """The broker under test, with the users above."""
    with defined(USERS, request, tmp_path_factory) as broker:
        yield broker


@pytest.fixture
def u(connect: Connect) -> WireChannel:
    """A channel of user u."""
    return connect(user="u", password="pass").open_channel()


def refused(broker: Broker, user: str, kind: str, what: str) -> str:
    """RabbitMQ's text. Before 3.12 it doesn't say what kind of access was refused (3.13: rabbit_access_control:check_resource_access)."""
    said = expect_on(broker, leveret=f"{kind} access", rabbitmq="access")
    return f"ACCESS_REFUSED - {said} to {what} in vhost '/' refused for user '{user}'"


older = differs(rabbitmq="3.10", why="its texts don't say which kind of access was refused")

# --- 9.2 what each method needs


class Need(NamedTuple):
    """One permission: on what, and which of the names in the case it is."""

    kind: str
    resource: str
    role: str


class Case(NamedTuple):
    """A method, in the order in which it is checked what it needs. `call` gets u's channel and the names by role."""

    method: str
    needs: tuple[Need, ...]
    call: Callable[[WireChannel, dict[str, str]], object]
    ids: tuple[int, int]
    there: tuple[str, ...] = ()
    """Roles of which queues and exchanges have to be there before: "queue q", "exchange x"."""


def needs(*texts: str) -> tuple[Need, ...]:
    return tuple(Need(*text.split()) for text in texts)


def _publish(channel: WireChannel, names: dict[str, str]) -> None:
    channel.publish(names["x"], "key", b"body")
    channel.nothing_more()


def _arguments(name: str, names: dict[str, str], role: str) -> dict[str, Any]:
    return {"arguments": {name: names[role]}}


CASES = (
    Case("queue.declare", needs("configure queue q"), lambda c, n: c.call(Queue.Declare, queue=n["q"]), (50, 10)),
    Case("queue.declare of one that is there", needs("configure queue q"), lambda c, n: c.call(Queue.Declare, queue=n["q"]),
         (50, 10), ("queue q",)),
    Case("queue.declare with a dead-letter exchange", needs("configure queue q", "read queue q", "write exchange x"),
         lambda c, n: c.call(Queue.Declare, queue=n["q"], **_arguments("x-dead-letter-exchange", n, "x")), (50, 10)),
    Case("queue.bind", needs("write queue q", "read exchange x"),
         lambda c, n: c.call(Queue.Bind, queue=n["q"], exchange=n["x"]), (50, 20), ("queue q", "exchange x")),
    Case("queue.unbind", needs("write queue q", "read exchange x"),
         lambda c, n: c.call(Queue.Unbind, queue=n["q"], exchange=n["x"]), (50, 50), ("queue q", "exchange x")),
    Case("queue.purge", needs("read queue q"), lambda c, n: c.call(Queue.Purge, queue=n["q"]), (50, 30), ("queue q",)),
    Case("queue.delete", needs("configure queue q"), lambda c, n: c.call(Queue.Delete, queue=n["q"]), (50, 40), ("queue q",)),
    Case("exchange.declare", needs("configure exchange x"),
         lambda c, n: c.call(Exchange.Declare, exchange=n["x"], exchange_type="direct"), (40, 10)),
    Case("exchange.declare of one that is there", needs("configure exchange x"),
         lambda c, n: c.call(Exchange.Declare, exchange=n["x"], exchange_type="direct"), (40, 10), ("exchange x",)),
    Case("exchange.declare with an alternate exchange", needs("configure exchange x", "read exchange x", "write exchange y"),
         lambda c, n: c.call(Exchange.Declare, exchange=n["x"], exchange_type="direct", **_arguments("alternate-exchange", n, "y")),
         (40, 10)),
    Case("exchange.delete", needs("configure exchange x"), lambda c, n: c.call(Exchange.Delete, exchange=n["x"]), (40, 20),
         ("exchange x",)),
    Case("exchange.bind", needs("write exchange y", "read exchange x"),
         lambda c, n: c.call(Exchange.Bind, destination=n["y"], source=n["x"]), (40, 30), ("exchange x", "exchange y")),
    Case("exchange.unbind", needs("write exchange y", "read exchange x"),
         lambda c, n: c.call(Exchange.Unbind, destination=n["y"], source=n["x"]), (40, 40), ("exchange x", "exchange y")),
    Case("basic.publish", needs("write exchange x"), _publish, (60, 40), ("exchange x",)),
    Case("basic.get", needs("read queue q"), lambda c, n: c.get(n["q"]), (60, 70), ("queue q",)),
    Case("basic.consume", needs("read queue q"), lambda c, n: c.consume(n["q"]), (60, 20), ("queue q",)),
    Case("queue.declare passive", (), lambda c, n: c.call(Queue.Declare, queue=n["q"], passive=True), (50, 10), ("queue q",)),
    Case("exchange.declare passive", (), lambda c, n: c.call(Exchange.Declare, exchange=n["x"], passive=True), (40, 10), ("exchange x",)),
)  # fmt: skip
STEPS = [(case, count) for case in CASES for count in range(len(case.needs))]


def names_of(case: Case, granted: int, unique: Unique) -> dict[str, str]:
    """Names with the first so many permissions that the case needs, and no others."""
    letters: dict[str, str] = dict.fromkeys("qxy", "")
    for kind, _, role in case.needs[:granted]:
        letters[role] += kind[0]
    return {role: unique("".join(sorted(each, key="cwr".index))) for role, each in letters.items()}


def prepare(case: Case, names: dict[str, str], channel: WireChannel) -> None:
    for thing in case.there:
        kind, role = thing.split()
        if kind == "queue":
            channel.call(Queue.Declare, queue=names[role])
        else:
            channel.exchange(names[role])


@spec("9.2")
@older
@pytest.mark.parametrize(("case", "granted"), STEPS, ids=[f"{case.method}-{case.needs[count].kind}" for case, count in STEPS])
def test_without_a_permission(case: Case, granted: int, u: WireChannel, channel: WireChannel, unique: Unique, broker: Broker) -> None:
    """Refused for the first permission that is missing; the channel is closed, and the connection goes on."""
    names = names_of(case, granted, unique)
    prepare(case, names, channel)
    kind, resource, role = case.needs[granted]
    with pytest.raises(AssertionError) as caught:
        case.call(u, names)
    text = refused(broker, "u", kind, f"{resource} '{names[role]}'")
    assert f"reply_code=403, reply_text={text!r}, class_id={case.ids[0]}, method_id={case.ids[1]}" in str(caught.value)
    u.wire.open_channel().close()


@spec("9.2")
@pytest.mark.parametrize("case", CASES, ids=[case.method for case in CASES])
def test_with_just_the_permissions(case: Case, u: WireChannel, channel: WireChannel, unique: Unique) -> None:
    names = names_of(case, len(case.needs), unique)
    prepare(case, names, channel)
    case.call(u, names)
    u.nothing_more()


@spec("9.1", "403 comes before 404")
@older
@pytest.mark.parametrize("case", [case for case in CASES if not re.search("declare|delete", case.method)], ids=lambda case: case.method)
def test_what_is_not_there(case: Case, u: WireChannel, unique: Unique, broker: Broker) -> None:
    """Who may not touch it doesn't learn whether it is there. (To unbind what isn't there is fine, for those who may.)"""
    names = names_of(case, 0, unique)
    kind, resource, role = case.needs[0]
    with pytest.raises(AssertionError) as caught:
        case.call(u, names)
    text = refused(broker, "u", kind, f"{resource} '{names[role]}'")
    assert f"reply_code=403, reply_text={text!r}" in str(caught.value)
    names = names_of(case, len(case.needs), unique)
    allowed = u.wire.open_channel()
    if "unbind" in case.method:
        case.call(allowed, names)
    else:
        with pytest.raises(AssertionError, match="reply_code=404"):
            case.call(allowed, names)


@spec("9.2", 'publish = write on the exchange ("" is `amq.default`)')
@older
def test_the_default_exchange(u: WireChannel, connect: Connect, unique: Unique, broker: Broker) -> None:
    u.publish("", "w-1", b"x")
    u.expect_close(403, refused(broker, "u", "write", "exchange 'amq.default'"), (60, 40))
    channel = connect(user="default", password="pass").open_channel()
    queue = channel.queue(unique("default"))
    channel.publish("", queue, b"x")
    assert channel.take(queue).body == b"x"
    channel.publish("amq.direct", queue, b"x")
    channel.expect_close(403, refused(broker, "default", "write", "exchange 'amq.direct'"), (60, 40))


@spec("9.2")
@older
@pytest.mark.parametrize(("method", "ids"), [(Exchange.Bind, (40, 30)), (Exchange.Unbind, (40, 40))], ids=["bind", "unbind"])
def test_bindings_of_the_default_exchange(
    u: WireChannel, channel: WireChannel, broker: Broker, unique: Unique, method: Any, ids: tuple[int, int]
) -> None:
    """Permission first, then that it can't be bound."""
    u.send(method, destination="", source=unique("r"))
    u.expect_close(403, refused(broker, "u", "write", "exchange 'amq.default'"), ids)
    text = "ACCESS_REFUSED - operation not permitted on the default exchange"
    for names in ({"destination": "", "source": unique("x")}, {"destination": unique("x"), "source": ""}):
        channel.send(method, **names)
        channel.expect_close(403, text, ids)
        channel.reopen()


@spec("9.2")
@older
def test_a_server_named_queue(u: WireChannel, broker: Broker) -> None:
    """Its name needs permission like any other: amq.gen-..."""
    u.send(Queue.Declare, queue="", exclusive=True)
    kind = expect_on(broker, leveret="configure access", rabbitmq="access")
    u.expect_close(403, re.compile(rf"ACCESS_REFUSED - {kind} to queue 'amq\.gen-[\w-]+' in vhost '/' refused for user 'u'"), (50, 10))


@spec("9.2", "at a new declare: dead-letter exchange = read on the queue, write on the exchange")
@older
def test_dead_letters_of_a_server_named_queue(connect: Connect, broker: Broker) -> None:
    channel = connect(user="reader", password="pass").open_channel()
    channel.call(Queue.Declare, queue="", exclusive=True)
    channel.send(Queue.Declare, queue="", exclusive=True, arguments={"x-dead-letter-exchange": "amq.fanout"})
    channel.expect_close(403, refused(broker, "reader", "write", "exchange 'amq.fanout'"), (50, 10))


@spec("9.1")
@older
def test_reserved_names(u: WireChannel, broker: Broker) -> None:
    """RabbitMQ looks at a queue's name before the permission, and at an exchange's behind it."""
    u.send(Queue.Declare, queue="amq.x")
    u.expect_close(403, "ACCESS_REFUSED - queue name 'amq.x' contains reserved prefix 'amq.*'", (50, 10))
    u.reopen()
    u.send(Exchange.Declare, exchange="amq.x", exchange_type="direct")
    u.expect_close(403, refused(broker, "u", "configure", "exchange 'amq.x'"), (40, 10))
    u.reopen()
    u.send(Exchange.Delete, exchange="amq.direct")
    u.expect_close(403, "ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not allowed", (40, 20))


@spec("9.2")
def test_a_refused_declare_leaves_nothing(u: WireChannel, channel: WireChannel, unique: Unique) -> None:
    queue = unique("c")
    u.send(Queue.Declare, queue=queue, arguments={"x-dead-letter-exchange": "w"})
    u.expect_close(403)
    channel.send(Queue.Declare, queue=queue, passive=True)
    channel.expect_close(404)


@spec("9.2")
def test_what_is_published_before_a_refusal_counts(u: WireChannel, channel: WireChannel, unique: Unique) -> None:
    exchange, queue = channel.exchange(unique("w"), "fanout"), channel.queue(unique("q"))
    channel.bind(queue, exchange)
    for number in range(3):
        u.publish(exchange, "", b"%d" % number)
    u.publish("amq.fanout", "", b"refused")
    u.publish(exchange, "", b"dropped")
    u.expect_close(403)
    eventually(lambda: channel.counts(queue) == (3, 0))
    assert channel.bodies(queue) == [b"0", b"1", b"2"]


# --- 9.1 topics, vhosts, users


@spec("9.1", "topic permissions (write at publish, read at bind, type topic only)")
@older
def test_topic_permissions(connect: Connect, unique: Unique, broker: Broker) -> None:
    wire = connect(user="topics", password="pass")
    channel = wire.open_channel()
    queue = channel.queue(unique("q"))
    channel.bind(queue, "amq.topic", "topics.#")
    channel.bind(queue, "amq.topic", "/")
    channel.publish("amq.topic", "topics.a", b"1")
    channel.publish("amq.topic", "topics.a", b"2", headers={"CC": ["another.key"]})
    assert channel.bodies(queue) == [b"1", b"2"]
    other = channel.exchange(unique("x"), "topic")
    channel.bind(queue, other, "any")
    channel.bind(queue, "amq.direct", "any")
    channel.publish(other, "any", b"3")
    assert channel.bodies(queue) == [b"3"]
    channel.publish("amq.topic", "a.topics", b"4")
    channel.expect_close(403, refused(broker, "topics", "write", "topic 'a.topics' in exchange 'amq.topic'"), (60, 40))
    for method, ids in ((Queue.Bind, (50, 20)), (Queue.Unbind, (50, 50))):
        for named in (queue, unique("missing")):
            channel = wire.open_channel()
            channel.send(method, queue=named, exchange="amq.topic", routing_key="a.#")
            channel.expect_close(403, refused(broker, "topics", "read", "topic 'a.#' in exchange 'amq.topic'"), ids)


@spec("9.1", "tags: impersonator")
def test_an_impersonator(connect: Connect, channel: WireChannel) -> None:
    queue = channel.queue()
    channel.bind(queue, "amq.fanout")
    impostor = connect(user="impostor", password="pass").open_channel()
    impostor.publish("amq.fanout", "", b"x", user_id="somebody")
    impostor.nothing_more()
    assert channel.take(queue).properties == {"user_id": "somebody"}


@spec("1.5", "refused 530 `access to vhost 'v' refused for user 'u'`")
@pytest.mark.parametrize(("user", "vhost"), [("u", "other"), ("none", "/")])
def test_a_vhost_without_permissions(raw: Wire, user: str, vhost: str) -> None:
    hand_in(raw, user, b"pass")
    raw.tune_ok()
    raw.send_method(0, Connection.Open, virtual_host=vhost)
    raw.expect_close(530, f"NOT_ALLOWED - access to vhost '{vhost}' refused for user '{user}'", (10, 40))


@spec("1.5")
def test_permissions_that_permit_nothing_let_into_the_vhost(connect: Connect) -> None:
    channel = connect(user="none", password="pass", vhost="other").open_channel()
    channel.send(Queue.Declare, queue="")
    channel.expect_close(403)


@spec("9.1", "passwords as salted SHA-256 in RabbitMQ's own format")
@pytest.mark.parametrize("user", ["u", "sha512", "md5"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "AMQPLAIN"])
def test_passwords(raw: Wire, user: str, mechanism: str) -> None:
    hand_in(raw, user, b"pass", mechanism)


@spec("1.3")
@pytest.mark.parametrize("mechanism", ["PLAIN", "AMQPLAIN"])
@pytest.mark.parametrize(("user", "password"), [("u", b"Pass"), ("u", b""), ("locked", b"pass"), ("locked", b""), ("nobody", b"pass")])
def test_a_login_that_is_refused(raw: Wire, user: str, password: bytes, mechanism: str) -> None:
    """Never says which of user or password was wrong."""
    raw.greet()
    raw.start_ok(mechanism=mechanism, response=sasl(user, password, mechanism))
    text = f"ACCESS_REFUSED - Login was refused using authentication mechanism {mechanism}. For details see the broker logfile."
    raw.expect_close(403, text, (0, 0), reply=False)


@spec("1.3", "Unknown mechanism: no frame, closed after 3 s")
def test_mechanisms_that_are_not_configured(raw: Wire, broker: Broker) -> None:
    with Wire(broker) as other:
        for wire, mechanism in ((raw, "EXTERNAL"), (other, "ANONYMOUS")):
            wire.greet()
            wire.start_ok(mechanism=mechanism, response=b"")
        assert 2 < raw.expect_eof() < 5
        other.expect_eof(1)


def hand_in(wire: Wire, user: str, password: bytes, mechanism: str = "PLAIN") -> None:
    """Log in."""
    wire.greet()
    wire.start_ok(mechanism=mechanism, response=sasl(user, password, mechanism))
    wire.expect(Connection.Tune)


def sasl(user: str, password: bytes, mechanism: str) -> bytes:
    if mechanism == "PLAIN":
        return b"\0" + user.encode() + b"\0" + password
    return table({"LOGIN": user, "PASSWORD": password})[4:]
