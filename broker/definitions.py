"""Definitions: everything that is declared, and who may use it, as one JSON document in RabbitMQ's form
(https://www.rabbitmq.com/docs/definitions). What RabbitMQ exported is imported unchanged, and the other way round.

    whole       users, vhosts, permissions, topic_permissions, exchanges, global_parameters, policies, parameters, queues, bindings
    of a vhost  exchanges, policies, parameters, queues, bindings, none of which says which vhost it is in

An import adds and replaces; what can't be changed (a queue or exchange that is there) stays as it is, and nothing is deleted. The whole
document is read before anything is done, so that a mistake in its form changes nothing; what only the broker can refuse (a binding to a
queue that isn't there) ends the import where it stands, and what came before it stays, as in RabbitMQ.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from broker import identity
from broker.access import passwords
from broker.access.users import User
from broker.core import entries
from broker.core.internal_events import INTERNAL_USER
from broker.core.permissions import Permissions, TopicPermissions
from broker.core.policy import Policy
from broker.documents import Unfit, check
from broker.operations import OPERATOR_POLICY, PROTECTED
from protocol.errors import AmqpError
from protocol.tables import Field, MalformedTable, Table, field, plain, table_of

if TYPE_CHECKING:
    from broker.core.exchange import Binding, Destination, Exchange
    from broker.core.queue import Queue
    from broker.core.vhost import VHost
    from broker.operations import Operations

log = logging.getLogger("definitions")

Document = dict[str, Any]
Step = Callable[[], object]
"""One thing to do, once the whole document has been read."""

IMPORTED: Final = "meta/definitions"
"""The catalog's entry that tells which definitions were imported at a start."""
OF_MD5: Final = re.compile(r"[0-2]\.|3\.[0-5]\.")
"""Versions of RabbitMQ that hashed passwords with MD5, and didn't say so."""
_MISSING: Final = object()
_KINDS: Final = {str: "text", bool: "true or false", int: "a whole number", dict: "an object", list: "a list"}


class InvalidDefinitions(ValueError):
    """The definitions can't be imported; the text names the place and says what was expected."""


# --- export ---------------------------------------------------------------------------------------------------------


class Section(NamedTuple):
    """One part of a document: the objects as they were when it was asked for, and what is said of each."""

    name: str
    objects: list[Any]
    shape: Callable[[Any], Document]

    def items(self) -> list[Document]:
        """What is said of all."""
        return [self.shape(each) for each in self.objects]


def export(operations: Operations) -> Document:
    """All definitions, as GET /api/definitions gives them. Exclusive queues are left out, and what every vhost has by itself."""
    return {**head(operations), **{section.name: section.items() for section in sections(operations)}}


def export_vhost(operations: Operations, name: str) -> Document:
    """The definitions of one vhost, as GET /api/definitions/VHOST gives them. Raises NotFound."""
    return {**head(operations, name), **{section.name: section.items() for section in sections(operations, name)}}


def head(operations: Operations, vhost: str | None = None) -> Document:
    """What a document begins with: versions, of the RabbitMQ that the broker behaves like. What imports it may look."""
    version = operations.broker.compat.version
    versions = {"rabbit_version": version, "rabbitmq_version": version}
    return versions if vhost is not None else versions | {"product_name": identity.LEVERET_NAME, "product_version": version}


def sections(operations: Operations, name: str | None = None) -> list[Section]:
    """All that there is, or what is in one vhost, and then without its name. Raises NotFound."""
    if name is not None:
        return _in_vhosts([operations.vhost(name)], named=False)
    broker = operations.broker
    vhosts = list(broker.vhosts.values())
    users = [user.to_json() for user in operations.users]
    granted = {
        kind: [{"user": user["name"], **given} for user in users for given in user[kind]] for kind in ("permissions", "topic_permissions")
    }
    return [
        Section("users", users, of_user),
        Section("vhosts", vhosts, _vhost),
        *[Section(kind, given, dict) for kind, given in granted.items()],
        Section("global_parameters", list(broker.global_parameters.items()), lambda pair: {"name": pair[0], "value": pair[1]}),
        *_in_vhosts(vhosts, named=True),
    ]


