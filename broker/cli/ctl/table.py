"""All commands, in one table: which module has them, which of the tools has them, and their line in `help`."""

from __future__ import annotations

from typing import Final, NamedTuple

SCOPES: Final = {
    "rabbitmqctl": "c", "rabbitmq-diagnostics": "d", "rabbitmq-plugins": "p", "rabbitmq-queues": "q", "rabbitmq-streams": "s",
    "rabbitmq-upgrade": "u", "ctl": "cdpqsu",
}  # fmt: skip
"""The tools, and the letters of their commands in the table. `leveret ctl` has them all."""
HELP: Final = "Help"
NODES: Final = "Nodes"
CLUSTER: Final = "Cluster"
REPLICATION: Final = "Replication"
USERS: Final = "Users"
ACCESS_CONTROL: Final = "Access Control"
MONITORING: Final = "Monitoring, observability and health checks"
PARAMETERS: Final = "Parameters"
POLICIES: Final = "Policies"
VIRTUAL_HOSTS: Final = "Virtual hosts"
CONFIGURATION_AND_ENVIRONMENT: Final = "Configuration and Environment"
FEATURE_FLAGS: Final = "Feature flags"
DEFINITIONS: Final = "Definitions"
QUEUES: Final = "Queues"
OPERATIONS: Final = "Operations"
PLUGINS: Final = "Plugins"
UPGRADE: Final = "Upgrade"
DEPRECATED: Final = "Deprecated"
SECTIONS: Final = (
    HELP,
    NODES,
    CLUSTER,
    REPLICATION,
    USERS,
    ACCESS_CONTROL,
    MONITORING,
    PARAMETERS,
    POLICIES,
    VIRTUAL_HOSTS,
    CONFIGURATION_AND_ENVIRONMENT,
    FEATURE_FLAGS,
    DEFINITIONS,
    QUEUES,
    OPERATIONS,
    PLUGINS,
    UPGRADE,
    DEPRECATED,
)
"""Of the help, in its order."""


class Row(NamedTuple):
    """A command: its name, the module that has it, the letters of the tools that do, its section in the help, and what it does."""

    name: str
    file: str
    scopes: str
    section: str
    help: str

    @property
    def module(self) -> str:
        """To import."""
        return f"broker.cli.ctl.{self.file}"


