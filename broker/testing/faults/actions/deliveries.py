"""Deliveries that are late, come twice, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from broker.core.message import ID
from broker.testing.faults.actions.action import Action, Option
from broker.testing.faults.moment import AFTER, BEFORE, HOLD
from broker.testing.lives.history import BY_TEST, history_of
from protocol.methods import Basic, make

if TYPE_CHECKING:
    from collections.abc import Collection

    from broker.testing.faults.consumers import FaultyConsumer
    from broker.testing.faults.moment import Moment
    from broker.testing.faults.queue import FaultyQueue
    from broker.testing.faults.rule import Rule

DELIVER = "basic.deliver"


class DelayDeliveries(Action):
    """The message goes out so many seconds of the broker's clock after it came into the queue (what came back, or was there before the
    rule: after it could have gone out), or when the rule is taken away. It is ready meanwhile, and those behind it wait for it: those of
    the consumer if the rule names a consumer tag, a client name or a user, else all of the queue."""

    name = "delay_deliveries"
    methods = frozenset({DELIVER})
    on = DELIVER
    whens = (HOLD,)
    options: ClassVar = {"seconds": Option("number", "how much later, by the broker's clock", is_required=True)}

    def act(self, rule: Rule, moment: Moment) -> bool:
        """See Action."""
        consumer, queue = _consumer_and_queue(moment)
        assert moment.message is not None
        message_id = moment.message[ID]
        now_ms = rule.rules.now_ms()
        came_ms = None if moment.is_redelivered else queue.arrived_ms(message_id)
        seconds = self.given["seconds"] - (now_ms - (now_ms if came_ms is None else came_ms)) / 1000
        if seconds <= 0:
            return False
        queue.let_through.add(message_id)
        who = object()
        held: FaultyConsumer | FaultyQueue = consumer if rule.is_personal else queue
        held.hold(who)
        rule.hold(seconds, lambda: held.let_go(who))
        return True


class ReorderQueues(Action):
    """What several queues deliver comes in another order than it was published in. The queues that fit are held for `seconds` of the
    broker's clock, from the first of their deliveries on; then they deliver what they have, one message at a time, taking turns as the seed
    has it. Within a queue the order stays. A hit is a queue that is held."""

    name = "reorder_queues"
    methods = frozenset({DELIVER})
    on = DELIVER
    whens = (HOLD,)
    times = None
    options: ClassVar = {"seconds": Option("number", "how long messages are collected, by the broker's clock", 0.05)}

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self._queues: list[FaultyQueue] = []

    def act(self, rule: Rule, moment: Moment) -> bool:
        """See Action."""
        _, queue = _consumer_and_queue(moment)
        queue.hold(rule)
        self._queues.append(queue)
        if len(self._queues) == 1:
            rule.hold(self.given["seconds"], lambda: self._mix(rule))
        return True

    def _mix(self, rule: Rule) -> None:
        queues, self._queues = self._queues, []
        for queue in queues:
            queue.let_go(rule)
            queue.lets_all_through = True
        try:
            left = {queue: len(queue.ready) for queue in queues}
            while left:
                queue = rule.random.choice(list(left))
                left[queue] -= 1
                if queue.deleted or not queue.serve(1) or left[queue] <= 0:
                    del left[queue]
        finally:
            for queue in queues:
                queue.lets_all_through = False


class Redeliver(Action):
    """The client's basic.ack is lost: the message goes back to its queue and comes again, redelivered, as if the ack had never been sent.
    With `another` it comes to another consumer of the queue, if there is one; the one that has acked it gets nothing until then."""

    name = "redeliver"
    methods = frozenset({"basic.ack"})
    on = "basic.ack"
    options: ClassVar = {"another": Option("flag", "another consumer gets it", False)}

    def fits(self, moment: Moment) -> bool:
        """See Action."""
        return moment.holder is not None

    def act(self, rule: Rule, moment: Moment) -> bool:
        """See Action."""
        session, consumer = moment.session, moment.consumer
        assert session is not None
        if self.given["another"] and consumer is not None and len(consumer.queue.consumers) > 1:
            assert moment.message is not None
            cast("FaultyQueue", consumer.queue).keep_from(consumer, moment.message[ID])
        with history_of(session.vhost).because("a fault: its ack was lost", BY_TEST):
            session.on_method(moment.number, make(Basic.Nack, delivery_tag=moment.tag, requeue=True))
        return True


class CancelConsumer(Action):
    """The broker cancels the consumer (basic.cancel), as when its queue goes. What it holds unacked it may still ack. Without
    consumer_cancel_notify among its capabilities a client isn't told."""

    name = "cancel_consumer"
    methods = frozenset({DELIVER, "basic.ack", "basic.nack", "basic.reject", "basic.consume"})
    on = DELIVER
    whens = (AFTER, BEFORE)

    @classmethod
    def check_moment(cls, methods: Collection[str], when: str) -> None:
        """See Action."""
        if when == BEFORE and set(methods) == {"basic.consume"}:
            raise ValueError("before basic.consume there is no consumer: it can be after it")

    def fits(self, moment: Moment) -> bool:
        """See Action."""
        return moment.consumer is not None

    def act(self, rule: Rule, moment: Moment) -> bool:
        """See Action."""
        consumer, session = moment.consumer, moment.session
        assert consumer is not None
        assert session is not None
        consumer.hold(rule)

        def cancel() -> None:
            if not consumer.cancelled and not consumer.channel.closed:
                session.consumer_cancelled(consumer)

        moment.connection.postpone(cancel)
        return moment.method == DELIVER and rule.when == BEFORE


class GetEmpty(Action):
    """basic.get answers get-empty, though there is something in the queue."""

    name = "get_empty"
    methods = frozenset({"basic.get"})
    on = "basic.get"

    def fits(self, moment: Moment) -> bool:
        """See Action."""
        return moment.queue is not None

    def act(self, rule: Rule, moment: Moment) -> bool:
        """See Action."""
        queue = moment.queue
        assert queue is not None
        queue.gets_nothing = True
        moment.afterwards.append(lambda: setattr(queue, "gets_nothing", False))
        return False


def _consumer_and_queue(moment: Moment) -> tuple[FaultyConsumer, FaultyQueue]:
    consumer = cast("FaultyConsumer", moment.holder)
    return consumer, cast("FaultyQueue", consumer.queue)
