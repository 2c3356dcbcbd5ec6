"""What the catalog of a stopped data directory declares, and what is wrong with it: for the offline tools, which can't ask a broker.

broker/core/entries.py says what the keys and values are, and docs/internals/storage-format.md too.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

from storage.api import StorageError
from storage.catalog import CATALOG_NAME, SCHEMA_VERSION

QUEUE_IDS: Final = "ids/queue"
_NAMES: Final = {
    "vhost": 1,
    "exchange": 2,
    "queue": 2,
    "policy": 2,
    "operator_policy": 2,
    "binding": 5,
}  # kinds, and how many names follow in the key
_BORN: Final = frozenset(("", "amq.direct", "amq.fanout", "amq.headers", "amq.match", "amq.rabbitmq.trace", "amq.topic"))
"""The exchanges that every vhost is born with; they are no entries."""
_MEMBERS: Final[dict[str, dict[str, type]]] = {
    "exchange": {"type": str, "auto_delete": bool, "internal": bool, "arguments": dict},
    "queue": {"id": int, "auto_delete": bool, "arguments": dict},
    "binding": {"routing_key": str, "arguments": dict},
    "policy": {"pattern": str, "apply_to": str, "priority": int, "definition": dict},
    "operator_policy": {"pattern": str, "apply_to": str, "priority": int, "definition": dict},
}


@dataclass(slots=True)
class Declared:
    """`queues` are (vhost, name) by id; `next_queue` is the first id that was never given out. `bad` are the entries that
    can't be what they say, key to reason; `shared` the keys of queues whose id another queue has too; `broken` says why
    SQLite can't read the catalog ("" if it can): then there may be more than was found."""

    entries: int = 0
    queues: dict[int, tuple[str, str]] = field(default_factory=dict)
    next_queue: int = 1
    bad: dict[str, str] = field(default_factory=dict)
    shared: dict[str, int] = field(default_factory=dict)
    broken: str = ""

    def problems(self) -> Iterator[str]:
        """Each problem as a line."""
        if self.broken:
            yield f"the catalog: {self.broken}"
        for key, reason in self.bad.items():
            yield f"the catalog's entry {key}: {reason}"
        for key, queue_id in self.shared.items():
            yield f"the catalog's entry {key}: another queue has its id {queue_id} too"

    def name(self, queue_id: int) -> str:
        """How a person knows the queue."""
        if queue_id not in self.queues:
            return f"queue {queue_id}, which is not in the catalog"
        vhost, name = self.queues[queue_id]
        return f"queue '{printable(name)}' in vhost '{printable(vhost)}'"


def printable(text: str) -> str:
    """Text in which bytes that are no UTF-8 and control characters are escaped, so that it stays in its line."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode() for character in text
    )


def parts(key: str) -> list[str]:
    """The parts of a catalog key."""
    return [unquote(part, errors="surrogateescape") for part in key.split("/")]


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The catalog, for reading. Raises sqlite3.DatabaseError."""
    # Without a write-ahead log nobody has it open, and SQLite can be kept from making its files beside it.
    mode = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "mode=ro&immutable=1"
    with closing(sqlite3.connect(f"file:{quote(str(path))}?{mode}", uri=True)) as database:
        yield database


def read(directory: Path) -> Declared:
    """What the catalog of a data directory declares. Raises StorageError for a newer schema."""
    declared = Declared()
    path = directory / CATALOG_NAME
    if not path.exists():
        declared.broken = f"{path.name} is not there"
        return declared
    rows: dict[str, bytes] = {}
    try:
        with opened(path) as database:
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if version > SCHEMA_VERSION:
                raise StorageError(f"the catalog {path} has schema {version}; this Leveret reads schemas up to {SCHEMA_VERSION}")
            declared.broken = "; ".join(text for (text,) in database.execute("PRAGMA integrity_check") if text != "ok")
            for key, value in database.execute("SELECT key, value FROM entries ORDER BY key"):
                rows[key] = bytes(value)
    except (sqlite3.DatabaseError, TypeError) as error:
        declared.broken = f"{path.name} can't be read: {error}"
    _understand(rows, declared)
    return declared


def _understand(rows: dict[str, bytes], declared: Declared) -> None:
    declared.entries = len(rows)
    values: dict[str, dict[str, Any]] = {}
    for key, value in rows.items():
        try:
            values[key] = _value(key, value)
        except (ValueError, RecursionError) as error:
            declared.bad[key] = str(error)
    owners: dict[int, str] = {}
    for key, content in values.items():
        kind, *names = parts(key)
        missing = _missing(kind, names, values)
        if missing:
            declared.bad[key] = missing
        elif kind == "queue":
            if content["id"] in owners:
                declared.shared[owners[content["id"]]] = content["id"]  # of two, a start gives the messages to the later
            owners[content["id"]] = key
            declared.queues[content["id"]] = (names[0], names[1])
            declared.next_queue = max(declared.next_queue, content["id"] + 1)
        elif key == QUEUE_IDS:
            declared.next_queue = max(declared.next_queue, content["next"])


def _value(key: str, value: bytes) -> dict[str, Any]:
    content = json.loads(value)
    if not isinstance(content, dict):
        raise ValueError("its value is no JSON object")
    kind, *names = parts(key)
    if kind in _NAMES and len(names) != _NAMES[kind]:
        raise ValueError(f"the key of a {kind} doesn't have {len(names) + 1} parts")
    members = {"next": int} if key == QUEUE_IDS else _MEMBERS.get(kind, {})
    for name, wanted in members.items():
        if not isinstance(content.get(name), wanted):
            raise ValueError(f"its value has no {name}, or one of the wrong type")
    return content


def _missing(kind: str, names: list[str], values: dict[str, dict[str, Any]]) -> str:
    """What an entry refers to and isn't there; "" if all is."""
    if kind not in _NAMES or kind == "vhost":
        return ""
    vhost, *rest = names
    wanted = [_key("vhost", vhost)]
    if kind == "binding":
        source, destination_kind, name, _ = rest
        wanted.append(_key("exchange", vhost, source))
        wanted.append(_key(destination_kind, vhost, name))
    absent = [key for key in wanted if key not in values and not (key.startswith("exchange/") and parts(key)[2] in _BORN)]
    return f"it needs {' and '.join(absent)}, which the catalog doesn't have" if absent else ""


def _key(*names: str) -> str:
    return "/".join(quote(name, safe="", errors="surrogateescape") for name in names)


def with_id(value: bytes, queue_id: int) -> bytes:
    """A queue's value with another id."""
    return json.dumps(json.loads(value) | {"id": queue_id}, separators=(",", ":")).encode()


def next_id(queue_id: int) -> bytes:
    """The value that says from where on queue ids were never given out."""
    return json.dumps({"next": queue_id}, separators=(",", ":")).encode()
