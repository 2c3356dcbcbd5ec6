"""Backends and their chains (RabbitMQ's rabbit_access_control, rabbit_auth_backend_http at v3.13.7)."""

from collections.abc import Callable

import pytest

from broker.access.backends import Backend, Chain, Credentials, Internal, Rejected, Step, Tagged
from broker.access.http_backend import Asking, Http
from broker.access.users import User, Users
from broker.core import permissions
from broker.core.login import Answer, Attempt, Query, Undecided
from broker.core.permissions import Identity, Permissions
from protocol.errors import AmqpError

HERE = "203.0.113.7"


def the_user(users: Users) -> User:
    user = users.get("u")
    assert user is not None
    return user


class Server:
    """Another server: answers by a table, and remembers what it was asked."""

    def __init__(self, **answers: str) -> None:
        self.answers = answers
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.error = ""

    def answer(self, undecided: Undecided) -> None:
        query = undecided.question
        assert isinstance(query, Query)
        self.asked.append((query.kind, {name: value.decode() for name, value in query.fields}))
        assert "hunter2" not in f"{undecided!r} {undecided} {query!r}"
        query.answered(Answer(error=self.error) if self.error else Answer(self.answers.get(query.kind, "deny")))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def users() -> Users:
    user = User("u", ["management"])
    user.set_password(b"internal")
    user.grant("/", Permissions("", "", ".*"))
    return Users([user])


def until_decided(server: Server, ask: Callable[[], Identity]) -> Identity:
    while True:
        try:
            return ask()
        except Undecided as undecided:
            server.answer(undecided)


def login(chain: Chain, server: Server, user: str = "u", password: bytes | None = b"hunter2") -> Identity:
    attempt = Attempt()
    return until_decided(server, lambda: chain.login(Credentials(user, password, HERE), attempt))


def chain_of(users: Users, *steps: tuple[str, str], clock: Clock | None = None, cache_seconds: float = 15.0) -> Chain:
    backends: dict[str, Backend] = {"internal": Internal(users), "http": Http(clock or Clock(), cache_seconds)}
    return Chain([Step(backends[authn], backends[authz]) for authn, authz in steps])


HTTP, INTERNAL = ("http", "http"), ("internal", "internal")


