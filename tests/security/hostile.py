"""Hostile inputs: what is sent in which state, and what comes back from Leveret and from RabbitMQ 3.10.8.

test_hostile.py sends each to the broker that `--broker` names and holds the answer against the row; docs/security.md shows the rows, and
`python -m tests.security.hostile` writes them there.
"""

import struct
from pathlib import Path
from typing import NamedTuple

from pamqp.commands import Basic, Channel, Confirm, Connection, Exchange, Queue, Tx

from tests.wire import (
    BODY,
    CAPABILITIES,
    HEADER,
    HEARTBEAT,
    METHOD,
    PROTOCOL_HEADER,
    content_frames,
    encode_method,
    frame_bytes,
    longstr,
    shortstr,
    table,
)

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
BEGIN, END = "<!-- begin: python -m tests.security.hostile -->\n", "<!-- end -->\n"
CLOSED = "nothing, closed"
"""Not a byte; RabbitMQ and Leveret close the socket after three seconds."""
OURS = "`AMQP 0 0 9 1`, closed"
NOT_ASKED = "nothing within 20 s, 14 s of processor time (by hand)"
"""Measured on a node of its own, others were served meanwhile; it isn't done to an oracle that other tests use."""
SHOWN = 12


class Row(NamedTuple):
    """`state` is where the connection stands when `said` is sent. `rabbitmq` is None where the answer is Leveret's."""

    name: str
    state: str
    said: bytes
    leveret: str
    rabbitmq: str | None = None


def method(channel: int, cls: type, **fields: object) -> bytes:
    return frame_bytes(METHOD, channel, encode_method(cls, **fields))


def start_ok(response: bytes = b"\0guest\0guest", mechanism: bytes = b"PLAIN", properties: bytes | None = None) -> bytes:
    given = table({"capabilities": CAPABILITIES})[4:] if properties is None else properties
    payload = b"\x00\x0a\x00\x0b" + longstr(given) + shortstr(mechanism) + longstr(response) + shortstr("en_US")
    return frame_bytes(METHOD, 0, payload)


def tune_ok(channel_max: int = 2047, frame_max: int = 131_072, heartbeat: int = 0) -> bytes:
    return method(0, Connection.TuneOk, channel_max=channel_max, frame_max=frame_max, heartbeat=heartbeat)


def nested(levels: int) -> bytes:
    """The pairs of a table in a table in a table."""
    inner = b""
    for _ in range(levels):
        inner = b"\x01kF" + longstr(inner)
    return inner


def declare(**arguments: object) -> bytes:
    named = {name.replace("_", "-"): value for name, value in arguments.items()}
    return method(1, Queue.Declare, queue="", exclusive=True, arguments=named)


def publish(header: bytes, *bodies: bytes) -> bytes:
    """A publish with this content header and these body frames, and a qos behind it, whose reply says that it was taken."""
    frames = [method(1, Basic.Publish, routing_key="nowhere"), frame_bytes(HEADER, 1, header)]
    return b"".join([*frames, *[frame_bytes(BODY, 1, body) for body in bodies], QOS])


def size_of(size: int, rest: bytes = b"\0\0", class_id: int = 60, weight: int = 0) -> bytes:
    return struct.pack(">HHQ", class_id, weight, size) + rest


QOS = method(1, Basic.Qos, prefetch_count=1)
OPEN = method(0, Connection.Open, virtual_host="/")
DECLARE = struct.pack(">HHH", 50, 10, 0)
TOPIC = ".".join(["#", "*"] * 63)
DEEP = frame_bytes(METHOD, 1, DECLARE + b"\x01d\0" + longstr(nested(10_000)))
BOUND = method(1, Queue.Declare, exclusive=True, nowait=True) + method(1, Queue.Bind, exchange="amq.topic", routing_key=TOPIC, nowait=True)
DOTS = method(1, Basic.Publish, exchange="amq.topic", routing_key="." * 127) + content_frames(1, b"x", {}, 131_072)
ODD_TYPE = method(1, Exchange.Declare, exchange="x", exchange_type="a\nb")
HANDSHAKES = {
    "connected": b"",
    "starting": PROTOCOL_HEADER,
    "tuning": PROTOCOL_HEADER + start_ok(),
    "opening": PROTOCOL_HEADER + start_ok() + tune_ok(),
    "running": PROTOCOL_HEADER + start_ok() + tune_ok() + OPEN + method(1, Channel.Open),
}
"""What leads to each state, and how many methods come back on the way: 0, 1, 2, 2, 4."""
ANSWERS = {"connected": 0, "starting": 1, "tuning": 2, "opening": 2, "running": 4}

