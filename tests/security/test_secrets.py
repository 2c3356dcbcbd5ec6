"""Passwords and hashes stand in no log line, error, dump or repr."""

import base64
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from pamqp.commands import Connection

from broker.access import passwords
from broker.access.mechanisms import Authentication
from broker.access.users import User, Users
from broker.app import authentication
from broker.config import Config, ConfigError, DefaultUser, TlsOptions, load
from broker.core.login import Attempt, LoginRefused
from broker.core.session import Peer
from protocol import codec, sasl
from protocol.errors import HandshakeFailed
from protocol.methods import Connection as Methods
from protocol.methods import make
from tests.house.conftest import ROOT, clean_environment
from tests.oracle.leveret import Leveret
from tests.runtime.process import PERSISTENT
from tests.wire import Wire, octets, table

SECRET = "hunter2-\u00fc-correct-horse"
PEER = Peer("127.0.0.1:1 -> 127.0.0.1:5672", True)


def shapes(secret: str) -> list[str]:
    """The secret as it might stand somewhere: itself, its bytes' repr, hex, base64, escaped."""
    raw = secret.encode()
    return [secret, repr(raw)[2:-1], raw.hex(), base64.b64encode(raw).decode(), ascii(secret)[1:-1], "hunter2"]


def assert_hidden(text: str, *secrets: str) -> None:
    for each in (*shapes(SECRET), *secrets):
        assert each not in text, text


def everything_about(error: BaseException) -> str:
    """What a log could show of an error: text, repr, arguments, the traceback with what caused it."""
    texts = [str(error), repr(error), repr(error.args), "".join(traceback.format_exception(error))]
    causes = (error.__cause__, error.__context__)
    return "\n".join(texts + [everything_about(cause) for cause in causes if cause is not None])


def checks(*users: User) -> Authentication:
    return authentication(Config(login_failures_max=0), Users(users, loopback_users=("lisa",)))


def a_user() -> User:
    user = User("lisa", ("administrator",))
    user.set_password(SECRET.encode())
    return user


# --- reprs


def test_reprs_and_texts_of_objects() -> None:
    user = a_user()
    stored = [repr(user.password_hash)[2:-1], passwords.encode(user.password_hash), user.password_hash.hex()]
    credentials = sasl.parse("PLAIN", b"\0lisa\0" + SECRET.encode())
    config = Config(default_pass=SECRET, default_users=(DefaultUser("lisa", SECRET),), ssl_options=TlsOptions(password=SECRET))
    for each in (user, credentials, config, config.default_users, config.ssl_options, Users([user]), checks(user)):
        assert_hidden(f"{each!r} {each!s} {[each]}", *stored)
    assert "lisa" in repr(user)
    assert "lisa" in repr(credentials)


def test_a_start_ok_or_an_update_secret_shows_nothing() -> None:
    response = b"\0lisa\0" + SECRET.encode()
    for method in (make(Methods.StartOk, mechanism="PLAIN", response=response), make(Methods.UpdateSecret, new_secret=SECRET.encode())):
        for each in (method, codec.decode_method(codec.encode_method(method))):
            assert_hidden(f"{each!r} {each!s}")


# --- errors


