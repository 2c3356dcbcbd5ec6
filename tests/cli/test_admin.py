"""rabbitmqadmin in both of its tongues, over TCP with a user and a password."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from broker.cli.ctl.admin import is_second
from tests.cli.conftest import Served

CLASSIC = """
    declare vhost name=av
    declare queue name=t1 durable=true auto_delete=false
    declare queue name=t2 queue_type=quorum
    declare queue name=t1 durable=false
    declare queue
    declare queue nam=t1
    declare queue foo
    declare foo name=x
    declare exchange name=e1 type=fanout
    declare exchange name=e2 type=nope
    declare binding source=e1 destination=t1 routing_key=k
    declare binding source=nope destination=t1
    declare user name=u1 password=p tags=management
    declare user name=u1 tags=
    declare permission vhost=/ user=u1 configure=.* write=.* read=.*
    declare policy name=pp pattern=^zz definition={"max-length":1} apply-to=queues priority=1
    declare vhost_limit vhost=av name=max-queues value=3
    declare parameter component=vhost-limits name=limits value={"max-queues":700}
    publish routing_key=t1 payload=hello
    publish routing_key=nope payload=hello
    publish exchange=nope routing_key=x payload=y
    get queue=t1 count=5
    get queue=t1 -f tsv
    get queue=nope
    get queue=t1 ackmode=ack_requeue_false payload_file=pf.txt
    get queue=t1 payload_file=pf.txt count=2
    list queues name durable arguments.x-queue-type
    list queues name messages -f tsv
    list queues name vhost -f long
    list queues name vhost -f kvp
    list queues name vhost -f bash
    -q list queues name -f tsv
    list queues name -f raw_json
    list queues name -f pretty_json
    list queues name -S name -R
    -V / list queues name
    -V nope list queues
    list exchanges
    list bindings
    list users name tags
    list vhosts name
    list permissions
    list policies
    list parameters
    list operator_policies
    list vhost_limits
    list connections
    list channels
    list consumers
    list nope
    show overview rabbitmq_version object_totals.queues
    show nope
    nope
    export defs.json
    import defs.json
    -V / export defs2.json
    purge queue name=t1
    purge queue name=nope
    delete binding source=e1 destination_type=queue destination=t1 properties_key=k
    delete queue name=t1
    delete queue name=t1
    delete queue name=t2
    delete exchange name=e1
    delete user name=u1
    delete policy name=pp
    delete vhost name=av
    delete parameter component=vhost-limits name=limits
    close connection name=nope
    -u guest -p wrong list queues
    -U http://guest:guest@localhost:1 list queues
    help nope
    list queues --nope
"""
"""From here on to the end nothing is left of it."""
SECOND = {
    "declare queue --name ng1 --type quorum --durable true": "",
    "--vhost / declare exchange --name ngx --type topic": "",
    "declare binding --source ngx --destination-type queue --destination ng1 --routing-key a.#": "",
    "--non-interactive list queues --columns name,type": "ng1 quorum\n",
    "list queues --columns name,type --non-interactive": "ng1 quorum\n",
    "publish message --routing-key a.b --exchange ngx --payload hi --non-interactive": "true\n",
    "get messages --queue ng1 --non-interactive --columns payload,routing_key": "hi a.b\n",
    "health_check local_alarms": "health check passed\n",
    "health_check protocol_listener --protocol amqp --quiet": "",
    "delete binding --source ngx --destination-type queue --destination ng1 --routing-key a.#": "",
    "queues delete --name ng1": "",
    "queues delete --name ng1 --idempotently": "",
    "exchanges delete --name ngx": "",
    "users declare --name ngu --password p --tags monitoring": "",
    "permissions declare --user ngu --configure .* --read .* --write .*": "",
    "permissions delete --username ngu": "",
    "users delete --name ngu": "",
    'policies declare --name np --pattern ^zz --applies-to queues --definition {"max-length":5}': "",
    "list policies --non-interactive": 'np / ^zz queues 0 "max-length": 5\n',
    "policies delete --name np": "",
    "vhosts declare --name ngv --default-queue-type quorum": "",
    "vhosts delete_multiple --name-pattern ^ngv --dry-run --non-interactive": "ngv\n",
    "vhosts delete_multiple --name-pattern ^ngv --approve": "",
    "rebalance queues": "",
}


@pytest.fixture(scope="module")
def http_port(served: Served) -> int:
    line = served.wait_for_log(r"Management plugin: HTTP \(non-TLS\) listener started on port (\d+)")
    return int(re.findall(r"\d+$", line.strip())[0])


def split(line: str) -> list[str]:
    return line.split()


def test_the_classic_one_says_what_it_did(served: Served, http_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def admin(line: str, stdin: str = "") -> tuple[int, str, str]:
        done = served.call("rabbitmqadmin", "-P", str(http_port), *split(line), stdin=stdin)
        return done.returncode, done.stdout, done.stderr

    assert admin("declare queue name=c1 durable=true") == (0, "queue declared\n", "")
    assert admin("publish routing_key=c1 payload=hello") == (0, "Message published\n", "")
    assert admin("publish routing_key=nope payload=x") == (0, "Message published but NOT routed\n", "")
    table = "+------+----------+\n| name | messages |\n+------+----------+\n| c1   | 1        |\n+------+----------+\n"
    assert admin("list queues") == (0, table, "")
    assert admin("-q list queues name -f tsv") == (0, "c1\n", "")
    assert admin("get queue=c1 ackmode=ack_requeue_false payload_file=got.txt")[0] == 0
    assert (tmp_path / "got.txt").read_text() == "hello"
    assert admin("export defs.json") == (0, 'Exported definitions for localhost to "defs.json"\n', "")
    assert [queue["name"] for queue in json.loads((tmp_path / "defs.json").read_text())["queues"]] == ["c1"]
    assert admin("delete queue name=c1") == (0, "queue deleted\n", "")
    assert admin("delete queue name=c1") == (1, "", "*** Not found: /api/queues/%2F/c1\n\n")
    assert admin("import defs.json")[0] == 0
    assert admin("delete queue name=c1")[0] == 0
    assert admin("list queues") == (0, "No items\n", "")
    status, _, err = admin("declare exchange name=e type=nope")
    assert (status, err) == (1, "*** unknown exchange type 'nope'\n\n")
    assert admin("-u guest -p wrong list queues") == (1, "", "*** Access refused: /api/queues?columns=name,messages\n\n")
    assert admin("declare") == (1, "", "\nERROR: Type not specified\n\nrabbitmqadmin --help for help\n\n")


def test_a_configuration_file_says_where(served: Served, http_port: int, tmp_path: Path) -> None:
    file = tmp_path / "admin.conf"
    file.write_text(f"[here]\nhostname = 127.0.0.1\nport = {http_port}\nusername = guest\npassword = guest\n")
    done = served.call("rabbitmqadmin", "-c", str(file), "-N", "here", "list", "users", "name", "-f", "bash")
    assert (done.returncode, done.stdout) == (0, "guest\n")
    done = served.call("rabbitmqadmin", "-c", str(file), "-N", "nowhere", "list", "users")
    assert done.returncode == 1 and "Could not read section 'nowhere'" in done.stderr


@pytest.mark.oracle
def test_the_classic_one_says_what_rabbitmqs_script_says(
    served: Served, http_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RabbitMQ's own script and ours, one after the other, against the same broker."""
    script = shutil.which("rabbitmqadmin")
    assert script is not None
    monkeypatch.chdir(tmp_path)
    told: list[list[tuple[str, int, str, str]]] = []
    for command in ([sys.executable, script], None):
        told.append([])
        for line in CLASSIC.strip().splitlines():
            words = ["-P", str(http_port), *split(line)]
            if command is not None:
                done = subprocess.run([*command, *words], capture_output=True, text=True, check=False, timeout=30)
            else:
                done = served.call("rabbitmqadmin", *words)
            told[-1].append((line.strip(), done.returncode, done.stdout, _without_tracebacks(done.stderr)))
    theirs, ours = told
    assert ours == theirs


