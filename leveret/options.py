"""What a broker of one's own is started with, as the command line, the environment and the configuration file of its process."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypedDict, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

HOST: Final = "127.0.0.1"
TLS_HOST: Final = "localhost"
"""Whom certificates are made out to."""
SEED_BITS: Final = 32
SEED_MAX: Final = 2**63 - 1
PORT_MAX: Final = 65535
PATH: TypeAlias = "str | os.PathLike[str]"
STRIPPED: Final = (
    "LEVERET_", "RABBITMQ_",
    # A service manager's words to the tests' own process.
    "NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_",
    # What would measure, or stop in, the program under test.
    "COVERAGE_PROCESS", "COV_CORE_", "PYTEST_", "PYTHONASYNCIODEBUG", "PYTHONBREAKPOINT", "PYTHONDEVMODE", "PYTHONDUMP",
    "PYTHONFAULTHANDLER", "PYTHONINSPECT", "PYTHONMALLOC", "PYTHONOPTIMIZE", "PYTHONPERFSUPPORT", "PYTHONPROFILEIMPORTTIME",
    "PYTHONTRACEMALLOC", "PYTHONVERBOSE", "PYTHONWARNINGS",
)  # fmt: skip
"""Variables that begin so are about something else than the broker. PYTHONPATH and the like stay: it may be found by them."""
KEPT: Final = "LEVERET_RUNTIME_DIR"
"""Where the user's own commands (`leveret top`) look for brokers."""
CERTIFICATE: Final = ("certfile", "keyfile", "cacertfile")
MADE: Final = ("server.pem", "server.key", "ca.pem")
"""These files, where they are made."""
_KEY: Final = re.compile(r"[^\s=#'\"$]+")


class Tls(TypedDict, total=False):
    """Files in PEM: the server's certificate (with those between it and its authority), its key, and the authority that clients are to
    trust. `host` is whom the certificate is made out to, if not to localhost: clients connect to that name."""

    certfile: PATH
    keyfile: PATH
    cacertfile: PATH
    host: str


class Unusable(ValueError):
    """An option can't be used; the text says which, and what was expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What Broker takes."""

    data_dir: PATH | bool | None = None
    port: int = 0
    tls: Tls | bool = False
    config: Mapping[str, Any] | PATH | None = None
    compat: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises Unusable."""
        for name, number, most in (("port", self.port, PORT_MAX), ("seed", self.seed, SEED_MAX)):
            if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= most:
                raise Unusable(f"{name}: expected a whole number from 0 to {most}, not {number!r}")

    @property
    def host(self) -> str:
        """Where clients connect to."""
        if isinstance(self.tls, bool):
            return TLS_HOST if self.tls else HOST
        return self.tls.get("host", TLS_HOST)

    @property
    def is_tls(self) -> bool:
        """AMQP is served over TLS, and nothing else."""
        return self.tls is not False

    def cafile(self, directory: str | None) -> str | None:
        """Whom clients have to trust, if that is known."""
        path = self._certificate(directory).get("cacertfile")
        return None if path is None else os.fspath(path)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The keys that were given as such."""
        return {} if self.config is None or isinstance(self.config, (str, os.PathLike)) else self.config

    def command(self, directory: str, port: int, http_port: int) -> list[str]:
        """The command line of a broker whose files lie in `directory`, which must hold what `write` writes."""
        # The file, and not `-m leveret`: this very package, whatever a folder called leveret may lie in the working directory.
        launcher = os.path.join(os.path.dirname(os.path.abspath(__file__)), "__main__.py")
        command = [sys.executable, "-P", launcher, "serve", "--testing", "--supervised", "--seed", str(self.seed)]
        command += ["--http-port", str(http_port), "--log-file", log_of(directory), "--config", self._config_file(directory)]
        if not self.is_tls:
            command += ["--host", HOST, "--port", str(port)]
        place = self._data_dir(directory)
        return [*command, "--memory"] if place is None else [*command, "--data-dir", place]

    def environment(self, environ: Mapping[str, str], directory: str, port: int) -> dict[str, str]:
        """The variables of its process: the user's, without those that would configure it."""
        kept = {name: value for name, value in environ.items() if name == KEPT or not name.upper().startswith(STRIPPED)}
        kept["PYTHONHASHSEED"] = "0"  # sets have the same order each time
        if self.compat is not None:
            kept["LEVERET_COMPAT"] = self.compat
        if self.is_tls:
            kept["LEVERET_LISTENERS_TCP"] = "none"
            kept["LEVERET_LISTENERS_SSL_DEFAULT"] = str(port)
            for name, path in self._certificate(directory).items():
                if name in CERTIFICATE:
                    kept[f"LEVERET_SSL_OPTIONS_{name.upper()}"] = os.path.abspath(cast("PATH", path))
        return kept

    def write(self, directory: str) -> None:
        """Write the configuration file and the certificate, if there are to be any. Raises Unusable."""
        if self.settings:
            lines = [_line(key, value) for key, value in self.settings.items()]
            with open(_own_config(directory), "w", encoding="utf-8") as file:
                file.write("\n".join(lines) + "\n")
        if self.tls is True and not os.path.exists(os.path.join(directory, MADE[-1])):
            _make_certificate(*(os.path.join(directory, name) for name in MADE))

    def _certificate(self, directory: str | None) -> Tls:
        if not isinstance(self.tls, bool):
            return self.tls
        if not self.tls or directory is None:
            return {}
        certfile, keyfile, cacertfile = (os.path.join(directory, name) for name in MADE)
        return {"certfile": certfile, "keyfile": keyfile, "cacertfile": cacertfile}

    def _config_file(self, directory: str) -> str:
        if isinstance(self.config, (str, os.PathLike)):
            return os.path.abspath(self.config)
        # Naming one keeps those of the system (/etc/rabbitmq) out.
        return _own_config(directory) if self.settings else os.devnull

    def _data_dir(self, directory: str) -> str | None:
        if isinstance(self.data_dir, bool) or self.data_dir is None:
            return os.path.join(directory, "data") if self.data_dir else None
        return os.path.abspath(self.data_dir)


