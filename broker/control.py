"""The control socket: where a running broker can be reached by the commands of this machine, and how they find it.

A broker binds a Unix-domain socket, and writes down beside it who it is:

    DIRECTORY/PID.sock      the HTTP API, without passwords: whoever may open the file is an administrator (mode 0600)
    DIRECTORY/PID.json      {"pid": 4711, "node": "rabbit@orders", "amqp_ports": [5672], "data_dir": "/var/lib/leveret" or null,
                            "started_ms": 1700000000000}

DIRECTORY is $LEVERET_RUNTIME_DIR and nothing else if that is set; otherwise the first of these that the broker can use: /run/leveret (where
somebody has made it), $XDG_RUNTIME_DIR/leveret, $TMPDIR/leveret-UID. Commands look through all of them, and root, who finds none there,
through those of other users.

Commands import this file first, so it imports next to nothing.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

RUNTIME_DIR: Final = "LEVERET_RUNTIME_DIR"
SYSTEM_DIR: Final = "/run/leveret"
USERS_DIR: Final = "/run/user"
"""Where systemd gives each user a directory, the XDG_RUNTIME_DIR."""
ADDRESS_BYTES_MAX: Final = 103
"""What every system takes for the path of a Unix-domain socket (Linux 107, macOS 103)."""
BACKLOG: Final = 128
USUAL_PORT: Final = 5672
CONNECT_SECONDS: Final = 5.0
"""A broker accepts at once, or has too many waiting already; either way it is alive."""


class NoBroker(Exception):
    """There is no broker that the command can be for; the text says what there is."""


class NotRunning(NoBroker):
    """No broker was found, or none of that name."""


class Ambiguous(NoBroker):
    """Several brokers fit; `found` has them."""

    def __init__(self, text: str, found: Sequence[Found]) -> None:
        super().__init__(text)
        self.found = tuple(found)


class Forbidden(NoBroker):
    """The broker is another user's."""


class Found(NamedTuple):
    """A running broker, as it announced itself."""

    path: str
    """Of its control socket."""
    pid: int
    node: str
    amqp_ports: tuple[int, ...]
    data_dir: str | None
    started_ms: int
    """Since the epoch."""

    def connect(self, timeout_seconds: float | None = None) -> socket.socket:
        """A connection to its control socket. Raises OSError: ConnectionRefusedError and FileNotFoundError if it has ended,
        PermissionError if it is another user's."""
        return _connect(self.path, timeout_seconds)


