"""What an operator may do at run time: users, permissions, vhosts, policies, parameters, limits, and declarations without a channel.

`Operations` is the one way to change any of these from outside of a connection: definitions, the HTTP API and the command line all come
here. A change is checked first, acts at once, and is put into the outbox in the same breath; it is durable when the batch that is being
collected is (a turn has to follow). What is refused raises a ValueError, InvalidOperation or NotFound, and changes nothing.

Texts and rules are RabbitMQ 3.13's (rabbit_auth_backend_internal, rabbit_vhost, rabbit_runtime_parameters).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from broker.access import passwords
from broker.access.users import User
from broker.core import entries
from broker.core.arguments import QUEUE_TYPES, QueueArguments
from broker.core.classes.names import RESERVED_PREFIX
from broker.core.exchange import Exchange
from broker.core.exchanges import exchange_type
from broker.core.facts import PERFORMED_BY
from broker.core.internal_events import INTERNAL_USER
from broker.core.permissions import Permissions, TopicPermissions, compiled, octets
from broker.core.policy import Policy
from broker.core.queue import Queue
from broker.core.vhost import LIMITS
from protocol.errors import ChannelException

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from broker.access.users import Users
    from broker.config import DefaultLimit, DefaultPolicy, DefaultUser
    from broker.core.broker import Broker
    from broker.core.vhost import VHost
    from protocol.tables import Table

log = logging.getLogger("operations")

NAME_BYTES_MAX: Final = 255
USER_LIMITS: Final = ("max-connections", "max-channels")
VHOST_LIMITS: Final = ("max-connections", "max-queues")
OPERATOR_POLICY: Final = "operator_policy"
POLICY: Final = "policy"
PROTECTED: Final = "protected_from_deletion"
"""In a vhost's metadata (RabbitMQ 4)."""


class InvalidOperation(ValueError):
    """What was asked for makes no sense or isn't allowed; the text says why."""


class NotFound(InvalidOperation):
    """It is about something that isn't there."""


class Protected(InvalidOperation):
    """It would delete what is protected from that."""


