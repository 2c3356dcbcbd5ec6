"""Logging in: whether it would work, how often it did, and hashes of passwords."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from broker.access import passwords
from broker.admin.access import MANAGERS
from broker.admin.authentication import basic_auth_is_on, count, log_in_as
from broker.admin.call import Answer, done
from broker.admin.errors import NOT_MANAGEMENT_USER, BadRequest, NoSuchObject, NotAuthenticated, NotAuthorised
from broker.admin.routing import Access, Route
from broker.core.permissions import octets

if TYPE_CHECKING:
    from broker.access.attempts import Attempts, Count
    from broker.admin.call import Call

FORM_BYTES_MAX: Final = 8192
"""Of a login: whoever sends it may be anybody."""


def get_auth(_call: Call) -> Any:
    """Tells how browsers log in: with a name and a password, and not by OAuth."""
    return {"oauth_enabled": False}


async def login(call: Call) -> Any:
    """Checks a name and a password, sent as a form (`username`, `password`). No session comes of it: each request says who asks."""
    basic_auth_is_on(call.context)
    form = parse_qs((await call.read(FORM_BYTES_MAX)).decode("utf-8", "surrogateescape"), keep_blank_values=True, errors="surrogateescape")
    if "username" not in form or "password" not in form:
        raise NotAuthenticated
    name = form["username"][0]
    identity = await log_in_as(call.context, name, octets(form["password"][0]), call.request)
    is_manager = not MANAGERS.isdisjoint(identity.tags)
    count(call.context, call.peer_address, name, succeeded=is_manager)
    if not is_manager:
        raise NotAuthorised(NOT_MANAGEMENT_USER)
    return "ok"


def hash_password(call: Call) -> Any:
    """Hashes a password, for definitions and for a user's `password_hash`."""
    return {"ok": passwords.encode(passwords.hash_password(octets(call.path["password"]), call.operations.hashing_algorithm))}


async def hash_password_in_body(call: Call) -> Any:
    """The same for a password in the body, which no log of a proxy sees: {"password": "..."}."""
    body = await call.body()
    password = body.text("password")
    if not password:
        raise BadRequest("password: expected text that isn't empty")
    return {"ok": passwords.encode(passwords.hash_password(octets(password), call.operations.hashing_algorithm))}


# --- attempts -------------------------------------------------------------------------------------------------------


def list_attempts(call: Call) -> Any:
    """Counts logins by protocol, since the start or the last reset."""
    return [{"protocol": protocol, **_counted(found)} for protocol, found in _attempts(call).by_protocol.items()]


def list_attempts_by_source(call: Call) -> Any:
    """Counts logins by address, user and protocol; of the 1000 sources that tried last."""
    return [
        {"remote_address": source.address, "username": source.user, "protocol": source.protocol, **_counted(found)}
        for source, found in _attempts(call).by_source.items()
    ]


def reset_attempts(call: Call) -> Answer:
    """Counts logins from nothing again."""
    _attempts(call).reset()
    return done()


def _attempts(call: Call) -> Attempts:
    if call.path["node"] != call.context.node.name:
        raise NoSuchObject
    return call.context.authentication.attempts


def _counted(found: Count) -> dict[str, int]:
    return {"auth_attempts": found.total, "auth_attempts_failed": found.failed, "auth_attempts_succeeded": found.succeeded}


_ATTEMPTS: Final = "/api/auth/attempts/{node}"
_FORM: Final = ("application/x-www-form-urlencoded",)
_COUNTS: Final = {"auth_attempts auth_attempts_failed auth_attempts_succeeded": "integer!", "protocol": "string!"}
SCHEMAS: Final = {
    "Auth": {"oauth_enabled": "boolean!"},
    "Hash": {"ok": "string!"},
    "Attempts": _COUNTS,
    "AttemptsBySource": _COUNTS | {"remote_address username": "string!"},
}
ROUTES: Final = (
    Route("GET", "/api/auth", get_auth, Access.ANYBODY, shows="Auth"),
    Route("POST", "/api/login", login, Access.ANYBODY, {"username password": "string!"}, shows="'ok'", refusals=(401,), body_types=_FORM),
    Route("GET", "/api/auth/hash_password/{password}", hash_password, Access.ADMINISTRATOR, shows="Hash"),
    Route("POST", "/api/leveret/hash-password", hash_password_in_body, Access.ADMINISTRATOR, {"password": "string!"}, shows="Hash"),
    Route("GET", _ATTEMPTS, list_attempts, Access.MONITORING, shows="[Attempts]"),
    Route("GET", f"{_ATTEMPTS}/source", list_attempts_by_source, Access.MONITORING, shows="[AttemptsBySource]"),
    Route("DELETE", _ATTEMPTS, reset_attempts, Access.MONITORING),
    Route("DELETE", f"{_ATTEMPTS}/source", reset_attempts, Access.MONITORING),
)
