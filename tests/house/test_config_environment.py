"""What the environment gives: LEVERET_* for every key, RABBITMQ_* as RabbitMQ and its image have them; and which files are read."""

from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from broker.config import AuthBackend, Config, ConfigError, DefaultLimit, DefaultUser, Listener, LogOptions, TlsOptions, load
from broker.settings import environment, files, loading, table

LOOPBACK = (Listener("127.0.0.1", 5672), Listener("::1", 5672))
TLS = (Listener("127.0.0.1", 5671, tls=True), Listener("::1", 5671, tls=True))
HERE = str(Path(__file__))


def loaded(**environ: str) -> Config:
    return load(environ=environ, memory=True)


@pytest.mark.parametrize(
    ("environ", "attribute", "value"),
    [
        ({"RABBITMQ_URL": "amqp://x"}, "default_user", "guest"),
        ({"LEVERET_HEARTBEAT": "5"}, "heartbeat_seconds", 5),
        ({"LEVERET_LOG_CONSOLE_LEVEL": "debug"}, "log.console_level", "debug"),
        ({"LEVERET_LOG_FILE": "a.log"}, "log.file", Path("a.log")),
        ({"LEVERET_LISTENERS_TCP_DEFAULT": "[::]:1"}, "listeners", (Listener("0.0.0.0", 1), Listener("::", 1))),
        ({"LEVERET_LISTENERS_TCP_1": "a:1", "LEVERET_LISTENERS_TCP_2": "b:2"}, "listeners", (Listener("a", 1), Listener("b", 2))),
        ({"LEVERET_LISTENERS_TCP": "none", "LEVERET_LISTENERS_SSL_DEFAULT": "5671"}, "listeners", TLS),
        ({"LEVERET_LOOPBACK_USERS": "none"}, "loopback_users", frozenset()),
        ({"LEVERET_LOOPBACK_USERS_GUEST": "false"}, "loopback_users", frozenset()),
        ({"LEVERET_DEFAULT_USER": "l", "RABBITMQ_DEFAULT_USER": "r"}, "default_user", "l"),
        ({"LEVERET_AUTH_BACKENDS_1_AUTHN": "http", "LEVERET_AUTH_BACKENDS_1_AUTHZ": "internal"}, "auth_backends",
            (AuthBackend("http", "internal"),)),
        ({"LEVERET_DEFAULT_USERS_BOB_B_PASSWORD": "p"}, "default_users", (DefaultUser("bob_b", "p"),)),
        ({"LEVERET_DEFAULT_LIMITS_VHOSTS_1_MAX_QUEUES": "5"}, "default_limits", (DefaultLimit(".*", None, 5),)),
        ({"LEVERET_CONFIG_FILE": ""}, "config_files", ()),
    ],
)  # fmt: skip
def test_what_the_environment_gives(environ: dict[str, str], attribute: str, value: Any) -> None:
    assert attrgetter(attribute)(loaded(**environ)) == value


def test_every_setting_has_a_variable() -> None:
    """And no two settings have the same one."""
    keys = [row.example.partition(" = ")[0] if row.is_family else row.name for row in table.SETTINGS]
    assert [table.key_of_variable(table.variable_of_key(key)) for key in keys] == keys


def test_an_unknown_variable_is_a_warning() -> None:
    assert loaded(LEVERET_HEARTBAET="5", LEVERET_XYZZY="1").warnings == (
        "environment: LEVERET_HEARTBAET is no setting of Leveret; did you mean LEVERET_HEARTBEAT?",
        "environment: LEVERET_XYZZY is no setting of Leveret",
    )


def test_a_secret_may_lie_in_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter 2#\n")
    assert loaded(LEVERET_DEFAULT_PASS_FILE=str(secret)).default_pass == "hunter 2#"
    assert loaded(LEVERET_SSL_OPTIONS_PASSWORD_FILE=str(secret)).ssl_options == TlsOptions(password="hunter 2#")
    assert loaded(LEVERET_HEARTBEAT_FILE=str(secret)).warnings[0].startswith("environment: LEVERET_HEARTBEAT_FILE is no setting")
    secret.write_text("")
    with pytest.raises(ConfigError, match="expected a file that holds the value: it is empty"):
        loaded(LEVERET_DEFAULT_PASS_FILE=str(secret))
    with pytest.raises(ConfigError, match=r"LEVERET_DEFAULT_PASS_FILE = /none: expected a file .*: No such file or directory"):
        loaded(LEVERET_DEFAULT_PASS_FILE="/none")


