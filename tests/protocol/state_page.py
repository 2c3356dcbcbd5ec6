"""docs/internals/protocol-states.md, drawn from the tables in protocol/states.py.

`python -m tests.protocol.state_page` writes it; test_connection.py says when that has been forgotten.
"""

from pathlib import Path

from protocol.states import CLIENT_CHANNEL_METHODS, CLOSING_CHANNEL_METHODS, CONNECTION_TABLE, SENT_TABLE, ConnectionState

PAGE = Path(__file__).parents[2] / "docs" / "internals" / "protocol-states.md"

HEAD = """\
# The states of a connection and of a channel

Drawn from the tables in `protocol/states.py` by `python -m tests.protocol.state_page`: don't edit it here.

## A connection

`<` is what the peer sent on channel 0, `>` what the broker sent. Where the broker decides (may this user in? does the vhost
exist?) the peer's method leaves the state as it is, and the answer moves it. The first step is the 8-byte protocol header.
Whatever isn't drawn ends the handshake without a word; is 504 `unexpected method in connection state running` when running;
is dropped when closing; and is not looked at any more when closed.
"""

CHANNELS = """
## A channel

A channel is absent, open, or closing: closed by the broker, until the peer's close-ok.

| the peer sends | absent | open | open, inside a message | closing |
| --- | --- | --- | --- | --- |
"""


def render() -> str:
    """The whole page."""
    return HEAD + "\n".join(["", "```mermaid", "stateDiagram-v2", *_arrows(), "```", ""]) + CHANNELS + "\n".join(_rows()) + "\n"


def _arrows() -> list[str]:
    yields = [(ConnectionState.WAITING_HEADER, "< protocol header", ConnectionState.WAITING_HEADER)]
    yields += [(state, f"< {method.name}", after) for (state, method), after in CONNECTION_TABLE.items()]
    yields += [(state, f"> {method.name}", SENT_TABLE[method]) for state, method in SENDERS]
    drawn = [f"    {_name(state)} --> {_name(after)}: {label}" for state, label, after in yields]
    return [f"    [*] --> {_name(ConnectionState.WAITING_HEADER)}", *drawn, f"    {_name(ConnectionState.CLOSED)} --> [*]"]


