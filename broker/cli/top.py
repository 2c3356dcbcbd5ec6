"""`leveret top`: what goes on in a running broker, live. With rich (pip install leveret[top]) in colours, without it as plain text.

Figures are the API's; rates are what the counters rose between two looks.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from broker.cli.main import EXIT_UNAVAILABLE, EXIT_USAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from broker.cli.ctl.api import Api

INTERVAL_SECONDS: Final = 2.0
COUNTERS: Final = (("publish", "in/s"), ("deliver_get", "out/s"), ("ack", "ack/s"))
SORTS: Final = ("messages", "ready", "unacked", "in", "out", "ack", "name")
QUEUE_COLUMNS: Final = "name,vhost,messages,messages_ready,messages_unacknowledged,consumers,state,message_stats"
CONNECTION_COLUMNS: Final = "name,user,vhost,state,channels,recv_oct,recv_oct_details,send_oct,send_oct_details,user_provided_name"
CLEAR: Final = "\x1b[H\x1b[J"


class Queue(NamedTuple):
    """A line of the upper table; rates are per second."""

    name: str
    vhost: str
    ready: int
    unacked: int
    rates: tuple[float, ...]
    consumers: int


class Connection(NamedTuple):
    """A line of the lower table."""

    name: str
    user: str
    vhost: str
    channels: int
    received_rate: float
    sent_rate: float
    state: str


class View(NamedTuple):
    """One look."""

    title: str
    lines: list[str]
    """About the broker as a whole."""
    queues: list[Queue]
    connections: list[Connection]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `leveret top` takes."""
    parser.epilog = "Ctrl-C ends it. In a pipe each look is printed below the last one."
    parser.add_argument("-n", "--node", metavar="NODE", help="the broker of that node name, where there are several")
    parser.add_argument("--url", metavar="URL", help="an HTTP API to ask instead: http://user:password@host:15672")
    parser.add_argument("--vhost", metavar="V", help="queues of this vhost alone (default: all)")
    parser.add_argument("--sort", metavar="BY", choices=SORTS, default="messages", help=f"order of queues: {', '.join(SORTS)}")
    parser.add_argument("--interval", metavar="S", type=_seconds, default=INTERVAL_SECONDS, help="seconds between two looks (default: 2)")
    parser.add_argument("--count", metavar="N", type=_count, help="end after so many looks (default: never)")


def run(arguments: argparse.Namespace) -> int:
    """Look again and again; returns the exit status, 69 without a broker."""
    from broker import control
    from broker.cli.ctl.api import Api, SocketTransport, TcpTransport, TimedOut, Transport, Unreachable
    from broker.cli.ctl.errors import Refused

    try:
        transport: Transport = TcpTransport.of_url(arguments.url) if arguments.url else SocketTransport(control.find(arguments.node))
        views = _views(Api(transport, 10), arguments)
        _show(views, once=arguments.count is not None)
    except ValueError as error:
        sys.stderr.write(f"leveret: {error}\n")
        return EXIT_USAGE
    except (control.NoBroker, Unreachable, Refused) as error:
        sys.stderr.write(f"leveret: {error}\n")
        return EXIT_UNAVAILABLE
    except TimedOut:
        sys.stderr.write("leveret: the broker doesn't answer\n")
        return EXIT_UNAVAILABLE
    except (KeyboardInterrupt, BrokenPipeError):
        return 0
    return 0


def _views(api: Api, arguments: argparse.Namespace) -> Iterator[View]:
    """Looks, `interval` apart."""
    rates, left = Rates(), arguments.count
    while left is None or left > 0:
        yield look(api, rates, arguments.vhost, arguments.sort)
        left = None if left is None else left - 1
        if left != 0:
            time.sleep(arguments.interval)