def test_a_wrong_variable_stops_the_start_and_shows_no_secret() -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(LEVERET_HEARTBEAT="x", RABBITMQ_DEFAULT_PASS="hunter2" * 50, RABBITMQ_NODE_IP_ADDRESS="a b", RABBITMQ_SSL_DEPTH="deep")
    assert caught.value.problems == (
        "environment: RABBITMQ_DEFAULT_PASS = ***: expected a password of 1 to 255 bytes",
        "environment: RABBITMQ_SSL_DEPTH = deep: expected a whole number from 0 to 255",
        "environment: RABBITMQ_NODE_IP_ADDRESS = a b: expected an address, or auto for every address",
        "environment: LEVERET_HEARTBEAT = x: expected a whole number of seconds from 0 to 65535",
    )


IMAGE: dict[str, tuple[str, str, Any]] = {
    "RABBITMQ_DEFAULT_USER": ("alice", "default_user", "alice"),
    "RABBITMQ_DEFAULT_PASS": ("p", "default_pass", "p"),
    "RABBITMQ_DEFAULT_VHOST": ("v", "default_vhost", "v"),
    "RABBITMQ_DEFAULT_USER_FILE": ("{secret}", "default_user", "secret"),
    "RABBITMQ_DEFAULT_PASS_FILE": ("{secret}", "default_pass", "secret"),
    "RABBITMQ_DEFAULT_VHOST_FILE": ("{secret}", "default_vhost", "secret"),
    "RABBITMQ_NODE_PORT": ("5673", "listeners", (Listener("127.0.0.1", 5673), Listener("::1", 5673))),
    "RABBITMQ_NODE_IP_ADDRESS": ("10.0.0.1", "listeners", (Listener("10.0.0.1", 5672),)),
    "RABBITMQ_NODENAME": ("rabbit@hare", "node_name", "rabbit@hare"),
    "RABBITMQ_CONFIG_FILE": ("{conf}", "heartbeat_seconds", 7),
    "RABBITMQ_CONFIG_FILES": ("{directory}", "heartbeat_seconds", 7),
    "RABBITMQ_ADVANCED_CONFIG_FILE": ("{advanced}", "heartbeat_seconds", 8),
    "RABBITMQ_LOGS": ("/tmp/x.log", "log.file", Path("/tmp/x.log")),
    "RABBITMQ_LOG": ("connection=error,+json,debug", "log",
        LogOptions(console_level="debug", console_json=True, levels=(("default", "debug"), ("connection", "error")))),
    "RABBITMQ_LOG_BASE": ("/var/log/hare", "log.dir", Path("/var/log/hare")),
    "RABBITMQ_VM_MEMORY_HIGH_WATERMARK": ("0.6", "vm_memory_high_watermark", 0.6),
    "RABBITMQ_SSL_CACERTFILE": ("{conf}.conf", "ssl_options.cacertfile", Path("{conf}.conf")),
    "RABBITMQ_SSL_CERTFILE": ("{conf}.conf", "ssl_options.certfile", Path("{conf}.conf")),
    "RABBITMQ_SSL_KEYFILE": ("{conf}.conf", "ssl_options.keyfile", Path("{conf}.conf")),
    "RABBITMQ_SSL_VERIFY": ("verify_peer", "ssl_options.verify_peer", True),
    "RABBITMQ_SSL_FAIL_IF_NO_PEER_CERT": ("true", "ssl_options.fail_if_no_peer_cert", True),
    "RABBITMQ_SSL_DEPTH": ("2", "ssl_options.depth", 2),
    "RABBITMQ_MANAGEMENT_SSL_CACERTFILE": ("{conf}.conf", "management.ssl_options.cacertfile", Path("{conf}.conf")),
    "RABBITMQ_MANAGEMENT_SSL_CERTFILE": ("{conf}.conf", "management.ssl_options.certfile", Path("{conf}.conf")),
    "RABBITMQ_MANAGEMENT_SSL_KEYFILE": ("{conf}.conf", "management.ssl_options.keyfile", Path("{conf}.conf")),
    "RABBITMQ_MANAGEMENT_SSL_VERIFY": ("verify_peer", "management.ssl_options.verify_peer", True),
    "RABBITMQ_MANAGEMENT_SSL_FAIL_IF_NO_PEER_CERT": ("true", "management.ssl_options.fail_if_no_peer_cert", True),
    "RABBITMQ_MANAGEMENT_SSL_DEPTH": ("2", "management.ssl_options.depth", 2),
    "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ("-rabbit consumer_timeout 36000000", "consumer_timeout_ms", 36_000_000),
    "RABBITMQ_ENABLED_PLUGINS": ("rabbitmq_management,rabbitmq_event_exchange", "event_exchange", True),
    "RABBITMQ_ENABLED_PLUGINS_FILE": ("{plugins}", "event_exchange", True),
}  # fmt: skip
"""Of the official image and of RabbitMQ's documentation: a value, and what it does."""
IMAGE_LISTENERS = {name: value for name, (_, attribute, value) in IMAGE.items() if attribute == "listeners"}


