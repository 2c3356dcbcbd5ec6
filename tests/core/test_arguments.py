"""The arguments of queue.declare and basic.consume. Every text was RabbitMQ 3.10.8's answer; `test_the_oracle_says_so` asks it again.

Where 3.13 or Leveret answers differently, the row has the oracle's text in `oracle`. (Of bytes that aren't UTF-8 the oracle makes
a text that isn't either, and 3.13 a 541.)
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp.commands import Basic, Queue

from broker.core.arguments import ARGUMENTS, KNOWN, KNOWN_TO_CONSUMERS, QueueArguments, consumer_priority, dead_letter_exchange
from protocol.constants import PRECONDITION_FAILED, SHORTSTR_MAX_BYTES
from protocol.errors import ChannelException
from protocol.tables import Field, Table, encode_fields, field, from_json, table_of, to_json
from tests.oracle.rabbitmq import RabbitMQ
from tests.spec import spec
from tests.wire import Wire, WireChannel

CLASSIC = {"x-queue-type": "classic"}
QUORUM = {"x-queue-type": "quorum"}
STREAM = {"x-queue-type": "stream"}
DECLARED = {"durable": True, "exclusive": False, "auto_delete": False}
"""The flags of a queue that every type allows."""
LONG = "q" * 255
ACCEPTED = ""
CRASHED = "541 INTERNAL_ERROR"

OF_EACH_KIND = {
    "t": True, "b": 5, "B": 5, "s": 5, "u": 5, "I": 5, "i": 5, "l": 5, "L": 5, "f": 0.5, "d": 0.5, "D": (2, 5), "S": b"five", "x": b"five",
    "A": [], "F": {}, "T": 5, "V": None,
}  # fmt: skip
KIND_NAMES = {
    "t": "bool", "b": "byte", "B": "unsignedbyte", "s": "short", "u": "unsignedshort", "I": "signedint", "i": "unsignedint", "l": "long",
    "L": "long", "f": "float", "d": "double", "D": "decimal", "S": "longstr", "x": "binary", "A": "array", "F": "table", "T": "timestamp",
    "V": "void",
}  # fmt: skip


class Declare(NamedTuple):
    """A declare of a new queue and the reply text behind `PRECONDITION_FAILED - `; `ACCEPTED` where there is none."""

    arguments: dict[str, Any]
    text: str
    flags: Mapping[str, bool] = MappingProxyType({})
    name: str = "q"
    oracle: str | None = None

    @property
    def asked(self) -> str:
        return self.text if self.oracle is None else self.oracle

    def parse(self) -> QueueArguments:
        flags = {**DECLARED, **self.flags}
        table = table_of(self.arguments)
        return QueueArguments.parse(table, self.name or "amq.gen-1", "/", server_named=not self.name, **flags)


def invalid(name: str, error: str) -> str:
    return f"invalid arg '{name}' for queue 'q' in vhost '/': {error}"


def foreign(name: str, kind: str) -> str:
    return f"invalid arg '{name}' for queue 'q' in vhost '/' of queue type rabbit_{kind}_queue"


def wrong(names: str, kinds: str, error: Callable[[str], str], more: dict[str, Any]) -> list[Declare]:
    """Each of `names` with a value of each of the kinds that it doesn't take."""
    return [
        Declare({**more, name: Field(kind, OF_EACH_KIND[kind])}, invalid(name, error(KIND_NAMES[kind])))
        for name in names.split()
        for kind in OF_EACH_KIND
        if kind not in kinds
    ]


def expected_integer(kind: str) -> str:
    return f'"expected integer, got {kind}"'


def unacceptable(kind: str) -> str:
    return f"{{unacceptable_type,{kind}}}"


