"""A vhost and a user for each test: made and gone in no time, whatever its clients are doing."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pika
import pytest
from pamqp.commands import Basic, Connection, Exchange, Queue, Tx

from tests.runtime.process import MB, publish_bytes, send_many, soon
from tests.testing.supervised import ROOT_PATH, Supervised
from tests.wire import METHOD, Wire, WireChannel, encode_method, frame_bytes

PATIENCE_SECONDS = 2.0
"""A socket of a sandbox that is over goes sooner."""


@pytest.fixture(scope="module")
def broker() -> Iterator[Supervised]:
    with Supervised() as supervised:
        yield supervised


def begin(broker: Supervised, name: str | None = None) -> dict[str, str]:
    sandbox: dict[str, str] = broker.ask("POST", "/sandboxes", None if name is None else {"name": name}, status=201)
    return sandbox


def end(broker: Supervised, name: str) -> None:
    broker.ask("DELETE", f"/sandboxes/{name}", status=204)


def connect(broker: Supervised, sandbox: dict[str, str], **options: Any) -> Wire:
    return Wire.connect(broker, user=sandbox["user"], password=sandbox["password"], vhost=sandbox["vhost"], **options)


def names(broker: Supervised, what: str) -> list[str]:
    return [each["name"] for each in broker.http.get(f"/api/{what}")]


# --- what clients may be doing --------------------------------------------------------------------------------------


def publishing(channel: WireChannel) -> None:
    channel.send(Basic.Publish, exchange="", routing_key="q")


def confirming(channel: WireChannel) -> None:
    channel.confirm_select()
    channel.publish("", "q", b"x")


def holding(channel: WireChannel) -> None:
    channel.take("q", no_ack=False)


def consuming(channel: WireChannel) -> None:
    channel.consume("q")
    channel.deliver()


def in_a_transaction(channel: WireChannel) -> None:
    channel.call(Tx.Select)
    channel.publish("", "q", b"uncommitted")
    channel.ack(channel.take("q", no_ack=False).tag)


def closing(channel: WireChannel) -> None:
    """Told that it is closed, and says nothing to that."""
    channel.send(Queue.Declare, queue="x" * 200, durable=True, arguments=b"broken")


def exclusive(channel: WireChannel) -> None:
    channel.queue("mine", exclusive=True)
    channel.send(Exchange.Declare, exchange="e", exchange_type="topic", durable=True)


def quiet(channel: WireChannel) -> None:
    pass


@pytest.mark.parametrize("does", [publishing, confirming, holding, consuming, in_a_transaction, closing, exclusive, quiet])
def test_it_ends_whatever_a_client_is_doing(broker: Supervised, does: Callable[[WireChannel], None]) -> None:
    sandbox = begin(broker, does.__name__)
    with connect(broker, sandbox) as wire:
        channel = wire.open_channel()
        channel.queue("q", durable=True, exclusive=False)
        for body in (b"1", b"2", b"3"):
            channel.publish("", "q", body, delivery_mode=2)
        does(channel)
        end(broker, sandbox["vhost"])
        _is_gone(broker, sandbox)
        if does is not closing:
            while (frame := wire.next_frame()).type != METHOD or not isinstance(frame.method, Connection.Close):
                pass
            assert (frame.method.reply_code, frame.method.reply_text) == (320, f"CONNECTION_FORCED - sandbox '{does.__name__}' is over")
        wire.read_to_eof()


def _is_gone(broker: Supervised, sandbox: dict[str, str]) -> None:
    assert sandbox["vhost"] not in names(broker, "vhosts")
    assert sandbox["user"] not in names(broker, "users")
    assert not [each for each in broker.http.get("/api/connections") if each["vhost"] == sandbox["vhost"]]
    broker.ask("DELETE", f"/sandboxes/{sandbox['vhost']}", status=404)


def test_a_client_that_does_not_read_is_not_waited_for(broker: Supervised) -> None:
    sandbox = begin(broker, "deaf")
    with connect(broker, sandbox, receive_buffer=4096) as wire, connect(broker, sandbox) as other:
        filling = other.open_channel()
        filling.queue("q", exclusive=False)
        send_many(other, publish_bytes(filling.number, "", "q", bytes(MB // 8)), 64)
        filling.call(Queue.Declare, queue="q", passive=True)
        wire.open_channel().consume("q", no_ack=True)
        wire.send_raw(frame_bytes(METHOD, 1, encode_method(Basic.Qos, prefetch_count=1))[:5])  # and in the middle of a frame
        soon(lambda: _unsent(broker, sandbox), what="output that isn't read")
        begun = time.monotonic()
        end(broker, sandbox["vhost"])
        _is_gone(broker, sandbox)
        soon(lambda: broker.http.get("/api/nodes")[0]["sockets_used"] == 0, PATIENCE_SECONDS)
        assert time.monotonic() - begun < PATIENCE_SECONDS


def _unsent(broker: Supervised, sandbox: dict[str, str]) -> bool:
    queue = broker.http.get(f"/api/queues/{sandbox['vhost']}/q")
    return 0 < queue["messages_ready"] < 64


def test_a_blocked_client_is_closed_too(tmp_path: Path) -> None:
    settings = tmp_path / "leveret.conf"
    settings.write_text("vm_memory_high_watermark.absolute = 1MB\n")
    with Supervised(arguments=("--config", str(settings))) as broker:
        sandbox = begin(broker)
        with connect(broker, sandbox) as wire:
            channel = wire.open_channel()
            channel.queue("q")
            channel.publish("", "q", bytes(2 * MB))
            channel.counts("q")
            channel.publish("", "q", b"waits")
            wire.expect(Connection.Blocked)
            end(broker, sandbox["vhost"])
            wire.expect(Connection.Close)
            wire.read_to_eof()
        _is_gone(broker, sandbox)
        again = begin(broker)
        with connect(broker, again) as wire:  # what lay in the other's queue blocks nobody any more
            channel = wire.open_channel()
            channel.confirm_select()
            channel.queue("q")
            channel.publish_confirmed("", "q", b"x")


# --- names ----------------------------------------------------------------------------------------------------------


def test_its_user_may_do_everything_there_and_nothing_elsewhere(broker: Supervised) -> None:
    sandbox = begin(broker, "of its own")
    other = begin(broker)
    with connect(broker, sandbox) as wire:
        wire.open_channel().queue("q", exclusive=False)
        wire.close()
    with pytest.raises(AssertionError, match="refused"):
        connect(broker, sandbox | {"vhost": other["vhost"]})
    credentials = sandbox["user"], sandbox["password"]
    assert broker.http.ask("GET", "/api/queues/of%20its%20own/q", credentials=credentials).status == 200
    assert broker.http.ask("GET", "/api/users", credentials=credentials).status == 401
    end(broker, "of%20its%20own")
    end(broker, other["vhost"])


def test_a_name_that_is_taken_gets_a_number(broker: Supervised) -> None:
    taken = [begin(broker, "twice")["vhost"], begin(broker, "twice")["vhost"], begin(broker, "guest")["vhost"]]
    assert taken == ["twice", "twice-1", "guest-1"]
    for each in taken:
        end(broker, each)


def test_names_and_passwords_come_from_the_seed() -> None:
    runs = []
    for seed in (1, 1, 2):
        with Supervised(seed=seed) as broker:
            runs.append([begin(broker), begin(broker)])
    assert runs[0] == runs[1] != runs[2]
    assert len({each["vhost"] for each in runs[0]}) == 2


@pytest.mark.parametrize("name", ["x" * 256, 5, ["x"]])
def test_what_can_not_be_a_name_is_refused(broker: Supervised, name: Any) -> None:
    before = names(broker, "vhosts")
    broker.ask("POST", "/sandboxes", {"name": name}, status=400)
    assert names(broker, "vhosts") == before


def test_only_sandboxes_are_ended(broker: Supervised) -> None:
    assert "there is no sandbox '/'" in json.dumps(broker.ask("DELETE", "/sandboxes/%2F", status=404))
    broker.ask("DELETE", "/sandboxes/nowhere", status=404)
    assert broker.http.ask("POST", f"{ROOT_PATH}/sandboxes").status == 401


def test_what_the_test_did_to_it_is_no_obstacle(broker: Supervised) -> None:
    sandbox = begin(broker, "protected")
    assert broker.http.ask("POST", "/api/vhosts/protected/deletion/protection").status == 204
    end(broker, "protected")
    _is_gone(broker, sandbox)
    for what in ("vhosts", "users"):
        sandbox = begin(broker, "deleted")
        assert broker.http.ask("DELETE", f"/api/{what}/deleted").status == 204
        end(broker, "deleted")
        _is_gone(broker, sandbox)


def test_others_go_on(broker: Supervised) -> None:
    first, second = begin(broker), begin(broker)
    with connect(broker, first), connect(broker, second) as wire:
        channel = wire.open_channel()
        channel.queue("q")
        channel.consume("q")
        end(broker, first["vhost"])
        channel.publish("", "q", b"still here")
        assert channel.deliver().body == b"still here"
        end(broker, second["vhost"])


def test_pika_hears_why(broker: Supervised) -> None:
    sandbox = begin(broker)
    credentials = pika.PlainCredentials(sandbox["user"], sandbox["password"])
    with pika.BlockingConnection(pika.ConnectionParameters(broker.host, broker.port, sandbox["vhost"], credentials)) as connection:
        channel = connection.channel()
        channel.queue_declare("q")
        end(broker, sandbox["vhost"])
        with pytest.raises(pika.exceptions.ConnectionClosedByBroker, match="is over"):
            channel.queue_declare("q2")


# --- a directory ----------------------------------------------------------------------------------------------------


def test_it_is_as_durable_as_everything(tmp_path: Path) -> None:
    with Supervised(tmp_path / "data") as broker:
        kept, ended = begin(broker, "kept"), begin(broker, "ended")
        end(broker, "ended")
        broker.kill()
        broker.start()
        assert "ended" not in names(broker, "vhosts") and "ended" not in names(broker, "users")
        with connect(broker, kept) as wire:
            wire.open_channel().queue("q", exclusive=False)
            wire.close()
        assert begin(broker)["vhost"] != begin(broker)["vhost"], "the seed gives the same names again"
        end(broker, "kept")
        _is_gone(broker, kept)
        assert ended["vhost"] == "ended"
