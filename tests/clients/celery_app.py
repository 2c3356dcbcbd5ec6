"""The Celery application of test_celery.py: read by the worker's process and by the test's."""

import os
import time

from celery import Celery
from celery.exceptions import Reject
from kombu import Exchange, Queue

QUEUE = os.environ.get("LEVERET_TEST_QUEUE", "celery")
DELAYED = os.environ.get("LEVERET_TEST_DELAYED", "")
"""The type of the queues for native delayed delivery, which quorum queues turn on; empty: without it, on a classic queue."""

app = Celery("leveret_tests", broker=os.environ.get("LEVERET_TEST_URL"), backend="rpc://")
app.conf.update(
    task_queues=[Queue(QUEUE, Exchange(QUEUE, type="topic"), routing_key=QUEUE, queue_arguments={"x-queue-type": "quorum"})]
    if DELAYED
    else [Queue(QUEUE)],
    task_default_routing_key=QUEUE,
    task_default_exchange_type="topic" if DELAYED else "direct",
    broker_native_delayed_delivery_queue_type=DELAYED or "quorum",
    task_default_queue=QUEUE,
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    result_expires=60,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"confirm_publish": True},
)
_tried: set[str] = set()


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task(bind=True, max_retries=3)
def fails_once(self, key: str) -> str:  # type: ignore[no-untyped-def]
    if key not in _tried:
        _tried.add(key)
        raise self.retry(countdown=0)
    return f"{key} at the second try"


@app.task(bind=True, max_retries=3)
def fails_twice(self, key: str) -> int:  # type: ignore[no-untyped-def]
    if self.request.retries < 2:
        raise self.retry(countdown=1)
    return int(self.request.retries)


@app.task
def now() -> float:
    return time.time()


@app.task
def divide(x: int, y: int) -> float:
    return x / y


@app.task
def rejected() -> None:
    raise Reject("not today", requeue=False)
