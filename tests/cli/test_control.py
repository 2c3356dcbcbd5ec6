"""The control socket (broker/control.py): where it is, who may open it, and which broker a command finds."""

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import control
from broker.control import Ambiguous, Announcement, Forbidden, NotRunning, announce, find
from tests.house.conftest import ROOT
from tests.wire import eventually

ROOTLESS = os.geteuid() != 0
DEAD = 2**22 - 1
"""Above what systems give to processes by default."""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Nothing of the machine's own: no /run/leveret, a /tmp of our own."""
    return {"LEVERET_RUNTIME_DIR": str(tmp_path / "runtime")}


@pytest.fixture
def announced(environ: dict[str, str]) -> Iterator[Announcement]:
    made = announce("rabbit@orders", [5672, 5671], "/var/lib/leveret", environ=environ)
    yield made
    made.close()


def leave(directory: Path, pid: int, node: str = "rabbit@other", *, listens: bool = False, port: int = 1) -> socket.socket:
    """What a broker of that process id would have there."""
    directory.mkdir(mode=0o700, exist_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(directory / f"{pid}.sock"))
    if listens:
        listener.listen()
    card = {"pid": pid, "node": node, "amqp_ports": [port], "data_dir": None, "started_ms": 0}
    (directory / f"{pid}.json").write_text(json.dumps(card))
    return listener


def test_a_broker_is_found_as_it_announced_itself(announced: Announcement, environ: dict[str, str]) -> None:
    found = find(environ=environ)
    assert (found.path, found.pid, found.node) == (announced.path, os.getpid(), "rabbit@orders")
    assert (found.amqp_ports, found.data_dir) == ((5672, 5671), "/var/lib/leveret")
    with found.connect(5.0) as client:
        assert announced.socket is not None
        announced.socket.accept()[0].close()  # it was looked whether anybody is there
        accepted, _ = announced.socket.accept()
        with accepted:
            client.sendall(b"ping")
            assert accepted.recv(4) == b"ping"


