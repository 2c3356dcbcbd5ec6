"""The message tuple (drawn in protocol/events.py), and what can be read out of its parts.

A message is never changed: requeueing, copying and fanning out hand the same tuple on. What differs from queue to queue
(how often it was delivered, when it expires) is the queue's to know.
"""

from operator import itemgetter
from typing import Final

from protocol.events import Message

__all__ = ["BODY", "HEADER", "ID", "ROUTING", "Message", "body_of", "id_of", "join_routing", "split_routing"]

ID: Final = 0
ROUTING: Final = 1
HEADER: Final = 2
BODY: Final = 3

id_of = itemgetter(ID)
body_of = itemgetter(BODY)


def split_routing(routing: bytes) -> tuple[str, str]:
    """Exchange name and routing key; bytes that aren't UTF-8 survive as lone surrogates."""
    at = 1 + routing[0]
    return routing[1:at].decode("utf-8", "surrogateescape"), routing[at + 1 :].decode("utf-8", "surrogateescape")


def join_routing(exchange: str, routing_key: str) -> bytes:
    """The wire form of exchange name and routing key, each at most 255 bytes."""
    name, key = exchange.encode("utf-8", "surrogateescape"), routing_key.encode("utf-8", "surrogateescape")
    return b"%c%b%c%b" % (len(name), name, len(key), key)
