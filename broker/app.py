"""The one place where everything is put together: configuration in, a serving broker out."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import secrets
import signal
import socket
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, cast

from broker import definitions, http_sockets, identity, logs
from broker.access.backends import Chain, Internal, Step
from broker.access.failures import Failures
from broker.access.http_backend import Http
from broker.access.mechanisms import Authentication
from broker.access.users import User, Users
from broker.admin.context import Context
from broker.admin.door import Door
from broker.admin.figures import kinds
from broker.admin.samples import Samples
from broker.config import ConfigError
from broker.control import announce
from broker.core import entries
from broker.core.broker import Broker
from broker.core.compat import PROFILES
from broker.core.internal_events import EventExchange
from broker.core.recovery import Replay, nonsense, restore_catalog
from broker.definitions import InvalidDefinitions
from broker.http_sockets import openings
from broker.logs.exchange import LogExchange
from broker.node import AMQP, AMQPS, Listening, Node
from broker.operations import Operations
from broker.runtime.listeners import CannotListen, bind
from broker.runtime.server import Server
from broker.runtime.service import Manager
from broker.runtime.state import StateDump
from broker.runtime.tls import Contexts, Unusable
from protocol.tables import table_of
from storage.api import Corrupt, Damage, Failed, StorageError
from storage.local import LocalStore
from storage.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    from broker.access.backends import Backend
    from broker.config import Config
    from broker.http_sockets import HttpBound
    from broker.runtime.http_client import HttpClient
    from broker.runtime.listeners import Bound
    from protocol.tables import Table

log = logging.getLogger("leveret")

EXIT_OK = 0
EXIT_UNAVAILABLE = 69
EXIT_STORAGE = 74
EXIT_CONFIG = 78
"""sysexits.h: EX_UNAVAILABLE, EX_IOERR and EX_CONFIG."""
GC_THRESHOLDS = (10_000, 10, 5000)
"""Messages are tuples of bytes, which the collector doesn't track for long; what it would look at again and again is the rest."""


class Prepared(NamedTuple):
    """What a start has before it touches the store: sockets that listen, certificates, and who asks the server of an HTTP backend."""

    sockets: list[Bound]
    http: list[HttpBound]
    contexts: Contexts | None
    http_tls: dict[str, Contexts]
    client: HttpClient | None


def serve(config: Config, *, supervised: bool = False) -> int:
    """Run a broker until SIGTERM or SIGINT, or until its parent ends if it is `supervised`; returns the exit status: 0, 69 if it can't
    start, 74 if the disk failed, 78 if what it is configured with can't be used."""
    _raise_file_limit()
    gc.set_threshold(*GC_THRESHOLDS)
    if hasattr(signal, "SIGUSR1"):
        # It asks for the state, of which there is none yet: nothing to die for.
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    manager = Manager(os.environ)
    manager.starting()
    store: LocalStore | MemoryStore
    try:
        prepared = _prepare(config)
        store = _open_store(config)
    except (ConfigError, Unusable) as error:
        log.critical("cannot start: %s", error)
        return EXIT_CONFIG
    except (CannotListen, StorageError, OSError) as error:
        log.critical("cannot start: %s", error)
        return EXIT_UNAVAILABLE
    status = EXIT_STORAGE
    try:
        status = _run(_serve(build(config, store), store, config, prepared, manager, supervised=supervised))
    except (Corrupt, InvalidDefinitions) as error:
        log.critical("cannot start: %s", error)
        status = EXIT_UNAVAILABLE
    finally:
        try:
            store.close()
        except Failed as error:
            log.critical("the log could not be closed: %s", error)
            status = EXIT_STORAGE
    return status


def _open_store(config: Config) -> LocalStore | MemoryStore:
    """Raises StorageError, OSError."""
    if config.testing.enabled:
        from broker.testing.faults.store import open_store

        return open_store(config.data_dir)
    return LocalStore(config.data_dir) if config.data_dir is not None else MemoryStore(keep=False)


