"""Connections and channels: who is there, and how to end it."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from broker.admin import lists
from broker.admin.access import is_administrator, is_monitor
from broker.admin.call import Answer, done
from broker.admin.errors import NoSuchObject, NotAuthorised
from broker.admin.routing import Access, Route
from broker.admin.shapes import connection as shape
from broker.admin.shapes import consumer as consumer_shape
from broker.admin.shapes.stats import QUERY as STATS
from broker.admin.shapes.stats import Reader

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broker.admin.call import Call
    from broker.core.channel import Channel
    from broker.core.session import Session

log = logging.getLogger("management")

REASON: Final = "Closed via management plugin"
"""What a connection that is closed here is told, unless the request has an X-Reason."""
NOT_YOURS: Final = "User not authorised to access object"


def _sessions(call: Call) -> list[Session]:
    """Those that the user sees: monitors all, others their own."""
    sessions: Iterable[Session] = call.vhost.sessions if "vhost" in call.path else call.broker.sessions
    everything = is_monitor(call.identity)
    return [each for each in sessions if each.entered and (everything or each.identity.name == call.user_name)]


def _channels(call: Call) -> list[Channel]:
    return [channel for session in _sessions(call) for channel in session.channels.values()]


def _session(call: Call) -> Session:
    """The connection in the path, if the user may do that to it. Raises NoSuchObject and NotAuthorised."""
    name = call.path["connection"]
    found = next((each for each in call.broker.sessions if each.entered and each.peer.name == name), None)
    if found is None:
        raise NoSuchObject
    _check(call, found)
    return found


def _check(call: Call, session: Session) -> None:
    """Monitors see what others have, administrators end it."""
    may = is_administrator(call.identity) if call.request.method == "DELETE" else is_monitor(call.identity)
    if not may and session.identity.name != call.user_name:
        raise NotAuthorised(NOT_YOURS)


# --- connections ----------------------------------------------------------------------------------------------------


async def list_connections(call: Call) -> Answer:
    """Lists the connections that the user sees, of one virtual host or of all."""
    return await _list_connections(call, _sessions(call))


async def list_connections_of_user(call: Call) -> Answer:
    """Lists the connections of one user."""
    if not is_monitor(call.identity) and call.path["user"] != call.user_name:
        raise NotAuthorised(NOT_YOURS)
    return await _list_connections(call, [each for each in _sessions(call) if each.identity.name == call.path["user"]])


async def _list_connections(call: Call, sessions: list[Session]) -> Answer:
    make = partial(shape.of_connection, reader=Reader(call))
    return await lists.answer(call, sessions, make, basic=shape.basics_of_connection)


def get_connection(call: Call) -> Any:
    """Describes one connection."""
    return lists.only(call, shape.of_connection(_session(call), Reader(call), unset=""))


def close_connection(call: Call) -> Answer:
    """Closes one connection; the header X-Reason says why."""
    _close(call, [_session(call)])
    return done()


def close_connections_of_user(call: Call) -> Answer:
    """Closes all connections of one user."""
    sessions = call.broker.sessions_of(call.path["user"])
    for session in sessions:
        _check(call, session)
    _close(call, sessions)
    return done()


def _close(call: Call, sessions: Iterable[Session]) -> None:
    reason = call.request.headers.get("X-Reason", REASON)
    for session in sessions:
        log.info("Closing connection %s because '%s'", session.peer.name, reason)
        session.force_close(reason)
    call.context.node.schedule_turn()


# --- channels -------------------------------------------------------------------------------------------------------


async def list_channels(call: Call) -> Answer:
    """Lists the channels that the user sees, of one virtual host or of all."""
    return await _list_channels(call, _channels(call))


async def list_channels_of_connection(call: Call) -> Answer:
    """Lists the channels of one connection."""
    return await _list_channels(call, list(_session(call).channels.values()))


async def _list_channels(call: Call, channels: list[Channel]) -> Answer:
    return await lists.answer(call, channels, partial(shape.of_channel, reader=Reader(call)), basic=shape.basics_of_channel)


def get_channel(call: Call) -> Any:
    """Describes one channel, with its consumers."""
    name = call.path["channel"]
    connection, _, number = name.removesuffix(")").rpartition(" (")
    session = next((each for each in call.broker.sessions if each.entered and each.peer.name == connection), None)
    channel = session.channels.get(int(number)) if session is not None and number.isdecimal() else None
    if session is None or channel is None:
        raise NoSuchObject
    _check(call, session)
    consumers = [consumer_shape.of_consumer(each) for each in channel.consumers.values()]
    facts = {**shape.of_channel(channel, Reader(call)), "consumer_details": consumers, "deliveries": [], "publishes": []}
    return lists.only(call, facts)


_REASON: Final = {"X-Reason": "string: What the client and the log are told."}
_LIST: Final = lists.PAGED | STATS
_ONE: Final = lists.ONLY | STATS
_PATH: Final = "/api/connections/{connection}"
_OF_USER: Final = "/api/connections/username/{user}"
_IN_VHOST: Final = "/api/vhosts/{vhost}"
ROUTES: Final = (
    Route("GET", "/api/connections", list_connections, query=_LIST, shows="[Connection]"),
    Route("GET", _PATH, get_connection, query=_ONE, shows="Connection"),
    Route("DELETE", _PATH, close_connection, headers=_REASON),
    Route("GET", f"{_PATH}/channels", list_channels_of_connection, query=_LIST, shows="[Channel]"),
    Route("GET", _OF_USER, list_connections_of_user, query=_LIST, shows="[Connection]"),
    Route("DELETE", _OF_USER, close_connections_of_user, headers=_REASON),
    Route("GET", f"{_IN_VHOST}/connections", list_connections, Access.VHOST, query=_LIST, shows="[Connection]"),
    Route("GET", "/api/channels", list_channels, query=_LIST, shows="[Channel]"),
    Route("GET", "/api/channels/{channel}", get_channel, query=_ONE, shows="ChannelInDetail"),
    Route("GET", f"{_IN_VHOST}/channels", list_channels, Access.VHOST, query=_LIST, shows="[Channel]"),
)
