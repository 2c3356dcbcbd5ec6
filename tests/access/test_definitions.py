"""Definitions: out and in again with nothing lost, RabbitMQ's own files, and what a mistake is told."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker import definitions
from broker.access import passwords
from broker.definitions import IMPORTED, InvalidDefinitions, apply, apply_to_vhost, export, export_vhost
from broker.operations import NotFound
from tests.access.conftest import Office

ROOT = Path(__file__).resolve().parents[2]

RABBITMQS: Any = {  # what `rabbitmqctl export_definitions` and the HTTP API of 3.10.8 write, pairs in place of objects included
    "rabbit_version": "3.10.8",
    "rabbitmq_version": "3.10.8",
    "product_name": "RabbitMQ",
    "product_version": "3.10.8",
    "users": [
        {
            "name": "alice",
            # From RabbitMQ 3.10.8, `rabbitmqctl add_user alice wonderland`.
            "password_hash": "7O95nWaEUhJAeROhmEPOledrQb4McIHRkRZK+zgB25ouzBLi",
            "hashing_algorithm": "rabbit_password_hashing_sha256",
            "tags": ["monitoring", "policymaker"],
            "limits": {"max-connections": 10},
        },
        {"name": "certified", "password_hash": "", "hashing_algorithm": "rabbit_password_hashing_sha512", "tags": "", "limits": []},
    ],
    "vhosts": [
        {"name": "/", "metadata": {"description": "Default virtual host", "tags": "a,b"}},
        {"limits": [], "name": "shop", "tracing": False},
    ],
    "permissions": [{"user": "alice", "vhost": "shop", "configure": "^a", "write": ".*", "read": ""}],
    "topic_permissions": [{"user": "alice", "vhost": "shop", "exchange": "amq.topic", "write": "^{username}", "read": ".*"}],
    "parameters": [
        {"value": {"max-queues": 50, "max-connections": -1}, "vhost": "shop", "component": "vhost-limits", "name": "limits"},
        {
            "value": {"pattern": "^t", "definition": [["max-length", 7]], "priority": 1, "apply-to": "queues"},
            "vhost": "shop",
            "component": "operator_policy",
            "name": "cap",
        },
        {"value": {"uri": "amqp://x"}, "vhost": "shop", "component": "federation-upstream", "name": "up"},
    ],
    "global_parameters": [{"name": "internal_cluster_id", "value": "rabbitmq-cluster-id-x"}, {"name": "list", "value": [1, {"a": None}]}],
    "policies": [
        {"vhost": "shop", "name": "ttl", "pattern": "^q", "apply-to": "queues", "definition": {"message-ttl": 60000}, "priority": 0}
    ],
    "queues": [
        {"name": "q", "vhost": "shop", "durable": True, "auto_delete": False, "arguments": {"x-max-priority": 5}},
        {"name": "quorum", "vhost": "shop", "durable": True, "auto_delete": False, "arguments": {"x-queue-type": "quorum"}},
        {"name": "passing", "vhost": "/", "durable": False, "auto_delete": True, "arguments": []},
    ],
    "exchanges": [
        {
            "name": "x",
            "vhost": "shop",
            "type": "headers",
            "durable": True,
            "auto_delete": False,
            "internal": True,
            "arguments": {"alternate-exchange": "amq.fanout"},
        }
    ],
    "bindings": [
        {
            "source": "x",
            "vhost": "shop",
            "destination": "q",
            "destination_type": "queue",
            "routing_key": "",
            "arguments": {"x-match": "all", "n": 5, "deep": {"list": [1, "two", None, 2.5, True]}},
        },
        {
            "source": "amq.topic",
            "vhost": "shop",
            "destination": "x",
            "destination_type": "exchange",
            "routing_key": "a.#",
            "arguments": {},
        },
    ],
}


def test_rabbitmqs_file(office: Office) -> None:
    apply(office.operations, RABBITMQS)
    office.restart()
    operations = office.operations
    alice = operations.user("alice")
    assert alice.has_password(b"wonderland") and alice.tags == {"monitoring", "policymaker"} and alice.limit("max-connections") == 10
    assert not operations.user("certified").has_password(b"")
    shop = operations.vhost("shop")
    assert shop.limit("max-queues") == 50 and shop.limit("max-connections") is None
    assert shop.operator_policies["cap"].definition == {"max-length": 7} and shop.policies["ttl"].apply_to == "queues"
    assert shop.queues["quorum"].is_quorum and shop.exchanges["x"].internal
    (binding,) = shop.bindings_to(shop.queues["q"])
    assert binding.arguments["n"].kind == "l" and binding.arguments["deep"].value["list"].value[3] == ("d", 2.5)
    assert office.connect(user="alice", vhost="shop").wire.closed is None


def test_out_and_in_again_nothing_is_lost(office: Office) -> None:
    apply(office.operations, RABBITMQS)
    first = json.loads(json.dumps(export(office.operations)))
    other = Office()
    apply(other.operations, first)
    assert export(other.operations) == first
    apply(other.operations, first)  # once more changes nothing
    assert export(other.operations) == first
    other.restart()
    durable = copy.deepcopy(first)
    durable["queues"] = [queue for queue in first["queues"] if queue["durable"]]
    again = export(other.operations)
    for section in durable:
        assert ordered(again[section]) == ordered(durable[section]), section


def ordered(section: Any) -> Any:
    return sorted(json.dumps(item, sort_keys=True) for item in section) if isinstance(section, list) else section


def test_what_is_there_stays_as_it_is(office: Office) -> None:
    channel = office.connect().channel()
    channel.declare("q", durable=True, arguments={"x-max-length": 1})
    channel.publish("q", b"1")
    office.settle()
    queue = {"name": "q", "vhost": "/", "durable": True, "auto_delete": False, "arguments": {}}
    apply(office.operations, {"queues": [queue]})
    assert office.ready("q") == [b"1"] and office.queue("q").arguments.table["x-max-length"].value == 1


def test_the_firehose_is_turned_on_and_off(office: Office) -> None:
    """As RabbitMQ has it; there is no other way to do so from outside yet."""
    channel = office.connect().channel()
    channel.declare("copies")
    channel.bind("copies", "amq.rabbitmq.trace", "#")
    office.settle()
    channel.take()
    for tracing, count in ((True, 1), (None, 2), (False, 2)):
        apply(office.operations, {"vhosts": [{"name": "/"} | ({} if tracing is None else {"tracing": tracing})]})
        channel.publish("nowhere", b"1", exchange="amq.direct")
        office.settle()
        assert len(office.ready("copies")) == count


def test_what_is_left_out(office: Office) -> None:
    """Exclusive queues, what every vhost has, what the broker keeps for itself, and bindings of the default exchange."""
    channel = office.connect().channel()
    channel.declare("mine", exclusive=True)
    channel.exchange("late", "x-delayed-message", durable=True, arguments={"x-delayed-type": "direct"})
    channel.bind("mine", "late", "k")
    channel.declare("q")
    office.settle()
    document = export(office.operations)
    assert [queue["name"] for queue in document["queues"]] == ["q"]
    assert [exchange["name"] for exchange in document["exchanges"]] == ["late"]
    assert document["bindings"] == []


def test_one_vhost(office: Office) -> None:
    apply(office.operations, RABBITMQS)
    document = json.loads(json.dumps(export_vhost(office.operations, "shop")))
    assert set(document) == {"rabbit_version", "rabbitmq_version", "parameters", "policies", "queues", "exchanges", "bindings"}
    assert "vhost" not in json.dumps([document[section] for section in ("policies", "queues", "exchanges", "bindings")])
    office.operations.put_vhost("copy")
    apply_to_vhost(office.operations, "copy", document)
    assert export_vhost(office.operations, "copy") == document
    with pytest.raises(InvalidDefinitions, match=r"exchanges\[0\] 'x': expected a field vhost"):
        apply(office.operations, document)
    with pytest.raises(NotFound, match="virtual host 'x' does not exist"):
        apply_to_vhost(office.operations, "x", document)
    with pytest.raises(NotFound):
        export_vhost(office.operations, "x")


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([], "expected an object with users, vhosts, queues"),
        ({"users": {}}, "users is an object: expected a list"),
        ({"users": [5]}, r"users\[0\]: expected an object, not 5"),
        ({"users": [{"name": "u"}]}, r"users\[0\] 'u': there are no tags: expected a list, which may be empty"),
        ({"users": [{"name": "u", "tags": 5}]}, r"users\[0\] 'u': tags are neither a list nor text"),
        ({"users": [{"name": "u", "tags": "", "password": "p", "password_hash": "h"}]}, "both password and password_hash"),
        ({"users": [{"name": "u", "tags": "", "limits": {"max-cats": 1}}]}, "limit 'max-cats' of user 'u'"),
        ({"vhosts": [{}]}, r"vhosts\[0\]: expected a field name, text"),
        ({"vhosts": [{"name": "v", "metadata": {"default_queue_type": "stream"}}]}, r"vhosts\[0\] 'v': default queue type 'stream'"),
        ({"vhosts": [{"name": "/"}, {"name": "v", "tags": 5}]}, r"vhosts\[1\] 'v': tags is 5: expected a list"),
        ({"vhosts": [{"name": "v", "tracing": "on"}]}, 'tracing is "on": expected true or false'),
        ({"permissions": [{"user": "guest", "vhost": "/", "configure": "(", "write": "", "read": ""}]}, "invalid regular expression"),
        ({"permissions": [{"user": "x", "vhost": "/", "configure": "", "write": "", "read": ""}]}, "user 'x' does not exist"),
        ({"permissions": [{"user": "guest", "vhost": "x", "configure": "", "write": "", "read": ""}]}, "virtual host 'x' does not exist"),
        ({"queues": [{"name": "q", "vhost": "/", "durable": "yes"}]}, r"queues\[0\] 'q': durable is \"yes\": expected true or false"),
        ({"queues": [{"name": "q"}]}, "expected a field vhost: definitions of one vhost are imported into a vhost"),
        ({"queues": [{"name": "q", "vhost": "/", "arguments": {"x-max-length": -1}}]}, "invalid arg 'x-max-length'"),
        ({"queues": [{"name": "q", "vhost": "/", "arguments": {"x-queue-type": "stream"}}]}, "x-queue-type"),
        ({"queues": [{"name": "q", "vhost": "/", "arguments": {"n": 2**63}}]}, "arguments: 9223372036854775808 is beyond 64 bits"),
        ({"queues": [{"name": "", "vhost": "/"}]}, "queue name '': expected 1 to 255 bytes"),
        ({"exchanges": [{"name": "x", "vhost": "/", "type": "x-nix"}]}, r"exchanges\[0\] 'x': unknown exchange type 'x-nix'"),
        ({"policies": [{"name": "p", "vhost": "/", "pattern": "", "definition": {"foo": 1}}]}, "not recognised policy settings"),
        (
            {"policies": [{"name": "p", "vhost": "/", "pattern": "", "definition": {"expires": 1}, "priority": "1"}]},
            "expected a whole number",
        ),
        ({"parameters": [{"component": "vhost-limits", "name": "limits", "vhost": "/", "value": 5}]}, "limits of virtual host '/'"),
        (
            {
                "parameters": [
                    {
                        "component": "operator_policy",
                        "name": "o",
                        "vhost": "/",
                        "value": {"pattern": "", "definition": {"max-length": 1}, "priority": "high"},
                    }
                ]
            },
            r"parameters\[0\] 'o': priority should be number",
        ),
        ({"parameters": [{"component": "c", "name": "\ud800", "vhost": "/", "value": 5}]}, "expected text without lone surrogates"),
        ({"vhosts": [{"name": "v", "description": "d", "tags": [1]}]}, "tags: expected text, each of them"),
        (
            {
                "queues": [{"name": "q", "vhost": "/", "durable": False}],
                "bindings": [
                    {"source": "amq.direct", "vhost": "/", "destination": "q", "destination_type": "queue", "routing_key": "\ud800"}
                ],
            },
            r"bindings\[0\]: routing_key is \"\\ud800\": expected text without lone surrogates",
        ),
        (
            {"bindings": [{"source": "x", "vhost": "/", "destination": "q", "destination_type": "queue", "routing_key": ""}]},
            r"bindings\[0\]: no exchange 'x' in vhost '/'",
        ),
        (
            {"bindings": [{"source": "x", "vhost": "/", "destination": "q", "destination_type": "cat", "routing_key": ""}]},
            'destination_type is "cat": expected queue or exchange',
        ),
    ],
)
def test_a_mistake_names_its_place(office: Office, document: Any, problem: str) -> None:
    before = export(office.operations)
    with pytest.raises(InvalidDefinitions, match=problem):
        apply(office.operations, document)
    assert export(office.operations) == before


@pytest.mark.parametrize(
    ("version", "user", "algorithm"),
    [
        ("3.5.7", {"password_hash": passwords.encode(passwords.hash_password(b"p", passwords.MD5))}, passwords.MD5),
        ("3.6.0", {"password_hash": passwords.encode(passwords.hash_password(b"p"))}, passwords.SHA256),
        ("3.5.7", {"password": "p"}, passwords.SHA512),
        ("3.13.7", {"password": "p"}, passwords.SHA512),
    ],
)
def test_how_a_password_is_hashed_that_does_not_say(office: Office, version: str, user: Any, algorithm: str) -> None:
    """RabbitMQ below 3.6 hashed with MD5; a password is hashed as the configuration says."""
    office.operations.hashing_algorithm = passwords.SHA512
    apply(office.operations, {"rabbit_version": version, "users": [{"name": "u", "tags": "", **user}]})
    assert office.operations.user("u").has_password(b"p") and office.operations.user("u").hashing_algorithm == algorithm


def test_a_mistake_in_form_changes_nothing(office: Office) -> None:
    with pytest.raises(InvalidDefinitions, match=r"policies\[0\]"):
        apply(office.operations, {**RABBITMQS, "policies": [{"name": "p", "vhost": "/", "pattern": "(", "definition": {"expires": 1}}]})
    assert "alice" not in office.users and list(office.broker.vhosts) == ["/"]


def test_secrets_stay_out_of_errors(office: Office) -> None:
    for user in ({"name": "u", "tags": 5, "password": "s3cret"}, {"name": "u", "tags": "", "password_hash": "s3cret?"}):
        with pytest.raises(InvalidDefinitions) as caught:
            apply(office.operations, {"users": [user]})
        assert "s3cret" not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda of: st.lists(of) | st.dictionaries(st.text(max_size=5), of),
)
SECTIONS = "users vhosts permissions topic_permissions exchanges global_parameters policies parameters queues bindings".split()
KEYS = "name vhost user tags password limits configure write read type arguments metadata pattern definition value".split()
ITEMS = st.dictionaries(st.sampled_from(KEYS), JSON | st.sampled_from(["/", "guest", "q", "amq.topic"]))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the first text that is drawn takes a second
@given(st.dictionaries(st.sampled_from(SECTIONS), JSON | st.lists(ITEMS, max_size=3)))
def test_whatever_is_in_a_document_it_is_imported_or_refused(document: Any) -> None:
    office = Office()
    office.operations.add_user("guest", "guest")
    try:
        apply(office.operations, document)
    except InvalidDefinitions:
        pass
    json.dumps(export(office.operations))
    office.restart()


class TestAtAStart:
    def write(self, path: Path, document: Any) -> Path:
        path.write_text(json.dumps(document), encoding="utf-8")
        return path

    def load(self, office: Office, path: Path, *, skip: bool = False) -> None:
        office.settle()
        stored = next((entry.value for entry in office.disk.entries() if entry.key == IMPORTED), None)
        definitions.load(office.operations, path, stored, skip_if_unchanged=skip)
        office.settle()

    def test_a_file_and_a_directory(self, office: Office, tmp_path: Path) -> None:
        folder = tmp_path / "definitions.d"
        folder.mkdir()
        self.write(folder / "2.json", {"queues": [{"name": "q", "vhost": "v"}]})
        self.write(folder / "1.json", {"vhosts": [{"name": "v"}]})
        (folder / ".hidden").write_text("no JSON")
        self.load(office, folder)
        assert list(office.broker.vhosts["v"].queues) == ["q"]
        self.load(office, self.write(tmp_path / "one.json", {"vhosts": [{"name": "w"}]}))
        assert "w" in office.broker.vhosts

    def test_unchanged(self, office: Office, tmp_path: Path) -> None:
        path = self.write(tmp_path / "d.json", {"vhosts": [{"name": "v"}]})
        self.load(office, path)
        office.operations.delete_vhost("v")
        self.load(office, path, skip=True)
        assert "v" not in office.broker.vhosts
        self.load(office, path)
        assert "v" in office.broker.vhosts
        self.write(path, {"vhosts": [{"name": "v"}, {"name": "w"}]})
        self.load(office, path, skip=True)
        assert "w" in office.broker.vhosts

    def test_what_cannot_be_read(self, office: Office, tmp_path: Path) -> None:
        with pytest.raises(InvalidDefinitions, match=r"load_definitions: .*/none.json can't be read: No such file"):
            self.load(office, tmp_path / "none.json")
        (tmp_path / "bad.json").write_text("{")
        with pytest.raises(InvalidDefinitions, match=r"bad.json: expected a JSON document"):
            self.load(office, tmp_path / "bad.json")
        (tmp_path / "nan.json").write_text('{"global_parameters": [{"name": "n", "value": NaN}]}')
        with pytest.raises(InvalidDefinitions, match=r"nan.json: expected a JSON document: NaN"):
            self.load(office, tmp_path / "nan.json")
        with pytest.raises(InvalidDefinitions, match=r"d.json: users\[0\]: expected an object"):
            self.load(office, self.write(tmp_path / "d.json", {"users": [1]}))


class TestCommand:
    def run(self, *arguments: str | Path, given: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "leveret", "definitions", *map(str, arguments)]
        return subprocess.run(command, cwd=ROOT, input=given, capture_output=True, text=True, check=False)

    def test_in_and_out(self, tmp_path: Path) -> None:
        data, file = tmp_path / "data", tmp_path / "definitions.json"
        assert self.run("export", "--data-dir", data).returncode == 69
        assert not data.exists()
        done = self.run("import", "-", "--data-dir", data, given=json.dumps(RABBITMQS))
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert self.run("export", file, "--data-dir", data).returncode == 0
        assert file.stat().st_mode & 0o777 == 0o600
        written = json.loads(file.read_text())
        assert {user["name"] for user in written["users"]} == {"guest", "alice", "certified"}
        assert [queue["name"] for queue in written["queues"]] == ["q", "quorum"]
        shop = json.loads(self.run("export", "--vhost", "shop", "--data-dir", data).stdout)
        assert shop["policies"] == [policy for policy in written["policies"] if policy.pop("vhost") == "shop"]
        for arguments, status, text in (
            (("import", "-", "--vhost", "nix"), 65, "virtual host 'nix' does not exist"),
            (("import", tmp_path / "none"), 69, "No such file"),
            ((), 64, ""),
        ):
            options = ("--data-dir", data) if arguments else ()
            done = self.run(*arguments, *options, given="{}")
            assert done.returncode == status and text in done.stderr
        done = self.run("import", "-", "--data-dir", data, given="[]")
        assert done.returncode == 65 and done.stderr == "leveret: expected an object with users, vhosts, queues, ..., not a list\n"
