"""What is ready, and in which order it goes out (contract 6.5: requeue to the exact old position)."""

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.core.limits import MeasuredReady
from broker.core.message import Message
from broker.core.ready import Ready
from tests.core.playbook import Playbook, PlayedChannel
from tests.spec import spec


def message(number: int) -> Message:
    return (number, b"", b"", b"x" * (number % 5))


class SortedList:
    """The twin: all that is ready, in order of ids, and which of it is redelivered."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.back: set[int] = set()

    def take(self, count: int) -> tuple[bool, list[int]]:
        redelivered = self.ids[0] in self.back
        taken: list[int] = []
        while self.ids and len(taken) < count and (self.ids[0] in self.back) is redelivered:
            taken.append(self.ids.pop(0))
        self.back -= set(taken)
        return redelivered, taken

    def give_back(self, ids: list[int], redelivered: bool) -> None:
        self.ids = sorted([*self.ids, *ids])
        if redelivered:
            self.back |= set(ids)


@spec("6.5", "requeue: classic to the exact old position")
@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(["extend", "take", "put back", "requeue", "clear"]), st.integers(1, 5)), max_size=60))
def test_a_sorted_list_says_the_same(moves: list[tuple[str, int]]) -> None:
    ready, twin = MeasuredReady(), SortedList()
    out: list[int] = []
    highest = 0
    for move, count in moves:
        if move == "extend":
            ids = list(range(highest + 1, highest + 1 + count))
            highest += count
            ready.extend(list(map(message, ids)))
            twin.give_back(ids, False)
        elif move in ("take", "put back") and len(ready):
            redelivered, messages = ready.take(count)
            expected = twin.take(count)
            assert (redelivered, [each[0] for each in messages]) == expected
            if move == "take":
                out += expected[1]
            else:
                kept = len(messages) // 2
                out += expected[1][:kept]
                ready.put_back(redelivered, messages[kept:])
                twin.give_back(expected[1][kept:], redelivered)
        elif move == "requeue":
            back, out = out[-count:], out[:-count]
            ready.give_back(list(map(message, back)))
            twin.give_back(back, True)
        elif move == "clear":
            assert sorted(each[0] for each in ready.clear()[0]) == twin.ids
            twin = SortedList()
        assert len(ready) == len(twin.ids)
        assert ready.body_bytes == sum(number % 5 for number in twin.ids)


@spec("6.5", "requeue: classic to the exact old position")
def test_requeue_finds_the_old_place(book: Playbook, channel: PlayedChannel) -> None:
    channel.declare("q")
    channel.publish("q", b"1", b"2", b"3", b"4")
    channel.qos(3)
    channel.consume("q")
    book.settle()
    channel.take()
    channel.reject(2)
    channel.cancel()
    book.settle()
    assert book.ready("q") == [b"2", b"4"]
    channel.nack(3, multiple=True)
    book.settle()
    assert book.ready("q") == [b"1", b"2", b"3", b"4"]
    channel.take()
    for _ in range(4):
        channel.get("q", no_ack=True)
    book.settle()
    assert [(reply.body, reply.redelivered) for reply in channel.take()] == [  # type: ignore[union-attr]
        (b"1", True), (b"2", True), (b"3", True), (b"4", False),
    ]  # fmt: skip


def test_take_never_mixes_redelivered_and_fresh() -> None:
    ready = Ready()
    ready.extend(list(map(message, [1, 2, 3, 4])))
    taken = ready.take(3)[1]
    ready.give_back([taken[0], taken[2]])
    assert [(redelivered, [each[0] for each in messages]) for redelivered, messages in (ready.take(9), ready.take(9))] == [
        (True, [1, 3]),
        (False, [4]),
    ]
