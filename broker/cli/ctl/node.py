"""Commands that start, stop and tune the node."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from broker import control
from broker.cli.ctl import units
from broker.cli.ctl.command import Call, Command
from broker.cli.ctl.errors import EXIT_DATA, EXIT_SOFTWARE, Failed, Invalid, Refused, bad_argument, error
from broker.cli.ctl.formats import Output
from broker.cli.ctl.health import do_nothing

if TYPE_CHECKING:
    from collections.abc import Callable

TICK_SECONDS: Final = 0.02
STARTUP_SECONDS: Final = 300
WAIT_SECONDS: Final = 10
SHUTDOWN_SECONDS: Final = 120
CONTROL: Final = ("leveret", "ctl")
LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency", "none")
NO_SUCH_LEVEL: Final = "level {} is not supported. Try one of debug, info, warning, error, critical, none"


# --- waiting ------------------------------------------------------------------------------------------------------------


def await_startup(call: Call) -> Output | None:
    """Until the broker is there and answers."""
    deadline = time.monotonic() + (call.timeout_seconds or 0)
    while True:
        try:
            control.find(call.wanted_node)
        except control.NotRunning as missing:
            if call.url is None:
                if time.monotonic() >= deadline:
                    raise call.timed_out() from missing
                time.sleep(TICK_SECONDS)
                continue
        except control.NoBroker:
            pass
        if call.api.get(*CONTROL, "facts")["state"] == "running":
            return call.done() if call.formatter == "json" else None
        if time.monotonic() >= deadline:
            raise call.timed_out()
        time.sleep(TICK_SECONDS)


def await_online_nodes(call: Call) -> Output:
    """One is all there ever is."""
    if int(call.arguments[0]) > 1:
        raise error(f"Error: timed out while waiting. Not enough nodes joined {call.node}'s cluster.", EXIT_SOFTWARE)
    return call.done()


def _check_count(call: Call) -> None:
    if not (call.arguments[0].isdecimal() and int(call.arguments[0]) > 0):
        raise Invalid("Bad argument: Argument must be a positive integer", EXIT_DATA)


def wait(call: Call) -> Output | None:
    """Until the broker whose pid file or pid that is answers."""
    deadline = time.monotonic() + (call.timeout_seconds or WAIT_SECONDS)
    say: Callable[[str], object] = (lambda text: None) if call.options.get("quiet") else call.say
    if call.arguments:
        say(f"Waiting for pid file '{call.arguments[0]}' to appear")
        pid = _wait_for_pid(call, call.arguments[0], deadline)
        say(f"pid is {pid}")
    else:
        pid = call.options["pid"]
    shown = call.shown_node
    say(f"Waiting for erlang distribution on node '{shown}' while OS process '{pid}' is running")
    while not _is_there(call):
        if not control.is_alive(pid):
            raise error("Error: process is not running.")
        if time.monotonic() >= deadline:
            raise Failed(f"Error: operation wait on node {shown} timed out. Timeout value used: {_milliseconds(call)}", 75)
        time.sleep(TICK_SECONDS)
    say(f"Waiting for applications 'rabbit_and_plugins' to start on node '{call.node}'")
    call.api.get("whoami")
    say(f"Applications 'rabbit_and_plugins' are running on node '{call.node}'")
    return None


def _milliseconds(call: Call) -> int:
    return int((call.timeout_seconds or WAIT_SECONDS) * 1000)


def _is_there(call: Call) -> bool:
    try:
        control.find(call.wanted_node)
    except control.NotRunning:
        return False
    except control.NoBroker:
        return True
    return True


def _wait_for_pid(call: Call, path: str, deadline: float) -> int:
    while True:
        try:
            return control.read_pid(path)
        except FileNotFoundError:
            pass
        except OSError as problem:
            raise error(f"Error: could not read pid. Detail: {problem.strerror}") from problem
        except ValueError as problem:
            if os.path.getsize(path):
                raise error("Error: garbage in pid file.") from problem
        if time.monotonic() >= deadline:
            where = call.shown_node
            raise Failed(f"Error: operation wait on node {where} timed out. Timeout value used: {_milliseconds(call)}", 75)
        time.sleep(TICK_SECONDS)


def _check_wait(call: Call) -> None:
    if call.arguments and "pid" in call.options:
        raise Invalid('"Cannot specify both pid and pidfile"')
    if not call.arguments and "pid" not in call.options:
        raise Invalid('"No pid or pidfile specified"')


# --- stopping -----------------------------------------------------------------------------------------------------------


def stop(call: Call) -> Output | None:
    """And with a pid file, wait until the process has ended."""
    pid: int | None = None
    problem: Exception | None = None
    if call.arguments:
        try:
            pid = control.read_pid(call.arguments[0])
        except (OSError, ValueError) as failed:
            problem = failed
    try:
        call.api.post(*CONTROL, "stop")
    except Failed:
        if not call.options["idempotent"]:
            raise
        return Output(f"Node {call.shown_node} is no longer running")
    if problem is not None:
        raise error(f"could not read pid from file {call.arguments[0]}. Error: {problem}")
    if pid is None:
        return None
    _wait_for_death(call, pid)
    return Output(f"process {pid} (take from pid file {call.arguments[0]}) is no longer running")


def _stopping(call: Call) -> str:
    where = call.shown_node if call.options["idempotent"] else call.node
    watching = f" (will monitor pid file {call.arguments[0]})" if call.arguments else ""
    return f"Stopping and halting node {where}{watching} ..."


def shutdown(call: Call) -> Output | None:
    """And wait until the process has ended."""
    if not call.options["wait"]:
        call.api.post(*CONTROL, "stop")
        return None
    if call.url:
        raise error("a process on another machine can't be watched: give --no-wait")
    node, pid = call.node, call.found.pid
    call.say(f"Shutting down RabbitMQ node {node} running at PID {pid}")
    call.api.post(*CONTROL, "stop")
    call.say(f"Waiting for PID {pid} to terminate")
    _wait_for_death(call, pid)
    return Output(f"RabbitMQ node {node} running at PID {pid} successfully shut down")


def _wait_for_death(call: Call, pid: int) -> None:
    deadline = time.monotonic() + (call.timeout_seconds or SHUTDOWN_SECONDS)
    while control.is_alive(pid):
        if time.monotonic() >= deadline:
            raise call.timed_out()
        time.sleep(TICK_SECONDS)


def stop_app(call: Call) -> Output:
    """The process stays, and lets no client in."""
    call.api.post(*CONTROL, "suspend")
    return call.done()


def start_app(call: Call) -> Output:
    """Clients come in again."""
    call.api.post(*CONTROL, "resume")
    return call.done()


def reset(call: Call) -> Output:
    """Everything is deleted, while the app is stopped."""
    try:
        call.api.post(*CONTROL, "reset")
    except Refused as refused:
        if refused.status == 400:
            raise Invalid(refused.reason, prefix="Error") from refused
        raise
    return call.done()


# --- tuning -------------------------------------------------------------------------------------------------------------


def set_memory(call: Call) -> Output:
    """A share of the machine's memory, or bytes."""
    first = call.arguments[0]
    body = {"absolute": units.size(call.arguments[1])} if first == "absolute" else {"relative": units.fraction(first)}
    call.api.put(*CONTROL, "memory-high-watermark", body=body)
    return call.done()


