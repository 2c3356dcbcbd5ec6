"""What `leveret config show` prints: a configuration file that says the same as all sources together."""

from __future__ import annotations

from collections.abc import Iterator

from broker import config_file, validation
from broker.settings import table
from broker.settings.given import DEFAULT, RECORDS, Given
from broker.settings.loading import Loaded
from broker.settings.setting import Setting


def lines(loaded: Loaded) -> Iterator[str]:
    """Yield each setting with where it comes from. Secrets, and what a file can't hold, are commented out."""
    by_row: dict[str, list[tuple[str, Given]]] = {}
    for key, given in loaded.given.items():
        row = table.find(key)
        assert row is not None
        by_row.setdefault(row.name, []).append((key, given))
    attributes = {given.attribute for given in loaded.given.values()}
    for row in table.SETTINGS:
        for key, given in by_row.get(row.name, ()):
            yield _line(row, key, given.text, given.origin)
        if row.default is not None and row.name not in by_row and row.attribute and _counts(row, attributes):
            yield _line(row, row.name, row.default, DEFAULT)


def _counts(row: Setting, attributes: set[str]) -> bool:
    """Whether the default does, or another key of the same attribute was given."""
    return row.attribute in RECORDS or row.attribute not in attributes


def _line(row: Setting, key: str, text: str, origin: str) -> str:
    shown = validation.shown(row, text)
    line = config_file.line_of(key, shown)
    if line is None:
        return f"# {key} = {shown!r}  # {origin}: a file can't hold it"
    return f"{'# ' if shown != text or row.secret else ''}{line}  # {origin}"
