"""Users, and what is granted to them, as the API shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broker import definitions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broker.access.users import User

SCHEMAS: Final = {
    "User": {"name password_hash hashing_algorithm": "string", "tags": "[string]", "limits": "{integer}"},
    "Permissions": {"user vhost configure write read": "string"},
    "TopicPermissions": {"user vhost exchange write read": "string"},
}


def of_user(user: User) -> dict[str, Any]:
    """GET /api/users/{user}"""
    return definitions.of_user(user.to_json())


def permissions_of(users: Iterable[User], vhost: str | None = None) -> list[dict[str, Any]]:
    """What users may do, in one vhost or in all."""
    return [
        {"user": user.name, "vhost": each, "configure": given.configure, "write": given.write, "read": given.read}
        for user in users
        for each in user.vhosts()
        if vhost in (None, each) and (given := user.permissions(each)) is not None
    ]


def topic_permissions_of(users: Iterable[User], vhost: str | None = None) -> list[dict[str, Any]]:
    """Which routing keys they may use, in one vhost or in all."""
    return [
        {"user": user.name, "vhost": each, "exchange": exchange, "write": given.write, "read": given.read}
        for user in users
        for (each, exchange), given in user.topic_permissions().items()
        if vhost in (None, each)
    ]
