"""Is a data directory sound? Every block, every record, and whether what they say fits together. Nothing is written."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from storage import declared
from storage.api import Corrupt
from storage.declared import Declared
from storage.offline import Found, Lost, OfflineLog
from storage.records import BlockHeader, decode_records
from storage.replay import LIVE, Replay

PROBLEMS_MAX: Final = 1000
"""Problems that a report keeps; it counts them all."""


@dataclass(slots=True)
class Report:
    """What `verify` found. Sizes are in bytes; `live` is how many messages a start finds in each queue that has any, by
    queue id; `problems` are lines for people, the first thousand of `problem_count`."""

    segments: int = 0
    size: int = 0
    blocks: int = 0
    commits: int = 0
    records: int = 0
    messages: int = 0
    live: dict[int, int] = field(default_factory=dict)
    declared: Declared = field(default_factory=Declared)
    torn: int = 0
    filled: int = 0
    problems: list[str] = field(default_factory=list)
    problem_count: int = 0

    @property
    def ok(self) -> bool:
        """Nothing is wrong. A torn tail is what a crash leaves: a start cuts it off."""
        return not self.problem_count

    def add(self, problem: str) -> None:
        """Note a problem."""
        self.problem_count += 1
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(problem)


def verify(directory: Path) -> Report:
    """Read all of a data directory and check it. Raises StorageError for a newer format, OSError where there is no log."""
    report = Report()
    report.declared = known = declared.read(directory)
    for problem in known.problems():
        report.add(problem)
    log = OfflineLog(directory)
    report.segments = len(log.segments)
    report.size = sum(segment.size for segment in log.segments)
    start = log.segments[0].start if log.segments else 0
    _Checker(report, known, start).check(log)
    return report


class _Checker:
    """Goes through a log, and tells the report."""

    def __init__(self, report: Report, known: Declared, start: int) -> None:
        self._report = report
        self._where = ""
        everything = None if known.broken else known.queues
        self._replay = Replay(everything, None if known.broken else known.next_queue, start, self._problem)
        self._number = 0
        self._epoch = 0
        self._highest_synced = 0

    def check(self, log: OfflineLog) -> None:
        """Check all of it."""
        segment = None
        for piece in log.pieces():
            if piece.segment is not segment:
                segment = piece.segment
                self._replay.begin_segment()
            if isinstance(piece, Found):
                self._check_commit(piece)
            else:
                self._check_loss(piece)
        known = self._report.declared
        self._report.live = {
            queue_id: count
            for queue_id, ids in self._replay.queues.items()
            if (known.broken or queue_id in known.queues) and (count := ids.count(LIVE))
        }
        self._report.messages = self._replay.messages

    def _check_loss(self, lost: Lost) -> None:
        self._where = f"log/{lost.segment.path.name} at position {lost.position}"
        length = lost.end - lost.position
        match lost.kind:
            case "torn":
                self._report.torn = length
                return  # nobody was told that it would last
            case "filler":
                self._report.filled += length
            case _:
                self._problem(f"{length} bytes are {lost.kind}: {lost.text}")
        if lost.kind != "cut":
            self._replay.lose()

    def _check_commit(self, found: Found) -> None:
        report, replay = self._report, self._replay
        self._where = f"log/{found.segment.path.name} at position {found.blocks[0].position}"
        report.commits += 1
        report.blocks += len(found.blocks)
        report.records += len(found.records)
        for block in found.blocks:
            self._check_header(block.header)
        replay.in_loss = found.hurt
        if not found.whole:
            replay.lose()
            self._problem(f"a commit of which {len(found.records)} records are left")
        for data in found.records:
            try:
                for record in decode_records(data):
                    replay.apply(record)
            except Corrupt as error:
                replay.lose()
                self._problem(f"a record that can't be read: {error}")

    def _check_header(self, header: BlockHeader) -> None:
        if header.number <= self._number:
            self._problem(f"block {header.number} follows block {self._number}: numbers must rise")
        if header.epoch < self._epoch:
            self._problem(f"block {header.number} is of epoch {header.epoch}, behind one of epoch {self._epoch}")
        if header.synced >= header.number:
            self._problem(f"block {header.number} says that block {header.synced} was synced before it was written")
        if header.synced < self._highest_synced:
            self._problem(f"block {header.number} knows less to be synced ({header.synced}) than one before it ({self._highest_synced})")
        self._number = max(self._number, header.number)
        self._epoch = max(self._epoch, header.epoch)
        self._highest_synced = max(self._highest_synced, header.synced)

    def _problem(self, text: str) -> None:
        self._report.add(f"{self._where}: {text}")