def _check_memory(call: Call) -> None:
    first, *rest = call.arguments
    if first == "absolute":
        if not rest:
            raise Invalid("not enough arguments.")
        if not rest[0][:1].isdecimal():
            raise bad_argument()
        try:
            units.size(rest[0])
        except Invalid:
            text = "The threshold should be an integer." if units.has_fraction(rest[0]) else "Invalid units."
            raise bad_argument(text) from None
    elif rest:
        raise Invalid("too many arguments.")
    elif units.fraction(first) > 1.0:
        raise bad_argument("The threshold should be a fraction between 0.0 and 1.0")


def set_disk(call: Call) -> Output:
    """Bytes, or a multiple of the machine's memory."""
    first = call.arguments[0]
    body = {"mem_relative": units.fraction(call.arguments[1])} if first == "mem_relative" else {"absolute": units.size(first)}
    call.api.put(*CONTROL, "disk-free-limit", body=body)
    return call.done()


def _check_disk(call: Call) -> None:
    first, *rest = call.arguments
    if first == "mem_relative":
        if not rest:
            raise Invalid("not enough arguments.")
        units.fraction(rest[0])
    elif rest:
        raise Invalid("too many arguments.")
    else:
        units.size(first)


def set_log_level(call: Call) -> Output:
    """Of all sinks and categories."""
    call.api.put(*CONTROL, "log-level", body={"level": call.arguments[0]})
    return call.done()


def _check_level(call: Call) -> None:
    if call.arguments[0] not in LEVELS:
        raise error(NO_SUCH_LEVEL.format(call.arguments[0]))


def rotate_logs(call: Call) -> Output:
    """The log file is opened again under its name."""
    call.api.post(*CONTROL, "rotate-logs")
    return call.done()


def force_gc(call: Call) -> Output:
    """Python's."""
    call.api.post(*CONTROL, "collect-garbage")
    return call.done()


def post_upgrade(call: Call) -> Output:
    """Nothing is to be done."""
    call.api.get("whoami")
    return Output("")