MALFORMED: dict[str, tuple[str, bytes]] = {
    "PLAIN without NUL": ("PLAIN", SECRET.encode()),
    "PLAIN with an identity": ("PLAIN", b"root\0lisa\0" + SECRET.encode()),
    "PLAIN with a fourth part": ("PLAIN", b"\0lisa\0" + SECRET.encode() + b"\0" + SECRET.encode()),
    "AMQPLAIN without LOGIN": ("AMQPLAIN", table({"PASSWORD": SECRET})[4:]),
    "AMQPLAIN with a number": ("AMQPLAIN", table({"LOGIN": 7, "PASSWORD": SECRET})[4:]),
    "AMQPLAIN cut": ("AMQPLAIN", table({"LOGIN": "lisa", "PASSWORD": SECRET})[4:-1]),
    "AMQPLAIN of an unknown type": ("AMQPLAIN", table({"PASSWORD": SECRET})[4:] + b"\x05LOGIN!" + octets(SECRET)),
    "PLAIN sent as AMQPLAIN": ("AMQPLAIN", b"\0lisa\0" + SECRET.encode()),
    "unknown mechanism": ("SCRAM", SECRET.encode()),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_response_that_makes_no_sense(name: str) -> None:
    with pytest.raises(HandshakeFailed) as caught:
        checks(a_user()).authenticate(*MALFORMED[name], PEER, Attempt())
    assert_hidden(everything_about(caught.value))


@pytest.mark.parametrize("password", [SECRET, SECRET + "x"])
@pytest.mark.parametrize("user", ["lisa", "nobody", "guest"])
def test_a_login_that_is_refused(user: str, password: str) -> None:
    response = b"\0" + user.encode() + b"\0" + password.encode()
    with pytest.raises(LoginRefused) as caught:
        checks(a_user(), User("guest")).authenticate("PLAIN", response, Peer("x", False), Attempt())
    assert_hidden(everything_about(caught.value))


@pytest.mark.parametrize("known", ["lisa", "locked"])
def test_the_time_of_a_refusal_does_not_tell_who_there_is(known: str) -> None:
    """A password of 4 MB, so that hashing it is what takes the time."""
    asked = checks(a_user(), User("locked"))
    password = b"x" * 4_000_000

    def seconds(name: str) -> float:
        begin = time.process_time()
        with pytest.raises(LoginRefused):
            asked.authenticate("PLAIN", b"\0" + name.encode() + b"\0" + password, PEER, Attempt())
        return time.process_time() - begin

    there, absent = (min(seconds(name) for _ in range(5)) for name in (known, "nobody"))
    assert 0.5 < there / absent < 2


def test_a_configuration_that_is_wrong(tmp_path: Path) -> None:
    """Next to the secret, and the secret itself in a place where it can't be."""
    file = tmp_path / "c.conf"
    file.write_text(f"default_pass = {SECRET}\ndefault_pss = {SECRET}\ndefault_pass {SECRET}\nheartbeat = x\n")
    with pytest.raises(ConfigError) as caught:
        load(environ={"LEVERET_DEFAULT_PASS": SECRET}, config_file=file)
    assert "heartbeat" in str(caught.value)
    assert_hidden(str(caught.value))


# --- a process


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Leveret]:
    directory = tmp_path_factory.mktemp("secrets")
    file = directory / "c.conf"
    file.write_text(f"default_user = lisa\ndefault_pass = {SECRET}\n[log]\n".replace("[log]\n", "log.console.level = debug\n"))
    with Leveret(directory / "data", arguments=("--config", str(file))) as broker:
        yield broker


def test_the_log_of_logins_and_the_dumps_of_the_directory(served: Leveret) -> None:
    """Right and wrong ones of every kind, at level debug; then all that looks at a data directory."""
    attempts = [*MALFORMED.values(), ("PLAIN", b"\0lisa\0" + octets(SECRET + "x")), ("PLAIN", b"\0" + octets(SECRET) + b"\0lisa")]
    for mechanism, response in attempts[:-1]:
        with Wire(served) as wire:
            wire.greet()
            wire.start_ok(mechanism=mechanism, response=response)
    with Wire.connect(served, user="lisa", password=SECRET) as wire:
        channel = wire.open_channel()
        channel.queue("q", durable=True)
        wire.call(0, Connection.UpdateSecret, new_secret=SECRET, reason="x")
        channel.publish_confirmed("", "q", b"body", delivery_mode=PERSISTENT)
        wire.close()
    served.wait_for_log("invalid credentials")
    assert served.stop() == 0
    assert_hidden(served.log)
    stored = User.from_json({"name": "lisa", "password": SECRET, "tags": ""})
    assert stored.password_hash
    for command in (("verify",), ("dump",), ("dump", "--json"), ("dump", "--records")):
        line = [sys.executable, "-m", "leveret", "log", *command, str(served.data_dir)]
        done = subprocess.run(line, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=30, check=True)
        assert_hidden(done.stdout + done.stderr, "password", "hash")


def test_the_data_directory_is_its_owner_s_alone(served: Leveret) -> None:
    """It holds the hashes, and messages."""
    root = Path(str(served.data_dir))
    assert root.stat().st_mode & 0o077 == 0
    for path in root.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