def _in_vhosts(vhosts: list[VHost], *, named: bool) -> list[Section]:
    """What is in vhosts, with their names or without."""
    kinds: tuple[tuple[str, Callable[[VHost], Iterable[Any]], Callable[[Any], Document]], ...] = (
        ("parameters", parameters_of, dict),
        ("policies", lambda vhost: vhost.policies.values(), of_policy),
        ("queues", _queues, _queue),
        ("exchanges", _exchanges, _exchange),
        ("bindings", _bindings, _binding),
    )
    return [
        Section(kind, [(vhost.name, each) for vhost in vhosts for each in objects(vhost)], _shape(shape, named=named))
        for kind, objects, shape in kinds
    ]


def _shape(shape: Callable[[Any], Document], *, named: bool) -> Callable[[Any], Document]:
    return lambda pair: {"vhost": pair[0], **shape(pair[1])} if named else shape(pair[1])


def of_user(user: Document) -> Document:
    """An element of `users`: of what `User.to_json` says, that which isn't in a section of its own."""
    return {key: user[key] for key in ("name", "password_hash", "hashing_algorithm", "tags", "limits")}


def _vhost(vhost: VHost) -> Document:
    metadata = {"description": "", "tags": [], **vhost.metadata}
    return {"name": vhost.name, "description": metadata["description"], "tags": metadata["tags"], "metadata": metadata}


def parameters_of(vhost: VHost) -> Iterable[Document]:
    """The elements of `parameters`, without the vhost: operator policies among them, as RabbitMQ keeps these there."""
    for (component, name), value in vhost.parameters.items():
        yield {"component": component, "name": name, "value": value}
    for policy in vhost.operator_policies.values():
        value = {"pattern": policy.pattern, "definition": policy.definition, "priority": policy.priority, "apply-to": policy.apply_to}
        yield {"component": OPERATOR_POLICY, "name": policy.name, "value": value}


def of_policy(policy: Policy) -> Document:
    """An element of `policies`, without the vhost."""
    return {
        "name": policy.name,
        "pattern": policy.pattern,
        "apply-to": policy.apply_to,
        "definition": policy.definition,
        "priority": policy.priority,
    }


def _queues(vhost: VHost) -> list[Queue]:
    return [queue for queue in vhost.declared_queues if queue.owner is None]


def _queue(queue: Queue) -> Document:
    return {
        "name": queue.name,
        "type": queue.type,
        "durable": queue.durable,
        "auto_delete": queue.auto_delete,
        "arguments": plain(queue.arguments.table),
    }


def _exchanges(vhost: VHost) -> list[Exchange]:
    return [exchange for exchange in vhost.exchanges.values() if exchange.name and not exchange.name.startswith("amq.")]


def _exchange(exchange: Exchange) -> Document:
    return {
        "name": exchange.name,
        "type": exchange.type,
        "durable": exchange.durable,
        "auto_delete": exchange.auto_delete,
        "internal": exchange.internal,
        "arguments": plain(exchange.arguments),
    }


def _bindings(vhost: VHost) -> list[Binding]:
    destinations: list[Destination] = [*_queues(vhost), *vhost.exchanges.values()]
    return [binding for destination in destinations for binding in vhost.bindings_to(destination)]


def _binding(binding: Binding) -> Document:
    return {
        "source": binding.source.name,
        "destination": binding.destination.name,
        "destination_type": "queue" if binding.destination.is_queue else "exchange",
        "routing_key": binding.routing_key,
        "arguments": plain(binding.arguments),
    }


# --- import ---------------------------------------------------------------------------------------------------------


def apply(operations: Operations, document: object, *, acting_user: str = INTERNAL_USER) -> None:
    """Import definitions of the whole broker. Raises InvalidDefinitions."""
    for _ in steps(operations, document, acting_user=acting_user):
        pass


def steps(operations: Operations, document: object, *, acting_user: str = INTERNAL_USER) -> Iterator[None]:
    """The same in small steps, so that whoever takes them can do other things in between."""
    reader = _Reader(operations, acting_user)
    sections = (
        ("users", reader.user),
        ("vhosts", reader.vhost),
        ("permissions", reader.permission),
        ("topic_permissions", reader.topic_permission),
        ("exchanges", reader.exchange),
        ("global_parameters", reader.global_parameter),
        ("policies", reader.policy),
        ("parameters", reader.parameter),
        ("queues", reader.queue),
        ("bindings", reader.binding),
    )
    return reader.run(document, sections)