class TestChains:
    def test_http_alone(self, users: Users) -> None:
        server = Server(user="allow Management impersonator")
        identity = login(chain_of(users, HTTP), server)
        assert isinstance(identity, Asking) and identity.tags == {"management", "impersonator"} and identity.is_impersonator
        assert server.asked == [("user", {"username": "u", "password": "hunter2"})]

    def test_without_a_password(self, users: Users) -> None:
        """EXTERNAL and ANONYMOUS: the server is asked about the name alone."""
        server = Server(user="allow")
        login(chain_of(users, HTTP), server, password=None)
        assert server.asked == [("user", {"username": "u"})]

    @pytest.mark.parametrize("password", [b"internal", b"hunter2"])
    def test_the_first_that_takes_the_password_decides(self, users: Users, password: bytes) -> None:
        server = Server(user="allow")
        identity = login(chain_of(users, INTERNAL, HTTP), server, password=password)
        assert (identity is the_user(users)) is (password == b"internal")
        assert len(server.asked) == (password != b"internal")

    def test_all_refuse(self, users: Users) -> None:
        with pytest.raises(Rejected) as caught:
            login(chain_of(users, HTTP, INTERNAL), Server(user="deny"))
        assert caught.value.reason == "user 'u' - Denied by the backing HTTP service; user 'u' - invalid credentials"
        assert caught.value.is_guess

    def test_proven_there_and_permitted_here(self, users: Users) -> None:
        """Permissions are the internal user's, tags are both's."""
        identity = login(chain_of(users, ("http", "internal")), Server(user="allow impersonator"))
        user = the_user(users)
        assert isinstance(identity, Tagged) and identity.tags == {"management", "impersonator"}
        identity.check("read", "queue", "q", "/")
        seen = identity.revision
        user.grant("/", Permissions("", "", "^x"))
        assert identity.revision > seen and not identity.permits("read", "queue", "q", "/")
        user.limits["max-channels"] = 1
        identity.channels += 1
        identity.connections += 2
        assert (user.channels, user.connections, identity.limit("max-channels")) == (1, 2, 1)

    def test_no_more_tags_than_the_user_has(self, users: Users) -> None:
        assert login(chain_of(users, ("http", "internal")), Server(user="allow management")) is the_user(users)

    def test_whom_the_second_does_not_know(self, users: Users) -> None:
        server = Server(user="allow")
        with pytest.raises(Rejected, match="user 'x' - invalid credentials"):
            login(chain_of(users, ("http", "internal")), server, user="x")
        assert isinstance(login(chain_of(users, ("http", "internal"), HTTP), server, user="x"), Asking)

    def test_proven_here_and_permitted_there(self, users: Users) -> None:
        """The server has to know the user too, as RabbitMQ asks its user_path once more; its tags don't count."""
        server = Server(user="allow administrator")
        identity = login(chain_of(users, ("internal", "http")), server, password=b"internal")
        assert isinstance(identity, Asking) and identity.tags == {"management"}
        assert server.asked == [("user", {"username": "u", "password": "internal"})]
        with pytest.raises(Rejected, match="Denied by the backing HTTP service"):
            login(chain_of(users, ("internal", "http")), Server(user="deny"), password=b"internal")

    @pytest.mark.parametrize("body", ["", "maybe", "<html>", "allowed", "deny u", "x" * 100])
    def test_what_is_no_answer(self, users: Users, body: str) -> None:
        with pytest.raises(Rejected) as caught:
            login(chain_of(users, HTTP), Server(user=body))
        assert caught.value.reason.startswith("rabbit_auth_backend_http failed authenticating u: bad_response ")
        assert not caught.value.is_guess and len(caught.value.reason) < 150 and "expected allow or deny" in caught.value.reason

    def test_a_server_that_cannot_be_asked(self, users: Users) -> None:
        server = Server()
        server.error = "auth_http.user_path: Connection refused"
        with pytest.raises(Rejected) as caught:
            login(chain_of(users, HTTP), server)
        assert caught.value.reason == "rabbit_auth_backend_http failed authenticating u: auth_http.user_path: Connection refused"
        assert not caught.value.is_guess, "an outage is nobody's guess at a password"
        assert login(chain_of(users, HTTP, INTERNAL), server, password=b"internal") is the_user(users)

    def test_credentials_show_no_password(self) -> None:
        assert "hunter2" not in repr(Credentials("u", b"hunter2"))


class Asked:
    """An identity whose permissions a Server knows."""

    def __init__(self, cache_seconds: float = 15.0, **answers: str) -> None:
        self.clock = Clock()
        self.server = Server(**answers)
        self.identity = Asking("u", ("b", "a"), HERE, self.clock, cache_seconds)

    def check(self, name: str = "q") -> str:
        return self.do(lambda: self.identity.check("write", "exchange", name, "/"))

    def do(self, check: Callable[[], None]) -> str:
        """One event that asks: what it was refused with, "" if it wasn't."""
        error: AmqpError | None = None
        while True:
            try:
                check()
                break
            except Undecided as undecided:
                self.server.answer(undecided)
            except AmqpError as refusal:
                error = refusal
                break
        self.identity.conclude()
        return "" if error is None else f"{type(error).__name__} {error}"


