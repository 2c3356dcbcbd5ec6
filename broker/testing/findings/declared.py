"""What queues, exchanges and policies are declared with: the same for those that are and for those in a file of definitions.

Arguments are as JSON has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broker.testing.findings.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

X_CONSUMER_TIMEOUT: Final = "x-consumer-timeout"
DELAYED: Final = "x-delayed-message"
DEDUPLICATION: Final = "x-message-deduplication"
_NOT_INCLUDED: Final = "doesn't have"
_INCLUDED: Final = "has, but not enabled"
_DELAYED_PLUGIN: Final = "rabbitmq_delayed_message_exchange"
_DEDUPLICATION_PLUGIN: Final = "rabbitmq_message_deduplication"
_PLUGINS: Final = {
    "x-consistent-hash": "rabbitmq_consistent_hash_exchange",
    "x-random": "rabbitmq_random_exchange",
    "x-recent-history": "rabbitmq_recent_history_exchange",
    "x-modulus-hash": "rabbitmq_sharding",
}
_CORE_SINCE: Final = {"x-modulus-hash": "4.3"}
"""Exchange types that need no plugin any more."""
_LOCATOR: Final = "queue-master-locator"
_EFFECTLESS: Final = {"queue-mode": None, "queue-version": "4.0"}
"""Policy keys, and since when they have no effect (None: before 3.13)."""


def of_queue(where: dict[str, Any], *, durable: bool, exclusive: bool, arguments: Mapping[str, Any], kind: str) -> Iterator[Finding]:
    """A queue of that type; `where` names it."""
    queue = where["queue"]
    if not durable and not exclusive:
        yield Finding("transient-queue", where)
    if "x-queue-mode" in arguments:
        yield Finding("queue-mode", where, {"value": arguments["x-queue-mode"]})
    if arguments.get("x-queue-version") == 1:
        yield Finding("queue-version", where, {"value": 1})
    if f"x-{_LOCATOR}" in arguments:
        yield Finding("master-locator", where, {"whose": f"queue '{queue}'"})
    if X_CONSUMER_TIMEOUT in arguments and kind == "classic":
        yield Finding("consumer-timeout-argument", where, {"whose": f"classic queue '{queue}'"})
    if arguments.get(DEDUPLICATION):
        yield _plugin(where, f"x-message-deduplication of queue '{queue}'", _DEDUPLICATION_PLUGIN, _NOT_INCLUDED)


def of_exchange(where: dict[str, Any], kind: str) -> Iterator[Finding]:
    """An exchange of that type; `where` names it."""
    whose = f"exchange '{where['exchange']}' of type {kind}"
    if kind == DELAYED:
        yield Finding("delayed-exchange", where)
        yield _plugin(where, whose, _DELAYED_PLUGIN, _NOT_INCLUDED, until="4.3")
    elif kind == DEDUPLICATION:
        yield _plugin(where, whose, _DEDUPLICATION_PLUGIN, _NOT_INCLUDED)
    elif kind == "x-local-random":
        yield Finding("local-random", where)
    elif kind in _PLUGINS:
        yield _plugin(where, whose, _PLUGINS[kind], _INCLUDED, until=_CORE_SINCE.get(kind))


def of_policy(where: dict[str, Any], definition: Mapping[str, Any]) -> Iterator[Finding]:
    """A policy, or operator policy; `where` names it."""
    mirroring = [key for key in definition if key.startswith("ha-")]
    if mirroring:
        yield Finding("mirroring", where, {"keys": ", ".join(mirroring)})
    if _LOCATOR in definition:
        yield Finding("master-locator", where, {"whose": f"policy '{where['policy']}'"})
    for key, since in _EFFECTLESS.items():
        if key in definition:
            yield Finding("policy-without-effect", where, {"keys": f"{key}={definition[key]}"}, since=since)


def _plugin(where: dict[str, Any], whose: str, plugin: str, provision: str, *, until: str | None = None) -> Finding:
    return Finding("plugin", where, {"whose": whose, "plugin": plugin, "provision": provision}, until=until)
