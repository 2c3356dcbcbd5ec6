"""A file of definitions, RabbitMQ's or Leveret's, read for what would break on RabbitMQ 4 and for dead letters that have nowhere to go.

Of a whole broker, or of one vhost; what the file doesn't name may still be there, but isn't looked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broker.testing.findings import declared
from broker.testing.findings.finding import Finding, in_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PREDECLARED: Final = ("", "amq.direct", "amq.fanout", "amq.headers", "amq.match", "amq.topic", "amq.rabbitmq.trace")


class NoDefinitions(ValueError):
    """This is no document of definitions; the text says why."""


def findings_of(document: Any, version: str) -> list[Finding]:
    """What is found in a document, for that RabbitMQ, worst first. Raises NoDefinitions."""
    if not isinstance(document, dict):
        raise NoDefinitions("definitions are a JSON object")
    sections = {name: _objects(document, name) for name in ("queues", "exchanges", "policies", "bindings", "vhosts", "parameters")}
    if not any(sections.values()):
        raise NoDefinitions("it has no queues, exchanges, policies, bindings or vhosts")
    found = [*_of_queues(sections), *_of_exchanges(sections), *_of_policies(sections)]
    return in_order(each for each in found if each.applies_to(version))


def _objects(document: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    section = document.get(name) or []
    if not isinstance(section, list) or not all(isinstance(each, dict) for each in section):
        raise NoDefinitions(f"'{name}' is no list of objects")
    return section


def _place(item: Mapping[str, Any], what: str) -> dict[str, Any]:
    return {"vhost": item.get("vhost"), what: _text(item, "name")}


def _text(item: Mapping[str, Any], key: str) -> str:
    value = item.get(key)
    if not isinstance(value, str):
        raise NoDefinitions(f"'{key}' is missing, or no text, in {item}")
    return value


def _of_queues(sections: Mapping[str, list[dict[str, Any]]]) -> Iterator[Finding]:
    kinds = {each.get("name"): (each.get("default_queue_type") or (each.get("metadata") or {}).get("default_queue_type"))
             for each in sections["vhosts"]}  # fmt: skip
    for queue in sections["queues"]:
        arguments = _mapping(queue, "arguments")
        durable = bool(queue.get("durable", True))
        default = kinds.get(queue.get("vhost")) if durable and not queue.get("auto_delete") else None
        kind = arguments.get("x-queue-type") or queue.get("type") or default or "classic"
        where = _place(queue, "queue")
        yield from declared.of_queue(where, durable=durable, exclusive=bool(queue.get("exclusive")), arguments=arguments, kind=kind)
        exchange = arguments.get("x-dead-letter-exchange")
        if isinstance(exchange, str):
            yield from _of_dead_letters(sections, where, exchange, arguments.get("x-dead-letter-routing-key"))


def _of_dead_letters(sections: Mapping[str, list[dict[str, Any]]], where: dict[str, Any], exchange: str, key: Any) -> Iterator[Finding]:
    vhost = where["vhost"]
    place = {**where, "exchange": exchange}
    key_text = "" if key is None else f" with key '{key}'"
    if exchange == "":
        # Without a key of its own, a dead letter keeps that of its message.
        if key is not None and not any(each.get("vhost") == vhost and each.get("name") == key for each in sections["queues"]):
            yield Finding("dead-letter-unroutable", place, {"key_text": key_text})
    elif not _is_there(sections, vhost, exchange):
        yield Finding("no-dead-letter-exchange", place)
    elif not _leads_anywhere(sections, vhost, exchange):
        yield Finding("dead-letter-unroutable", place, {"key_text": key_text})


def _leads_anywhere(sections: Mapping[str, list[dict[str, Any]]], vhost: Any, exchange: str) -> bool:
    """It has a binding, or an alternate exchange, or one may come from a policy."""
    if any(each.get("vhost") == vhost and each.get("source") == exchange for each in sections["bindings"]):
        return True
    if any("alternate-exchange" in _mapping(each, "definition") for each in sections["policies"] if each.get("vhost") == vhost):
        return True
    return any(
        "alternate-exchange" in _mapping(each, "arguments")
        for each in sections["exchanges"]
        if each.get("vhost") == vhost and each.get("name") == exchange
    )


def _is_there(sections: Mapping[str, list[dict[str, Any]]], vhost: Any, exchange: str) -> bool:
    return exchange in PREDECLARED or any(
        each.get("vhost") == vhost and each.get("name") == exchange for each in sections["exchanges"]
    )  # fmt: skip


def _of_exchanges(sections: Mapping[str, list[dict[str, Any]]]) -> Iterator[Finding]:
    for exchange in sections["exchanges"]:
        where = _place(exchange, "exchange")
        yield from declared.of_exchange(where, _text(exchange, "type"))
        alternate = _mapping(exchange, "arguments").get("alternate-exchange")
        if isinstance(alternate, str) and not _is_there(sections, where["vhost"], alternate):
            yield Finding("no-alternate-exchange", where, {"alternate": alternate})


def _of_policies(sections: Mapping[str, list[dict[str, Any]]]) -> Iterator[Finding]:
    for policy in sections["policies"]:
        yield from declared.of_policy(_place(policy, "policy"), _mapping(policy, "definition"))
    for parameter in sections["parameters"]:
        if parameter.get("component") == "operator_policy":
            definition = _mapping(parameter, "value").get("definition")
            if isinstance(definition, list):  # as rabbitmqctl of RabbitMQ 3.10 writes it: [["max-length", 7]]
                definition = {pair[0]: pair[1] for pair in definition if isinstance(pair, list) and len(pair) == 2}
            yield from declared.of_policy(_place(parameter, "policy"), _mapping({"definition": definition}, "definition"))


def _mapping(item: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = item.get(key) or {}
    if not isinstance(value, dict):
        raise NoDefinitions(f"'{key}' is no object in {item}")
    return value
