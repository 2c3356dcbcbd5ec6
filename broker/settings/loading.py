"""Which sources there are: defaults, files, environment, command line, each winning over those before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from broker.config import Config, ConfigError
from broker.settings import files
from broker.settings.assembly import assemble
from broker.settings.given import COMMAND_LINE, DEFAULT, Given, Source, merge
from broker.settings.reader import Reader
from protocol import constants

ERL_ARGS_ORIGIN: Final = "environment RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"
"""Whatever stands there is no reason not to start."""


class Loaded(NamedTuple):
    """The configuration, and what each key that was given comes from."""

    config: Config
    given: Mapping[str, Given]


def load(environ: Mapping[str, str], config_file: Path | None, typed: Source) -> Loaded:
    """Return what files, environment and command line (`typed`) make together. Raises ConfigError with every problem.

    Where nothing is given neither the table of settings nor pydantic is imported: a start takes no longer for what it doesn't use.
    """
    reader = Reader()
    found = files.find(environ, config_file, reader.warnings)
    sources = [_from_files(reader, found.settings, environ)]
    if found.terms:
        from broker.settings import advanced

        sources += [advanced.from_file(reader, path) for path in found.terms]
    if found.plugins is not None or any(name.startswith(("LEVERET_", "RABBITMQ_")) for name in environ):
        from broker.settings import environment

        sources += environment.read(reader, environ, found)
    if reader.problems:
        raise ConfigError(reader.problems)
    return _finish(reader, [*sources, typed], with_data_dir=True)


def load_alone(path: Path, environ: Mapping[str, str]) -> Loaded:
    """Return what one file makes, without other files, environment (but for `$(NAME)`) and command line. Raises ConfigError."""
    reader = Reader()
    if files.holds_terms(path):
        from broker.settings import advanced

        source = advanced.from_file(reader, path)
    else:
        source = _from_files(reader, (path,), environ)
    if reader.problems:
        raise ConfigError(reader.problems)
    return _finish(reader, [source], with_data_dir=False)


def command_line(
    host: str | None,
    port: int | None,
    data_dir: Path | None,
    log_level: str | None,
    *,
    memory: bool,
    http_port: str | None = None,
    log_file: Path | None = None,
    testing: bool = False,
    seed: int | None = None,
) -> Source:
    """Return what the command line gives; None is what wasn't typed. `http_port` is a port, or `none`."""
    source = Source()
    if host is not None:
        source.host = Given("host", "::" if host in ("*", "auto") else host, host, COMMAND_LINE)
    if port is not None:
        source.port = Given("port", port, str(port), COMMAND_LINE)
    if http_port is not None:
        number = None if http_port == "none" else int(http_port)
        source.given["management.tcp.port"] = Given("management.port", number, http_port, COMMAND_LINE)
    if data_dir is not None or memory:
        source.given["data_dir"] = Given("data_dir", data_dir, "none" if data_dir is None else str(data_dir), COMMAND_LINE)
    if log_level is not None:
        source.given["log.console.level"] = Given("log.console_level", log_level, log_level, COMMAND_LINE)
        source.given["log.default.level"] = Given("log.levels", log_level, log_level, COMMAND_LINE)
    if log_file is not None:
        source.given["log.console"] = Given("log.console", False, "false", COMMAND_LINE)
        source.given["log.file"] = Given("log.file", log_file, str(log_file), COMMAND_LINE)
    if testing:
        source.given["testing"] = Given("testing.enabled", True, "true", COMMAND_LINE)
    if seed is not None:
        source.given["testing.seed"] = Given("testing.seed", seed, str(seed), COMMAND_LINE)
    return source


def default_data_dir() -> Path:
    """Return the platform's user data directory for Leveret, on Linux ~/.local/share/leveret. It may not exist yet."""
    import platformdirs  # 24 ms, which a start with a data directory of its own saves

    return Path(platformdirs.user_data_dir("leveret", appauthor=False))


def _from_files(reader: Reader, paths: tuple[Path, ...], environ: Mapping[str, str]) -> Source:
    """All files are one source, in which the last word on a key counts, as in RabbitMQ."""
    source = Source()
    for path in paths:
        from broker import config_file

        entries, problems = config_file.read(path, environ)
        reader.problems += problems
        reader.files += dict.fromkeys((path, *(entry.path for entry in entries)))
        for entry in entries:
            reader.give(source, entry.key, entry.value, f"{entry.path}:{entry.line}")
    return source


def _finish(reader: Reader, sources: list[Source], *, with_data_dir: bool) -> Loaded:
    given = merge(sources)
    none = given.get("listeners.tcp")
    if none is not None and none.origin == ERL_ARGS_ORIGIN and not any(each.attribute == "listeners.ssl" for each in given.values()):
        del given["listeners.tcp"]
        reader.warnings.append(f"{none.origin}: -rabbit tcp_listeners [] is passed over: nothing would be left to listen on")
    if "data_dir" not in given and with_data_dir:
        directory = default_data_dir()
        given["data_dir"] = Given("data_dir", directory, str(directory), DEFAULT)
    compat = given.get("compat")
    if compat is not None and compat.value != "3.13" and "max_message_size" not in given:
        bytes_max = constants.MESSAGE_SIZE_MAX_BYTES_4
        given["max_message_size"] = Given("max_message_size_bytes", bytes_max, str(bytes_max), f"{DEFAULT}, compat = {compat.value}")
    _warn_of_no_file(reader, given)
    _warn_of_no_effect(reader, given)
    config = assemble(given, reader.problems)
    if reader.problems:
        raise ConfigError(reader.problems)
    reader.finish()
    return Loaded(replace(config, config_files=tuple(reader.files), warnings=tuple(reader.warnings)), given)


def _warn_of_no_file(reader: Reader, given: Mapping[str, Given]) -> None:
    """What is said of a log file means nothing where no file was asked for, and whoever said it expects one."""
    names = [
        f"{key} ({each.origin})"
        for key, each in given.items()
        if key == "log.dir" or key.startswith(("log.file.rotation.", "log.file.level", "log.file.formatter"))
    ]
    if names and "log.file" not in given:
        reader.warnings.append(
            f"nothing comes of {', '.join(names)} without log.file: RabbitMQ would log to a file, Leveret logs to stdout"
        )


def _warn_of_no_effect(reader: Reader, given: Mapping[str, Given]) -> None:
    """Who gives these expects other samples and rates than there are."""
    kept = [key for key in given if key.startswith("management.sample_retention_policies.")]
    if kept:
        reader.warnings.append(f"nothing comes of {', '.join(kept)}: samples are kept as RabbitMQ keeps them by default")
    mode = given.get("management.rates_mode")
    if mode is not None and mode.value != "basic":
        reader.warnings.append(f"nothing comes of management.rates_mode = {mode.text} ({mode.origin}): rates are those of basic")
