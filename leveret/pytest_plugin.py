"""Fixtures for pytest. They are there when Leveret is installed, and start nothing unless a test asks for them.

    leveret           a handle (leveret.Broker) on a vhost and a user of the test's own, which go after it
    leveret_server    the broker that they are in: one process for the whole run, in memory, on a free port; one for each worker of
                      pytest-xdist
    leveret_factory   a function that starts a broker of the test's own: `leveret_factory(data_dir=True)`, with the keywords of Broker
    leveret_options   override it (scope="session") to return keywords of Broker for leveret_server

What is typed (`--leveret-seed`, ...) wins over leveret_options, and that over the ini file (`leveret_seed`, ...). When a test fails that
has used one of them, its report has a section with what the broker saw.

Every run of pytest imports this file, so it imports nothing but what pytest has.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from leveret.broker import Broker

TITLE = "leveret: what the broker saw"
TEMPORARY = "temporary"
"""In place of a data directory: one that is made for the run, and removed."""
CONNECT_SECONDS = 10.0
SEED_BYTES = 4
NOTHING: tuple[Any, ...] = (None, "", [])
"""What versions of pytest return for an option that isn't given."""
NAME_MAX = 60
"""Characters of a test's name that its vhost is called by."""


class Option(NamedTuple):
    """What can be typed as --leveret-NAME, and stand in an ini file as leveret_NAME."""

    name: str
    help: str
    is_flag: bool = False


