"""What the broker saw, for whoever has a test that failed: one vhost on a page, the most telling first.

What is as it should be isn't told: no section is empty.
"""

from __future__ import annotations

import time
from textwrap import wrap
from typing import TYPE_CHECKING, Final, cast

from broker.core.inspection import look
from broker.core.message import BODY, HEADER, ID
from broker.testing import fates
from broker.testing.lives.history import history_of
from broker.testing.talk import transcript
from broker.testing.talk.transcript import Moments
from broker.testing.talk.wording import BODY_KEPT, body_text, content_text, cut, number, printable, properties_text, seconds
from broker.testing.waiting.holders import given_ms, held_of, holder_text, name_of, untaken_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from broker.core.channel import Channel
    from broker.core.inspection import Seen
    from broker.core.queue import Queue
    from broker.core.session import Session
    from broker.core.steps import Steps
    from broker.core.vhost import VHost
    from broker.testing.rig import Rig
    from broker.testing.talk.conversation import Conversation
    from broker.testing.vhost import WatchedVHost

WIDTH: Final = 118
LINES: Final = 140
"""About so long is all of it."""
CONVERSATION_LINES_MIN: Final = 8
CONVERSATIONS: Final = 8
CONNECTIONS: Final = 8
QUEUES: Final = 10
FEW_QUEUES: Final = 4
MESSAGES: Final = 3
"""Of a queue, ready and unacked each, if there are no more than FEW_QUEUES; else one."""
LISTED: Final = 10
"""Lines of any other list."""


def _section(heading: str, lines: Sequence[str]) -> list[str]:
    """A heading and what stands under it; nothing if nothing does. Lines that are too long are cut."""
    return ["", heading, *(cut(printable(line), WIDTH) for line in lines)] if lines else []


def _sentences(heading: str, sentences: Iterable[str]) -> list[str]:
    """The same for the first of some sentences, which go on in the next line."""
    found = list(sentences)
    shown = found if len(found) <= LISTED else found[: LISTED - 1]
    lines = [line for each in shown for line in wrap(printable(each), WIDTH, initial_indent="  ", subsequent_indent="      ")]
    if len(shown) < len(found):
        lines.append(f"  ... and {len(found) - len(shown):,} more")
    return _section(heading, lines)


def report(rig: Rig, vhost: VHost) -> Steps[str]:
    """The whole text, some 150 lines at the most."""
    conversations = rig.conversations.in_vhost(vhost)
    moments = _since(rig, conversations)
    history = history_of(vhost)
    queues = yield from _queues(vhost, moments)
    lines = [
        *_head(rig, vhost, moments),
        *_sentences("Faults", _faults(rig, vhost, conversations, moments)),
        *_sentences("Went nowhere", fates.nowhere(history, moments)),
        *_sentences("Errors", _errors(conversations, moments)),
        *_sentences("Lost", fates.losses(rig.judge.of(vhost.name))),
        *_sentences("Dead letters", fates.dead_letters(history, moments)),
        *_sentences("Refused", _refused(rig, vhost, moments)),
        *_section("Queues", queues),
        *_sentences("Waiting", _waiting(rig, vhost)),
        *_section("Connections", _connections(vhost)),
    ]
    lines += _section("Conversations", _conversations(conversations, moments, LINES - len(lines)))
    return "\n".join(lines) + "\n"


def conversations(rig: Rig, vhost: VHost) -> str:
    """All that is kept of what clients and broker said."""
    found = rig.conversations.in_vhost(vhost)
    moments = _since(rig, found)
    lines = [f"What clients of vhost '{vhost.name}' and the broker said; times are {_zero(moments)}"]
    for each in found:
        lines += ["", transcript.heading(each), *transcript.lines(each, moments)]
    return "\n".join(lines) + "\n"


def _since(rig: Rig, conversations: Sequence[Conversation]) -> Moments:
    """The first conversation's begin is the moment that all times count from."""
    if conversations:
        return Moments(conversations[0].begun_at, conversations[0].begun_ms)
    return Moments(time.monotonic(), rig.clock.now_ms())


def _zero(moments: Moments) -> str:
    return f"in seconds since {_date(moments.zero_ms)}, when the first client connected"


def _date(ms: int) -> str:
    whole, rest = divmod(ms, 1000)
    try:
        return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(whole))}.{rest:03} UTC"
    except (OverflowError, ValueError, OSError):
        return f"{ms} ms"


# --- the sections ---------------------------------------------------------------------------------------------------------


