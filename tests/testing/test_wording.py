"""How methods and messages are put into words."""

import json
from typing import Any

import pytest
from pamqp.commands import Basic, Connection, Exchange, Queue

from broker.core.message import join_routing
from broker.testing.talk import wording
from protocol.content import Properties, encode_properties
from protocol.methods import make
from protocol.tables import table_of


def content(body: bytes, **properties: Any) -> str:
    if "headers" in properties:
        properties["headers"] = table_of(properties["headers"])
    return wording.content_text(encode_properties(Properties(**properties), len(body)), body[: wording.BODY_KEPT], len(body))


@pytest.mark.parametrize(
    ("method", "text"),
    [
        (make(Queue.Declare, queue="q", durable=True), "queue.declare queue='q' durable"),
        (make(Queue.DeclareOk, queue="q"), "queue.declare-ok queue='q' message-count=0 consumer-count=0"),
        (make(Basic.Qos), "basic.qos prefetch-count=0"),
        (make(Basic.Qos, prefetch_count=5, global_=True), "basic.qos prefetch-count=5 global"),
        (make(Basic.Nack, delivery_tag=3, multiple=True), "basic.nack #3 and all before it without requeue"),
        (make(Basic.Reject, delivery_tag=3, requeue=True), "basic.reject #3 requeue"),
        (
            make(Exchange.Declare, exchange="e", exchange_type="topic", arguments=table_of({"a": 1, "b": {"c": [True]}})),
            "exchange.declare exchange='e' exchange-type='topic' arguments={'a': 1, 'b': {'c': [True]}}",
        ),
        (
            make(Basic.Return, reply_code=312, reply_text="NO_ROUTE", exchange="e", routing_key="k"),
            "basic.return 312 NO_ROUTE exchange='e' key='k'",
        ),
        (make(Queue.Declare, queue="two\nlines"), "queue.declare queue='two\\nlines'"),
        (make(Connection.UpdateSecret, new_secret=b"token", reason="it expires"), "connection.update-secret reason='it expires'"),
        (
            make(
                Connection.StartOk,
                mechanism="PLAIN",
                response=b"\0guest\0secret",
                client_properties=table_of({"product": "pika", "version": "1.3", "platform": "x", "connection_name": "worker"}),
            ),
            "connection.start-ok client-properties={'product': 'pika', 'version': '1.3', 'connection_name': 'worker'} mechanism='PLAIN'",
        ),
    ],
)
def test_methods(method: Any, text: str) -> None:
    assert wording.method_text(method) == text


@pytest.mark.parametrize(
    ("body", "properties", "text"),
    [
        (b"", {}, "0 bytes"),
        (b"x", {}, "1 byte 'x'"),
        (b"two\nlines", {"content_type": "text/plain"}, "9 bytes 'two\\nlines'"),
        (b'{"id":\n 7}', {"content_type": "application/json", "message_id": "m1"}, "10 bytes {\"id\": 7}, message_id='m1'"),
        (b"{broken", {"content_type": "application/json"}, "7 bytes {broken"),
        (b"\x80\x04\x95", {"delivery_mode": 2, "priority": 0}, "3 bytes b'\\x80\\x04\\x95', persistent, priority=0"),
        ("größe".encode(), {"content_type": "x", "delivery_mode": 1}, "7 bytes 'größe', content_type='x', transient"),
        (b"x", {"headers": {"a": 1}}, "1 byte 'x', headers={'a': 1}"),
        (b"x", {"headers": {}}, "1 byte 'x'"),
        (
            b"x",
            {
                "headers": {
                    "x-death": [{"queue": "q", "reason": "rejected", "count": 3}, {"queue": "r", "reason": "expired", "count": 1}],
                    "x-first-death-queue": "r",
                    "x-last-death-reason": "rejected",
                    "mine": True,
                }
            },
            "1 byte 'x', died in 'q' 3 times: rejected, died in 'r': expired, headers={'mine': True}",
        ),
        (
            json.dumps([[1, 2], {"x": 3}, {}]).encode(),
            {
                "content_type": "application/json",
                "headers": {"task": "app.add", "id": "abc", "argsrepr": "(1, 2)", "kwargsrepr": "{'x': 3}", "retries": 1, "eta": None},
            },
            "22 bytes celery task app.add(1, 2, 'x': 3) id=abc retries=1",
        ),
    ],
)
def test_messages(body: bytes, properties: dict[str, Any], text: str) -> None:
    assert content(body, **properties) == text


def test_long_bodies_are_cut() -> None:
    assert content(b"x" * 200) == f"200 bytes '{'x' * 200}'"
    assert content(b"x" * 201) == f"201 bytes '{'x' * 197}...'"
    big = content(b"y" * 1_000_000)
    assert big.startswith("1,000,000 bytes 'yyy") and big.endswith("...'") and len(big) < 230
    cut_in_a_character = content(("ä" * 1000).encode())
    assert cut_in_a_character.startswith("2,000 bytes 'äää")


def test_what_cannot_be_read_is_said() -> None:
    assert wording.content_text(b"\0\x3c\0\0" + bytes(8) + b"\xff\xfc", b"x", 1) == "1 byte, with properties that can't be read"


def test_publishes() -> None:
    header = encode_properties(Properties(), 2)
    told = wording.publish_text(join_routing("shop", "order.new"), 1, header, b"{}", 2)
    assert told == "basic.publish exchange='shop' key='order.new' mandatory, 2 bytes {}"
