"""`--broker leveret|rabbitmq`: the broker that conformance and client tests run against, one for the whole session."""

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.oracle.leveret import Leveret
from tests.oracle.rabbitmq import RabbitMQ
from tests.spec import Broker


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--broker", choices=("leveret", "rabbitmq"), default="leveret", help="the broker to test (RabbitMQ is the oracle)")
    parser.addoption("--broker-testing", action="store_true", help="serve Leveret with --testing, which no client must notice")
    parser.addoption("--broker-memory", action="store_true", help="serve Leveret from memory and not from a directory")


def pytest_configure(config: pytest.Config) -> None:
    Leveret.is_testing = config.getoption("--broker-testing")
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # `timeout` ends a run like Ctrl-C: the broker is stopped with it
        if hasattr(config, "workerinput"):
            signal.signal(signal.SIGINT, signal.default_int_handler)  # pytest-xdist's processes wait for the end of their tests otherwise
    config.addinivalue_line("markers", "spec(line, sentence): the line of the contract that the test checks")
    config.addinivalue_line("markers", "differs(rabbitmq, why, skip): the oracle, an older RabbitMQ, answers differently")
    config.addinivalue_line("markers", "slow: takes seconds and much memory; left out with -m 'not slow'")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    oracle = config.getoption("--broker") == "rabbitmq"
    for item in items:
        for mark in item.iter_markers("spec"):
            item.user_properties.append(("contract", mark.args[0]))
        mark = item.get_closest_marker("differs")
        if oracle and mark is not None and mark.kwargs["skip"]:
            item.add_marker(pytest.mark.skip(reason=f"RabbitMQ {mark.kwargs['rabbitmq']} differs: {mark.kwargs['why']}"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """What the oracle could not be asked, by name: a skip must not go unseen."""
    if config.getoption("--broker") != "rabbitmq":
        return
    skipped = terminalreporter.stats.get("skipped", [])
    terminalreporter.section(f"not asked of RabbitMQ: {len(skipped)}")
    for report in skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        terminalreporter.line(f"{report.nodeid}: {reason}")


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    chosen: RabbitMQ | Leveret
    if request.config.getoption("--broker") == "rabbitmq":
        chosen = RabbitMQ()
    else:
        directory: Path | None = None if request.config.getoption("--broker-memory") else tmp_path_factory.mktemp("leveret-data")
        chosen = Leveret(directory)
    with chosen:
        yield chosen
