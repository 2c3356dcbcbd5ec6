"""Leveret, a message broker that speaks AMQP 0-9-1 as RabbitMQ does. Run it with `leveret serve`."""

__version__ = "0.1.0"
