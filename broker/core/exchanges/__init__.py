"""The exchange types by name. A new type is a file beside this one and a line in `exchange_types`."""

from broker.core.exchange import Exchange
from broker.core.exchanges.consistent_hash import ConsistentHash
from broker.core.exchanges.delayed_message import DelayedMessage
from broker.core.exchanges.direct import Direct
from broker.core.exchanges.fanout import Fanout
from broker.core.exchanges.headers import Headers
from broker.core.exchanges.message_deduplication import MessageDeduplication
from broker.core.exchanges.modulus_hash import ModulusHash
from broker.core.exchanges.random_choice import LocalRandom, RandomChoice
from broker.core.exchanges.recent_history import RecentHistory
from broker.core.exchanges.topic import Topic
from protocol.constants import PRECONDITION_FAILED
from protocol.errors import ChannelException
from protocol.tables import Table

exchange_types: dict[str, type[Exchange]] = {
    kind.type: kind
    for kind in (
        Direct,
        Fanout,
        Headers,
        Topic,
        ConsistentHash,
        DelayedMessage,
        LocalRandom,
        MessageDeduplication,
        ModulusHash,
        RandomChoice,
        RecentHistory,
    )
}


def exchange_type(type_name: str) -> type[Exchange]:
    """The class of a type. Raises ChannelException 406 if there is none of that name (contract 3.1)."""
    found = exchange_types.get(type_name)
    if found is None:
        raise ChannelException(PRECONDITION_FAILED, f"unknown exchange type '{type_name}'")
    return found


def create(
    type_name: str,
    name: str,
    *,
    durable: bool = False,
    auto_delete: bool = False,
    internal: bool = False,
    arguments: Table | None = None,
) -> Exchange:
    """A new exchange without bindings. Raises ChannelException 406 for an unknown type and for arguments that it refuses (contract 3.1)."""
    made = exchange_type(type_name)
    return made(name, durable=durable, auto_delete=auto_delete, internal=internal, arguments=arguments)