_TIMEOUT: Final = {"timeout": int}
_SUSPENDING: Final = "Will suspend client connection listeners on node {node}. The node will no longer accept client connections!"
_RESUMING: Final = "Will resume client connection listeners on node {node}. The node will now accept client connections"
_DRAINING: Final = "Will put node {node} into maintenance mode. The node will no longer serve any client traffic!"
_REVIVING: Final = (
    "Will put node {node} back into regular operating mode. The node will again serve client traffic and host primary queue replicas."
)
COMMANDS: Final = {
    "await_startup": Command(await_startup, "await_startup", options=_TIMEOUT, defaults={"timeout": STARTUP_SECONDS}, needs_broker=False),
    "await_online_nodes": Command(
        await_online_nodes,
        "await_online_nodes <count>",
        (1, 1),
        "Will wait for at least {0} nodes to join the cluster of {node}. Timeout: {timeout} seconds.",
        options=_TIMEOUT,
        defaults={"timeout": STARTUP_SECONDS},
        check=_check_count,
    ),
    "wait": Command(
        wait,
        "wait [<pidfile>] [--pid|-P <pid>]",
        (0, 1),
        options={"pid": int, "timeout": int},
        short={"P": "pid"},
        defaults={"timeout": WAIT_SECONDS},
        check=_check_wait,
        needs_broker=False,
        details=(("<pidfile>", "where the broker writes its process id (pid_file)"), ("--pid <pid>", "its process id")),
    ),
    "stop": Command(
        stop,
        "stop [--idempotent] [<pidfile>]",
        (0, 1),
        _stopping,
        options={"idempotent": bool},
        defaults={"idempotent": False},
        needs_broker=False,
        details=(
            ("<pidfile>", "wait until the process in this file has ended"),
            ("--idempotent", "it is no failure if no broker is running"),
        ),
    ),
    "shutdown": Command(
        shutdown,
        "shutdown [--wait]",
        options={"timeout": int, "wait": bool},
        defaults={"wait": True, "timeout": SHUTDOWN_SECONDS},
        details=(("--wait", "until the process has ended, which is the default"), ("--no-wait", "don't wait")),
    ),
    "start_app": Command(start_app, "start_app", banner="Starting node {node} ..."),
    "stop_app": Command(stop_app, "stop_app", banner="Stopping rabbit application on node {node} ..."),
    "reset": Command(reset, "reset", banner="Resetting node {node} ..."),
    "force_reset": Command(reset, "force_reset", banner="Forcefully resetting node {node} ..."),
    "suspend_listeners": Command(stop_app, "suspend_listeners", banner=_SUSPENDING),
    "resume_listeners": Command(start_app, "resume_listeners", banner=_RESUMING),
    "drain": Command(stop_app, "drain", banner=_DRAINING),
    "revive": Command(start_app, "revive", banner=_REVIVING),
    "post_upgrade": Command(post_upgrade, "post_upgrade", banner="Executing post upgrade tasks..."),
    "set_vm_memory_high_watermark": Command(
        set_memory,
        "set_vm_memory_high_watermark <fraction> | absolute <value>",
        (1, 2),
        lambda call: (
            f"Setting memory threshold on {call.node} to {call.arguments[1]} bytes ..."
            if call.arguments[0] == "absolute"
            else f"Setting memory threshold on {call.node} to {call.arguments[0]} ..."
        ),
        check=_check_memory,
        details=(("<fraction>", "of the machine's memory"), ("absolute <value>", "bytes, or with a unit: 1GB")),
    ),
    "set_disk_free_limit": Command(
        set_disk,
        "set_disk_free_limit <disk_limit> | mem_relative <fraction>",
        (1, 2),
        lambda call: (
            f"Setting disk free limit on {call.node} to {call.arguments[1]} times the total RAM ..."
            if call.arguments[0] == "mem_relative"
            else f"Setting disk free limit on {call.node} to {call.arguments[0]} bytes ..."
        ),
        check=_check_disk,
        details=(("<disk_limit>", "bytes, or with a unit: 1GB"), ("mem_relative <fraction>", "times the machine's memory")),
    ),
    "set_log_level": Command(set_log_level, "set_log_level <log_level>", (1, 1), 'Setting log level to "{0}" ...', check=_check_level),
    "rotate_logs": Command(rotate_logs, "rotate_logs"),
    "force_gc": Command(force_gc, "force_gc", banner="Will ask all processes on node {node} to schedule a full sweep GC", options=_TIMEOUT),
    **{
        name: Command(do_nothing, name, (0, 2), banner)
        for name, banner in {
            "activate_free_disk_space_monitoring": "[Re-]activating free disk space monitoring on node {node}...",
            "deactivate_free_disk_space_monitoring": "Deactivating free disk space monitoring on node {node}...",
            "reconcile_vhosts": "Will try to initiate virtual host reconciliation on all reachable cluster nodes...",
            "force_boot": "Forcing boot for Mnesia dir ...",
            "hipe_compile": "DEPRECATED. This command is a no-op. HiPE is no longer supported by modern Erlang versions",
            "remove_classic_queue_mirroring_from_policies": "Will remove classic queue mirroring from policies ...",
            "enable_auth_attempt_source_tracking": "Enabling auth attempt source tracking on node {node}...",
            "disable_auth_attempt_source_tracking": "Disabling auth attempt source tracking on node {node}...",
        }.items()
    },
}