def _head(rig: Rig, vhost: VHost, moments: Moments) -> list[str]:
    clock = rig.clock
    lines = [f"What the broker saw in vhost '{vhost.name}' (seed {rig.seed}).", f"Times are {_zero(moments)}."]
    if clock.is_frozen:
        lines.append(f"Its clock is frozen, at {_date(clock.now_ms())} ({moments.text(clock.now_ms())}).")
    if abs(clock.offset_ms) > 1000 * transcript.MOVED_SECONDS:
        ahead = "ahead of" if clock.offset_ms > 0 else "behind"
        lines.append(f"Its clock is {seconds(abs(clock.offset_ms))} {ahead} the real time.")
    return lines


def _faults(rig: Rig, vhost: VHost, conversations: Sequence[Conversation], moments: Moments) -> Iterator[str]:
    """Those that are in effect, of the whole broker too; then what they did, and those that are over, on which connections."""
    for rule in rig.faults.of(None):
        if rule.vhost in (None, vhost.name):
            order = ", ".join(f"{name}={value!r}" for name, value in rule.order.items() if name not in ("do", "vhost"))
            yield f"in effect: {rule.id}, {rule.action.name} ({order}): hit {number(rule.hits, 'time')}{', spent' * rule.is_spent}"
    hits = [(note.at_ms, f"{note.text} (on {_name(each)}, {{}})") for each in conversations for note in each.notes]
    yield from fates.grouped(hits, moments, "time")


def _name(conversation: Conversation) -> str:
    name, peer, _ = conversation.who
    return name or peer.partition(" -> ")[0]


def _errors(conversations: Sequence[Conversation], moments: Moments) -> Iterator[str]:
    found = [(error, each) for each in conversations for error in each.errors]
    for error, conversation in sorted(found, key=lambda item: item[0].at_ms):
        where = f" ch {error.channel}" if error.channel else ""
        yield f"{moments.text(error.at_ms)} {_name(conversation)}{where}: {error.text}"


def _refused(rig: Rig, vhost: VHost, moments: Moments) -> Iterator[str]:
    """Whom the broker never let in, since there is this vhost: it isn't known whether that was where they wanted to go."""
    for conversation in rig.conversations.refused:
        if conversation.begun_at >= cast("WatchedVHost", vhost).begun_at:
            for error in list(conversation.errors)[-1:]:
                yield f"{moments.text(error.at_ms)} {conversation.who[1].partition(' -> ')[0]}: {error.text}"


def _queues(vhost: VHost, moments: Moments) -> Steps[list[str]]:
    """Those with something in them, with the first of it; the others by their names."""
    queues = list(vhost.queues.values())
    filled = [queue for queue in queues if len(queue.ready) or queue.unacked]
    most = MESSAGES if len(filled) <= FEW_QUEUES else 1
    lines: list[str] = []
    for queue in filled[:QUEUES]:
        if queue.deleted:
            continue
        lines.append(f"  {_queue_text(queue)}")
        lines += _unacked(queue, most, moments)
        ready = yield from look(queue, 0, most, None, BODY_KEPT)
        lines += [line for seen in ready.seen for line in _two_lines("ready", _message(seen, queue, moments))]
        lines += _rest(len(queue.ready) - len(ready.seen), most)
    if len(filled) > QUEUES:
        lines.append(f"  ... and {number(len(filled) - QUEUES, 'more queue')} with messages")
    empty = [queue for queue in queues if queue not in filled and queue.kept_for is None]
    if empty:
        idle = ", ".join(f"{queue.name}{'' if len(queue.consumers) else ' (no consumer)'}" for queue in empty)
        lines.append(f"  empty: {idle}")
    return lines


def _rest(count: int, most: int) -> list[str]:
    return [f"               ... and {count:,} more"] if count > 0 and most > 1 else []


def _two_lines(state: str, text: str) -> list[str]:
    """A message, in no more than that."""
    return wrap(printable(text), WIDTH, initial_indent=f"      {state:9}", subsequent_indent=f"{'':19}", max_lines=2, placeholder="...")


def _queue_text(queue: Queue) -> str:
    kind = f"{queue.type}{', durable' * queue.durable}{', exclusive' * (queue.owner is not None)}"
    if queue.kept_for is not None:
        return f"{queue.name}: {number(len(queue.ready), 'message')} that exchange '{queue.kept_for}' delays"
    untaken = f": {untaken_text(queue)}" if len(queue.ready) else ""
    return f"{queue.name} ({kind}): {queue.unacked:,} unacked, {len(queue.ready):,} ready{untaken}"


def _unacked(queue: Queue, most: int, moments: Moments) -> list[str]:
    """With whom they are."""
    lines: list[str] = []
    now_ms = queue.outbox.clock()
    for held in held_of(queue):
        for index, message in enumerate(held.messages[: most - len(lines)]):
            tag = held.tags[index] if index < len(held.tags) else None
            since_ms = None if tag is None else given_ms(held.holder.channel, tag)
            since = "" if since_ms is None else f" for {seconds(now_ms - since_ms)}"
            by = f"{'' if tag is None else f'#{tag} '}with {holder_text(held.holder)} ch {held.holder.channel.number}{since}"
            told = content_text(message[HEADER], message[BODY][:BODY_KEPT], len(message[BODY]))
            lines.append(f"{by}: {told}{_so_far(queue, message[ID], moments)}")
    return [*(line for each in lines for line in _two_lines("unacked", each)), *_rest(queue.unacked - len(lines), most)]


