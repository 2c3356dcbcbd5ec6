"""The table of commands as a whole, and those that neither list nor change what a client sees: plugins, eval, definitions."""

import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.cli.ctl import help, table
from broker.cli.ctl.plugins import warn
from tests.cli.conftest import Served
from tests.house.conftest import ROOT, clean_environment
from tests.wire import eventually

TOOLS = [name for name in table.SCOPES if name != "ctl"]


def test_every_row_has_its_command() -> None:
    names = [row.name for row in table.ROWS]
    assert len(names) == len(set(names))
    for row in table.ROWS:
        command = help.command_of(row)
        # RabbitMQ's usage of the one has the name wrong.
        assert command.usage.split()[0] == row.name or row.name == "list_node_auth_attempt_stats", row.name
        assert row.section in table.SECTIONS and set(row.scopes) <= set(table.SCOPES["ctl"])


def test_every_command_is_in_the_table() -> None:
    for file in {row.file for row in table.ROWS}:
        commands = sys.modules.get(f"broker.cli.ctl.{file}") or __import__(f"broker.cli.ctl.{file}", fromlist=["COMMANDS"])
        assert set(commands.COMMANDS) == {row.name for row in table.ROWS if row.file == file}, file


@pytest.mark.parametrize("row", table.ROWS, ids=lambda row: row.name)
def test_every_command_has_help(served: Served, row: table.Row) -> None:
    """Even without a broker."""
    tool = next(name for name, letter in table.SCOPES.items() if letter in row.scopes)
    for words in (["help", row.name], [row.name, "--help"]):
        done = served.call(tool, *words)
        assert (done.returncode, done.stderr) == (0, ""), words
        assert f"{tool} [--node <node>]" in done.stdout and row.help[1:] in done.stdout


@pytest.mark.parametrize("tool", TOOLS)
def test_tools_have_help(served: Served, tool: str) -> None:
    done = served.call(tool, "help")
    assert done.returncode == 0 and "Available commands:" in done.stdout
    for row in table.rows(tool):
        assert f"   {row.name} " in done.stdout
    assert served.call(tool).returncode == 64


def test_commands_need_nothing_but_the_standard_library() -> None:
    """Nor anything of the server: that is what makes them quick."""
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from broker.cli.ctl import admin, admin_classic, admin_second, help, main, table\n"
        "for row in table.ROWS: help.command_of(row)\n"
        "names = {name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)\n"
        "heavy = {'asyncio', 'logging', 'typing', 'argparse', 'http.client', 'urllib.request', 'email'} & set(sys.modules)\n"
        "print(sorted(names), sorted(heavy), sorted(n for n in sys.modules if n.startswith('broker.') and not n.startswith('broker.cli')))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True, env=clean_environment())
    names, rest = done.stdout.split("] [", 1)
    assert names == "['__main__', 'broker'", done.stdout
    assert "asyncio" not in rest and "logging" not in rest, done.stdout
    assert set(rest.partition("] [")[2].strip(" ]\n").replace("'", "").split(", ")) <= {"broker.control", "broker.identity"}, rest


@pytest.fixture
def plugins(served: Served) -> Iterator[Path]:
    """No file of enabled plugins, before and after."""
    served.plugins_file.unlink(missing_ok=True)
    yield served.plugins_file
    served.plugins_file.unlink(missing_ok=True)
    served.call("rabbitmq-plugins", "enable", "-q", "rabbitmq_management")


def test_plugins_that_are_served_need_no_enabling(served: Served, plugins: Path) -> None:
    done = served.call("rabbitmq-plugins", "enable", "rabbitmq_management")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Enabling plugins on node {served.node}:\nrabbitmq_management\n")
    assert served.call("rabbitmq-plugins", "is_enabled", "-q", "rabbitmq_management").returncode == 0
    assert not plugins.exists()


def test_what_isnt_served_is_a_warning_and_never_listed_as_running(served: Served, plugins: Path) -> None:
    before = served.call("rabbitmq-plugins", "list", "-e", "-m").stdout
    for name in ("rabbitmq_shovel", "rabbitmq_mqtt"):
        done = served.call("rabbitmq-plugins", "enable", name)
        assert done.returncode == 0 and f"leveret: {name}: not served by Leveret" in done.stderr
        assert served.call("rabbitmq-plugins", "is_enabled", name).returncode != 0
    done = served.call("rabbitmq-plugins", "enable", "--offline", "rabbitmq_shovel")
    assert done.returncode == 0 and "not served by Leveret" in done.stderr
    assert served.call("rabbitmq-plugins", "list", "-e", "-m").stdout == before
    running = served.call("rabbitmq-plugins", "list", "-m", "-E").stdout.split()
    assert "rabbitmq_management" in running and not [name for name in running if "shovel" in name or "mqtt" in name]
    assert not plugins.exists()


def test_the_event_exchange_is_enabled_and_disabled_for_the_next_start(served: Served, plugins: Path) -> None:
    """The one plugin that can be either. The rest of the file stays."""
    done = served.call("rabbitmq-plugins", "enable", "rabbitmq_event_exchange")
    assert (done.returncode, done.stderr) == (0, "") and "changes will take effect at broker restart" in done.stdout
    assert plugins.read_text() == "[rabbitmq_event_exchange].\n"
    assert served.call("rabbitmq-plugins", "enable", "rabbitmq_event_exchange").stdout.endswith("Plugin configuration unchanged.\n")
    plugins.write_text("[rabbitmq_shovel,rabbitmq_event_exchange].\n")
    assert served.call("rabbitmq-plugins", "disable", "rabbitmq_event_exchange").returncode == 0
    assert plugins.read_text() == "[rabbitmq_shovel].\n"