def _without_tracebacks(text: str) -> str:
    """The script shows one where it can't connect."""
    return text[text.index("***") :] if text.startswith("Traceback") and "***" in text else text


def test_the_second_one(served: Served, http_port: int) -> None:
    for line, out in SECOND.items():
        done = served.call("rabbitmqadmin", "--port", str(http_port), *split(line))
        shown = "".join(f"{printed.rstrip()}\n" for printed in done.stdout.splitlines())
        assert (done.returncode, shown, done.stderr) == (0, out, ""), line


def test_the_second_one_has_tables_and_exit_statuses(served: Served, http_port: int, tmp_path: Path) -> None:
    def admin(*words: str) -> tuple[int, str, str]:
        done = served.call("rabbitmqadmin", "--port", str(http_port), *words)
        return done.returncode, done.stdout, done.stderr

    assert admin("vhosts", "list", "--columns", "name")[1].startswith("┌──────┐\n│ name │\n├──────┤\n│ /    │\n└──────┘")
    assert admin("queues", "delete", "--name", "nope") == (65, "", "API responded with a 404 Not Found\n")
    status, out, _ = admin("health_check", "port_listener", "--port", "1")
    assert status == 69 and "health check failed" in out
    assert admin("declare", "queue", "--name")[0] == 2
    assert admin("declare", "queue", "--nope", "x")[0] == 2
    assert admin("declare", "binding", "--source", "x")[0] == 2
    assert admin("declare", "queue", "--name", "q", "--durable", "perhaps")[0] == 64
    assert admin("foo", "bar") == (1, "", "\nERROR: Action foo not understood\n\nrabbitmqadmin --help for help\n\n")
    assert admin("--non-interactive", "foo", "bar")[0] == 2
    assert admin("--username", "guest", "--password", "wrong", "users", "list")[0] == 65
    file = tmp_path / "defs.json"
    assert admin("definitions", "export", "--file", str(file)) == (0, "", "")
    assert file.stat().st_mode & 0o777 == 0o600
    assert admin("definitions", "import", "--file", str(file)) == (0, "", "")


@pytest.mark.parametrize(
    ("line", "second"),
    [
        ("list queues", False),
        ("-H localhost -P 1 -u a -p b list queues name", False),
        ("declare queue name=x", False),
        ("declare queue --name x", True),
        ("--host h --port 1 declare queue --name=x", True),
        ("--non-interactive list queues", True),
        ("list feature_flags", True),
        ("show overview", False),
        ("show churn", True),
        ("health_check local_alarms", True),
        ("publish routing_key=x payload=y", False),
        ("publish message --routing-key x", True),
        ("get queue=x --vhost v", False),
        ("export file.json", False),
        ("export definitions --file x", True),
        ("help subcommands", False),
        ("--help", False),
        ("", False),
    ],
)
def test_which_of_the_two_is_meant(line: str, second: bool) -> None:
    assert is_second(line.split()) is second