def _prepare(config: Config) -> Prepared:
    """Raises ConfigError, Unusable, CannotListen."""
    client = http_client(config)
    contexts = _contexts(config)
    sockets = bind(config.listeners, config.tcp_options)
    http_tls = http_sockets.contexts(config, contexts)
    return Prepared(sockets, http_sockets.bind_all(config, http_tls), contexts, http_tls, client)


def check(config: Config) -> None:
    """Make what a start makes of the configuration before it touches a port or a directory. Raises ConfigError."""
    try:
        http_client(config)
        http_sockets.contexts(config, _contexts(config))
    except Unusable as error:
        raise ConfigError([str(error)]) from error


def _contexts(config: Config) -> Contexts | None:
    """For the TLS listeners, if there are any. Raises Unusable."""
    has_tls = any(listener.tls for listener in config.listeners)
    if sys.platform == "win32" and (has_tls or config.proxy_protocol):
        raise Unusable("TLS listeners and proxy_protocol need an event loop that watches sockets, which asyncio doesn't have on Windows")
    return Contexts(config.ssl_options) if has_tls else None


def export_definitions(config: Config, vhost: str | None) -> definitions.Document:
    """The definitions in the data directory of a stopped broker, of one vhost or of all. Raises StorageError, OSError, NotFound."""
    if config.data_dir is not None and not config.data_dir.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no data directory", str(config.data_dir))
    with _stopped(config) as (operations, _):
        return definitions.export(operations) if vhost is None else definitions.export_vhost(operations, vhost)


def import_definitions(config: Config, document: object, vhost: str | None) -> None:
    """Add definitions, of one vhost or of all, to the data directory of a stopped broker. Raises StorageError, OSError, NotFound,
    InvalidDefinitions; then nothing has been changed."""
    with _stopped(config) as (operations, store):
        if vhost is None:
            definitions.apply(operations, document)
        else:
            definitions.apply_to_vhost(operations, vhost, document)
        batch = operations.broker.outbox.take()
        for key, value in batch.puts.items():
            store.catalog.put(key, value)
        if batch.records:
            store.log.append(batch.records, lambda _: None)
        for key in batch.deletions:
            store.catalog.delete(key)


@contextmanager
def _stopped(config: Config) -> Iterator[tuple[Operations, LocalStore]]:
    if config.data_dir is None:
        raise FileNotFoundError(errno.ENOENT, "there is no data directory", "data_dir = none")
    store = LocalStore(config.data_dir)
    try:
        yield build(config, store), store
    finally:
        store.close()


def build(config: Config, store: LocalStore | MemoryStore) -> Operations:
    """A broker over `store`, with all that the store holds; a new store gets the default user and vhost. Raises Corrupt, and
    InvalidDefinitions for those to be loaded."""
    users = Users(loopback_users=config.loopback_users)
    authenticator, properties, keeps = authentication(config, users), server_properties(config), config.data_dir is not None
    if config.testing.enabled:
        from broker.testing.broker import WatchedBroker
        from broker.testing.rig import Rig

        rig = Rig(config.testing)
        rig.restore(store.catalog)
        rig.faults.attach(store, users)
        # In memory, too, everything goes through the store, so that a test can have it fail.
        broker: Broker = WatchedBroker(rig, authenticator, properties, logs=True)
    else:
        broker = Broker(authenticator, properties, wall_clock, secrets.token_bytes, logs=keeps)
    broker.compat = PROFILES[config.compat]
    broker.consumer_timeout.limit_ms = config.consumer_timeout_ms or None
    broker.consumer_max_per_channel = config.consumer_max_per_channel
    broker.connection_max = config.connection_max
    broker.channel_max_per_node = config.channel_max_per_node
    broker.default_queue_type = None if config.default_queue_type == "classic" else config.default_queue_type
    broker.node = node_name(config)
    restore_catalog(broker, store.catalog.scan())
    for entry in store.catalog.scan("user/"):
        try:
            users.put(User.from_json(entries.load(entry.value)))
        except (ValueError, TypeError) as error:
            raise nonsense(entry.key, str(error)) from error
    Replay(broker).apply(store.log.scan())
    for damage in store.log.damage():
        log.error("damage in the log: %s%s", damage.text, _lost(broker, damage))
    operations = Operations(
        broker,
        users,
        hashing_algorithm=config.password_hashing,
        vhost_max=config.vhost_max,
        default_limits=config.default_limits,
        default_policies=config.default_policies,
        default_users=config.default_users,
    )
    if store.catalog.get(entries.SEEDED) is None:
        _seed(operations, config)
    if config.event_exchange:
        vhost = broker.vhosts.get(config.default_vhost) or operations.put_vhost(config.default_vhost)
        broker.emit = EventExchange(broker, vhost).emit
    _load_definitions(operations, config, store, skip_if_unchanged=config.definitions_skip_if_unchanged)
    return operations