DECLARES = [
    # numbers
    Declare({"x-message-ttl": -1}, "invalid arg 'x-message-ttl' for queue 'q' in vhost '/': {value_negative,-1}"),
    Declare({"x-message-ttl": 0}, ACCEPTED),
    Declare({"x-message-ttl": 315_360_000_000}, ACCEPTED),
    Declare({"x-message-ttl": 315_360_000_001}, "invalid arg 'x-message-ttl' for queue 'q' in vhost '/': {value_too_large,315360000001}"),
    Declare({"x-message-ttl": "60000"}, "invalid arg 'x-message-ttl' for queue 'q' in vhost '/': \"expected integer, got longstr\""),
    Declare({"x-expires": 0}, "invalid arg 'x-expires' for queue 'q' in vhost '/': {value_zero,0}"),
    Declare({"x-expires": -1}, "invalid arg 'x-expires' for queue 'q' in vhost '/': {value_negative,-1}"),
    Declare({"x-expires": 315_360_000_000}, ACCEPTED),
    Declare({"x-expires": 315_360_000_001}, "invalid arg 'x-expires' for queue 'q' in vhost '/': {value_too_large,315360000001}"),
    Declare({"x-max-length": 0}, ACCEPTED),
    Declare({"x-max-length": -1}, "invalid arg 'x-max-length' for queue 'q' in vhost '/': {value_negative,-1}"),
    Declare({"x-max-length": 2**63 - 1}, ACCEPTED),
    Declare({"x-max-length": -(2**63)}, "invalid arg 'x-max-length' for queue 'q' in vhost '/': {value_negative,-9223372036854775808}"),
    Declare({"x-max-length-bytes": -1}, "invalid arg 'x-max-length-bytes' for queue 'q' in vhost '/': {value_negative,-1}"),
    Declare({**QUORUM, "x-max-in-memory-length": -1}, invalid("x-max-in-memory-length", "{value_negative,-1}")),
    Declare({**QUORUM, "x-max-in-memory-bytes": -1}, invalid("x-max-in-memory-bytes", "{value_negative,-1}")),
    Declare({"x-max-priority": -1}, "invalid arg 'x-max-priority' for queue 'q' in vhost '/': {value_negative,-1}"),
    Declare({"x-max-priority": 0}, ACCEPTED),
    Declare({"x-max-priority": 255}, ACCEPTED),
    Declare({"x-max-priority": 256}, "invalid arg 'x-max-priority' for queue 'q' in vhost '/': {max_value_exceeded,256}"),
    Declare({"x-queue-version": -1}, "invalid arg 'x-queue-version' for queue 'q' in vhost '/': {value_negative,-1}"),
    Declare({"x-queue-version": 0}, "invalid arg 'x-queue-version' for queue 'q' in vhost '/': \"unsupported queue version '0'\""),
    Declare({"x-queue-version": 1}, ACCEPTED),
    Declare({"x-queue-version": 2}, ACCEPTED),
    Declare({"x-queue-version": 3}, "invalid arg 'x-queue-version' for queue 'q' in vhost '/': \"unsupported queue version '3'\""),
    Declare({**QUORUM, "x-quorum-initial-group-size": 0}, invalid("x-quorum-initial-group-size", "{value_zero,0}")),
    Declare({**QUORUM, "x-quorum-initial-group-size": -1}, invalid("x-quorum-initial-group-size", "{value_negative,-1}")),
    Declare({**QUORUM, "x-quorum-initial-group-size": 3}, ACCEPTED),
    *wrong("x-expires x-message-ttl x-max-length x-max-length-bytes x-max-priority x-queue-version", "bBsuIilL", expected_integer, {}),
    *wrong("x-max-in-memory-length x-max-in-memory-bytes x-quorum-initial-group-size", "bBsuIilL", expected_integer, QUORUM),
    # words
    Declare({"x-overflow": "drop-head"}, ACCEPTED),
    Declare({"x-overflow": "reject-publish"}, ACCEPTED),
    Declare({"x-overflow": "reject-publish-dlx"}, ACCEPTED),
    Declare({**QUORUM, "x-overflow": "reject-publish-dlx"}, ACCEPTED),
    Declare({"x-overflow": "Drop-Head"}, "invalid arg 'x-overflow' for queue 'q' in vhost '/': invalid_overflow"),
    Declare({"x-overflow": ""}, "invalid arg 'x-overflow' for queue 'q' in vhost '/': invalid_overflow"),
    Declare({**QUORUM, "x-dead-letter-strategy": "at-most-once"}, ACCEPTED),
    Declare({**QUORUM, "x-dead-letter-strategy": "at-least-once"}, ACCEPTED),
    Declare({**QUORUM, "x-dead-letter-strategy": "sure"}, invalid("x-dead-letter-strategy", "invalid_dlx_strategy")),
    *(Declare({**QUORUM, "x-queue-leader-locator": word}, ACCEPTED) for word in ("client-local", "balanced", "random", "least-leaders")),
    Declare({**QUORUM, "x-queue-leader-locator": "min-masters"}, invalid("x-queue-leader-locator", "invalid_queue_locator_arg")),
    *(Declare({"x-queue-master-locator": word}, ACCEPTED) for word in ("client-local", "min-masters", "random", Field("x", b"random"))),
    Declare({"x-queue-master-locator": "balanced"}, invalid("x-queue-master-locator", "invalid_queue_locator_arg"), oracle=CRASHED),
    Declare({"x-queue-master-locator": 5}, invalid("x-queue-master-locator", "{unacceptable_type,signedint}"), oracle=CRASHED),
    Declare({"x-queue-mode": "default"}, ACCEPTED),
    Declare({"x-queue-mode": "lazy"}, ACCEPTED),
    Declare({"x-queue-mode": ""}, "invalid arg 'x-queue-mode' for queue 'q' in vhost '/': \"unsupported queue mode ''\""),
    Declare({"x-queue-mode": "eager"}, "invalid arg 'x-queue-mode' for queue 'q' in vhost '/': \"unsupported queue mode 'eager'\""),
    *wrong("x-overflow x-queue-mode x-dead-letter-routing-key x-queue-type", "S", unacceptable, {}),
    *wrong("x-dead-letter-strategy x-queue-leader-locator", "S", unacceptable, QUORUM),
    *wrong("x-single-active-consumer", "t", unacceptable, {}),
    Declare({"x-single-active-consumer": False}, ACCEPTED),
    # dead letters
    Declare({"x-dead-letter-exchange": ""}, ACCEPTED),
    Declare({"x-dead-letter-exchange": "x", "x-dead-letter-routing-key": "k"}, ACCEPTED),
    Declare({"x-dead-letter-routing-key": "k"}, invalid("x-dead-letter-routing-key", "routing_key_but_no_dlx_defined")),
    *(
        Declare(
            {"x-dead-letter-exchange": Field(kind, OF_EACH_KIND[kind])},
            f"invalid type '{KIND_NAMES[kind]}' for arg 'x-dead-letter-exchange' in queue 'q' in vhost '/'",
        )
        for kind in OF_EACH_KIND
        if kind != "S"
    ),
    # queue types
    Declare(CLASSIC, ACCEPTED),
    Declare(QUORUM, ACCEPTED),
    Declare(STREAM, invalid("x-queue-type", "\"unsupported queue type 'stream': streams are not served yet\""), oracle=ACCEPTED),
    Declare({"x-queue-type": "zork"}, "invalid arg 'x-queue-type' for queue 'q' in vhost '/': \"unsupported queue type 'zork'\""),
    Declare({"x-queue-type": "Classic"}, "invalid arg 'x-queue-type' for queue 'q' in vhost '/': \"unsupported queue type 'Classic'\""),
    Declare({"x-queue-type": ""}, "invalid arg 'x-queue-type' for queue 'q' in vhost '/': \"unsupported queue type ''\""),
    Declare({"x-queue-type": "é"}, "invalid arg 'x-queue-type' for queue 'q' in vhost '/': \"unsupported queue type 'é'\""),
    Declare(
        {"x-queue-type": b"\xff"},
        "invalid arg 'x-queue-type' for queue 'q' in vhost '/': \"unsupported queue type 'ÿ'\"",
        oracle="invalid arg 'x-queue-type' for queue 'q' in vhost '/': \"unsupported queue type '\udcff'\"",
    ),
    Declare(
        {"x-queue-type": 'a"b\\c\n\x07'},
        invalid(
            "x-queue-type",
            "[117,110,115,117,112,112,111,114,116,101,100,32,113,117,101,117,101,32,116,121,112,101,32,39,97,34,98,92,99,10,7,39]",
        ),
    ),
    Declare({"x-queue-mode": 'a"b\\c\n'}, invalid("x-queue-mode", '"unsupported queue mode \'a\\"b\\\\c\\n\'"')),
    Declare(
        {"x-queue-mode": "€"},
        invalid("x-queue-mode", "[117,110,115,117,112,112,111,114,116,101,100,32,113,117,101,117,101,32,109,111,100,101,32,39,8364,39]"),
        oracle=invalid(
            "x-queue-mode", "[117,110,115,117,112,112,111,114,116,101,100,32,113,117,101,117,101,32,109,111,100,101,32,39,226,130,172,39]"
        ),
    ),
    Declare({"x-queue-type": "word " * 60}, invalid("x-queue-type", f"\"unsupported queue type '{'word ' * 60}'\"")),
    Declare(
        {"x-queue-type": "undefined"},
        ACCEPTED,
        oracle="invalid arg 'x-queue-type' for queue 'q' in vhost '/': \"unsupported queue type 'undefined'\"",
    ),
    # what only another type knows, whatever its value
    *(
        Declare({name: 1}, foreign(name, "classic"))
        for name in (
            "x-delivery-limit", "x-dead-letter-strategy", "x-max-in-memory-length", "x-max-in-memory-bytes", "x-quorum-initial-group-size",
            "x-queue-leader-locator", "x-max-age", "x-stream-max-segment-size-bytes", "x-initial-cluster-size",
        )
    ),
    *(
        Declare({**QUORUM, name: -1}, foreign(name, "quorum"))
        for name in (
            "x-max-priority", "x-queue-mode", "x-queue-version", "x-queue-master-locator", "x-max-age", "x-stream-max-segment-size-bytes",
            "x-initial-cluster-size",
        )
    ),
    # what RabbitMQ doesn't look at
    *(Declare({**QUORUM, "x-delivery-limit": Field(kind, value)}, ACCEPTED) for kind, value in OF_EACH_KIND.items()),
    *(
        Declare({**more, name: Field(kind, value)}, ACCEPTED)
        for more in ({}, QUORUM)
        for name in ("x-consumer-timeout", "x-message-deduplication", "x-cache-size", "x-stream-filter-size-bytes", "x-unheard-of")
        for kind, value in OF_EACH_KIND.items()
        if kind in "SIV"
    ),
    # the order of the checks
    Declare(
        {"x-dead-letter-exchange": 5, "x-queue-type": 5},
        "invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'q' in vhost '/'",
    ),
    Declare({"x-max-length": -1, "x-queue-type": "bad"}, invalid("x-queue-type", "\"unsupported queue type 'bad'\"")),
    Declare({"x-max-length": -1, "x-expires": -1}, invalid("x-expires", "{value_negative,-1}")),
    Declare({"x-dead-letter-routing-key": 5, "x-message-ttl": "x"}, invalid("x-message-ttl", '"expected integer, got longstr"')),
    Declare({"x-max-age": "1h", "x-max-length": -1}, invalid("x-max-length", "{value_negative,-1}")),
    Declare({**CLASSIC, "x-max-age": "1h", "x-delivery-limit": 1}, foreign("x-max-age", "classic")),
    Declare({"x-delivery-limit": 1, "x-max-age": "1h"}, foreign("x-delivery-limit", "classic")),
    Declare({"x-max-age": "1h", "x-delivery-limit": 1}, foreign("x-delivery-limit", "classic"), oracle=foreign("x-max-age", "classic")),
    Declare({**QUORUM, "x-max-priority": 1, "x-max-length": -1}, invalid("x-max-length", "{value_negative,-1}"), {"durable": False}),
    Declare({**QUORUM, "x-max-priority": 1}, foreign("x-max-priority", "quorum"), {"durable": False}),
    # the properties of a quorum queue
    Declare(QUORUM, "invalid property 'non-durable' for queue 'q' in vhost '/'", {"durable": False}),
    Declare(QUORUM, "invalid property 'auto-delete' for queue 'q' in vhost '/'", {"auto_delete": True}),
    Declare(QUORUM, "invalid property 'exclusive-owner' for queue 'q' in vhost '/'", {"exclusive": True}),
    Declare(QUORUM, "invalid property 'exclusive-owner' for queue 'q' in vhost '/'", {"exclusive": True, "durable": False}),
    Declare(QUORUM, "invalid property 'auto-delete' for queue 'q' in vhost '/'", {"exclusive": True, "auto_delete": True}),
    Declare(QUORUM, "invalid property 'auto-delete' for queue 'q' in vhost '/'", {"durable": False, "auto_delete": True}),
    Declare(QUORUM, "Cannot declare a server-named queue for type rabbit_quorum_queue", name=""),
    Declare({**QUORUM, "x-dead-letter-exchange": 5}, "Cannot declare a server-named queue for type rabbit_quorum_queue", name=""),
    Declare(QUORUM, "Cannot declare a server-named queue for type rabbit_quorum_queue", {"durable": False}, name=""),
    Declare(STREAM, "Cannot declare a server-named queue for type rabbit_stream_queue", name=""),
    Declare(
        {"x-queue-type": "zork"},
        "invalid arg 'x-queue-type' for queue 'amq.gen-1' in vhost '/': \"unsupported queue type 'zork'\"",
        name="",
        oracle=CRASHED,
    ),
    Declare({}, ACCEPTED, {"durable": False, "exclusive": True, "auto_delete": True}),
    Declare({"x-max-length": -1}, "invalid arg 'x-max-length' for queue 'it's é' in vhost '/': {value_negative,-1}", name="it's é"),
    Declare({"x-max-length": -1}, f"invalid arg 'x-max-length' for queue '{LONG}' in vhost '/': {{value_negative,-1}}", name=LONG),
]  # fmt: skip


