"""What RabbitMQ's command line does and its HTTP API doesn't: /api/leveret/ctl, for administrators and the control socket."""

from __future__ import annotations

import gc
import logging
import os
import platform
import ssl
import sys
from typing import TYPE_CHECKING, Any, Final

from broker import logs
from broker.access.backends import Credentials, Rejected
from broker.admin.call import Answer, done
from broker.admin.errors import BadRequest, Missing
from broker.admin.routing import Access, Route
from broker.admin.schemas import NO_BODY
from broker.core.login import Attempt

if TYPE_CHECKING:
    from broker.admin.call import Call
    from broker.admin.routing import Handler
    from broker.admin.schemas import Fields
    from broker.config import Config
    from broker.node import Node
    from broker.operations import Operations

log = logging.getLogger("control")

SECRETS: Final = ("PASS", "SECRET", "COOKIE", "TOKEN", "CREDENTIAL", "PRIVATE")
"""Words in the names of variables whose values nobody is shown."""
MASK: Final = "********"
STOP_SECONDS: Final = 0.02
"""In which the answer to `stop` has left."""
LIMIT_BYTES_MAX: Final = 2**62
"""More has no disk, and no client's integers."""
ALARM_LEVELS: Final = {"alert": "critical", "emergency": "critical"}
"""Levels of Erlang's logger that RabbitMQ never uses."""


# --- users --------------------------------------------------------------------------------------------------------------


async def put_password(call: Call) -> Answer:
    """Gives a user another password; its connections stay open."""
    password = (await call.body()).text("password")
    if password:
        call.operations.set_password(call.path["user"], password, acting_user=call.user_name)
    else:
        call.operations.clear_password(call.path["user"], acting_user=call.user_name)
    await call.commit()
    return done()


async def delete_password(call: Call) -> Answer:
    """Lets nobody log in as a user with a password."""
    call.operations.clear_password(call.path["user"], acting_user=call.user_name)
    await call.commit()
    return done()


async def put_tags(call: Call) -> Answer:
    """Puts tags in place of those a user had: a list of words."""
    tags = (await call.body()).values.get("tags")
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise BadRequest("tags: expected a list of words")
    call.operations.set_tags(call.path["user"], tags, acting_user=call.user_name)
    await call.commit()
    return done()


async def authenticate(call: Call) -> dict[str, Any]:
    """Tries a password against the authentication backends, and tells whether it was right."""
    password = (await call.body()).text("password")
    claim = Credentials(call.path["user"], password.encode("utf-8", "surrogateescape"), "127.0.0.1")
    attempt = Attempt()
    try:
        await call.context.decide(lambda: call.context.authentication.admit(claim, attempt, is_loopback=True))
    except Rejected as rejected:
        return {"authenticated": False, "reason": rejected.reason}
    return {"authenticated": True, "reason": ""}


# --- the node -----------------------------------------------------------------------------------------------------------


def get_facts(call: Call) -> dict[str, Any]:
    """Tells what the commands show of the process and nobody else asks for."""
    return facts(call.context.config, call.context.node, os.environ)


def facts(config: Config, node: Node, environ: Any) -> dict[str, Any]:
    """state (running, or stopped by `rabbitmqctl stop_app`), os, crypto_lib_version, command_line, os_env, enabled_plugins_file,
    memory_high_watermark ({"relative": share} or {"absolute": bytes}) and certificates."""
    shown = {name: _masked(name, value) for name, value in sorted(environ.items()) if name.startswith(("RABBITMQ_", "LEVERET_"))}
    options = config.ssl_options
    files = [] if options is None else [options.certfile, options.cacertfile]
    return {
        "state": "stopped" if node.server.is_suspended else "running",
        "os": platform.system(),
        "crypto_lib_version": ssl.OPENSSL_VERSION,
        "command_line": sys.orig_argv,
        "os_env": shown,
        "enabled_plugins_file": environ.get("RABBITMQ_ENABLED_PLUGINS_FILE"),
        "memory_high_watermark": watermark(node),
        "certificates": [str(file) for file in files if file is not None],
    }


def watermark(node: Node) -> dict[str, float]:
    """The limit as somebody may have said it: a share of the machine's memory if it is one of few digits, else bytes."""
    limit, whole = node.memory_limit_bytes, node.server.alarms.machine_bytes
    share = round(limit / whole, 4) if whole else 0.0
    return {"relative": share} if int(share * whole) == limit else {"absolute": limit}


def _masked(name: str, value: str) -> str:
    return MASK if any(word in name for word in SECRETS) else value


def get_environment(call: Call) -> dict[str, Any]:
    """Tells the configuration in effect, by the names that RabbitMQ's applications have for it."""
    return environment(call.context.config, call.context.node, call.operations)