class TestQuestions:
    """What a server is asked, and what becomes of its answer."""

    def test_vhost(self) -> None:
        asked = Asked(vhost="allow\n")
        assert asked.do(lambda: asked.identity.check_vhost("v")) == ""
        assert asked.server.asked == [("vhost", {"username": "u", "vhost": "v", "ip": HERE, "tags": "b a"})]
        denied = Asked()
        expected = "ConnectionException 530 NOT_ALLOWED - access to vhost 'v' refused for user 'u'"
        assert denied.do(lambda: denied.identity.check_vhost("v")) == expected

    def test_resource(self) -> None:
        asked = Asked(resource="Allow")
        assert asked.do(lambda: asked.identity.check("configure", "queue", "", "/")) == asked.check("") == ""
        common = {"username": "u", "vhost": "/", "tags": "b a"}
        assert asked.server.asked == [
            ("resource", common | {"resource": "queue", "name": "", "permission": "configure"}),
            ("resource", common | {"resource": "exchange", "name": "amq.default", "permission": "write"}),
        ]
        assert Asked().check() == "ChannelException 403 ACCESS_REFUSED - write access to exchange 'q' in vhost '/' refused for user 'u'"

    def test_topic(self) -> None:
        asked = Asked(topic="allow")
        assert asked.do(lambda: asked.identity.check_topic("read", "v", "tx", "a.b")) == ""
        [(kind, fields)] = asked.server.asked
        assert kind == "topic" and fields == {
            "username": "u",
            "vhost": "v",
            "resource": "topic",
            "name": "tx",
            "permission": "read",
            "tags": "b a",
            "routing_key": "a.b",
            "variable_map.username": "u",
            "variable_map.vhost": "v",
        }
        denied = Asked()
        expected = "403 ACCESS_REFUSED - read access to topic 'a.b' in exchange 'tx' in vhost 'v' refused for user 'u'"
        assert denied.do(lambda: denied.identity.check_topic("read", "v", "tx", "a.b")).endswith(expected)

    def test_names_that_are_not_utf8(self) -> None:
        asked = Asked()
        with pytest.raises(Undecided) as caught:
            asked.identity.check("read", "queue", "\udcff", "/")
        assert isinstance(caught.value.question, Query) and ("name", b"\xff") in caught.value.question.fields

    def test_an_error_refuses_and_says_so(self) -> None:
        """RabbitMQ: 403 with `backend rabbit_auth_backend_http returned an error`."""
        asked = Asked(resource="allow", vhost="?", topic="!")
        asked.server.error = "auth_http.resource_path: Connection refused"
        expected = (
            "ChannelException 403 ACCESS_REFUSED - write access to exchange 'q' in vhost '/' refused for user 'u', "
            "backend rabbit_auth_backend_http returned an error: auth_http.resource_path: Connection refused"
        )
        assert asked.check() == expected
        asked.server.error = ""
        assert asked.check() == "", "an error isn't remembered"
        assert (
            "530 NOT_ALLOWED - access to vhost 'v' refused for user 'u', backend rabbit_auth_backend_http returned an error: "
            in asked.do(lambda: asked.identity.check_vhost("v"))
        )
        assert "returned an error: bad_response '!'" in asked.do(lambda: asked.identity.check_topic("read", "v", "tx", "a.b"))


class TestMemory:
    """Decisions are remembered for auth_cache_seconds."""

    @pytest.mark.parametrize("answer", ["allow", "deny"])
    def test_both_kinds_are_remembered(self, answer: str) -> None:
        asked = Asked(resource=answer)
        said = asked.check()
        asked.clock.now = 14.9
        assert asked.check() == said and len(asked.server.asked) == 1
        asked.clock.now = 15.0
        asked.server.answers["resource"] = "allow" if answer == "deny" else "deny"
        assert asked.check() != said and len(asked.server.asked) == 2

    def test_the_revision_grows_when_something_is_forgotten(self) -> None:
        asked = Asked(resource="allow")
        asked.check("a")
        asked.clock.now = 10.0
        asked.check("b")
        seen = asked.identity.revision
        asked.clock.now = 14.9
        assert asked.identity.revision == seen
        asked.clock.now = 15.0
        seen, before = asked.identity.revision, seen
        assert seen > before
        assert asked.identity.revision == seen, "b is still remembered"

    def test_no_memory_asks_each_time(self) -> None:
        asked = Asked(0, resource="allow")
        for count in (1, 2):
            seen = asked.identity.revision
            assert asked.check() == "" and len(asked.server.asked) == count
            assert asked.identity.revision > seen

    @pytest.mark.parametrize("cache_seconds", [0, 15.0])
    def test_an_event_with_many_questions_gets_on(self, cache_seconds: float) -> None:
        """Answers count for the event that asked until it is over, however long the server takes."""
        asked = Asked(cache_seconds, resource="allow")

        def event() -> None:
            asked.clock.now += 10.0
            for name in ("a", "b", "c"):
                asked.identity.check("write", "exchange", name, "/")

        assert asked.do(event) == ""
        assert [fields["name"] for _, fields in asked.server.asked] == ["a", "b", "c"]

    def test_what_is_remembered_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("broker.access.http_backend.DECISIONS_MAX", 10)
        assert permissions.DECISIONS_MAX > 10
        asked = Asked(resource="allow")
        seen = asked.identity.revision
        for number in range(11):
            asked.check(f"x{number}")
        assert len(asked.identity._decisions) <= 10 and asked.identity.revision > seen, "routes that hang on them have to be asked again"
