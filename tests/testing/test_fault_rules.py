"""What a rule fits, how it counts, what is left to chance, and what is said of rules that make no sense."""

from typing import Any

import pytest
from pamqp.commands import Basic

from tests.testing.lab import LOST, Lab
from tests.testing.supervised import Supervised


def nacked(channel: Any, keys: list[str]) -> list[int]:
    """Publish to these queues; which publishes were nacked, counted from 0."""
    channel.confirm_select()
    for key in keys:
        channel.publish("", key, b"")
    return [tag - 1 for tag, is_acked in channel.confirms(len(keys)).items() if not is_acked]


# --- what fits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filters", "hit"),
    [
        ({}, [0, 1, 2, 3]),
        ({"routing_key": "a.1"}, [0]),
        ({"routing_key": "a.*"}, [0, 1]),
        ({"routing_key": "*.1"}, [0, 2]),
        ({"routing_key": "a.?"}, []),
        ({"queue": "b.1"}, [2]),
        ({"queue": "b*", "routing_key": "*2"}, [3]),
        ({"exchange": ""}, [0, 1, 2, 3]),
        ({"exchange": "amq.topic"}, []),
        ({"client_name": "shop-*"}, [0, 1, 2, 3]),
        ({"client_name": "shop"}, []),
        ({"user": "guest"}, []),
        ({"skip": 1, "times": 2}, [1, 2]),
        ({"skip": 1, "times": 2, "routing_key": "*.1"}, [2]),
        ({"chance": 0}, []),
        ({"chance": 1}, [0, 1, 2, 3]),
    ],
    ids=str,
)
def test_what_it_fits_and_how_often(lab: Lab, filters: dict[str, Any], hit: list[int]) -> None:
    channel = lab.wire_channel(name="shop-1")
    keys = ["a.1", "a.2", "b.1", "b.2"]
    for key in keys:
        channel.queue(key)
    with lab.fault("nack_confirms", **{"times": None, **filters}) as fault:
        assert nacked(channel, keys) == hit
        facts = fault.facts
        assert facts["hits"] == len(hit)
        assert facts["remaining"] == (None if "times" not in filters else filters["times"] - len(hit))


def test_without_a_number_of_times_it_is_once(lab: Lab) -> None:
    with lab.fault("nack_confirms") as fault:
        assert nacked(lab.wire_channel("q"), ["q", "q"]) == [0]
        assert fault.facts["remaining"] == 0


def test_a_publish_is_about_each_queue_that_it_goes_to(lab: Lab) -> None:
    channel = lab.wire_channel()
    for queue in ("one", "two"):
        channel.queue(queue)
        channel.bind(queue, "amq.fanout")
    with lab.fault("nack_confirms", queue="two", times=None) as fault:
        channel.confirm_select()
        channel.publish("amq.fanout", "", b"both")
        channel.publish("", "one", b"one")
        assert channel.confirms(2) == {1: False, 2: True}
        assert fault.hits == 1
    assert channel.bodies("two") == [b"both"]


def test_it_tells_when_and_where_it_hit(lab: Lab) -> None:
    before = lab.broker.ask("GET", "")["now_ms"]
    with lab.fault("nack_confirms") as fault:
        channel = lab.wire_channel("q", name="the shop")
        nacked(channel, ["q"])
        last = fault.facts["last"]
    assert before <= last.pop("at_ms") <= lab.broker.ask("GET", "")["now_ms"]
    assert last.pop("connection").endswith(f":{lab.broker.port}")
    assert last == {"method": "confirm", "when": "before", "client_name": "the shop", "user": lab.user, "channel": 1}


def test_other_vhosts_are_left_alone(lab: Lab, lab_broker: Supervised) -> None:
    other = Lab(lab_broker)
    with lab.fault("nack_confirms", times=None) as fault, other.wire() as wire:
        channel = wire.open_channel()
        channel.queue("q")
        assert nacked(channel, ["q"]) == []
        assert fault.facts["seen"] == 0
    lab_broker.ask("DELETE", f"/sandboxes/{other.vhost}")


