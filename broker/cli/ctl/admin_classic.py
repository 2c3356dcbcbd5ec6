"""The classic rabbitmqadmin: `rabbitmqadmin [options] VERB OBJECT name=value ...`; ends with 1 for whatever goes wrong."""

from __future__ import annotations

import base64
import json
import os
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from broker.cli.ctl import admin_tables, options
from broker.cli.ctl.api import Api, TcpTransport, TimedOut, Unreachable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KINDS: Final[options.Kinds] = {
    "config": str, "node": str, "host": str, "hostname": str, "port": int, "path_prefix": str,
    "vhost": str, "username": str, "password": str,
    "base_uri": str, "ssl_key_file": str, "ssl_cert_file": str, "ssl_ca_cert_file": str, "request_timeout": int, "format": str, "sort": str,
    "depth": int, "quiet": bool, "ssl": bool, "ssl_disable_hostname_verification": bool, "ssl_insecure": bool, "sort_reverse": bool,
    "bash_completion": bool, "version": bool, "help": bool,
}  # fmt: skip
SHORT: Final = {
    "c": "config", "N": "node", "H": "host", "P": "port", "V": "vhost", "u": "username", "p": "password", "U": "base_uri", "q": "quiet",
    "s": "ssl", "k": "ssl_insecure", "t": "request_timeout", "f": "format", "S": "sort", "R": "sort_reverse", "d": "depth", "h": "help",
}  # fmt: skip
DEFAULTS: Final[dict[str, Any]] = {
    "hostname": "localhost", "port": 15672, "node": "default", "path_prefix": "", "declare_vhost": "/", "username": "guest",
    "password": "guest", "request_timeout": 120, "format": "table", "depth": 1,
}  # fmt: skip
FORMATS: Final = ("raw_json", "pretty_json", "tsv", "long", "table", "kvp", "bash")
LISTS: Final[dict[str, tuple[str, ...]]] = {
    "connections": ("name", "user", "channels"), "channels": ("name", "user"), "consumers": (), "exchanges": ("name", "type"),
    "queues": ("name", "messages"), "bindings": ("source", "destination", "routing_key"), "users": (), "vhosts": ("name", "messages"),
    "permissions": (), "nodes": ("name", "type", "mem_used"), "parameters": (), "policies": (), "operator_policies": (), "vhost_limits": (),
}  # fmt: skip
"""What can be listed, and the columns that are shown if none are asked for (none: all)."""
OF_VHOST: Final = ("consumers", "exchanges", "queues", "bindings")
SHOWS: Final[dict[str, tuple[str, ...]]] = {
    "overview": ("rabbitmq_version", "cluster_name", "queue_totals.messages", "object_totals.queues")
}
JSON_COLUMNS: Final = {"parameters": "value", "policies": "definition", "operator_policies": "definition", "vhost_limits": "value"}


class Thing(NamedTuple):
    """Something that can be acted on: its path, what has to be given, what may be (with what it is otherwise; None: left out), and which of
    these are JSON. A name with | is one of several."""

    path: str
    needed: tuple[str, ...] = ()
    optional: Mapping[str, Any] = {}
    as_json: tuple[str, ...] = ()


