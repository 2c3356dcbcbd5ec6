"""A vhost as far as it is judged: what is declared without a connection, policies, and queues that go by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from broker.core.internal_events import INTERNAL_USER
from broker.core.vhost import VHost
from broker.testing.findings import declared
from broker.testing.findings.judge import arguments_of

if TYPE_CHECKING:
    from broker.core.exchange import Exchange
    from broker.core.policy import Policy
    from broker.core.queue import Queue
    from broker.testing.broker import WatchedBroker
    from broker.testing.findings.judge import Judge


class JudgedVHost(VHost):
    """See the module."""

    @property
    def judge(self) -> Judge:
        """Who collects findings."""
        return cast("WatchedBroker", self.broker).rig.judge

    def add_queue(self, *arguments: Any, **keywords: Any) -> Queue:
        """See VHost."""
        queue = super().add_queue(*arguments, **keywords)
        if self.judge.scene is None:
            self.judge_queue(queue)
        return queue

    def judge_queue(self, queue: Queue) -> None:
        """Somebody has declared it."""
        self.judge.note_all(
            declared.of_queue(
                self.judge.place(queue),
                durable=queue.durable,
                exclusive=queue.owner is not None,
                arguments=arguments_of(queue),
                kind=queue.type,
            )
        )

    def add_exchange(self, *arguments: Any, **keywords: Any) -> Exchange:
        """See VHost."""
        exchange = super().add_exchange(*arguments, **keywords)
        if self.judge.scene is None:
            self.judge_exchange(exchange, self._nobody)
        return exchange

    def judge_exchange(self, exchange: Exchange, place: dict[str, Any]) -> None:
        """Somebody has declared it."""
        self.judge.note_all(declared.of_exchange({**place, "exchange": exchange.name}, exchange.type))

    def delete_all(self) -> None:
        """See VHost."""
        super().delete_all()
        self.judge.forget(self.name)

    def set_policy(self, policy: Policy) -> None:
        """See VHost."""
        super().set_policy(policy)
        self.judge.note_all(declared.of_policy({**self._nobody, "policy": policy.name}, policy.definition))

    @property
    def _nobody(self) -> dict[str, Any]:
        """Whose doing it is, where there is no connection."""
        user = self.broker.acting_user
        return {"vhost": self.name, "user": None if user == INTERNAL_USER else user}

    def expire_queue(self, queue: Queue) -> None:
        """See VHost."""
        self._judge_end(queue, "because nobody used it (x-expires)")
        super().expire_queue(queue)

    def auto_delete_queue(self, queue: Queue) -> None:
        """See VHost."""
        self._judge_end(queue, "with its last consumer (auto-delete)")
        super().auto_delete_queue(queue)

    def _judge_end(self, queue: Queue, cause: str) -> None:
        number = len(queue.ready) + queue.unacked
        if number and queue.owner is None:
            self.judge.note("queue-gone", self.judge.place(queue), {"number": number, "cause": cause}, count=number)
