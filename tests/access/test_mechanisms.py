"""Logging in (contract 1.3). The reasons are word for word RabbitMQ's log."""

import time

import pytest

from broker.access import passwords
from broker.access.mechanisms import Authentication, Credentials, Refused
from broker.access.users import User, Users
from protocol import sasl


def user(name: str, password: bytes) -> User:
    return User(name, password_hash=passwords.hash_password(password))


@pytest.fixture
def authentication() -> Authentication:
    users = Users([user("guest", b"guest"), user("u", b"secret"), User("locked")])
    return Authentication(users, external=True, anonymous_user="u")


def log_reason(authentication: Authentication, mechanism: str, credentials: Credentials | None, *, loopback: bool = True) -> str:
    with pytest.raises(Refused) as caught:
        authentication.authenticate(mechanism, credentials, loopback)
    return caught.value.log_reason


@pytest.mark.parametrize("mechanism", ["PLAIN", "AMQPLAIN"])
def test_with_a_password(authentication: Authentication, mechanism: str) -> None:
    assert authentication.authenticate(mechanism, ("u", b"secret"), False).name == "u"
    assert authentication.authenticate(mechanism, ("guest", b"guest"), True).name == "guest"


def test_takes_what_sasl_parsed(authentication: Authentication) -> None:
    assert authentication.authenticate("PLAIN", sasl.parse("PLAIN", b"\0u\0secret"), True).name == "u"


@pytest.mark.parametrize("name", ["u", "nobody", "locked", ""])
def test_who_is_refused_looks_the_same(authentication: Authentication, name: str) -> None:
    """Never says which of user or password was wrong."""
    for password in (b"wrong", b"nobody", b"\0"):
        assert log_reason(authentication, "PLAIN", (name, password)) == f"PLAIN login refused: user '{name}' - invalid credentials"


def test_a_blank_password(authentication: Authentication) -> None:
    expected = "PLAIN login refused: user 'u' attempted to log in with a blank password, which is prohibited by the internal authN backend"
    for password in (b"", None):
        assert log_reason(authentication, "PLAIN", ("u", password)) == expected


def test_guest_only_from_this_machine(authentication: Authentication) -> None:
    """Loopback-only users (guest) refused from other addresses; the password is checked first."""
    reason = log_reason(authentication, "PLAIN", ("guest", b"guest"), loopback=False)
    assert reason == "PLAIN login refused: user 'guest' can only connect via localhost"
    reason = log_reason(authentication, "PLAIN", ("guest", b"wrong"), loopback=False)
    assert reason == "PLAIN login refused: user 'guest' - invalid credentials"
    authentication.users.loopback_users = frozenset()
    assert authentication.authenticate("PLAIN", ("guest", b"guest"), False).name == "guest"


def test_by_certificate(authentication: Authentication) -> None:
    assert authentication.authenticate("EXTERNAL", ("locked", None), False).name == "locked"
    assert log_reason(authentication, "EXTERNAL", ("x", None)) == "EXTERNAL login refused: user 'x' - invalid credentials"
    assert log_reason(authentication, "EXTERNAL", ("guest", None), loopback=False).endswith("user 'guest' can only connect via localhost")
    assert log_reason(authentication, "EXTERNAL", None).endswith("connection peer presented no TLS (x.509) certificate")


def test_anonymous(authentication: Authentication) -> None:
    assert authentication.authenticate("ANONYMOUS", None, False).name == "u"
    authentication.users.delete("u")
    assert "invalid credentials" in log_reason(authentication, "ANONYMOUS", None)


def test_only_what_is_offered() -> None:
    users = Users([user("u", b"secret")])
    authentication = Authentication(users)
    assert authentication.mechanisms == ("PLAIN", "AMQPLAIN")
    for mechanism in ("EXTERNAL", "ANONYMOUS", "CRAM-MD5"):
        assert log_reason(authentication, mechanism, ("u", None)) == f"{mechanism} login refused: the mechanism is not enabled"
    assert Authentication(users, external=True, anonymous_user="u").mechanisms == ("PLAIN", "AMQPLAIN", "EXTERNAL", "ANONYMOUS")


def test_no_reason_shows_a_password(authentication: Authentication) -> None:
    for mechanism in authentication.mechanisms[:2]:
        assert "hunter2" not in log_reason(authentication, mechanism, ("u", b"hunter2"))


def test_a_login_costs_microseconds(authentication: Authentication) -> None:
    best = min(timed(authentication, "u") for _ in range(200))
    assert best < 50e-6


def timed(authentication: Authentication, name: str) -> float:
    begin = time.perf_counter()
    authentication.authenticate("PLAIN", (name, b"secret"), False)
    return time.perf_counter() - begin
