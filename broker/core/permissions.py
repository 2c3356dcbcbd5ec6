"""Who may do what: a pure decision by name (https://www.rabbitmq.com/docs/access-control#authorisation).

    Identity               who a connection speaks for: a name, tags, and what it may do where
      Permissions          per vhost: three regular expressions over the names of queues and exchanges
      TopicPermissions     per vhost and topic exchange: two over routing keys

The patterns are Perl's, searched for anywhere in a name's octets, as Erlang's `re` does it for RabbitMQ. What Python's `re` reads
differently is rewritten, or refused when the pattern is given: it must never quietly mean something else.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal

from broker.core.pattern import Pattern, TooComplex
from protocol.constants import ACCESS_REFUSED, NOT_ALLOWED
from protocol.errors import ChannelException, ConnectionException

Kind = Literal["configure", "write", "read"]
TopicKind = Literal["write", "read"]
Resource = Literal["queue", "exchange"]

DEFAULT_EXCHANGE: Final = "amq.default"
"""The name by which permissions speak of the exchange that has none (contract 9.2)."""
DECISIONS_MAX: Final = 4096
"""Decisions remembered per set of permissions. Past it they are all forgotten: only names made up by the thousand get there."""
PLACEHOLDER: Final = re.compile(r"\{(username|vhost)\}")

_QUOTED: Final = r"\\Q(?P<quoted>.*?)(?:\\E|\Z)|\\(?P<escape>.)"
_OUTSIDE: Final = re.compile(_QUOTED + r"|(?P<begin>\[\^?\]?)|(?P<rest>\{,|\(\?<(?=\w)|.)", re.DOTALL)
_INSIDE: Final = re.compile(_QUOTED + r"|\[[:.=](?P<posix>[^\]]*)\]|(?P<end>\])|(?P<rest>.)", re.DOTALL)
"""Tokens outside of a character class `[...]` and inside of one."""

_ESCAPES: Final = {
    "z": r"\Z", "Z": r"(?=\n?\Z)", "h": r"[ \t\xa0]", "H": r"[^ \t\xa0]", "v": r"[\n-\r\x85]", "V": r"[^\n-\r\x85]",
    "R": r"(?>\r\n|[\n-\r\x85])", "e": r"\x1b", "E": "",
}  # fmt: skip
_ESCAPES_INSIDE: Final = {"h": r" \t\xa0", "v": r"\n-\r\x85", "e": r"\x1b", "E": ""}
_REST: Final = {"{,": r"\{,", "(?<": "(?P<"}
"""`{,3}` is no repetition in Perl's notation, and the name of a group needs no P."""
_REST_INSIDE: Final = {"[": r"\[", "&": r"\&", "|": r"\|", "~": r"\~"}
"""Plain characters, of which Python says that they may come to mean something."""
_POSIX_CLASSES: Final = {
    "alpha": "a-zA-Z", "digit": "0-9", "alnum": "a-zA-Z0-9", "upper": "A-Z", "lower": "a-z", "space": r"\s", "blank": r" \t",
    "punct": r"!-/:-@\[-`{-~", "xdigit": "0-9A-Fa-f", "word": r"\w", "cntrl": r"\x00-\x1f\x7f", "print": r"\x20-\x7e",
    "graph": r"\x21-\x7e", "ascii": r"\x00-\x7f", "^digit": r"\D", "^space": r"\S", "^word": r"\W",
}  # fmt: skip


class InvalidPattern(ValueError):
    """A regular expression that can't be taken: `pattern`, `reason`."""

    def __init__(self, pattern: str, reason: str) -> None:
        super().__init__(f"invalid regular expression '{pattern}': {reason}")
        self.pattern = pattern
        self.reason = reason


def compiled(pattern: str) -> Pattern:
    """A pattern, ready to be searched for in `octets(name)`. The empty one fits the empty name alone, as in RabbitMQ.

    Raises InvalidPattern, also for one that could take for ever (core.pattern).
    """
    try:
        return Pattern(octets(python_pattern(pattern or "^$")))
    except (re.error, OverflowError, RecursionError, TooComplex) as error:
        raise InvalidPattern(pattern, str(error)) from None


def octets(name: str) -> bytes:
    """The octets that a name came as: the dot of a pattern stands for one of these, not for a letter."""
    return name.encode("utf-8", "surrogateescape")