class Again(NamedTuple):
    """A queue with the arguments `current` is declared again with `received`."""

    current: dict[str, Any]
    received: dict[str, Any]
    text: str
    oracle: str | None = None

    @property
    def asked(self) -> str:
        return self.text if self.oracle is None else self.oracle


def differs(name: str, received: str, current: str) -> str:
    return f"inequivalent arg '{name}' for queue 'q' in vhost '/': received {received} but current is {current}"


FIVE = {"x-max-length": 5}
SINGLE = "x-single-active-consumer"
NESTED = {"a": 1, "b": "c"}
NESTED_SHOWN = '[{<<"a">>,signedint,1},{<<"b">>,longstr,<<"c">>}]'
AGAIN = [
    Again({}, {}, ACCEPTED),
    Again(FIVE, FIVE, ACCEPTED),
    Again(FIVE, {"x-max-length": 6}, "inequivalent arg 'x-max-length' for queue 'q' in vhost '/': received '6' but current is '5'"),
    Again(
        FIVE,
        {},
        "inequivalent arg 'x-max-length' for queue 'q' in vhost '/': received none but current is the value '5' of type 'signedint'",
    ),
    Again(
        {},
        FIVE,
        "inequivalent arg 'x-max-length' for queue 'q' in vhost '/': received the value '5' of type 'signedint' but current is none",
    ),
    Again({}, {"x-max-length": Field("l", 5)}, differs("x-max-length", "the value '5' of type 'long'", "none")),
    Again({}, {"x-max-length": Field("i", 5)}, differs("x-max-length", "the value '5' of type 'unsignedint'", "none")),
    # integers compare across types, and with a timestamp; nothing else does
    *(Again(FIVE, {"x-max-length": Field(kind, 5)}, ACCEPTED) for kind in "bBsuIilLT"),
    Again(FIVE, {"x-max-length": Field("f", 5.0)}, differs("x-max-length", "'5.0'", "'5'")),
    Again(FIVE, {"x-max-length": 5.0}, differs("x-max-length", "'5.0'", "'5'")),
    Again(FIVE, {"x-max-length": "5"}, differs("x-max-length", "'5'", "'5'")),
    Again(FIVE, {"x-max-length": None}, differs("x-max-length", "none", "'5'")),
    Again({}, {"x-max-length": None}, differs("x-max-length", "the value 'undefined' of type 'void'", "none")),
    Again({"x-max-length": 1}, {"x-max-length": True}, differs("x-max-length", "'true'", "'1'")),
    Again({SINGLE: True}, {SINGLE: 1}, differs(SINGLE, "'1'", "'true'")),
    Again({SINGLE: True}, {SINGLE: False}, differs(SINGLE, "'false'", "'true'")),
    Again({}, {SINGLE: False}, differs(SINGLE, "the value 'false' of type 'bool'", "none")),
    Again({SINGLE: False}, {}, differs(SINGLE, "none", "the value 'false' of type 'bool'")),
    Again({"x-overflow": "drop-head"}, {"x-overflow": Field("x", b"drop-head")}, ACCEPTED),
    Again({"x-overflow": "drop-head"}, {"x-overflow": "reject-publish"}, differs("x-overflow", "'reject-publish'", "'drop-head'")),
    Again({"x-overflow": "drop-head"}, {}, differs("x-overflow", "none", "the value 'drop-head' of type 'longstr'")),
    # queue types
    Again({}, CLASSIC, ACCEPTED),
    Again(CLASSIC, {}, ACCEPTED),
    Again({}, QUORUM, differs("x-queue-type", "the value 'quorum' of type 'longstr'", "none")),
    Again(CLASSIC, QUORUM, differs("x-queue-type", "'quorum'", "'classic'")),
    Again(QUORUM, CLASSIC, differs("x-queue-type", "'classic'", "'quorum'")),
    Again(QUORUM, {}, differs("x-queue-type", "none", "the value 'quorum' of type 'longstr'")),
    Again({}, STREAM, differs("x-queue-type", "the value 'stream' of type 'longstr'", "none")),
    Again({}, {"x-queue-type": Field("x", b"classic")}, differs("x-queue-type", "the value 'classic' of type 'binary'", "none")),
    # what is compared, and in which order; nothing is validated
    Again({"x-unheard-of": 1}, {"x-unheard-of": 2, "x-another": 3}, ACCEPTED),
    Again({"x-consumer-timeout": 1}, {"x-consumer-timeout": 2}, ACCEPTED),
    Again({}, {"x-delivery-limit": 2}, ACCEPTED),
    Again({}, {"x-max-length": -1}, differs("x-max-length", "the value '-1' of type 'signedint'", "none")),
    Again({}, {"x-dead-letter-exchange": 5}, differs("x-dead-letter-exchange", "the value '5' of type 'signedint'", "none")),
    Again({}, {**QUORUM, "x-max-length": 1, "x-expires": 5}, differs("x-expires", "the value '5' of type 'signedint'", "none")),
    Again({}, {"x-queue-mode": "lazy", "x-overflow": "x"}, differs("x-overflow", "the value 'x' of type 'longstr'", "none")),
    Again(
        QUORUM,
        {**QUORUM, "x-message-ttl": 1, "x-delivery-limit": 2},
        differs("x-delivery-limit", "the value '2' of type 'signedint'", "none"),
    ),
    Again(QUORUM, {"x-message-ttl": 1}, differs("x-queue-type", "none", "the value 'quorum' of type 'longstr'")),
    Again({**QUORUM, "x-delivery-limit": 1}, {**QUORUM, "x-delivery-limit": "a"}, differs("x-delivery-limit", "'a'", "'1'")),
    # Erlang's notation of what may have been sent instead
    Again(FIVE, {"x-max-length": NESTED}, differs("x-max-length", f"'{NESTED_SHOWN}'", "'5'")),
    Again({}, {"x-max-length": NESTED}, differs("x-max-length", f"the value '{NESTED_SHOWN}' of type 'table'", "none")),
    Again(
        FIVE,
        {"x-max-length": [1, "a", None, True, 1.5]},
        differs("x-max-length", "'[{signedint,1},{longstr,<<\"a\">>},{void,undefined},{bool,true},{double,1.5}]'", "'5'"),
    ),
    Again(FIVE, {"x-max-length": []}, differs("x-max-length", "'[]'", "'5'")),
    Again(FIVE, {"x-max-length": {}}, differs("x-max-length", "'[]'", "'5'")),
    Again(FIVE, {"x-max-length": "é€"}, differs("x-max-length", "'é€'", "'5'")),
    Again(FIVE, {"x-max-length": 'a\nb"'}, differs("x-max-length", "'a\nb\"'", "'5'")),
    Again(
        FIVE,
        {"x-max-length": b"\xff\0"},
        differs("x-max-length", "'ÿ\0'", "'5'"),
        oracle=differs("x-max-length", "'\udcff\0'", "'5'"),
    ),
    Again(FIVE, {"x-max-length": Field("T", 2**64 - 1)}, differs("x-max-length", "'18446744073709551615'", "'5'")),
    Again(FIVE, {"x-max-length": Field("D", (2, 5))}, differs("x-max-length", "'{2,5}'", "'5'"), oracle=CRASHED),
    *(
        Again(FIVE, {"x-max-length": number}, differs("x-max-length", f"'{shown}'", "'5'"))
        for number, shown in (
            (0.1, "0.1"), (1e-5, "1.0e-5"), (1e5, "1.0e5"), (100.0, "100.0"), (0.0, "0.0"), (-0.0, "-0.0"), (1e22, "1.0e22"),
            (-1.5, "-1.5"), (123456789.125, "123456789.125"), (2.0**70, "1.1805916207174113e21"), (2.0**53, "9.007199254740992e15"),
            (2.0**53 - 1, "9007199254740991.0"), (Field("f", 0.10000000149011612), "0.10000000149011612"),
        )
    ),
    Again({**QUORUM, "x-delivery-limit": []}, {**QUORUM, "x-delivery-limit": {}}, ACCEPTED),
    Again({**QUORUM, "x-delivery-limit": 0.0}, {**QUORUM, "x-delivery-limit": -0.0}, ACCEPTED),
    Again({**QUORUM, "x-delivery-limit": 0.5}, {**QUORUM, "x-delivery-limit": Field("f", 0.5)}, ACCEPTED),
    Again({**QUORUM, "x-delivery-limit": None}, {**QUORUM, "x-delivery-limit": 5}, differs("x-delivery-limit", "'5'", "none")),
]  # fmt: skip


