"""Reads a document (document.py) into what is to be in a vhost. All of it is checked before anything is changed: a mistake raises
InvalidDefinitions, whose text names the place and says what was expected."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any, Final

from broker import identity
from broker.core.arguments import QueueArguments
from broker.core.classes.names import RESERVED_PREFIX
from broker.core.duplicates import NEVER
from broker.core.envelope import Envelope
from broker.core.exchanges import create
from broker.core.message import join_routing
from broker.core.policy import Policy
from broker.core.properties import check_expiration, take_senders
from broker.core.vhost import LIMITS, SYSTEM_EXCHANGES
from broker.definitions import InvalidDefinitions, Item, shown
from broker.operations import NAME_BYTES_MAX, OPERATOR_POLICY, check_vhost_limits
from broker.testing.states.document import VERSION
from broker.testing.states.pace import Pace
from broker.testing.states.state import BindingState, ExchangeState, Kept, QueueState, VHostState
from protocol import content
from protocol.errors import AmqpError
from protocol.tables import Field, Table, encode_table, from_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from broker.core.exchange import Exchange
    from broker.core.steps import Steps

STEP: Final = 64
"""Items that a step reads: about a millisecond."""
COUNT_MAX: Final = (1 << 31) - 1
MOMENT_MAX_MS: Final = 1 << 48
"""Ten thousand years."""


def parse(text: bytes) -> dict[str, Any]:
    """The document in a request. Raises InvalidDefinitions for what is none, or one of a newer Leveret."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidDefinitions(f"expected a JSON document, the state of a vhost: {error}") from error
    if not isinstance(document, dict) or "leveret_state" not in document:
        raise InvalidDefinitions("expected a JSON object with leveret_state: what GET .../state has given")
    version = document["leveret_state"]
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InvalidDefinitions(f"leveret_state is {shown(version)}: expected {VERSION}")
    if version > VERSION:
        writer = document.get("leveret_version")
        by = f" (it was written by Leveret {writer})" if isinstance(writer, str) else ""
        here = f"Leveret {identity.LEVERET_VERSION} reads {VERSION}"
        raise InvalidDefinitions(f"leveret_state is {version}{by}, and {here}: load it into a newer one")
    return document


def read(document: Mapping[str, Any], vhost: str, now_ms: int, acting_user: str) -> Steps[tuple[VHostState, list[str]]]:
    """What is to be in the vhost of that name, and what can't be, as texts. Raises InvalidDefinitions."""
    reader = _Reader(vhost, now_ms, acting_user)
    pace = Pace(STEP)
    sections: tuple[tuple[str, Callable[[Item], None]], ...] = (
        ("exchanges", reader.exchange),
        ("queues", reader.queue),
        ("bindings", reader.binding),
        ("policies", reader.policy),
        ("parameters", reader.parameter),
        ("messages", reader.message),
        ("delayed", reader.delayed),
        ("seen", reader.seen),
        ("recent", reader.recent),
        ("exclusive_queues", reader.exclusive_queue),
    )
    for section, read_item in sections:
        items = document.get(section)
        if not isinstance(items, list | None):
            raise InvalidDefinitions(f"{section} is {shown(items)}: expected a list")
        for index, values in enumerate(items or ()):
            item = Item(section, index, values)
            try:
                read_item(item)
            except InvalidDefinitions:
                raise
            except AmqpError as error:
                raise InvalidDefinitions(f"{item}: {error.text}") from error
            except ValueError as error:
                raise InvalidDefinitions(f"{item}: {error}") from error
            if pace.is_over():
                yield None
    return reader.state, reader.left_out


