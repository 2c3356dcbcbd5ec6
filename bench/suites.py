"""`python -m bench.suites`: what a test suite costs that has a vhost and a user for each test, on Leveret and on RabbitMQ.

The same tests, run by pytest: connect with pika, declare a queue, publish with a confirm, consume, ack. With Leveret the plugin's fixtures
start the broker and make the vhosts, as in any project. RabbitMQ is started by a fixture of the session; vhosts, users and permissions are
made and deleted over the management plugin's HTTP API, on one kept-alive connection. A row says which broker; the seconds of the whole run
of pytest with 200 tests; of a run with one test, which is mostly the start and the stop of the broker; the milliseconds that each further
test costs; and those that the vhost takes of them, measured by tests that only have one and do nothing. Medians of the rounds.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = 200
ROUNDS = 3

SUITE = """
import pika
import pytest


@pytest.mark.parametrize("number", range({busy}))
def test_a_message_goes_through(parameters, number):
    with pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("orders", durable=True)
        channel.basic_publish("", "orders", b"%d" % number, pika.BasicProperties(delivery_mode=2), mandatory=True)
        method, _, body = next(channel.consume("orders", inactivity_timeout=5))
        channel.basic_ack(method.delivery_tag)
        assert body == b"%d" % number


@pytest.mark.parametrize("number", range({idle}))
def test_nothing(parameters, number):
    pass
"""
LEVERET = """
import pytest


@pytest.fixture
def parameters(leveret):
    return leveret.pika_parameters()
"""
RABBITMQ = """
import base64, http.client, json, re, sys, time
import pika
import pytest

sys.path.insert(0, {root!r})
from tests.oracle.rabbitmq import RabbitMQ, free_port


class Api:
    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.headers = {{"Authorization": "Basic " + base64.b64encode(b"guest:guest").decode(), "Content-Type": "application/json"}}

    def ask(self, method, path, body=None):
        self.connection.request(method, path, None if body is None else json.dumps(body), self.headers)
        with self.connection.getresponse() as answer:
            answer.read()
            assert answer.status < 300, (method, path, answer.status)


@pytest.fixture(scope="session")
def server():
    port = free_port()
    settings = (f"management.tcp.port = {{port}}", "management.tcp.ip = 127.0.0.1")
    with RabbitMQ(classic_defaults=True, plugins=("rabbitmq_management",), settings=settings) as broker:
        yield broker, Api(port)


@pytest.fixture
def parameters(server, request):
    broker, api = server
    name = re.sub(r"\\W", "-", request.node.name)
    api.ask("PUT", f"/api/vhosts/{{name}}", {{}})
    api.ask("PUT", f"/api/users/{{name}}", {{"password": "secret", "tags": ""}})
    api.ask("PUT", f"/api/permissions/{{name}}/{{name}}", {{"configure": ".*", "write": ".*", "read": ".*"}})
    yield pika.ConnectionParameters("127.0.0.1", broker.port, name, pika.PlainCredentials(name, "secret"))
    api.ask("DELETE", f"/api/vhosts/{{name}}")
    api.ask("DELETE", f"/api/users/{{name}}")
"""


def run(folder: Path, *, busy: int, idle: int) -> float:
    """Seconds that a run of pytest takes."""
    (folder / "test_suite.py").write_text(SUITE.format(busy=busy, idle=idle))
    begin = time.perf_counter()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", "test_suite.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begin
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return seconds


def measure(folder: Path, rounds: int) -> tuple[float, float, float, float]:
    """Seconds of the suite and of one test; milliseconds of a test, and of its vhost."""
    whole, one, idle = [], [], []
    for _ in range(rounds):
        whole.append(run(folder, busy=TESTS, idle=0))
        one.append(run(folder, busy=1, idle=0))
        idle.append(run(folder, busy=1, idle=TESTS))
    first = statistics.median(one)
    each = [(statistics.median(seconds) - first) * 1000 / count for seconds, count in ((whole, TESTS - 1), (idle, TESTS))]
    return statistics.median(whole), first, each[0], each[1]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.suites", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"(default: {ROUNDS})")
    rounds = parser.parse_args().rounds
    confs = {"Leveret": LEVERET}
    if shutil.which("rabbitmq-server") or Path("/usr/sbin/rabbitmq-server").exists():
        confs["RabbitMQ"] = RABBITMQ.format(root=str(ROOT))
    print(f"| broker | {TESTS} tests | 1 test | each further test | of that the vhost |\n|---|---|---|---|---|")
    for name, conf in confs.items():
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "conftest.py").write_text(conf)
            whole, first, test, vhost = measure(Path(folder), rounds)
        print(f"| {name} | {whole:.1f} s | {first:.1f} s | {test:.1f} ms | {vhost:.1f} ms |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