def apply_to_vhost(operations: Operations, name: str, document: object, *, acting_user: str = INTERNAL_USER) -> None:
    """Import definitions of one vhost into it, whatever its name was where they come from. Raises InvalidDefinitions, NotFound."""
    for _ in steps_to_vhost(operations, name, document, acting_user=acting_user):
        pass


def steps_to_vhost(operations: Operations, name: str, document: object, *, acting_user: str = INTERNAL_USER) -> Iterator[None]:
    """The same in small steps."""
    reader = _Reader(operations, acting_user, operations.vhost(name).name)
    sections = (
        ("exchanges", reader.exchange),
        ("parameters", reader.parameter),
        ("policies", reader.policy),
        ("queues", reader.queue),
        ("bindings", reader.binding),
    )
    return reader.run(document, sections)


def parse(text: bytes | str, where: str) -> object:
    """The document in a file or a request. Raises InvalidDefinitions."""
    try:
        document: object = json.loads(text, parse_constant=_no_constant)
        check(document)
    except Unfit as error:
        raise InvalidDefinitions(f"{where}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise InvalidDefinitions(f"{where}: expected a JSON document: {error}") from error
    return document


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


class Item:
    """One object of a section, read field by field."""

    def __init__(self, section: str, index: int, values: object) -> None:
        self._where = f"{section}[{index}]"
        if not isinstance(values, dict):
            raise InvalidDefinitions(f"{self._where}: expected an object, not {shown(values)}")
        self.values: Document = values
        name = values.get("name")
        if isinstance(name, str):
            self._where += f" '{name}'"

    def __str__(self) -> str:
        return self._where

    def having(self, values: Document) -> Item:
        """Another one in the same place."""
        other = copy(self)
        other.values = values
        return other

    def get(self, key: str, kind: type, default: Any = _MISSING) -> Any:
        """The value of a field, of that type. Raises InvalidDefinitions."""
        value = self.values.get(key, _MISSING)
        if value is _MISSING or (value is None and default is not _MISSING):
            if default is _MISSING:
                raise InvalidDefinitions(f"{self._where}: expected a field {key}, {_KINDS[kind]}")
            return default
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise InvalidDefinitions(f"{self._where}: {key} is {shown(value)}: expected {_KINDS[kind]}")
        if isinstance(value, str) and not _is_text(value):
            raise InvalidDefinitions(f"{self._where}: {key} is {shown(value)}: expected text without lone surrogates")
        return value

    def texts(self, *keys: str) -> list[str]:
        """The values of fields that are text."""
        return [self.get(key, str) for key in keys]

    def arguments(self) -> Table:
        """`arguments` with the types that RabbitMQ gives to JSON; an empty list is what older versions export for none."""
        if self.values.get("arguments") == []:
            return {}
        try:
            return table_of_json(self.get("arguments", dict, {}))
        except MalformedTable as error:
            raise InvalidDefinitions(f"{self._where}: arguments: {error}") from error


class _Reader:
    """Turns a document into steps, and takes them. `name` is the vhost of all that says none."""

    def __init__(self, operations: Operations, acting_user: str, name: str | None = None) -> None:
        self._operations = operations
        self._by = acting_user
        self._name = name
        self._stored_algorithm = passwords.SHA256
        """Of hashes that don't say theirs."""

    def run(self, document: object, sections: Iterable[tuple[str, Callable[[Item], Step]]]) -> Iterator[None]:
        """Read all sections, then do what they say, item by item."""
        if not isinstance(document, dict):
            raise InvalidDefinitions(f"expected an object with users, vhosts, queues, ..., not {shown(document)}")
        version = document.get("rabbitmq_version", document.get("rabbit_version"))
        if isinstance(version, str) and OF_MD5.match(version):
            self._stored_algorithm = passwords.MD5
        steps: list[tuple[Item, Step]] = []
        for section, read in sections:
            items = document.get(section)
            if not isinstance(items, list | None):
                raise InvalidDefinitions(f"{section} is {shown(items)}: expected a list")
            for index, values in enumerate(items or ()):
                item = Item(section, index, values)
                try:
                    steps.append((item, read(item)))
                except InvalidDefinitions:
                    raise
                except ValueError as error:
                    raise InvalidDefinitions(f"{item}: {error}") from error
                yield
        for item, step in steps:
            try:
                step()
            except AmqpError as error:
                raise InvalidDefinitions(f"{item}: {error.text}") from error
            except ValueError as error:
                raise InvalidDefinitions(f"{item}: {error}") from error
            yield

    def _vhost_of(self, item: Item) -> str:
        if self._name is not None:
            return self._name
        if "vhost" not in item.values:
            raise InvalidDefinitions(f"{item}: expected a field vhost: definitions of one vhost are imported into a vhost")
        (vhost,) = item.texts("vhost")
        return vhost

    def user(self, item: Item) -> Step:
        """An element of `users`."""
        values = {key: value for key, value in item.values.items() if key not in ("permissions", "topic_permissions")}
        algorithm = self._operations.hashing_algorithm if "password" in values else self._stored_algorithm
        user = User.from_json(values, algorithm)
        return lambda: self._operations.put_user(user, acting_user=self._by)

    def vhost(self, item: Item) -> Step:
        """An element of `vhosts`."""
        (name,) = item.texts("name")
        metadata = item.get("metadata", dict, {}) or {}
        given = {**metadata, **{key: value for key, value in item.values.items() if key in ("description", "tags", "default_queue_type")}}
        kind = given.get("default_queue_type")
        whole = item.having({"name": name, "tracing": item.values.get("tracing"), **given})
        tags = given.get("tags")
        if isinstance(tags, list) and not all(isinstance(tag, str) and _is_text(tag) for tag in tags):
            raise InvalidDefinitions(f"{item}: tags: expected text, each of them")
        options = {
            "description": whole.get("description", str, None),
            "tags": [tag.strip() for tag in tags.split(",") if tag.strip()] if isinstance(tags, str) else whole.get("tags", list, None),
            "default_queue_type": None if kind == "undefined" else whole.get("default_queue_type", str, None),
            "tracing": whole.get("tracing", bool, None),
            "protected": whole.get(PROTECTED, bool, None),
        }
        return lambda: self._operations.put_vhost(name, **options, acting_user=self._by)

    def permission(self, item: Item) -> Step:
        """An element of `permissions`."""
        user, vhost, *patterns = item.texts("user", "vhost", "configure", "write", "read")
        Permissions(*patterns)
        return lambda: self._operations.set_permissions(user, vhost, *patterns, acting_user=self._by)

    def topic_permission(self, item: Item) -> Step:
        """An element of `topic_permissions`."""
        user, vhost, exchange, write, read = item.texts("user", "vhost", "exchange", "write", "read")
        TopicPermissions(write, read, user=user, vhost=vhost)
        return lambda: self._operations.set_topic_permissions(user, vhost, exchange, write, read, acting_user=self._by)

    def exchange(self, item: Item) -> Step:
        """An element of `exchanges`. The default exchange and `amq.*` are there already."""
        vhost = self._vhost_of(item)
        name, kind = item.texts("name", "type")
        bits = {"durable": item.get("durable", bool, True)}
        bits |= {key: item.get(key, bool, False) for key in ("auto_delete", "internal")}
        arguments = item.arguments()
        if not name or name.startswith("amq."):
            return lambda: log.warning("Skipping import of %s: its name is the broker's own", item)
        return lambda: self._operations.declare_exchange(vhost, name, kind, **bits, arguments=arguments, acting_user=self._by)

    def queue(self, item: Item) -> Step:
        """An element of `queues`. Names that begin with `amq.` were given by a server, to a connection that is gone."""
        vhost = self._vhost_of(item)
        (name,) = item.texts("name")
        durable, auto_delete = item.get("durable", bool, True), item.get("auto_delete", bool, False)
        arguments = item.arguments()
        if name.startswith("amq."):
            return lambda: log.warning("Skipping import of %s: its name begins with 'amq.'", item)
        return lambda: self._operations.declare_queue(
            vhost, name, durable=durable, auto_delete=auto_delete, arguments=arguments, acting_user=self._by
        )

    def binding(self, item: Item) -> Step:
        """An element of `bindings`."""
        vhost = self._vhost_of(item)
        source, destination, kind, routing_key = item.texts("source", "destination", "destination_type", "routing_key")
        if kind not in ("queue", "exchange"):
            raise InvalidDefinitions(f"{item}: destination_type is {shown(kind)}: expected queue or exchange")
        arguments = item.arguments()
        if not source:
            return lambda: log.warning("Skipping import of %s: the default exchange binds every queue by its name", item)
        return lambda: self._operations.bind(vhost, source, kind, destination, routing_key, arguments, acting_user=self._by)

    def policy(self, item: Item) -> Step:
        """An element of `policies`."""
        vhost = self._vhost_of(item)
        name, pattern = item.texts("name", "pattern")
        options = {"priority": item.get("priority", int, 0), "apply_to": item.get("apply-to", str, "all")}
        definition = item.get("definition", dict)
        Policy(name, pattern, definition, **options)
        return lambda: self._operations.set_policy(vhost, name, pattern, definition, **options, acting_user=self._by)

    def parameter(self, item: Item) -> Step:
        """An element of `parameters`."""
        vhost = self._vhost_of(item)
        component, name = item.texts("component", "name")
        value = item.values.get("value")
        if component == OPERATOR_POLICY and isinstance(value, dict) and isinstance(value.get("definition"), list):
            value = {**value, "definition": _object_of_pairs(item, value["definition"])}
        return lambda: self._operations.set_parameter(vhost, component, name, value, acting_user=self._by)

    def global_parameter(self, item: Item) -> Step:
        """An element of `global_parameters`."""
        (name,) = item.texts("name")
        value = item.values.get("value")
        return lambda: self._operations.set_global_parameter(name, value, acting_user=self._by)


def _object_of_pairs(item: Item, pairs: list[Any]) -> Document:
    """`rabbitmqctl export_definitions` of RabbitMQ 3.10 writes an operator policy's definition as [["max-length", 7]]."""
    if not all(isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) for pair in pairs):
        raise InvalidDefinitions(f"{item}: definition is a list: expected an object")
    return dict(pairs)


