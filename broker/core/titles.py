"""How the log names connections and what went wrong on them, in RabbitMQ's words (rabbit_reader, rabbit_channel at v3.13.7).

    <0.666.0> (127.0.0.1:42126 -> 127.0.0.1:5672 - billing, vhost: '/', user: 'guest')

`billing` is the connection_name that the client gave. A text has its heading on its first line and the reason on the second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocol.constants import REPLY_NAMES
from protocol.errors import without_octets
from protocol.methods import CLASSES

if TYPE_CHECKING:
    from broker.core.channel import Channel
    from broker.core.session import Session
    from protocol.errors import AmqpError


def tag(process: int) -> str:
    """A connection's or channel's number where RabbitMQ has an Erlang process."""
    return f"<0.{process}.0>"


def address(session: Session) -> str:
    """Without anything that the client said of itself."""
    return f"{tag(session.process)} ({session.peer.name})"


def named(session: Session) -> str:
    """With the name that the client gave, if it did."""
    return f"{tag(session.process)} ({_name(session)})"


def full(session: Session) -> str:
    """With vhost and user too, as far as it got."""
    if session.user_name is None:
        return named(session)
    vhost = "none" if session.vhost_name is None else session.vhost_name
    return f"{tag(session.process)} ({_name(session)}, vhost: '{vhost}', user: '{session.user_name}')"


def connection_error(session: Session, error: AmqpError) -> str:
    """A hard error, or that the connection isn't let in."""
    if session.vhost_name is None:
        return refusal(session, error.text)
    who = f"{_name(session)}, vhost: '{session.vhost_name}', user: '{session.user_name}', state: running"
    # What is wrong with a method of the connection may be quoted octets of a secret (update-secret).
    text = without_octets(error.text) if not error.channel and error.text.startswith(("type 1,", "cannot decode")) else error.text
    what = f"{_operation(error)} caused a connection exception {_atom(error)}: {_quoted(text)}"
    return f"Error on AMQP connection {tag(session.process)} ({who}), channel {error.channel}:\n {what}"


def refusal(session: Session, reason: str) -> str:
    """A login that is refused, or a vhost that may not be entered."""
    who = ", state: starting" if session.user_name is None else f", user: '{session.user_name}', state: opening"
    return f"Error on AMQP connection {tag(session.process)} ({_name(session)}{who}):\n{reason}"


def channel_error(channel: Channel, error: AmqpError) -> str:
    """A soft error. RabbitMQ leaves out the client's name here."""
    session = channel.session
    who = f"{session.peer.name}, vhost: '{session.vhost_name}', user: '{session.user_name}'"
    what = f"{_operation(error)} caused a channel exception {_atom(error)}: {error.text}"
    return f"Channel error on connection {tag(session.process)} ({who}), channel {channel.number}:\n{what}"


def _name(session: Session) -> str:
    return f"{session.peer.name} - {session.own_name}" if session.own_name else session.peer.name


def _operation(error: AmqpError) -> str:
    method = CLASSES.get(error.class_id << 16 | error.method_id)
    return f"operation {'none' if method is None else method.name.lower()}"


def _atom(error: AmqpError) -> str:
    return REPLY_NAMES[error.code].lower()


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
