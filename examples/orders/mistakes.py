"""Three workers with the mistakes that most consumers have once. Each is found by one of the tests: `pytest --worker mistakes:NAME`."""

from orders.worker import Worker


class AcksTooEarly(Worker):
    """The broker forgets an order as soon as it is sent: what the worker dies over is lost."""

    auto_ack = True


class ChargesAgain(Worker):
    """An order that comes twice is charged twice."""

    def handle(self, order):
        self.accounts.charge(order["id"], order["amount"])


class TriesForEver(Worker):
    """An order that always fails comes back at once, for ever, and all others wait behind it."""

    def failed(self, channel, method, properties, body):
        channel.basic_reject(method.delivery_tag, requeue=True)
