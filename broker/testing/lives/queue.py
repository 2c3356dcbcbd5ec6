"""A queue of a broker under test: what comes in, who gets it, and how it leaves is written into the lives of its messages."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, cast

from broker.core.dead_letter import DELIVERY_LIMIT, MAXLEN
from broker.core.delays import DelayQueue, delay_of
from broker.core.message import HEADER, ID
from broker.core.queue import Queue
from broker.testing.lives import kinds
from broker.testing.lives.dead_letters import RememberingDeadLetters
from broker.testing.lives.recovered import there_at_the_start
from broker.testing.talk.wording import number, quoted, seconds
from protocol import content

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from broker.core.dead_letter import DeadLetters
    from broker.core.message import Message
    from broker.core.pages import Pages, Run
    from broker.core.paging import Load
    from broker.core.ready import Paged, Ready
    from broker.testing.lives.history import History
    from broker.testing.lives.life import Life, Who
    from broker.testing.lives.outbox import RememberingOutbox
    from broker.testing.lives.vhost import RememberingVHost


class RememberingQueue(Queue):
    """See the module."""

    dead_letters_type: ClassVar[type[DeadLetters]] = RememberingDeadLetters

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._taker: tuple[Who, bool, bool] | None = None
        """Who is being given messages, whether they are redelivered, and whether nobody will ack them."""
        self._taken: tuple[bool, Message] | None = None
        """What was taken for a basic.get that hasn't been told yet."""
        self._leaving: tuple[str, str | None] = (kinds.GONE, None)
        """Why what leaves now does."""
        super().__init__(*arguments, **options)

    @property
    def remembering_vhost(self) -> RememberingVHost:
        """Its vhost."""
        return cast("RememberingVHost", self.vhost)

    @property
    def remembering_outbox(self) -> RememberingOutbox:
        """The broker's."""
        return cast("RememberingOutbox", self.outbox)

    @property
    def history(self) -> History:
        """Its vhost's."""
        return self.remembering_vhost.history

    def life_of(self, message: Message) -> Life | None:
        """That of a message, if it is kept. One that has no number yet is the one that is being published."""
        return self.history.get(message[ID]) if message[ID] else self.remembering_outbox.born

    def _note(self, messages: Iterable[Message], what: str, detail: str | None = None) -> None:
        """Something happened to these, in this queue; who held them last did it, if anybody."""
        history, name = self.history, self.name
        for message in messages:
            life = self.life_of(message)
            if life is not None:
                place = life.places.get(name)
                history.note(life, what, name, None if place is None else place.who, detail)

    @contextmanager
    def _because(self, what: str, detail: str | None = None) -> Iterator[None]:
        """What leaves meanwhile without anybody saying why does so for this reason."""
        outer, self._leaving = self._leaving, (what, detail)
        try:
            yield
        finally:
            self._leaving = outer

    # --- in -----------------------------------------------------------------------------------------------------------

    def enqueue(self, messages: list[Message], body_bytes: int, overhead: int, expiration_ms: int | None = None) -> None:
        """See Queue."""
        super().enqueue(messages, body_bytes, overhead, expiration_ms)
        for message in messages:
            life = self.life_of(message)
            if life is not None:
                self._entered(life, message)

    def _entered(self, life: Life, _message: Message) -> None:
        way = life.routes.get(self.name)
        self.history.note(life, kinds.ROUTED, self.name, detail=None if way is None else way.why)

    def ignores(self, header: bytes) -> bool:
        """See Queue."""
        ignored = super().ignores(header)
        if ignored and (life := self.remembering_outbox.born) is not None:
            self.history.note(life, kinds.IGNORED, self.name, detail="the queue has one with the same x-deduplication-header")
        return ignored

    def refuses(self, routing: bytes, header: bytes, body: bytes) -> bool:
        """See Queue."""
        refused = super().refuses(routing, header, body)
        if refused and (life := self.remembering_outbox.born) is not None and (kinds.REFUSED, self.name) not in life.seen:
            self.history.note(life, kinds.REFUSED, self.name, detail=self._full_text)
        return refused

    @property
    def _full_text(self) -> str:
        limit = self.limit
        if limit is not None and limit.max_length is not None:
            return f"it has {number(len(self.ready), 'message')} ready, and takes {limit.max_length:,}"
        if limit is not None and limit.max_bytes is not None:
            return f"it has {number(self.ready.body_bytes, 'byte')} ready, and takes {limit.max_bytes:,}"
        return "it takes no more"

    def restore(self, pages: Mapping[int, Pages], delivery_counts: dict[int, int], mark: int, *, expires: bool) -> None:
        """See Queue."""
        super().restore(pages, delivery_counts, mark, expires=expires)
        there_at_the_start(self, pages)

    def loaded(self, load: Load, messages: Sequence[Message] | None) -> None:
        """See Queue."""
        history = self.history
        for message, published_ms in zip(messages or (), load.times_ms, strict=False):
            life = history.get(message[ID])
            if life is not None and life.header is None:
                history.read(life, message)
                life.begun_ms = published_ms
        super().loaded(load, messages)

    def _take_in(self, level: Ready, paged: Paged, runs: list[Run], messages: Sequence[Message]) -> None:
        if len(messages) < sum(run.length for run in runs):
            whole = {message[ID] for message in messages}
            for run in runs:
                lost = [each for each in range(run.first_id, run.first_id + run.length) if each not in whole]
                self._note_ids(lost, kinds.DAMAGED, "it can't be read from the disk")
        super()._take_in(level, paged, runs, messages)

    # --- out ----------------------------------------------------------------------------------------------------------

    @contextmanager
    def delivering(self, who: Who, redelivered: bool, *, ends: bool) -> Iterator[None]:
        """What is leased or settled meanwhile goes to `who`, with delivery tags from `who.delivery_tag` on."""
        self._taker = who, redelivered, ends
        try:
            yield
        finally:
            self._taker = None

    def _delivered(self, messages: Sequence[Message], detail: str = "") -> None:
        assert self._taker is not None
        who, redelivered, ends = self._taker
        told = ", ".join(filter(None, (detail, "redelivered" * redelivered, "nobody will ack it" * ends)))
        for index, message in enumerate(messages):
            life = self.life_of(message)
            if life is not None:
                each = who._replace(delivery_tag=(who.delivery_tag or 0) + index)
                self.history.note(life, kinds.DELIVERED, self.name, each, told or None, ends=ends)

    def get(self) -> tuple[bool, Message] | None:
        """See Queue."""
        self._taken = taken = super().get()
        return taken

    def got(self, who: Who, *, ends: bool) -> None:
        """What was taken last was for this basic.get; if it wasn't told already."""
        taken, self._taken = self._taken, None
        if taken is not None:
            redelivered, message = taken
            with self.delivering(who, redelivered, ends=ends):
                self._delivered((message,), "basic.get")

    def lease(self, messages: Sequence[Message]) -> None:
        """See Queue."""
        if self._taker is not None:
            self._delivered(messages)
        super().lease(messages)

    # --- gone ---------------------------------------------------------------------------------------------------------

    def settle_leased(self, messages: list[Message]) -> None:
        """See Queue."""
        self._note(messages, kinds.ACKED)
        super().settle_leased(messages)

    def reject(self, messages: list[Message]) -> None:
        """See Queue."""
        self._note(messages, kinds.REJECTED, self.history.cause)
        super().reject(messages)

    def expire(self, messages: list[Message]) -> None:
        """See Queue."""
        self._note(messages, kinds.EXPIRED)
        super().expire(messages)

    def _die(self, messages: Sequence[Message], reason: str) -> None:
        if reason == MAXLEN:
            if messages[0][ID]:
                self._note(messages, kinds.DROPPED, self._surplus_text)
            else:
                self._note(messages, kinds.REFUSED, self._full_text)
        elif reason == DELIVERY_LIMIT:
            most = "once" if self.delivery_limit == 1 else f"{self.delivery_limit} times"
            self._note(messages, kinds.GIVEN_UP, f"it came back more often than {most}")
        super()._die(messages, reason)

    @property
    def _surplus_text(self) -> str:
        limit = self.limit
        if limit is None or limit.max_length is None:
            return "the queue has too many bytes"
        return f"the queue keeps no more than {number(limit.max_length, 'message')}"

    def settle(self, messages: list[Message]) -> None:
        """See Queue."""
        if self._taker is not None:
            self._delivered(messages)
        else:
            self._note_ids([message[ID] for message in messages], *self._leaving)
        super().settle(messages)

    def _note_ids(self, ids: Iterable[int], what: str, detail: str | None = None) -> None:
        """These leave the queue; nothing is said where somebody has said more already."""
        history, name = self.history, self.name
        for each in ids:
            life = history.get(each)
            if life is not None and life.is_in(name):
                history.note(life, what, name, life.places[name].who, detail)

    def throw_away(self, messages: list[Message], why: str) -> None:
        """These are done with, whoever has them: a test has ordered it."""
        with self._because(kinds.PURGED, why):
            self.settle(messages)

    def requeue(self, messages: list[Message]) -> None:
        """See Queue."""
        if self.deleted:
            self._note(messages, kinds.QUEUE_DELETED, "it came back, and the queue was deleted")
        else:
            self._note(messages, kinds.REQUEUED, self.history.cause)
        super().requeue(messages)

    def drop_ready(self) -> int:
        """See Queue."""
        vhost = self.remembering_vhost
        reason = (kinds.QUEUE_DELETED, vhost.why_deleted) if self.deleted else (kinds.PURGED, vhost.history.cause)
        with self._because(*reason):
            return super().drop_ready()

    def _drop_paged(self, count: int) -> int:
        with self._because(kinds.DROPPED, self._surplus_text):
            return super()._drop_paged(count)

    def _settle_pages(self, pages: Pages, runs: int) -> None:
        if pages.count:
            self._note_ids(pages.ids_between(pages.first_id, pages.last_id + 1), *self._leaving)
        super()._settle_pages(pages, runs)


class RememberingDelayQueue(RememberingQueue, DelayQueue):
    """What an exchange delays. A message that goes on keeps its life, though it gets another number."""

    def _entered(self, life: Life, message: Message) -> None:
        delay_ms = delay_of(content.headers(message[HEADER]))
        self.history.note(life, kinds.DELAYED, self.name, detail=f"for {seconds(delay_ms)}, by exchange {quoted(self.kept_for)}")
        life.delay(self.name, self.outbox.clock() + delay_ms)

    def loaded(self, load: Load, messages: Sequence[Message] | None) -> None:
        """See Queue."""
        super().loaded(load, messages)
        for message, published_ms in zip(messages or (), load.times_ms, strict=False):
            life = self.life_of(message)
            if life is not None and life.is_in(self.name):
                life.delay(self.name, published_ms + delay_of(content.headers(message[HEADER])))

    def _publish(self, message: Message) -> None:
        life = self.life_of(message)
        if life is None:
            life = self.history.begin(kinds.DUE)
        self.history.note(life, kinds.DUE, self.name)
        with self.remembering_outbox.bearing(self.history, life):
            super()._publish(message)
        if len(life.ids) < 2 and life.miss is not None:
            self.history.note(life, kinds.UNROUTABLE, detail=life.unroutable)