class Consume(NamedTuple):
    """A basic.consume with `arguments` on a queue declared with `queue`."""

    queue: dict[str, Any]
    arguments: dict[str, Any]
    text: str
    oracle: str | None = None

    @property
    def asked(self) -> str:
        return self.text if self.oracle is None else self.oracle


CONSUMES = [
    *(
        Consume(
            queue,
            {"x-priority": Field(kind, value)},
            ACCEPTED if kind in "bBsuIilL" else invalid("x-priority", f'"expected integer, got {KIND_NAMES[kind]}"'),
        )
        for queue in ({}, QUORUM)
        for kind, value in OF_EACH_KIND.items()
    ),
    Consume({}, {"x-priority": -5}, ACCEPTED),
    Consume({}, {"x-priority": 2**40}, ACCEPTED),
    *(
        Consume(
            {},
            {"x-cancel-on-ha-failover": Field(kind, value)},
            ACCEPTED if kind == "t" else invalid("x-cancel-on-ha-failover", f"{{unacceptable_type,{KIND_NAMES[kind]}}}"),
        )
        for kind, value in OF_EACH_KIND.items()
    ),
    Consume({}, {"x-stream-offset": "first"}, foreign("x-stream-offset", "classic")),
    Consume({}, {"x-stream-offset": 5}, foreign("x-stream-offset", "classic")),
    Consume(QUORUM, {"x-stream-offset": "first"}, foreign("x-stream-offset", "quorum")),
    Consume(QUORUM, {"x-cancel-on-ha-failover": True}, foreign("x-cancel-on-ha-failover", "quorum")),
    Consume({}, {"x-stream-offset": "first", "x-priority": "a"}, invalid("x-priority", '"expected integer, got longstr"')),
    Consume({}, {"x-cancel-on-ha-failover": 1, "x-priority": "a"}, invalid("x-priority", '"expected integer, got longstr"')),
    Consume(QUORUM, {"x-stream-offset": 1, "x-cancel-on-ha-failover": True}, foreign("x-stream-offset", "quorum")),
    Consume(QUORUM, {"x-cancel-on-ha-failover": True, "x-stream-offset": 1}, foreign("x-cancel-on-ha-failover", "quorum")),
    Consume({}, {"x-credit": {}}, ACCEPTED),
    Consume({}, {"x-credit": 5}, ACCEPTED, oracle=CRASHED),
    Consume({}, {"x-stream-filter": 1, "x-stream-match-unfiltered": 1, "x-unheard-of": 1}, ACCEPTED),
]


