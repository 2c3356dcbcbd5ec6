"""Commands about users."""

from __future__ import annotations

import base64
import sys
from typing import TYPE_CHECKING, Any, Final

from broker.cli.ctl.command import ANY, Call, Command
from broker.cli.ctl.errors import EXIT_DATA, EXIT_NO_USER, EXIT_SOFTWARE, Failed, Invalid, Refused, bad_argument, error
from broker.cli.ctl.formats import Output
from broker.cli.ctl.terms import Atom

if TYPE_CHECKING:
    from collections.abc import Callable

NOT_GIVEN: Final = "Password is not provided via argument or stdin"
GRANT: Final = (
    "Done. Don't forget to grant the user permissions to some virtual hosts! See 'rabbitmqctl help set_permissions' to learn more."
)
_USERNAME: Final = ("<username>", "the user's name")


def list_users(call: Call) -> Output:
    """user, tags."""
    users = call.api.get("users")
    return Output(rows=[{"user": user["name"], "tags": [Atom(tag) for tag in tags_of(user)]} for user in users])


def tags_of(user: dict[str, Any]) -> list[str]:
    """Newer servers send a list, older ones words with commas between them."""
    tags = user["tags"]
    return tags if isinstance(tags, list) else [tag for tag in tags.split(",") if tag]


def add_user(call: Call) -> Output:
    """A user who may enter no vhost yet."""
    name = call.arguments[0]
    hashed = call.options["pre_hashed_password"]
    password = (
        call.arguments[1] if len(call.arguments) > 1 else read_password(call, "Hashed and salted password: " if hashed else "Password: ")
    )
    if hashed and not _is_base64(password):
        raise error("Could not Base64 decode provided password hash value", EXIT_DATA)
    if exists(call, name):
        facts = {"result": "error", "node": call.node, "message": f"User {name} already exists"}
        raise Failed(f'Error:\nUser "{name}" already exists', 69 if call.formatter == "json" else EXIT_SOFTWARE, facts)
    given = {"password_hash": password} if hashed else {"password": password} if password else {"password_hash": ""}
    call.api.put("users", name, body={**given, "tags": ""})
    facts = {"status": "ok", "node": call.node, "message": GRANT}
    return Output(None if call.quiet else GRANT, json=dict(sorted(facts.items())))


def _check_add_user(call: Call) -> None:
    if len(call.arguments) == 2:
        if not call.arguments[0]:
            raise bad_argument("user cannot be an empty string")
        if call.options["pre_hashed_password"] and not _is_base64(call.arguments[1]):
            raise bad_argument("Could not Base64 decode provided password hash value")


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return True


def delete_user(call: Call) -> Output:
    """With all that it was granted."""
    _about_user(call, call.arguments[0], lambda name: call.api.delete("users", name))
    return call.done()


def change_password(call: Call) -> Output:
    """Connections stay open."""
    name = call.arguments[0]
    password = call.arguments[1] if len(call.arguments) > 1 else read_password(call, "Password: ", EXIT_SOFTWARE)
    _about_user(call, name, lambda name: call.api.put("leveret", "ctl", "users", name, "password", body={"password": password}))
    return call.done()


def clear_password(call: Call) -> Output:
    """Nobody logs in with one any more."""
    name = call.arguments[0]
    try:
        call.api.delete("leveret", "ctl", "users", name, "password")
    except Refused as refused:
        raise no_such_user(refused, name) from refused
    return call.done()


def set_user_tags(call: Call) -> Output:
    """In place of those there were."""
    name, *tags = call.arguments
    body = {"tags": [tag for word in tags for tag in word.split(",") if tag]}
    _about_user(call, name, lambda name: call.api.put("leveret", "ctl", "users", name, "tags", body=body))
    return call.done()


