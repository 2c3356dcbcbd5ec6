"""`leveret lint`: a file of definitions, and a running broker."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.testing.findings.definitions import NoDefinitions, findings_of
from tests.cli.conftest import Served
from tests.house.conftest import Run
from tests.testing.sandboxed import Sandboxed
from tests.testing.supervised import Supervised

DOCUMENT: dict[str, Any] = {
    "rabbit_version": "3.13.7",
    "vhosts": [{"name": "/"}, {"name": "quorum", "default_queue_type": "quorum"}],
    "queues": [
        {"name": "tasks", "vhost": "/", "durable": False, "auto_delete": False, "arguments": {
            "x-queue-mode": "lazy", "x-queue-version": 1}},
        {"name": "right", "vhost": "/", "durable": True, "auto_delete": False, "arguments": {
            "x-dead-letter-exchange": "dlx", "x-message-ttl": 5000}},
        {"name": "lost", "vhost": "/", "durable": True, "auto_delete": False, "arguments": {"x-dead-letter-exchange": "gone"}},
        {"name": "unbound", "vhost": "/", "durable": True, "auto_delete": False, "arguments": {"x-dead-letter-exchange": "amq.direct"}},
        {"name": "to", "vhost": "/", "durable": True, "auto_delete": False, "arguments": {
            "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "nowhere"}},
        {"name": "own-key", "vhost": "/", "durable": True, "auto_delete": False, "arguments": {"x-dead-letter-exchange": ""}},
        {"name": "timed", "vhost": "/", "durable": True, "auto_delete": False, "arguments": {"x-consumer-timeout": 1000}},
        {"name": "timed", "vhost": "quorum", "durable": True, "auto_delete": False, "arguments": {"x-consumer-timeout": 1000}},
    ],
    "exchanges": [
        {"name": "dlx", "vhost": "/", "type": "fanout", "durable": True, "arguments": {}},
        {"name": "later", "vhost": "/", "type": "x-delayed-message", "durable": True, "arguments": {"x-delayed-type": "direct"}},
        {"name": "shop", "vhost": "/", "type": "topic", "durable": True, "arguments": {"alternate-exchange": "gone"}},
    ],
    "bindings": [{"source": "dlx", "vhost": "/", "destination": "right", "destination_type": "queue", "routing_key": ""}],
    "policies": [{"vhost": "/", "name": "ha", "pattern": ".*", "apply-to": "queues", "definition": {"ha-mode": "all"}, "priority": 0}],
    "parameters": [
        {"component": "operator_policy", "vhost": "/", "name": "old", "value": {"pattern": ".*", "definition": [["queue-version", 1]]}},
    ],
}  # fmt: skip
FOUND = [
    ("transient-queue", "tasks"), ("queue-mode", "tasks"), ("queue-version", "tasks"), ("consumer-timeout-argument", "timed"),
    ("delayed-exchange", "later"), ("mirroring", "ha"), ("no-dead-letter-exchange", "lost"), ("dead-letter-unroutable", "unbound"),
    ("dead-letter-unroutable", "to"), ("no-alternate-exchange", "shop"), ("policy-without-effect", "old"),
]  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "definitions.json"
    path.write_text(json.dumps(DOCUMENT))
    return path


def test_a_file(leveret: Run, file: Path) -> None:
    done = leveret("lint", str(file), "--json")
    assert (done.returncode, done.stderr) == (1, "")
    found = json.loads(done.stdout)
    assert [
        (each["code"], each["where"].get("queue") or each["where"].get("exchange") or each["where"]["policy"]) for each in found
    ] == FOUND
    assert next(each["where"]["vhost"] for each in found if each["code"] == "consumer-timeout-argument") == "/"


def test_a_file_in_text(leveret: Run, file: Path) -> None:
    done = leveret("lint", str(file))
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0] == (
        "breaks transient-queue: queue 'tasks' is neither durable nor exclusive, which RabbitMQ 4.3 refuses to declare (541, the "
        "connection is closed). Declare it durable (x-expires removes one that nobody uses), or exclusive."
    )
    assert lines[-1] == "For RabbitMQ 4.3: 6 breaks, 4 loses, 1 risks."


def test_one_chooses(leveret: Run, file: Path) -> None:
    def codes(*options: str) -> list[str]:
        return [each["code"] for each in json.loads(leveret("lint", str(file), "--json", *options).stdout)]

    assert codes("--for", "4.0", "--severity", "breaks") == ["mirroring"]
    assert codes("--for", "3.13", "--severity", "breaks,risks") == ["plugin"]
    assert codes("--severity", "breaks", "--ignore", "mirroring,transient-queue:ta*,queue-mode:other") == [
        "queue-mode", "queue-version", "consumer-timeout-argument", "delayed-exchange",
    ]  # fmt: skip
    assert codes("--vhost", "quorum") == []
    assert leveret("lint", str(file), "--vhost", "quorum").returncode == 0


def test_what_leveret_exports_can_be_read(leveret: Run, file: Path, tmp_path: Path) -> None:
    known = {**DOCUMENT, "policies": [], "parameters": [], "vhosts": [{"name": "/"}]}
    known["queues"] = [queue for queue in DOCUMENT["queues"] if queue["vhost"] == "/"]
    file.write_text(json.dumps(known))
    data, exported = str(tmp_path / "data"), str(tmp_path / "exported.json")
    assert leveret("definitions", "import", str(file), "--data-dir", data).returncode == 0
    for more in ((), ("--vhost", "/")):
        assert leveret("definitions", "export", exported, "--data-dir", data, *more).returncode == 0
        found = [each["code"] for each in json.loads(leveret("lint", exported, "--json").stdout)]
        # A queue that isn't durable is in no data directory.
        assert sorted(found) == sorted(code for code, name in FOUND if name not in ("tasks", "ha", "old"))


@pytest.mark.parametrize(
    ("text", "status", "reason"),
    [
        ("{", 65, "is no JSON"),
        ("[]", 65, "definitions are a JSON object"),
        ('{"users": []}', 65, "it has no queues, exchanges, policies, bindings or vhosts"),
        ('{"queues": {}}', 65, "it has no queues"),
        ('{"queues": 7}', 65, "'queues' is no list of objects"),
        ('{"queues": [{"vhost": "/"}]}', 65, "'name' is missing, or no text, in {'vhost': '/'}"),
        ('{"queues": [{"name": "a", "arguments": 1}]}', 65, "'arguments' is no object"),
        (None, 69, "No such file or directory"),
    ],
)
def test_files_that_make_no_sense(leveret: Run, tmp_path: Path, text: str | None, status: int, reason: str) -> None:
    path = tmp_path / "file.json"
    if text is not None:
        path.write_text(text)
    done = leveret("lint", str(path))
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith(f"leveret lint: {path}") and reason in done.stderr


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--for", "5.0"), "--for '5.0' is none of the versions that are known: 3.13, 4.0, 4.1, 4.2, 4.3"),
        (("--severity", "bad"), "--severity: 'bad' is none of breaks, loses, risks"),
        (("--ignore", "no-such:x"), "--ignore: 'no-such:x' is none of transient-queue, "),
        (("--url", "http://localhost:1"), "--url needs --token"),
        (("--url", "gopher://x", "--token", "t"), "'gopher://x' is no URL of an HTTP API"),
    ],
)
def test_command_lines_that_make_no_sense(leveret: Run, words: tuple[str, ...], reason: str) -> None:
    done = leveret("lint", *words)
    assert (done.returncode, done.stdout) == (64, "")
    assert reason in done.stderr


def test_a_document_that_says_nothing_of_durable_means_it() -> None:
    assert findings_of({"queues": [{"name": "a"}]}, "4.3") == []
    with pytest.raises(NoDefinitions):
        findings_of({"exchanges": [{"name": "a"}]}, "4.3")


# --- a running broker ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lint-run")


@pytest.fixture(scope="module")
def watching(runtime: Path) -> Iterator[Supervised]:
    """A broker for tests that announces itself where no other is."""
    with Supervised(LEVERET_RUNTIME_DIR=str(runtime)) as broker:
        yield broker


@pytest.fixture
def sandbox(watching: Supervised) -> Iterator[Sandboxed]:
    made = Sandboxed(watching)
    with made.channel("worker") as channel:
        channel.queue_declare("tasks")
    yield made
    made.end()


def test_it_finds_the_broker_by_itself(leveret: Run, runtime: Path, sandbox: Sandboxed) -> None:
    done = leveret("lint", LEVERET_RUNTIME_DIR=str(runtime))
    assert (done.returncode, done.stderr) == (1, "")
    assert re.match(
        r"breaks transient-queue: queue 'tasks' .* Seen once by worker \(connection [\d.: >-]+, channel 1\)\.$", done.stdout, re.MULTILINE
    )
    assert done.stdout.endswith("\n\nFor RabbitMQ 4.3: 1 breaks.\n")
    fine = leveret("lint", "--for", "4.2", LEVERET_RUNTIME_DIR=str(runtime))
    assert (fine.returncode, fine.stdout) == (
        0, "Nothing was found that RabbitMQ 4.2 wouldn't do as well, and nothing that loses messages.\n",
    )  # fmt: skip
    missing = leveret("lint", "--vhost", "nowhere", LEVERET_RUNTIME_DIR=str(runtime))
    assert (missing.returncode, missing.stdout) == (69, "")
    assert "there is no vhost 'nowhere'" in missing.stderr


def test_a_broker_elsewhere(leveret: Run, runtime: Path, watching: Supervised, sandbox: Sandboxed) -> None:
    url, token = f"http://{watching.host}:{watching.http_port}", watching.card["token"]
    words = ("lint", "--url", url, "--vhost", sandbox.vhost, "--json")
    found = json.loads(leveret(*words, "--token", token).stdout)
    assert found == sandbox.findings()
    assert json.loads(leveret(*words, LEVERET_TESTING_TOKEN=token).stdout) == found
    refused = leveret(*words, "--token", "wrong")
    assert (refused.returncode, refused.stderr) == (
        69, f"leveret lint: the HTTP API at {watching.host}:{watching.http_port} doesn't take this token\n",
    )  # fmt: skip
    nobody = leveret("lint", "--url", "http://127.0.0.1:1", "--token", token)
    assert nobody.returncode == 69 and "127.0.0.1:1 can't be reached" in nobody.stderr


def test_a_broker_that_is_not_for_tests(leveret: Run, served: Served) -> None:
    done = leveret("lint", **served.variables)
    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr == (
        "leveret lint: the broker isn't for tests: start one with `leveret serve --testing`, run your clients, and ask again\n"
    )


def test_no_broker_at_all(leveret: Run, tmp_path: Path) -> None:
    done = leveret("lint", LEVERET_RUNTIME_DIR=str(tmp_path))
    assert (done.returncode, done.stderr) == (69, "leveret lint: no broker is running\n")
