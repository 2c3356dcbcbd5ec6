"""What RabbitMQ tells, recorded: `python -m tests.metrics.recording` asks it again (needs rabbitmq-server).

recorded/rabbitmq-3.10.8.json    endpoint -> family -> [type, label names of its samples]
"""

import json
from pathlib import Path

from tests.metrics.scene import play
from tests.metrics.scraping import Samples, Shape, get, shapes
from tests.metrics.serving import PATHS, ScrapedRabbitMQ
from tests.wire import eventually

RECORDED = Path(__file__).parent / "recorded" / "rabbitmq-3.10.8.json"
Recording = dict[str, dict[str, Shape]]


def load() -> Recording:
    """What was recorded."""
    found = json.loads(RECORDED.read_text())
    return {endpoint: {name: Shape(*shape) for name, shape in families.items()} for endpoint, families in found.items()}


def record(port: int) -> Recording:
    """All endpoints; each is asked twice, for it then tells of the first time as well."""
    for path in PATHS.values():
        get(port, path)
    return {endpoint: shapes(get(port, path).text) for endpoint, path in PATHS.items()}


def ask() -> Recording:
    """RabbitMQ with the scene, once its figures are all there."""
    with ScrapedRabbitMQ() as rabbitmq, play(rabbitmq):

        def is_told() -> bool:
            told = Samples(get(rabbitmq.metrics_port, PATHS["per-object"]).text)
            names = ("queue_messages_unacked", "channel_get_empty_total", "channel_messages_confirmed_total", "connection_channels")
            return all(f"rabbitmq_{name}" in told for name in names) and told["rabbitmq_consumers"] == 1

        eventually(is_told, 20)
        return record(rabbitmq.metrics_port)


def main() -> None:
    endpoints = {
        endpoint: {name: list(shape) for name, shape in sorted(families.items())} for endpoint, families in ask().items()
    }  # fmt: skip
    lines = [
        f'  "{endpoint}": {{\n' + ",\n".join(f'    "{name}": {json.dumps(shape)}' for name, shape in families.items()) + "\n  }"
        for endpoint, families in endpoints.items()
    ]
    RECORDED.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
