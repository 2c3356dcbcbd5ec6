"""`leveret serve --testing --supervised`: who may ask, and when it ends."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from pamqp.commands import Queue

from broker.control import is_alive
from tests.admin.client import Http
from tests.house.conftest import ROOT, clean_environment
from tests.oracle.leveret import Leveret
from tests.runtime.process import soon
from tests.testing.supervised import ROOT_PATH, Supervised
from tests.wire import Wire


@pytest.fixture(scope="module")
def broker() -> Iterator[Supervised]:
    with Supervised() as supervised:
        yield supervised


def test_it_tells_where_it_listens(broker: Supervised) -> None:
    info = broker.ask("GET", "")
    assert info["listeners"] == broker.card["listeners"]
    assert info["seed"] == 7 and not info["frozen"] and info["data_dir"] is None
    assert broker.card["pid"] == broker.process.pid
    assert re.fullmatch("[0-9a-f]{32}", broker.card["token"]), "a word that a command line takes: no hyphen in front"


@pytest.mark.parametrize("authorization", [None, "Bearer ", "Bearer wrong", "Basic Z3Vlc3Q6Z3Vlc3Q="])
def test_without_the_token_nothing_is_to_be_had(broker: Supervised, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = broker.http.ask("GET", ROOT_PATH, headers=headers, credentials=("", ""))
    assert answer.status == 401
    assert answer.json["reason"] == "this needs the header 'Authorization: Bearer TOKEN', with the broker's testing.token"


def test_the_same_seed_makes_the_same_names() -> None:
    names = []
    for seed in (7, 7, 8):
        with Supervised(seed=seed) as broker, Wire.connect(broker) as wire:
            names.append(wire.open_channel(1).call(Queue.Declare, queue="", exclusive=True).queue)
            wire.close()
    assert names[0] == names[1] != names[2]


def test_a_broker_that_is_not_for_tests_has_none_of_it() -> None:
    with Leveret(arguments=("--http-port", "0")) as ordinary:
        port = int(ordinary.wait_for_log(r"HTTP \(non-TLS\) listener started on port").rsplit(maxsplit=1)[1])
        with Http("127.0.0.1", port) as http:
            assert http.ask("GET", ROOT_PATH).status == 404
            assert http.ask("GET", ROOT_PATH, headers={"Authorization": "Bearer "}, credentials=("", "")).status == 404


def test_the_token_is_configured_or_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEVERET_TESTING", "true")
    monkeypatch.setenv("LEVERET_TESTING_TOKEN", "from-compose")
    for token in ("from-compose", None):
        if token is None:
            monkeypatch.delenv("LEVERET_TESTING_TOKEN")
        with Leveret(arguments=("--http-port", "0")) as broker:
            port = int(broker.wait_for_log(r"HTTP \(non-TLS\) listener started on port").rsplit(maxsplit=1)[1])
            token = token or broker.wait_for_log("with this token: ").rsplit(maxsplit=1)[1]
            with Http("127.0.0.1", port) as http:
                assert http.ask("GET", ROOT_PATH, headers={"Authorization": f"Bearer {token}"}, credentials=("", "")).status == 200
            assert ("from-compose" in broker.log) is False


def test_it_ends_when_its_stdin_is_closed() -> None:
    with Supervised() as broker:
        assert broker.stop() == 0


HANGS = """
import asyncio
from broker.testing import supervision
supervision.GRACE_SECONDS = 0.1
loop = asyncio.new_event_loop()
supervision.end_with_parent(loop, lambda: None)
loop.run_forever()
"""


def test_one_that_hangs_ends_as_well() -> None:
    command = [sys.executable, "-c", HANGS]
    done = subprocess.run(command, cwd=ROOT, env=clean_environment(), stdin=subprocess.DEVNULL, timeout=20, check=False)
    assert done.returncode == 70


PARENT = """
import os, subprocess, sys, time
command = "-m leveret serve --testing --supervised --memory --port 0 --http-port 0 --log-level none".split()
process = subprocess.Popen([sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
while not process.stdout.readline().startswith(b"{"):
    pass
child = os.fork()  # it inherits our end of the broker's stdin
if child:
    sys.stdout.write(f"{process.pid} {child}\\n")
    sys.stdout.flush()
time.sleep(60)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_it_ends_with_its_parent_though_a_fork_of_that_lives_on() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    broker, child = map(int, parent.stdout.readline().split())
    try:
        assert is_alive(broker)
        parent.kill()
        parent.wait()
        soon(lambda: not is_alive(broker))
        assert is_alive(child)
    finally:
        os.kill(child, signal.SIGKILL)
        parent.stdout.close()
