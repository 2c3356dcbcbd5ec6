"""Who tells all this, which dashboards join everything with; and how many objects of each kind there are."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Final

from broker import identity
from broker.admin.shapes.node import ERLANG_VERSION
from broker.metrics.scrape import Group
from broker.metrics.text import GAUGE, NO_LABELS, UNTYPED, Family, labels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.metrics.scrape import Row, Scrape
    from broker.node import Node

PROMETHEUS_CLIENT_VERSION: Final = "4.11.0"
"""Of Erlang's library, in RabbitMQ 3.13."""


def _totals(scrape: Scrape) -> Iterator[Row | None]:
    broker = scrape.broker
    consumers = 0
    for channel in scrape.channels():
        consumers += len(channel.consumers) + (channel.reply_consumer is not None)
        yield None
    queues = sum(len(vhost.declared_queues) for vhost in broker.vhosts.values())
    yield NO_LABELS, (broker.connections, broker.channels, consumers, queues)


TOTALS: Final = Group(
    "totals",
    (
        Family("connections", GAUGE, "Connections currently open"),
        Family("channels", GAUGE, "Channels currently open"),
        Family("consumers", GAUGE, "Consumers currently connected"),
        Family("queues", GAUGE, "Queues available"),
    ),
    _totals,
)


def _build(scrape: Scrape) -> Iterator[Row]:
    version = scrape.node.version
    yield (
        labels(
            rabbitmq_version=version,
            prometheus_plugin_version=version,
            prometheus_client_version=PROMETHEUS_CLIENT_VERSION,
            erlang_version=ERLANG_VERSION,
            product_version=identity.LEVERET_VERSION,
            product_name=identity.LEVERET_NAME,
        ),
        (1,),
    )


BUILD: Final = Group("build", (Family("build_info", UNTYPED, "Versions"),), _build)


def permanent_id(node: Node) -> str:
    """What names this cluster for as long as its data is there: made of where it lies."""
    given = node.broker.global_parameters.get("internal_cluster_id")
    if isinstance(given, str):
        return given
    digest = hashlib.sha256(f"{node.name}\n{node.config.data_dir}".encode("utf-8", "surrogateescape")).digest()
    return f"rabbitmq-cluster-id-{base64.urlsafe_b64encode(digest[:16]).decode().rstrip('=')}"


def identity_of(endpoint: str) -> Group:
    """RabbitMQ 4 tells as well by which endpoint the samples came, and its dashboards ask for it."""

    def rows(scrape: Scrape) -> Iterator[Row]:
        node = scrape.node
        yield (
            labels(
                rabbitmq_node=node.name,
                rabbitmq_cluster=node.cluster_name,
                rabbitmq_cluster_permanent_id=permanent_id(node),
                rabbitmq_endpoint=endpoint,
            ),
            (1,),
        )

    return Group("identity", (Family("identity_info", UNTYPED, "RabbitMQ node & cluster identity info"),), rows)
