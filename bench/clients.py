"""Clients as people use them: `python -m bench.clients NAME PORT MESSAGES` prints `rate=...`, messages a second there and back.

What is measured is mostly the client: that is what an application sees.
"""

import asyncio
import sys
import time

import aio_pika
import pika

QUEUE = "bench-clients"
BODY = b"x" * 100
WINDOW = 100
"""Confirms that aio-pika waits for at a time."""


def with_pika(port: int, messages: int) -> float:
    """Publish each with a confirm, then consume with an ack each."""
    with pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare(QUEUE, durable=True)
        channel.basic_qos(prefetch_count=100)
        begin = time.perf_counter()
        for number in range(messages):
            channel.basic_publish("", QUEUE, BODY, pika.BasicProperties(delivery_mode=2, message_id=str(number)), mandatory=True)
        for seen, (method, _, _) in enumerate(channel.consume(QUEUE), start=1):
            channel.basic_ack(method.delivery_tag)
            if seen == messages:
                break
        channel.cancel()
        seconds = time.perf_counter() - begin
        channel.queue_delete(QUEUE)
    return messages / seconds


async def with_aio_pika(port: int, messages: int) -> float:
    """Publish with confirms, a hundred at a time, while a consumer acks each."""
    connection = await aio_pika.connect(f"amqp://guest:guest@127.0.0.1:{port}/")
    async with connection:
        channel = await connection.channel(publisher_confirms=True)
        await channel.set_qos(prefetch_count=100)
        queue = await channel.declare_queue(QUEUE, durable=True)
        left, done = messages, asyncio.Event()

        async def consume(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            nonlocal left
            await message.ack()
            left -= 1
            if not left:
                done.set()

        await queue.consume(consume)
        begin = time.perf_counter()
        for first in range(0, messages, WINDOW):
            await asyncio.gather(
                *(
                    channel.default_exchange.publish(
                        aio_pika.Message(BODY, message_id=str(number), delivery_mode=aio_pika.DeliveryMode.PERSISTENT), QUEUE
                    )
                    for number in range(first, min(first + WINDOW, messages))
                )
            )
        await done.wait()
        seconds = time.perf_counter() - begin
        await queue.delete(if_unused=False, if_empty=False)
    return messages / seconds


if __name__ == "__main__":
    name, port, messages = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    print(f"rate={with_pika(port, messages) if name == 'pika' else asyncio.run(with_aio_pika(port, messages)):.0f}")
