"""A broker for tests as a program starts it: `with Supervised() as broker: broker.ask("GET", "")`."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from tests.admin.client import Http
from tests.house.conftest import ROOT, clean_environment

ROOT_PATH = "/api/leveret/testing"
STOP_SECONDS = 20.0


class Supervised:
    """One process of `leveret serve --testing --supervised`, in memory unless there is a directory; `port` is that of AMQP, and `ask`
    speaks HTTP with the token. After `kill` or `stop`, `start` serves the same directory on the same ports. `variables` are those of
    its environment."""

    name = "leveret"
    host = "127.0.0.1"

    def __init__(self, data_dir: Path | None = None, *, seed: int = 7, arguments: tuple[str, ...] = (), **variables: str) -> None:
        self.data_dir = data_dir
        self.seed = seed
        self.arguments = arguments
        self.variables = variables
        self.port = self.http_port = 0
        self.process: subprocess.Popen[str]
        self.card: dict[str, Any] = {}
        self._log = tempfile.NamedTemporaryFile(prefix="leveret-", suffix=".log")  # noqa: SIM115 - closed with the broker
        self.http: Http

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()
        self._log.close()

    def start(self) -> None:
        storage = ["--memory"] if self.data_dir is None else ["--data-dir", str(self.data_dir)]
        ports = ["--host", self.host, "--port", str(self.port), "--http-port", str(self.http_port)]
        command = [sys.executable, "-m", "leveret", "serve", "--testing", "--supervised", "--seed", str(self.seed), *storage, *ports]
        self.process = subprocess.Popen(
            [*command, "--log-file", self._log.name, *self.arguments],
            cwd=ROOT,
            env=clean_environment(**self.variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.card = json.loads(
            next((line for line in self.process.stdout if line.startswith("{")), "") or f'{{"log": {json.dumps(self.log)}}}'
        )
        self.port = self.port_of("amqp")
        self.http_port = self.port_of("http")
        self.http = Http(self.host, self.http_port)

    @property
    def log(self) -> str:
        """All that was logged so far."""
        return Path(self._log.name).read_text(encoding="utf-8")

    def port_of(self, protocol: str) -> int:
        """The port of that listener."""
        assert "listeners" in self.card, self.card
        port: int = next(each["port"] for each in self.card["listeners"] if each["protocol"] == protocol)
        return port

    def ask(self, method: str, path: str, body: Any = None, status: int | None = None) -> Any:
        """The JSON of the answer to a request for /api/leveret/testing + `path`; text where it is no JSON, None where it is empty. Fails
        for another status than that one (not given: any of success)."""
        answer = self.http.ask(
            method, ROOT_PATH + path, body, headers={"Authorization": f"Bearer {self.card['token']}"}, credentials=("", "")
        )
        is_wanted = answer.status == status if status is not None else answer.status < 300
        assert is_wanted, f"{method} {path}: {answer.status} {answer.body.decode()}"
        return answer.json if answer.is_json else (answer.body.decode() or None)

    def ask_vhost(self, method: str, vhost: str, path: str, body: Any = None, status: int | None = None) -> Any:
        """The same below /vhosts/{vhost}."""
        return self.ask(method, f"/vhosts/{quote(vhost, safe='')}{path}", body, status)

    def stop(self) -> int:
        """Close its stdin, and return its exit status."""
        self.http.close()
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(STOP_SECONDS)

    def kill(self) -> None:
        """kill -9."""
        self.http.close()
        self.process.kill()
        self.process.wait(STOP_SECONDS)
