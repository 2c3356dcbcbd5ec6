"""Many connections, many channels, a big message (issue 2, "Real input that must work").

Start-up and idle memory are in tests/house/test_serve.py.
"""

import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from pamqp.commands import Channel, Queue

from tests.oracle.leveret import Leveret
from tests.runtime.process import MB, PERSISTENT, Pinger, cpu_seconds, peak_rss_bytes, rss_bytes, sockets, soon
from tests.wire import PROTOCOL_HEADER, Wire

CONNECTIONS = 1000
CHANNELS = 10
CONNECTION_BYTES_MAX = 60 * 1024
CHANNEL_BYTES_MAX = 6 * 1024


@pytest.fixture(autouse=True)
def _many_files() -> Iterator[None]:
    """The test's own sockets are files too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_connections_with_ten_channels_each(memory: Leveret) -> None:
    with ExitStack() as stack, Wire.connect(memory) as first:
        first.open_channel()
        base_sockets, before = sockets(memory), rss_bytes(memory)
        wires = [stack.enter_context(Wire.connect(memory, timeout=60)) for _ in range(CONNECTIONS)]
        connected = rss_bytes(memory)
        for wire in wires:
            for number in range(1, CHANNELS + 1):
                wire.send_method(number, Channel.Open)
        for wire in wires:
            for _ in range(CHANNELS):
                wire.expect(Channel.OpenOk)
        opened = rss_bytes(memory)
        each, channel_bytes = (connected - before) // CONNECTIONS, (opened - connected) // CONNECTIONS // CHANNELS
        print(f"{each / 1024:.1f} KiB a connection, {channel_bytes} bytes a channel")
        assert each < CONNECTION_BYTES_MAX
        assert channel_bytes < CHANNEL_BYTES_MAX
        for wire in wires[::10]:
            wire.send_method(1, Queue.Declare, queue="", exclusive=True)
        for wire in wires[::10]:
            wire.expect(Queue.DeclareOk)
        begin = cpu_seconds(memory)
        with Pinger(memory) as pinger:
            pinger.pings(200)
            assert pinger.percentile(0.95) < 0.1, "idle connections cost others nothing"
        print(f"{cpu_seconds(memory) - begin:.2f} s of CPU for 200 round trips beside them")
        stack.close()
        soon(lambda: sockets(memory) == base_sockets, what="sockets")
        first.open_channel(2).nothing_more()


def test_a_burst_of_connections(memory: Leveret) -> None:
    """Everybody comes back at once after a restart: nobody is turned away, and the handshakes go side by side."""
    with ExitStack() as stack:
        begin = time.monotonic()
        wires = [stack.enter_context(Wire(memory, timeout=30)) for _ in range(500)]
        for wire in wires:
            wire.send_raw(PROTOCOL_HEADER)
        for wire in wires:
            assert wire.next_frame().method.name == "Connection.Start"
        print(f"500 handshakes begun in {time.monotonic() - begin:.2f} s")


def test_2047_channels_on_one_connection(memory: Leveret) -> None:
    with Wire.connect(memory) as wire:
        for number in range(1, 2048):
            wire.send_method(number, Channel.Open)
        for number in range(1, 2048):
            wire.expect(Channel.OpenOk, number)
        name = wire.call(2047, Queue.Declare, exclusive=True).queue
        wire.publish(1, "", name, b"hello")
        assert wire.call(2047, Queue.Declare, queue=name, passive=True).queue == name
        wire.send_method(2048, Channel.Open)
        wire.expect_close(530, "NOT_ALLOWED - number of channels opened (2047) has reached the negotiated channel_max (2047)")


@pytest.mark.alone
@pytest.mark.parametrize("mode", [1, PERSISTENT])
def test_a_message_of_100_mb(durable: Leveret, mode: int) -> None:
    body = b"0123456789" * 10_000_000
    with Wire.connect(durable, timeout=60) as wire, Pinger(durable) as pinger:
        channel = wire.open_channel()
        channel.queue("q", durable=True)
        channel.confirm_select()
        before = rss_bytes(durable)
        begin = time.monotonic()
        channel.publish("", "q", body, delivery_mode=mode)
        assert channel.confirms(1) == {1: True}
        message = channel.take("q")
        seconds = time.monotonic() - begin
        assert message.body == body
        assert all(size == 131072 - 8 for size in message.frames[:-1])
        pinger.check()
        peak = peak_rss_bytes(durable) - before
        print(f"100 MB there and back in {seconds:.2f} s, slowest ping {max(pinger.seconds):.3f} s, peak +{peak // MB} MB")
        assert max(pinger.seconds) < 2
        assert peak < 600 * MB