def _is_text(value: str) -> bool:
    """It can be sent: as UTF-8, or as the octets that came in a name that is none (PEP 383)."""
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def table_of_json(values: Mapping[str, Any]) -> Table:
    """Arguments with the types that RabbitMQ gives to JSON. Raises MalformedTable."""
    return table_of({name: _argument(value) for name, value in values.items()})


def _argument(value: Any) -> Field:
    """A JSON value as RabbitMQ makes it a field (rabbit_misc:type_val): a whole number has 64 bits."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not -(2**63) <= value < 2**63:
            raise MalformedTable(f"{value} is beyond 64 bits")
        return Field("l", value)
    if isinstance(value, dict):
        return field({name: _argument(nested) for name, nested in value.items()})
    if isinstance(value, list):
        return field([_argument(element) for element in value])
    return field(value)


def shown(value: object) -> str:
    """A value in an error's text, cut to what a line takes; what it holds may be a secret."""
    if isinstance(value, dict | list):
        return _KINDS[type(value)]
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


# --- at a start -----------------------------------------------------------------------------------------------------


def load(operations: Operations, path: Path, stored: bytes | None, *, skip_if_unchanged: bool) -> None:
    """Import a file of definitions, or those in a directory by name, at a start. `stored` is the catalog's entry IMPORTED, which tells
    whether they are the ones of an earlier start. Raises InvalidDefinitions."""
    files = _files(path)
    texts = [_read(file) for file in files]
    digest = hashlib.sha256(b"\0".join(texts)).hexdigest()
    if skip_if_unchanged and stored is not None and entries.load(stored).get("sha256") == digest:
        log.info("Definitions at %s have been imported before and haven't changed", path)
        return
    documents = [parse(text, str(file)) for file, text in zip(files, texts, strict=True)]
    for file, document in zip(files, documents, strict=True):
        log.info("Applying definitions from file at '%s'", file)
        try:
            apply(operations, document)
        except InvalidDefinitions as error:
            raise InvalidDefinitions(f"{file}: {error}") from error
    operations.broker.outbox.put(IMPORTED, entries.dump({"sha256": digest}))


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    try:
        return sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    except OSError as error:
        raise InvalidDefinitions(f"load_definitions: {path} can't be read: {error.strerror}") from error


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InvalidDefinitions(f"load_definitions: {file} can't be read: {error.strerror}") from error
