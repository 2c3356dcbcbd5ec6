"""Commands that start, stop and tune a broker, as processes of their own."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pika
import pytest

from tests.cli.conftest import Served, tool
from tests.cli.test_lists import serve
from tests.wire import eventually

STATUS = """
    os pid product_name product_version rabbitmq_version erlang_version crypto_lib_version uptime is_under_maintenance processes run_queue
    net_ticktime vm_memory_calculation_strategy vm_memory_high_watermark_setting vm_memory_high_watermark_limit disk_free disk_free_limit
    alarms listeners memory data_directory raft_data_directory config_files log_files active_plugins enabled_plugin_file totals
"""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Served]:
    """A broker that a test may stop."""
    broker = Served(tmp_path)
    broker.variables["RABBITMQ_PID_FILE"] = str(tmp_path / "node.pid")
    with broker:
        yield broker


def test_status(served: Served) -> None:
    facts = json.loads(served.call("rabbitmqctl", "status", "--formatter", "json").stdout)
    assert list(facts) == sorted(facts)
    assert set(facts) >= set(STATUS.split())
    assert facts["pid"] == served.pid
    assert facts["vm_memory_high_watermark_setting"] == {"relative": 0.4}
    text = served.call("rabbitmqctl", "status", "--unit", "mb").stdout
    assert text.startswith(f"Status of node {served.node} ...\nRuntime\n\nOS PID: {served.pid}\nOS: ")
    for line in (f"Node name: {served.node}", "Low free disk space watermark: 50.0 mb", f"port: {served.port}, protocol: amqp", "(none)"):
        assert line in text


def test_cluster_status(served: Served) -> None:
    facts = json.loads(served.call("rabbitmqctl", "cluster_status", "--formatter", "json").stdout)
    assert facts["running_nodes"] == facts["disk_nodes"] == [served.node]
    assert (facts["ram_nodes"], facts["partitions"], facts["alarms"]) == ([], {}, [])
    assert any(each["port"] == served.port for each in facts["listeners"][served.node])
    text = served.call("rabbitmqctl", "cluster_status", "-q").stdout
    assert text.startswith(f"Basics\n\nCluster name: {served.node}\n")
    assert f"Running Nodes\n\n{served.node}\n" in text and "Flag: quorum_queue, state: enabled" in text


def test_report_has_everything(served: Served) -> None:
    text = served.call("rabbitmqctl", "report").stdout
    for part in (
        "Status of node",
        "Cluster status of node",
        "Application environment",
        "Listing connections",
        "Listing queues for vhost /",
    ):
        assert part in text


def test_listeners_and_ports(served: Served) -> None:
    node = served.node
    assert (
        f"Interface: 127.0.0.1, port: {served.port}, protocol: amqp, purpose: AMQP 0-9-1 and AMQP 1.0"
        in served.call("rabbitmq-diagnostics", "listeners").stdout
    )
    done = served.call("rabbitmq-diagnostics", "-q", "check_port_listener", str(served.port))
    assert done.stdout == f"A listener for port {served.port} is running on node {node}.\n"
    done = served.call("rabbitmq-diagnostics", "-q", "check_port_listener", "1")
    assert (done.returncode, done.stderr.startswith(f"No listener for port 1 is active on node {node}. Found")) == (69, True)
    done = served.call("rabbitmq-diagnostics", "-q", "check_protocol_listener", "mqtt")
    assert (done.returncode, done.stderr.startswith(f"Error:\nNo listener for protocol mqtt is active on node {node}.")) == (69, True)
    done = served.call("rabbitmq-diagnostics", "-q", "check_port_connectivity")
    assert done.stdout.startswith("Successfully connected to ports ")
    assert done.stdout.endswith(f" on node {node} (using node hostname resolution)\n")
    assert f"{served.port}" in done.stdout


def test_limits_and_alarms(served: Served) -> None:
    served.call("rabbitmqctl", "set_disk_free_limit", "1000000GB")
    eventually(lambda: served.call("rabbitmq-diagnostics", "check_local_alarms").returncode == 69)
    done = served.call("rabbitmq-diagnostics", "check_alarms", "--formatter", "json")
    assert json.loads(done.stderr)["local"] == [f"Free disk space alarm on node {served.node}"]
    assert served.call("rabbitmq-diagnostics", "-s", "check_local_alarms").stderr == ""
    assert served.call("rabbitmq-diagnostics", "-q", "alarms").stdout == f"Free disk space alarm on node {served.node}\n"
    served.call("rabbitmqctl", "set_disk_free_limit", "50MB")
    served.call("rabbitmqctl", "set_vm_memory_high_watermark", "absolute", "1GB")
    facts = json.loads(served.call("rabbitmqctl", "status", "--formatter", "json").stdout)
    assert facts["vm_memory_high_watermark_limit"] == 1_000_000_000
    assert facts["vm_memory_high_watermark_setting"] == {"absolute": 1_000_000_000}
    served.call("rabbitmqctl", "set_vm_memory_high_watermark", "0.4")


def test_no_variable_tells_a_password(tmp_path: Path) -> None:
    with Served(tmp_path) as broker:
        broker.stop()
        broker.variables["RABBITMQ_DEFAULT_PASS"] = "hush-hush"
        broker.start()
        for words in (("rabbitmq-diagnostics", "os_env"), ("rabbitmqctl", "environment"), ("rabbitmqctl", "report")):
            assert "hush-hush" not in broker.call(*words).stdout
        assert "RABBITMQ_DEFAULT_PASS=********" in broker.call("rabbitmq-diagnostics", "os_env").stdout


def test_the_log_file(tmp_path: Path) -> None:
    log = tmp_path / "broker.log"
    broker = Served(tmp_path)
    broker.variables["LEVERET_LOG_FILE"] = str(log)
    with broker:
        assert broker.call("rabbitmq-diagnostics", "-q", "log_location").stdout == f"{log}\n"
        broker.call("rabbitmqctl", "add_user", "u", "p")
        lines = broker.call("rabbitmq-diagnostics", "-q", "log_tail", "-N", "1").stdout.splitlines()
        assert len(lines) == 1 and "Created user 'u'" in lines[0]
        log.rename(tmp_path / "moved.log")
        assert broker.call("rabbitmqctl", "rotate_logs").returncode == 0
        broker.call("rabbitmqctl", "set_log_level", "error")
        broker.call("rabbitmqctl", "add_user", "silent", "p")
        broker.call("rabbitmqctl", "set_log_level", "info")
        broker.call("rabbitmqctl", "add_user", "loud", "p")
        assert "Created user 'loud'" in log.read_text() and "silent" not in log.read_text()


def test_shutdown_waits_for_the_process(own: Served) -> None:
    done = own.tool("rabbitmqctl", "shutdown")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].endswith(f"running at PID {own.pid} successfully shut down")
    assert own.stop() == 0
    done = own.tool("rabbitmqctl", "list_queues")
    assert done.returncode == 69
    assert done.stderr.startswith(f"Error: unable to perform an operation on node 'rabbit@{os.uname().nodename.partition('.')[0]}'. Please")
    assert "No broker is running" in done.stderr
    assert own.tool("rabbitmqctl", "stop", "--idempotent").returncode == 0
    assert own.tool("rabbitmq-diagnostics", "-q", "ping").returncode == 69
    assert own.tool("rabbitmq-plugins", "list", "-E").returncode == 0


def test_shutdown_looks_until_the_process_is_gone(own: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []

    def is_alive(pid: int) -> bool:
        looks.append(pid)
        return len(looks) < 4

    monkeypatch.setattr("broker.control.is_alive", is_alive)
    assert own.call("rabbitmqctl", "shutdown").returncode == 0
    assert looks == [own.pid] * 4
    looks.clear()
    assert own.call("rabbitmqctl", "--url", "http://guest:guest@127.0.0.1:1", "shutdown").returncode == 69
    assert not looks


def test_stop_with_a_pid_file(own: Served, tmp_path: Path) -> None:
    file = str(tmp_path / "node.pid")
    assert own.tool("rabbitmqctl", "wait", file).stdout.splitlines()[1] == f"pid is {own.pid}"
    done = own.tool("rabbitmqctl", "stop", file)
    assert done.stdout.splitlines()[-1] == f"process {own.pid} (take from pid file {file}) is no longer running"
    assert own.stop() == 0


def test_waiting_for_a_broker_that_is_yet_to_come(tmp_path: Path) -> None:
    broker = Served(tmp_path)
    done: list[subprocess.CompletedProcess[str]] = []
    waiting = threading.Thread(target=lambda: done.append(broker.tool("rabbitmqctl", "await_startup", "--timeout", "20")))
    waiting.start()
    with broker:
        waiting.join(25)
        assert done[0].returncode == 0, done[0].stderr


def test_waiting_has_an_end(tmp_path: Path) -> None:
    variables = {"LEVERET_RUNTIME_DIR": str(tmp_path)}
    done = tool("rabbitmqctl", "await_startup", "-t", "1", **variables)
    assert done.returncode == 75 and "timed out. Timeout value used: 1000" in done.stderr
    done = tool("rabbitmqctl", "wait", str(tmp_path / "none.pid"), "-t", "1", **variables)
    assert done.returncode == 75
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    done = tool("rabbitmqctl", "wait", "--pid", str(ended.pid), **variables)
    assert (done.returncode, done.stderr) == (69, "Error:\nError: process is not running.\n")


def test_a_stopped_app_lets_nobody_in_and_can_be_reset(own: Served) -> None:
    parameters = pika.ConnectionParameters(own.host, own.port, connection_attempts=1)
    connection = pika.BlockingConnection(parameters)
    own.call("rabbitmqctl", "add_vhost", "v")
    line = own.wait_for_log(r"Management plugin: HTTP \(non-TLS\) listener started on port (\d+)")
    admin = own.call("rabbitmqadmin", "-P", line.split()[-1], "vhosts", "enable_deletion_protection", "--name", "v")
    assert admin.returncode == 0, admin.stderr
    assert own.call("rabbitmqctl", "reset").returncode == 64
    assert own.call("rabbitmqctl", "stop_app").returncode == 0
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        serve(connection)
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        pika.BlockingConnection(parameters)
    assert own.call("rabbitmq-diagnostics", "check_running").returncode == 69
    assert own.call("rabbitmqctl", "reset").returncode == 0
    assert own.call("rabbitmqctl", "start_app").returncode == 0
    assert own.call("rabbitmq-diagnostics", "check_running").returncode == 0
    pika.BlockingConnection(parameters).close()
    assert own.call("rabbitmqctl", "-s", "list_vhosts").stdout == "/\n"


def test_a_broker_that_is_killed_is_not_found(own: Served) -> None:
    os.kill(own.pid, signal.SIGKILL)
    own.stop()
    assert own.tool("rabbitmqctl", "list_queues").returncode == 69


def test_several_brokers_need_a_name(tmp_path: Path) -> None:
    first, second = Served(tmp_path), Served(tmp_path)
    first.variables["RABBITMQ_NODENAME"] = "one@here"
    second.variables["RABBITMQ_NODENAME"] = "two@here"
    with first, second:
        variables = {"LEVERET_RUNTIME_DIR": str(first.runtime)}
        done = tool("rabbitmqctl", "list_vhosts", **variables)
        assert done.returncode == 69 and "2 brokers are running" in done.stderr and "one@here" in done.stderr
        assert tool("rabbitmqctl", "-n", "one@here", "eval", "node().", **variables).stdout == "one@here\n"
        assert tool("rabbitmqctl", "eval", "node().", RABBITMQ_NODENAME="two", **variables).stdout == "two@here\n"
        assert tool("rabbitmqctl", "-n", "three", "list_vhosts", **variables).returncode == 69