_POLICY: Final = (("name", "pattern", "definition"), {"priority": 0, "apply-to": None}, ("definition", "priority"))
DECLARE: Final = {
    "exchange": Thing(
        "exchanges/{vhost}/{name}",
        ("name", "type"),
        {"auto_delete": "false", "durable": "true", "internal": "false", "arguments": {}},
        ("arguments",),
    ),
    "queue": Thing(
        "queues/{vhost}/{name}",
        ("name",),
        {"auto_delete": "false", "durable": "true", "arguments": {}, "node": None, "queue_type": None},
        ("arguments",),
    ),
    "binding": Thing(
        "bindings/{vhost}/e/{source}/{destination_char}/{destination}",
        ("source", "destination"),
        {"destination_type": "queue", "routing_key": "", "arguments": {}},
        ("arguments",),
    ),
    "vhost": Thing("vhosts/{name}", ("name",), {"tracing": None}),
    "user": Thing("users/{name}", ("name", "password|password_hash", "tags"), {"hashing_algorithm": None}),
    "permission": Thing("permissions/{vhost}/{user}", ("vhost", "user", "configure", "write", "read")),
    "parameter": Thing("parameters/{component}/{vhost}/{name}", ("component", "name", "value"), {}, ("value",)),
    "policy": Thing("policies/{vhost}/{name}", *_POLICY),
    "operator_policy": Thing("operator-policies/{vhost}/{name}", *_POLICY),
    "vhost_limit": Thing("vhost-limits/{vhost}/{name}", ("vhost", "name", "value"), {}, ("value",)),
}
DELETE: Final = {
    "exchange": Thing("exchanges/{vhost}/{name}", ("name",)),
    "queue": Thing("queues/{vhost}/{name}", ("name",)),
    "binding": Thing(
        "bindings/{vhost}/e/{source}/{destination_char}/{destination}/{properties_key}",
        ("source", "destination_type", "destination"),
        {"properties_key": "~"},
    ),
    "vhost": Thing("vhosts/{name}", ("name",)),
    "user": Thing("users/{name}", ("name",)),
    "permission": Thing("permissions/{vhost}/{user}", ("vhost", "user")),
    "parameter": Thing("parameters/{component}/{vhost}/{name}", ("component", "name")),
    "policy": Thing("policies/{vhost}/{name}", ("name",)),
    "operator_policy": Thing("operator-policies/{vhost}/{name}", ("name",)),
    "vhost_limit": Thing("vhost-limits/{vhost}/{name}", ("vhost", "name")),
}
CLOSE: Final = {"connection": Thing("connections/{name}", ("name",))}
PURGE: Final = {"queue": Thing("queues/{vhost}/{name}/contents", ("name",))}
PUBLISH: Final = Thing(
    "exchanges/{vhost}/{exchange}/publish",
    ("routing_key",),
    {"payload": None, "properties": {}, "exchange": "amq.default", "payload_encoding": "string"},
    ("properties",),
)
GET: Final = Thing(
    "queues/{vhost}/{queue}/get",
    ("queue",),
    {"count": "1", "ackmode": "ack_requeue_true", "payload_file": None, "encoding": "auto"},
)


class Wrong(Exception):
    """The command line makes no sense."""


class Died(Exception):
    """The request failed."""


def main(words: Sequence[str]) -> int:
    """Run the command line; returns the exit status."""
    parsed = options.parse(words, KINDS, SHORT)
    try:
        if parsed.invalid:
            name, value = parsed.invalid[0]
            wrong = f"no such option: {name}" if not value else f"option {name}: invalid value: '{value}'"
            sys.stderr.write(f"Usage\n=====\n  rabbitmqadmin [options] subcommand\n\nrabbitmqadmin: error: {wrong}\n")
            return 2
        if "version" in parsed.options:
            from broker.identity import RABBITMQ_VERSION

            _say(f"rabbitmqadmin {RABBITMQ_VERSION}")
            return 0
        if "help" in parsed.options or parsed.arguments[:1] == ["help"]:
            if parsed.arguments[1:] and parsed.arguments[1:] not in (["subcommands"], ["config"]):
                raise Wrong("help topic must be one of:\n  subcommands\n  config")
            _say(_help())
            return 0
        if not parsed.arguments:
            raise Wrong("Action not specified")
        Admin(_settings(parsed.options)).run(parsed.arguments[0], parsed.arguments[1:])
    except Wrong as problem:
        sys.stderr.write(f"\nERROR: {problem}\n\nrabbitmqadmin --help for help\n\n")
        return 1
    except Died as died:
        sys.stdout.flush()
        sys.stderr.write(f"*** {died}\n\n")
        return 1
    return 0


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    """Defaults, the configuration file over them, what was typed over that. Raises Wrong."""
    typed = dict(given)
    if "host" in typed:
        typed["hostname"] = typed.pop("host")
    path = typed.get("config")
    if path is None:
        path = os.path.join(os.path.expanduser("~"), ".rabbitmqadmin.conf")
    elif not os.path.isfile(path):
        raise Wrong(f"Could not read config file '{path}'")
    settings = {**DEFAULTS, **_of_file(path, typed.get("node", "default")), **typed}
    if "base_uri" in settings:
        parts = urlsplit(settings["base_uri"])
        for name in ("hostname", "port", "username", "password"):
            if getattr(parts, name) is not None:
                settings[name] = getattr(parts, name)
        settings["ssl"] = settings.get("ssl") or parts.scheme == "https"
    return settings