class _Reader:
    """One method for each section; what is read is in `state`."""

    def __init__(self, vhost: str, now_ms: int, acting_user: str) -> None:
        self.state = VHostState(now_ms)
        self.left_out: list[str] = []
        self._vhost = vhost
        self._by = acting_user
        self._exchanges: dict[str, Exchange] = {}
        """Made for what they refuse, and for nothing else."""
        for name, kind, internal in SYSTEM_EXCHANGES:
            self._add_exchange(name, kind, durable=True, auto_delete=False, internal=internal, arguments={})

    def _add_exchange(self, name: str, kind: str, *, durable: bool, auto_delete: bool, internal: bool, arguments: Table) -> None:
        self._exchanges[name] = create(kind, name, durable=durable, auto_delete=auto_delete, internal=internal, arguments=arguments)
        self.state.exchanges[name] = ExchangeState(name, kind, durable, auto_delete, internal, arguments, self._by)

    # --- what is declared -------------------------------------------------------------------------------------------

    def exchange(self, item: Item) -> None:
        """An element of `exchanges`."""
        name, kind = _name(item), item.get("type", str)
        if name.startswith(RESERVED_PREFIX):
            return  # every vhost has it
        self._check_new(item, name, self.state.exchanges)
        bits = {"durable": item.get("durable", bool, True)}
        bits |= {key: item.get(key, bool, False) for key in ("auto_delete", "internal")}
        self._add_exchange(name, kind, **bits, arguments=_arguments(item))

    def queue(self, item: Item) -> None:
        """An element of `queues`."""
        name = _name(item)
        self._check_new(item, name, self.state.queues)
        durable, auto_delete = item.get("durable", bool, True), item.get("auto_delete", bool, False)
        arguments = QueueArguments.parse(
            _arguments(item), name, self._vhost, durable=durable, exclusive=False, auto_delete=auto_delete, server_named=False
        )
        self.state.queues[name] = QueueState(name, durable, auto_delete, arguments)

    @staticmethod
    def _check_new(item: Item, name: str, known: dict[str, Any]) -> None:
        if name in known:
            raise InvalidDefinitions(f"{item}: the name is there twice")

    def binding(self, item: Item) -> None:
        """An element of `bindings`."""
        source, destination, kind, routing_key = item.texts("source", "destination", "destination_type", "routing_key")
        if kind not in ("queue", "exchange"):
            raise InvalidDefinitions(f"{item}: destination_type is {shown(kind)}: expected queue or exchange")
        exchange = self._known(item, "exchange", source, self._exchanges)
        self._known(item, kind, destination, self.state.queues if kind == "queue" else self.state.exchanges)
        _check_short(item, "routing_key", routing_key)
        arguments = _arguments(item)
        exchange.validate_binding(exchange, routing_key, arguments)
        self.state.exchanges[source].bindings.append(BindingState(destination, kind == "queue", routing_key, arguments))

    @staticmethod
    def _known(item: Item, kind: str, name: str, known: dict[str, Any]) -> Any:
        if name not in known:
            raise InvalidDefinitions(f"{item}: {kind} '{name}' isn't among the document's {kind}s")
        return known[name]

    def policy(self, item: Item) -> None:
        """An element of `policies`."""
        self._add_policy(item, item.get("name", str), operator=False)

    def _add_policy(self, item: Item, name: str, *, operator: bool) -> None:
        options = {"priority": item.get("priority", int, 0), "apply_to": item.get("apply-to", str, "all")}
        definition = item.get("definition", dict)
        self.state.policies.append(Policy(name, item.get("pattern", str), definition, **options, is_operator=operator))

    def parameter(self, item: Item) -> None:
        """An element of `parameters`."""
        component, name = item.texts("component", "name")
        value = item.values.get("value")
        if component == OPERATOR_POLICY:
            self._add_policy(item.having(item.get("value", dict)), name, operator=True)
            return
        if component == LIMITS[0]:
            check_vhost_limits(self._vhost, name, value)
        self.state.parameters[component, name] = value

    def exclusive_queue(self, item: Item) -> None:
        """An element of `exclusive_queues`."""
        name, count = item.get("name", str), len(item.get("messages", list, []))
        self.left_out.append(f"exclusive queue '{name}' with {count} messages: it went with its connection")

    # --- messages ---------------------------------------------------------------------------------------------------

    def message(self, item: Item) -> None:
        """An element of `messages`."""
        queue = self._known(item, "queue", item.get("queue", str), self.state.queues)
        queue.messages.append(self._kept(item, self._moment(item, "expires_in_ms")))

    def delayed(self, item: Item) -> None:
        """An element of `delayed`."""
        exchange = self._of_type(item, "delayed_by", "x-delayed-message")
        moment = self._moment(item, "due_in_ms")
        if moment is None:
            raise InvalidDefinitions(f"{item}: expected a field due_in_ms, a whole number")
        kept = self._kept(item, moment)
        exchange.delayed.append(kept._replace(redelivered=False, delivery_count=0))

    def seen(self, item: Item) -> None:
        """An element of `seen`."""
        exchange = self._of_type(item, "exchange", "x-message-deduplication")
        table = from_json({"": item.get("value", list)})
        encode_table(table)
        moment = self._moment(item, "forgotten_in_ms")
        exchange.seen.append((Field(*table[""]), NEVER if moment is None else moment))

    def recent(self, item: Item) -> None:
        """An element of `recent`."""
        exchange = self._of_type(item, "kept_by", "x-recent-history")
        routing, header, body = self._message(item)
        keys = item.get("routing_keys", list)
        if not keys or not all(isinstance(key, str) for key in keys):
            raise InvalidDefinitions(f"{item}: routing_keys are {shown(keys)}: expected texts, at least one")
        for key in keys:
            _check_short(item, "routing_keys", key)
        exchange.recent.append(Envelope(keys, routing, header, body))

    def _of_type(self, item: Item, key: str, kind: str) -> ExchangeState:
        """The exchange that a field names, which is of a type, or delays for one that is."""
        name = item.get(key, str)
        state: ExchangeState = self._known(item, "exchange", name, self.state.exchanges)
        inner = state.arguments.get("x-delayed-type")
        if state.type != kind and (inner is None or inner.value != kind.encode()):
            raise InvalidDefinitions(f"{item}: exchange '{name}' is of type {state.type}: expected {kind}")
        return state

    def _moment(self, item: Item, key: str) -> int | None:
        left_ms = item.get(key, int, None)
        if left_ms is None:
            return None
        if abs(left_ms) > MOMENT_MAX_MS:
            raise InvalidDefinitions(f"{item}: {key} is {left_ms}: expected ms, {MOMENT_MAX_MS} at the most")
        return max(self.state.taken_ms + int(left_ms), 1)

    def _kept(self, item: Item, until_ms: int | None) -> Kept:
        routing, header, body = self._message(item)
        count = item.get("delivery_count", int, 0)
        if not 0 <= count <= COUNT_MAX:
            raise InvalidDefinitions(f"{item}: delivery_count is {count}: expected 0 to {COUNT_MAX}")
        return Kept(routing, header, body, item.get("redelivered", bool, False) or count > 0, count, until_ms)

    def _message(self, item: Item) -> tuple[bytes, bytes, bytes]:
        exchange, routing_key = item.get("exchange", str, ""), item.get("routing_key", str, "")
        _check_short(item, "exchange", exchange)
        _check_short(item, "routing_key", routing_key)
        body = _body(item)
        return join_routing(exchange, routing_key), _header(item, len(body)), body