def caught(call: Callable[[], object]) -> ChannelException | None:
    """The only exception that may come out of `call`, a 406 that fits into channel.close."""
    try:
        call()
    except ChannelException as raised:
        error = raised
    else:
        return None
    assert error.code == PRECONDITION_FAILED
    assert len(error.reply_text.encode("utf-8", "surrogateescape")) <= SHORTSTR_MAX_BYTES
    return error


def refusal(call: Callable[[], object]) -> str:
    """The text that `call` is refused with, `ACCEPTED` if it isn't."""
    error = caught(call)
    return ACCEPTED if error is None else error.text


def parsed(**arguments: Any) -> QueueArguments:
    return Declare({name.replace("_", "-"): value for name, value in arguments.items()}, ACCEPTED).parse()


@spec("4.7", "Arguments, validated at declare, 406; an argument of another queue type 406")
@spec("4.8", "quorum: non-durable, exclusive, auto_delete, server-named, x-max-priority 406")
@spec("10.1", "x-queue-type=stream: not served yet")
@pytest.mark.parametrize("row", DECLARES, ids=lambda row: f"{row.arguments} {row.flags}"[:90])
def test_declare(row: Declare) -> None:
    assert refusal(row.parse) == row.text


@spec("4.2", "then the arguments known to the queue type, 406 with the first difference")
@pytest.mark.parametrize("row", AGAIN, ids=lambda row: f"{row.current} {row.received}"[:90])
def test_declared_again(row: Again) -> None:
    current = QueueArguments(table_of(row.current))
    assert refusal(lambda: current.check_equivalent(table_of(row.received), "q", "/")) == row.text