def _of_file(path: str, section: str) -> dict[str, Any]:
    if not os.path.isfile(path):
        return {}
    from configparser import ConfigParser, Error

    parser = ConfigParser(interpolation=None)
    try:
        parser.read(path)
        items = dict(parser.items(section))
    except Error as problem:
        if section == "default":
            return {}
        raise Wrong(f"Could not read section '{section}' in config file '{path}':\n   {problem}") from problem
    return {name: {"True": True, "False": False}.get(value, value) for name, value in items.items()}


class Admin:
    """One call, with the settings of its command line."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.prefix: str = settings["path_prefix"]
        if settings["format"] not in FORMATS:
            raise Wrong(f"Format {settings['format']} not recognised")
        transport = TcpTransport(
            settings["hostname"], int(settings["port"]), settings["username"], settings["password"], tls=_tls(settings), prefix=self.prefix
        )
        self.api = Api(transport, float(settings["request_timeout"]))

    def run(self, verb: str, words: list[str]) -> None:
        """Raises Wrong and Died."""
        verbs = {
            "list": self.list_, "show": self.show, "declare": self.declare, "delete": self.delete, "close": self.close,
            "purge": self.purge, "export": self.export, "import": self.import_, "publish": self.publish, "get": self.get,
        }  # fmt: skip
        if verb not in verbs:
            raise Wrong(f"Action {verb} not understood")
        verbs[verb](words)

    # --- requests ---------------------------------------------------------------------------------------------------

    def request(self, method: str, path: str, body: bytes | None = None) -> str:
        """The body of the answer. Raises Died."""
        url = f"{self.prefix}/api/{path}"
        try:
            status, answer = self.api.send(method, url, body)
        except TimedOut as error:
            raise Died(f"Timed out getting HTTP response (request timeout: {self.settings['request_timeout']} seconds)") from error
        except Unreachable as error:
            raise Died(f"Could not connect: {error}") from error
        text = answer.decode("utf-8", "replace")
        if status == 401:
            raise Died(f"Access refused: {url}")
        if status == 404:
            raise Died(f"Not found: {url}")
        if status == 405:
            raise Died(f"Method not allowed: {url}")
        if status >= 400:
            raise Died(_reason(text) or f"Received response {status} for path {url}\n{text}")
        return text

    def tell(self, text: str) -> None:
        """Unless --quiet."""
        if not self.settings.get("quiet"):
            _say(text)

    # --- verbs ------------------------------------------------------------------------------------------------------

    def list_(self, words: list[str]) -> None:
        """list OBJECTS [column ...]"""
        self._table(words, LISTS, "list")

    def show(self, words: list[str]) -> None:
        """show overview [column ...]"""
        self._table(words, SHOWS, "show")

    def _table(self, words: list[str], known: Mapping[str, tuple[str, ...]], verb: str) -> None:
        what = words[0] if words else ""
        if what not in known:
            raise Wrong(f"Don't know how to {verb} {what}")
        columns = words[1:]
        if not columns and int(self.settings["depth"]) == 1 and "json" not in self.settings["format"]:
            columns = list(known[what])
        path = what.replace("_", "-")
        if what in OF_VHOST and self.settings.get("vhost"):
            path += f"/{quote(self.settings['vhost'], safe='')}"
        query = {"columns": ",".join(columns)} if columns else {}
        if self.settings.get("sort"):
            query["sort"] = self.settings["sort"]
        if self.settings.get("sort_reverse"):
            query["sort_reverse"] = "true"
        answer = self.request("GET", f"{path}?{urlencode(query, safe=',')}" if query else path)
        self._print(f"[{answer}]" if verb == "show" else answer, columns, JSON_COLUMNS.get(what))

    def _print(self, answer: str, columns: list[str], as_json: str | None) -> None:
        shown = admin_tables.show(
            answer, self.settings["format"], columns, int(self.settings["depth"]), as_json, headers=not self.settings.get("quiet")
        )
        if shown is not None:
            _say(shown)

    def declare(self, words: list[str]) -> None:
        """declare OBJECT name=value ..."""
        kind, path, body = self._thing(words, DECLARE)
        if kind == "queue" and "queue_type" in body:
            body["arguments"] = {**body["arguments"], "x-queue-type": body["queue_type"]}
        self.request("POST" if kind == "binding" else "PUT", path, json.dumps(body).encode())
        self.tell(f"{kind} declared")

    def delete(self, words: list[str]) -> None:
        """delete OBJECT name=value ..."""
        kind, path, _ = self._thing(words, DELETE)
        self.request("DELETE", path)
        self.tell(f"{kind} deleted")

    def close(self, words: list[str]) -> None:
        """close connection name=value"""
        kind, path, _ = self._thing(words, CLOSE)
        self.request("DELETE", path)
        self.tell(f"{kind} closed")

    def purge(self, words: list[str]) -> None:
        """purge queue name=value"""
        kind, path, _ = self._thing(words, PURGE)
        self.request("DELETE", path)
        self.tell(f"{kind} purged")

    def publish(self, words: list[str]) -> None:
        """publish routing_key=value ...; the payload is stdin if it isn't given."""
        path, body = self._described(words, PUBLISH)
        if "payload" not in body:
            body |= {"payload": base64.b64encode(sys.stdin.buffer.read()).decode(), "payload_encoding": "base64"}
        routed = json.loads(self.request("POST", path, json.dumps(body).encode()))["routed"]
        self.tell("Message published" if routed else "Message published but NOT routed")

    def get(self, words: list[str]) -> None:
        """get queue=value ..."""
        path, body = self._described(words, GET)
        target = body.get("payload_file")
        if target and body["count"] != "1":
            raise Wrong("Cannot get multiple messages using payload_file")
        answer = self.request("POST", path, json.dumps(body).encode())
        columns: list[str] = []
        if target:
            messages = json.loads(answer)
            if messages:
                payload = messages[0]["payload"]
                content = base64.b64decode(payload) if messages[0]["payload_encoding"] == "base64" else payload.encode()
                _write(target, content)
            columns = ["routing_key", "exchange", "message_count", "payload_bytes", "redelivered"]
        self._print(answer, columns, None)

    def export(self, words: list[str]) -> None:
        """export FILE"""
        file = _one(words)
        _write(file, self.request("GET", self._definitions()).encode())
        self.tell(f'Exported definitions for {self.settings["hostname"]} to "{file}"')

    def import_(self, words: list[str]) -> None:
        """import FILE"""
        file = _one(words)
        try:
            with open(file, "rb") as opened:
                content = opened.read()
        except OSError as problem:
            raise Died(f"{file}: {problem.strerror}") from problem
        self.request("POST", self._definitions(), content)
        text = "The import process may take some time. Consult server logs to track progress."
        self.tell(f'Uploaded definitions from "{self.settings["hostname"]}" to {file}. {text}')

    def _definitions(self) -> str:
        vhost = self.settings.get("vhost")
        return f"definitions/{quote(vhost, safe='')}" if vhost else "definitions"

    # --- name=value -------------------------------------------------------------------------------------------------

    def _thing(self, words: list[str], known: Mapping[str, Thing]) -> tuple[str, str, dict[str, Any]]:
        if not words:
            raise Wrong("Type not specified")
        if words[0] not in known:
            raise Wrong(f"Type {words[0]} not recognised")
        return words[0], *self._described(words[1:], known[words[0]])

    def _described(self, words: list[str], thing: Thing) -> tuple[str, dict[str, Any]]:
        """The path and the body. Raises Wrong."""
        body: dict[str, Any] = {name: value for name, value in thing.optional.items() if value is not None}
        needed = [name for names in thing.needed for name in names.split("|")]
        for word in words:
            name, equals, value = word.partition("=")
            if not equals:
                raise Wrong(f'Argument "{word}" not in the name=value format')
            if name not in needed and name not in thing.optional:
                raise Wrong(f'Argument "{name}" is not recognised')
            body[name] = _json(value) if name in thing.as_json else value
        for names in thing.needed:
            alternatives = names.split("|")
            if not any(name in body for name in alternatives):
                if len(alternatives) > 1:
                    raise Wrong(f'one of mandatory arguments "{alternatives}" is required')
                raise Wrong(f'mandatory argument "{names}" is required')
        if "vhost" not in thing.needed:
            body["vhost"] = self.settings.get("vhost") or self.settings["declare_vhost"]
        parts = {name: quote(value, safe="") for name, value in body.items() if isinstance(value, str)}
        parts["destination_char"] = str(body.get("destination_type", ""))[:1]
        return thing.path.format(**parts), body


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise Wrong(f"Could not parse JSON:\n  {text}") from None


