"""Logging in (contract 1.3). The reasons are word for word RabbitMQ's log."""

import time

import pytest

from broker.access.backends import Chain, Internal, Step
from broker.access.failures import Failures
from broker.access.mechanisms import Authentication
from broker.access.users import User, Users
from broker.core.login import Attempt, Delay, LoginRefused, Undecided
from broker.core.permissions import Identity
from broker.core.session import Peer
from protocol.errors import HandshakeFailed

HERE = Peer("here", True, "127.0.0.1")
FAR = Peer("far", False, "203.0.113.7")
OVER_TLS = Peer("tls", False, "203.0.113.7", is_tls=True)
ALL = ("PLAIN", "AMQPLAIN", "EXTERNAL", "ANONYMOUS")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def users() -> Users:
    guest, user = User("guest", ["administrator"]), User("u")
    guest.set_password(b"guest")
    user.set_password(b"secret")
    return Users([guest, user, User("locked")])


def made(users: Users, *mechanisms: str, anonymous_user: str | None = "u", clock: Clock | None = None, most: int = 5) -> Authentication:
    internal = Internal(users)
    failures = Failures(clock or Clock(), most, 5.0)
    chain = Chain([Step(internal, internal)])
    return Authentication(chain, users, failures, mechanisms=mechanisms or ALL, anonymous_user=anonymous_user)


@pytest.fixture
def authentication(users: Users) -> Authentication:
    return made(users)


def response(mechanism: str, user: str, password: bytes) -> bytes:
    name = user.encode()
    if mechanism == "PLAIN":
        return b"\0" + name + b"\0" + password
    sized = [(key, len(value).to_bytes(4, "big") + value) for key, value in ((b"LOGIN", name), (b"PASSWORD", password))]
    return b"".join(bytes([len(key)]) + key + b"S" + value for key, value in sized)


def login(authentication: Authentication, user: str, password: bytes, mechanism: str = "PLAIN", peer: Peer = HERE) -> Identity:
    return authentication.authenticate(mechanism, response(mechanism, user, password), peer, Attempt())


def reason(authentication: Authentication, mechanism: str, said: bytes, peer: Peer = HERE) -> str:
    with pytest.raises(LoginRefused) as caught:
        authentication.authenticate(mechanism, said, peer, Attempt())
    return str(caught.value)


def refusal(authentication: Authentication, user: str, password: bytes, peer: Peer = HERE) -> str:
    return reason(authentication, "PLAIN", response("PLAIN", user, password), peer)


@pytest.mark.parametrize("mechanism", ["PLAIN", "AMQPLAIN"])
def test_with_a_password(authentication: Authentication, users: Users, mechanism: str) -> None:
    """What is granted to a user acts at once on its connections: the identity is the user."""
    assert login(authentication, "u", b"secret", mechanism, FAR) is users.get("u")
    assert login(authentication, "guest", b"guest", mechanism).name == "guest"
    assert mechanism in reason(authentication, mechanism, response(mechanism, "u", b"wrong"))


@pytest.mark.parametrize("name", ["u", "nobody", "locked", ""])
def test_who_is_refused_looks_the_same(authentication: Authentication, name: str) -> None:
    """Never says which of user or password was wrong."""
    for password in (b"wrong", b"nobody"):
        assert refusal(authentication, name, password) == f"PLAIN login refused: user '{name}' - invalid credentials"


def test_a_blank_password(authentication: Authentication) -> None:
    expected = "PLAIN login refused: user 'u' attempted to log in with a blank password, which is prohibited by the internal authN backend"
    assert refusal(authentication, "u", b"") == expected


def test_guest_only_from_this_machine(authentication: Authentication, users: Users) -> None:
    """Loopback-only users (guest) refused from other addresses; the password is checked first."""
    assert refusal(authentication, "guest", b"guest", FAR) == "PLAIN login refused: user 'guest' can only connect via localhost"
    assert refusal(authentication, "guest", b"wrong", FAR) == "PLAIN login refused: user 'guest' - invalid credentials"
    users.loopback_users = frozenset()
    assert login(authentication, "guest", b"guest", peer=FAR).name == "guest"


def test_by_certificate(authentication: Authentication) -> None:
    """The user of the certificate has to be there, and needs no password; what the response says is nobody's concern."""
    presented = OVER_TLS._replace(certificate_name="locked")
    assert authentication.authenticate("EXTERNAL", b"guest", presented, Attempt()).name == "locked"
    unknown = OVER_TLS._replace(certificate_name="x")
    assert reason(authentication, "EXTERNAL", b"", unknown) == "EXTERNAL login refused: user 'x' - invalid credentials"
    guest = OVER_TLS._replace(certificate_name="guest")
    assert reason(authentication, "EXTERNAL", b"", guest).endswith("user 'guest' can only connect via localhost")
    none = "EXTERNAL login refused: connection peer presented no TLS (x.509) certificate"
    assert reason(authentication, "EXTERNAL", b"", OVER_TLS) == none