ROWS = (
    Row("zeros", "connected", bytes(100), OURS),
    Row("0xff", "connected", b"\xff" * 8, OURS),
    Row("AMQP 0-9", "connected", b"AMQP\x00\x00\x09\x00", OURS),
    Row("AMQP 1.0", "connected", b"AMQP\x00\x01\x00\x00", OURS),
    Row("AMQP 1.0 with SASL", "connected", b"AMQP\x03\x01\x00\x00", OURS),
    Row("an HTTP request", "connected", b"GET / HTTP/1.1\r\nHost: here\r\n\r\n", OURS),
    Row("100 kB of an HTTP request", "connected", b"POST / HTTP/1.1\r\n\r\n" + b"x" * 100_000, OURS),
    Row("a TLS ClientHello", "connected", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)), OURS),
    Row("an SSH banner", "connected", b"SSH-2.0-OpenSSH_9.2\r\n", OURS),
    Row("a PROXY header, version 1", "connected", b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n" + PROTOCOL_HEADER, OURS),
    Row("a PROXY header, version 2", "connected", b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12) + PROTOCOL_HEADER, OURS),
    Row("the whole handshake at once", "connected", HANDSHAKES["running"] + QOS, "connection.start"),
    Row("a frame of 4 GiB", "starting", b"\x01\x00\x00\xff\xff\xff\xff", CLOSED),
    Row("a frame of 2 GiB", "starting", b"\x01\x00\x00\x7f\xff\xff\xff", CLOSED),
    Row("a frame of 128 KiB", "starting", struct.pack(">BHI", METHOD, 0, 131_072), CLOSED),
    Row("a start-ok of 6 kB", "starting", start_ok(properties=b"\x01pS" + longstr(b"x" * 6000)), "connection.tune", CLOSED),
    Row("a start-ok of 9 kB", "starting", start_ok(properties=b"\x01pS" + longstr(b"x" * 9000)), CLOSED),
    Row("a wrong frame-end", "starting", start_ok()[:-1] + b"\0", CLOSED),
    Row("a frame of no known type", "starting", frame_bytes(7, 0, b"what"), CLOSED),
    Row("a content body", "starting", frame_bytes(BODY, 0, b"x"), CLOSED),
    Row("channel.open", "starting", method(1, Channel.Open), CLOSED),
    Row("tune-ok", "starting", tune_ok(), CLOSED),
    Row("tune-ok and open", "starting", tune_ok() + OPEN, CLOSED),
    Row("secure-ok, unasked", "starting", method(0, Connection.SecureOk), CLOSED),
    Row("connection.close", "starting", method(0, Connection.Close, reply_code=200, reply_text=""), CLOSED),
    Row("an unknown method", "starting", frame_bytes(METHOD, 0, b"\x00\x0a\x00\x63"), CLOSED),
    Row("an empty method", "starting", frame_bytes(METHOD, 0, b""), CLOSED),
    Row("start-ok cut short", "starting", frame_bytes(METHOD, 0, start_ok()[7:-6]), CLOSED),
    Row("start-ok with bytes behind it", "starting", frame_bytes(METHOD, 0, start_ok()[7:-1] + b"more"), CLOSED),
    Row("100 heartbeats, then start-ok", "starting", frame_bytes(HEARTBEAT, 0, b"") * 100 + start_ok(), CLOSED, "connection.tune"),
    Row("a table of an unknown type", "starting", start_ok(properties=b"\x01a!"), CLOSED),
    Row("a table longer than its frame", "starting", frame_bytes(METHOD, 0, b"\x00\x0a\x00\x0b\xff\xff\xff\xff"), CLOSED),
    Row("tables 63 deep", "starting", start_ok(properties=nested(62)), "connection.tune"),
    Row("tables 400 deep", "starting", start_ok(properties=nested(400)), CLOSED, "connection.tune"),
    Row("an array of 3,000 nothings", "starting", start_ok(properties=b"\x01aA" + longstr(b"V" * 3000)), "connection.tune"),
    Row("a thousand names", "starting", start_ok(properties=b"".join(b"\x02%02dV" % (n % 100) for n in range(900))), "connection.tune"),
    Row("capabilities that are text", "starting", start_ok(properties=b"\x0ccapabilitiesS" + longstr(b"x")), "connection.tune"),
    Row("an unknown mechanism", "starting", start_ok(mechanism=b"KERBEROS"), CLOSED),
    Row("EXTERNAL, not offered", "starting", start_ok(mechanism=b"EXTERNAL"), CLOSED),
    Row("PLAIN without its NULs", "starting", start_ok(b"guest"), CLOSED),
    Row("PLAIN with an identity", "starting", start_ok(b"root\0guest\0guest"), CLOSED),
    Row("PLAIN with a NUL behind", "starting", start_ok(b"\0guest\0guest\0"), CLOSED),
    Row("PLAIN, a wrong password", "starting", start_ok(b"\0guest\0wrong"), "connection.close 403"),
    Row("PLAIN, who can't hear 403", "starting", start_ok(b"\0guest\0wrong", properties=b""), CLOSED),
    Row("PLAIN, no such user", "starting", start_ok(b"\0nobody\0guest"), "connection.close 403"),
    Row("PLAIN, no password", "starting", start_ok(b"\0guest\0"), "connection.close 403"),
    Row("PLAIN, a name that isn't UTF-8", "starting", start_ok(b"\0\xff\xfe\0guest"), "connection.close 403"),
    Row("PLAIN, a password of 3 kB", "starting", start_ok(b"\0guest\0" + b"x" * 3000), "connection.close 403"),
    Row("AMQPLAIN that is no table", "starting", start_ok(b"\0guest\0guest", b"AMQPLAIN"), CLOSED),
    Row("AMQPLAIN without a password", "starting", start_ok(table({"LOGIN": "guest"})[4:], b"AMQPLAIN"), CLOSED),
    Row("AMQPLAIN, a number for a name", "starting", start_ok(table({"LOGIN": 1, "PASSWORD": "x"})[4:], b"AMQPLAIN"), CLOSED),
    Row("a second start-ok behind a refused one", "starting", start_ok(b"\0guest\0wrong", properties=b"") + start_ok(), CLOSED),
    Row("start-ok again", "tuning", start_ok(), CLOSED),
    Row("open before tune-ok", "tuning", OPEN, CLOSED),
    Row("frame_max = 0", "tuning", tune_ok(frame_max=0) + OPEN, CLOSED),
    Row("frame_max = 4095", "tuning", tune_ok(frame_max=4095) + OPEN, CLOSED),
    Row("frame_max = 4 GiB", "tuning", tune_ok(frame_max=0xFFFFFFFF) + OPEN, CLOSED),
    Row("channel_max = 0", "tuning", tune_ok(channel_max=0) + OPEN, CLOSED),
    Row("channel_max = 65535", "tuning", tune_ok(channel_max=65535) + OPEN, CLOSED),
    Row("a heartbeat of 65,535 s", "tuning", tune_ok(heartbeat=65535) + OPEN, "connection.open-ok"),
    Row("a vhost that isn't there", "opening", method(0, Connection.Open, virtual_host="x" * 255), "connection.close 530"),
    Row("a channel before open", "opening", method(1, Channel.Open), CLOSED, "connection.close 505"),
    Row("a frame of 4 GiB", "running", b"\x03\x00\x01\xff\xff\xff\xff", "connection.close 501"),
    Row("a wrong frame-end", "running", QOS[:-1] + b"\0", "connection.close 501"),
    Row("garbage", "running", b"\xde\xad\xbe\xef" * 50, "connection.close 501"),
    Row("a frame of no known type", "running", frame_bytes(7, 1, b"what"), "connection.close 501"),
    Row("10,000 heartbeats", "running", frame_bytes(HEARTBEAT, 0, b"") * 10_000 + QOS, "basic.qos-ok"),
    Row("a heartbeat on a channel", "running", frame_bytes(HEARTBEAT, 1, b""), "connection.close 505"),
    Row("an unknown method", "running", frame_bytes(METHOD, 1, b"\x00\x3c\x00\xfa"), "connection.close 540", CLOSED),
    Row("half an argument", "running", frame_bytes(METHOD, 1, DECLARE + b"\x20short"), "connection.close 501"),
    Row("a channel that isn't open", "running", method(7, Tx.Select), "connection.close 504"),
    Row("channel 65,535", "running", method(65_535, Channel.Open), "channel.open-ok"),
    Row("open again", "running", OPEN, "connection.close 504"),
    Row("a broker's method", "running", method(1, Queue.DeclareOk, queue="q"), "connection.close 503"),
    Row("a body without a publish", "running", frame_bytes(BODY, 1, b"x"), "connection.close 505"),
    Row("a body past its size", "running", publish(size_of(3), b"long"), "connection.close 505"),
    Row("a method inside a body", "running", publish(size_of(3)), "connection.close 505"),
    Row("10,000 empty bodies", "running", publish(size_of(3), *[b""] * 10_000, b"abc"), "basic.qos-ok"),
    Row("a message of 16 EiB, and a method", "running", publish(size_of(2**64 - 1)), "channel.close 406", "connection.close 505"),
    Row("properties that end early", "running", publish(size_of(1, b"\xff\xfe\xff"), b"x"), "connection.close 541"),
    Row("tables 10,000 deep", "running", DEEP, "connection.close 501", "queue.declare-ok"),
    Row("an argument of 120 kB", "running", declare(x=b"\xff" * 120_000), "queue.declare-ok"),
    Row("a length of 120 kB of text", "running", declare(x_max_length=b"\xff" * 120_000), "channel.close 406"),
    Row("a length below 0", "running", declare(x_max_length=-1), "channel.close 406"),
    Row("a priority of 10^9", "running", declare(x_max_priority=10**9), "channel.close 406"),
    Row("a name that isn't UTF-8", "running", method(1, Queue.Declare, queue="\udcff", exclusive=True), "connection.close 501"),
    Row("an ack of a message there wasn't", "running", method(1, Basic.Ack, delivery_tag=2**64 - 1) + QOS, "channel.close 406"),
    Row("prefetch_size", "running", method(1, Basic.Qos, prefetch_size=1), "connection.close 540"),
    Row("a binding of 63 times #.*", "running", BOUND + QOS, "basic.qos-ok"),
    Row("a publish of 127 dots to it", "running", BOUND + DOTS + QOS, "basic.qos-ok", NOT_ASKED),
    Row("transactions with confirms", "running", method(1, Tx.Select) + method(1, Confirm.Select), "tx.select-ok"),
    Row("an exchange of a type with a line break", "running", ODD_TYPE, "channel.close 406", "connection.close 503"),
)  # fmt: skip


def sent(said: bytes) -> str:
    """How the page shows bytes: how many, and the first of them."""
    first = said[:SHOWN].hex(" ", 1)
    return f"{len(said):,}: `{first}{' ...' if len(said) > SHOWN else ''}`"


def render() -> str:
    """The table for the page."""
    lines = ["| input | state | bytes sent | Leveret | RabbitMQ 3.10.8 |", "|---|---|---|---|---|"]
    lines += [f"| {row.name} | {row.state} | {sent(row.said)} | {row.leveret} | {row.rabbitmq or row.leveret} |" for row in ROWS]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the table into the page."""
    page = PAGE.read_text(encoding="utf-8")
    head, rest = page.split(BEGIN)
    PAGE.write_text(head + BEGIN + render() + END + rest.split(END, 1)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