def python_pattern(pattern: str) -> str:
    """Perl's notation in Python's: `[[:alpha:]]`, `\\z`, `\\h`, `\\Q..\\E`, `(?<name>..)`. Raises InvalidPattern for an unknown class."""
    inside = False
    written: list[str] = []
    at = 0
    while at < len(pattern):
        token = (_INSIDE if inside else _OUTSIDE).match(pattern, at)
        assert token is not None
        text, at = token[0], token.end()
        match token.lastgroup:
            case "quoted":
                text = re.escape(token["quoted"])
            case "escape":
                text = (_ESCAPES_INSIDE if inside else _ESCAPES).get(token["escape"], text)
            case "posix":
                name = token["posix"]
                if not text.startswith("[:") or not name.endswith(":") or name[:-1] not in _POSIX_CLASSES:
                    raise InvalidPattern(pattern, f"unknown character class {text}")
                text = _POSIX_CLASSES[name[:-1]]
            case "begin":
                inside = True
                text = text.replace("]", r"\]")
            case "end":
                inside = False
            case _:
                text = (_REST_INSIDE if inside else _REST).get(text, text)
        written.append(text)
    return "".join(written)


class Permissions:
    """What a user may do in a vhost: `configure`, `write` and `read` as they were given. Never changed: a change makes new ones.

    Raises InvalidPattern.
    """

    __slots__ = ("_decisions", "_patterns", "configure", "read", "write")

    def __init__(self, configure: str, write: str, read: str) -> None:
        self.configure = configure
        self.write = write
        self.read = read
        self._patterns = {"configure": compiled(configure), "write": compiled(write), "read": compiled(read)}
        self._decisions: dict[tuple[Kind, str], bool] = {}

    def __repr__(self) -> str:
        return f"Permissions({self.configure!r}, {self.write!r}, {self.read!r})"

    def permits(self, kind: Kind, name: str) -> bool:
        """May that be done to the queue or exchange of this name? The default exchange is asked for as `amq.default`."""
        decision = self._decisions.get((kind, name))
        if decision is None:
            decision = self._patterns[kind].search(octets(name)) is not None
            if len(self._decisions) >= DECISIONS_MAX:
                self._decisions.clear()
            self._decisions[kind, name] = decision
        return decision


class TopicPermissions:
    """Which routing keys a user may publish with, and bind with, on one topic exchange.

    `{username}` and `{vhost}` in a pattern stand for those names (https://www.rabbitmq.com/docs/access-control#topic-authorisation),
    each taken literally: RabbitMQ puts them in unescaped, and the dot in `a.b` then stands for any octet. Raises InvalidPattern.
    """

    __slots__ = ("_permissions", "read", "write")

    def __init__(self, write: str, read: str, *, user: str, vhost: str) -> None:
        self.write = write
        self.read = read
        compiled(write), compiled(read)  # so that an error speaks of the pattern as it was given
        names = {"username": re.escape(user), "vhost": re.escape(vhost)}
        expanded = [PLACEHOLDER.sub(lambda found: names[found[1]], pattern) for pattern in (write, read)]
        self._permissions = Permissions("", *expanded)

    def __repr__(self) -> str:
        return f"TopicPermissions({self.write!r}, {self.read!r})"

    def permits(self, kind: TopicKind, routing_key: str) -> bool:
        """May a message be published (`write`), or a queue bound (`read`), with this key?"""
        return self._permissions.permits(kind, routing_key)


