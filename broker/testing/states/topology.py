"""What is declared in a vhost, made what it was: at once, and through the vhost's own methods, so that consumers of what goes are told, the
catalog hears of it, and so do those who listen to events."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from broker.core.classes.names import RESERVED_PREFIX
from broker.core.exchange import identity_of
from broker.core.vhost import LIMITS

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from broker.core.exchange import Binding, Destination, Exchange
    from broker.core.queue import Queue
    from broker.core.vhost import VHost
    from broker.testing.states.state import BindingState, ExchangeState, QueueState, VHostState

Key = tuple[str, bool, str, "Hashable"]
"""What tells bindings of one exchange apart: the destination, whether that is a queue, routing key and arguments."""


def declare(vhost: VHost, state: VHostState) -> list[str]:
    """Delete, declare and bind until the vhost has what the state has; returns what could not be, as texts. It holds no messages now."""
    left_out: list[str] = []
    others = [exchange for exchange in vhost.exchanges.values() if not _may_stay(exchange, state)]
    with _nothing_deletes_itself(vhost):
        _delete(vhost, state, others)
        for exchange_state in state.exchanges.values():
            if exchange_state.name not in vhost.exchanges:
                _add_exchange(vhost, exchange_state)
        for policy in state.policies:
            vhost.set_policy(policy)
        for queue_state in state.queues.values():
            if queue_state.name in vhost.queues:
                continue
            if queue_state.owner is not None and queue_state.owner.ended:
                left_out.append(f"exclusive queue '{queue_state.name}': the connection that declared it has ended")
            else:
                _add_queue(vhost, queue_state)
        for exchange in list(vhost.exchanges.values()):
            if exchange.name:
                found = state.exchanges.get(exchange.name)
                _bind(vhost, exchange, found.bindings if found is not None else ())
    for (component, name), value in state.parameters.items():
        if vhost.parameters.get((component, name)) != value:
            vhost.set_parameter(component, name, value)
    return left_out


@contextmanager
def _nothing_deletes_itself(vhost: VHost) -> Iterator[None]:
    """An auto-delete exchange that loses its bindings on the way stays: it may have others in the end."""
    deleting = [exchange for exchange in vhost.exchanges.values() if exchange.auto_delete]
    for exchange in deleting:
        exchange.auto_delete = False
    try:
        yield
    finally:
        for exchange in deleting:
            exchange.auto_delete = True


def _delete(vhost: VHost, state: VHostState, others: Sequence[Exchange]) -> None:
    """What was not there, or was another one, as these exchanges; limits first, which would forbid what is to come back."""
    for component, name in list(vhost.parameters):
        if (component, name) not in state.parameters or (component, name) == LIMITS:
            vhost.clear_parameter(component, name)
    wanted = {(policy.name, policy.is_operator) for policy in state.policies}
    for policy in [*vhost.policies.values(), *vhost.operator_policies.values()]:
        if (policy.name, policy.is_operator) not in wanted:
            vhost.delete_policy(policy.name, is_operator=policy.is_operator)
    for queue in vhost.declared_queues:
        if not _is_same_queue(queue, state.queues.get(queue.name)):
            vhost.delete_queue(queue)
    for exchange in others:
        vhost.delete_exchange(exchange)


def _is_same_queue(queue: Queue, state: QueueState | None) -> bool:
    return (
        state is not None
        and (queue.durable, queue.auto_delete, queue.owner) == (state.durable, state.auto_delete, state.owner)
        and identity_of(queue.arguments.table) == identity_of(state.arguments.table)
    )


def _may_stay(exchange: Exchange, vhost_state: VHostState) -> bool:
    """It was there, or every vhost has it."""
    state = vhost_state.exchanges.get(exchange.name)
    return (not exchange.name or exchange.name.startswith(RESERVED_PREFIX)) or (
        state is not None
        and (exchange.type, exchange.durable, exchange.internal) == (state.type, state.durable, state.internal)
        and exchange.auto_delete == state.auto_delete
        and identity_of(exchange.arguments) == identity_of(state.arguments)
    )


def _add_exchange(vhost: VHost, state: ExchangeState) -> None:
    with vhost.broker.acting_as(state.declared_by):
        vhost.add_exchange(
            state.type,
            state.name,
            durable=state.durable,
            auto_delete=state.auto_delete,
            internal=state.internal,
            arguments=state.arguments,
        )


def _add_queue(vhost: VHost, state: QueueState) -> None:
    vhost.add_queue(state.name, state.arguments, durable=state.durable, auto_delete=state.auto_delete, owner=state.owner)


# --- bindings -------------------------------------------------------------------------------------------------------


def _bind(vhost: VHost, exchange: Exchange, wanted: Sequence[BindingState]) -> None:
    """Give an exchange these bindings, in this order, which some types go by."""
    by_key = {_key(each.destination, each.is_queue, each): each for each in wanted if _destination(vhost, each) is not None}
    for binding in list(exchange.bindings()):
        if _key_of(binding) not in by_key:
            vhost.unbind(exchange, binding.destination, binding.routing_key, binding.arguments)
    there = list(exchange.bindings())
    if [_key_of(binding) for binding in there] != list(by_key)[: len(there)]:
        for binding in there:
            vhost.unbind(exchange, binding.destination, binding.routing_key, binding.arguments)
        there = []
    for state in list(by_key.values())[len(there) :]:
        destination = _destination(vhost, state)
        assert destination is not None
        vhost.bind(exchange, destination, state.routing_key, state.arguments)


def _destination(vhost: VHost, state: BindingState) -> Destination | None:
    return vhost.queues.get(state.destination) if state.is_queue else vhost.exchanges.get(state.destination)


def _key_of(binding: Binding) -> Key:
    return _key(binding.destination.name, binding.destination.is_queue, binding)


def _key(destination: str, is_queue: bool, binding: Binding | BindingState) -> Key:
    return destination, is_queue, binding.routing_key, identity_of(binding.arguments)
