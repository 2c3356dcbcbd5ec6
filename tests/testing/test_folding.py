"""Long conversations kept short."""

from broker.testing.talk.folding import FIRST_MAX, LAST_MAX, PAUSE_SECONDS, Fold, Folded, Gap, Kind, Line

PUBLISH, ACK = Kind("->", 1, "basic.publish"), Kind("<-", 1, "basic.ack")


def line(text: str, at: float = 0.0) -> Line:
    return Line(0, at, 1, "->", lambda: text)


def shown(folded: Folded) -> list[str]:
    """Lines as they are, folds as counts and last lines, gaps as numbers."""
    told: list[str] = []
    for item in folded:
        if isinstance(item, Fold) and item.is_small:
            told += [f"few {each.text()}" for each in item.few]
        elif isinstance(item, Fold):
            told.append("+".join(str(count) for count in item.counts.values()))
            told += [f"last {each.text()}" for each in item.last.values()]
        else:
            told.append(f"gap {item.lines}" if isinstance(item, Gap) else item.text())
    return told


def test_the_first_of_a_kind_and_the_last() -> None:
    folded = Folded()
    for index in range(10):
        folded.add(PUBLISH, line(f"p{index}"))
    assert shown(folded) == ["p0", "p1", "p2", "6", "last p9"]


def test_kinds_that_take_turns_are_one_stretch() -> None:
    folded = Folded()
    for index in range(100):
        folded.add(PUBLISH, line(f"p{index}"))
        folded.add(ACK, line(f"a{index}"))
    assert shown(folded) == ["p0", "a0", "p1", "a1", "p2", "a2", "96+96", "last p99", "last a99"]


def test_a_new_kind_is_shown_and_others_go_on_being_counted() -> None:
    folded = Folded()
    for index in range(5):
        folded.add(PUBLISH, line(f"p{index}"))
    folded.add(ACK, line("a"))
    folded.add(PUBLISH, line("p5"))
    assert shown(folded) == ["p0", "p1", "p2", "few p3", "few p4", "a", "few p5"]


def test_a_run_makes_only_what_is_kept() -> None:
    made = []

    def make(index: int) -> Line:
        made.append(index)
        return line(f"p{index}")

    folded = Folded()
    folded.add_run(PUBLISH, 0.0, 1000, make)
    assert made == [0, 1, 2, 3, 4, 5, 999]
    assert shown(folded) == ["p0", "p1", "p2", "996", "last p999"]


def test_a_landmark_and_a_pause_begin_a_new_stretch() -> None:
    folded = Folded()
    for index in range(4):
        folded.add(PUBLISH, line(f"p{index}"))
    folded.add_landmark(line("consume"))
    folded.add(PUBLISH, line("p4"))
    for index in range(5, 9):
        folded.add(PUBLISH, line(f"p{index}", PAUSE_SECONDS * 2))
    assert shown(folded) == ["p0", "p1", "p2", "few p3", "consume", "p4", "p5", "p6", "p7", "few p8"]


def test_a_thousand_routing_keys_are_one_kind() -> None:
    folded = Folded()
    for index in range(1000):
        folded.add(PUBLISH._replace(about=index), line(f"p{index}"))
    assert len(shown(folded)) < 25
    assert shown(folded)[-1] == "last p999"


def test_the_beginning_and_the_end_of_what_is_left_are_kept() -> None:
    folded = Folded()
    count = 3 * (FIRST_MAX + LAST_MAX)
    for index in range(count):
        folded.add_landmark(line(str(index)))
    told = shown(folded)
    assert told[:2] == ["0", "1"] and told[FIRST_MAX - 1] == str(FIRST_MAX - 1)
    assert told[FIRST_MAX] == f"gap {count - FIRST_MAX - LAST_MAX}"
    assert told[FIRST_MAX + 1 :] == [str(index) for index in range(count - LAST_MAX, count)]