class Announcement:
    """What `announce` made: a listening socket (None: it could make none, and has said why), and two files that go with `close`."""

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.path: str | None = None
        """Of the socket."""
        self.files: list[str] = []

    def close(self) -> None:
        """Close the socket and remove the files; what is gone already is no error."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None
        for path in self.files:
            _remove(path)
        self.files.clear()


def announce(
    node: str,
    amqp_ports: Sequence[int],
    data_dir: str | os.PathLike[str] | None,
    *,
    pid_file: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Announcement:
    """Bind the control socket of this process, listening, and write down what it is; its process id goes into `pid_file`, if there is to be
    one, which goes at the end unless RABBITMQ_KEEP_PID_FILE_ON_EXIT is true.

    What can't be done is a warning in the log, and no error: a broker without a control socket still serves its clients.
    """
    import logging

    log = logging.getLogger("control")
    done = Announcement()
    if pid_file is not None:
        try:
            os.makedirs(os.path.dirname(os.path.abspath(pid_file)), exist_ok=True)
            _write(os.fspath(pid_file), f"{os.getpid()}\n")
            if environ.get("RABBITMQ_KEEP_PID_FILE_ON_EXIT") != "true":
                done.files.append(os.fspath(pid_file))
        except OSError as error:
            log.warning("no pid file '%s': %s", pid_file, error.strerror or error)
    facts = {
        "pid": os.getpid(),
        "node": node,
        "amqp_ports": list(amqp_ports),
        "data_dir": None if data_dir is None else os.path.abspath(data_dir),
        "started_ms": time.time_ns() // 1_000_000,
    }
    if not hasattr(socket, "AF_UNIX"):
        return done
    problems = []
    for place in _own_places(environ):
        try:
            place.prepare()
            _clean(place.directory)
            _announce_in(place.directory, facts, done)
            return done
        except OSError as error:
            problems.append(f"{place.directory}: {error.strerror or error}")
    log.warning("no control socket, so rabbitmqctl and its like won't find this broker: %s", "; ".join(problems) or "no place for it")
    return done


def find(node: str | None = None, *, environ: Mapping[str, str] = os.environ) -> Found:
    """The one running broker, or the one of that node name (`rabbit` is short for rabbit@HOST). Of several it is the one on the usual port:
    the others are those of tests, mostly. Raises NotRunning, Ambiguous, Forbidden."""
    for places in (_own_places(environ), _others_places(environ)):
        live = [each for place in places if place.is_trusted() for each in _live(place.directory)]
        fit = [each for each in live if node is None or node in (each.node, each.node.partition("@")[0])]
        if len(fit) > 1 and len(usual := [each for each in fit if USUAL_PORT in each.amqp_ports]) == 1:
            fit = usual
        if len(fit) > 1:
            which = "".join(
                f"\n  {each.node}: process {each.pid}, AMQP port {_ports(each)}, data in {each.data_dir or 'memory'}" for each in fit
            )
            raise Ambiguous(f"{len(fit)} brokers are running; choose one by its node name (-n NODE):{which}", fit)
        if fit:
            if not os.access(fit[0].path, os.W_OK):
                whose = f"broker '{fit[0].node}' (process {fit[0].pid}) belongs to user {_owner(fit[0].path)}"
                raise Forbidden(f"{whose}: run the command as that user, or as root")
            return fit[0]
    raise NotRunning("no broker is running" if node is None else f"no broker is running as node '{node}'")


def read_pid(path: str) -> int:
    """The process id in a pid file. Raises OSError, and ValueError for what isn't one."""
    with open(path, encoding="ascii") as file:
        return int(file.read().strip())


