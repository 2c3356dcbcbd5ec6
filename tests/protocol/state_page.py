"""docs/internals/protocol-states.md, drawn from the tables in protocol/states.py.

`python -m tests.protocol.state_page` writes it; test_connection.py says when that has been forgotten.
"""

from pathlib import Path

from protocol.states import CLIENT_CHANNEL_METHODS, CONNECTION_TABLE, HANDSHAKE, SENT_TABLE, ConnectionState

PAGE = Path(__file__).parents[2] / "docs" / "internals" / "protocol-states.md"

HEAD = """\
# The states of a connection and of a channel

Drawn from the tables in `protocol/states.py` by `python -m tests.protocol.state_page`: don't edit it here.

## A connection

Solid arrows are methods of the peer's on channel 0, dotted ones the broker's. Where the broker decides (may this user in? does
the vhost exist?) the peer's method leaves the state as it is, and the answer moves it: tune, open-ok, close.

"""

CONNECTION_RULES = """
What isn't drawn

- in the handshake (@) ends it: no frame is sent, and the socket is closed after a while;
- when running is 504 `unexpected method in connection state running`;
- when closing is dropped;
- when closed isn't looked at.

## A channel

Absent, open, or closing: closed by the broker, until the peer's close-ok. Inside a message (behind basic.publish, until its body
is complete) every method is 505.

| the peer sends | absent | open | closing |
| --- | --- | --- | --- |
| Channel.Open | becomes open | 504 | 504 |
| Channel.Close | 504 | becomes absent | close-ok is sent |
| Channel.CloseOk | 504 | 503 | becomes absent |
| content header or body without a publish | 505 | 505 | dropped |
| connection.*, and what only a broker sends | 504 | 503 | dropped |
| one of those below | 504 | heard | dropped |

"""


def render() -> str:
    """The whole page."""
    rules = CONNECTION_RULES.replace("@", ", ".join(state.name for state in ConnectionState if state in HANDSHAKE))
    return HEAD + "```mermaid\n" + "\n".join(_graph()) + "\n```\n" + rules + "\n".join(_methods()) + "\n"


def _graph() -> list[str]:
    lines = ["flowchart LR", f"    socket(( )) -- protocol header --> {ConnectionState.WAITING_HEADER.name}"]
    lines += [f"    {state.name} -- {method.name} --> {after.name}" for (state, method), after in CONNECTION_TABLE.items()]
    lines += [f"    {method.name}>{method.name}] -.-> {after.name}" for method, after in SENT_TABLE.items()]
    return lines


def _methods() -> list[str]:
    return [f"- {name}" for name in sorted(CLIENT_CHANNEL_METHODS - {"Channel.Open", "Channel.Close"})]


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(render(), encoding="utf-8")