class Rates:
    """How fast counters rise, from one look to the next."""

    def __init__(self) -> None:
        self._before: dict[tuple[str, ...], int] = {}
        self._now: dict[tuple[str, ...], int] = {}
        self._seconds = 0.0
        self._then = time.monotonic()

    def begin(self) -> None:
        """Another look begins."""
        now = time.monotonic()
        self._seconds, self._then = now - self._then, now
        self._before, self._now = self._now, {}

    def of(self, stats: Mapping[str, Any], counter: str, *name: str) -> float:
        """Of a counter that the name tells apart; the broker's own figure at the first look."""
        value = stats.get(counter, 0)
        self._now[*name, counter] = value
        before = self._before.get((*name, counter))
        if before is None or value < before or not self._seconds:
            return float((stats.get(f"{counter}_details") or {}).get("rate", 0.0))
        return float((value - before) / self._seconds)


def look(api: Api, rates: Rates, vhost: str | None, sort: str) -> View:
    """Ask for everything. Raises Refused, Unreachable, TimedOut."""
    rates.begin()
    overview = api.get("overview")
    node = api.get("nodes", overview["node"])
    queues = [_queue(each, rates) for each in api.get("queues", *([vhost] if vhost else []), columns=QUEUE_COLUMNS)]
    connections = [_connection(each, rates) for each in api.get("connections", columns=CONNECTION_COLUMNS)]
    product = f"{overview.get('product_name', 'RabbitMQ')} {overview['rabbitmq_version']}"
    return View(
        f"{overview['node']}  {product}  up {_duration(node['uptime'] // 1000)}",
        _facts(overview, node, rates),
        sorted(queues, key=_order(sort)),
        sorted(connections, key=lambda each: -(each.received_rate + each.sent_rate)),
    )


def _queue(queue: dict[str, Any], rates: Rates) -> Queue:
    stats = queue.get("message_stats") or {}
    name, vhost = queue["name"], queue["vhost"]
    speeds = tuple(rates.of(stats, counter, "queue", vhost, name) for counter, _ in COUNTERS)
    ready, unacked = queue.get("messages_ready", 0), queue.get("messages_unacknowledged", 0)
    return Queue(name, vhost, ready, unacked, speeds, queue.get("consumers", 0))


def _connection(connection: dict[str, Any], rates: Rates) -> Connection:
    name = connection["name"]
    received, sent = (rates.of(connection, counter, "connection", name) for counter in ("recv_oct", "send_oct"))
    title = connection.get("user_provided_name") or name
    return Connection(
        title, connection["user"], connection["vhost"], connection["channels"], received, sent, connection.get("state", "running")
    )


def _order(sort: str) -> Callable[[Queue], Any]:
    keys: dict[str, Callable[[Queue], Any]] = {
        "messages": lambda queue: (-(queue.ready + queue.unacked), queue.name),
        "ready": lambda queue: (-queue.ready, queue.name),
        "unacked": lambda queue: (-queue.unacked, queue.name),
        "in": lambda queue: (-queue.rates[0], queue.name),
        "out": lambda queue: (-queue.rates[1], queue.name),
        "ack": lambda queue: (-queue.rates[2], queue.name),
        "name": lambda queue: (queue.vhost, queue.name),
    }
    return keys[sort]


def _facts(overview: dict[str, Any], node: dict[str, Any], rates: Rates) -> list[str]:
    totals, objects, stats = overview["queue_totals"], overview["object_totals"], overview.get("message_stats") or {}
    speeds = "  ".join(f"{_number(rates.of(stats, counter))} {title}" for counter, title in COUNTERS)
    alarms = [word for word, name in (("memory", "mem_alarm"), ("disk", "disk_free_alarm")) if node.get(name)]
    count = {name: f"{value:,}" for name, value in {**objects, **totals}.items() if isinstance(value, int)}
    messages = f"{count.get('messages', 0)}: {count.get('messages_ready', 0)} ready, {count.get('messages_unacknowledged', 0)} unacked"
    memory = f"{_bytes(node['mem_used'])} of {_bytes(node['mem_limit'])}"
    return [
        f"messages   {messages}   {speeds}",
        f"objects    {', '.join(f'{count[name]} {name}' for name in ('connections', 'channels', 'queues', 'consumers'))}",
        f"node       memory {memory}, disk free {_bytes(node['disk_free'])}, files {node['fd_used']:,} of {node['fd_total']:,}",
        f"alarms     {', '.join(alarms) if alarms else 'none'}",
    ]