@pytest.mark.parametrize("name", sorted({*IMAGE, *environment.SILENT, "RABBITMQ_MNESIA_DIR", "RABBITMQ_MNESIA_BASE"}))
def test_each_variable_of_the_official_image(name: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret\n")
    (tmp_path / "rabbitmq.conf").write_text("heartbeat = 7\n")
    (tmp_path / "terms.config").write_text("[{rabbit, [{heartbeat, 8}]}].\n")
    (tmp_path / "plugins").write_text("[rabbitmq_management, rabbitmq_event_exchange].\n")
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "x.conf").write_text("heartbeat = 7\n")
    places = {
        "secret": tmp_path / "secret", "conf": tmp_path / "rabbitmq", "directory": tmp_path / "conf.d", "advanced": tmp_path / "terms",
        "plugins": tmp_path / "plugins",
    }  # fmt: skip
    if name == "RABBITMQ_MNESIA_DIR":
        assert load(environ={name: "/data/hare", "RABBITMQ_MNESIA_BASE": "/other"}).data_dir == Path("/data/hare")
    elif name == "RABBITMQ_MNESIA_BASE":
        assert load(environ={name: "/data", "RABBITMQ_NODENAME": "a@b"}).data_dir == Path("/data/a@b")
    elif name in IMAGE:
        text, attribute, value = IMAGE[name]
        expected = Path(str(value).format(**places)) if isinstance(value, Path) else value
        config = loaded(**{name: text.format(**places)})
        assert attrgetter(attribute)(config) == expected
        assert bool(config.warnings) == (name == "RABBITMQ_LOG_BASE")
        assert config.listeners == IMAGE_LISTENERS.get(name, (*LOOPBACK, *TLS) if name.startswith("RABBITMQ_SSL_") else LOOPBACK)
    else:
        config = loaded(**{name: "1"})
        missing = f"{name} names 1, and there is no such file: going on without it, as RabbitMQ does"
        assert set(config.warnings) <= {missing}
        assert config == load(environ={}, memory=True) or config.warnings


