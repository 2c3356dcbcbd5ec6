"""What `leveret config show` prints: a configuration file that says the same as all sources together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from broker import config_file, validation
from broker.config import Config, TlsOptions
from broker.settings import table
from broker.settings.given import DEFAULT, RECORDS, Given
from broker.settings.loading import Loaded
from broker.settings.setting import Setting

_DEFAULTS: Final = Config()


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
        if row.attribute not in attributes:
            yield from (f"# {line}  # {DEFAULT}" for line in _defaults_of(row))


def _defaults_of(row: Setting) -> tuple[str, ...]:
    """What the defaults of a list are as keys: no single text stands for them."""
    match row.name:
        case "loopback_users.*":
            return tuple(f"loopback_users.{user} = true" for user in sorted(_DEFAULTS.loopback_users))
        case "default_user_tags.*":
            return tuple(f"default_user_tags.{tag} = true" for tag in _DEFAULTS.default_user_tags)
        case "auth_mechanisms.*":
            return _numbered(row, _DEFAULTS.auth_mechanisms)
        case "auth_backends.*":
            return _numbered(row, tuple(backend.authn for backend in _DEFAULTS.auth_backends))
        case "ssl_options.versions.*":
            return _numbered(row, TlsOptions().versions)
    return ()


def _numbered(row: Setting, values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{row.name.replace('*', str(number))} = {value}" for number, value in enumerate(values, start=1))


def _counts(row: Setting, attributes: set[str]) -> bool:
    """Whether the default does, or another key of the same attribute was given."""
    return row.attribute in RECORDS or row.attribute not in attributes


def _line(row: Setting, key: str, text: str, origin: str) -> str:
    shown = validation.shown(row, text)
    line = config_file.line_of(key, shown)
    if line is None:
        return f"# {key} = {shown!r}  # {origin}: a file can't hold it"
    return f"{'# ' if shown != text or row.secret else ''}{line}  # {origin}"