# --- showing ------------------------------------------------------------------------------------------------------------


QUEUE_TITLES: Final = ("queue", "vhost", "ready", "unacked", *(title for _, title in COUNTERS), "consumers")
CONNECTION_TITLES: Final = ("connection", "user", "vhost", "channels", "received/s", "sent/s", "state")
LEFT: Final = ("queue", "vhost", "connection", "user", "state")
"""Columns of text; the others are numbers."""


def queue_cells(queue: Queue) -> list[str]:
    """As shown."""
    return [queue.name, queue.vhost, f"{queue.ready:,}", f"{queue.unacked:,}", *map(_number, queue.rates), f"{queue.consumers:,}"]


def connection_cells(connection: Connection) -> list[str]:
    """As shown."""
    received, sent = _bytes(connection.received_rate), _bytes(connection.sent_rate)
    return [connection.name, connection.user, connection.vhost, f"{connection.channels:,}", received, sent, connection.state]


def _show(views: Iterator[View], *, once: bool) -> None:
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb":
        try:
            import rich  # noqa: F401
        except ImportError:
            pass
        else:
            _show_rich(views, once=once)
            return
    for view in views:
        is_screen = sys.stdout.isatty() and not once
        size = shutil.get_terminal_size()
        text = plain(view, size.columns if is_screen else None, size.lines if is_screen else None)
        sys.stdout.write(f"{CLEAR}{text}\n" if is_screen else f"{text}\n\n")
        sys.stdout.flush()


def plain(view: View, columns: int | None, lines: int | None) -> str:
    """As text, cut to the screen if there is one."""
    room = None if lines is None else max(lines - len(view.lines) - 7, 2)
    shown_connections = view.connections if room is None else view.connections[: max(room // 3, 1)]
    shown_queues = view.queues if room is None else view.queues[: max(room - len(shown_connections), 1)]
    text = [view.title, *view.lines, ""]
    text += _aligned(QUEUE_TITLES, [queue_cells(queue) for queue in shown_queues])
    text += ["", *_aligned(CONNECTION_TITLES, [connection_cells(connection) for connection in shown_connections])]
    return "\n".join(line if columns is None else line[:columns] for line in text)


def _aligned(titles: tuple[str, ...], rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if title in LEFT else cell.rjust(width) for cell, width, title in zip(row, widths, titles, strict=True)
        ).rstrip()
        for row in [list(titles), *rows]
    ]


def _show_rich(views: Iterator[View], *, once: bool) -> None:
    """What ends by itself stays on the screen."""
    from rich.live import Live

    with Live(auto_refresh=False, screen=not once) as live:
        for view in views:
            live.update(rendered(view, shutil.get_terminal_size().lines), refresh=True)


def rendered(view: View, lines: int) -> Any:
    """As rich shows it."""
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    room = max(lines - len(view.lines) - 9, 2)
    shown_connections = view.connections[: max(room // 3, 1)]

    def table(titles: tuple[str, ...], rows: list[list[str]], style: str) -> Table:
        made = Table(box=None, expand=True, header_style=f"bold {style}", pad_edge=False)
        for title in titles:
            made.add_column(title, justify="left" if title in LEFT else "right", no_wrap=True)
        for row in rows:
            made.add_row(*map(escape, row))
        return made

    alarmed = not view.lines[-1].endswith("none")
    return Group(
        Text(view.title, style="bold reverse"),
        *(Text(line, style="bold red" if alarmed and line is view.lines[-1] else "") for line in view.lines),
        Text(),
        table(QUEUE_TITLES, [queue_cells(queue) for queue in view.queues[: room - len(shown_connections)]], "cyan"),
        Text(),
        table(CONNECTION_TITLES, [connection_cells(connection) for connection in shown_connections], "green"),
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.1f}"


def _bytes(size: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def _duration(seconds: int) -> str:
    days, seconds = divmod(seconds, 86_400)
    hours, seconds = divmod(seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    return f"{days}d " * bool(days) + f"{hours:02}:{minutes:02}:{seconds:02}"


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.05 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"'{text}': expected 0.05 to 3600 seconds")
    return value


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}': expected a number of 1 or more")
    return int(text)
