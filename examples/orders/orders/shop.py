"""The shop: publishes orders, and knows that the broker has them."""

import json

import pika

from orders import topology


class Shop:
    """One connection of its own."""

    def __init__(self, parameters: pika.ConnectionParameters) -> None:
        self._connection = pika.BlockingConnection(parameters)
        self._channel = self._connection.channel()
        self._channel.confirm_delivery()
        topology.declare(self._channel)

    def order(self, order_id: str, amount: int, kind: str = "new") -> None:
        """Place an order. Raises pika's UnroutableError if no queue takes it, NackError if the broker doesn't: then there is no order."""
        properties = pika.BasicProperties(delivery_mode=2, message_id=order_id, content_type="application/json")
        body = json.dumps({"id": order_id, "amount": amount}).encode()
        self._channel.basic_publish(topology.EXCHANGE, f"order.{kind}", body, properties, mandatory=True)

    def close(self) -> None:
        """Leave."""
        self._connection.close()
