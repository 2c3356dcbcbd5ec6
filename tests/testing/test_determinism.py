"""The same seed and the same order of client frames give the same run: every byte that comes back is compared."""

import random
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pamqp.commands import Basic, Channel, Confirm, Connection, Exchange, Queue, Tx

from tests.testing.supervised import Supervised
from tests.wire import METHOD, PROTOCOL_HEADER, Wire, content_frames, decode_method, encode_method, frame_bytes

MOMENT_MS = 4_000_000_000_000
"""Both runs have it in common; the machines' clocks they haven't."""


class Script:
    """Frames of one connection, and how much comes back is not for it to say: it never waits for an answer."""

    def __init__(self, vhost: str = "/", user: str = "guest", password: str = "guest") -> None:
        response = f"\0{user}\0{password}".encode()
        self.pieces = [PROTOCOL_HEADER]
        capabilities = {"consumer_cancel_notify": True, "basic.nack": True}
        said = {"capabilities": capabilities}
        self.method(0, Connection.StartOk, client_properties=said, mechanism="PLAIN", response=response, locale="en_US")
        self.method(0, Connection.TuneOk, channel_max=2047, frame_max=131072, heartbeat=0)
        self.method(0, Connection.Open, virtual_host=vhost)

    def method(self, channel: int, command: Any, **fields: Any) -> None:
        self.pieces.append(frame_bytes(METHOD, channel, encode_method(command, **fields)))

    def publish(self, channel: int, exchange: str, key: str, body: bytes, **properties: Any) -> None:
        method = encode_method(Basic.Publish, exchange=exchange, routing_key=key)
        self.pieces.append(frame_bytes(METHOD, channel, method) + content_frames(channel, body, properties, 131072))

    def close(self) -> None:
        self.method(0, Connection.Close, reply_code=200, reply_text="bye")


def everything(script: Script, *, durable: bool = False) -> None:
    """Names, tags, random exchanges, confirms, deaths, several consumers, transactions, errors: on several channels, in no order."""
    bits = {"durable": True} if durable else {"exclusive": True}
    mode = {"delivery_mode": 2} if durable else {}
    for channel in range(1, 8):
        script.method(channel, Channel.Open)
    for _ in range(3):
        script.method(1, Queue.Declare, exclusive=True)
        script.method(1, Basic.Consume, no_ack=True)
    script.method(1, Exchange.Declare, exchange="any", exchange_type="x-random", auto_delete=True)
    script.method(1, Basic.Consume, queue="amq.rabbitmq.reply-to", no_ack=True)
    script.method(2, Confirm.Select)
    script.method(2, Queue.Declare, queue="dead", **bits)
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    script.method(2, Queue.Declare, queue="work", arguments=arguments, **bits)
    for number in range(4):
        script.method(3, Queue.Declare, queue=f"any.{number}", exclusive=True)
        script.method(3, Queue.Bind, queue=f"any.{number}", exchange="any")
        script.method(3 + number % 2, Basic.Consume, queue=f"any.{number}", no_ack=True)
    script.method(4, Basic.Qos, prefetch_count=2)
    for number in range(3):
        script.method(4, Basic.Consume, queue="work", consumer_tag=f"worker.{number}")
    for number in range(40):
        script.publish(2, "", "work", b"%d" % number, **mode)
        script.publish(2, "any", "", b"any %d" % number)
        if number % 3 == 0:
            script.publish(5, "", "nowhere", b"lost")
            script.publish(5, "", "work", b"more", **mode)
    for tag in range(1, 7):
        script.method(4, Basic.Nack, delivery_tag=tag, requeue=tag % 3 == 0)
    script.method(4, Basic.Ack, delivery_tag=8, multiple=False)
    for tag in (7, 9, 10, 11):
        script.method(4, Basic.Ack, delivery_tag=tag)
    script.method(7, Basic.Qos, prefetch_count=2)
    script.method(7, Queue.Declare, queue="acks", exclusive=True)
    for tag in "ab":
        script.method(7, Basic.Consume, queue="acks", consumer_tag=tag)
    for number in range(8):
        script.publish(7, "", "acks", b"%d" % number)
    for tag in (1, 3, 2):  # a's, a's and b's
        script.method(7, Basic.Ack, delivery_tag=tag)
    script.method(5, Tx.Select)
    for number in range(3):
        script.publish(5, "", "work", b"tx %d" % number, **mode)
    script.method(5, Tx.Commit)
    script.method(6, Basic.Consume, queue="dead", no_ack=True)
    script.method(3, Queue.Declare, queue="nothing", passive=True)
    script.method(1, Queue.Declare, queue="", exclusive=True)
    script.close()


