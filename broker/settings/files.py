"""Which configuration files are read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

SYSTEM_FILES: Final = (Path("/etc/leveret/leveret.conf"), Path("/etc/leveret/rabbitmq.conf"), Path("/etc/rabbitmq/rabbitmq.conf"))
"""The first that is there is read when no file is named; what lies beside it counts as well. Of a directory, too, that has nothing else."""
ADVANCED: Final = "advanced.config"
ENABLED_PLUGINS: Final = "enabled_plugins"
TERMS: Final = ".config"
"""Files that end so hold Erlang terms, as RabbitMQ's rabbitmq.config did."""


class Files(NamedTuple):
    """Files in the order in which they are read: settings, then Erlang terms. `plugins` says which plugins are enabled."""

    settings: tuple[Path, ...] = ()
    terms: tuple[Path, ...] = ()
    plugins: Path | None = None


def find(environ: Mapping[str, str], typed: Path | None, warnings: list[str]) -> Files:
    """Return the files of `typed` (--config), else of LEVERET_CONFIG_FILE, RABBITMQ_CONFIG_FILE, or the system's.

    RabbitMQ's variables may name files that aren't there, as the Docker image's do: a warning. RABBITMQ_CONFIG_FILES (a directory or a
    pattern) and RABBITMQ_ADVANCED_CONFIG_FILE stand for what lies beside the file.
    """
    main: Path | None = None
    beside: Path | None = None
    if typed is not None:
        main = typed
    elif named := environ.get("LEVERET_CONFIG_FILE"):
        main = Path(os.path.expanduser(named))
    elif named := environ.get("RABBITMQ_CONFIG_FILE"):
        main = _main(named, warnings)
        beside = Path(named).parent
        if main is None:
            warnings.append(f"RABBITMQ_CONFIG_FILE names {named}, and there is no such file: going on without it, as RabbitMQ does")
    else:
        main, beside = _system_file(warnings)
    additional = _additional(environ.get("RABBITMQ_CONFIG_FILES"), beside)
    advanced = _advanced(environ.get("RABBITMQ_ADVANCED_CONFIG_FILE"), beside, warnings)
    if main is not None and holds_terms(main):
        warnings += [f"{main} takes the place of {path}, as in RabbitMQ" for path in advanced]
        return Files(additional, (main,), _plugins(beside))
    return Files(((main,) if main is not None else ()) + additional, advanced, _plugins(beside))


def holds_terms(path: Path) -> bool:
    """Return whether it is a file of Erlang terms: by its suffix, else by what it begins with."""
    if path.suffix in (TERMS, ".conf") or not os.path.isfile(path):
        return path.suffix == TERMS
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            lines = (line.strip() for line in file)
            return next((line for line in lines if line and not line.startswith(("#", "%"))), "").startswith("[")
    except OSError:
        return False  # whoever reads it says so


def _main(named: str, warnings: list[str]) -> Path | None:
    """What RabbitMQ's variable means, or what lies in its place: of two formats the old one."""
    found = _with_suffix(named, (TERMS, ".conf"))
    other = Path(f"{named}.conf")
    if found == Path(named + TERMS) and other.is_file():
        warnings.append(f"there are {found} and {other}: going on with the former, as RabbitMQ does")
    return found


def _with_suffix(named: str, suffixes: tuple[str, ...]) -> Path | None:
    """RabbitMQ's variables may leave the suffix out."""
    paths = (Path(named), *(Path(named + suffix) for suffix in suffixes))
    return next((path for path in paths if os.path.isfile(path)), None)


def _system_file(warnings: list[str]) -> tuple[Path | None, Path | None]:
    """The system's file and the directory it lies in. The Docker image has a conf.d alone."""
    for directory, paths in groupby(SYSTEM_FILES, lambda path: path.parent):
        for path in paths:
            if (main := _main(str(path.with_suffix("")), warnings)) is not None:
                return main, directory
        if _beside(directory) or (directory / ADVANCED).is_file():
            return None, directory
    return None, None


def _beside(directory: Path) -> tuple[Path, ...]:
    return tuple(sorted(path for path in (directory / "conf.d").glob("*.conf") if path.is_file()))


def _additional(named: str | None, beside: Path | None) -> tuple[Path, ...]:
    if not named:
        return _beside(beside) if beside is not None else ()
    import glob  # not for a start without files

    pattern = f"{glob.escape(named)}/*" if os.path.isdir(named) else named
    return tuple(path for path in map(Path, sorted(glob.glob(pattern))) if os.path.isfile(path))


def _advanced(named: str | None, beside: Path | None, warnings: list[str]) -> tuple[Path, ...]:
    if not named:
        path = beside / ADVANCED if beside is not None else None
        return (path,) if path is not None and path.is_file() else ()
    found = _with_suffix(named, (TERMS,))
    if found is None:
        warnings.append(f"RABBITMQ_ADVANCED_CONFIG_FILE names {named}, and there is no such file: going on without it, as RabbitMQ does")
        return ()
    return (found,)


def _plugins(beside: Path | None) -> Path | None:
    path = beside / ENABLED_PLUGINS if beside is not None else None
    return path if path is not None and path.is_file() else None
