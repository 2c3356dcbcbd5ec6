"""A conversation as lines of text.

    worker (127.0.0.1:50512, user 'guest')
       +0.012    1 -> basic.publish exchange='shop' key='order.new' mandatory, 9 bytes {"id": 7}
       +0.013    1 <- basic.ack of publish 1
                      ... 998 more like these: 499 -> basic.publish, 499 <- basic.ack of publishes; the last:
       +0.911    1 -> basic.publish exchange='shop' key='order.new' mandatory, 11 bytes {"id": 500}

The columns are the time, the channel, and which way: `->` is what the client said, `<-` what the broker said, `--` what happened. The time
is the broker's, in seconds since a moment; where that was moved, the real time stands beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.testing.talk.folding import Fold, Gap, Line
from broker.testing.talk.wording import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broker.testing.talk.conversation import Conversation

MOVED_SECONDS = 0.05
"""The clocks differ by no more where nobody moved one."""


class Moments:
    """Times as seconds since a moment, which is told by time.monotonic and by the broker's clock."""

    def __init__(self, zero_at: float, zero_ms: int) -> None:
        self.zero_at = zero_at
        self.zero_ms = zero_ms

    def text(self, at_ms: int) -> str:
        """`+0.012`"""
        return f"{(at_ms - self.zero_ms) / 1000:+,.3f}"

    def real(self, at: float, at_ms: int) -> str:
        """The real time, where it is another: `(+0.012 real)`; else empty."""
        passed = at - self.zero_at
        return f"({passed:+,.3f} real) " if abs(passed - (at_ms - self.zero_ms) / 1000) > MOVED_SECONDS else ""


def heading(conversation: Conversation) -> str:
    """Whose it is."""
    name, peer, user = conversation.who
    address = peer.partition(" -> ")[0]
    parts = [address if name else "", f"user '{user}'" if user else "", conversation.client, "" if conversation.is_open else "closed"]
    told = ", ".join(filter(None, parts))
    return printable(f"{name or address} ({told})" if told else address)


def lines(conversation: Conversation, moments: Moments, *, briefly: bool = False) -> list[str]:
    """All that is kept of it; or, briefly, without the handshake of a connection that was opened, and without what only says that
    something was done."""
    told = [text for item in conversation.lines for text in _of(item, moments) if not (briefly and isinstance(item, Line) and item.is_mere)]
    if briefly and conversation.is_let_in:
        return told
    return [*(_line(line, moments) for line in conversation.handshake), *told]


def _of(item: Line | Fold | Gap, moments: Moments) -> Iterable[str]:
    if isinstance(item, Line):
        yield _line(item, moments)
    elif isinstance(item, Gap):
        yield _between(f"... {item.lines:,} more, which weren't kept ...")
    elif item.is_small:
        yield from (_line(line, moments) for line in item.few)
    else:
        if item.total:
            counts = [f"{count:,} {kind.way} {kind.name}" for kind, count in item.counts.items() if count]
            what = f"these: {', '.join(counts)}" if len(counts) > 1 else "this"
            yield _between(f"... {item.total:,} more like {what}; the last:")
        for line in sorted(item.last.values(), key=lambda each: each.at):
            yield _line(line, moments)


def _line(line: Line, moments: Moments) -> str:
    channel = line.channel or ""
    return f"  {moments.text(line.at_ms):>9} {channel:>4} {line.way} {moments.real(line.at, line.at_ms)}{line.text()}"


def _between(text: str) -> str:
    return f"{'':20}{text}"


def shortened(texts: list[str], most: int) -> list[str]:
    """No more lines than that: the first third of what fits, and the end."""
    if len(texts) <= most:
        return texts
    first = max((most - 1) // 3, 1)
    last = max(most - 1 - first, 0)
    return [*texts[:first], _between(f"... {len(texts) - first - last:,} more lines ..."), *texts[len(texts) - last :]]
