"""What the environment gives: RABBITMQ_* as RabbitMQ and its Docker image read it, and LEVERET_* for every key.

RabbitMQ's: https://www.rabbitmq.com/docs/configure#supported-environment-variables, rabbit_env.erl of 3.13, and the entrypoint of the
official image. An empty variable counts as not given, as with RabbitMQ.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from broker.config import AMQPS_PORT, LOG_LEVELS
from broker.logs.levels import CATEGORIES
from broker.settings import advanced, table, terms
from broker.settings.files import Files
from broker.settings.given import Given, Source
from broker.settings.node import FRACTION_MAX
from broker.settings.reader import Reader
from broker.settings.setting import SIZE_MAX, Setting

ERL_ARGS: Final = "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"
EVENT_EXCHANGE: Final = "rabbitmq_event_exchange"

KEYS: Final = {
    "RABBITMQ_DEFAULT_USER": "default_user",
    "RABBITMQ_DEFAULT_PASS": "default_pass",
    "RABBITMQ_DEFAULT_VHOST": "default_vhost",
    "RABBITMQ_LOG_BASE": "log.dir",
    "RABBITMQ_PID_FILE": "pid_file",
    "RABBITMQ_SSL_CACERTFILE": "ssl_options.cacertfile",
    "RABBITMQ_SSL_CERTFILE": "ssl_options.certfile",
    "RABBITMQ_SSL_KEYFILE": "ssl_options.keyfile",
    "RABBITMQ_SSL_VERIFY": "ssl_options.verify",
    "RABBITMQ_SSL_FAIL_IF_NO_PEER_CERT": "ssl_options.fail_if_no_peer_cert",
    "RABBITMQ_SSL_DEPTH": "ssl_options.depth",
    "RABBITMQ_MANAGEMENT_SSL_CACERTFILE": "management.ssl.cacertfile",
    "RABBITMQ_MANAGEMENT_SSL_CERTFILE": "management.ssl.certfile",
    "RABBITMQ_MANAGEMENT_SSL_KEYFILE": "management.ssl.keyfile",
    "RABBITMQ_MANAGEMENT_SSL_VERIFY": "management.ssl.verify",
    "RABBITMQ_MANAGEMENT_SSL_FAIL_IF_NO_PEER_CERT": "management.ssl.fail_if_no_peer_cert",
    "RABBITMQ_MANAGEMENT_SSL_DEPTH": "management.ssl.depth",
}
"""Variables that stand for one key."""
IN_FILES: Final = ("RABBITMQ_DEFAULT_USER", "RABBITMQ_DEFAULT_PASS", "RABBITMQ_DEFAULT_VHOST")
"""With _FILE behind them they name a file that holds the value: Docker's secrets."""
SILENT: Final = """
    RABBITMQ_CONFIG_FILE RABBITMQ_CONFIG_FILES RABBITMQ_ADVANCED_CONFIG_FILE RABBITMQ_DIST_PORT RABBITMQ_ERLANG_COOKIE
    RABBITMQ_FEATURE_FLAGS RABBITMQ_FEATURE_FLAGS_FILE RABBITMQ_PRODUCT_NAME RABBITMQ_PRODUCT_VERSION RABBITMQ_MOTD_FILE RABBITMQ_HOME
    RABBITMQ_BASE RABBITMQ_ALLOW_INPUT RABBITMQ_KEEP_PID_FILE_ON_EXIT RABBITMQ_PLUGINS_DIR RABBITMQ_PLUGINS_EXPAND_DIR RABBITMQ_DATA_DIR
    RABBITMQ_VERSION RABBITMQ_PGP_KEY_ID RABBITMQ_CTL_ERL_ARGS RABBITMQ_SERVER_ERL_ARGS RABBITMQ_SERVER_START_ARGS RABBITMQ_CONF_ENV_FILE
    RABBITMQ_LOG_FF_REGISTRY RABBITMQ_DBG RABBITMQ_QUORUM_DIR RABBITMQ_STREAM_DIR RABBITMQ_IO_THREAD_POOL_SIZE
""".split()
"""Known, and nothing comes of them in Leveret that anybody would miss."""
_PORT: Final = Setting("", "port", "integer", None, "", "a port from 0 to 65535", "", 0, 65535)
_HOST: Final = Setting("", "host", "host", None, "", "an address, or auto for every address", "")
_WATERMARK: Final = re.compile(r"(?P<number>[0-9]{0,20}\.[0-9]{1,20}|[0-9]{1,20})\s*(?P<unit>%|[A-Za-z]{0,3})")


def read(reader: Reader, environ: Mapping[str, str], files: Files) -> list[Source]:
    """Return what Erlang's command line, RABBITMQ_* and LEVERET_* give, the last winning."""
    given = {name: text for name, text in environ.items() if text and name.startswith(("RABBITMQ_", table.VARIABLE_PREFIX))}
    sources = []
    if ERL_ARGS in given:
        sources.append(_from_erl_args(reader, given[ERL_ARGS]))
    sources.append(_from_rabbitmqs(reader, given, files))
    sources.append(_from_leverets(reader, given))
    return sources


