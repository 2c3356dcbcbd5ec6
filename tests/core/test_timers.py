"""The heap of deadlines."""

from broker.core.timers import DEAD_MAX, Timers


def test_in_the_order_of_their_deadlines_and_of_asking() -> None:
    timers = Timers()
    called: list[str] = []
    for deadline, name in ((30, "c"), (10, "a"), (30, "d"), (20, "b")):
        timers.at(deadline, lambda name=name: called.append(name))  # type: ignore[misc]
    assert timers.next_ms == 10
    timers.run(29)
    assert (called, timers.next_ms, timers.live) == (["a", "b"], 30, 2)
    timers.run(30)
    assert (called, timers.next_ms, timers.live) == (["a", "b", "c", "d"], None, 0)


def test_a_cancelled_one_is_never_called() -> None:
    timers = Timers()
    called: list[str] = []
    second = timers.at(1, lambda: called.append("second"))
    timers.at(1, second.cancel)
    first = timers.at(0, lambda: called.append("first"))
    first.cancel()
    first.cancel()
    assert (timers.next_ms, timers.live) == (1, 2)
    timers.run(1)
    assert (called, timers.live) == (["second"], 0)
    assert second.deadline_ms is None


def test_one_that_is_cancelled_by_another_of_the_same_moment() -> None:
    timers = Timers()
    called: list[str] = []
    later = []
    timers.at(1, lambda: later[0].cancel())
    later.append(timers.at(1, lambda: called.append("later")))
    timers.run(1)
    assert (called, timers.live) == ([], 0)


def test_what_is_asked_for_meanwhile_waits() -> None:
    timers = Timers()
    called: list[int] = []

    def again() -> None:
        called.append(1)
        timers.at(0, again)

    timers.at(0, again)
    timers.run(5)
    assert (called, timers.next_ms) == ([1], 0)
    timers.run(5)
    assert called == [1, 1]


def test_one_at_a_time() -> None:
    timers = Timers()
    called: list[str] = []
    timers.at(10, lambda: called.append("b"))
    timers.at(5, lambda: called.append("never")).cancel()
    timers.at(10, lambda: called.append("c"))
    timers.at(7, lambda: called.append("a"))
    for count in (1, 2, 3, 3):
        timers.run_first()
        assert called == ["a", "b", "c"][:count]


def test_a_timer_that_fails_keeps_nobody_else(caplog: object) -> None:
    timers = Timers()
    called: list[int] = []
    timers.at(1, lambda: called.append(1 // 0))
    timers.at(1, lambda: called.append(2))
    timers.run(1)
    assert called == [2]


def test_cancelled_ones_do_not_pile_up() -> None:
    timers = Timers()
    keep = timers.at(5, lambda: None)
    for _ in range(10 * DEAD_MAX):
        timers.at(1_000_000, lambda: None).cancel()
    assert len(timers._heap) <= 3 * DEAD_MAX
    assert (timers.next_ms, timers.live, keep.deadline_ms) == (5, 1, 5)
