"""Users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broker.access.users import User
from broker.admin import lists
from broker.admin.call import Answer, created, done
from broker.admin.errors import BadRequest, NoSuchObject
from broker.admin.routing import Access, Route
from broker.admin.shapes import user as shape
from broker.core.permissions import Permissions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broker.admin.bodies import Body
    from broker.admin.call import Call

_ELSEWHERE: Final = ("permissions", "topic_permissions", "administrator", "name")
"""What a body may have beside what a user is made of."""


def named(call: Call) -> User:
    """The user in the path. Raises NoSuchObject."""
    found = call.operations.users.get(call.path["user"])
    if found is None:
        raise NoSuchObject
    return found


async def list_users(call: Call) -> Answer:
    """Lists all users, with hashes of their passwords."""
    return await _list(call, call.operations.users)


async def list_users_without_permissions(call: Call) -> Answer:
    """Lists the users who may enter no virtual host."""
    return await _list(call, (user for user in call.operations.users if not user.vhosts()))


async def _list(call: Call, users: Iterable[User]) -> Answer:
    return await lists.answer(call, list(users), shape.of_user, default_sort=("name",))


def get_user(call: Call) -> Any:
    """Describes a user."""
    return shape.of_user(named(call))


async def put_user(call: Call) -> Answer:
    """Creates a user, or gives it another password and other tags. Without a password nobody logs in with one."""
    body = await call.body()
    name = call.path["user"]
    is_new = name not in call.operations.users
    user = _user_of(call, body)
    permissions = {vhost: _patterns_of(given) for vhost, given in body.object("permissions").items()} if is_new else {}
    for vhost, patterns in permissions.items():
        # All or nothing: what can't be granted is refused before there is a user.
        call.operations.vhost(vhost)
        Permissions(*patterns)
    call.operations.put_user(user, acting_user=call.user_name)
    for vhost, patterns in permissions.items():
        call.operations.set_permissions(name, vhost, *patterns, acting_user=call.user_name)
    await call.commit()
    return created() if is_new else done()


def _patterns_of(given: Any) -> list[str]:
    return [str(given.get(kind, "")) if isinstance(given, dict) else "" for kind in ("configure", "write", "read")]


def _user_of(call: Call, body: Body) -> User:
    """The user that a body describes. Raises BadRequest."""
    if body.values.get("tags") is not None:
        tags = body.values["tags"]
    elif "administrator" in body:
        tags = ["administrator"] if body.flag("administrator") else []
    else:
        raise BadRequest("tags_not_present")
    if "password" in body and "password_hash" in body:
        raise BadRequest("both_password_and_password_hash_are_provided")
    document = {key: value for key, value in body.values.items() if key not in _ELSEWHERE}
    try:
        return User.from_json({**document, "name": call.path["user"], "tags": tags}, call.operations.hashing_algorithm)
    except ValueError as error:
        raise BadRequest(str(error)) from error


async def delete_user(call: Call) -> Answer:
    """Deletes a user with all that was granted to it; its connections are closed."""
    call.operations.delete_user(named(call).name, acting_user=call.user_name)
    await call.commit()
    return done()


async def delete_users(call: Call) -> Answer:
    """Deletes the users whose names are listed; those that aren't there are passed over."""
    body = await call.body(None)
    body.require("users")
    names = body.values["users"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadRequest("users: expected a list of names")
    for name in dict.fromkeys(names):
        if name in call.operations.users:
            call.operations.delete_user(name, acting_user=call.user_name)
    await call.commit()
    return done()


_PUT: Final = {
    "tags": "string|[string]",
    "password password_hash hashing_algorithm": "string",
    "limits": "{integer}",
    "permissions": "{Permissions}",
    "administrator": "boolean",
}
ROUTES: Final = (
    Route("GET", "/api/users", list_users, Access.ADMINISTRATOR, query=lists.PAGED, shows="[User]"),
    Route("GET", "/api/users/without-permissions", list_users_without_permissions, Access.ADMINISTRATOR, query=lists.PAGED, shows="[User]"),
    Route("POST", "/api/users/bulk-delete", delete_users, Access.ADMINISTRATOR, {"users": "[string]!"}),
    Route("GET", "/api/users/{user}", get_user, Access.ADMINISTRATOR, shows="User"),
    Route("PUT", "/api/users/{user}", put_user, Access.ADMINISTRATOR, _PUT),
    Route("DELETE", "/api/users/{user}", delete_user, Access.ADMINISTRATOR),
)
