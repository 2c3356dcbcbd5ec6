"""What the commands print: transcript.txt, against Leveret, and against the RabbitMQ whose words they are."""

from collections.abc import Iterator

import pytest

from tests.cli import transcript
from tests.cli.conftest import Served
from tests.oracle.rabbitmq import RabbitMQ

SECTIONS = transcript.read()


@pytest.mark.parametrize("section", SECTIONS)
def test_leveret_says_it(served: Served, section: str) -> None:
    for expected, went in transcript.play(SECTIONS[section], served.call, served.node):
        assert str(went) == str(expected)


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[RabbitMQ]:
    with RabbitMQ() as broker:
        yield broker


@pytest.mark.oracle
@pytest.mark.parametrize("section", SECTIONS)
def test_rabbitmq_says_it(rabbitmq: RabbitMQ, section: str) -> None:
    for expected, went in transcript.play(SECTIONS[section], rabbitmq.tool, rabbitmq.node):
        if expected.differs is None:
            assert str(went) == str(expected)
        else:
            assert str(went) != str(expected), f"there is no difference any more: {expected.differs}"
