"""Checks what sources give and collects what is wrong with it, so that one start shows everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.settings.given import Given, Source

if TYPE_CHECKING:
    from pathlib import Path

    from broker.settings.setting import Setting

HINTS_MAX: Final = 20
"""Looking for a name that is near costs milliseconds, and a file may be anything."""


class Reader:
    """`problems` stop the start; `warnings` and `ignored`, RabbitMQ's keys that aren't there, don't. `files` are those that were read."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.files: list[Path] = []
        self._ignored: list[str] = []
        self._hints = 0

    def give(self, source: Source, key: str, text: str, origin: str, *, place: str = "", named: str = "") -> None:
        """Let `source` have `key`, or note what is wrong with it: at `place` (else the origin), where the key is called `named`."""
        from broker.settings import table

        row = table.find(key)
        if row is None:
            if table.is_rabbitmqs(key):
                self._ignored.append(f"{key} ({origin})")
            else:
                self._unknown(key, place or origin)
            return
        given = self.value(row, text, origin, place=place, named=named or key)
        if given is not None:
            source.given.pop(key, None)  # the place of the last one counts
            source.given[key] = given

    def value(self, row: Setting, text: str, origin: str, *, place: str = "", named: str) -> Given | None:
        """Return what `text` gives for the setting; None if it is wrong, which is noted."""
        from broker import validation  # pydantic's import costs 0.1 s: only where something was given

        is_encrypted = text.startswith("encrypted:")
        start = f"{place or origin}: {named} = {'***' if is_encrypted else validation.shown(row, text)}"
        if is_encrypted:
            self.problems.append(
                f"{start}: expected the value itself: Leveret decrypts nothing. $(NAME) takes it from the environment, LEVERET_..._FILE "
                "from a file"
            )
            return None
        try:
            return Given(row.attribute, validation.parse(row, text), text, origin, row.secret)
        except ValueError:
            self.problems.append(f"{start}: expected {row.expected}")
            return None

    def _unknown(self, key: str, place: str) -> None:
        """Note that there is no such key, and never its value: nobody knows what it is."""
        from broker import config_file
        from broker.settings import table

        self._hints += 1
        near = table.nearest(key) if self._hints <= HINTS_MAX else None
        hint = f'; did you mean "{near}"?' if near else ""
        self.problems.append(f"{place}: {config_file.name_of(key)}: there is no setting with that name{hint}")

    def finish(self) -> None:
        """Make one warning of all keys that aren't there."""
        if self._ignored:
            names = ", ".join(self._ignored)
            self.warnings.append(f"Leveret doesn't have these settings of RabbitMQ and goes on without them: {names}")