class Operations:
    """See the module. `acting_user` is whose doing it is, for those who listen to events."""

    def __init__(
        self,
        broker: Broker,
        users: Users,
        *,
        hashing_algorithm: str = passwords.SHA256,
        vhost_max: int | None = None,
        default_limits: Sequence[DefaultLimit] = (),
        default_policies: Sequence[DefaultPolicy] = (),
        default_users: Sequence[DefaultUser] = (),
    ) -> None:
        self.broker = broker
        self.users = users
        self.hashing_algorithm = hashing_algorithm
        self._vhost_max = vhost_max
        self._default_limits = default_limits
        self._default_policies = default_policies
        self._default_users = default_users

    # --- users ------------------------------------------------------------------------------------------------------

    def user(self, name: str) -> User:
        """The user of that name. Raises NotFound."""
        found = self.users.get(name)
        if found is None:
            raise NotFound(f"user '{name}' does not exist")
        return found

    def add_user(self, name: str, password: str | None, tags: Iterable[str] = (), *, acting_user: str = INTERNAL_USER) -> User:
        """A new user, who may enter no vhost yet; without a password nobody logs in with one."""
        if name in self.users:
            raise InvalidOperation(f"user '{name}' already exists")
        _check_name("user", name)
        user = User(name, tags)
        if password:
            user.set_password(octets(password), self.hashing_algorithm)
        self.put_user(user, acting_user=acting_user)
        return user

    def put_user(self, given: User, *, acting_user: str = INTERNAL_USER) -> User:
        """Take a user in as it is, or give the one of that name its password, tags and limits; what it was granted stays."""
        _check_name("user", given.name)
        _check_limits(given.limits, USER_LIMITS, f"user '{given.name}'")
        is_new = given.name not in self.users
        user = self.users.put(given)
        self._save(user)
        log.info("%s user '%s'", "Created" if is_new else "Successfully changed password for", user.name)
        self._emit("user.created" if is_new else "user.password.changed", acting_user, name=user.name)
        if user.tags:
            self._emit("user.tags.set", acting_user, tags=sorted(user.tags), name=user.name)
        if given.limits:
            self._emit("user.limits.set", acting_user, **given.limits, username=user.name, name="limits")
        return user

    def delete_user(self, name: str, *, acting_user: str = INTERNAL_USER) -> None:
        """Delete a user with all that was granted to it; its connections are closed (contract 1.9)."""
        user = self.user(name)
        self.users.delete(name)
        # Whoever has logged in and not opened its connection yet won't be let in any more.
        user.revoke_all()
        self.broker.outbox.delete(entries.key("user", name))
        log.info("Deleted user '%s'", name)
        self._emit("user.deleted", acting_user, name=name)
        for session in self.broker.sessions_of(name):
            session.force_close(f"user '{name}' is deleted")

    def set_password(self, name: str, password: str, *, acting_user: str = INTERNAL_USER) -> None:
        """Give a user another password; its connections stay open."""
        user = self.user(name)
        if not password:
            raise InvalidOperation(f"the password of user '{name}' can't be blank: clear it instead")
        user.set_password(octets(password), self.hashing_algorithm)
        self._save(user)
        log.info("Successfully changed password for user '%s'", name)
        self._emit("user.password.changed", acting_user, name=name)

    def clear_password(self, name: str, *, acting_user: str = INTERNAL_USER) -> None:
        """Let nobody log in as this user with a password."""
        user = self.user(name)
        user.clear_password()
        self._save(user)
        log.info("Clearing password for user '%s'", name)
        self._emit("user.password.cleared", acting_user, name=name)

    def set_tags(self, name: str, tags: Iterable[str], *, acting_user: str = INTERNAL_USER) -> None:
        """Put tags in place of those a user had."""
        user = self.user(name)
        user.set_tags(tags)
        self._save(user)
        log.info("Successfully set user tags for user '%s' to [%s]", name, ",".join(sorted(user.tags)))
        self._emit("user.tags.set", acting_user, tags=sorted(user.tags), name=name)

    def set_user_limits(self, name: str, limits: Mapping[str, int], *, acting_user: str = INTERNAL_USER) -> None:
        """Add limits, by the names `max-connections` and `max-channels`, to those a user has; a negative one sets no limit."""
        user = self.user(name)
        _check_limits(limits, USER_LIMITS, f"user '{name}'")
        user.limits |= limits
        self._save(user)
        self._emit("user.limits.set", acting_user, **limits, username=name, name="limits")

    def clear_user_limits(self, name: str, limits: Iterable[str] = USER_LIMITS, *, acting_user: str = INTERNAL_USER) -> None:
        """Take some of a user's limits away."""
        user = self.user(name)
        for limit in limits:
            user.limits.pop(limit, None)
        self._save(user)
        self._emit("user.limits.cleared", acting_user, username=name, name="limits")

    def _emit(self, event: str, acting_user: str, **facts: Any) -> None:
        self.broker.emit(event, lambda: {PERFORMED_BY: acting_user, **facts})

    def _save(self, user: User) -> None:
        self.broker.outbox.put(entries.key("user", user.name), entries.dump(user.to_json()))

    # --- permissions ------------------------------------------------------------------------------------------------

    def set_permissions(self, name: str, vhost: str, configure: str, write: str, read: str, *, acting_user: str = INTERNAL_USER) -> None:
        """Let a user into a vhost, or change what it may do there: three regular expressions over names."""
        user, found = self.user(name), self.vhost(vhost)
        user.grant(found.name, Permissions(configure, write, read))
        self._save(user)
        log.info("Successfully set permissions for user '%s' in virtual host '%s' to '%s', '%s', '%s'", name, vhost, configure, write, read)
        self._emit("permission.created", acting_user, read=read, write=write, configure=configure, vhost=vhost, user=name)

    def clear_permissions(self, name: str, vhost: str, *, acting_user: str = INTERNAL_USER) -> None:
        """Let a user into a vhost no more. Its connections stay, and may do nothing that needs a permission."""
        user = self.user(name)
        self.vhost(vhost)
        if user.revoke(vhost):
            self._save(user)
        log.info("Successfully cleared permissions for user '%s' in virtual host '%s'", name, vhost)
        self._emit("permission.deleted", acting_user, vhost=vhost, user=name)

    def set_topic_permissions(
        self, name: str, vhost: str, exchange: str, write: str, read: str, *, acting_user: str = INTERNAL_USER
    ) -> None:
        """Restrict a user to some routing keys of a topic exchange: two regular expressions."""
        user, found = self.user(name), self.vhost(vhost)
        user.grant_topic(found.name, exchange, TopicPermissions(write, read, user=name, vhost=vhost))
        self._save(user)
        log.info(
            "Successfully set topic permissions on exchange '%s' for user '%s' in virtual host '%s' to '%s', '%s'",
            exchange, name, vhost, write, read,
        )  # fmt: skip
        self._emit("topic.permission.created", acting_user, read=read, write=write, exchange=exchange, vhost=vhost, user=name)

    def clear_topic_permissions(self, name: str, vhost: str, exchange: str | None = None, *, acting_user: str = INTERNAL_USER) -> None:
        """Free the routing keys of one topic exchange, or with None of all in the vhost."""
        user = self.user(name)
        self.vhost(vhost)
        if user.revoke_topic(vhost, exchange):
            self._save(user)
        log.info("Successfully cleared topic permissions for user '%s' in virtual host '%s'", name, vhost)
        self._emit("topic.permission.deleted", acting_user, vhost=vhost, user=name)

    # --- vhosts -----------------------------------------------------------------------------------------------------

    def vhost(self, name: str) -> VHost:
        """The vhost of that name. Raises NotFound."""
        found = self.broker.vhosts.get(name)
        if found is None:
            raise NotFound(f"virtual host '{name}' does not exist")
        return found

    def put_vhost(
        self,
        name: str,
        *,
        description: str | None = None,
        tags: Sequence[str] | None = None,
        default_queue_type: str | None = None,
        tracing: bool | None = None,
        protected: bool | None = None,
        acting_user: str = INTERNAL_USER,
    ) -> VHost:
        """A vhost of that name, new if there is none; what is given of its metadata replaces what there was. Who makes one may enter it.

        `tracing` turns the firehose on or off, `protected` says whether it can't be deleted; None leaves it as it is.
        """
        _check_name("virtual host", name)
        if default_queue_type is not None and default_queue_type not in QUEUE_TYPES:
            raise InvalidOperation(f"default queue type '{default_queue_type}': expected one of {', '.join(QUEUE_TYPES)}")
        given: dict[str, Any] = {
            "description": description,
            "tags": None if tags is None else list(tags),
            "default_queue_type": default_queue_type,
        }
        given[PROTECTED] = protected
        metadata = {key: value for key, value in given.items() if value is not None}
        found = self.broker.vhosts.get(name)
        if found is not None:
            if metadata:
                self.broker.set_vhost_metadata(found, found.metadata | metadata)
            _trace(found, tracing)
            return found
        if self._vhost_max is not None and len(self.broker.vhosts) >= self._vhost_max:
            raise InvalidOperation(f"cannot create vhost '{name}': vhost limit of {self._vhost_max} is reached")
        if description:
            log.info("Adding vhost '%s' (description: '%s', tags: [%s])", name, description, ",".join(tags or ()))
        else:
            log.info("Adding vhost '%s' without a description", name)
        with self.broker.acting_as(acting_user):
            vhost = self.broker.add_vhost(name, metadata)
        self._apply_defaults(vhost)
        if acting_user in self.users:
            self.set_permissions(acting_user, name, ".*", ".*", ".*", acting_user=acting_user)
        _trace(vhost, tracing)
        return vhost

    def _apply_defaults(self, vhost: VHost) -> None:
        """What the configuration has for new vhosts of such a name: limits, operator policies, and users who may enter it."""
        limits = {}
        for default in self._default_limits:
            if compiled(default.pattern).search(octets(vhost.name)):
                given = {"max-connections": default.max_connections, "max-queues": default.max_queues}
                limits = {key: value for key, value in given.items() if value is not None}
                break
        if limits:
            self.set_vhost_limits(vhost.name, limits)
        for policy in self._default_policies:
            if compiled(policy.vhost_pattern).search(octets(vhost.name)):
                self.set_policy(
                    vhost.name, policy.name, policy.queue_pattern, dict(policy.definition), apply_to=policy.apply_to, operator=True
                )

        for user in self._default_users:
            if compiled(user.vhost_pattern).search(octets(vhost.name)):
                if user.name not in self.users:
                    self.add_user(user.name, user.password, user.tags)
                self.set_permissions(user.name, vhost.name, user.configure, user.write, user.read)

    def delete_vhost(self, name: str, *, acting_user: str = INTERNAL_USER) -> None:
        """Delete a vhost with all that is in it and all that is granted there; its connections are closed (contract 1.9).

        Raises Protected."""
        vhost = self.vhost(name)
        if vhost.metadata.get(PROTECTED):
            raise Protected(f"Refusing to delete virtual host '{name}' because it is protected from deletion")
        log.info("Deleting vhost '%s'", name)
        for user in self.users.forget_vhost(name):
            self._save(user)
            self._emit("permission.deleted", acting_user, vhost=name, user=user.name)
        with self.broker.acting_as(acting_user):
            self.broker.delete_vhost(vhost)

    def set_vhost_limits(self, vhost: str, limits: Mapping[str, int], *, acting_user: str = INTERNAL_USER) -> None:
        """Put limits, by the names `max-connections` and `max-queues`, in place of those there were; a negative one sets no limit."""
        self.set_parameter(vhost, *LIMITS, dict(limits), acting_user=acting_user)

    # --- policies ---------------------------------------------------------------------------------------------------

    def set_policy(
        self,
        vhost: str,
        name: str,
        pattern: str,
        definition: Mapping[str, Any],
        *,
        priority: int = 0,
        apply_to: str = "all",
        operator: bool = False,
        acting_user: str = INTERNAL_USER,
    ) -> Policy:
        """Put a policy, or operator policy, in place of the one of that name. Raises InvalidPolicy (a ValueError)."""
        found = self.vhost(vhost)
        _check_name("policy", name)
        policy = Policy(name, pattern, dict(definition), priority=priority, apply_to=apply_to, is_operator=operator)
        with self.broker.acting_as(acting_user):
            found.set_policy(policy)
        text = "Successfully set %s '%s' matching %s names in virtual host '%s' using pattern '%s'"
        log.info(text, "operator policy" if operator else "policy", name, apply_to, vhost, pattern)
        return policy

    def clear_policy(self, vhost: str, name: str, *, operator: bool = False, acting_user: str = INTERNAL_USER) -> None:
        """Take a policy, or operator policy, away."""
        found = self.vhost(vhost)
        with self.broker.acting_as(acting_user):
            was_there = found.delete_policy(name, is_operator=operator)
        if not was_there:
            raise NotFound(f"{'operator policy' if operator else 'policy'} '{name}' in virtual host '{vhost}' does not exist")

    # --- parameters -------------------------------------------------------------------------------------------------

    def set_parameter(self, vhost: str, component: str, name: str, value: Any, *, acting_user: str = INTERNAL_USER) -> None:
        """Put a parameter in place of the one there was. `vhost-limits` are limits, and operator policies are policies."""
        found = self.vhost(vhost)
        if component == POLICY:
            raise InvalidOperation("policies may not be set using this method")
        if component == OPERATOR_POLICY:
            self._set_operator_policy(vhost, name, value, acting_user)
            return
        if component == LIMITS[0]:
            check_vhost_limits(vhost, name, value)
        with self.broker.acting_as(acting_user):
            found.set_parameter(component, name, value)

    def _set_operator_policy(self, vhost: str, name: str, value: Any, acting_user: str) -> None:
        definition, pattern = (value.get("definition"), value.get("pattern")) if isinstance(value, dict) else (None, None)
        if not isinstance(definition, dict) or not isinstance(pattern, str):
            raise InvalidOperation(f"operator policy '{name}': expected an object with pattern and definition")
        self.set_policy(
            vhost, name, pattern, definition, priority=value.get("priority", 0), apply_to=value.get("apply-to", "all"),
            operator=True, acting_user=acting_user,
        )  # fmt: skip

    def clear_parameter(self, vhost: str, component: str, name: str, *, acting_user: str = INTERNAL_USER) -> None:
        """Take a parameter away."""
        found = self.vhost(vhost)
        if component == OPERATOR_POLICY:
            self.clear_policy(vhost, name, operator=True, acting_user=acting_user)
            return
        with self.broker.acting_as(acting_user):
            was_there = found.clear_parameter(component, name)
        if not was_there:
            raise NotFound(f"parameter '{name}' of component '{component}' in virtual host '{vhost}' does not exist")

    def set_global_parameter(self, name: str, value: Any, *, acting_user: str = INTERNAL_USER) -> None:
        """Put a global parameter in place of the one there was."""
        _check_name("global parameter", name)
        with self.broker.acting_as(acting_user):
            self.broker.set_global_parameter(name, value)

    def clear_global_parameter(self, name: str, *, acting_user: str = INTERNAL_USER) -> None:
        """Take a global parameter away."""
        with self.broker.acting_as(acting_user):
            was_there = self.broker.clear_global_parameter(name)
        if not was_there:
            raise NotFound(f"global parameter '{name}' does not exist")

    # --- declarations -----------------------------------------------------------------------------------------------

    def declare_queue(
        self, vhost: str, name: str, *, durable: bool, auto_delete: bool, arguments: Table, acting_user: str = INTERNAL_USER
    ) -> Queue:
        """The queue of that name, new if there is none; one that is there stays as it is. Raises ChannelException 406."""
        found = self.vhost(vhost)
        if name in found.queues:
            return found.queues[name]
        _check_name("queue", name)
        table = found.with_default_type(arguments, durable=durable, exclusive=False, auto_delete=auto_delete)
        parsed = QueueArguments.parse(table, name, vhost, durable=durable, exclusive=False, auto_delete=auto_delete, server_named=False)
        with self.broker.acting_as(acting_user):
            return found.add_queue(name, parsed, durable=durable, auto_delete=auto_delete, owner=None)

    def declare_exchange(
        self,
        vhost: str,
        name: str,
        kind: str,
        *,
        durable: bool,
        auto_delete: bool,
        internal: bool,
        arguments: Table,
        acting_user: str = INTERNAL_USER,
    ) -> Exchange:
        """The exchange of that name, new if there is none; one that is there stays as it is. Raises ChannelException or ConnectionException
        for an unknown type, and for arguments that it refuses."""
        found = self.vhost(vhost)
        if name in found.exchanges:
            return found.exchanges[name]
        _check_name("exchange", name)
        kind = exchange_type(kind).type
        with self.broker.acting_as(acting_user):
            return found.add_exchange(kind, name, durable=durable, auto_delete=auto_delete, internal=internal, arguments=arguments)

    def bind(
        self,
        vhost: str,
        source: str,
        destination_type: str,
        destination: str,
        routing_key: str,
        arguments: Table,
        *,
        acting_user: str = INTERNAL_USER,
    ) -> None:
        """Bind a queue or an exchange to an exchange; twice is once. Raises ChannelException for arguments that the exchange refuses."""
        found = self.vhost(vhost)
        try:
            exchange = found.exchange(source)
            target = found.queue(destination) if destination_type == "queue" else found.exchange(destination)
        except ChannelException as error:
            raise NotFound(error.text) from error
        if not source or not destination:
            raise InvalidOperation("bindings of the default exchange can't be changed")
        with self.broker.acting_as(acting_user):
            found.bind(exchange, target, routing_key, arguments)


