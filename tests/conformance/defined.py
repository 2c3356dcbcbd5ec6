"""The broker under test with users, vhosts and policies from a file of definitions, for either broker."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from broker.access import passwords
from tests.oracle.leveret import ROOT, Leveret

if TYPE_CHECKING:
    import pytest

    from tests.oracle.rabbitmq import RabbitMQ
    from tests.spec import Broker

PASSWORD = "pass"


def user(name: str, *tags: str, **fields: Any) -> dict[str, Any]:
    """A user of definitions, with PASSWORD unless `password_hash` is given; `algorithm` hashes it."""
    stored = passwords.encode(passwords.hash_password(PASSWORD.encode(), fields.pop("algorithm", passwords.SHA256)))
    return {"name": name, "password_hash": stored, "hashing_algorithm": passwords.SHA256, "tags": list(tags), "limits": {}} | fields


def permission(name: str, configure: str = ".*", write: str = ".*", read: str = ".*", vhost: str = "/") -> dict[str, str]:
    """What a user may do in a vhost."""
    return {"user": name, "vhost": vhost, "configure": configure, "write": write, "read": read}


@contextmanager
def defined(document: dict[str, Any], request: pytest.FixtureRequest, factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """RabbitMQ is the one of the session, which keeps what it was given; Leveret is a process of its own."""
    file = factory.mktemp("defined") / "definitions.json"
    file.write_text(json.dumps(document))
    if request.config.getoption("--broker") == "rabbitmq":
        oracle: RabbitMQ = request.getfixturevalue("broker")
        oracle.ctl("import_definitions", str(file))
        yield oracle
        return
    directory = file.with_name("data")
    command = [sys.executable, "-m", "leveret", "definitions", "import", "--data-dir", str(directory), str(file)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60)
    with Leveret(directory) as leveret:
        yield leveret