def _so_far(queue: Queue, message_id: int, moments: Moments) -> str:
    life = history_of(queue.vhost).get(message_id)
    told = "" if life is None else fates.so_far(life, queue.name, moments)
    return f", {told}" if told else ""


def _message(seen: Seen, queue: Queue, moments: Moments) -> str:
    parts = [f"{number(seen.body_bytes, 'byte')} {body_text(seen.properties, seen.body, seen.body_bytes)}".rstrip()]
    parts[0] += _so_far(queue, seen.message_id, moments)
    if seen.due_ms is not None:
        parts.append(f"due at {moments.text(seen.due_ms)}")
    if seen.expires_ms is not None:
        parts.append(f"expires at {moments.text(seen.expires_ms)}" if seen.expires_ms else "has expired")
    if shown := properties_text(seen.properties):
        parts.append(shown)
    return ", ".join(parts)


def _waiting(rig: Rig, vhost: VHost) -> Iterator[str]:
    for condition in rig.waits.conditions:
        if condition.concerns(vhost):
            yield f"somebody waits for {condition.wanted()}; {condition.found()}"


def _connections(vhost: VHost) -> list[str]:
    sessions = list(vhost.sessions)
    few = len(sessions) <= CONNECTIONS
    lines = [line for session in sessions[:CONNECTIONS] for line in _connection(session, LISTED if few else 1)]
    if not few:
        lines.append(f"  ... and {number(len(sessions) - CONNECTIONS, 'more connection')}")
    return lines


def _connection(session: Session, most: int) -> Iterator[str]:
    blocked = ", blocked by an alarm" * session.blocked
    congested = ", doesn't read what it was sent" * (session.congested and not session.had_its_share)
    yield f"  {name_of(session)}: user '{session.user_name}', {number(len(session.channels), 'channel')}{blocked}{congested}"
    shown = list(session.channels.values())[:most]
    for channel in shown:
        yield from _channel(channel, most)
    if len(session.channels) > len(shown):
        yield f"      ... and {number(len(session.channels) - len(shown), 'more channel')}"


def _channel(channel: Channel, most: int) -> Iterator[str]:
    parts = []
    if channel.confirms is not None:
        parts.append(f"confirms, {channel.confirms.unconfirmed:,} to come")
    if channel.transaction is not None:
        parts.append(f"a transaction with {number(len(channel.transaction.publishes), 'publish')}")
    if channel.unacked:
        parts.append(f"{len(channel.unacked):,} unacked")
    if channel.prefetch_shared:
        parts.append(f"prefetch {channel.prefetch_shared} for all its consumers")
    consumers = list(channel.consumers.values())[:most]
    if parts or not consumers:
        yield f"      ch {channel.number}: {', '.join(parts) or 'nothing under way'}"
    for consumer in consumers:
        mode = "no acks" if consumer.no_ack else f"prefetch {consumer.prefetch or 'without limit'}, {consumer.unacked:,} unacked"
        yield f"      ch {channel.number}: consumer '{consumer.tag}' of '{consumer.queue.name}', {mode}"


def _conversations(conversations: Sequence[Conversation], moments: Moments, left: int) -> list[str]:
    """The latest, and before all others those with errors, in so many lines."""
    count = min(CONVERSATIONS, max(left // (CONVERSATION_LINES_MIN + 1), 2))
    chosen = sorted(conversations, key=lambda each: (bool(each.errors), each.begun_at))[-count:]
    chosen.sort(key=lambda each: each.begun_at)
    texts = [transcript.lines(each, moments, briefly=True) for each in chosen]
    most = _share([len(each) for each in texts], left - len(chosen) - 3)
    lines: list[str] = []
    if len(conversations) > len(chosen):
        lines.append(f"  ... those of {number(len(conversations) - len(chosen), 'more connection')} are not shown")
    for each, text in zip(chosen, texts, strict=True):
        lines += [f"  {transcript.heading(each)}", *transcript.shortened(text, most)]
    return lines


def _share(lengths: Sequence[int], left: int) -> int:
    """How many lines each may have, so that they fit together: what short ones leave is the long ones'."""
    most = 0
    for index, length in enumerate(sorted(lengths)):
        most = max(left // (len(lengths) - index), CONVERSATION_LINES_MIN)
        left -= min(length, most)
    return most
