"""The worker: charges each order once, tries again what failed, and puts aside what always fails."""

import json

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPConnectionError
from pika.spec import Basic, BasicProperties

from orders import topology
from orders.accounts import Accounts

ATTEMPTS = 3


class Worker:
    """`run` works until `stop`, which another thread may call."""

    auto_ack = False

    def __init__(self, parameters: pika.ConnectionParameters, accounts: Accounts) -> None:
        self._parameters = parameters
        self.accounts = accounts
        self._connection: pika.BlockingConnection | None = None
        self._is_stopping = False

    def run(self) -> None:
        """Work, and connect again when the connection is lost."""
        while not self._is_stopping:
            try:
                with pika.BlockingConnection(self._parameters) as self._connection:
                    self._consume(self._connection.channel())
            except AMQPConnectionError:
                continue

    def _consume(self, channel: BlockingChannel) -> None:
        topology.declare(channel)
        channel.basic_qos(prefetch_count=1)
        for method, properties, body in channel.consume(topology.QUEUE, auto_ack=self.auto_ack, inactivity_timeout=0.05):
            if method is not None:
                self.work(channel, method, properties, body)
            if self._is_stopping:
                return

    def work(self, channel: BlockingChannel, method: Basic.Deliver, properties: BasicProperties, body: bytes) -> None:
        """One delivery."""
        try:
            self.handle(json.loads(body))
        except ValueError:
            self.failed(channel, method, properties, body)
        else:
            if not self.auto_ack:
                channel.basic_ack(method.delivery_tag)

    def handle(self, order: dict) -> None:
        """Charge an order, unless that was done: it may come again. Raises ValueError."""
        if not self.accounts.has(order["id"]):
            self.accounts.charge(order["id"], order["amount"])

    def failed(self, channel: BlockingChannel, method: Basic.Deliver, properties: BasicProperties, body: bytes) -> None:
        """Try again later, or put it aside."""
        if attempts(properties) < ATTEMPTS:
            channel.basic_reject(method.delivery_tag, requeue=False)
        else:
            channel.basic_publish("", topology.FAILED_QUEUE, body, properties)
            channel.basic_ack(method.delivery_tag)

    def stop(self) -> None:
        """Have `run` return soon."""
        self._is_stopping = True


def attempts(properties: BasicProperties) -> int:
    """How often an order was tried, this time included: the broker counts how often it was rejected."""
    deaths = (properties.headers or {}).get("x-death", [])
    return 1 + sum(death["count"] for death in deaths if death["queue"] == topology.QUEUE)
