"""Contract 9.3: policies and operator policies: what they may say, which of them applies, and what comes of it.

Texts are those of RabbitMQ 3.10.8, asked with `rabbitmqctl set_policy`.
"""

from __future__ import annotations

from typing import Any

import pytest

from broker.core.policy import InvalidPolicy, Policy, effective, merged
from tests.core.deep import drain, text_of
from tests.core.playbook import Got, Playbook, PlayedChannel, Returned
from tests.spec import spec


def policy(
    name: str = "p", pattern: str = "^q", /, *, priority: int = 0, apply_to: str = "all", operator: bool = False, **keys: Any
) -> Policy:
    definition = {key.replace("_", "-"): value for key, value in keys.items()}
    return Policy(name, pattern, definition, priority=priority, apply_to=apply_to, is_operator=operator)


def set_policy(book: Playbook, *names: str, **options: Any) -> None:
    book.broker.vhosts["/"].set_policy(policy(*names, **options))
    book.settle()


def delete_policy(book: Playbook, name: str = "p", *, operator: bool = False) -> bool:
    deleted = book.broker.vhosts["/"].delete_policy(name, is_operator=operator)
    book.settle()
    return deleted


def declare(book: Playbook, channel: PlayedChannel, name: str = "q", *, durable: bool = True, **arguments: Any) -> Any:
    channel.declare(name, durable=durable, arguments={key.replace("_", "-"): value for key, value in arguments.items()})
    book.settle()
    channel.take()
    return book.queue(name)


def publish(book: Playbook, channel: PlayedChannel, bodies: str, queue: str = "q") -> None:
    for body in bodies:
        channel.publish(queue, body.encode())
    book.settle()


class TestWhatTheyMaySay:
    """Policy's checks."""

    @pytest.mark.parametrize(
        ("definition", "problem"),
        [
            ({"foo": 1}, '[{<<"foo">>,1}] are not recognised policy settings'),
            ({}, "no policy provided"),
            ({"max-length": -1}, "-1 is not a valid maximum length"),
            ({"max-length": "a"}, '<<"a">> is not a valid maximum length'),
            ({"max-length": True}, "true is not a valid maximum length"),
            ({"max-length-bytes": "x"}, '<<"x">> is not a valid maximum length in bytes'),
            ({"overflow": "nix"}, '<<"nix">> is not a valid overflow value'),
            ({"dead-letter-exchange": 1}, "1 is not a valid dead letter exchange name"),
            ({"dead-letter-routing-key": 1}, "1 is not a valid dead letter routing key"),
            ({"dead-letter-strategy": "x"}, '<<"x">> is not a valid dead letter strategy'),
            ({"alternate-exchange": 1}, "1 is not a valid alternate exchange name"),
            ({"message-ttl": -1}, "-1 is not a valid message TTL"),
            ({"message-ttl": 315_360_000_001}, "315360000001 is not a valid message TTL"),
            ({"expires": 0}, "0 is not a valid queue expiry"),
            ({"queue-mode": "x"}, '<<"x">> is not a valid queue-mode value'),
            ({"queue-version": 3}, "3 is not a valid queue-version value"),
            ({"delivery-limit": -1}, "-1 is not a valid delivery limit"),
            ({"queue-master-locator": "x"}, '<<"x">> invalid queue-master-locator value'),
            ({"queue-leader-locator": "x"}, '<<"x">> is not a valid queue leader locator value'),
            ({"max-in-memory-length": -1}, "-1 is not a valid maximum memory in bytes"),
            ({"stream-max-segment-size-bytes": -1}, "-1 is not a valid segment size"),
            ({"ha-mode": "x"}, '<<"x">> is not a valid ha-mode value'),
        ],
        ids=str,
    )
    def test_refused(self, definition: dict[str, Any], problem: str) -> None:
        with pytest.raises(InvalidPolicy) as refused:
            Policy("p", "^q", definition)
        assert str(refused.value) == problem

    @pytest.mark.parametrize("definition", [{"dead-letter-exchange": "x"}, {"alternate-exchange": "x"}, {"queue-mode": "lazy"}], ids=str)
    def test_operators_have_fewer_keys(self, definition: dict[str, Any]) -> None:
        Policy("p", "^q", definition)
        with pytest.raises(InvalidPolicy, match="are not recognised policy settings"):
            Policy("p", "^q", definition, is_operator=True)

    def test_a_pattern_and_what_it_applies_to(self) -> None:
        with pytest.raises(InvalidPolicy, match="pattern should be regular expression but is invalid: "):
            policy("p", "^q(", max_length=1)
        known = "'queues', 'classic_queues', 'quorum_queues', 'streams', 'exchanges', or 'all'"
        with pytest.raises(InvalidPolicy) as refused:
            policy(apply_to="nix", max_length=1)
        assert str(refused.value) == f"apply-to 'nix' unrecognised; should be one of: {known}"

    @pytest.mark.parametrize("keys", [{"ha_mode": "all"}, {"queue_mode": "lazy", "queue_version": 2}, {"max_age": "7D"}], ids=str)
    def test_keys_without_a_meaning_here_are_taken(self, keys: dict[str, Any]) -> None:
        policy(**keys)