OPTIONS = (
    Option("data-dir", f"leveret_server keeps messages in this directory ('{TEMPORARY}': one for this run); not given: in memory"),
    Option("config", "leveret_server is configured with this file (rabbitmq.conf)"),
    Option("compat", "leveret_server is this RabbitMQ: 3.13, 4.x"),
    Option("seed", "what is left to chance depends on it: a number"),
    Option("strict", "tests fail that do what breaks on a newer RabbitMQ, or may lose messages", is_flag=True),
    Option("ignore", "but for these findings: their codes, with commas between"),
    Option("url", "leveret_server is the broker whose HTTP API is at this URL, and not started"),
    Option("token", "its testing.token"),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--leveret-...`, and the same as `leveret_...` of the ini file."""
    group = parser.getgroup("leveret", "Leveret, a message broker to test against")
    for name, help_text, is_flag in OPTIONS:
        if is_flag:
            group.addoption(f"--leveret-{name}", dest=_dest(name), help=help_text, action="store_true", default=None)
            parser.addini(_dest(name), help_text, "bool", default=None)
        else:
            group.addoption(f"--leveret-{name}", dest=_dest(name), help=help_text, metavar=name.upper().replace("-", "_"))
            parser.addini(_dest(name), help_text, default=None)


def pytest_configure(config: pytest.Config) -> None:
    """Choose the seed, which all workers of a run share."""
    given = _option(config, "seed")
    told = getattr(config, "workerinput", {}).get("leveret_seed")
    try:
        seed = told if given is None else int(given)
        if seed is not None and seed < 0:
            raise ValueError
    except ValueError:
        raise pytest.UsageError(f"--leveret-seed: expected a number, 0 or more, not '{given}'") from None
    config.stash[SEED] = int.from_bytes(os.urandom(SEED_BYTES), "big") if seed is None else seed


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """pytest-xdist: what a worker is told."""
    node.workerinput["leveret_seed"] = node.config.stash[SEED]


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    """The seed of the run, if a test is going to use a broker."""
    wanted = {"leveret_server", "leveret_factory"}
    if not any(wanted.intersection(getattr(item, "fixturenames", ())) for item in items):
        return []
    return [f"leveret: {_seed_text(config.stash[SEED]) if (url := _option(config, 'url')) is None else f'the broker at {url}'}"]


# --- fixtures -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def leveret_options() -> dict[str, Any]:
    """Keywords of leveret.Broker for leveret_server; override it."""
    return {}


@pytest.fixture(scope="session")
def leveret_server(pytestconfig: pytest.Config, leveret_options: dict[str, Any]) -> Iterator[Broker]:
    """The broker of the whole run (of one worker's): a leveret.Broker."""
    broker = _server(pytestconfig, leveret_options)
    if not broker.is_running:
        broker.start()
    yield broker
    # The last test's report comes when all fixtures are over.
    for seen in pytestconfig.stash.get(UNFINISHED, []):
        seen.take_down()
    broker.stop()


@pytest.fixture
def leveret(leveret_server: Broker, request: pytest.FixtureRequest) -> Broker:
    """A vhost and a user of the test's own in leveret_server: a leveret.Broker, with `.url`, `.pika_parameters()` and so on. It goes after
    the test, whatever is connected there."""
    if not leveret_server.is_running:
        leveret_server.start()  # a test has ended it
    sandbox = leveret_server.sandbox(re.sub(r"[^\w.-]+", "-", request.node.name, flags=re.ASCII)[:NAME_MAX].strip("-"))
    _note(request.node, Seen(sandbox, _option(request.config, "url")))
    return sandbox


@pytest.fixture
def leveret_factory(
    pytestconfig: pytest.Config, leveret_options: dict[str, Any], request: pytest.FixtureRequest
) -> Iterator[Callable[..., Broker]]:
    """Starts brokers of the test's own: `leveret_factory(data_dir=True)` is a leveret.Broker that is running, and stopped after the test.
    compat, config, seed, strict and ignore are those of leveret_server if they aren't given."""
    started: list[Seen] = []

    def start(**options: Any) -> Broker:
        from leveret.broker import Broker

        usual = {name: value for name, value in _keywords(pytestconfig, leveret_options).items() if name in OF_THE_RUN}
        started.append(Seen(Broker(**{**usual, **options})))
        _note(request.node, started[-1])
        return started[-1].broker.start()

    yield start
    for seen in started:
        seen.take_down()
        seen.end()


OF_THE_RUN = ("compat", "config", "seed", "strict", "ignore")


# --- what a failed test's report has ----------------------------------------------------------------------------------


class Seen:
    """A handle that a test has used. It runs elsewhere if there is a `url`."""

    def __init__(self, broker: Broker, url: str | None = None) -> None:
        self.broker = broker
        self._head = _seed_text(broker.seed) if url is None else f"the broker at {url}, seed {broker.seed}"
        self._text: str | None = None

    def take_down(self) -> None:
        """Remember what the broker has to say: it is about to end."""
        if self._text is None:
            self._text = self._ask()

    def text(self) -> str:
        """For the report."""
        return self._ask() if self._text is None else self._text

    def findings(self) -> str:
        """What strict tests fail of; empty if there is nothing."""
        try:
            self.broker.check()
        except AssertionError as error:
            return str(error)
        return ""

    def end(self) -> None:
        """Stop it; a sandbox goes."""
        self.broker.stop()

    def _ask(self) -> str:
        try:
            saw = self.broker.report()
        except Exception as error:  # noqa: BLE001 - whatever it is, the test's own failure is what has to be reported
            saw = str(error) or repr(error)
        return f"{self._head}\n{saw.rstrip()}"


SEED = pytest.StashKey[int]()
SEEN = pytest.StashKey[list[Seen]]()
UNFINISHED = pytest.StashKey[list[Seen]]()


def _note(item: pytest.Item, seen: Seen) -> None:
    item.stash.setdefault(SEEN, []).append(seen)
    item.config.stash.setdefault(UNFINISHED, []).append(seen)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
    """A failed test's report tells what the broker saw. The sandbox goes only now, for a teardown may fail as well."""
    outcome = yield
    used = item.stash.get(SEEN, None)
    if used is None:
        return
    report: pytest.TestReport = outcome.get_result()
    if call.when == "call" and report.passed:
        found = "\n".join(filter(None, (seen.findings() for seen in used)))
        if found:
            report.outcome, report.longrepr = "failed", f"leveret, strict: {found}"
    if report.failed:
        report.sections += [(TITLE, seen.text()) for seen in used]
    if call.when == "teardown":
        del item.stash[SEEN]
        for seen in used:
            item.config.stash[UNFINISHED].remove(seen)
            seen.end()


# --- options ----------------------------------------------------------------------------------------------------------


def _dest(name: str) -> str:
    return f"leveret_{name.replace('-', '_')}"


def _option(config: pytest.Config, name: str) -> Any:
    """What was typed, else what the ini file says; None for neither."""
    typed = config.getoption(_dest(name))
    if typed is not None:
        return typed
    stands = config.getini(_dest(name))
    return None if stands in NOTHING else stands


def _seed_text(seed: int) -> str:
    return f"seed {seed} (to have the same again: --leveret-seed={seed})"


def _keywords(config: pytest.Config, options: dict[str, Any]) -> dict[str, Any]:
    """Those of Broker, from the three places."""
    ini, typed = {}, {}
    for name in ("data_dir", "config", "compat", "seed", "strict", "ignore"):
        typed[name], ini[name] = config.getoption(_dest(name)), config.getini(_dest(name))
        if name in ("data_dir", "config"):
            typed[name], ini[name] = _place(config.invocation_params.dir, typed[name]), _place(config.rootpath, ini[name])
    places = [{name: value for name, value in place.items() if value not in NOTHING} for place in (ini, options, typed)]
    keywords = {"seed": config.stash[SEED], **places[0], **places[1], **places[2]}
    try:
        keywords["seed"] = int(keywords["seed"])
    except (TypeError, ValueError):
        raise pytest.UsageError(f"leveret_options: seed: expected a number, not {keywords['seed']!r}") from None
    if isinstance(keywords.get("ignore"), str):
        keywords["ignore"] = keywords["ignore"].replace(",", " ").split()
    return keywords


def _place(base: Any, path: str | None) -> Any:
    if not path:
        return None
    return True if path == TEMPORARY else os.path.join(base, os.path.expanduser(path))


def _server(config: pytest.Config, options: dict[str, Any]) -> Broker:
    from leveret.broker import Broker

    keywords = _keywords(config, options)
    url = _option(config, "url")
    if url is not None:
        token = _option(config, "token")
        if token is None:
            raise pytest.UsageError("--leveret-url needs --leveret-token: the testing.token of that broker")
        strictness = {name: keywords[name] for name in ("strict", "ignore") if name in keywords}
        return Broker.connect(url, token, timeout=CONNECT_SECONDS, **strictness)
    worker = getattr(config, "workerinput", {}).get("workerid")
    if worker is not None and isinstance(keywords.get("data_dir"), (str, os.PathLike)):
        keywords["data_dir"] = os.path.join(keywords["data_dir"], worker)
    return Broker(**keywords)