def _name(item: Item) -> str:
    name: str = item.get("name", str)
    _check_short(item, "name", name)
    if not name:
        raise InvalidDefinitions(f"{item}: expected a name")
    return name


def _check_short(item: Item, key: str, text: str) -> None:
    size = len(text.encode("utf-8", "surrogateescape"))
    if size > NAME_BYTES_MAX:
        raise InvalidDefinitions(f"{item}: {key} has {size} bytes: expected {NAME_BYTES_MAX} at the most")


def _arguments(item: Item) -> Table:
    """With their types where the document has them."""
    if "typed_arguments" not in item.values:
        return item.arguments()
    table = from_json(item.get("typed_arguments", dict))
    encode_table(table)
    return table


def _body(item: Item) -> bytes:
    payload, encoding = item.get("payload", str), item.get("payload_encoding", str, "string")
    if encoding == "string":
        return bytes(payload, "utf-8")
    if encoding != "base64":
        raise InvalidDefinitions(f"{item}: payload_encoding is {shown(encoding)}: expected string or base64")
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidDefinitions(f"{item}: payload is no base64") from None


def _header(item: Item, body_size: int) -> bytes:
    """The content header. Raises InvalidDefinitions, and ValueError for what doesn't fit."""
    values = item.get("properties", dict, {})
    unknown = set(values) - set(content.Properties.__slots__)
    if unknown:
        raise InvalidDefinitions(f"{item}: properties has '{min(unknown)}': expected {', '.join(content.Properties.__slots__)}")
    properties = content.Properties()
    for name in values:
        if name == "headers":
            properties.headers = from_json(item.having(values).get(name, dict))
        else:
            setattr(properties, name, item.having(values).get(name, int if name in ("delivery_mode", "priority", "timestamp") else str))
    header = content.encode_properties(properties, body_size)
    facts = content.scan(header)
    if facts & content.HAS_EXPIRATION:
        check_expiration(header)
    if facts & content.HAS_CC:
        take_senders(header)
    return header