def test_runs_are_counted_message_by_message(lab: Lab) -> None:
    """A thousand publishes, and as many acks, that come in one read."""
    channel = lab.wire_channel("q")
    with lab.fault("nack_confirms", skip=700, times=2) as fault:
        assert nacked(channel, ["q"] * 1000) == [700, 701]
        assert fault.facts["seen"] == 702
    with lab.fault("redeliver", skip=998, times=None) as fault:
        channel.consume("q")
        tags = [message.tag for message in channel.deliveries(1000)]
        for tag in tags[:10]:
            channel.ack(tag)
        channel.ack(tags[-1], multiple=True)
        again = channel.deliveries(2)
        assert [(message.method.redelivered, message.tag) for message in again] == [(True, 1001), (True, 1002)]
        assert fault.facts["seen"] == 1000


def test_several_rules_each_count_for_themselves(lab: Lab) -> None:
    channel = lab.wire_channel("q")
    with lab.fault("nack_confirms", skip=1), lab.fault("nack_confirms", skip=3) as later:
        assert nacked(channel, ["q"] * 5) == [1, 3]
        assert later.hits == 1


def test_taken_away_it_is_as_if_it_had_never_been(lab: Lab) -> None:
    with lab.fault("nack_confirms", times=None) as fault:
        pass
    lab.broker.ask("GET", f"/faults/{fault.id}", status=404)
    assert nacked(lab.wire_channel("q"), ["q"]) == []


def test_all_of_a_vhost_are_listed_and_taken_away(lab: Lab) -> None:
    first, second = lab.fault("nack_confirms"), lab.fault("drop_connection", on="basic.ack", when="before")
    listed = lab.broker.ask("GET", f"/faults?vhost={lab.vhost}")
    assert [each["id"] for each in listed] == [first.id, second.id]
    assert listed[1]["rule"] | {"do": "drop_connection", "on": "basic.ack", "when": "before", "times": 1} == listed[1]["rule"]
    lab.broker.ask("DELETE", f"/faults?vhost={lab.vhost}", status=204)
    assert lab.broker.ask("GET", f"/faults?vhost={lab.vhost}") == []


# --- chance -------------------------------------------------------------------------------------------------------------


def hit_by_chance(broker: Supervised, **order: Any) -> list[int]:
    """Of fifty publishes in a fresh sandbox, those that a rule hits with a chance of one in three."""
    lab = Lab(broker)
    with lab.fault("nack_confirms", chance=1 / 3, times=None, **order), lab.clients:
        hit = nacked(lab.wire_channel("q"), ["q"] * 50)
    broker.ask("DELETE", f"/sandboxes/{lab.vhost}")
    return hit


def test_a_run_can_be_repeated(lab_broker: Supervised) -> None:
    first = hit_by_chance(lab_broker)
    assert 5 < len(first) < 30
    assert hit_by_chance(lab_broker) == first, "the same in any vhost of any name"
    assert hit_by_chance(lab_broker, seed="another") != first
    assert hit_by_chance(lab_broker, seed=1) == hit_by_chance(lab_broker, seed=1)
    with Supervised(seed=lab_broker.seed) as other:
        assert hit_by_chance(other) == first
    with Supervised(seed=lab_broker.seed + 1) as other:
        assert hit_by_chance(other) != first