def _trace(vhost: VHost, tracing: bool | None) -> None:
    if tracing is not None and tracing != (vhost.tracer is not None):
        vhost.set_tracing(tracing)


def _check_name(what: str, name: str) -> None:
    size = len(name.encode("utf-8", "surrogateescape"))
    if not 1 <= size <= NAME_BYTES_MAX:
        raise InvalidOperation(
            f"{what} name '{name[:32]}{'...' if len(name) > 32 else ''}': expected 1 to {NAME_BYTES_MAX} bytes, not {size}"
        )
    if what in ("queue", "exchange") and name.startswith(RESERVED_PREFIX):
        raise InvalidOperation(f"{what} name '{name}' contains reserved prefix 'amq.*'")


def _check_limits(limits: Mapping[str, Any], known: Sequence[str], of: str) -> None:
    for name, value in limits.items():
        if name not in known:
            raise InvalidOperation(f"limit '{name}' of {of}: expected one of {', '.join(known)}")
        if not isinstance(value, int) or isinstance(value, bool):
            raise InvalidOperation(f"limit '{name}' of {of} is {value!r}: expected a whole number (negative: no limit)")


def check_vhost_limits(vhost: str, name: str, value: Any) -> None:
    """Raises InvalidOperation for what can't be the limits of a vhost (a parameter)."""
    if name != LIMITS[1] or not isinstance(value, dict):
        raise InvalidOperation(f"limits of virtual host '{vhost}': expected an object named '{LIMITS[1]}'")
    _check_limits(value, VHOST_LIMITS, f"virtual host '{vhost}'")
