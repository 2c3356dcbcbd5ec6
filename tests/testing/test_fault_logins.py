"""Handshakes that fail or take long, and heartbeats that don't come."""

import time

import pika
import pytest
from pamqp.commands import Connection
from pika.adapters.utils.connection_workflow import AMQPConnectorStackTimeout

from tests.testing.lab import Lab
from tests.wire import HEARTBEAT, PROTOCOL_HEADER, Wire

# --- logins -------------------------------------------------------------------------------------------------------------


def test_a_login_is_refused_so_many_times(lab: Lab) -> None:
    with lab.fault("refuse_login", times=2) as fault:
        for _ in range(2):
            with pytest.raises(pika.exceptions.ProbableAuthenticationError) as refused:
                lab.connection()
            assert "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN" in str(refused.value)
        lab.connection()
        assert fault.hits == 2
    assert f"user '{lab.user}' - a test has ordered it" in lab.broker.log


def test_only_this_user_is_refused(lab: Lab) -> None:
    with lab.of_the_broker("refuse_login", user=lab.user, times=None) as fault:
        Wire.connect(lab.broker).close()
        with pytest.raises(pika.exceptions.ProbableAuthenticationError):
            lab.connection()
        assert fault.hits == 1


def test_a_rule_of_a_vhost_is_for_those_who_may_enter_no_other(lab: Lab) -> None:
    with lab.fault("refuse_login", times=None) as fault:
        Wire.connect(lab.broker).close()
        assert fault.hits == 0


def test_only_a_client_of_that_name_is_refused(lab: Lab) -> None:
    with lab.fault("refuse_login", client_name="bad *", times=None):
        lab.connection("good one")
        with pytest.raises(pika.exceptions.ProbableAuthenticationError):
            lab.connection("bad one")


def test_a_login_is_not_answered_at_all(lab: Lab) -> None:
    """pika waits for as long as it was told to; the broker does for its handshake timeout."""
    with lab.fault("refuse_login", silent=True):
        with pytest.raises(AMQPConnectorStackTimeout):
            lab.connection(stack_timeout=0.3)
        with Wire(lab.broker) as wire:
            wire.greet()
            wire.start_ok(lab.user, lab.password)
            wire.expect(Connection.Tune)  # it was once


def test_a_vhost_is_refused(lab: Lab) -> None:
    with lab.fault("refuse_vhost") as fault:
        with pytest.raises(pika.exceptions.ProbableAccessDeniedError) as denied:
            lab.connection()
        assert f"NOT_ALLOWED - access to vhost '{lab.vhost}' refused for user '{lab.user}'" in str(denied.value)
        lab.connection()
        assert fault.hits == 1


def test_a_vhost_is_refused_in_other_words(lab: Lab) -> None:
    refused = pytest.raises(pika.exceptions.ProbableAccessDeniedError, match="NOT_ALLOWED - not today")
    with lab.fault("refuse_vhost", text="not today"), refused:
        lab.connection()


@pytest.mark.parametrize("step", ["connection.start-ok", "connection.tune-ok", "connection.open"])
def test_a_handshake_takes_long(lab: Lab, step: str) -> None:
    with lab.fault("slow_handshake", seconds=0.2, on=step) as fault:
        begin = time.monotonic()
        if step != "connection.tune-ok":
            lab.connection()
        else:
            wire = Wire(lab.broker)
            lab.clients.callback(wire.abort)
            wire.send_raw(PROTOCOL_HEADER)
            wire.expect(Connection.Start)
            wire.start_ok(lab.user, lab.password)
            wire.expect(Connection.Tune)
            # tune-ok says nothing of the vhost, so only a rule for all of them fits.
            with lab.of_the_broker("slow_handshake", seconds=0.2, on=step, user=lab.user):
                wire.tune_ok()
                wire.open_vhost(lab.vhost)
        assert 0.19 < time.monotonic() - begin < 2
        assert fault.hits == (step != "connection.tune-ok")


# --- heartbeats ---------------------------------------------------------------------------------------------------------


def test_the_broker_ends_a_connection_that_it_doesnt_hear(lab: Lab) -> None:
    wire = lab.wire(heartbeat=1)
    channel = wire.open_channel()
    channel.queue("q", durable=True)
    with lab.fault("stop_heartbeats", direction="from_client") as fault:
        channel.publish("", "q", b"unheard")
        wire.send_frame(HEARTBEAT, 0, b"")
        assert 2 < wire.expect_eof() < 6
        assert fault.hits == 1
    assert "missed heartbeats from client, timeout: 1s" in lab.broker.log
    assert lab.count() == 0


def test_the_broker_sends_no_heartbeats(lab: Lab) -> None:
    wire = lab.wire(heartbeat=1)
    with lab.fault("stop_heartbeats", direction="to_client"):
        wire.timeout = 1.6  # the broker sends one each half second
        with pytest.raises(AssertionError, match="nothing more before the deadline"):
            wire._read_frame(time.monotonic() + wire.timeout)
        wire.send_frame(HEARTBEAT, 0, b"")
    assert wire._read_frame(time.monotonic() + wire.timeout).type == HEARTBEAT


def test_without_heartbeats_nobody_notices_and_later_everything_arrives(lab: Lab) -> None:
    channel = lab.wire_channel("q")
    with lab.fault("stop_heartbeats"):
        channel.publish("", "q", b"late")
        assert count_of(lab) == 0
    channel.expect_counts("q", 1, 0)


def count_of(lab: Lab) -> int:
    """As the HTTP API has it: an AMQP connection of our own would be deaf, too."""
    answer = lab.broker.http.ask("GET", f"/api/queues/{lab.vhost}/q")
    count: int = answer.json["messages"]
    return count