def environment(config: Config, node: Node, operations: Operations) -> dict[str, dict[str, Any]]:
    """{application: {variable: value}}"""
    plain = [[listener.host, listener.port] for listener in config.listeners if not listener.tls]
    secure = [[listener.host, listener.port] for listener in config.listeners if listener.tls]
    limit = watermark(node)
    return {
        "rabbit": {
            "auth_mechanisms": list(config.auth_mechanisms),
            "channel_max": config.channel_max,
            "cluster_name": node.cluster_name,
            "connection_max": config.connection_max or "infinity",
            "consumer_timeout": operations.broker.consumer_timeout.limit_ms or "undefined",
            "data_dir": None if config.data_dir is None else str(config.data_dir),
            "default_pass": MASK,
            "default_permissions": list(config.default_permissions),
            "default_queue_type": config.default_queue_type,
            "default_user": config.default_user,
            "default_user_tags": list(config.default_user_tags),
            "default_vhost": config.default_vhost,
            "disk_free_limit": node.disk_free_limit_bytes,
            "frame_max": config.frame_max_bytes,
            "handshake_timeout": int(config.handshake_timeout_seconds * 1000),
            "heartbeat": config.heartbeat_seconds,
            "loopback_users": sorted(config.loopback_users),
            "max_message_size": config.max_message_size_bytes,
            "password_hashing_module": operations.hashing_algorithm,
            "proxy_protocol": config.proxy_protocol,
            "ssl_listeners": secure,
            "tcp_listeners": plain,
            "vhost_max": config.vhost_max or "infinity",
            "vm_memory_high_watermark": limit.get("relative", limit),
        },
        "rabbitmq_management": {
            "load_definitions": None if config.load_definitions is None else str(config.load_definitions),
            "path_prefix": config.management.path_prefix,
        },
    }


async def put_environment(call: Call) -> Answer:
    """Changes a variable of RabbitMQ's application environment; of those that there are consumer_timeout can be changed."""
    body = await call.body()
    if (call.path["application"], call.path["variable"]) != ("rabbit", "consumer_timeout"):
        raise BadRequest(f"{call.path['application']}.{call.path['variable']} can't be changed while the broker runs")
    value = body.values.get("value")
    if value is not None and value != "undefined" and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise BadRequest("consumer_timeout: expected milliseconds, or undefined")
    call.broker.consumer_timeout.limit_ms = value if isinstance(value, int) and value else None
    return done()


async def put_memory_high_watermark(call: Call) -> Answer:
    """Changes the memory that messages may take: {"relative": share of the machine's} or {"absolute": bytes}."""
    limit = _limit(await call.body(), "relative", call.context.node.server.alarms.machine_bytes)
    call.context.node.server.alarms.set_vm_memory_high_watermark(limit)
    call.context.node.schedule_turn()
    return done()


async def put_disk_free_limit(call: Call) -> Answer:
    """Changes the disk space that has to be free: {"mem_relative": times the machine's memory} or {"absolute": bytes}."""
    limit = _limit(await call.body(), "mem_relative", call.context.node.server.alarms.machine_bytes)
    call.context.node.server.alarms.set_disk_free_limit(limit)
    call.context.node.schedule_turn()
    return done()


def _limit(body: Any, relative: str, whole_bytes: int) -> int:
    """Raises BadRequest."""
    for name, unit in ((relative, whole_bytes), ("absolute", 1)):
        value = body.values.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value * unit <= LIMIT_BYTES_MAX:
            return int(value * unit)
    raise BadRequest(f"expected an object with {relative} or absolute, a number of 0 or more, of 2^62 bytes at the most")


async def put_log_level(call: Call) -> Answer:
    """Changes the least severe level of lines that are logged, of all sinks and categories."""
    level = (await call.body()).text("level")
    level = ALARM_LEVELS.get(level, level)
    if level not in logs.LEVELS:
        raise BadRequest(f"level {level} is not supported. Try one of debug, info, warning, error, critical, none")
    logs.set_level(level)
    return done()


def rotate_logs(call: Call) -> Answer:
    """Opens the log file again under its name, for it may have been moved away."""
    logs.reopen()
    return done()


def collect_garbage(call: Call) -> Answer:
    """Has Python's collector look for what nobody refers to."""
    gc.collect()
    return done()


def stop(call: Call) -> Answer:
    """Stops the broker, as SIGTERM does, once this is answered."""
    log.info("%s asks for the end - shutting down", call.user_name)
    call.context.loop.call_later(STOP_SECONDS, call.context.node.server.stop)
    return done()


