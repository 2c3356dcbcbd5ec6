"""The state of the broker as a text that people read: what SIGUSR1 writes.

One line for each connection, channel, consumer and queue, in `name=value` pairs so that grep finds them; bodies and passwords aren't in it.
It is put together in slices, between the turns: each line is true of its moment, and the lines of a busy broker are of several moments.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import TYPE_CHECKING, Final

from broker.core import titles

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from broker.core.broker import Broker
    from broker.core.channel import Channel
    from broker.core.consumers import Consumer
    from broker.core.queue import Queue
    from broker.core.vhost import VHost
    from broker.runtime.connection import Connection
    from broker.runtime.server import Server

log = logging.getLogger("state")

SLICE_SECONDS: Final = 0.002
"""Of the event loop, at a time."""
FILE_MODE: Final = 0o640
"""As a log file's: lines name users and addresses."""


class StateDump:
    """Writes the state of `server` and its broker to a new file in `directory`, or to the log if that is None."""

    def __init__(self, server: Server, broker: Broker, heading: str, directory: Path | None) -> None:
        """`heading` says what this is the state of: product and version."""
        self._server = server
        self._broker = broker
        self._heading = heading
        self._directory = directory
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Write it, soon; needs a running loop. While one is being written, another isn't begun."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        directory = self._directory
        lines: list[str] = []
        deadline = time.perf_counter() + SLICE_SECONDS
        for line in self.lines():
            lines.append(line)
            if time.perf_counter() > deadline:
                if directory is None:
                    _log(lines)
                await asyncio.sleep(0)
                deadline = time.perf_counter() + SLICE_SECONDS
        if directory is None:
            _log(lines)
            return
        path = directory / time.strftime("state-%Y%m%d-%H%M%S.txt")
        try:
            await asyncio.to_thread(_write_file, path, lines)
        except OSError as error:
            log.error("SIGUSR1: the state can't be written to %s: %s", path, error.strerror)
        else:
            log.info("SIGUSR1: the state of the broker is in %s", path)

    # --- the text ---------------------------------------------------------------------------------------------------

    def lines(self) -> Iterator[str]:
        """The text, line by line. What comes or goes between two of them may be in it or not."""
        broker = self._broker
        yield f"{self._heading}, node {broker.node}, process {os.getpid()}, {time.strftime('%Y-%m-%d %H:%M:%S%z')}"
        yield from self._memory()
        yield from self._disk()
        yield from self._turn()
        yield ""
        yield f"connections ({len(self._server.connections)} sockets, {broker.connections} open, {broker.channels} channels)"
        for connection in list(self._server.connections):
            if connection in self._server.connections:
                yield from _connection(connection)
        for vhost in list(broker.vhosts.values()):
            yield from _vhost(vhost)

    def _memory(self) -> Iterator[str]:
        memory, alarms = self._broker.memory, self._server.alarms
        yield ""
        yield f"alarms: {', '.join(alarms.active) or 'none'}"
        yield _pairs(
            "memory",
            messages_bytes=memory.used,
            watermark_bytes=alarms.memory_limit_bytes,
            machine_bytes=alarms.machine_bytes,
            paging_from_bytes=memory.paging_bytes,
            paging_queues=memory.paging,
            loading_bytes=memory.loading,
        )

    def _disk(self) -> Iterator[str]:
        outbox, committer = self._broker.outbox, self._server.turn.committer
        yield _pairs(
            "disk",
            free_limit_bytes=self._server.alarms.disk_free_limit_bytes,
            failed="no" if committer.failed is None else _text(str(committer.failed)),
            spill_failed=committer.spill_failed,
        )
        yield _pairs(
            "outbox",
            batch=outbox.number,
            durable_up_to=outbox.released,
            has_batch=outbox.has_batch,
            under_way=committer.is_busy,
            under_way_bytes=committer.pending_bytes,
            is_behind=committer.is_behind,
        )
        ledger = outbox.ledger
        yield _pairs(
            "log",
            end=ledger.end,
            live_messages=ledger.live,
            live_bytes=ledger.live_bytes,
            next_message_id=ledger.next_id,
            compacting=outbox.compaction is not None,
        )

    def _turn(self) -> Iterator[str]:
        broker = self._broker
        next_ms = broker.timers.next_ms
        yield _pairs(
            "turn",
            touched_queues=len(broker.outbox.touched),
            waiting_loads=len(broker.outbox.loads),
            next_timer_in_ms="none" if next_ms is None else next_ms - broker.outbox.clock(),
            sockets_max=self._server.turn.descriptors.sockets_max,
        )


