"""The files of docker/ by themselves: what the Dockerfile says, and what Grafana and Prometheus are given."""

import json
import re
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from broker.config import AMQP_PORT, MANAGEMENT_PORT, PROMETHEUS_PORT
from tests.docker.engine import ROOT
from tests.oracle.leveret import Leveret

DOCKER = ROOT / "docker"
DOCKERFILE = re.sub(r"\\\n", " ", (DOCKER / "Dockerfile").read_text())
DASHBOARDS = sorted((DOCKER / "grafana" / "dashboards").glob("*.json"))


def instructions(name: str) -> list[str]:
    """What stands behind an instruction, wherever it is used."""
    return re.findall(rf"^{name} +(.*)$", DOCKERFILE, flags=re.MULTILINE)


def test_amqp_is_the_first_port_that_is_exposed() -> None:
    assert [int(port) for port in instructions("EXPOSE")[0].split()] == [AMQP_PORT, MANAGEMENT_PORT, PROMETHEUS_PORT]


def test_docker_signals_the_broker_and_no_shell() -> None:
    (entrypoint,), (command,) = instructions("ENTRYPOINT"), instructions("CMD")
    assert json.loads(entrypoint) == ["tini", "--", "docker-entrypoint.sh"]
    assert json.loads(command) == ["rabbitmq-server"]
    assert instructions("VOLUME") == ["/var/lib/rabbitmq"]
    assert instructions("HEALTHCHECK")[0].endswith('CMD ["rabbitmq-diagnostics", "-q", "ping"]')


def test_what_is_copied_is_let_in_by_dockerignore() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored, "nothing but what is named"
    needed = [DOCKER, *(ROOT / name for name in ("leveret", "protocol", "storage", "broker", "pyproject.toml", "hatch_build.py"))]
    assert {f"!{each.name}" for each in needed} <= set(ignored)
    for copied in instructions("COPY"):
        source = copied.split()[-2]
        assert source.startswith("/") or (ROOT / source).exists(), copied


@pytest.mark.parametrize("script", ["build.sh", "entrypoint.sh"])
def test_scripts_can_be_run(script: str) -> None:
    assert (DOCKER / script).stat().st_mode & 0o111


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_a_dashboard_has_a_title_for_each_panel_and_a_place_of_its_own(path: Path) -> None:
    panels: list[dict[str, Any]] = json.loads(path.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["title"] and panel["targets"] for panel in panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_what_the_dashboards_ask_for_is_there() -> None:
    asked = {name for path in DASHBOARDS for name in re.findall(r"rabbitmq_\w+", path.read_text())}
    assert len(asked) > 20
    with Leveret() as broker:
        (port,) = re.findall(r"Prometheus metrics: HTTP \(non-TLS\) listener started on port (\d+)", broker.log)
        with urllib.request.urlopen(f"http://{broker.host}:{port}/metrics", timeout=20) as answer:
            text = answer.read().decode()
    assert not asked - set(re.findall(r"^(\w+)", text, flags=re.MULTILINE))