def test_what_is_built_in_stays(served: Served, plugins: Path) -> None:
    done = served.call("rabbitmq-plugins", "disable", "rabbitmq_management")
    assert done.returncode == 0 and "rabbitmq_management: built in, and can't be disabled" in done.stderr
    assert served.call("rabbitmq-plugins", "is_enabled", "rabbitmq_management").returncode == 0


def test_a_warning_names_what_it_is_about(capsys: pytest.CaptureFixture[str]) -> None:
    warn(["rabbitmq_management"])
    assert capsys.readouterr().err == ""
    warn(["rabbitmq_management", "rabbitmq_mqtt"])
    assert capsys.readouterr().err.startswith("leveret: rabbitmq_mqtt: not served")


def evaluate(served: Served, text: str, stdin: str = "") -> tuple[int, str, str]:
    done = served.call("rabbitmqctl", "eval", *([text] if text else []), stdin=stdin)
    return done.returncode, done.stdout, done.stderr


def test_what_scripts_evaluate(served: Served) -> None:
    for text, out in (
        ("rabbit:is_booted(node()).", "true\n"),
        (" rabbit_misc : version( ) . ", '"3.13.7"\n'),
        ("nodes().", "[]\n"),
        ("rabbit_alarm:get_alarms().", "[]\n"),
        ("application:get_env(rabbit, consumer_timeout).", "{ok,1800000}\n"),
        ("application:get_env(rabbit, nope).", "undefined\n"),
    ):
        assert evaluate(served, text) == (0, out, ""), text
    assert evaluate(served, "", "rabbit_amqqueue:count().\n") == (0, "0\n", "")


def test_alarms_are_evaluated(served: Served) -> None:
    node = served.call("rabbitmqctl", "eval", "node().").stdout.strip()
    served.call("rabbitmqctl", "set_disk_free_limit", "1000000GB")
    try:
        eventually(lambda: served.call("rabbitmq-diagnostics", "check_local_alarms").returncode == 69)
        assert evaluate(served, "rabbit_alarm:get_alarms().") == (0, f"[{{{{resource_limit,disk,{node}}},[]}}]\n", "")
    finally:
        served.call("rabbitmqctl", "set_disk_free_limit", "50MB")


def test_the_one_variable_that_can_be_set(served: Served) -> None:
    try:
        assert evaluate(served, "application:set_env(rabbit, consumer_timeout, 5000).") == (0, "ok\n", "")
        assert evaluate(served, "application:get_env(rabbit, consumer_timeout).") == (0, "{ok,5000}\n", "")
    finally:
        evaluate(served, "application:set_env(rabbit, consumer_timeout, 1800000).")


def test_no_erlang_is_run(served: Served) -> None:
    status, out, err = evaluate(served, 'os:cmd("id").')
    assert (status, out) == (69, "")
    assert "Leveret runs no Erlang" in err


def test_definitions_to_a_file_and_back(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "definitions.json"
    assert served.call("rabbitmqctl", "add_vhost", "defined").returncode == 0
    done = served.call("rabbitmqctl", "export_definitions", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f'Exporting definitions in JSON to a file at "{file}" ...\n'
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    document = json.loads(file.read_text())
    assert {vhost["name"] for vhost in document["vhosts"]} == {"/", "defined"}
    assert json.loads(served.call("rabbitmqctl", "export_definitions", "-").stdout) == document

    served.call("rabbitmqctl", "delete_vhost", "defined")
    done = served.call("rabbitmqctl", "import_definitions", str(file))
    assert done.returncode == 0 and "Successfully started definition import" in done.stdout
    assert "defined" in served.call("rabbitmqctl", "-q", "list_vhosts").stdout
    served.call("rabbitmqctl", "delete_vhost", "defined")
    assert served.call("rabbitmqctl", "import_definitions", stdin=file.read_text()).returncode == 0
    assert "defined" in served.call("rabbitmqctl", "-q", "list_vhosts").stdout
    served.call("rabbitmqctl", "delete_vhost", "defined")


def test_definitions_that_are_none(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "broken.json"
    file.write_text("{")
    for words, status in (
        (["import_definitions", str(file)], 65),
        (["import_definitions", str(tmp_path / "none.json")], 65),
        (["export_definitions", str(tmp_path / "no" / "where.json")], 65),
        (["export_definitions", str(tmp_path / "x.json"), "--format", "erlang"], 65),
    ):
        done = served.call("rabbitmqctl", *words)
        assert done.returncode == status and done.stderr, words
    assert not (tmp_path / "x.json").exists()


def test_another_machines_broker_is_asked_by_its_url(served: Served) -> None:
    line = served.wait_for_log(r"Management plugin: HTTP \(non-TLS\) listener started on port (\d+)")
    port = line.strip().rpartition(" ")[2]
    done = served.call("rabbitmqctl", "--url", f"http://guest:guest@127.0.0.1:{port}", "list_users", "-q")
    assert (done.returncode, done.stdout) == (0, "user\ttags\nguest\t[administrator]\n")
    done = served.call("rabbitmqctl", "--url", f"http://guest:wrong@127.0.0.1:{port}", "list_users", "-q")
    assert done.returncode == 69 and done.stdout == "" and "wrong" not in done.stderr
    done = served.call("rabbitmqctl", "--url", "http://guest:guest@127.0.0.1:1", "list_users")
    assert done.returncode == 69 and "127.0.0.1:1" in done.stderr
    assert served.call("rabbitmqctl", "--url", "ftp://x", "list_users").returncode == 64
