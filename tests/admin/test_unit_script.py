"""/cli/rabbitmqadmin: one file that runs by itself, somewhere else."""

import os
import subprocess
import sys
from pathlib import Path

from broker.admin.resources import script
from tests.admin.served import Served


def test_it_runs_where_there_is_nothing_but_python(shared: Served, vhost: str, tmp_path: Path) -> None:
    with shared.api() as api:
        answer = api.ask("GET", "/cli/rabbitmqadmin")
        assert (answer.status, answer.headers["content-type"]) == (200, "application/octet-stream")
        (tmp_path / "rabbitmqadmin").write_bytes(answer.body)
        (tmp_path / "rabbitmqadmin").chmod(0o755)
        page = api.ask("GET", "/cli/index.html")
        assert f"http://{shared.host}:{shared.http_port}/cli/rabbitmqadmin" in page.body.decode()

    def run(*words: str) -> str:
        command = [sys.executable, "-I", "rabbitmqadmin", "-P", str(shared.http_port), "-V", vhost, *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=20, env={"PATH": os.environ["PATH"]})
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    assert run("declare", "queue", "name=from-afar", "durable=true") == "queue declared\n"
    assert run("--format", "tsv", "list", "queues", "name").split() == ["name", "from-afar"]
    assert run("declare", "queue", "--name", "second-tongue", "--type", "classic") == ""
    assert subprocess.run(["./rabbitmqadmin", "--version"], cwd=tmp_path, capture_output=True, timeout=20).returncode == 0


def test_it_has_all_that_it_imports_and_no_more() -> None:
    code = "import sys, broker.cli.ctl.admin_classic, broker.cli.ctl.admin_second; print(*[m for m in sys.modules if m[:6] == 'broker'])"
    found = subprocess.run([sys.executable, "-c", code], cwd=script._ROOT, capture_output=True, text=True, timeout=20)
    assert sorted({*found.stdout.split(), "broker.cli.ctl.admin"}) == sorted(script.MODULES)


def test_where_rabbitmqs_pages_were(shared: Served) -> None:
    with shared.api() as api:
        for path, location in (("/cli", "/cli/index.html"), ("/cli/", "/cli/index.html"), ("/mgmt", "/")):
            answer = api.ask("GET", path)
            assert (answer.status, answer.headers["location"]) == (301, location)