def _one(words: list[str]) -> str:
    if len(words) != 1:
        raise Wrong("Exactly one argument required")
    return words[0]


def _reason(text: str) -> str | None:
    try:
        return str(json.loads(text)["reason"])
    except (ValueError, KeyError, TypeError):
        return None


def _tls(settings: dict[str, Any]) -> Any:
    if not settings.get("ssl"):
        return None
    import ssl

    context = ssl.create_default_context()
    if settings.get("ssl_insecure") or settings.get("ssl_disable_hostname_verification"):
        context.check_hostname = False
    if settings.get("ssl_insecure"):
        context.verify_mode = ssl.CERT_NONE
    try:
        if settings.get("ssl_cert_file"):
            context.load_cert_chain(settings["ssl_cert_file"], settings.get("ssl_key_file"))
        if settings.get("ssl_ca_cert_file"):
            context.load_verify_locations(settings["ssl_ca_cert_file"])
    except OSError as problem:
        raise Wrong(f"certificates can't be used: {problem}") from problem
    return context


def _write(path: str, content: bytes) -> None:
    try:
        with open(path, "wb") as file:
            file.write(content)
    except OSError as problem:
        raise Died(f"{path}: {problem.strerror}") from problem


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _help() -> str:
    def things(verb: str, known: Mapping[str, Thing]) -> list[str]:
        lines = []
        for kind, thing in known.items():
            needed = " ".join(f"{name.replace('|', '=... OR ')}=..." for name in thing.needed)
            optional = " ".join(f"{name}=..." for name in thing.optional)
            lines.append(f"  {verb} {kind} {needed}{f' [{optional}]' if optional else ''}")
        return lines

    letters = {name: letter for letter, name in SHORT.items()}
    flags = [f"  {f'-{letters[name]}, ' if name in letters else '    '}--{name.replace('_', '-')}" for name in KINDS if name != "hostname"]
    return "\n".join(
        [
            "Usage: rabbitmqadmin [options] subcommand", "", "Options", *flags, "", "Display",
            *(f"  list {name} [<column>...]" for name in LISTS), *(f"  show {name} [<column>...]" for name in SHOWS), "",
            "Objects", *things("declare", DECLARE), *things("delete", DELETE), *things("close", CLOSE), *things("purge", PURGE), "",
            "Definitions", "  export <file>", "  import <file>", "", "Messages",
            *things("publish", {"": PUBLISH}), *things("get", {"": GET}), "",
            f"Formats (-f): {', '.join(FORMATS)}. Settings may stand in ~/.rabbitmqadmin.conf (-c), a section for each node (-N).",
            "The words of rabbitmqadmin v2 are understood, too: rabbitmqadmin declare queue --name q, rabbitmqadmin health_check ...",
        ]
    )  # fmt: skip
