"""What is declared: orders wait in `orders`, those that failed wait in `orders.retry` for half a minute, and after the last attempt in
`orders.failed` for somebody to look at them.

    exchange shop --order.*--> orders --rejected--> orders.retry --30 s later--> orders
                                      --last attempt--> orders.failed
"""

from pika.adapters.blocking_connection import BlockingChannel

EXCHANGE = "shop"
QUEUE = "orders"
RETRY_QUEUE = "orders.retry"
FAILED_QUEUE = "orders.failed"
RETRY_SECONDS = 30


def declare(channel: BlockingChannel) -> None:
    """Declare all of it; what is there already is fine."""
    channel.exchange_declare(EXCHANGE, "topic", durable=True)
    to_retry = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": RETRY_QUEUE}
    back = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": QUEUE, "x-message-ttl": RETRY_SECONDS * 1000}
    channel.queue_declare(QUEUE, durable=True, arguments=to_retry)
    channel.queue_declare(RETRY_QUEUE, durable=True, arguments=back)
    channel.queue_declare(FAILED_QUEUE, durable=True)
    channel.queue_bind(QUEUE, EXCHANGE, "order.*")