def is_alive(pid: int) -> bool:
    """True if there is such a process, whoever owns it, and it hasn't ended: one that only waits for its parent to notice has."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except (OSError, IndexError):  # not Linux, or just gone
        return not os.path.isdir("/proc/self")


class _Place(NamedTuple):
    """A directory for control sockets. `owner` is the user whom its name is about; None: whoever made it is to be trusted."""

    directory: str
    owner: int | None = None
    make_parents: bool = False

    def is_trusted(self) -> bool:
        """True if nobody but its owner can have put a socket there. Anybody can make a name in /tmp first, and would be told passwords."""
        if self.owner is None:
            return True
        try:
            found = os.lstat(self.directory)
        except OSError:
            return False
        return stat.S_ISDIR(found.st_mode) and found.st_uid == self.owner and not found.st_mode & 0o022

    def prepare(self) -> None:
        """Make the directory if it is ours to make. Raises OSError for one that can't be used."""
        if self.make_parents:
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
        elif self.owner is not None:
            try:
                os.mkdir(self.directory, mode=0o700)
            except FileExistsError:
                if not self.is_trusted():
                    raise PermissionError(errno.EPERM, "it is another user's, or others may write there") from None
        os.stat(self.directory)
        if not os.access(self.directory, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _own_places(environ: Mapping[str, str]) -> list[_Place]:
    """Where this user's brokers may be, the best first."""
    if chosen := environ.get(RUNTIME_DIR):
        return [_Place(chosen, make_parents=True)]
    places = [_Place(SYSTEM_DIR)]
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        places.append(_Place(os.path.join(runtime, "leveret"), os.geteuid()))
    return [*places, _Place(os.path.join(_temporary(environ), f"leveret-{os.geteuid()}"), os.geteuid())]


def _others_places(environ: Mapping[str, str]) -> list[_Place]:
    """Where root looks when it has no broker of its own."""
    if environ.get(RUNTIME_DIR) or os.geteuid() != 0:
        return []
    users = [_Place(os.path.join(USERS_DIR, uid, "leveret"), int(uid)) for uid in _names(USERS_DIR) if uid.isdecimal()]
    temporary = [name.removeprefix("leveret-") for name in _names(_temporary(environ)) if name.startswith("leveret-")]
    return users + [_Place(os.path.join(_temporary(environ), f"leveret-{uid}"), int(uid)) for uid in temporary if uid.isdecimal()]


def _temporary(environ: Mapping[str, str]) -> str:
    return environ.get("TMPDIR") or "/tmp"


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _announce_in(directory: str, facts: Mapping[str, Any], done: Announcement) -> None:
    path = os.path.join(directory, f"{facts['pid']}.sock")
    card = os.path.join(directory, f"{facts['pid']}.json")
    _remove(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _address(path) as address:
            listener.bind(address)
        # Nobody gets in before it listens.
        os.chmod(path, 0o600)
        listener.listen(BACKLOG)
        _write(card, json.dumps(facts) + "\n")
    except OSError:
        listener.close()
        _remove(path)
        raise
    done.socket, done.path = listener, path
    done.files += [card, path]


def _clean(directory: str) -> None:
    """Remove what brokers left that were killed. One whose process isn't seen, but that answers, lives in another container."""
    for name in _names(directory):
        stem, _, kind = name.partition(".")
        if kind in ("sock", "json") and stem.isdecimal() and not is_alive(int(stem)):
            path = os.path.join(directory, f"{stem}.sock")
            if not _listens(path):
                _remove(path)
                _remove(os.path.join(directory, f"{stem}.json"))


def _live(directory: str) -> Iterator[Found]:
    for name in _names(directory):
        stem, _, kind = name.partition(".")
        if kind == "json" and stem.isdecimal():
            found = _read(directory, stem)
            if found is not None and _listens(found.path):
                yield found


def _read(directory: str, stem: str) -> Found | None:
    """What a broker wrote of itself; None if it is gone, or if this isn't for us to read."""
    try:
        with open(os.path.join(directory, f"{stem}.json"), encoding="utf-8") as file:
            facts = json.load(file)
        return Found(
            os.path.join(directory, f"{stem}.sock"),
            int(facts["pid"]),
            str(facts["node"]),
            tuple(map(int, facts["amqp_ports"])),
            facts["data_dir"],
            int(facts["started_ms"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _listens(path: str) -> bool:
    """True if somebody listens there, or may: what can't be opened is another user's."""
    try:
        _connect(path, CONNECT_SECONDS).close()
    except (ConnectionRefusedError, FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _connect(path: str, timeout_seconds: float | None) -> socket.socket:
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connected.settimeout(timeout_seconds)
    try:
        with _address(path) as address:
            connected.connect(address)
    except OSError:
        connected.close()
        raise
    return connected


@contextmanager
def _address(path: str) -> Iterator[str]:
    """The path of a socket, as the system takes it: one that is too long gets there by the directory's descriptor."""
    if len(os.fsencode(path)) <= ADDRESS_BYTES_MAX or not os.path.isdir("/proc/self/fd"):
        yield path
        return
    directory, name = os.path.split(path)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)


def _write(path: str, text: str) -> None:
    """Whole or not at all."""
    unfinished = f"{path}.new"
    # Where others may write too, a link may lie there that leads to any file of ours.
    _remove(unfinished)
    with open(unfinished, "x", encoding="utf-8") as file:
        file.write(text)
    os.replace(unfinished, path)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return


def _ports(found: Found) -> str:
    return ", ".join(map(str, found.amqp_ports)) or "none"


def _owner(path: str) -> str:
    uid = os.stat(path).st_uid
    try:
        import pwd

        return pwd.getpwuid(uid).pw_name
    except (ImportError, KeyError):
        return str(uid)