@spec("6.1", "an argument of another queue type (x-stream-offset on classic) 406")
@pytest.mark.parametrize("row", CONSUMES, ids=lambda row: f"{row.queue} {row.arguments}"[:90])
def test_consume(row: Consume) -> None:
    queue = QueueArguments(table_of(row.queue))
    assert refusal(lambda: consumer_priority(table_of(row.arguments), queue, "q", "/")) == row.text


def test_priority_of_a_consumer() -> None:
    queue = QueueArguments({})
    assert consumer_priority({}, queue, "q", "/") == 0
    assert consumer_priority(table_of({"x-unheard-of": 1}), queue, "q", "/") == 0
    assert consumer_priority(table_of({"x-priority": -5}), queue, "q", "/") == -5
    assert consumer_priority({"x-priority": Field("B", 255)}, queue, "q", "/") == 255


def test_what_is_not_given_is_none() -> None:
    arguments = parsed()
    assert arguments.type == "classic"
    assert arguments.single_active_consumer is False
    assert arguments.message_deduplication is False
    assert arguments.table == {}
    others = set(QueueArguments.__slots__) - {"type", "single_active_consumer", "message_deduplication", "table"}
    assert {getattr(arguments, name) for name in others} == {None}


def test_what_is_given_to_a_classic_queue() -> None:
    arguments = parsed(
        x_expires=60_000,
        x_message_ttl=Field("l", 134_217_728_000),
        x_dead_letter_exchange="dlx",
        x_dead_letter_routing_key=b"k\xff",
        x_max_length=Field("B", 5),
        x_max_length_bytes=0,
        x_max_priority=10,
        x_overflow="reject-publish-dlx",
        x_queue_mode="lazy",
        x_queue_version=2,
        x_single_active_consumer=True,
        x_queue_master_locator="random",
        x_consumer_timeout=1_800_000,
        x_message_deduplication=True,
        x_cache_size=1000,
        x_unheard_of="kept",
    )
    assert arguments.type == "classic"
    assert (arguments.expires_ms, arguments.message_ttl_ms) == (60_000, 134_217_728_000)
    assert (arguments.dead_letter_exchange, arguments.dead_letter_routing_key) == ("dlx", "k\udcff")
    assert (arguments.max_length, arguments.max_length_bytes, arguments.overflow) == (5, 0, "reject-publish-dlx")
    assert (arguments.max_priority, arguments.queue_mode, arguments.queue_version) == (10, "lazy", 2)
    assert arguments.single_active_consumer is True
    assert arguments.master_locator == "random"
    assert arguments.consumer_timeout_ms == 1_800_000
    assert arguments.message_deduplication is True
    assert arguments.cache_size == 1000
    assert arguments.table["x-unheard-of"] == Field("S", b"kept")


