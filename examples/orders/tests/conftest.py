"""Fixtures: a shop and workers on the broker of each test."""

import importlib
import threading

import pytest
from orders.accounts import Accounts
from orders.shop import Shop


def pytest_addoption(parser):
    parser.addoption("--worker", default="orders.worker:Worker", help="the worker to test, as MODULE:CLASS")


@pytest.fixture
def accounts():
    return Accounts()


@pytest.fixture
def shop(leveret):
    shop = Shop(leveret.pika_parameters())
    yield shop
    shop.close()


@pytest.fixture
def start_worker(leveret, accounts, request):
    """Starts a worker in a thread: `start_worker()`, or one that does something of its own with an order, `start_worker(handle=...)`."""
    module, _, name = request.config.getoption("--worker").partition(":")
    worker_type = getattr(importlib.import_module(module), name)
    running = []

    def start(handle=None):
        worker = worker_type(leveret.pika_parameters(), accounts)
        if handle is not None:
            worker.handle = handle
        thread = threading.Thread(target=run, args=(worker,))
        running.append((worker, thread))
        thread.start()
        leveret.wait_for_consumer("orders")
        return worker

    def run(worker):
        try:
            worker.run()
        except Killed:
            pass  # its process is gone, and its connection with it

    yield start
    for worker, thread in running:
        worker.stop()
        thread.join()


class Killed(BaseException):
    """What happens to a worker that is killed in the middle of something."""