def test_the_socket_is_for_its_owner_alone(announced: Announcement, environ: dict[str, str]) -> None:
    assert announced.path is not None
    assert stat.S_IMODE(os.stat(announced.path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(environ["LEVERET_RUNTIME_DIR"]).st_mode) == 0o700


def test_nothing_is_left_at_the_end(announced: Announcement, environ: dict[str, str]) -> None:
    announced.close()
    announced.close()
    assert os.listdir(environ["LEVERET_RUNTIME_DIR"]) == []
    with pytest.raises(NotRunning, match="no broker is running"):
        find(environ=environ)


def test_what_a_killed_broker_left_is_skipped_and_removed(environ: dict[str, str]) -> None:
    directory = Path(environ["LEVERET_RUNTIME_DIR"])
    leave(directory, DEAD).close()
    with pytest.raises(NotRunning):
        find(environ=environ)
    made = announce("rabbit@orders", [], None, environ=environ)
    assert sorted(os.listdir(directory)) == [f"{os.getpid()}.json", f"{os.getpid()}.sock"]
    assert find(environ=environ).data_dir is None
    made.close()


def test_a_broker_of_another_container_stays(environ: dict[str, str]) -> None:
    """Its process isn't to be seen from here, but it answers."""
    with leave(Path(environ["LEVERET_RUNTIME_DIR"]), DEAD, listens=True):
        announce("rabbit@orders", [], None, environ=environ).close()
        assert find("rabbit@other", environ=environ).pid == DEAD


def test_the_name_chooses_among_several(announced: Announcement, environ: dict[str, str]) -> None:
    with leave(Path(environ["LEVERET_RUNTIME_DIR"]), DEAD, "hare@other", listens=True, port=5672):
        with pytest.raises(Ambiguous, match=r"(?s)2 brokers are running; choose one.*rabbit@orders: .*port 5672, 5671") as refused:
            find(environ=environ)
        assert {each.node for each in refused.value.found} == {"rabbit@orders", "hare@other"}
        assert find("rabbit@orders", environ=environ).pid == os.getpid()
        assert find("hare", environ=environ).pid == DEAD
        with pytest.raises(NotRunning, match="as node 'rabbit@elsewhere'"):
            find("rabbit@elsewhere", environ=environ)


def test_of_several_it_is_the_one_on_the_usual_port(announced: Announcement, environ: dict[str, str]) -> None:
    with leave(Path(environ["LEVERET_RUNTIME_DIR"]), DEAD, listens=True, port=5673):
        assert find(environ=environ).pid == os.getpid()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": "x"}', '{"pid": 1, "node": "n", "amqp_ports": 1}', "\xff"])
def test_a_card_that_is_no_card_is_skipped(announced: Announcement, environ: dict[str, str], text: str) -> None:
    (Path(environ["LEVERET_RUNTIME_DIR"]) / f"{DEAD}.json").write_text(text, encoding="latin-1")
    assert find(environ=environ).node == "rabbit@orders"


def test_a_path_longer_than_addresses_are(tmp_path: Path) -> None:
    environ = {"LEVERET_RUNTIME_DIR": str(tmp_path / ("d" * 100) / ("e" * 100))}
    made = announce("rabbit@orders", [], None, environ=environ)
    assert made.path is not None and len(made.path) > 200
    find(environ=environ).connect(5.0).close()
    made.close()
    assert os.listdir(environ["LEVERET_RUNTIME_DIR"]) == []


def test_a_directory_that_cannot_be_used_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    made = announce("rabbit@orders", [], None, environ={"LEVERET_RUNTIME_DIR": str(tmp_path / "file")}, pid_file=tmp_path / "file" / "pid")
    assert (made.socket, made.path) == (None, None)
    assert "no control socket" in caplog.text and "no pid file" in caplog.text
    made.close()


def test_the_first_directory_that_can_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"XDG_RUNTIME_DIR": str(tmp_path / "absent"), "TMPDIR": str(tmp_path)}
    monkeypatch.setattr(control, "SYSTEM_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(control, "USERS_DIR", str(tmp_path / "user"))
    places = []
    for directory in (None, tmp_path / "absent", tmp_path / "run"):
        if directory is not None:
            directory.mkdir()
        made = announce("rabbit@orders", [], None, environ=environ)
        assert made.path is not None
        places.append(os.path.relpath(os.path.dirname(made.path), tmp_path))
        assert find(environ=environ).path == made.path
        made.close()
    assert places == [f"leveret-{os.geteuid()}", "absent/leveret", "run"]


def test_a_directory_that_somebody_else_made_first_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In /tmp anybody can make a name; what is told there (passwords) must not reach them."""
    monkeypatch.setattr(control, "SYSTEM_DIR", str(tmp_path / "run"))
    environ = {"TMPDIR": str(tmp_path)}
    place = tmp_path / f"leveret-{os.geteuid()}"
    with leave(place, DEAD, listens=True):
        assert find(environ=environ).pid == DEAD
        place.chmod(0o777)
        with pytest.raises(NotRunning):
            find(environ=environ)
        assert announce("rabbit@orders", [], None, environ=environ).socket is None
        place.chmod(0o700)
        (tmp_path / "elsewhere").mkdir()
        place.rename(tmp_path / "elsewhere" / "real")
        place.symlink_to(tmp_path / "elsewhere" / "real")
        with pytest.raises(NotRunning):
            find(environ=environ)


@pytest.mark.skipif(ROOTLESS, reason="only root looks at what others have")
def test_root_finds_the_brokers_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "SYSTEM_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(control, "USERS_DIR", str(tmp_path / "user"))
    (tmp_path / "user" / "1001").mkdir(parents=True)
    environ = {"TMPDIR": str(tmp_path)}
    with leave(tmp_path / "user" / "1001" / "leveret", DEAD, listens=True), leave(tmp_path / "leveret-1002", DEAD, listens=True):
        with pytest.raises(NotRunning):  # root made them, so they aren't those users'
            find(environ=environ)
        os.chown(tmp_path / "user" / "1001" / "leveret", 1001, 1001)
        assert "user/1001" in find(environ=environ).path
        os.chown(tmp_path / "leveret-1002", 1002, 1002)
        with pytest.raises(Ambiguous):
            find(environ=environ)


@pytest.mark.skipif(ROOTLESS, reason="needs another user")
def test_a_broker_of_somebody_else_says_whose_it_is(tmp_path: Path, announced: Announcement, environ: dict[str, str]) -> None:
    os.chmod(environ["LEVERET_RUNTIME_DIR"], 0o755)
    for directory in (tmp_path, *list(tmp_path.parents)[:-2]):
        directory.chmod(directory.stat().st_mode | 0o055)
    script = """
import os, pwd, sys
from broker.control import NoBroker, find
os.setuid(65534)
try:
    find()
except NoBroker as error:
    sys.stdout.write(f"{type(error).__name__}: {error}")
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=os.environ | environ, capture_output=True, text=True, check=True)
    who = f"broker 'rabbit@orders' (process {os.getpid()}) belongs to user root"
    assert done.stdout == f"{Forbidden.__name__}: {who}: run the command as that user, or as root"


def test_the_pid_file(tmp_path: Path, environ: dict[str, str]) -> None:
    path = tmp_path / "made" / "node.pid"
    made = announce("rabbit@orders", [], None, environ=environ, pid_file=path)
    assert control.read_pid(os.fspath(path)) == os.getpid()
    made.close()
    assert not path.exists()
    announce("rabbit@orders", [], None, environ=environ | {"RABBITMQ_KEEP_PID_FILE_ON_EXIT": "true"}, pid_file=path).close()
    assert path.exists()


def test_the_living_and_the_dead() -> None:
    assert control.is_alive(os.getpid()) and control.is_alive(1)
    ended = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert ended.stdout is not None
    ended.stdout.read()
    eventually(lambda: not control.is_alive(ended.pid))  # though nobody has waited for it yet
    ended.stdout.close()
    ended.wait()
    assert not control.is_alive(ended.pid)
    assert not control.is_alive(2**70)


def test_commands_import_next_to_nothing() -> None:
    script = f"""
import contextlib, json, socket, sys
sys.path.insert(0, {str(ROOT)!r})
before = set(sys.modules)
import broker.control
sys.stdout.write(" ".join(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"broker", "broker.control", "stat", "time", "errno", "typing", "__future__"}
