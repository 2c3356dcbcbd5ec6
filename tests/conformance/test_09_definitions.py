"""Definitions move between Leveret and RabbitMQ: what one exports, the other imports, and nothing is lost on the way
(https://www.rabbitmq.com/docs/definitions)."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.access.test_definitions import ordered
from tests.oracle.leveret import ROOT, Leveret
from tests.oracle.rabbitmq import RabbitMQ, free_port
from tests.spec import Broker
from tests.wire import Wire

Document = dict[str, Any]

EVERYTHING: Document = {
    "users": [
        {"name": "alice", "password": "wonderland", "tags": ["monitoring", "policymaker"], "limits": {"max-connections": 10}},
        {"name": "bob", "password_hash": "", "hashing_algorithm": "rabbit_password_hashing_sha512", "tags": [], "limits": {}},
    ],
    "vhosts": [{"name": "shop", "description": "of orders", "tags": ["a", "b"]}, {"name": "a/b c%2F"}],
    "permissions": [
        {"user": "alice", "vhost": "shop", "configure": "^a", "write": ".*", "read": ""},
        {"user": "bob", "vhost": "a/b c%2F", "configure": "", "write": "^[[:alpha:]]+$", "read": r"\.x$"},
    ],
    "topic_permissions": [{"user": "alice", "vhost": "shop", "exchange": "amq.topic", "write": "^{username}", "read": ".*"}],
    "parameters": [
        {"vhost": "shop", "component": "vhost-limits", "name": "limits", "value": {"max-queues": 50}},
        {
            "vhost": "shop",
            "component": "operator_policy",
            "name": "cap",
            "value": {"pattern": "^t", "definition": {"max-length": 7}, "priority": 1, "apply-to": "queues"},
        },
    ],
    "global_parameters": [{"name": "place", "value": "Wien"}, {"name": "object", "value": {"a": {"b": [1, "two"]}}}],
    "policies": [
        {"vhost": "shop", "name": "ttl", "pattern": "^q", "apply-to": "queues", "definition": {"message-ttl": 60000}, "priority": 3},
        {"vhost": "shop", "name": "ae", "pattern": "^x", "apply-to": "exchanges", "definition": {"alternate-exchange": "y"}, "priority": 0},
    ],
    "exchanges": [
        {"vhost": "shop", "name": "x", "type": "headers", "durable": True, "auto_delete": False, "internal": True, "arguments": {}},
        {"vhost": "shop", "name": "y", "type": "fanout", "durable": True, "auto_delete": True, "internal": False,
         "arguments": {"alternate-exchange": "amq.fanout"}},
        {"vhost": "shop", "name": "hash", "type": "x-consistent-hash", "durable": True, "auto_delete": False, "internal": False,
         "arguments": {"hash-header": "h"}},
    ],
    "queues": [
        {"vhost": "shop", "name": "q", "durable": True, "auto_delete": False, "arguments": {"x-max-priority": 5, "x-message-ttl": 2**34}},
        {"vhost": "shop", "name": "quorum", "durable": True, "auto_delete": False, "arguments": {"x-queue-type": "quorum"}},
        {"vhost": "a/b c%2F", "name": "Zoë/ %", "durable": True, "auto_delete": True, "arguments": {}},
    ],
    "bindings": [
        {"vhost": "shop", "source": "x", "destination": "q", "destination_type": "queue", "routing_key": "",
         "arguments": {"x-match": "any", "n": -5, "f": 2.5, "b": True, "list": [1, "two"], "table": {"deep": 1}}},
        {"vhost": "shop", "source": "y", "destination": "x", "destination_type": "exchange", "routing_key": "a.#", "arguments": {}},
        {"vhost": "shop", "source": "hash", "destination": "quorum", "destination_type": "queue", "routing_key": "3", "arguments": {}},
    ],
}  # fmt: skip
SECTIONS = ("users", "permissions", "topic_permissions", "parameters", "global_parameters", "policies", "exchanges", "queues", "bindings")

OWN = {"guest", "internal_cluster_id", "cluster_name"}


def leveret(*arguments: str | Path, given: Document | None = None) -> str:
    """What `leveret definitions ARGUMENTS` prints."""
    command = [sys.executable, "-m", "leveret", "definitions", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, input=json.dumps(given), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def through_leveret(document: Document, data_dir: Path) -> Document:
    leveret("import", "-", "--data-dir", data_dir, given=document)
    exported: Document = json.loads(leveret("export", "--data-dir", data_dir))
    return exported


def comparable(document: Document) -> Document:
    """What must come through unchanged: without the users and vhosts that each broker has by itself, and its own names for itself."""
    kept: Document = {}
    for section in SECTIONS:
        items = [item for item in document[section] if item.get("vhost") != "/" and OWN.isdisjoint((item.get("name"), item.get("user")))]
        kept[section] = ordered([{key: item[key] for key in sorted(item) if key != "type" or section == "exchanges"} for item in items])
    kept["vhosts"] = sorted(vhost["name"] for vhost in document["vhosts"])
    return kept


def described(document: Document) -> list[tuple[str, Any, Any]]:
    """The vhosts with what is said of them."""
    return sorted((vhost["name"], vhost["metadata"]["description"], vhost["metadata"]["tags"]) for vhost in document["vhosts"])


@pytest.fixture(scope="module")
def management(request: pytest.FixtureRequest) -> Iterator[RabbitMQ]:
    """A RabbitMQ with its HTTP API, whose exports are what people keep."""
    if request.config.getoption("--broker") != "rabbitmq":
        pytest.skip("asks RabbitMQ: with --broker rabbitmq")
    port = free_port()
    settings = (f"management.tcp.port = {port}", "management.tcp.ip = 127.0.0.1")
    with RabbitMQ(settings=settings, plugins=("rabbitmq_management",)) as rabbitmq:
        rabbitmq.management_port = port  # type: ignore[attr-defined]
        yield rabbitmq


def http(rabbitmq: RabbitMQ, method: str, document: Document | None = None) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{rabbitmq.management_port}/api/definitions",  # type: ignore[attr-defined]
        method=method,
        data=None if document is None else json.dumps(document).encode(),
        headers={"Authorization": f"Basic {base64.b64encode(b'guest:guest').decode()}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or "null")


def test_leveret_to_rabbitmq_to_leveret(management: RabbitMQ, tmp_path: Path) -> None:
    first = through_leveret(EVERYTHING, tmp_path / "one")
    http(management, "POST", first)
    exported = http(management, "GET")
    second = through_leveret(exported, tmp_path / "two")
    assert comparable(exported) == comparable(first)
    assert comparable(second) == comparable(first)
    assert comparable(first)["users"] and len(comparable(first)["bindings"]) == 3

    # The command line's export has another form (pairs for objects); it leaves internal exchanges out, and has the vhosts' descriptions.
    by_command = json.loads(management.ctl("export_definitions", "-"))
    by_command["bindings"] = [binding for binding in by_command["bindings"] if "x" not in (binding["source"], binding["destination"])]
    exported = through_leveret(by_command, tmp_path / "three")
    assert described(exported) == described(first)
    third = comparable(exported)
    for section in ("users", "permissions", "topic_permissions", "parameters", "policies", "queues"):
        assert third[section] == comparable(first)[section], section

    # Both let the user in with the password that the other has hashed.
    with Leveret(tmp_path / "two") as again:
        for broker in (management, again):
            with Wire.connect(broker, user="alice", password="wonderland", vhost="shop") as wire:
                wire.open_channel()


def test_leveret_to_leveret(broker: Broker, tmp_path: Path) -> None:
    first = through_leveret(EVERYTHING, tmp_path / "one")
    second = through_leveret(first, tmp_path / "two")
    assert {**second, "users": ordered(second["users"])} == {**first, "users": ordered(first["users"])}
