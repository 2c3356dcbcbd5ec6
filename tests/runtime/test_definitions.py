"""Definitions in a running broker: imported at its start, and again when it is told to."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from pamqp.commands import Connection, Queue

from tests.oracle.leveret import Leveret
from tests.oracle.rabbitmq import BrokerFailed
from tests.runtime.process import soon
from tests.wire import Wire


def configured(tmp_path: Path, document: Any) -> tuple[Path, Path]:
    """Files of definitions and of configuration."""
    definitions, conf = tmp_path / "definitions.json", tmp_path / "leveret.conf"
    definitions.write_text(json.dumps(document))
    conf.write_text(f"load_definitions = {definitions}\n")
    return definitions, conf


def with_vhost(name: str) -> Any:
    return {
        "vhosts": [{"name": name}],
        "users": [{"name": "u", "password": "secret", "tags": ""}],
        "permissions": [{"user": "u", "vhost": name, "configure": ".*", "write": ".*", "read": ".*"}],
        "queues": [{"name": "q", "vhost": name, "durable": True, "auto_delete": False, "arguments": {"x-max-length": 3}}],
    }


def enter(broker: Leveret, vhost: str) -> bool:
    """The user of the definitions is let into the vhost, and finds its queue."""
    wire = Wire(broker)
    wire.greet()
    wire.start_ok("u", "secret")
    wire.expect(Connection.Tune)
    wire.tune_ok()
    wire.send_method(0, Connection.Open, virtual_host=vhost)
    if not isinstance(wire.next_frame(0).method, Connection.OpenOk):
        wire.abort()
        return False
    channel = wire.open_channel()
    channel.call(Queue.Declare, queue="q", passive=True)
    wire.close()
    return True


def test_a_hangup_imports_definitions_again(tmp_path: Path) -> None:
    definitions, conf = configured(tmp_path, with_vhost("one"))
    with Leveret(tmp_path / "data", arguments=("--config", str(conf))) as broker:
        assert enter(broker, "one") and not enter(broker, "two")
        definitions.write_text(json.dumps(with_vhost("two")))
        os.kill(broker.pid, signal.SIGHUP)
        soon(lambda: enter(broker, "two"))
        os.kill(broker.pid, signal.SIGHUP)
        broker.wait_for_log("Definitions at .* have been imported before and haven't changed")
        definitions.write_text("{")
        os.kill(broker.pid, signal.SIGHUP)
        broker.wait_for_log(r"\[error\] \S+ definitions were not imported: .*definitions.json: expected a JSON document")
        assert enter(broker, "one") and enter(broker, "two")
        with Wire.connect(broker, user="u", password="secret", vhost="two") as wire:
            wire.open_channel().queue("later", durable=True)  # durable in its turn, so whatever came before is
        broker.kill()
        broker.arguments = ()
        broker.start()
        assert enter(broker, "two"), "what was imported at run time is in the catalog"


def test_a_start_with_definitions_that_make_no_sense(tmp_path: Path) -> None:
    _, conf = configured(tmp_path, {"queues": [{"name": "q", "vhost": "x"}]})
    with pytest.raises(BrokerFailed, match=r"cannot start: .*definitions.json: queues\[0\] 'q': virtual host 'x' does not exist"):
        Leveret(tmp_path / "data", arguments=("--config", str(conf))).start()


@pytest.mark.parametrize("replace", [False, True])
def test_the_default_user_stays_unless_the_configuration_says_otherwise(tmp_path: Path, replace: bool) -> None:
    _, conf = configured(tmp_path, with_vhost("one"))
    with conf.open("a") as file:
        file.write(f"definitions.replace_default_user = {str(replace).lower()}\n")
    with Leveret(tmp_path / "data", arguments=("--config", str(conf))) as broker:
        assert enter(broker, "one")
        wire = Wire(broker)
        wire.greet()
        wire.start_ok("guest", "guest", capabilities={"authentication_failure_close": True})
        answer = wire.next_frame(0).method
        assert isinstance(answer, Connection.Close if replace else Connection.Tune)
        wire.abort()