# --- what makes no sense ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ({}, "do: expected what is to go wrong, one of drop_connection, "),
        ({"do": "drop_conection"}, "do: there is no action 'drop_conection', did you mean 'drop_connection'? There are drop_connection, "),
        ({"do": "zap"}, "do: there is no action 'zap'. There are drop_connection, "),
        ({"do": "delay_confirms"}, "delay_confirms: it needs 'seconds': how much later, by the broker's clock"),
        ({"do": "delay_confirms", "second": 1}, "delay_confirms: unknown field 'second', did you mean 'seconds'? "),
        ({"do": "delay_confirms", "seconds": "1"}, "seconds: expected a number (how much later, by the broker's clock), not '1'"),
        ({"do": "delay_confirms", "seconds": -1}, "seconds: expected a number "),
        ({"do": "nack_confirms", "code": 404}, "nack_confirms: unknown field 'code'"),
        ({"do": "nack_confirms", "on": "basic.ack"}, "on: 'basic.ack' is no method that nack_confirms can be on. It can be on confirm"),
        (
            {"do": "drop_connection", "on": "basic.publsh"},
            "on: 'basic.publsh' is no method that drop_connection can be on, did you mean 'basic.publish'?",
        ),
        ({"do": "drop_connection", "on": 7}, "on: expected the name of a method, as basic.publish, not 7"),
        ({"do": "drop_connection", "when": "never"}, "when: expected 'before' or 'after', not 'never'"),
        ({"do": "fail_method", "when": "after"}, "when: fail_method can't be after a method"),
        ({"do": "memory_alarm", "when": "after"}, "when: memory_alarm is on no method, so it is neither before nor after one"),
        ({"do": "memory_alarm", "queue": "q"}, "queue: memory_alarm is about the whole broker"),
        (
            {"do": "block_publishers", "queue": "q"},
            "queue: block_publishers begins with the connection, so it can't depend on a queue unless it is `on` a method",
        ),
        ({"do": "nack_confirms", "queue": 1}, "queue: expected a name, or a pattern with *, not 1"),
        ({"do": "nack_confirms", "chance": 2}, "chance: expected a number from 0 to 1, not 2"),
        ({"do": "nack_confirms", "times": 0}, "times: expected 1 or more, or null for any number of times"),
        ({"do": "nack_confirms", "skip": 1.5}, "skip: expected a whole number, 0 or more, not 1.5"),
        (
            {"do": "close_channel", "code": 541},
            "close_channel: code: expected one of 406, 311, 403, 404, 405, not 541; 541 closes a connection: close_connection",
        ),
        (
            {"do": "close_connection", "code": 404},
            "close_connection: code: expected one of 320, 402, 403, 501, 502, 503, 504, 505, 506, 530, 540, 541, not 404; 404 closes a",
        ),
        (
            {"do": "close_channel", "on": "channel.open", "when": "before"},
            "close_channel: before channel.open there is no channel to close: it can be after it",
        ),
        ({"do": "cancel_consumer", "on": "basic.consume", "when": "before"}, "cancel_consumer: before basic.consume there is no consumer"),
        (
            {"do": "fail_sync", "error": "EOOPS"},
            "error: expected 'EIO' or 'ENOSPC' or 'EDQUOT' or 'EROFS' (what the system says), not 'EOOPS'",
        ),
        (
            {"do": "slow_down", "bytes_per_second": 10, "direction": "up"},
            "direction: expected 'to_client' or 'from_client' or 'both' (which way), not 'up'",
        ),
    ],
    ids=str,
)  # fmt: skip
def test_a_bad_rule_is_told_what_is_wrong_with_it(lab_broker: Supervised, order: dict[str, Any], reason: str) -> None:
    answer = lab_broker.ask("POST", "/faults", order, status=400)
    assert answer["reason"].startswith(reason), answer["reason"]
    assert lab_broker.ask("GET", "/faults") == []


@pytest.mark.parametrize("method", ["queue.declare-ok", "queue.declare_ok", "Queue.Declare-Ok", "queue.*"])
def test_methods_are_called_as_amqp_calls_them(lab: Lab, method: str) -> None:
    with lab.fault("drop_connection", on=method), pytest.raises(LOST):
        lab.channel("q")


def test_what_can_go_wrong_is_listed(lab_broker: Supervised) -> None:
    actions = {action["do"]: action for action in lab_broker.ask("GET", "/faults/actions")}
    assert {"drop_connection", "withhold_confirms", "redeliver", "fail_sync"} <= set(actions)
    assert actions["delay_confirms"]["options"]["seconds"]["required"]
    assert all(action["what"].endswith(".") for action in actions.values())
    assert actions["drop_connection"]["when"] == ["before", "after"]


def test_an_operator_without_the_token_has_nothing_to_say(lab_broker: Supervised) -> None:
    assert lab_broker.http.ask("GET", "/api/leveret/testing/faults").status == 401


def test_a_rule_of_no_vhost_is_for_all(lab: Lab) -> None:
    with lab.of_the_broker("close_channel", on="basic.qos", user=lab.user) as fault:
        channel = lab.wire_channel()
        channel.send(Basic.Qos, prefetch_count=1)
        channel.expect_close(406, "PRECONDITION_FAILED - a test has ordered it", (60, 10))
        assert fault.hits == 1