def _load_definitions(operations: Operations, config: Config, store: LocalStore | MemoryStore, *, skip_if_unchanged: bool) -> None:
    """Raises InvalidDefinitions."""
    if config.load_definitions is not None:
        imported = store.catalog.get(definitions.IMPORTED)
        unchanged = None if imported is None else imported.value
        definitions.load(operations, config.load_definitions, unchanged, skip_if_unchanged=skip_if_unchanged)


def _load_definitions_again(operations: Operations, config: Config, store: LocalStore | MemoryStore, server: Server) -> None:
    """At run time, at SIGHUP: what can't be imported is told, and everything goes on. The signal may be about something else (a log file
    that was moved), and then what has been changed since the last import has to stay."""
    try:
        _load_definitions(operations, config, store, skip_if_unchanged=True)
    except InvalidDefinitions as error:
        log.error("definitions were not imported: %s", error)
    server.turn.schedule()


def _lost(broker: Broker, damage: Damage) -> str:
    """What an operator is told of the messages that were in it; some of them may have been consumed before."""
    queues = {queue.id: queue for vhost in broker.vhosts.values() for queue in vhost.queues.values()}
    known = [(queues[queue_id], count) for queue_id, count in damage.messages if queue_id in queues]
    if not known:
        return ""
    parts = [f"{count} of {queue.vhost.queue_text(queue.name)}" for queue, count in known]
    return f"; messages that were in it and are lost, unless they had been consumed: {', '.join(parts)}"


def _seed(operations: Operations, config: Config) -> None:
    """The default vhost and user of an empty store; written down last that it was done, so that a crash meanwhile does it again.

    What is there already stays: a catalog that was mended may have lost only the mark. RabbitMQ makes neither where there are
    definitions to load, and leaves people without a login who forgot theirs."""
    if config.load_definitions is not None and config.definitions_replace_default_user:
        log.info("Will not seed default virtual host and user: have definitions to load")
    else:
        if config.default_vhost not in operations.broker.vhosts:
            operations.put_vhost(config.default_vhost, description="Default virtual host")
        if config.default_user not in operations.users:
            operations.add_user(config.default_user, config.default_pass, config.default_user_tags)
            operations.set_permissions(config.default_user, config.default_vhost, *config.default_permissions)
    operations.broker.outbox.put(entries.SEEDED, entries.dump({}))


def authentication(config: Config, users: Users) -> Authentication:
    """Who may log in, by which mechanisms, and who decides it (auth_backends.N)."""
    backends: dict[str, Backend] = {"internal": Internal(users), "http": Http(time.monotonic, config.auth_cache_seconds)}
    chain = Chain([Step(backends[each.authn], backends[each.authz]) for each in config.auth_backends])
    failures = Failures(time.monotonic, config.login_failures_max, config.login_delay_max_seconds)
    return Authentication(chain, users, failures, mechanisms=config.auth_mechanisms, anonymous_user=config.anonymous_login_user)


