"""What may happen to an order on its way, and must not harm it."""

import threading

from orders.topology import RETRY_SECONDS

from .conftest import Killed


def test_an_order_is_charged(shop, start_worker, accounts, leveret):
    start_worker()
    shop.order("1", 100)
    leveret.wait_until_idle()
    assert accounts.charges == [("1", 100)]
    leveret.assert_empty("orders")


def test_an_order_outlives_the_worker(shop, start_worker, accounts, leveret):
    """The worker is killed while it works at an order; another one takes over."""
    is_working = threading.Event()

    def die(order):
        is_working.set()
        raise Killed

    start_worker(handle=die)
    shop.order("1", 100)
    assert is_working.wait(5)
    leveret.wait_for_connection(count=1)  # the shop's: the worker is gone
    start_worker()
    leveret.wait_until_idle()
    assert accounts.charges == [("1", 100)], leveret.report()


def test_an_order_that_comes_twice_is_charged_once(shop, start_worker, accounts, leveret):
    """The worker's ack is lost on its way, so the broker delivers the order again."""
    start_worker()
    with leveret.faults.redeliver(queue="orders") as lost_ack:
        shop.order("1", 100)
        leveret.wait_until_idle()
    assert lost_ack.hits == 1
    assert accounts.charges == [("1", 100)]


def test_a_connection_that_breaks_costs_nothing(shop, start_worker, accounts, leveret):
    """It breaks just before the ack arrives: the order is charged, and the broker doesn't know."""
    start_worker()
    with leveret.faults.drop_connection(on="basic.ack", when="before") as broken:
        shop.order("1", 100)
        leveret.assert_acked("orders", count=1)
    assert broken.hits == 1
    assert accounts.charges == [("1", 100)]


def test_an_order_that_fails_is_tried_again_after_a_while(shop, start_worker, accounts, leveret):
    attempts = []

    def fail_once(order):
        attempts.append(order["id"])
        if len(attempts) == 1:
            raise ValueError("the bank is closed")

    leveret.freeze()
    start_worker(handle=fail_once)
    shop.order("1", 100)
    leveret.wait_for("orders.retry", ready=1)
    leveret.advance(RETRY_SECONDS - 1, settle=True)
    assert attempts == ["1"]
    leveret.advance(1, settle=True)
    assert attempts == ["1", "1"]


def test_an_order_that_always_fails_is_put_aside(shop, start_worker, accounts, leveret):
    """Nobody can be charged nothing. Other orders don't wait for that."""
    start_worker()
    shop.order("1", 0)
    shop.order("2", 100)
    leveret.advance(10 * RETRY_SECONDS, settle=True, timeout=3)
    (failed,) = leveret.assert_messages("orders.failed", 1)
    assert failed.json()["id"] == "1"
    assert accounts.charges == [("2", 100)]