def _from_rabbitmqs(reader: Reader, environ: Mapping[str, str], files: Files) -> Source:
    source = Source()

    def give(key: str, text: str, name: str) -> None:
        reader.give(source, key, text, f"environment {name}", place="environment", named=name)

    for name in IN_FILES:
        if (path := environ.get(f"{name}_FILE")) and (text := _secret_file(reader, f"{name}_FILE", path)) is not None:
            give(KEYS[name], text, f"{name}_FILE")
    for name, key in KEYS.items():
        if name in environ:
            give(key, environ[name], name)
    if any(given.attribute.startswith("ssl_options.") for given in source.given.values()):
        source.fallback["listeners.ssl.default"] = Given(
            "listeners.ssl", (None, AMQPS_PORT), str(AMQPS_PORT), "environment RABBITMQ_SSL_CERTFILE"
        )
    for name, special in _SPECIAL.items():
        if name in environ:
            try:
                pairs = list(special(environ[name]))
            except ValueError as error:
                reader.problems.append(f"environment: {name} = {environ[name]}: expected {error}")
                continue
            for key, text in pairs:
                give(key, text, name)
    for key, text, name in (*_node_name(environ), *_data_dir(environ), *_plugins(reader, environ, files)):
        give(key, text, name)
    if "RABBITMQ_NODE_IP_ADDRESS" in environ:
        source.host = _moving(reader, _HOST, environ, "RABBITMQ_NODE_IP_ADDRESS")
    if "RABBITMQ_NODE_PORT" in environ:
        source.port = _moving(reader, _PORT, environ, "RABBITMQ_NODE_PORT")
    return source


def _moving(reader: Reader, row: Setting, environ: Mapping[str, str], name: str) -> Given | None:
    return reader.value(row, environ[name], f"environment {name}", place="environment", named=name)


def _secret_file(reader: Reader, name: str, path: str) -> str | None:
    """The file's text without the line break at its end."""
    try:
        text = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it isn't UTF-8 text"
        reader.problems.append(f"environment: {name} = {path}: expected a file that holds the value: {reason}")
        return None
    if not text:
        reader.problems.append(f"environment: {name} = {path}: expected a file that holds the value: it is empty")
        return None
    return text


def _logs(text: str) -> Iterator[tuple[str, str]]:
    """RABBITMQ_LOGS: where the main log goes."""
    if text in ("-", "-stderr"):
        yield from (("log.console", "true"), ("log.file", "false"))
    elif text.startswith("exchange:"):
        yield "log.exchange", "true"
    elif text.startswith("syslog:"):
        yield "log.syslog", "true"
    else:
        yield "log.file", text


def _log(text: str) -> Iterator[tuple[str, str]]:
    """RABBITMQ_LOG: `debug`, or `connection=error,+json`. RabbitMQ passes over what it doesn't know, too."""
    for part in text.split(","):
        name, equals, level = part.strip().partition("=")
        if name in ("+json", "-json"):
            yield "log.console.formatter", "json" if name[0] == "+" else "plaintext"
        elif not equals and name in LOG_LEVELS:
            yield from (("log.default.level", name), ("log.console.level", name))
        elif name in ("default", *CATEGORIES) and (level in LOG_LEVELS or not equals):
            yield f"log.{name}.level", level or "info"


def _watermark(text: str) -> Iterator[tuple[str, str]]:
    """RABBITMQ_VM_MEMORY_HIGH_WATERMARK: a share (0.4 or 40%), else a size. Raises ValueError."""
    from fractions import Fraction

    from broker.validation import SIZE_UNITS

    found = _WATERMARK.fullmatch(text)
    unit = found["unit"].lower() if found is not None else None
    if found is not None and (unit == "%" or (not unit and "." in found["number"])):
        share = float(found["number"]) / (100 if unit else 1)
        if share <= FRACTION_MAX:
            yield "vm_memory_high_watermark.relative", repr(share)
            return
    elif found is not None and unit in SIZE_UNITS:
        size = int(Fraction(found["number"]) * SIZE_UNITS[unit])
        if size <= SIZE_MAX:
            yield "vm_memory_high_watermark.absolute", str(size)
            return
    raise ValueError("a share (0.4), a percentage (40%) or a size (2GB)")


_SPECIAL: Final[Mapping[str, Callable[[str], Iterator[tuple[str, str]]]]] = {
    "RABBITMQ_LOGS": _logs,
    "RABBITMQ_LOG": _log,
    "RABBITMQ_VM_MEMORY_HIGH_WATERMARK": _watermark,
}