def http_client(config: Config) -> HttpClient | None:
    """What asks the server that auth_http.* names, if a backend needs it. Raises ConfigError."""
    if not any("http" in (each.authn, each.authz) for each in config.auth_backends):
        return None
    from broker.runtime.http_client import HttpClient  # 30 ms of http.client, for those who use it

    return HttpClient(config.auth_http)


def node_name(config: Config) -> str:
    """What is configured, else rabbit@HOST without the domain."""
    return config.node_name or f"rabbit@{socket.gethostname().partition('.')[0]}"


def server_properties(config: Config) -> Table:
    """What connection.start says about the server (contract 1.2); keys sorted, as RabbitMQ sends them."""
    node = node_name(config)
    capabilities = (
        "authentication_failure_close", "basic.nack", "connection.blocked", "consumer_cancel_notify", "consumer_priorities",
        "direct_reply_to", "exchange_exchange_bindings", "per_consumer_qos", "publisher_confirms",
    )  # fmt: skip
    return table_of(
        {
            "capabilities": dict.fromkeys(capabilities, True),
            "cluster_name": config.cluster_name or node,
            "copyright": "Copyright (c) Leveret contributors",
            "information": "Licensed under the MIT license",
            "leveret_version": identity.LEVERET_VERSION,
            "platform": f"Python {sys.version.split()[0]}",
            "product": identity.PRODUCT,
            "product_name": identity.LEVERET_NAME,
            "version": PROFILES[config.compat].version,
        }
    )


def wall_clock() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


async def _serve(
    operations: Operations, store: LocalStore | MemoryStore, config: Config, prepared: Prepared, manager: Manager, *, supervised: bool
) -> int:
    broker = operations.broker
    free = None if isinstance(store, MemoryStore) else store.free
    loop = asyncio.get_running_loop()
    server = _server_type(config)(broker, store, config, loop, free, prepared.client, manager)
    node = _node(config, server, broker, prepared, free)
    samples = Samples(wall_clock, kinds(broker, node))
    authenticator = cast("Authentication", broker.authenticator)
    context = Context(operations, config, node, samples, authenticator, loop, server.turn.decider.ask)
    announcement = announce(broker.node, node.ports(AMQP, AMQPS), config.data_dir, pid_file=config.pid_file)
    door = Door(openings(prepared.http, announcement.socket, config, loop, node.has_room_for), context, loop)
    if config.testing.enabled:
        _prepare_tests(context, config, supervised=supervised)
    else:
        _warn_of_clock(store)
    server.turn.schedule()
    server.on_state = StateDump(server, broker, identity.text(), _state_directory(config)).begin
    server.on_hangup += [logs.reopen, lambda: _load_definitions_again(operations, config, store, server)]
    sink = _log_exchange(config, broker, server)

    def ready() -> None:
        gc.collect()
        gc.freeze()
        samples.start(loop)
        door.start()
        if config.testing.enabled:
            door.open()  # the first test asks at once
        if supervised:
            _supervise(server, node, context, loop)
        plugins = node.plugins
        _say_so(config, f"  Starting broker... completed with {len(plugins)} plugins.")
        log.info("Server startup complete; %d plugins started.\n%s", len(plugins), "\n".join(f" * {plugin}" for plugin in plugins))

    # RabbitMQ starts its plugins before its listeners, and scripts wait for lines in this order. Who comes early waits in the backlog.
    http_sockets.log_started(prepared.http)
    try:
        await server.run(prepared.sockets, prepared.contexts, ready)
    finally:
        samples.stop()
        await door.close()
        announcement.close()
        if sink is not None:
            # Other threads go on, and have things to say when nothing is published any more.
            logs.remove(sink)
    return EXIT_STORAGE if server.turn.committer.failed is not None else EXIT_OK


def _server_type(config: Config) -> type[Server]:
    if not config.testing.enabled:
        return Server
    from broker.testing.server import WatchedServer

    return WatchedServer