def suspend(call: Call) -> Answer:
    """Closes all AMQP connections and lets nobody connect (rabbitmqctl stop_app); the process goes on."""
    call.context.node.server.suspend()
    return done()


def resume(call: Call) -> Answer:
    """Lets clients connect again (rabbitmqctl start_app)."""
    call.context.node.server.resume()
    return done()


async def reset(call: Call) -> Answer:
    """Deletes everything: virtual hosts, users, parameters; then makes the default vhost and user. Only while stopped."""
    if not call.context.node.server.is_suspended:
        raise BadRequest("this command requires the 'rabbit' app to be stopped on the target node. Stop it with 'rabbitmqctl stop_app'.")
    empty(call.operations, call.context.config, call.user_name)
    await call.commit()
    return done()


def empty(operations: Operations, config: Config, acting_user: str) -> None:
    """As a broker with a new data directory."""
    broker = operations.broker
    for vhost in list(broker.vhosts):
        # Whoever resets means the protected ones too.
        operations.put_vhost(vhost, protected=False, acting_user=acting_user)
        operations.delete_vhost(vhost, acting_user=acting_user)
    for user in list(operations.users):
        operations.delete_user(user.name, acting_user=acting_user)
    for name in list(broker.global_parameters):
        operations.clear_global_parameter(name, acting_user=acting_user)
    operations.put_vhost(config.default_vhost, description="Default virtual host")
    operations.add_user(config.default_user, config.default_pass, config.default_user_tags)
    operations.set_permissions(config.default_user, config.default_vhost, *config.default_permissions)


# --- the firehose -------------------------------------------------------------------------------------------------------


def start_tracing(call: Call) -> Answer:
    """Turns the firehose of a virtual host on."""
    return _trace(call, True)


def stop_tracing(call: Call) -> Answer:
    """Turns the firehose of a virtual host off."""
    return _trace(call, False)


def _trace(call: Call, tracing: bool) -> Answer:
    name = call.path["vhost"]
    if name not in call.broker.vhosts:
        raise Missing(f"virtual host '{name}' does not exist")
    call.operations.put_vhost(name, tracing=tracing, acting_user=call.user_name)
    call.context.node.schedule_turn()
    return done()


_USER: Final = "/api/leveret/ctl/users/{user}"
_TRACING: Final = "/api/leveret/ctl/vhosts/{vhost}/tracing"
SCHEMAS: Final = {
    "Authenticated": {"authenticated": "boolean!", "reason": "string!"},
    "Facts": {
        "state": "'running'|'stopped'!",
        "os crypto_lib_version": "string!",
        "command_line certificates": "[string]!",
        "os_env": "{string}!",
        "enabled_plugins_file": "string|null!",
        "memory_high_watermark": "{number}!",
    },
}


def _put(path: str, handler: Handler, body: Fields) -> Route:
    return Route("PUT", path, handler, Access.ADMINISTRATOR, body, statuses=(204,))


def _command(name: str, handler: Handler) -> Route:
    return Route("POST", f"/api/leveret/ctl/{name}", handler, Access.ADMINISTRATOR, NO_BODY)


ROUTES: Final = (
    _put(f"{_USER}/password", put_password, {"password": "string"}),
    Route("DELETE", f"{_USER}/password", delete_password, Access.ADMINISTRATOR),
    _put(f"{_USER}/tags", put_tags, {"tags": "[string]!"}),
    Route("POST", f"{_USER}/authenticate", authenticate, Access.ADMINISTRATOR, {"password": "string"}, shows="Authenticated"),
    Route("GET", "/api/leveret/ctl/facts", get_facts, Access.ADMINISTRATOR, shows="Facts"),
    Route("GET", "/api/leveret/ctl/environment", get_environment, Access.ADMINISTRATOR, shows="{object}"),
    _put("/api/leveret/ctl/environment/{application}/{variable}", put_environment, {"value": "any"}),
    _put("/api/leveret/ctl/memory-high-watermark", put_memory_high_watermark, {"relative absolute": "number"}),
    _put("/api/leveret/ctl/disk-free-limit", put_disk_free_limit, {"mem_relative absolute": "number"}),
    _put("/api/leveret/ctl/log-level", put_log_level, {"level": "|".join(f"'{level}'" for level in logs.LEVELS) + "!"}),
    _command("rotate-logs", rotate_logs),
    _command("collect-garbage", collect_garbage),
    _command("stop", stop),
    _command("suspend", suspend),
    _command("resume", resume),
    _command("reset", reset),
    _put(_TRACING, start_tracing, NO_BODY),
    Route("DELETE", _TRACING, stop_tracing, Access.ADMINISTRATOR),
)