@pytest.mark.parametrize(
    ("environ", "attribute", "value"),
    [
        ({"RABBITMQ_NODE_IP_ADDRESS": "auto"}, "listeners", (Listener("0.0.0.0", 5672), Listener("::", 5672))),
        ({"RABBITMQ_NODE_PORT": "1", "RABBITMQ_NODE_IP_ADDRESS": "::1"}, "listeners", (Listener("::1", 1),)),
        ({"RABBITMQ_NODE_PORT": ""}, "listeners", LOOPBACK),
        ({"RABBITMQ_NODE_PORT": "1", "LEVERET_DEFAULT_HOST": "::"}, "listeners", (Listener("0.0.0.0", 1), Listener("::", 1))),
        ({"RABBITMQ_NODE_IP_ADDRESS": "::1", "LEVERET_DEFAULT_HOST": "::"}, "listeners", (Listener("::1", 5672),)),
        ({"RABBITMQ_LOGS": "-", "LEVERET_LOG_CONSOLE": ""}, "log", LogOptions()),
        ({"RABBITMQ_LOGS": "exchange:x"}, "log.exchange", True),
        ({"RABBITMQ_LOG": "warning"}, "log", LogOptions(console_level="warning", levels=(("default", "warning"),))),
        ({"RABBITMQ_LOG": "nonsense,queue,+color,x=y"}, "log.levels", (("default", "info"), ("queue", "info"))),
        ({"RABBITMQ_VM_MEMORY_HIGH_WATERMARK": "40%"}, "vm_memory_high_watermark", 0.4),
        ({"RABBITMQ_VM_MEMORY_HIGH_WATERMARK": "40.5%"}, "vm_memory_high_watermark", 0.405),
        ({"RABBITMQ_VM_MEMORY_HIGH_WATERMARK": "100%"}, "vm_memory_high_watermark", 1.0),
        ({"RABBITMQ_VM_MEMORY_HIGH_WATERMARK": "1.5GB"}, "vm_memory_high_watermark", 1_500_000_000),
        ({"RABBITMQ_VM_MEMORY_HIGH_WATERMARK": "0.5 GiB"}, "vm_memory_high_watermark", 1 << 29),
        ({"RABBITMQ_VM_MEMORY_HIGH_WATERMARK": "1GB"}, "vm_memory_high_watermark", 1_000_000_000),
        ({"RABBITMQ_VM_MEMORY_HIGH_WATERMARK": "1048576"}, "vm_memory_high_watermark", 1_048_576),
        ({"RABBITMQ_PID_FILE": "/run/x.pid"}, "pid_file", Path("/run/x.pid")),
        ({"RABBITMQ_ENABLED_PLUGINS_FILE": "/none", "RABBITMQ_DIST_PORT": "1"}, "event_exchange", False),
        ({"RABBITMQ_SSL_DEPTH": "1", "LEVERET_LISTENERS_SSL_1": "a:1"}, "listeners", (*LOOPBACK, Listener("a", 1, tls=True))),
    ],
)
def test_the_finer_points_of_rabbitmqs_variables(environ: dict[str, str], attribute: str, value: Any) -> None:
    assert attrgetter(attribute)(loaded(**environ)) == value


@pytest.mark.parametrize(
    "given", [{"RABBITMQ_LOG_BASE": "/x"}, {"LEVERET_LOG_FILE_LEVEL": "error"}, {"LEVERET_LOG_FILE_ROTATION_SIZE": "9"}]
)
def test_settings_of_a_log_file_that_is_not_written_are_a_warning(given: dict[str, str]) -> None:
    ((variable, _),) = given.items()
    key = {"RABBITMQ_LOG_BASE": "log.dir"}.get(variable, variable.removeprefix("LEVERET_").lower().replace("_", "."))
    expected = f"nothing comes of {key} (environment {variable}) without log.file: RabbitMQ would log to a file, Leveret logs to stdout"
    assert loaded(**given).warnings == (expected,)
    assert loaded(**given, LEVERET_LOG_FILE="x.log").warnings == ()
    assert loaded(**given, RABBITMQ_LOGS="-").warnings == ()
    both = loaded(**given, LEVERET_LOG_FILE_ROTATION_COUNT="5").warnings
    assert len(both) == 1
    assert "log.file.rotation.count (environment LEVERET_LOG_FILE_ROTATION_COUNT)" in both[0]


@pytest.mark.parametrize("text", ["much", "40 percent", "%", "-1%", "1_0%", "1.5XB", "2000.0", "200000%"])
def test_a_watermark_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(RABBITMQ_VM_MEMORY_HIGH_WATERMARK=text)
    expected = "expected a share (0.4), a percentage (40%) or a size (2GB)"
    assert caught.value.problems == (f"environment: RABBITMQ_VM_MEMORY_HIGH_WATERMARK = {text}: {expected}",)


