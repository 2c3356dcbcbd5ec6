"""Where bytes go that should have been a block and aren't: kept for people to look at, and told of."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from storage.api import Corrupt, Damage
from storage.files import Files
from storage.records import TARGET_IS_SET, Other, RouteSet, decode_heads

Kind = Literal["torn", "corrupt", "missing"]


NOTHING: Final[Mapping[int, int]] = {}


class Quarantine:
    """Keeps damaged bytes as files of a directory, which is made when the first come. Their names begin with `prefix`."""

    def __init__(self, files: Files, directory: Path, prefix: str = "") -> None:
        self._files = files
        self._directory = directory
        self._prefix = prefix
        self._damage: dict[tuple[Kind, int], Damage] = {}

    def damage(self) -> list[Damage]:
        """All that was noted, in the order of position."""
        return sorted(self._damage.values(), key=lambda damage: damage.position)

    def noted(self, kind: Kind, position: int) -> Damage | None:
        """What was noted of damage that begins there."""
        return self._damage.get((kind, position))

    def note(self, kind: Kind, segment: int, position: int, length: int, text: str, messages: Mapping[int, int] = NOTHING) -> None:
        """Remember damage that left no bytes to keep. `messages` counts those that were in it, by queue id."""
        damage = Damage(kind, segment, position, length, text, tuple(messages.items()))
        self._damage.setdefault((kind, position), damage)

    def keep(self, kind: Kind, segment: int, position: int, data: bytes, text: str, messages: Mapping[int, int] = NOTHING) -> None:
        """Remember damage and keep its bytes. Never raises for the disk: what can't be kept must not stop recovery."""
        if (kind, position) in self._damage:
            return
        try:
            name = self.save(f"{self._prefix}{position:020d}-{len(data)}.{kind}", data)
            text = f"{text}; kept as {self._directory.name}/{name}"
        except OSError as error:
            text = f"{text}; its bytes could not be kept: {error}"
        self.note(kind, segment, position, len(data), text, messages)

    def save(self, name: str, data: bytes) -> str:
        """Keep bytes under a name, or one like it where that is taken by others; returns the name. Raises OSError."""
        self._files.make_directory(self._directory)
        for attempt in range(1, 1000):
            unique = name if attempt == 1 else f"{name}.{attempt}"
            try:
                descriptor = self._files.open(self._directory / unique, create=True)
            except FileExistsError:
                if self._holds(unique, data):  # found again at each start, until its segment is gone
                    return unique
                continue
            try:
                self._files.write(descriptor, data, 0)
                self._files.sync(descriptor)
            finally:
                self._files.close(descriptor)
            self._files.sync_directory(self._directory)
            return unique
        raise OSError(f"there are too many files like {name} in {self._directory}")

    def _holds(self, name: str, data: bytes) -> bool:
        descriptor = self._files.open(self._directory / name, readonly=True)
        try:
            return self._files.read(descriptor, len(data) + 1, 0) == data
        finally:
            self._files.close(descriptor)


def messages_in(data: bytes) -> dict[int, int]:
    """How many messages the records in `data` put into which queue, by its id; of damaged bytes as far as they make sense."""
    counts: dict[int, int] = {}
    sets: dict[int, tuple[int, ...]] = {}
    try:
        for _, record in decode_heads(data):
            if isinstance(record, RouteSet):
                sets[record.set_id] = record.queue_ids
            elif not isinstance(record, Other):
                target = record[5]
                for queue_id in sets.get(target, ()) if record[1] & TARGET_IS_SET else (target,):
                    counts[queue_id] = counts.get(queue_id, 0) + record[8]
    except Corrupt:
        pass  # that is as far as it goes
    return counts
