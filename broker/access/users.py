"""The users of the internal database (https://www.rabbitmq.com/docs/access-control#user-management)."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from broker.access import passwords
from broker.core.permissions import Identity, Permissions, TopicPermissions, octets

LOOPBACK_USERS: Final = ("guest",)
"""Who may by default connect from this machine only."""


class User(Identity):
    """An identity with a password: `password_hash` (empty: no password opens it) and its `hashing_algorithm`.

    `tag_list` is the tags in the order in which they were given, for whoever compares what it wrote with what it reads (Terraform does).

    Raises ValueError for an empty name or an unknown algorithm.
    """

    __slots__ = ("hashing_algorithm", "password_hash", "tag_list")

    def __init__(
        self,
        name: str,
        tags: Iterable[str] = (),
        *,
        password_hash: bytes = b"",
        hashing_algorithm: str = passwords.SHA256,
        limits: Mapping[str, int] | None = None,
    ) -> None:
        self.tag_list = tuple(dict.fromkeys(tags))
        super().__init__(name, self.tag_list, limits)
        if not name:
            raise ValueError("a user needs a name")
        if hashing_algorithm not in passwords.ALGORITHMS:
            raise ValueError(f"unknown hashing algorithm '{hashing_algorithm}'")
        self.password_hash = password_hash
        self.hashing_algorithm = hashing_algorithm

    def has_password(self, password: bytes) -> bool:
        """Whether the password opens this user; an empty one opens none."""
        return passwords.is_password(password, self.password_hash, self.hashing_algorithm) and password != b""

    def set_password(self, password: bytes, algorithm: str = passwords.SHA256) -> None:
        """Take a new password; connections that are open stay open."""
        self.password_hash = passwords.hash_password(password, algorithm)
        self.hashing_algorithm = algorithm

    def clear_password(self) -> None:
        """No password opens this user from now on."""
        self.password_hash = b""

    def set_tags(self, tags: Iterable[str]) -> None:
        """Put these tags in place of those there were."""
        self.tag_list = tuple(dict.fromkeys(tags))
        self.tags = frozenset(self.tag_list)
        self.revision += 1

    def to_json(self) -> dict[str, Any]:
        """The user as the catalog keeps it: RabbitMQ's definition of a user, and what is granted to it beside that."""
        granted = ((vhost, self.permissions(vhost)) for vhost in self.vhosts())
        return {
            "name": self.name,
            "password_hash": passwords.encode(self.password_hash),
            "hashing_algorithm": self.hashing_algorithm,
            "tags": list(self.tag_list),
            "limits": self.limits,
            "permissions": [
                {"vhost": vhost, "configure": given.configure, "write": given.write, "read": given.read}
                for vhost, given in granted
                if given is not None
            ],
            "topic_permissions": [
                {"vhost": vhost, "exchange": exchange, "write": given.write, "read": given.read}
                for (vhost, exchange), given in self.topic_permissions().items()
            ],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any], algorithm: str = passwords.SHA256) -> "User":
        """The user that `to_json` wrote, or one of RabbitMQ's definitions (`password` in place of the hash, tags as `a,b`). A password or a
        hash that doesn't say which algorithm it is for is for this one.

        Raises ValueError for what is neither, InvalidPattern (a ValueError) for a permission among it.
        """
        name, tags, limits = document.get("name"), document.get("tags"), document.get("limits") or {}
        if not isinstance(name, str):
            raise ValueError("a user needs a name")
        if not isinstance(limits, Mapping):
            raise ValueError(f"limits of user '{name}' are not an object")
        algorithm = document.get("hashing_algorithm") or algorithm
        if not isinstance(algorithm, str):
            raise ValueError(f"hashing_algorithm of user '{name}' is not text")
        user = cls(name, tags_of(tags), password_hash=_hash_in(document, algorithm), hashing_algorithm=algorithm, limits=limits)
        for given in document.get("permissions", ()):
            vhost, *patterns = _texts(given, "vhost", "configure", "write", "read")
            user.grant(vhost, Permissions(*patterns))
        for given in document.get("topic_permissions", ()):
            vhost, exchange, write, read = _texts(given, "vhost", "exchange", "write", "read")
            user.grant_topic(vhost, exchange, TopicPermissions(write, read, user=name, vhost=vhost))
        return user


def tags_of(tags: object) -> list[str]:
    """Tags from a list, or from the older `a, b`. Raises ValueError."""
    if tags is None:
        raise ValueError("there are no tags: expected a list, which may be empty")
    if isinstance(tags, str):
        return [tag for tag in (part.strip() for part in tags.split(",")) if tag]
    if isinstance(tags, list | tuple) and all(isinstance(tag, str) for tag in tags):
        return list(tags)
    raise ValueError("tags are neither a list nor text")


def _texts(given: object, *names: str) -> list[str]:
    """The values of an object, all of them text. Raises ValueError."""
    values = [given.get(name) if isinstance(given, Mapping) else None for name in names]
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) < len(names):
        raise ValueError(f"a permission needs {', '.join(names)} as text")
    return texts


def _hash_in(document: Mapping[str, Any], algorithm: str) -> bytes:
    """The hash that a definition gives, or makes one of its password. Without either nobody can log in."""
    password, stored = document.get("password"), document.get("password_hash")
    if password is not None and stored is not None:
        raise ValueError("both password and password_hash are given")
    if password is not None:
        if not isinstance(password, str):
            raise ValueError("password is not text")
        return passwords.hash_password(octets(password), algorithm)
    if stored is None:
        return b""
    if not isinstance(stored, str):
        raise ValueError("password_hash is not text")
    return passwords.decode(stored)


class Users:
    """All users by name. Changes are made through broker.operations, which puts them into the catalog (`User.to_json`)."""

    def __init__(self, users: Iterable[User] = (), *, loopback_users: Iterable[str] = LOOPBACK_USERS) -> None:
        self._users = {user.name: user for user in users}
        self.loopback_users = frozenset(loopback_users)

    def __len__(self) -> int:
        return len(self._users)

    def __iter__(self) -> Iterator[User]:
        return iter(list(self._users.values()))

    def __contains__(self, name: object) -> bool:
        return name in self._users

    def get(self, name: str) -> User | None:
        """The user of that name, if there is one."""
        return self._users.get(name)

    def put(self, given: User) -> User:
        """Take in a user as it is, or give the one of that name its password, its tags and what is granted to it, and add its limits to
        those there are, as RabbitMQ's imports do.

        The user that is then there is returned: the same object as before if there was one, for its connections hold on to it.
        """
        user = self._users.setdefault(given.name, given)
        if user is not given:
            user.password_hash, user.hashing_algorithm = given.password_hash, given.hashing_algorithm
            user.limits |= given.limits
            user.set_tags(given.tag_list)
            user.grant_all_of(given)
        return user

    def delete(self, name: str) -> User:
        """The user that is gone; there has to be one. Ending its connections is the caller's (contract 1.9)."""
        return self._users.pop(name)

    def forget_vhost(self, vhost: str) -> list[User]:
        """Take away what is granted in a vhost that is being deleted: the users that had something there."""
        return [user for user in self if user.revoke(vhost) | user.revoke_topic(vhost)]

    def is_confined(self, name: str) -> bool:
        """Whether the user may connect over loopback only."""
        return name in self.loopback_users