class TestWhichApplies:
    """Of each kind one."""

    def test_the_highest_priority_then_the_first_by_name(self, book: Playbook, channel: PlayedChannel) -> None:
        queue = declare(book, channel)
        set_policy(book, "b", max_length=2)
        assert queue.policy.name == "b"
        set_policy(book, "a", max_length=1)
        assert queue.policy.name == "a"
        set_policy(book, "c", max_length=3, priority=1)
        assert queue.policy.name == "c"
        delete_policy(book, "c")
        assert queue.policy.name == "a"

    @spec("9.3", "A policy with a key that the queue type lacks isn't applied at all")
    def test_keys_of_other_types(self, book: Playbook, channel: PlayedChannel) -> None:
        classic, quorum = declare(book, channel, "q1"), declare(book, channel, "q2", x_queue_type="quorum")
        set_policy(book, "a", max_length=1)
        set_policy(book, "b", max_length=2, delivery_limit=3, priority=1)
        set_policy(book, "c", max_length=3, queue_mode="lazy", priority=2)
        assert (classic.policy.name, quorum.policy.name) == ("c", "b")

    @pytest.mark.parametrize(
        ("apply_to", "found"),
        [("all", "1 2 x"), ("queues", "1 2"), ("classic_queues", "1"), ("quorum_queues", "2"), ("exchanges", "x"), ("streams", "")],
    )
    def test_what_it_is_for(self, book: Playbook, channel: PlayedChannel, apply_to: str, found: str) -> None:
        queues = [declare(book, channel, "q1"), declare(book, channel, "q2", x_queue_type="quorum")]
        channel.exchange("qx")
        book.settle()
        set_policy(book, apply_to=apply_to, **({"alternate_exchange": "a"} if apply_to == "exchanges" else {"max_length": 1}))
        named = [queue.name[1:] for queue in queues if queue.policy is not None]
        named += ["x"] if book.broker.vhosts["/"].exchanges["qx"].policy is not None else []
        assert " ".join(named) == found

    def test_a_pattern_is_searched_for(self, book: Playbook, channel: PlayedChannel) -> None:
        queues = [declare(book, channel, name) for name in ("a.q", "b", "q")]
        set_policy(book, "p", "q$", max_length=1)
        assert [queue.policy is not None for queue in queues] == [True, False, True]

    def test_queues_to_come(self, book: Playbook, channel: PlayedChannel) -> None:
        set_policy(book, max_length=1)
        assert declare(book, channel).limit.max_length == 1

    def test_who_is_not_concerned_is_not_touched(self, book: Playbook, channel: PlayedChannel) -> None:
        queue = declare(book, channel)
        limit = object()
        queue.limit = limit
        set_policy(book, "p", "^other", max_length=1)
        assert queue.limit is limit
        queue.limit = None