@pytest.mark.parametrize("prefix", ["LEVERET_", "RABBITMQ_"])
def test_a_secret_itself_wins_over_its_file_in_any_order(tmp_path: Path, prefix: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("file")
    variables = {f"{prefix}DEFAULT_PASS": "plain", f"{prefix}DEFAULT_PASS_FILE": str(secret)}
    for names in (list(variables), list(reversed(variables))):
        assert loaded(**{name: variables[name] for name in names}).default_pass == "plain"


def test_a_node_name_without_a_host_gets_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "hare.field.org")
    monkeypatch.setattr("socket.getfqdn", lambda: "hare.meadow.org")
    assert loaded(RABBITMQ_NODENAME="x").node_name == "x@hare"
    assert loaded(RABBITMQ_NODENAME="x", RABBITMQ_USE_LONGNAME="true").node_name == "x@hare.meadow.org"
    assert loaded(RABBITMQ_USE_LONGNAME="yes").node_name == "rabbit@hare.meadow.org"
    assert loaded(RABBITMQ_USE_LONGNAME="no").node_name is None


def test_erlangs_command_line_never_stops_a_start(tmp_path: Path) -> None:
    definitions = tmp_path / "d.json"
    definitions.write_text("{}")
    arguments = (
        "-rabbit log_levels [{connection,error},{default,error}] heartbeat 9 +P 5 -setcookie hunter2",
        f'-rabbitmq_management load_definitions "{definitions}" -rabbit channel_max lots tcp_listeners [{{"a b" -kernel net_ticktime 5 {{',
    )
    config = loaded(RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=" ".join(arguments))
    assert config.log.levels == (("default", "error"), ("connection", "error"))
    assert (config.heartbeat_seconds, config.load_definitions, config.channel_max) == (9, definitions, 2047)
    assert config.warnings == (
        "environment: RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: channel_max = lots: expected a whole number from 0 to 65535",
        "environment: RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: Leveret goes on without +P, -setcookie, -rabbit tcp_listeners",
    )


def test_which_file_is_read(tmp_path: Path) -> None:
    for name, seconds in (("a", 1), ("b", 2), ("c", 3)):
        (tmp_path / f"{name}.conf").write_text(f"heartbeat = {seconds}\n")
    rabbit = {"RABBITMQ_CONFIG_FILE": str(tmp_path / "a")}  # without .conf, as RabbitMQ allows
    both = rabbit | {"LEVERET_CONFIG_FILE": str(tmp_path / "b.conf")}
    assert load(environ=rabbit, memory=True).heartbeat_seconds == 1
    assert load(environ=both, memory=True).heartbeat_seconds == 2
    assert load(environ=both, config_file=tmp_path / "c.conf", memory=True).heartbeat_seconds == 3
    (tmp_path / "a.config").write_text("[{rabbit, [{heartbeat, 4}]}].")
    config = load(environ=rabbit, memory=True)
    assert config.heartbeat_seconds == 4  # as RabbitMQ: the old format first
    assert config.warnings == (f"there are {tmp_path / 'a.config'} and {tmp_path / 'a.conf'}: going on with the former, as RabbitMQ does",)