def _connection(connection: Connection) -> Iterator[str]:
    session = connection.session
    yield _pairs(
        f"connection {titles.tag(session.process)} {_text(connection.name)}",
        state=connection.wire.state.value,
        user=_text(session.user_name or ""),
        vhost=_text(session.vhost_name or ""),
        client_name=_text(session.own_name),
        tls=session.peer.is_tls,
        heartbeat=connection.wire.tuning.heartbeat,
        not_read_for=",".join(connection.pauses) or "nothing",
        congested=session.congested,
        held_bytes=connection.held_bytes,
        exclusive_queues=len(session.exclusive_queues),
    )
    for channel in list(session.channels.values()):
        yield from _channel(channel)


def _channel(channel: Channel) -> Iterator[str]:
    mode = "confirm" if channel.confirms is not None else "tx" if channel.transaction is not None else "plain"
    yield _pairs(
        f"  channel {channel.number} {titles.tag(channel.process)}",
        mode=mode,
        unconfirmed=0 if channel.confirms is None else channel.confirms.unconfirmed,
        unacked=len(channel.unacked),
        prefetch=channel.prefetch,
        prefetch_shared=channel.prefetch_shared,
        uncommitted_bytes=0 if channel.transaction is None else channel.transaction.bytes,
        held_replies=0 if channel.held is None else len(channel.held),
        waiting_gets=len(channel.gets),
    )
    for consumer in list(channel.consumers.values()):
        yield _consumer(consumer)


def _consumer(consumer: Consumer) -> str:
    return _pairs(
        f"    consumer {_text(consumer.tag)}",
        queue=_text(consumer.queue.name),
        ack=not consumer.no_ack,
        exclusive=consumer.exclusive,
        priority=consumer.priority,
        prefetch=consumer.prefetch,
        unacked=consumer.unacked,
        parked=consumer.parked,
    )


def _vhost(vhost: VHost) -> Iterator[str]:
    queues = list(vhost.queues.values())
    yield ""
    yield _pairs(
        f"vhost {_text(vhost.name)}",
        queues=len(queues),
        exchanges=len(vhost.exchanges),
        connections=len(vhost.sessions),
        policies=len(vhost.policies) + len(vhost.operator_policies),
        tracing=vhost.tracer is not None,
    )
    for queue in queues:
        yield _queue(queue)


def _queue(queue: Queue) -> str:
    return _pairs(
        f"  queue {_text(queue.name)}",
        type=queue.type,
        durable=queue.durable,
        auto_delete=queue.auto_delete,
        owner="none" if queue.owner is None else titles.tag(queue.owner.process),
        ready=len(queue.ready),
        ready_in_memory=queue.ready.available,
        unacked=queue.unacked,
        body_bytes=queue.body_bytes,
        consumers=len(queue.consumers),
        policy=_text("" if queue.policy is None else queue.policy.name),
        paged=queue.ready.paged is not None,
        touched=queue.touched,
        waiting_gets=len(queue.getters),
    )


def _pairs(what: str, **facts: object) -> str:
    return f"{what}: " + " ".join(f"{name}={_word(value)}" for name, value in facts.items())


def _word(value: object) -> object:
    return ("no", "yes")[value] if isinstance(value, bool) else value


def _text(text: str) -> str:
    """What clients choose, on one line and in quotes."""
    return repr(text)


def _log(lines: list[str]) -> None:
    """Write what there is so far; it is forgotten."""
    log.info("SIGUSR1: the state of the broker:\n%s", "\n".join(lines))
    lines.clear()


def _write_file(path: Path, lines: list[str]) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE), "w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)