class TestMerging:
    """Which value counts."""

    @spec("9.3", "Numbers merge to the lower; operator overflow overrides")
    def test_a_policy_and_an_operators(self) -> None:
        one = policy(max_length=10, message_ttl=5, overflow="drop-head", dead_letter_exchange="x", ha_mode="all")
        other = policy(max_length=7, message_ttl=9, overflow="reject-publish", expires=3, operator=True)
        assert merged(one, other) == {
            "max-length": 7, "message-ttl": 5, "overflow": "reject-publish", "expires": 3, "dead-letter-exchange": "x", "ha-mode": "all",
        }  # fmt: skip
        assert (merged(one, None), merged(None, other), merged(None, None)) == (one.definition, other.definition, {})

    @spec("9.3", "text: a classic queue's argument wins over the policy")
    def test_with_arguments(self, book: Playbook, channel: PlayedChannel) -> None:
        own = {"x_max_length": 5, "x_dead_letter_exchange": "own", "x_overflow": "reject-publish", "x_message_ttl": 100}
        definition = {"max-length": 3, "message-ttl": 200, "dead-letter-exchange": "policy", "overflow": "drop-head", "expires": 9}
        classic = effective(declare(book, channel, **own).arguments, definition)
        assert (classic.max_length, classic.message_ttl_ms, classic.expires_ms) == (3, 100, 9)
        assert (classic.dead_letter_exchange, classic.overflow) == ("own", "reject-publish")
        quorum = effective(declare(book, channel, "q2", x_queue_type="quorum", **own).arguments, definition)
        assert (quorum.dead_letter_exchange, quorum.overflow) == ("own", "drop-head")

    def test_what_was_declared_stays_what_it_is(self, book: Playbook, channel: PlayedChannel) -> None:
        declare(book, channel, x_max_length=5)
        set_policy(book, max_length=3)
        channel.declare("q", durable=True, arguments={"x-max-length": 5})
        book.settle()
        assert channel.names() == ["Queue.DeclareOk"]


class TestQueuesInUse:
    """They act at once."""

    def test_a_limit_drops_at_once_and_goes_again(self, book: Playbook, channel: PlayedChannel) -> None:
        declare(book, channel)
        publish(book, channel, "12345")
        set_policy(book, max_length=2)
        assert book.ready("q") == [b"4", b"5"]
        delete_policy(book)
        publish(book, channel, "678")
        assert len(book.ready("q")) == 5

    @pytest.mark.parametrize("kind", [{}, {"x_max_priority": 5}, {"x_queue_type": "quorum"}], ids=str)
    @pytest.mark.usefixtures("deep_queues")
    def test_bytes_are_counted_from_now_on(self, book: Playbook, channel: PlayedChannel, kind: dict[str, Any]) -> None:
        queue = declare(book, channel, **kind)
        publish(book, channel, "12345")
        publish(book, channel, "6789")
        set_policy(book, max_length_bytes=3)
        assert book.ready("q") == [b"7", b"8", b"9"]
        assert queue.ready.body_bytes == 3
        publish(book, channel, "a")
        assert book.ready("q") == [b"8", b"9", b"a"]
        set_policy(book, max_length_bytes=2)
        assert (book.ready("q"), queue.ready.body_bytes) == ([b"9", b"a"], 2)

    def test_publishers_learn_of_a_rejecting_limit(self, book: Playbook, channel: PlayedChannel) -> None:
        declare(book, channel)
        publish(book, channel, "12")
        set_policy(book, max_length=2, overflow="reject-publish")
        publish(book, channel, "3")
        assert book.ready("q") == [b"1", b"2"]

    @spec("7.1", "A policy's TTL acts on messages published after it")
    def test_a_time_to_live(self, book: Playbook, channel: PlayedChannel) -> None:
        declare(book, channel)
        publish(book, channel, "1")
        set_policy(book, message_ttl=100)
        publish(book, channel, "2")
        book.advance(1000)
        assert book.ready("q") == [b"1", b"2"], "the first never expires, and shields the second"
        channel.get("q", no_ack=True)
        book.settle()
        assert book.ready("q") == []

    def test_dead_letters(self, book: Playbook, channel: PlayedChannel) -> None:
        declare(book, channel)
        declare(book, channel, "dead")
        publish(book, channel, "1")
        set_policy(book, dead_letter_exchange="", dead_letter_routing_key="dead")
        channel.get("q")
        (reply,) = [each for each in channel.take() if isinstance(each, Got)]
        channel.reject(reply.tag, requeue=False)
        book.settle()
        assert book.ready("dead") == [b"1"]

    def test_expires(self, book: Playbook, channel: PlayedChannel) -> None:
        declare(book, channel)
        set_policy(book, expires=1000)
        book.advance(999)
        assert "q" in book.broker.vhosts["/"].queues
        delete_policy(book)
        book.advance(1000)
        assert "q" in book.broker.vhosts["/"].queues
        set_policy(book, expires=1000)
        book.advance(1000)
        assert "q" not in book.broker.vhosts["/"].queues
        assert book.broker.timers.live == 0

    def test_a_delivery_limit(self, book: Playbook, channel: PlayedChannel) -> None:
        declare(book, channel, x_queue_type="quorum")
        publish(book, channel, "1")
        set_policy(book, delivery_limit=0)
        channel.get("q")
        (reply,) = [each for each in channel.take() if isinstance(each, Got)]
        channel.nack(reply.tag)
        book.settle()
        assert book.ready("q") == []

    def test_a_consumer_timeout(self, book: Playbook, channel: PlayedChannel) -> None:
        declare(book, channel)
        set_policy(book, consumer_timeout=1000)
        publish(book, channel, "1")
        channel.get("q")
        book.settle()
        channel.take()
        book.advance(4000)
        assert channel.refusal()[0] == 406


