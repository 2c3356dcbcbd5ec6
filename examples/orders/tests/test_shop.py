"""What the shop's customers may rely on."""

import pika.exceptions
import pytest


def test_an_order_is_there_when_the_shop_says_so(shop, leveret):
    shop.order("1", 100)
    (order,) = leveret.assert_messages("orders", 1)
    assert order.json() == {"id": "1", "amount": 100}
    assert order.properties["delivery_mode"] == 2


def test_an_order_that_no_queue_takes_is_refused(shop, leveret):
    with pytest.raises(pika.exceptions.UnroutableError):
        shop.order("1", 100, kind="new.and.strange")
    leveret.assert_unroutable(exchange="shop", count=1)


def test_an_order_that_the_broker_has_no_room_for_is_refused(shop, leveret):
    with leveret.faults.queue_full(queue="orders"), pytest.raises(pika.exceptions.NackError):
        shop.order("1", 100)
    leveret.assert_empty("orders")