ROWS: Final = (
    Row("help", "report", "cdpqsu", HELP, "usage of these tools and of their commands"),
    Row("autocomplete", "report", "cdpq", HELP, "names of commands, for shells that complete them"),
    Row("version", "status", "cdp", HELP, "the version of RabbitMQ that these tools are like"),
    Row("await_startup", "node", "c", NODES, "wait until the broker is up"),
    Row("wait", "node", "cd", NODES, "wait until the broker of a pid file or process is up"),
    Row("stop", "node", "c", NODES, "stop the broker"),
    Row("shutdown", "node", "c", NODES, "stop the broker and wait until its process has ended"),
    Row("stop_app", "node", "c", NODES, "close all connections and let no client in; the process stays"),
    Row("start_app", "node", "c", NODES, "let clients in again"),
    Row("reset", "node", "c", NODES, "delete everything, while the app is stopped"),
    Row("force_reset", "node", "c", NODES, "delete everything, while the app is stopped"),
    Row("force_boot", "node", "c", NODES, "nothing: there are no other nodes to wait for"),
    Row("rotate_logs", "node", "c", NODES, "open the log file again under its name"),
    Row("suspend_listeners", "node", "c", NODES, "let no client in"),
    Row("resume_listeners", "node", "c", NODES, "let clients in again"),
    Row("await_online_nodes", "node", "c", CLUSTER, "wait for nodes; there is one"),
    Row("cluster_status", "status", "cd", CLUSTER, "the node, its version, alarms, listeners and feature flags"),
    Row("set_cluster_name", "status", "c", CLUSTER, "change the name that clients are told"),
    Row("join_cluster", "status", "c", CLUSTER, "refused: there are no clusters"),
    Row("forget_cluster_node", "status", "c", CLUSTER, "refused: there are no clusters"),
    Row("change_cluster_node_type", "status", "c", CLUSTER, "refused: there are no clusters"),
    Row("rename_cluster_node", "status", "c", CLUSTER, "refused: there are no clusters"),
    Row("update_cluster_nodes", "status", "c", CLUSTER, "refused: there are no clusters"),
    Row("rebalance", "queues", "q", CLUSTER, "nothing to do on one node"),
    Row("grow", "queues", "q", CLUSTER, "refused: queues have one replica"),
    Row("shrink", "queues", "q", CLUSTER, "refused: queues have one replica"),
    Row("add_member", "queues", "q", REPLICATION, "refused: queues have one replica"),
    Row("delete_member", "queues", "q", REPLICATION, "refused: queues have one replica"),
    Row("add_replica", "queues", "s", REPLICATION, "refused: there are no streams"),
    Row("delete_replica", "queues", "s", REPLICATION, "refused: there are no streams"),
    Row("restart_stream", "machine", "s", REPLICATION, "refused: there are no streams"),
    Row("sync_queue", "queues", "c", REPLICATION, "nothing to do on one node"),
    Row("cancel_sync_queue", "queues", "c", REPLICATION, "nothing to do on one node"),
    Row("add_user", "users", "c", USERS, "create a user, who may enter no virtual host yet"),
    Row("authenticate_user", "users", "c", USERS, "try a user's password"),
    Row("change_password", "users", "c", USERS, "give a user another password"),
    Row("clear_password", "users", "c", USERS, "let nobody log in as a user with a password"),
    Row("delete_user", "users", "c", USERS, "delete a user"),
    Row("hash_password", "users", "c", USERS, "hash a password, for definitions"),
    Row("list_users", "users", "cd", USERS, "names and tags"),
    Row("set_user_tags", "users", "c", USERS, "put tags in place of those a user has"),
    Row("set_user_limits", "policies", "c", USERS, "limit a user's connections or channels"),
    Row("clear_user_limits", "policies", "c", USERS, "take limits of a user away"),
    Row("list_user_limits", "policies", "cd", USERS, "limits of a user, or of all"),
    Row("set_permissions", "permissions", "c", ACCESS_CONTROL, "let a user into a virtual host, or change what it may do there"),
    Row("set_permissions_globally", "permissions", "c", ACCESS_CONTROL, "the same in all virtual hosts"),
    Row("clear_permissions", "permissions", "c", ACCESS_CONTROL, "let a user into a virtual host no more"),
    Row("list_permissions", "permissions", "cd", ACCESS_CONTROL, "who may do what in a virtual host"),
    Row("list_user_permissions", "permissions", "cd", ACCESS_CONTROL, "what a user may do where"),
    Row("set_topic_permissions", "permissions", "c", ACCESS_CONTROL, "restrict a user to some routing keys of a topic exchange"),
    Row("clear_topic_permissions", "permissions", "c", ACCESS_CONTROL, "lift such restrictions"),
    Row("list_topic_permissions", "permissions", "cd", ACCESS_CONTROL, "such restrictions in a virtual host"),
    Row("list_user_topic_permissions", "permissions", "cd", ACCESS_CONTROL, "such restrictions of a user"),
    Row("list_vhosts", "vhosts", "cd", ACCESS_CONTROL, "virtual hosts"),
    Row("status", "status", "cd", MONITORING, "versions, files, alarms, memory, limits and listeners"),
    Row("ping", "health", "cd", MONITORING, "whether the broker answers"),
    Row("alarms", "health", "d", MONITORING, "alarms in effect"),
    Row("check_alarms", "health", "d", MONITORING, "fails if an alarm is in effect"),
    Row("check_local_alarms", "health", "d", MONITORING, "fails if an alarm is in effect"),
    Row("check_running", "health", "d", MONITORING, "fails if the broker isn't up"),
    Row("is_running", "health", "d", MONITORING, "tells whether the broker is up"),
    Row("is_booting", "health", "d", MONITORING, "tells whether the broker is coming up"),
    Row("check_virtual_hosts", "health", "d", MONITORING, "fails if a virtual host is down"),
    Row("check_port_connectivity", "listeners", "d", MONITORING, "fails if one of the broker's ports can't be reached"),
    Row("check_port_listener", "listeners", "d", MONITORING, "fails if the broker doesn't listen on a port"),
    Row("check_protocol_listener", "listeners", "d", MONITORING, "fails if the broker doesn't speak a protocol"),
    Row("check_certificate_expiration", "health", "d", MONITORING, "fails if a certificate ends soon"),
    Row("check_if_any_deprecated_features_are_used", "health", "cd", MONITORING, "fails if one is in use"),
    Row("check_if_cluster_has_classic_queue_mirroring_policy", "health", "dq", MONITORING, "fails if a policy asks for mirrors"),
    Row("check_if_node_is_quorum_critical", "queues", "dq", MONITORING, "about other nodes, and passes"),
    Row("check_if_node_is_mirror_sync_critical", "queues", "dq", MONITORING, "about other nodes, and passes"),
    Row("listeners", "listeners", "d", MONITORING, "where the broker listens, and for what"),
    Row("list_queues", "queues", "cd", MONITORING, "queues of a virtual host"),
    Row("list_unresponsive_queues", "queues", "cd", MONITORING, "queues that don't answer: none"),
    Row("list_exchanges", "exchanges", "cd", MONITORING, "exchanges of a virtual host"),
    Row("list_bindings", "exchanges", "cd", MONITORING, "bindings of a virtual host"),
    Row("list_connections", "connections", "cd", MONITORING, "AMQP connections"),
    Row("list_channels", "connections", "cd", MONITORING, "their channels"),
    Row("list_consumers", "connections", "cd", MONITORING, "consumers in a virtual host"),
    Row("list_node_auth_attempt_stats", "health", "cd", MONITORING, "logins, and refused ones"),
    Row("memory_breakdown", "status", "d", MONITORING, "what the memory is used for"),
    Row("server_version", "status", "d", MONITORING, "the RabbitMQ that the broker is like"),
    Row("erlang_version", "status", "d", MONITORING, "what the broker says of its runtime"),
    Row("report", "report", "cd", MONITORING, "all that support would ask for"),
    Row("peek", "queues", "q", MONITORING, "a message of a quorum queue, where it is"),
    Row("quorum_status", "queues", "dq", MONITORING, "a quorum queue's only member"),
    Row("log_tail", "log", "d", MONITORING, "the last lines of the log file"),
    Row("log_tail_stream", "log", "d", MONITORING, "lines of the log file as they come"),
    Row("list_network_interfaces", "machine", "d", MONITORING, "network interfaces of this machine"),
    Row("discover_peers", "machine", "d", MONITORING, "other nodes: none"),
    Row("cipher_suites", "machine", "d", MONITORING, "what TLS can be spoken with"),
    Row("tls_versions", "machine", "d", MONITORING, "versions of TLS"),
    Row("metadata_store_status", "machine", "d", MONITORING, "where declared things are kept"),
    Row("list_policies_that_match", "policies", "d", MONITORING, "policies that fit a queue or an exchange"),
    Row("list_ciphers", "machine", "cd", MONITORING, "refused: nothing is encrypted"),
    Row("list_hashes", "machine", "cd", MONITORING, "refused: nothing is encrypted"),
    Row("consume_event_stream", "machine", "d", MONITORING, "refused: amq.rabbitmq.event has events"),
    Row("maybe_stuck", "machine", "d", MONITORING, "refused: about Erlang"),
    Row("observer", "machine", "d", MONITORING, "refused: see leveret top"),
    Row("remote_shell", "machine", "d", MONITORING, "refused: about Erlang"),
    Row("runtime_thread_stats", "machine", "d", MONITORING, "refused: about Erlang"),
    Row("schema_info", "machine", "cd", MONITORING, "refused: there is no Mnesia"),
    Row("stream_status", "machine", "dqs", MONITORING, "refused: there are no streams"),
    Row("coordinator_status", "machine", "s", MONITORING, "refused: there are no streams"),
    Row("set_parameter", "policies", "c", PARAMETERS, "set a parameter of a component in a virtual host"),
    Row("clear_parameter", "policies", "c", PARAMETERS, "delete one"),
    Row("list_parameters", "policies", "cd", PARAMETERS, "parameters of a virtual host"),
    Row("set_global_parameter", "policies", "c", PARAMETERS, "set a global parameter"),
    Row("clear_global_parameter", "policies", "c", PARAMETERS, "delete one"),
    Row("list_global_parameters", "policies", "cd", PARAMETERS, "global parameters"),
    Row("set_policy", "policies", "c", POLICIES, "create a policy, or change it"),
    Row("clear_policy", "policies", "c", POLICIES, "delete one"),
    Row("list_policies", "policies", "cd", POLICIES, "policies of a virtual host"),
    Row("set_operator_policy", "policies", "c", POLICIES, "create an operator policy, or change it"),
    Row("clear_operator_policy", "policies", "c", POLICIES, "delete one"),
    Row("list_operator_policies", "policies", "cd", POLICIES, "operator policies of a virtual host"),
    Row("set_stream_retention_policy", "machine", "s", POLICIES, "refused: there are no streams"),
    Row("add_vhost", "vhosts", "c", VIRTUAL_HOSTS, "create a virtual host"),
    Row("delete_vhost", "vhosts", "c", VIRTUAL_HOSTS, "delete a virtual host with all that is in it"),
    Row("update_vhost_metadata", "vhosts", "c", VIRTUAL_HOSTS, "change description, tags or default queue type"),
    Row("set_vhost_tags", "vhosts", "c", VIRTUAL_HOSTS, "put tags in place of those there are"),
    Row("restart_vhost", "vhosts", "c", VIRTUAL_HOSTS, "nothing: a virtual host runs while it is there"),
    Row("reconcile_vhosts", "node", "c", VIRTUAL_HOSTS, "nothing: there are no other nodes"),
    Row("trace_on", "vhosts", "c", VIRTUAL_HOSTS, "publish copies of all messages to amq.rabbitmq.trace"),
    Row("trace_off", "vhosts", "c", VIRTUAL_HOSTS, "no more"),
    Row("set_vhost_limits", "policies", "c", VIRTUAL_HOSTS, "limit connections or queues of a virtual host"),
    Row("clear_vhost_limits", "policies", "c", VIRTUAL_HOSTS, "take such limits away"),
    Row("list_vhost_limits", "policies", "cd", VIRTUAL_HOSTS, "limits of a virtual host, or of all"),
    Row("environment", "status", "cd", CONFIGURATION_AND_ENVIRONMENT, "the configuration in effect"),
    Row("os_env", "status", "d", CONFIGURATION_AND_ENVIRONMENT, "variables that the broker was started with"),
    Row("command_line_arguments", "status", "d", CONFIGURATION_AND_ENVIRONMENT, "how the broker was started"),
    Row("log_location", "log", "d", CONFIGURATION_AND_ENVIRONMENT, "where the log is"),
    Row("certificates", "health", "d", CONFIGURATION_AND_ENVIRONMENT, "files of certificates"),
    Row("resolve_hostname", "machine", "d", CONFIGURATION_AND_ENVIRONMENT, "addresses of a name"),
    Row("resolver_info", "machine", "d", CONFIGURATION_AND_ENVIRONMENT, "refused: the system resolves names"),
    Row("erlang_cookie_hash", "machine", "d", CONFIGURATION_AND_ENVIRONMENT, "refused: there is no cookie"),
    Row("erlang_cookie_sources", "machine", "d", CONFIGURATION_AND_ENVIRONMENT, "refused: there is no cookie"),
    Row("reset_node_auth_attempt_metrics", "machine", "d", CONFIGURATION_AND_ENVIRONMENT, "refused: they count from the start"),
    Row("enable_auth_attempt_source_tracking", "node", "d", CONFIGURATION_AND_ENVIRONMENT, "nothing: it is always on"),
    Row("disable_auth_attempt_source_tracking", "node", "d", CONFIGURATION_AND_ENVIRONMENT, "nothing: it is always on"),
    Row("set_vm_memory_high_watermark", "node", "c", CONFIGURATION_AND_ENVIRONMENT, "change how much memory messages may take"),
    Row("set_disk_free_limit", "node", "c", CONFIGURATION_AND_ENVIRONMENT, "change how much disk space has to be free"),
    Row("set_log_level", "node", "c", CONFIGURATION_AND_ENVIRONMENT, "change what is logged"),
    Row("activate_free_disk_space_monitoring", "node", "cd", CONFIGURATION_AND_ENVIRONMENT, "nothing: it is always on"),
    Row("deactivate_free_disk_space_monitoring", "node", "cd", CONFIGURATION_AND_ENVIRONMENT, "nothing: it is always on"),
    Row("encode", "machine", "c", CONFIGURATION_AND_ENVIRONMENT, "refused: no encrypted values are read"),
    Row("decode", "machine", "c", CONFIGURATION_AND_ENVIRONMENT, "refused: no encrypted values are read"),
    Row("list_feature_flags", "status", "cd", FEATURE_FLAGS, "feature flags, all enabled"),
    Row("enable_feature_flag", "status", "c", FEATURE_FLAGS, "nothing: all are enabled"),
    Row("list_deprecated_features", "status", "cd", FEATURE_FLAGS, "deprecated features of RabbitMQ"),
    Row("export_definitions", "definitions", "c", DEFINITIONS, "write all that is declared to a file"),
    Row("import_definitions", "definitions", "c", DEFINITIONS, "declare what is in a file"),
    Row("delete_queue", "queues", "c", QUEUES, "delete a queue with its messages"),
    Row("purge_queue", "queues", "c", QUEUES, "delete a queue's ready messages"),
    Row("close_connection", "connections", "c", OPERATIONS, "close a connection"),
    Row("close_all_connections", "connections", "c", OPERATIONS, "close the connections of a virtual host, or all"),
    Row("close_all_user_connections", "connections", "c", OPERATIONS, "close the connections of a user"),
    Row("force_gc", "node", "c", OPERATIONS, "have the garbage collector look"),
    Row("eval", "evaluation", "c", OPERATIONS, "a few Erlang expressions that scripts use"),
    Row("eval_file", "machine", "c", OPERATIONS, "refused: there is no Erlang"),
    Row("exec", "machine", "c", OPERATIONS, "refused: there is no Elixir"),
    Row("reclaim_quorum_memory", "queues", "dq", OPERATIONS, "nothing to do"),
    Row("remove_classic_queue_mirroring_from_policies", "node", "c", OPERATIONS, "nothing to do"),
    Row("enable", "plugins", "p", PLUGINS, "enable plugins: what is served is always on"),
    Row("disable", "plugins", "p", PLUGINS, "disable plugins"),
    Row("set", "plugins", "p", PLUGINS, "enable these plugins and no others"),
    Row("list", "plugins", "p", PLUGINS, "plugins, and which run"),
    Row("is_enabled", "plugins", "p", PLUGINS, "fails if one isn't enabled"),
    Row("directories", "plugins", "p", PLUGINS, "where the file of enabled plugins is"),
    Row("await_online_quorum_plus_one", "health", "u", UPGRADE, "about other nodes, and passes"),
    Row("await_online_synchronized_mirror", "health", "u", UPGRADE, "about other nodes, and passes"),
    Row("drain", "node", "u", UPGRADE, "close all connections and let no client in"),
    Row("revive", "node", "u", UPGRADE, "let clients in again"),
    Row("post_upgrade", "node", "u", UPGRADE, "nothing to do"),
    Row("node_health_check", "health", "cd", DEPRECATED, "nothing"),
    Row("hipe_compile", "node", "c", DEPRECATED, "nothing"),
)


def rows(tool: str) -> list[Row]:
    """The commands of a tool."""
    return [row for row in ROWS if any(letter in SCOPES[tool] for letter in row.scopes)]


def find(tool: str, name: str) -> Row | None:
    """A command of a tool; None if it has none of that name."""
    return next((row for row in rows(tool) if row.name == name), None)


def names(tool: str) -> list[str]:
    """The names of a tool's commands, sorted."""
    return sorted(row.name for row in rows(tool))


def title(tool: str) -> str:
    """The tool as it is typed."""
    return "leveret ctl" if tool == "ctl" else tool