def test_anonymous(authentication: Authentication, users: Users) -> None:
    assert authentication.authenticate("ANONYMOUS", b"somebody", FAR, Attempt()).name == "u"
    users.delete("u")
    assert "invalid credentials" in reason(authentication, "ANONYMOUS", b"")


def test_what_is_offered(users: Users) -> None:
    """RabbitMQ offers EXTERNAL over TLS, with or without a certificate, and ANONYMOUS where there is a user for it."""
    assert made(users).mechanisms(HERE) == ("PLAIN", "AMQPLAIN", "ANONYMOUS")
    assert made(users).mechanisms(OVER_TLS) == ALL
    assert made(users, anonymous_user=None).mechanisms(OVER_TLS) == ALL[:3]
    assert made(users, "EXTERNAL").mechanisms(HERE) == ()
    assert made(users, "AMQPLAIN", "PLAIN").mechanisms(HERE) == ("AMQPLAIN", "PLAIN")


@pytest.mark.parametrize("mechanism", ["EXTERNAL", "ANONYMOUS", "PLAIN", "CRAM-MD5", "amqplain"])
def test_what_is_not_offered_is_unknown(users: Users, mechanism: str) -> None:
    """Unknown mechanism: no frame."""
    with pytest.raises(HandshakeFailed, match=f"unknown authentication mechanism '{mechanism}'"):
        made(users, "AMQPLAIN").authenticate(mechanism, response("PLAIN", "u", b"secret"), HERE, Attempt())


def test_no_reason_shows_a_password(authentication: Authentication) -> None:
    for mechanism in ("PLAIN", "AMQPLAIN"):
        assert "hunter2" not in reason(authentication, mechanism, response(mechanism, "u", b"hunter2"))


class TestGuessing:
    """Whoever guesses is answered more and more slowly."""

    def delay(self, authentication: Authentication, password: bytes = b"secret", peer: Peer = FAR) -> float:
        """How long this login had to wait."""
        attempt, questions = Attempt(), []
        while True:
            try:
                authentication.authenticate("PLAIN", response("PLAIN", "u", password), peer, attempt)
                is_in = True
            except LoginRefused:
                is_in = False
            except Undecided as undecided:
                questions.append(undecided.question)
                continue
            break
        assert is_in == (password == b"secret") and len(questions) <= 1
        return sum(question.seconds for question in questions if isinstance(question, Delay))

    def test_each_refusal_doubles_the_wait(self, users: Users) -> None:
        authentication = made(users)
        waits = [self.delay(authentication, b"wrong") for _ in range(13)]
        assert waits == pytest.approx([0, 0, 0, 0, 0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5])

    def test_the_right_password_gets_in_late(self, users: Users) -> None:
        authentication = made(users)
        for _ in range(8):
            self.delay(authentication, b"wrong")
        assert self.delay(authentication) == pytest.approx(0.8)
        assert self.delay(authentication) == pytest.approx(0.8), "a login that succeeds changes nothing"
        assert self.delay(authentication, peer=FAR._replace(address="203.0.113.8")) == 0

    def test_it_is_over_after_a_minute(self, users: Users) -> None:
        clock = Clock()
        authentication = made(users, clock=clock)
        for _ in range(6):
            self.delay(authentication, b"wrong")
        clock.now += 59
        assert self.delay(authentication) > 0
        clock.now += 1
        assert self.delay(authentication) == 0

    def test_this_machine_never_waits(self, users: Users) -> None:
        authentication = made(users)
        assert [self.delay(authentication, b"wrong", HERE) for _ in range(10)] == [0] * 10

    def test_switched_off(self, users: Users) -> None:
        authentication = made(users, most=0)
        assert [self.delay(authentication, b"wrong") for _ in range(10)] == [0] * 10

    def test_a_certificate_that_is_missing_is_no_guess(self, users: Users) -> None:
        authentication = made(users)
        for _ in range(10):
            reason(authentication, "EXTERNAL", b"", OVER_TLS)
        assert self.delay(authentication) == 0


def test_a_login_costs_microseconds(authentication: Authentication) -> None:
    best = min(timed(authentication) for _ in range(200))
    assert best < 50e-6


def timed(authentication: Authentication) -> float:
    said, attempt = response("PLAIN", "u", b"secret"), Attempt()
    begin = time.perf_counter()
    authentication.authenticate("PLAIN", said, FAR, attempt)
    return time.perf_counter() - begin