def _node_name(environ: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """RABBITMQ_NODENAME, with the host behind it if it has none; RABBITMQ_USE_LONGNAME: the host with its domain."""
    is_long = environ.get("RABBITMQ_USE_LONGNAME", "").lower() in ("1", "yes", "true")
    name = environ.get("RABBITMQ_NODENAME")
    if name is not None or is_long:
        variable = "RABBITMQ_NODENAME" if name is not None else "RABBITMQ_USE_LONGNAME"
        yield "node_name", _full_name(name or "rabbit", is_long), variable


def _full_name(name: str, is_long: bool) -> str:
    import socket

    if "@" in name:
        return name
    return f"{name}@{socket.getfqdn() if is_long else socket.gethostname().partition('.')[0]}"


def _data_dir(environ: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """RABBITMQ_MNESIA_DIR, else the node's directory in RABBITMQ_MNESIA_BASE."""
    if "RABBITMQ_MNESIA_DIR" in environ:
        yield "data_dir", environ["RABBITMQ_MNESIA_DIR"], "RABBITMQ_MNESIA_DIR"
    elif "RABBITMQ_MNESIA_BASE" in environ:
        name = next((name for _, name, _ in _node_name(environ)), None) or _full_name("rabbit", False)
        yield "data_dir", str(Path(environ["RABBITMQ_MNESIA_BASE"]) / name), "RABBITMQ_MNESIA_BASE"


def _plugins(reader: Reader, environ: Mapping[str, str], files: Files) -> Iterator[tuple[str, str, str]]:
    """Of RabbitMQ's plugins one is a setting here; what the others do is there or isn't."""
    if "RABBITMQ_ENABLED_PLUGINS" in environ:
        if EVENT_EXCHANGE in environ["RABBITMQ_ENABLED_PLUGINS"].replace(" ", ",").split(","):
            yield "event_exchange", "true", "RABBITMQ_ENABLED_PLUGINS"
        return
    named = environ.get("RABBITMQ_ENABLED_PLUGINS_FILE")
    path = Path(named) if named else files.plugins
    if path is None:
        return
    try:
        enabled = terms.read(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return  # RabbitMQ starts without plugins
    except (OSError, UnicodeDecodeError, terms.TermError) as error:
        reader.warnings.append(f"{path}: expected a list of plugins, [rabbitmq_management].: {error}")
        return
    if any(isinstance(plugins, list) and EVENT_EXCHANGE in plugins for plugins in enabled):
        yield "event_exchange", "true", "RABBITMQ_ENABLED_PLUGINS_FILE" if named else str(path)


def _from_leverets(reader: Reader, environ: Mapping[str, str]) -> Source:
    source = Source()
    # What names a file first: the value itself wins over it.
    for name, text in sorted(environ.items(), key=lambda variable: not variable[0].endswith("_FILE")):
        if not name.startswith(table.VARIABLE_PREFIX) or name in ("LEVERET_CONFIG_FILE", "LEVERET_RUNTIME_DIR"):
            continue
        key = table.key_of_variable(name)
        if key is None and name.endswith("_FILE"):
            named = table.key_of_variable(name.removesuffix("_FILE"))
            row = table.find(named) if named is not None else None
            if named is not None and row is not None and row.secret:
                if (value := _secret_file(reader, name, text)) is not None:
                    reader.give(source, named, value, f"environment {name}", place="environment", named=name)
                continue
        if key is None:
            near = table.nearest(name.removeprefix(table.VARIABLE_PREFIX).lower().replace("_", "."))
            hint = f"; did you mean {table.variable_of_key(near)}?" if near and table.find(near) else ""
            reader.warnings.append(f"environment: {name} is no setting of Leveret{hint}")
            continue
        reader.give(source, key, text, f"environment {name}", place="environment", named=name)
    return source


def _from_erl_args(reader: Reader, text: str) -> Source:
    """`-rabbit consumer_timeout 36000000`: what isn't understood or wrong is a warning, for Erlang has options without end."""
    source = Source()
    careful = Reader()
    unused: list[str] = []
    for flag, arguments in _flags(text):
        application = flag.removeprefix("-")
        if len(arguments) < 2 or len(arguments) % 2:
            unused.append(flag)
            continue
        for name, written in zip(arguments[::2], arguments[1::2], strict=True):
            try:
                value = terms.read_one(written)
            except terms.TermError:
                unused.append(f"{flag} {name}")
                continue
            term = advanced.Term(application, name, value, 1)
            missing = advanced.give(careful, source, term, "", variable=ERL_ARGS)
            unused += [f"{flag} {name}" if each == f"{application}.{name}" else each for each, _ in missing]
    reader.warnings += careful.problems
    if unused:
        reader.warnings.append(f"environment: {ERL_ARGS}: Leveret goes on without {', '.join(unused)}")
    return source


def _flags(text: str) -> Iterator[tuple[str, list[str]]]:
    """The words of an Erlang command line: each flag, and the words up to the next one."""
    flag, arguments = "", list[str]()
    for word in _words(text):
        if word[0] in "-+" and word[1:2].isalpha():
            if flag:
                yield flag, arguments
            flag, arguments = word, []
        else:
            arguments.append(word)
    if flag:
        yield flag, arguments


def _words(text: str) -> Iterator[str]:
    """Split at white space that isn't within quotes or brackets."""
    word, quote, depth = "", "", 0
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in "[{":
            depth += 1
        elif character in "]}":
            depth -= 1
        elif character.isspace() and depth <= 0:
            if word:
                yield word
            word = ""
            continue
        word += character
    if word:
        yield word