def test_what_is_given_to_a_quorum_queue() -> None:
    arguments = parsed(
        x_queue_type="quorum",
        x_delivery_limit=3,
        x_dead_letter_exchange="",
        x_dead_letter_strategy="at-least-once",
        x_quorum_initial_group_size=5,
        x_queue_leader_locator="balanced",
    )
    assert arguments.type == "quorum"
    assert (arguments.delivery_limit, arguments.dead_letter_exchange, arguments.dead_letter_strategy) == (3, "", "at-least-once")
    assert (arguments.initial_group_size, arguments.leader_locator) == (5, "balanced")


@spec("4.7", "x-max-priority (0-255; 0 acts as 1)")
def test_a_maximum_priority_of_zero_is_none_at_all() -> None:
    assert parsed(x_max_priority=0).max_priority == 0


def test_what_rabbitmq_does_not_check_is_taken_where_it_is_an_integer() -> None:
    """A delivery limit of another type is none in RabbitMQ too (Erlang compares a number with it, and the number is less)."""
    assert parsed(x_queue_type="quorum", x_delivery_limit="3").delivery_limit is None
    assert parsed(x_queue_type="quorum", x_delivery_limit=True).delivery_limit is None
    assert parsed(x_consumer_timeout="3").consumer_timeout_ms is None
    assert parsed(x_cache_size=1.5).cache_size is None


def test_deduplication_is_on_unless_it_says_false() -> None:
    """As the plugin reads it: rabbit_message_deduplication_queue.ex, dedup_arg?."""
    assert parsed(x_message_deduplication="true").message_deduplication is True
    assert parsed(x_message_deduplication=False).message_deduplication is False


@spec("4.2", "x-queue-type classic equals absent")
def test_an_undefined_type_is_the_default() -> None:
    """rabbit_amqqueue:get_queue_type/2 at v3.13.7; what was sent is kept, and compared as it is."""
    arguments = parsed(x_queue_type="undefined")
    assert arguments.type == "classic"
    text = refusal(lambda: arguments.check_equivalent({}, "q", "/"))
    assert text == differs("x-queue-type", "none", "the value 'undefined' of type 'longstr'")


@spec("9.2", "at a new declare: dead-letter exchange = read on the queue, write on the exchange")
def test_dead_letter_exchange_for_the_permissions() -> None:
    assert dead_letter_exchange({}, "q", "/") is None
    assert dead_letter_exchange(table_of({"x-dead-letter-exchange": ""}), "q", "/") == ""
    assert dead_letter_exchange(table_of({"x-dead-letter-exchange": "é"}), "q", "/") == "é"
    text = refusal(lambda: dead_letter_exchange(table_of({"x-dead-letter-exchange": None}), "q", "/"))
    assert text == "invalid type 'void' for arg 'x-dead-letter-exchange' in queue 'q' in vhost '/'"


@spec("4.8", "x-max-priority on quorum 406")
def test_vhost_and_name_are_in_the_text() -> None:
    table = table_of({"x-max-length": -1})
    with pytest.raises(ChannelException) as refused:
        QueueArguments.parse(table, "orders", "shop", server_named=False, durable=True, exclusive=False, auto_delete=False)
    assert str(refused.value) == (
        "406 PRECONDITION_FAILED - invalid arg 'x-max-length' for queue 'orders' in vhost 'shop': {value_negative,-1}"
    )


def test_the_table_is_whole() -> None:
    """Every name that a queue type knows has a row, and every attribute its slot and its annotation."""
    assert {name for names in KNOWN.values() for name in names} <= {row.name for row in ARGUMENTS}
    assert len({row.name for row in ARGUMENTS}) == len(ARGUMENTS)
    assert {row.attribute for row in ARGUMENTS if row.attribute} | {"table"} == set(QueueArguments.__slots__)
    assert set(QueueArguments.__annotations__) == set(QueueArguments.__slots__)
    assert all(row.doc.endswith(".") for row in ARGUMENTS)
    assert {row.name for row in ARGUMENTS if row.queue_types == ("quorum",)} >= {"x-delivery-limit", "x-dead-letter-strategy"}


# --- whatever is sent --------------------------------------------------------------------------------------------------

NUMBERS = {"b": 8, "s": 16, "I": 32, "l": 64, "L": 64}
UNSIGNED = {"B": 8, "u": 16, "i": 32, "T": 64}
WORDS = b"classic quorum stream undefined drop-head reject-publish lazy default random balanced at-least-once x".split()
SCALARS = st.one_of(
    *(st.builds(Field, st.just(kind), st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)) for kind, bits in NUMBERS.items()),
    *(st.builds(Field, st.just(kind), st.integers(0, 2**bits - 1)) for kind, bits in UNSIGNED.items()),
    st.builds(Field, st.just("I"), st.integers(-1, 3)),
    st.builds(Field, st.just("t"), st.booleans()),
    st.builds(Field, st.just("f"), st.floats(width=32, allow_nan=False, allow_infinity=False)),
    st.builds(Field, st.just("d"), st.floats(allow_nan=False, allow_infinity=False)),
    st.builds(Field, st.just("D"), st.tuples(st.integers(0, 255), st.integers(0, 2**32 - 1))),
    st.builds(Field, st.sampled_from("Sx"), st.sampled_from(WORDS) | st.binary(max_size=20)),
    st.just(Field("V", None)),
)
ANY_NAME = st.binary(max_size=8).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
FIELDS = st.recursive(
    SCALARS,
    lambda inner: (
        st.builds(Field, st.just("A"), st.lists(inner, max_size=3))
        | st.builds(Field, st.just("F"), st.dictionaries(ANY_NAME, inner, max_size=3))
    ),
    max_leaves=4,
)
NAMES = st.sampled_from(sorted({row.name for row in ARGUMENTS})) | ANY_NAME
TABLES = st.dictionaries(NAMES, FIELDS, max_size=6)
KIND = st.sampled_from([None, "classic", "quorum"])


