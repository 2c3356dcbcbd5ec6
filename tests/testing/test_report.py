"""What the broker saw, for the report of a test that failed."""

import re

import pytest
from pamqp.commands import Basic, Channel, Connection, Exchange, Queue

from tests.runtime.process import soon
from tests.testing.box import Box
from tests.testing.supervised import Supervised
from tests.testing.test_waits import waiting
from tests.wire import Wire

WIDTH = 120
LINES = 150


def report(box: Box) -> str:
    text: str = box.ask("GET", "/report")
    assert text.count("\n") <= LINES, text
    assert all(len(line) <= WIDTH for line in text.splitlines()), text
    return text


def sections(text: str) -> dict[str, list[str]]:
    """The lines of each, by heading."""
    found = [re.sub(r"\n {19}(?! )", " ", part).splitlines() for part in text.split("\n\n")]
    return {part[0]: [line.strip() for line in part[1:]] for part in found[1:]}


def test_of_a_vhost_where_nothing_happened(box: Box) -> None:
    text = report(box)
    assert text.startswith(f"What the broker saw in vhost '{box.vhost}' (seed 7).\n")
    assert sections(text) == {}


def test_queues_and_who_holds_what(box: Box) -> None:
    channel = box.wire("worker").open_channel()
    channel.queue("orders", exclusive=False, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"})
    channel.queue("dead", exclusive=False)
    channel.queue("nothing", exclusive=False)
    for index in range(10):
        channel.publish("", "orders", b'{"id": %d}' % index, content_type="application/json")
    channel.qos(2)
    channel.consume("orders", "ctag1")
    first, second = channel.deliveries(2)
    channel.reject(first.tag, requeue=False)
    channel.nack(second.tag, requeue=True)
    channel.deliveries(2)
    told = sections(report(box))
    queues = told["Queues"]
    place = queues.index("orders (classic): 2 unacked, 7 ready: no consumer could take more: prefetch 2 is used up")
    held = re.compile(
        r"unacked  #\d with consumer 'ctag1' of connection 'worker' ch 1 for 0\.\d{3} s: 9 bytes \{\"id\": \d\}, by 'worker' \+0\.\d{3}.*"
    )
    assert held.match(queues[place + 1]) and held.match(queues[place + 2]), queues
    assert [line.split("  ")[0] for line in queues[place + 3 : place + 6]] == ["ready"] * 3
    assert queues[place + 6] == "... and 4 more"
    assert "dead (classic): 0 unacked, 1 ready: there is no consumer" in queues
    assert any(re.fullmatch(r"ready    9 bytes \{\"id\": 0\}, there since \+0\.\d{3}, died in 'orders': rejected", line) for line in queues)
    assert queues[-1] == "empty: nothing (no consumer)"
    assert told["Connections"] == [
        f"worker: user '{box.user}', 1 channel",
        "ch 1: 2 unacked",
        "ch 1: consumer 'ctag1' of 'orders', prefetch 2, 2 unacked",
    ]


def test_what_went_nowhere_and_why(box: Box) -> None:
    wire = box.wire("worker")
    channel = wire.open_channel()
    channel.call(Exchange.Declare, exchange="shop", exchange_type="topic")
    channel.queue("orders", exclusive=False, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    channel.queue("jobs", exclusive=False, arguments={"x-dead-letter-exchange": "shop", "x-dead-letter-routing-key": "died"})
    channel.bind("orders", "shop", "orders.*")
    for _ in range(3):
        channel.publish("shop", "order.new", b"x")
    channel.publish("shop", "order.new", b"x", mandatory=True)
    channel.returned()
    for _ in range(2):
        channel.publish("", "orders", b"x")
    channel.publish("", "jobs", b"x")
    channel.reject(channel.take("jobs", no_ack=False).tag, requeue=False)
    box.wait("idle")
    told = [line.split(" ", 1)[1] for line in sentences(sections(report(box))["Went nowhere"])]
    died = "its dead letter was published to exchange 'shop' with key 'died' and matched no binding; there is 'orders.*'"
    assert told == [
        "3 messages of 'worker' to exchange 'shop' with key 'order.new': matched no binding; nearest: 'orders.*'",
        "1 message of 'worker' to exchange 'shop' with key 'order.new': matched no binding; nearest: 'orders.*' (returned)",
        "1 message of 'worker' to the default exchange with key 'orders': queue 'orders' was full, it has 1 message ready, and takes 1",
        f"1 message died in queue 'jobs': {died}",
    ]


def test_dead_letters_and_what_was_lost(box: Box) -> None:
    channel = box.wire("worker").open_channel()
    channel.queue("orders", exclusive=False, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"})
    channel.queue("dead", exclusive=False, arguments={"x-max-length": 2})
    for _ in range(3):
        channel.publish("", "orders", b"x")
        channel.reject(channel.take("orders", no_ack=False).tag, requeue=False)
    box.wait("idle")
    told = sections(report(box))
    assert [line.split(" ", 1)[1] for line in told["Dead letters"]] == [
        "3 messages of 'orders' rejected: to the default exchange with key 'dead', into 'dead'"
    ]
    assert sentences(told["Lost"]) == [
        "queue 'dead' has reached its length limit and dropped messages from its head, without a dead-letter exchange"
    ]
    assert list(told)[:2] == ["Lost", "Dead letters"]


def test_how_a_message_came_to_be_where_it_is(box: Box) -> None:
    channel = box.wire("worker").open_channel()
    channel.queue("q", exclusive=False)
    channel.publish("", "q", b"poison")
    for _ in range(2):
        channel.nack(channel.take("q", no_ack=False).tag)
    other = box.wire("clumsy").open_channel()
    other.take("q", no_ack=False)
    other.close()
    told = re.sub(r"[+]0\.\d{3}", "T", " ".join(sections(report(box))["Queues"][1:]))
    assert told == "ready    6 bytes 'poison', by 'worker' T, delivered 3 times, came back T (its channel was closed)"


def test_faults_and_what_they_did(box: Box) -> None:
    order = {"do": "close_channel", "on": "basic.publish", "skip": 1, "vhost": box.vhost, "code": 406, "text": "so ordered"}
    fault = box.broker.ask("POST", "/faults", order, status=201)["id"]
    assert sentences(sections(report(box))["Faults"])[0].endswith(": hit 0 times")
    channel = box.wire("worker").open_channel()
    channel.queue("q")
    for _ in range(2):
        channel.publish("", "q", b"x")
    channel.expect_close(406)
    told = sentences(sections(report(box))["Faults"])
    assert told[0].startswith(f"in effect: {fault}, close_channel (on='basic.publish', ") and told[0].endswith(": hit 1 time, spent")
    box.broker.ask("DELETE", f"/faults/{fault}", status=204)
    told = sentences(sections(report(box))["Faults"])
    assert len(told) == 1 and f"fault {fault}: close_channel" in told[0] and told[0].endswith("(on worker, 1 time)")


def sentences(lines: list[str]) -> list[str]:
    """Those that go on in the next line are one."""
    text = "\n".join(lines)
    return re.sub(r"\n(?![+]\d|\d+ times:|in effect|\.\.\.)", " ", text).splitlines()


def test_errors_and_refused_logins_come_first(testing_broker: Supervised, box: Box) -> None:
    wire = box.wire("worker")
    channel = wire.open_channel()
    channel.send(Queue.Declare, queue="nix", passive=True)
    channel.expect_close(404)
    box.wire("lost").abort()
    box.wait("connection", count=1)
    with Wire(testing_broker) as refused:
        refused.greet()
        refused.start_ok("nobody", "x")
        refused.expect(Connection.Close)
    soon(lambda: "Refused" in report(box))
    told = sections(report(box))
    assert list(told)[:2] == ["Errors", "Refused"]
    assert [line.split(" ", 1)[1] for line in told["Errors"]] == [
        f"worker ch 1: channel.close 404 NOT_FOUND - no queue 'nix' in vhost '{box.vhost}'",
        "lost: the client is gone without connection.close",
    ]
    assert told["Refused"][-1].endswith(": PLAIN login refused: user 'nobody' - invalid credentials")


@pytest.mark.parametrize("code", [200, 0])
def test_who_just_goes_is_no_error(box: Box, code: int) -> None:
    """py-amqp says 0."""
    wire = box.wire("worker")
    channel = wire.open_channel()
    channel.call(Channel.Close, reply_code=code, reply_text="")
    assert "Errors" not in box.ask("GET", "/report")


def test_who_waits_for_what(box: Box) -> None:
    channel = box.wire("worker").open_channel()
    channel.queue("q")
    assert "Waiting" not in report(box)
    with waiting(box, "queue", queue="q", ready=1) as done:
        told = sentences(sections(report(box))["Waiting"])
        assert told == ["somebody waits for queue 'q' to have 1 ready messages; it has 0 ready, 0 unacked"]
        channel.publish("", "q", b"x")
        assert done()["status"] == 200


def test_much_is_told_in_few_lines(box: Box) -> None:
    """Many connections, queues, messages and errors: what is left out is counted."""
    for index in range(20):
        wire = box.wire(f"worker-{index}")
        channel = wire.open_channel()
        for each in range(5):
            channel.queue(f"queue-{index}-{each}", exclusive=False)
            for _ in range(5):
                channel.publish("", f"queue-{index}-{each}", bytes(5000))
        channel.confirm_select()
        channel.send(Basic.Get, queue="nix")
        channel.expect_close(404)
    text = report(box)
    told = sections(text)
    assert told["Errors"][-1] == "... and 11 more"
    assert "... and 90 more queues with messages" in told["Queues"]
    assert told["Connections"][-1] == "... and 12 more connections"
    assert told["Conversations"][0].endswith(" more connections are not shown")


def test_the_names_that_clients_give_are_harmless(box: Box) -> None:
    wire = box.wire("wor\nker\x1b[31m")
    channel = wire.open_channel()
    channel.queue("q\nQueues\n", exclusive=False)
    channel.publish("", "q\nQueues\n", b"\x1b[31mred\n")
    box.wait("idle")
    text = report(box)
    assert "\x1b" not in text and "\nQueues\n" in text and text.count("\nQueues\n") == 1
