"""In place of a container with RabbitMQ, by one line: `from leveret.testcontainers import RabbitMqContainer`."""

from __future__ import annotations

from typing import Any

from leveret.broker import Broker


class RabbitMqContainer(Broker):
    """A Broker that takes what testcontainers' class of that name takes. There is no image, so which is ignored (a version like 4.x is
    asked for with `compat`), and `port` is that within the container: outside of it is a free one, `get_exposed_port(5672)`."""

    def __init__(
        self,
        image: str = "rabbitmq:latest",
        port: int | None = None,
        username: str | None = None,
        password: str | None = None,
        vhost: str | None = None,
        **options: Any,
    ) -> None:
        """`options` are keywords of Broker."""
        names = {"default_user": username, "default_pass": password, "default_vhost": vhost}
        config = {name: value for name, value in names.items() if value is not None}
        if config:
            options["config"] = {**(options.get("config") or {}), **config}
        super().__init__(**options)
        self._image = image