def of_kind(table: Table, kind: str | None) -> Table:
    return table if kind is None else {**table, "x-queue-type": field(kind)}


@given(TABLES, KIND, st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_any_table_is_parsed_or_refused(
    table: Table, kind: str | None, durable: bool, exclusive: bool, auto_delete: bool, named: bool
) -> None:
    table = of_kind(table, kind)
    flags = {"durable": durable, "exclusive": exclusive, "auto_delete": auto_delete, "server_named": named}
    if caught(lambda: QueueArguments.parse(table, "q", "/", **flags)) is not None:
        return
    arguments = QueueArguments.parse(table, "q", "/", **flags)
    assert arguments.table == table
    arguments.check_equivalent(table, "q", "/")
    arguments.check_equivalent(from_json(to_json(table)), "q", "/")
    again = QueueArguments(from_json(to_json(table)))
    for name in QueueArguments.__slots__:
        value = getattr(arguments, name)
        assert value == getattr(again, name)
        assert name == "table" or isinstance(value, int | str | None)


@given(TABLES, KIND, TABLES, KIND)
def test_any_two_tables_are_equivalent_or_not(first: Table, kind: str | None, second: Table, other: str | None) -> None:
    first, second = of_kind(first, kind), of_kind(second, other)
    there = refusal(lambda: QueueArguments(first).check_equivalent(second, "q", "/"))
    if QueueArguments(first).type == QueueArguments(second).type:
        back = refusal(lambda: QueueArguments(second).check_equivalent(first, "q", "/"))
        assert (there == ACCEPTED) == (back == ACCEPTED)
    assert refusal(lambda: QueueArguments(first).check_equivalent(first, "q", "/")) == ACCEPTED


CONSUMER_NAMES = st.sampled_from(sorted({name for names in KNOWN_TO_CONSUMERS.values() for name in names})) | ANY_NAME


@given(st.dictionaries(CONSUMER_NAMES, FIELDS, max_size=4), KIND)
def test_any_consumer_has_a_priority_or_is_refused(arguments: Table, kind: str | None) -> None:
    queue = QueueArguments(of_kind({}, kind))
    if caught(lambda: consumer_priority(arguments, queue, "q", "/")) is None:
        assert type(consumer_priority(arguments, queue, "q", "/")) is int


# --- the oracle --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def oracle() -> Iterator[RabbitMQ]:
    with RabbitMQ() as broker:
        yield broker


def reply(channel: WireChannel, command: Any, **fields: Any) -> str:
    """What the channel answers: `ACCEPTED`, or the code and text that it or the connection is closed with."""
    channel.send(command, **fields)
    method: Any = channel.wire.next_frame().method
    return f"{method.reply_code} {method.reply_text}" if hasattr(method, "reply_text") else ACCEPTED


def expected(text: str) -> str:
    """The whole reply to `text`, cut as the wire cuts it."""
    return text if text in (ACCEPTED, CRASHED) else str(ChannelException(PRECONDITION_FAILED, text))


def delete(oracle: RabbitMQ, name: str) -> None:
    with Wire.connect(oracle) as wire:
        wire.open_channel().call(Queue.Delete, queue=name)


@pytest.mark.oracle
def test_the_oracle_says_so(oracle: RabbitMQ) -> None:
    """All rows in one go: a node takes seconds to start."""
    wrong_rows: list[tuple[Any, str]] = []

    def note(row: Declare | Again | Consume, answer: str) -> None:
        if answer != expected(row.asked):
            wrong_rows.append((row, answer))

    for declare in DECLARES:
        with Wire.connect(oracle) as wire:
            flags = {**DECLARED, **declare.flags}
            raw = encode_fields(table_of(declare.arguments))
            note(declare, reply(wire.open_channel(), Queue.Declare, queue=declare.name, arguments=raw, **flags))
        if declare.name and not flags["exclusive"]:
            delete(oracle, declare.name)
    for again in AGAIN:
        with Wire.connect(oracle) as wire:
            channel = wire.open_channel()
            channel.call(Queue.Declare, queue="q", durable=True, arguments=encode_fields(table_of(again.current)))
            note(again, reply(channel, Queue.Declare, queue="q", durable=True, arguments=encode_fields(table_of(again.received))))
        delete(oracle, "q")
    for consume in CONSUMES:
        with Wire.connect(oracle) as wire:
            channel = wire.open_channel()
            channel.call(Queue.Declare, queue="q", durable=True, arguments=encode_fields(table_of(consume.queue)))
            note(consume, reply(channel, Basic.Consume, queue="q", arguments=encode_fields(table_of(consume.arguments))))
        delete(oracle, "q")
    assert wrong_rows == []