class TestExchanges:
    """alternate-exchange."""

    def test_from_a_policy(self, book: Playbook, channel: PlayedChannel) -> None:
        channel.exchange("qx", durable=True)
        channel.exchange("other", "fanout", durable=True)
        declare(book, channel, "unrouted")
        channel.bind("unrouted", "other")
        book.settle()
        channel.take()
        channel.publish("nowhere", b"1", exchange="qx", mandatory=True)
        book.settle()
        assert [type(reply) for reply in channel.take()] == [Returned]
        set_policy(book, alternate_exchange="other")
        channel.publish("nowhere", b"2", exchange="qx", mandatory=True)
        book.settle()
        assert (channel.take(), book.ready("unrouted")) == ([], [b"2"])
        delete_policy(book)
        channel.publish("nowhere", b"3", exchange="qx", mandatory=True)
        book.settle()
        assert [type(reply) for reply in channel.take()] == [Returned]

    def test_the_argument_wins(self, book: Playbook, channel: PlayedChannel) -> None:
        set_policy(book, alternate_exchange="policy")
        channel.exchange("qx", arguments={"alternate-exchange": "own"})
        channel.exchange("qx", arguments={"alternate-exchange": "own"})
        book.settle()
        assert channel.names() == ["Exchange.DeclareOk", "Exchange.DeclareOk"]
        assert book.broker.vhosts["/"].exchanges["qx"].alternate == "own"

    def test_a_redeclare_does_not_see_the_policy(self, book: Playbook, channel: PlayedChannel) -> None:
        channel.exchange("qx")
        set_policy(book, alternate_exchange="policy")
        channel.exchange("qx")
        book.settle()
        assert channel.names() == ["Exchange.DeclareOk", "Exchange.DeclareOk"]


class TestDurable:
    """They are in the catalog."""

    def test_a_restart(self, book: Playbook, channel: PlayedChannel) -> None:
        declare(book, channel)
        channel.exchange("qx", durable=True)
        publish(book, channel, "123")
        set_policy(book, max_length_bytes=5, alternate_exchange="a")
        set_policy(book, max_length=2, operator=True)
        book.restart()
        book.settle()
        queue = book.queue("q")
        assert queue.effective_policy_definition == {"max-length-bytes": 5, "alternate-exchange": "a", "max-length": 2}
        assert (queue.limit.max_length, queue.limit.max_bytes) == (2, 5)
        assert book.broker.vhosts["/"].exchanges["qx"].alternate == "a"
        assert text_of(drain(book)) == "23"

    def test_deleted_is_deleted(self, book: Playbook, channel: PlayedChannel) -> None:
        declare(book, channel)
        set_policy(book, max_length=2)
        set_policy(book, max_length=1, operator=True)
        assert delete_policy(book, operator=True) and delete_policy(book) and not delete_policy(book)
        book.restart()
        assert book.queue("q").policy is None and book.broker.vhosts["/"].operator_policies == {}

    def test_a_crash_before_it_is_durable(self, book: Playbook, channel: PlayedChannel) -> None:
        declare(book, channel)
        book.broker.vhosts["/"].set_policy(policy(max_length=2))
        book.turns()
        book.crash()
        assert book.queue("q").policy is None
