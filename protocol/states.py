"""Who may send what, when: the states of a connection and of a channel, as tables.

Theory of operation. A connection is born waiting for the 8-byte protocol header and walks through the handshake one
method at a time; each step is the server's answer to the peer's last method, so the table has one legal method a state.
`RUNNING` is where it lives. Whoever closes sends connection.close and then drops everything until close-ok (section
1.4.2.9 of the specification: "After sending this method, any received methods except Close and Close-OK MUST be
discarded").

    WAITING_HEADER --header--> STARTING --start-ok--> TUNING --tune-ok--> OPENING --open--> RUNNING
                                  ^  |                                                        |  |
                        secure-ok +--+ (challenge)                      peer's connection.close  |  our connection.close
                                                                                              v  v
                                                                                      CLOSED <-- CLOSING

A broken handshake gets no frame at all (contract 1.3, 1.4): RabbitMQ lets the peer wait three seconds and closes the
socket. In `RUNNING` a method that doesn't belong is a hard error with a reply code.

A channel is either absent, open, or closing: closed by us and waiting for the peer's close-ok, dropping all else.
"""

from enum import Enum

from protocol.methods import Channel, Connection, Method


class ConnectionState(Enum):
    """Where the connection stands; the value is RabbitMQ's name for it, which texts quote."""

    WAITING_HEADER = "pre_init"
    STARTING = "starting"
    SECURING = "securing"
    TUNING = "tuning"
    OPENING = "opening"
    RUNNING = "running"
    CLOSING = "closing"
    CLOSED = "closed"


class ChannelState(Enum):
    """Where a channel stands, if it exists."""

    OPEN = "open"
    CLOSING = "closing"


CONNECTION_TABLE: dict[tuple[ConnectionState, type[Method]], ConnectionState] = {
    (ConnectionState.STARTING, Connection.StartOk): ConnectionState.STARTING,
    (ConnectionState.SECURING, Connection.SecureOk): ConnectionState.SECURING,
    (ConnectionState.TUNING, Connection.TuneOk): ConnectionState.OPENING,
    (ConnectionState.OPENING, Connection.Open): ConnectionState.OPENING,
    (ConnectionState.RUNNING, Connection.Close): ConnectionState.CLOSED,
    (ConnectionState.RUNNING, Connection.UpdateSecret): ConnectionState.RUNNING,
    (ConnectionState.CLOSING, Connection.Close): ConnectionState.CLOSED,
    (ConnectionState.CLOSING, Connection.CloseOk): ConnectionState.CLOSED,
}
"""(state, method on channel 0) to the state that receiving it leads to. Where the broker decides (may this user in?
does this vhost exist?) the state stays, and what the broker sends moves it: see SENT_TABLE."""

SENT_TABLE: dict[type[Method], ConnectionState] = {
    Connection.Start: ConnectionState.STARTING,
    Connection.Secure: ConnectionState.SECURING,
    Connection.Tune: ConnectionState.TUNING,
    Connection.OpenOk: ConnectionState.RUNNING,
    Connection.Close: ConnectionState.CLOSING,
    Connection.CloseOk: ConnectionState.CLOSED,
}
"""Method that we send on channel 0 to the state it leads to."""

HANDSHAKE = frozenset(
    {
        ConnectionState.WAITING_HEADER,
        ConnectionState.STARTING,
        ConnectionState.SECURING,
        ConnectionState.TUNING,
        ConnectionState.OPENING,
    }
)

CLIENT_CHANNEL_METHODS = frozenset(
    {
        "Access.Request",
        "Basic.Ack",
        "Basic.Cancel",
        "Basic.Consume",
        "Basic.Get",
        "Basic.Nack",
        "Basic.Publish",
        "Basic.Qos",
        "Basic.Recover",
        "Basic.RecoverAsync",
        "Basic.Reject",
        "Channel.Close",
        "Channel.Flow",
        "Channel.Open",
        "Confirm.Select",
        "Exchange.Bind",
        "Exchange.Declare",
        "Exchange.Delete",
        "Exchange.Unbind",
        "Queue.Bind",
        "Queue.Declare",
        "Queue.Delete",
        "Queue.Purge",
        "Queue.Unbind",
        "Tx.Commit",
        "Tx.Rollback",
        "Tx.Select",
    }
)
"""What a client may send on an open channel; anything else is 503 `unimplemented method`."""

CLOSING_CHANNEL_METHODS = (Channel.Close, Channel.CloseOk, Channel.Open)
"""What still counts on a channel that we closed, until close-ok."""
