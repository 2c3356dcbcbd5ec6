"""A Prometheus that scrapes a broker each second (Debian's package): `with Prometheus(port) as prometheus: prometheus.query("up")`."""

import json
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Self

from tests.oracle.rabbitmq import free_port
from tests.wire import eventually

CONFIGURATION = """
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: rabbitmq
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


class Prometheus:
    """Needs `prometheus` to be installed."""

    def __init__(self, metrics_port: int) -> None:
        self.port = free_port()
        self._metrics_port = metrics_port
        self._home: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        program = shutil.which("prometheus")
        assert program is not None, "apt-get install prometheus"
        home = self._home = Path(tempfile.mkdtemp(prefix="leveret-prometheus-"))
        (home / "prometheus.yml").write_text(CONFIGURATION.format(port=self._metrics_port))
        with (home / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    program,
                    f"--config.file={home / 'prometheus.yml'}",
                    f"--storage.tsdb.path={home / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            eventually(self.has_scraped, 30)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        assert self._process is not None and self._home is not None
        self._process.terminate()
        self._process.wait(30)
        shutil.rmtree(self._home, ignore_errors=True)

    def has_scraped(self) -> bool:
        """Three times at least, so that there are rates."""
        try:
            return bool(self.query("count_over_time(up[1m]) >= 3 and up == 1"))
        except OSError:  # not yet there, or (503) not yet ready
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The vector that an expression gives now. Raises AssertionError with Prometheus's complaint."""
        url = f"http://127.0.0.1:{self.port}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                found: list[dict[str, Any]] = json.load(response)["data"]["result"]
                return found
        except urllib.error.HTTPError as error:
            if error.code == 503:
                raise
            raise AssertionError(f"{expression}: {error.read().decode()}") from None