def play(broker: Supervised, script: Script, cut: random.Random | None = None) -> bytes:
    """Send it, in pieces of any size if it is `cut`, and return all that came back."""
    data = b"".join(script.pieces)
    sizes = iter(lambda: cut.randint(1, 2000) if cut is not None else len(data), 0)
    with socket.create_connection((broker.host, broker.port), timeout=20) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        at = 0
        while at < len(data):
            at += peer.send(data[at : at + next(sizes)])
        heard = b""
        while piece := peer.recv(65536):
            heard += piece
        return heard


def freeze(broker: Supervised) -> None:
    broker.ask("POST", "/clock/freeze")
    broker.ask("POST", "/clock/advance", {"until_ms": MOMENT_MS})


def runs(
    arguments: list[tuple[int, random.Random | None]], tmp_path: Path | None, tell: Callable[[Supervised], None] = freeze
) -> list[bytes]:
    """What came back in a run of its own for each seed and way of cutting."""
    heard = []
    for number, (seed, cut) in enumerate(arguments):
        script = Script()
        everything(script, durable=tmp_path is not None)
        with Supervised(tmp_path / str(number) if tmp_path is not None else None, seed=seed) as broker:
            tell(broker)
            heard.append(play(broker, script, cut))
    return heard


def test_the_same_seed_gives_the_same_bytes() -> None:
    """However the frames came in: at once, or in pieces."""
    one, same, cut, other = runs([(7, None), (7, None), (7, random.Random(1)), (8, None)], None)
    assert len(one) > 5000 and b"amq.gen-" in one and b"x-death" in one and b"NOT_FOUND" in one
    assert same == one
    assert cut == one
    assert other != one
    assert len(other) == len(one)


def test_each_frame_has_its_turn() -> None:
    """While the clock is frozen, runs of like frames are none: acks of several consumers, publishes that are confirmed."""
    acks, publishes = Script(), Script()
    for script in (acks, publishes):
        script.method(1, Channel.Open)
        script.method(1, Queue.Declare, queue="q", exclusive=True)
    acks.method(1, Basic.Qos, prefetch_count=2)
    for tag in "ab":
        acks.method(1, Basic.Consume, queue="q", consumer_tag=tag)
    publishes.method(1, Confirm.Select)
    for script in (acks, publishes):
        for number in range(8):
            script.publish(1, "", "q", b"%d" % number, message_id=str(number))
    for tag in (1, 3, 2):  # a's, a's and b's
        acks.method(1, Basic.Ack, delivery_tag=tag)
    for script in (acks, publishes):
        script.close()
    with Supervised() as broker:
        freeze(broker)
        heard = [each for each in methods_in(play(broker, acks)) if isinstance(each, Basic.Deliver)]
        assert [each.consumer_tag for each in heard] == ["a", "b", "a", "b", "a", "a", "b"]
        heard = [each for each in methods_in(play(broker, publishes)) if isinstance(each, Basic.Ack)]
        assert [(each.delivery_tag, each.multiple) for each in heard] == [(tag, False) for tag in range(1, 9)]


def methods_in(data: bytes) -> Iterator[Any]:
    at = 0
    while at < len(data):
        kind, _, size = struct.unpack_from(">BHI", data, at)
        if kind == METHOD:
            yield decode_method(data[at + 7 : at + 7 + size])
        at += size + 8


def test_on_a_disk_too(tmp_path: Path) -> None:
    """The disk takes its time; confirms and deliveries come in the same order all the same."""
    one, cut = runs([(7, None), (7, random.Random(2))], tmp_path)
    assert b"x-death" in one
    assert cut == one


@pytest.mark.parametrize("seed", [1, 2])
def test_an_adversary_too(seed: int) -> None:
    def tell(broker: Supervised) -> None:
        freeze(broker)
        broker.ask_vhost("PUT", "/", "/scheduling", {"mode": "adversarial", "seed": seed})

    fair, one, same = *runs([(7, None)], None), *runs([(7, None), (7, None)], None, tell)
    assert one == same != fair


def test_names_of_a_sandbox_do_not_depend_on_what_was_there_before() -> None:
    found = []
    with Supervised() as broker:
        for name in ("b", "a", "b"):
            sandbox = broker.ask("POST", "/sandboxes", {"name": name})
            with Wire.connect(broker, user=sandbox["user"], password=sandbox["password"], vhost=sandbox["vhost"]) as wire:
                channel = wire.open_channel()
                queue = channel.queue()
                found.append([queue, channel.consume(queue), channel.consume(queue)])
            broker.ask("DELETE", f"/sandboxes/{name}")
    assert found[0] == found[2] != found[1]
    assert len({*found[0], *found[1]}) == 6