def _prepare_tests(context: Context, config: Config, *, supervised: bool) -> None:
    """What a broker for tests serves beside everything else."""
    from broker.testing.broker import WatchedBroker

    assert isinstance(context.broker, WatchedBroker)
    rig = context.broker.rig
    context.more_routes, context.testing_token = rig.routes, rig.token
    log.warning("this is a broker for tests (testing = true): nothing else should be done with it")
    clock = rig.clock
    if ahead := round(clock.offset_ms / 1000):
        log.info("its clock %s %d s ahead", "stands" if clock.is_frozen else "goes on", ahead)
    if config.testing.token is None and not supervised:
        log.info("its time can be moved, and so on, with this token: %s", rig.token)


def _warn_of_clock(store: LocalStore | MemoryStore) -> None:
    """The data directory may be that of a broker for tests (broker.testing.timing.clock), which had another time."""
    kept = store.catalog.get(entries.TESTING_CLOCK)
    if kept is None:
        return
    value = entries.load(kept.value)
    frozen_at_ms = value.get("frozen_at_ms")
    ahead = round((value["offset_ms"] if frozen_at_ms is None else frozen_at_ms - wall_clock()) / 1000)
    if ahead:
        way, much = ("ahead", "longer") if ahead > 0 else ("behind", "shorter")
        text = "the data directory was used by a broker for tests whose clock was %d s %s: what was published then lives so much %s"
        log.warning(text, abs(ahead), way, much)


def _supervise(server: Server, node: Node, context: Context, loop: asyncio.AbstractEventLoop) -> None:
    from broker.testing import supervision

    supervision.end_with_parent(loop, server.stop)
    listeners = [{"protocol": each.protocol, "host": each.host, "port": each.port} for each in node.listeners]
    supervision.tell({"leveret": identity.LEVERET_VERSION, "pid": os.getpid(), "listeners": listeners, "token": context.testing_token})


def _node(config: Config, server: Server, broker: Broker, prepared: Prepared, free: Callable[[], int] | None) -> Node:
    node = Node(broker, config, server, free, wall_clock)
    node.listeners += [Listening(AMQPS if each.tls else AMQP, *each.socket.getsockname()[:2]) for each in prepared.sockets]
    node.listeners += [Listening(each.protocol, *each.socket.getsockname()[:2]) for each in prepared.http]
    node.tls |= prepared.http_tls
    if prepared.contexts is not None:
        node.tls[AMQPS] = prepared.contexts
    for each in set(node.tls.values()):
        server.reload_at_hangup(each)
    return node


def _log_exchange(config: Config, broker: Broker, server: Server) -> LogExchange | None:
    """log.exchange, if it is configured and has a vhost to be in."""
    if not config.log.exchange:
        return None
    vhost = broker.vhosts.get(config.default_vhost)
    if vhost is None:
        log.warning("log.exchange: there is no vhost '%s' to log in", config.default_vhost)
        return None
    sink = LogExchange(broker, vhost, server.wake)
    logs.add(sink, config.log, config.log.exchange_level)
    return sink


def _say_so(config: Config, text: str) -> None:
    """A line on stdout that is none of the log's: RabbitMQ has it there whatever is logged, and scripts wait for it. A console of JSON
    objects is spared."""
    if not config.log.console_json:
        try:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()
        except (OSError, ValueError, AttributeError) as error:  # closed, or there is none
            log.debug("stdout can't be written: %s", error)


def _state_directory(config: Config) -> Path | None:
    """Where SIGUSR1 leaves a file: beside the log, else with the data; None where neither is on a disk."""
    if config.log.file is not None:
        return (config.log.file if config.log.dir is None else config.log.dir / config.log.file).parent
    return config.data_dir


def _run(main: Coroutine[None, None, int]) -> int:
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def _raise_file_limit() -> None:
    """A connection is a file: take as many as the system lets us have."""
    try:
        import resource
    except ImportError:  # Windows
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError) as error:
        log.warning("cannot raise the limit of open files: %s", error)
