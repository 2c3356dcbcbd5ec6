"""One engine for all tests of the image, and one image."""

from collections.abc import Callable, Iterator

import pytest

from tests.docker import stand_ins
from tests.docker.engine import ROOT, Container, Engine

IMAGE = "leveret:test"
Run = Callable[..., Container]


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    with Engine() as engine:
        yield engine


@pytest.fixture(scope="session")
def image(engine: Engine) -> str:
    """What `docker build -f docker/Dockerfile .` makes of this tree."""
    stand_ins.make(engine)
    engine.build(IMAGE, ROOT, "docker/Dockerfile")
    return IMAGE


@pytest.fixture
def run(engine: Engine, image: str) -> Iterator[Run]:
    """`run("--volume=...", command=("bash", "-c", "..."))` starts a container."""
    containers: list[Container] = []

    def run_one(*options: str, command: tuple[str, ...] = ()) -> Container:
        containers.append(engine.container(image, *command, options=options))
        return containers[-1]

    yield run_one
    for container in containers:
        container.__exit__()
