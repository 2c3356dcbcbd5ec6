"""What a conformance test says about itself: which line of the contract it checks, and where the oracle answers differently."""

from typing import Any, Protocol, TypeVar

import pytest

T = TypeVar("T")


class Broker(Protocol):
    """The broker under test, whichever it is."""

    name: str
    host: str
    port: int
    restartable: bool

    @property
    def log(self) -> str: ...


def spec(line: str, sentence: str = "") -> Any:
    """The line of the contract (its number) that the test checks, and the sentence if the name of the test doesn't say it all."""
    return pytest.mark.spec(line, sentence)


def differs(*, rabbitmq: str, why: str, skip: bool = False) -> Any:
    """On the oracle (this version of RabbitMQ) the answer is another one.

    The test asserts both values with `expect_on`; with `skip` it isn't run there, and is listed at the end.
    """
    return pytest.mark.differs(rabbitmq=rabbitmq, why=why, skip=skip)


def expect_on(broker: Broker, *, leveret: T, rabbitmq: T) -> T:
    """The value that this broker must give."""
    return rabbitmq if broker.name == "rabbitmq" else leveret