def test_a_file_of_another_name_is_terms_if_it_begins_like_them(tmp_path: Path) -> None:
    (tmp_path / "advanced.config").write_text("[{rabbit, [{channel_max, 5}]}].")
    plain, old = tmp_path / "plain", tmp_path / "old.txt"
    plain.write_text("# [a comment]\n\nheartbeat = 3\n")
    old.write_text("%% a comment\n\n [{rabbit, [{heartbeat, 4}]}].")
    for path, seconds, channels in ((plain, 3, 5), (old, 4, 2047)):  # the old format takes the place of advanced.config
        config = load(environ={"RABBITMQ_CONFIG_FILE": str(path)}, memory=True)
        assert (config.heartbeat_seconds, config.channel_max) == (seconds, channels)
        assert load(environ={}, config_file=path, memory=True).heartbeat_seconds == seconds
        assert loading.load_alone(path, {}).config.heartbeat_seconds == seconds
    assert config.warnings == (f"{old} takes the place of {tmp_path / 'advanced.config'}, as in RabbitMQ",)


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As /etc, with both directories and nothing in them."""
    names = ("leveret/leveret.conf", "leveret/rabbitmq.conf", "rabbitmq/rabbitmq.conf")
    monkeypatch.setattr(files, "SYSTEM_FILES", tuple(tmp_path / name for name in names))
    for name in ("leveret", "rabbitmq"):
        (tmp_path / name / "conf.d").mkdir(parents=True)
    return tmp_path


def test_without_a_named_file_the_systems_is_read(etc: Path) -> None:
    assert loaded() == Config()
    (etc / "rabbitmq/conf.d/20-b.conf").write_text("heartbeat = 2\n")
    (etc / "rabbitmq/conf.d/10-a.conf").write_text("heartbeat = 1\nchannel_max = 1\n")
    (etc / "rabbitmq/conf.d/30.txt").write_text("no configuration\n")
    assert (loaded().heartbeat_seconds, loaded().channel_max) == (2, 1)  # the image's: no rabbitmq.conf
    (etc / "rabbitmq/rabbitmq.conf").write_text("heartbeat = 9\nchannel_max = 9\nframe_max = 9000\nauth_backends.1 = internal\n")
    (etc / "rabbitmq/conf.d/30-c.conf").write_text("auth_backends.2 = http\n")
    assert (loaded().heartbeat_seconds, loaded().channel_max, loaded().frame_max_bytes) == (2, 1, 9000)
    assert loaded().auth_backends == (AuthBackend(), AuthBackend("http", "http"))  # files add to each other
    (etc / "rabbitmq/advanced.config").write_text("[{rabbit, [{heartbeat, 8}]}].")
    (etc / "rabbitmq/enabled_plugins").write_text("[rabbitmq_event_exchange].")
    assert (loaded().heartbeat_seconds, loaded().event_exchange) == (8, True)
    names = ("rabbitmq.conf", "conf.d/10-a.conf", "conf.d/20-b.conf", "conf.d/30-c.conf", "advanced.config")
    assert loaded().config_files == tuple(etc / "rabbitmq" / name for name in names)

    (etc / "leveret/conf.d/10-a.conf").write_text("frame_max = 8000\n")
    (etc / "leveret/rabbitmq.conf").write_text("heartbeat = 6\n")
    assert (loaded().heartbeat_seconds, loaded().frame_max_bytes, loaded().event_exchange) == (6, 8000, False)
    (etc / "leveret/leveret.conf").write_text("heartbeat = 5\n")
    assert (loaded().heartbeat_seconds, loaded().channel_max, loaded().event_exchange) == (5, 2047, False)
    pattern = str(etc / "rabbitmq/conf.d/1*.conf")
    assert loaded(RABBITMQ_CONFIG_FILES=pattern).heartbeat_seconds == 1
    named = etc / "dev.conf"
    named.write_text("frame_max = 5000\n")
    assert (loaded(LEVERET_CONFIG_FILE=str(named)).frame_max_bytes, loaded(LEVERET_CONFIG_FILE=str(named)).heartbeat_seconds) == (5000, 60)


def test_the_systems_file_may_be_of_the_old_format(etc: Path) -> None:
    (etc / "rabbitmq/rabbitmq.config").write_text("[{rabbit, [{heartbeat, 4}]}].")
    (etc / "rabbitmq/conf.d/10-a.conf").write_text("heartbeat = 1\nchannel_max = 1\n")
    assert (loaded().heartbeat_seconds, loaded().channel_max, loaded().warnings) == (4, 1, ())
    (etc / "rabbitmq/rabbitmq.conf").write_text("channel_max = 2\n")
    assert (loaded().heartbeat_seconds, loaded().channel_max) == (4, 1)
    (warning,) = loaded().warnings
    assert warning.endswith("rabbitmq.config and " + str(etc / "rabbitmq/rabbitmq.conf: going on with the former, as RabbitMQ does"))


def test_rabbitmqs_variable_may_name_a_file_that_is_not_there() -> None:
    """The Docker image's environment does, and RabbitMQ starts."""
    config = loaded(RABBITMQ_CONFIG_FILE="/none/rabbitmq", RABBITMQ_ADVANCED_CONFIG_FILE="/none/advanced")
    assert config.config_files == ()
    assert config.warnings == (
        "RABBITMQ_CONFIG_FILE names /none/rabbitmq, and there is no such file: going on without it, as RabbitMQ does",
        "RABBITMQ_ADVANCED_CONFIG_FILE names /none/advanced, and there is no such file: going on without it, as RabbitMQ does",
    )
