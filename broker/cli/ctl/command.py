"""What a command is, and one call of it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from broker import control
from broker.cli.ctl.errors import EXIT_TEMPORARY, EXIT_UNAVAILABLE, Failed, Invalid
from broker.cli.ctl.formats import MACHINE_READABLE, Output, Style

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from broker.cli.ctl.api import Api
    from broker.control import Found

ANY: Final = 1_000_000
"""As many arguments as are given."""


class Command(NamedTuple):
    """A command. `banner` is a template over the arguments ({0}, {1} ...), the options by name, and {node}."""

    run: Callable[[Call], Output | None]
    usage: str
    takes: tuple[int, int] = (0, 0)
    """How many arguments, at least and at most."""
    banner: str | Callable[[Call], str | None] | None = None
    options: Mapping[str, type] = {}
    """Names, and str, int, or bool for a switch."""
    short: Mapping[str, str] = {}
    """Letters that stand for options."""
    defaults: Mapping[str, Any] = {}
    check: Callable[[Call], None] | None = None
    """Raises Invalid for arguments that make no sense."""
    formatter: str = "string"
    """Without --formatter."""
    needs_broker: bool = True
    """The broker is looked for before anything is printed."""
    details: tuple[tuple[str, str], ...] = ()
    """For `help`: an argument or option, and what it is."""


class Call:
    """One call of a command: what was typed, the broker that it is for, and how to print."""

    def __init__(self, tool: str, name: str, command: Command, words: Sequence[str], arguments: list[str], options: dict[str, Any]) -> None:
        self.tool = tool
        self.name = name
        self.command = command
        self.words = words
        self.arguments = arguments
        self.options = {"vhost": "/", **command.defaults, **options}
        self.given = options
        """The options that were typed."""
        self._found: Found | None = None
        self._api: Api | None = None
        self._node: str | None = None

    # --- what was typed ---------------------------------------------------------------------------------------------

    @property
    def vhost(self) -> str:
        """--vhost."""
        vhost: str = self.options["vhost"]
        return vhost

    @property
    def quiet(self) -> bool:
        """Whether to print results alone."""
        return bool(self.options.get("quiet") or self.options.get("silent"))

    @property
    def silent(self) -> bool:
        """Whether to print results without headers, and no words where the exit status says all."""
        return bool(self.options.get("silent"))

    @property
    def formatter(self) -> str | None:
        """--formatter, None if it isn't given."""
        return self.options.get("formatter")

    @property
    def timeout_seconds(self) -> float | None:
        """--timeout or the command's own; None waits for ever."""
        return self.options.get("timeout")

    # --- the broker -------------------------------------------------------------------------------------------------

    @property
    def wanted_node(self) -> str | None:
        """The node's name if one was given: --node, or RABBITMQ_NODENAME as the broker reads it."""
        return self.options.get("node") or os.environ.get("RABBITMQ_NODENAME") or None

    @property
    def shown_node(self) -> str:
        """What to call the node before it was found: as it was asked for, or rabbit@HOST."""
        if self._node is not None:
            return self._node
        return self.wanted_node or f"rabbit@{os.uname().nodename.partition('.')[0]}"

    @property
    def found(self) -> Found:
        """The broker on this machine. Raises Failed."""
        if self._found is None:
            try:
                self._found = control.find(self.wanted_node)
            except control.NoBroker as error:
                raise node_down(self.shown_node, str(error)) from error
        return self._found

    @property
    def node(self) -> str:
        """The broker's node name. Raises Failed."""
        if self._node is None:
            self._node = str(self.api.get("overview", columns="node")["node"]) if self.url else self.found.node
        return self._node

    @property
    def url(self) -> str | None:
        """--url: an HTTP API to talk to instead of the control socket."""
        return self.options.get("url")

    @property
    def api(self) -> Api:
        """The HTTP API. Raises Failed."""
        if self._api is None:
            from broker.cli.ctl.api import Api, SocketTransport, TcpTransport, Transport

            transport: Transport
            if self.url:
                try:
                    transport = TcpTransport.of_url(self.url)
                except ValueError as error:
                    raise Invalid(str(error)) from error
            else:
                transport = SocketTransport(self.found)
            if self.timeout_seconds is not None and self.timeout_seconds <= 0:
                raise self.timed_out()
            self._api = Api(transport, self.timeout_seconds)
        return self._api

    def timed_out(self) -> Failed:
        """What to raise when no answer came in time."""
        seconds = self.timeout_seconds
        text = f"Error: operation {self.name} on node {self.shown_node} timed out."
        return Failed(f"{text} Timeout value used: {int((seconds or 0) * 1000)}", EXIT_TEMPORARY)

    # --- printing ---------------------------------------------------------------------------------------------------

    def banner(self) -> str | None:
        """What to print first; None: nothing."""
        if self.quiet or self.formatter in MACHINE_READABLE or self.command.banner is None:
            return None
        if callable(self.command.banner):
            return self.command.banner(self)
        return self.command.banner.format(*self.arguments, **self.options | {"node": self.node})

    def say(self, text: str) -> None:
        """Print a line at once: for commands that take their time. Not with --quiet or --silent."""
        if not self.quiet:
            write_line(text)

    def style(self) -> Style:
        """How to print."""
        formatter = self.formatter
        terminal = sys.stdout.isatty()
        return Style(
            formatter or self.command.formatter,
            headers=not self.silent and self.options.get("table_headers", True),
            aligned=terminal and formatter is None,
            colours=colours(terminal),
        )

    def ok(self, text: str | None = None, **facts: Any) -> Output:
        """Success: `text`, and in JSON {"result": "ok"} with the facts."""
        return Output(text, json=dict(sorted({"result": "ok", **facts}.items())))

    def done(self) -> Output:
        """Success of a command that has nothing to tell."""
        return self.ok(node=self.node)


def colours(terminal: bool) -> bool:
    """Whether to print escapes (https://no-color.org)."""
    return terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def write_line(text: str) -> None:
    """Print at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def node_down(node: str, why: str) -> Failed:
    """What is said when there is no broker to talk to: RabbitMQ's first line, which scripts look for, and what is known here."""
    return Failed(
        f"Error: unable to perform an operation on node '{node}'. Please see diagnostics information and suggestions below.\n\n"
        f"{why[:1].upper()}{why[1:]}.\n\n"
        " * Is the broker running, as this user or as one whose files this user may use?\n"
        " * Is it in another container or on another machine? Run the command there, or give it --url http://user:password@host:15672\n"
        " * Does LEVERET_RUNTIME_DIR name the same directory for both?\n",
        EXIT_UNAVAILABLE,
    )