class Identity:
    """Who a connection speaks for. What it may do can change while it is connected; `revision` grows with each such change.

    Whoever remembers more than these methods do (a publisher's last exchange, say) remembers the revision with it.
    """

    __slots__ = ("_permissions", "_topics", "channels", "connections", "limits", "name", "revision", "tags")

    def __init__(self, name: str, tags: Iterable[str] = (), limits: Mapping[str, int] | None = None) -> None:
        self.name = name
        self.tags = frozenset(tags)
        self.revision = 0
        self.limits = dict(limits or {})
        """`max-connections` and `max-channels` by name; a negative number sets no limit, as in RabbitMQ."""
        self.connections = 0
        self.channels = 0
        """Open now, over all connections."""
        self._permissions: dict[str, Permissions] = {}
        self._topics: dict[tuple[str, str], TopicPermissions] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {sorted(self.tags)!r})"

    @property
    def is_impersonator(self) -> bool:
        """May publish under another's user-id (contract 5.1)."""
        return "impersonator" in self.tags

    def permissions(self, vhost: str) -> Permissions | None:
        """What was granted in a vhost; None keeps the user out of it."""
        return self._permissions.get(vhost)

    def vhosts(self) -> list[str]:
        """The vhosts that the user may enter."""
        return list(self._permissions)

    def topic_permission(self, vhost: str, exchange: str) -> TopicPermissions | None:
        """What was granted on a topic exchange; None leaves every key free."""
        return self._topics.get((vhost, exchange))

    def topic_permissions(self) -> dict[tuple[str, str], TopicPermissions]:
        """By vhost and exchange, a copy."""
        return dict(self._topics)

    def grant(self, vhost: str, permissions: Permissions) -> None:
        """Put permissions in place of what there was in that vhost."""
        self._permissions[vhost] = permissions
        self.revision += 1

    def revoke(self, vhost: str) -> bool:
        """Take away all access to a vhost; False if there was none. Topic permissions stay, as in RabbitMQ."""
        self.revision += 1
        return self._permissions.pop(vhost, None) is not None

    def grant_topic(self, vhost: str, exchange: str, permissions: TopicPermissions) -> None:
        """Put permissions in place of what there was on that exchange."""
        self._topics[vhost, exchange] = permissions
        self.revision += 1

    def revoke_topic(self, vhost: str, exchange: str | None = None) -> bool:
        """Free the keys of one exchange again, or with None of all exchanges of the vhost; False if there was nothing to take away."""
        gone = [key for key in self._topics if key[0] == vhost and exchange in (None, key[1])]
        for key in gone:
            del self._topics[key]
        self.revision += 1
        return bool(gone)

    def revoke_all(self) -> None:
        """Take away everything, in all vhosts."""
        self._permissions.clear()
        self._topics.clear()
        self.revision += 1

    def grant_all_of(self, other: "Identity") -> None:
        """Add what is granted to another, over what was granted here in the same places."""
        self._permissions.update(other._permissions)
        self._topics.update(other._topics)
        self.revision += 1

    def permits(self, kind: Kind, resource: Resource, name: str, vhost: str) -> bool:
        """May the user do that to that queue or exchange? The exchange named "" is the default exchange."""
        permissions = self._permissions.get(vhost)
        if permissions is None:
            return False
        return permissions.permits(kind, name if name or resource == "queue" else DEFAULT_EXCHANGE)

    def check(self, kind: Kind, resource: Resource, name: str, vhost: str) -> None:
        """Raise ChannelException 403 unless the user may (contract 9.1, 9.2). This one and the next two raise Undecided where another
        server decides and was not asked yet."""
        if not self.permits(kind, resource, name, vhost):
            raise refused(kind, resource, name, vhost, self.name)

    def check_topic(self, kind: TopicKind, vhost: str, exchange: str, routing_key: str) -> None:
        """Raise ChannelException 403 unless the user may use that key. Only for exchanges of type topic (contract 9.1)."""
        permissions = self._topics.get((vhost, exchange))
        if permissions is not None and not permissions.permits(kind, routing_key):
            raise topic_refused(kind, routing_key, exchange, vhost, self.name)

    def limit(self, name: str) -> int | None:
        """`max-connections` or `max-channels`, if it limits anything."""
        limit = self.limits.get(name, -1)
        return limit if limit >= 0 else None

    def check_vhost(self, vhost: str) -> None:
        """Raise ConnectionException 530 unless the user may enter the vhost (contract 1.5)."""
        if vhost not in self._permissions:
            raise vhost_refused(vhost, self.name)

    def conclude(self) -> None:
        """The event that was undecided is over: answers that were for it alone are forgotten."""


def refused(kind: Kind, resource: Resource, name: str, vhost: str, user: str, why: str = "") -> ChannelException:
    """The answer to what isn't permitted: RabbitMQ 3.13's text (contract 9.1); `why` goes to its end."""
    if not name and resource == "exchange":
        name = DEFAULT_EXCHANGE
    return ChannelException(ACCESS_REFUSED, f"{kind} access to {resource} '{name}' in vhost '{vhost}' refused for user '{user}'{why}")


def topic_refused(kind: TopicKind, routing_key: str, exchange: str, vhost: str, user: str, why: str = "") -> ChannelException:
    """The answer to a routing key that isn't permitted (contract 9.1)."""
    where = f"exchange '{exchange}' in vhost '{vhost}'"
    return ChannelException(ACCESS_REFUSED, f"{kind} access to topic '{routing_key}' in {where} refused for user '{user}'{why}")


def vhost_refused(vhost: str, user: str, why: str = "") -> ConnectionException:
    """The answer to connection.open by a user without permissions there (contract 1.5)."""
    return ConnectionException(NOT_ALLOWED, f"access to vhost '{vhost}' refused for user '{user}'{why}")
