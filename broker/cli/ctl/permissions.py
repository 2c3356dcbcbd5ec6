"""Commands about what users may do in virtual hosts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from broker.cli.ctl.command import Call, Command
from broker.cli.ctl.errors import EXIT_NO_USER, Failed, Refused, error, no_such_vhost
from broker.cli.ctl.formats import Output
from broker.cli.ctl.users import exists, no_such_user

if TYPE_CHECKING:
    from collections.abc import Callable

_VHOST: Final = {"timeout": int}
_PATTERNS: Final = (
    ("<username>", "the user's name"),
    ("<conf>", "regular expression: what it may declare and delete"),
    ("<write>", "regular expression: what it may publish to and bind"),
    ("<read>", "regular expression: what it may consume from"),
)


def set_permissions(call: Call) -> Output:
    """configure, write and read in --vhost."""
    user, configure, write, read = call.arguments
    body = {"configure": configure, "write": write, "read": read}
    _grant(call, user, lambda: call.api.put("permissions", call.vhost, user, body=body))
    return call.done()


def set_permissions_globally(call: Call) -> Output:
    """In all vhosts that there are now."""
    user, configure, write, read = call.arguments
    body = {"configure": configure, "write": write, "read": read}
    for vhost in call.api.get("vhosts", columns="name"):
        _grant(call, user, partial(call.api.put, "permissions", vhost["name"], user, body=body))
    return call.done()


def clear_permissions(call: Call) -> Output:
    """The user enters --vhost no more."""
    user = call.arguments[0]
    _grant(call, user, lambda: call.api.delete("permissions", call.vhost, user), none_is_fine=True)
    return call.done()


def list_permissions(call: Call) -> Output:
    """user, configure, write, read."""
    return _of_vhost(call, "permissions", "user", "configure", "write", "read")


def list_user_permissions(call: Call) -> Output:
    """vhost, configure, write, read."""
    return _of_user(call, "permissions", "vhost", "configure", "write", "read")


def set_topic_permissions(call: Call) -> Output:
    """write and read of routing keys of a topic exchange."""
    user, exchange, write, read = call.arguments
    body = {"exchange": exchange, "write": write, "read": read}
    _grant(call, user, lambda: call.api.put("topic-permissions", call.vhost, user, body=body))
    return call.done()


def clear_topic_permissions(call: Call) -> Output:
    """Of one exchange, or of all in --vhost."""
    user, *exchange = call.arguments
    _grant(call, user, lambda: call.api.delete("topic-permissions", call.vhost, user, *exchange), none_is_fine=True)
    return call.done()


def list_topic_permissions(call: Call) -> Output:
    """user, exchange, write, read."""
    return _of_vhost(call, "topic-permissions", "user", "exchange", "write", "read")


def list_user_topic_permissions(call: Call) -> Output:
    """vhost, exchange, write, read."""
    return _of_user(call, "topic-permissions", "vhost", "exchange", "write", "read")


def _of_vhost(call: Call, what: str, *columns: str) -> Output:
    try:
        granted = call.api.get("vhosts", call.vhost, what)
    except Refused as refused:
        raise no_such_vhost(call.vhost) if refused.status == 404 else error(refused.reason) from refused
    return Output(rows=[_row(each, *columns) for each in granted], whole=True)


def _of_user(call: Call, what: str, *columns: str) -> Output:
    user = call.arguments[0]
    try:
        granted = call.api.get("users", user, what)
    except Refused as refused:
        raise no_such_user(refused, user) from refused
    return Output(rows=[_row(each, *columns) for each in granted], whole=True)


def _row(granted: dict[str, Any], *columns: str) -> dict[str, Any]:
    return {name: granted[name] for name in columns}


def _grant(call: Call, user: str, act: Callable[[], object], *, none_is_fine: bool = False) -> None:
    """Have it done; if it can't be, find out whether the user or the vhost is missing."""
    try:
        act()
    except Refused as refused:
        if refused.status not in (400, 404):
            raise
        if not exists(call, user):
            facts = {"result": "error", "node": call.node, "message": f"User {user} does not exist"}
            status = 69 if call.formatter == "json" else EXIT_NO_USER
            raise Failed(f"Error:\nUser {user} does not exist", status, facts) from refused
        if not _has_vhost(call):
            facts = {"result": "error", "node": call.node, "message": f"Virtual host {call.vhost} does not exist"}
            raise Failed(f"Error:\nVirtual host {call.vhost} does not exist", facts=facts) from refused
        if not (none_is_fine and refused.status == 404):
            raise


def _has_vhost(call: Call) -> bool:
    try:
        call.api.get("vhosts", call.vhost)
    except Refused as refused:
        if refused.status == 404:
            return False
        raise
    return True


COMMANDS: Final = {
    "set_permissions": Command(
        set_permissions,
        "set_permissions [--vhost <vhost>] <username> <conf> <write> <read>",
        (4, 4),
        'Setting permissions for user "{0}" in vhost "{vhost}" ...',
        details=_PATTERNS,
    ),
    "set_permissions_globally": Command(
        set_permissions_globally,
        "set_permissions_globally <username> <conf> <write> <read>",
        (4, 4),
        'Setting permissions for user "{0}" in all virtual hosts ...',
        details=_PATTERNS,
    ),
    "clear_permissions": Command(
        clear_permissions,
        "clear_permissions [--vhost <vhost>] <username>",
        (1, 1),
        'Clearing permissions for user "{0}" in vhost "{vhost}" ...',
    ),
    "list_permissions": Command(
        list_permissions,
        "list_permissions [--vhost <vhost>] [--no-table-headers]",
        banner='Listing permissions for vhost "{vhost}" ...',
        options=_VHOST,
        formatter="table",
    ),
    "list_user_permissions": Command(
        list_user_permissions,
        "list_user_permissions [--no-table-headers] <username>",
        (1, 1),
        'Listing permissions for user "{0}" ...',
        options=_VHOST,
        formatter="table",
    ),
    "set_topic_permissions": Command(
        set_topic_permissions,
        "set_topic_permissions [--vhost <vhost>] <username> <exchange> <write> <read>",
        (4, 4),
        'Setting topic permissions on "{1}" for user "{0}" in vhost "{vhost}" ...',
    ),
    "clear_topic_permissions": Command(
        clear_topic_permissions,
        "clear_topic_permissions [--vhost <vhost>] <username> [<exchange>]",
        (1, 2),
        lambda call: (
            f'Clearing topic permissions on "{call.arguments[1]}" for user "{call.arguments[0]}" in vhost "{call.vhost}" ...'
            if len(call.arguments) > 1
            else f'Clearing topic permissions for user "{call.arguments[0]}" in vhost "{call.vhost}" ...'
        ),
    ),
    "list_topic_permissions": Command(
        list_topic_permissions,
        "list_topic_permissions [--vhost <vhost>] [--no-table-headers]",
        banner='Listing topic permissions for vhost "{vhost}" ...',
        options=_VHOST,
        formatter="table",
    ),
    "list_user_topic_permissions": Command(
        list_user_topic_permissions,
        "list_user_topic_permissions [--no-table-headers] <username>",
        (1, 1),
        'Listing topic permissions for user "{0}" ...',
        options=_VHOST,
        defaults={"table_headers": False},
        formatter="table",
    ),
}