def authenticate_user(call: Call) -> Output:
    """Try a password."""
    name = call.arguments[0]
    password = call.arguments[1] if len(call.arguments) > 1 else read_password(call, "Password: ", EXIT_SOFTWARE)
    answer = call.api.post("leveret", "ctl", "users", name, "authenticate", body={"password": password})
    if not answer["authenticated"]:
        raise error(f'Error: failed to authenticate user "{name}"\n{answer["reason"]}', EXIT_DATA)
    return Output("Success")


def hash_password(call: Call) -> Output:
    """Salt and SHA-256, as definitions have it; no broker is asked."""
    import hashlib
    import os

    password = call.arguments[0] if call.arguments else read_password(call, "Password: ")
    salt = os.urandom(4)
    return Output(base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode())


def exists(call: Call, name: str) -> bool:
    """Whether there is such a user."""
    try:
        call.api.get("users", name)
    except Refused as refused:
        if refused.status == 404:
            return False
        raise
    return True


def read_password(call: Call, prompt: str, status: int = EXIT_DATA) -> str:
    """From the terminal without showing it, or a line of stdin. Raises Failed if there is none."""
    if sys.stdin.isatty():
        import getpass

        return getpass.getpass(prompt)
    if not call.quiet:
        sys.stdout.write(f"{prompt}\n")
        sys.stdout.flush()
    line = sys.stdin.readline()
    if not line:
        raise error(NOT_GIVEN, status)
    return line.strip()


def no_such_user(refused: Refused, name: str) -> Failed:
    """What commands say that have no words for it."""
    return error(f'{{:no_such_user, "{name}"}}') if refused.status == 404 else error(refused.reason)


def _about_user(call: Call, name: str, act: Callable[[str], object]) -> None:
    try:
        act(name)
    except Refused as refused:
        if refused.status != 404:
            raise
        facts = {"result": "error", "node": call.node, "message": f"User {name} does not exists"}
        status = 69 if call.formatter == "json" else EXIT_NO_USER
        raise Failed(f'Error:\nUser "{name}" does not exist', status, facts) from refused


def _check_hash(call: Call) -> None:
    if call.arguments and not call.arguments[0]:
        raise Invalid("Bad argument: password cannot be an empty string", EXIT_DATA)


COMMANDS: Final = {
    "list_users": Command(
        list_users, "list_users [--no-table-headers]", banner="Listing users ...", formatter="table", options={"timeout": int}
    ),
    "add_user": Command(
        add_user,
        "add_user <username> <password>",
        (1, 2),
        'Adding user "{0}" ...',
        options={"pre_hashed_password": bool},
        defaults={"pre_hashed_password": False},
        check=_check_add_user,
        details=(_USERNAME, ("<password>", "read from stdin if it isn't given; a blank one lets nobody log in with a password")),
    ),
    "delete_user": Command(delete_user, "delete_user <username>", (1, 1), 'Deleting user "{0}" ...', details=(_USERNAME,)),
    "change_password": Command(
        change_password,
        "change_password <username> <password>",
        (1, 2),
        'Changing password for user "{0}" ...',
        details=(_USERNAME, ("<password>", "read from stdin if it isn't given")),
    ),
    "clear_password": Command(
        clear_password, "clear_password <username>", (1, 1), 'Clearing password for user "{0}" ...', details=(_USERNAME,)
    ),
    "authenticate_user": Command(
        authenticate_user,
        "authenticate_user <username> <password>",
        (1, 2),
        'Authenticating user "{0}" ...',
        details=(_USERNAME, ("<password>", "read from stdin if it isn't given")),
    ),
    "set_user_tags": Command(
        set_user_tags,
        "set_user_tags <username> <tag> [...]",
        (1, ANY),
        lambda call: f'Setting tags for user "{call.arguments[0]}" to [{", ".join(call.arguments[1:])}] ...',
        details=(_USERNAME, ("<tag>", "administrator, monitoring, policymaker, management or any other word; none: no tags")),
    ),
    "hash_password": Command(
        hash_password, "hash_password <cleartext_password>", (0, 1), "Will hash password {0}", check=_check_hash, needs_broker=False
    ),
}