def log_of(directory: str) -> str:
    """Where a broker logs whose files lie there."""
    return os.path.join(directory, "leveret.log")


def tls_of(tls: object) -> Tls | bool:
    """What was given as `tls`. Raises Unusable."""
    if tls is None or isinstance(tls, bool):
        return bool(tls)
    keys = Tls.__annotations__
    if not isinstance(tls, dict) or "certfile" not in tls or not keys.keys() >= tls.keys():
        raise Unusable(
            "tls: expected True for a certificate that is made for the test, or the files of one: "
            f"{{'certfile': ..., 'keyfile': ..., 'cacertfile': ...}}, and 'host' if it isn't localhost's; not {tls!r}"
        )
    return cast("Tls", tls)


def _own_config(directory: str) -> str:
    return os.path.join(directory, "leveret.conf")


def _line(key: str, value: object) -> str:
    """`key = value` as the file has it. Raises Unusable for what it has no way to say."""
    if not _KEY.fullmatch(key):
        raise Unusable(f"config: '{key}' is no key of rabbitmq.conf")
    if isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, (str, int, float, os.PathLike)):
        text = os.fspath(value) if isinstance(value, os.PathLike) else str(value)
    else:
        raise Unusable(f"config: {key}: expected a string, a number, True or False, not {value!r}")
    if "\n" in text or "\r" in text or ("'" in text and '"' in text):
        raise Unusable(f"config: {key}: a value can't have line breaks, nor both kinds of quotes; name a file as config that has it")
    if text and text == text.strip() and text[0] not in "'\"" and "#" not in text:
        return f"{key} = {text}"
    quote = '"' if "'" in text else "'"
    return f"{key} = {quote}{text}{quote}"


def _make_certificate(certfile: str, keyfile: str, cacertfile: str) -> None:
    """A certificate for this machine, of an authority that nobody else has. Raises Unusable: the standard library has nothing for it."""
    try:
        import trustme
    except ImportError:
        advice = "install that (pip install trustme), or give files of your own: tls={'certfile': ..., 'keyfile': ..., 'cacertfile': ...}"
        raise Unusable(f"tls=True has a certificate made by trustme, which isn't there: {advice}") from None
    authority = trustme.CA()
    server = authority.issue_cert(TLS_HOST, "127.0.0.1", "::1")
    server.private_key_pem.write_to_path(keyfile)
    for number, part in enumerate(server.cert_chain_pems):
        part.write_to_path(certfile, append=number > 0)
    authority.cert_pem.write_to_path(cacertfile)
