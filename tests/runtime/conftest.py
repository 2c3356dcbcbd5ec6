"""Brokers of a test's own, each a process: with its directory, its settings, and a look at its log at the end."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.oracle.leveret import Leveret
from tests.runtime.process import assert_nothing_broke

Start = Callable[..., Leveret]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """`start()` serves a directory, `start(memory=True)` memory; settings are those of the configuration file."""
    brokers: list[Leveret] = []

    def start_one(*, memory: bool = False, directory: str = "data", **settings: str) -> Leveret:
        arguments: tuple[str, ...] = ()
        if settings:
            file = tmp_path / f"{len(brokers)}.conf"
            file.write_text("".join(f"{key} = {value}\n" for key, value in settings.items()))
            arguments = ("--config", str(file))
        broker = Leveret(None if memory else tmp_path / directory, arguments=arguments)
        brokers.append(broker)
        broker.start()
        return broker

    yield start_one
    for broker in brokers:
        broker.kill()
    for broker in brokers:
        assert_nothing_broke(broker)


@pytest.fixture
def memory(start: Start) -> Leveret:
    """A broker without a disk."""
    return start(memory=True)


@pytest.fixture
def durable(start: Start) -> Leveret:
    """A broker with a disk."""
    return start()
