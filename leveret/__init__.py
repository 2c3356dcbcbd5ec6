"""Leveret, a message broker that speaks AMQP 0-9-1 as RabbitMQ does. Run it with `leveret serve`, or in a program:

    with leveret.Broker() as broker:
        connection = pika.BlockingConnection(broker.pika_parameters())

`Broker` is a broker to test against; `AsyncBroker` has the same methods as coroutines. Nothing of either is imported before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leveret.asynchronous import AsyncBroker as AsyncBroker
    from leveret.broker import Broker as Broker
    from leveret.errors import BrokerGone as BrokerGone
    from leveret.errors import CannotStart as CannotStart
    from leveret.errors import LeveretError as LeveretError
    from leveret.errors import NotInTime as NotInTime
    from leveret.errors import Refused as Refused

__version__ = "0.1.0"
__all__ = ["AsyncBroker", "Broker", "BrokerGone", "CannotStart", "LeveretError", "NotInTime", "Refused", "__version__"]

_MODULES = {"Broker": "broker", "AsyncBroker": "asynchronous"}


def __getattr__(name: str) -> Any:
    """What is imported when it is used (PEP 562)."""
    if name in __all__:
        import importlib

        return getattr(importlib.import_module(f"leveret.{_MODULES.get(name, 'errors')}"), name)
    raise AttributeError(f"module 'leveret' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
