"""Configuration: what file, environment and command line give, which wins, and what a mistake is told."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from broker import config as configuration
from broker import logs, settings
from broker.config import Config, ConfigError, Listener, load
from tests.house.conftest import ROOT

LOOPBACK = (Listener("127.0.0.1", 5672), Listener("::1", 5672))


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    return tmp_path / "rabbitmq.conf"


def read(conf: Path, text: str, **environ: str) -> Config:
    conf.write_text(text, encoding="utf-8")
    return load(environ=environ, config_file=conf, memory=True)


def problems(conf: Path, text: str, **environ: str) -> list[str]:
    """The problems of a file, without the folder that it lies in."""
    with pytest.raises(ConfigError) as caught:
        read(conf, text, **environ)
    return [problem.replace(f"{conf.parent}/", "") for problem in caught.value.problems]


def test_nothing_given_is_the_defaults() -> None:
    assert load(environ={}, memory=True) == Config()
    assert Config().listeners == LOOPBACK


def test_the_default_data_directory_is_the_platforms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    data_dir = load(environ={}).data_dir
    assert data_dir is not None
    assert data_dir.name == "leveret"
    assert load(environ={}, data_dir=tmp_path).data_dir == tmp_path
    assert load(environ={"LEVERET_DATA_DIR": "/elsewhere"}).data_dir == Path("/elsewhere")
    assert load(environ={"LEVERET_DATA_DIR": "/elsewhere"}, memory=True).data_dir is None


@pytest.mark.parametrize(
    ("line", "attribute", "value"),
    [
        ("listeners.tcp.default = 5673", "listeners", (Listener("127.0.0.1", 5673), Listener("::1", 5673))),
        ("listeners.tcp.default = 0", "listeners", (Listener("127.0.0.1", 0), Listener("::1", 0))),
        ("listeners.tcp.1 = 10.0.0.1:5672", "listeners", (Listener("10.0.0.1", 5672),)),
        ("listeners.tcp.1 = ::1:5672", "listeners", (Listener("::1", 5672),)),
        ("listeners.tcp.1 = [::1]:5672", "listeners", (Listener("::1", 5672),)),
        ("listeners.tcp.all = :::5672", "listeners", (Listener("::", 5672),)),
        ("listeners.tcp.1 = *:5672", "listeners", (Listener("::", 5672),)),
        (
            "listeners.tcp.1 = 10.0.0.1:5672\nlisteners.tcp.2 = localhost:5673",
            "listeners",
            (Listener("10.0.0.1", 5672), Listener("localhost", 5673)),
        ),
        ("listeners.tcp.1 = 10.0.0.1:1\nlisteners.tcp.2 = 10.0.0.1:1", "listeners", (Listener("10.0.0.1", 1),)),
        ("data_dir = /var/lib/leveret", "data_dir", None),  # --memory wins
        ("default_user = alice", "default_user", "alice"),
        ("default_pass = s3cret=x", "default_pass", "s3cret=x"),
        ("default_pass = 1234", "default_pass", "1234"),
        ("default_vhost = /orders", "default_vhost", "/orders"),
        ("loopback_users = none", "loopback_users", frozenset()),
        ("loopback_users.guest = false", "loopback_users", frozenset()),
        ("loopback_users.bob = true", "loopback_users", {"bob"}),
        ("loopback_users.guest = true\nloopback_users.bob = true", "loopback_users", {"guest", "bob"}),
        ("heartbeat = 0", "heartbeat_seconds", 0),
        ("heartbeat = 65535", "heartbeat_seconds", 65535),
        ("heartbeat = 10\nheartbeat = 20", "heartbeat_seconds", 20),
        ("frame_max = 0", "frame_max_bytes", 0),
        ("frame_max = 4096", "frame_max_bytes", 4096),
        ("channel_max = 128", "channel_max", 128),
        ("handshake_timeout = 1500", "handshake_timeout_seconds", 1.5),
        ("max_message_size = 1024", "max_message_size_bytes", 1024),
        ("max_message_size = 16MB", "max_message_size_bytes", 16_000_000),
        ("max_message_size = 16 MiB", "max_message_size_bytes", 16 * 1024 * 1024),
        ("disk_free_limit.absolute = 2GB", "disk_free_limit", 2_000_000_000),
        ("disk_free_limit.relative = 1.5", "disk_free_limit", 1.5),
        ("disk_free_limit.relative = 1.0\ndisk_free_limit.absolute = 2GB", "disk_free_limit", 1.0),  # rabbit.schema says so
        ("vm_memory_high_watermark.absolute = 1024MiB", "vm_memory_high_watermark", 1 << 30),
        ("vm_memory_high_watermark.relative = 0.6", "vm_memory_high_watermark", 0.6),
        ("vm_memory_high_watermark.absolute = 1GB\nvm_memory_high_watermark.relative = 0.6", "vm_memory_high_watermark", 0.6),
        ("cluster_name = rabbit@eu", "cluster_name", "rabbit@eu"),
        ("log.default.level = debug", "log_level", "debug"),
        ("log.console.level = error\nlog.default.level = debug", "log_level", "error"),
        ("log.console.level = none", "log_level", "none"),
        ("# heartbeat = 1", "heartbeat_seconds", 60),
        ("  heartbeat=5   # seconds", "heartbeat_seconds", 5),
        ("\ufeffheartbeat = 5\r\n\r\n", "heartbeat_seconds", 5),
        ("default_pass = 'a # b'  # quoted", "default_pass", "a # b"),
        ('default_pass = "it\'s"', "default_pass", "it's"),
        ("default_user = $(WHO)-$(WHO)", "default_user", "me-me"),
        ("default_user = Zoë", "default_user", "Zoë"),
    ],
)
def test_what_a_file_gives(conf: Path, line: str, attribute: str, value: Any) -> None:
    assert getattr(read(conf, line, WHO="me"), attribute) == value


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("heartbeat = soon", "heartbeat = soon: expected a whole number of seconds from 0 to 65535"),
        ("heartbeat = -1", "heartbeat = -1: expected a whole number of seconds from 0 to 65535"),
        ("heartbeat = 65536", "heartbeat = 65536: expected a whole number of seconds from 0 to 65535"),
        ("frame_max = 4095", "frame_max = 4095: expected 0, or a number of bytes from 4096 to 2147483647"),
        ("channel_max = 65536", "channel_max = 65536: expected a whole number from 0 to 65535"),
        ("handshake_timeout = 0", "handshake_timeout = 0: expected a whole number of milliseconds from 1 to 4294967295"),
        ("disk_free_limit.absolute = much", f"disk_free_limit.absolute = much: expected a size from 0 to {2**63 - 1} bytes"),
        ("disk_free_limit.relative = nan", "disk_free_limit.relative = nan: expected a number from 0.0 to 1000.0"),
        ("vm_memory_high_watermark.relative = 40%", "vm_memory_high_watermark.relative = 40%: expected a number from 0.0 to 1000.0"),
        ("max_message_size = 1TB", "max_message_size = 1TB: expected a size from 1 to 536870912 bytes"),
        ("max_message_size = 1GB", "max_message_size = 1GB: expected a size from 1 to 536870912 bytes"),
        ("listeners.tcp.default = amqp", "listeners.tcp.default = amqp: expected a port from 0 to 65535, or address:port"),
        ("listeners.tcp.1 = 127.0.0.1:", "listeners.tcp.1 = 127.0.0.1:: expected a port from 0 to 65535, or address:port"),
        ("listeners.tcp.1 = :5672", "listeners.tcp.1 = :5672: expected a port from 0 to 65535, or address:port"),
        (f"default_user = {'u' * 256}", f"default_user = {'u' * 256}: expected a name of 1 to 255 bytes"),
        (f"default_pass = {'p' * 256}", "default_pass = ***: expected a password of 1 to 255 bytes"),
        (f"default_vhost = {'ë' * 128}", f"default_vhost = {'ë' * 128}: expected a name of 1 to 255 bytes"),
        (f"cluster_name = {'c' * 256}", f"cluster_name = {'c' * 256}: expected a name of 1 to 255 bytes"),
        ("loopback_users = all", "loopback_users = all: expected none"),
        ("loopback_users.guest = no", "loopback_users.guest = no: expected true or false"),
        ("log.console.level = loud", "log.console.level = loud: expected one of debug, info, notice, warning, error, critical, none"),
        ("log.default.level = loud", "log.default.level = loud: expected one of debug, info, notice, warning, error, critical, none"),
        ("heartbaet = 30", 'heartbaet = 30: there is no setting with that name; did you mean "heartbeat"?'),
        ("default_usr = x", 'default_usr = x: there is no setting with that name; did you mean "default_user"?'),
        ("consumer_timout = 1", 'consumer_timout = 1: there is no setting with that name; did you mean "consumer_timeout"?'),
        ("xyzzy = 1", "xyzzy = 1: there is no setting with that name"),
        ("listeners.tcp. = 1", 'listeners.tcp. = 1: there is no setting with that name; did you mean "listeners.tcp"?'),
        ("heartbeat 30", "heartbeat 30: expected `key = value`"),
        ("[{rabbit, []}].", "[{rabbit, []}].: expected `key = value`"),
        ("= 30", "= 30: expected `key = value`"),
        ("heartbeat =", "heartbeat =: expected a value after the equals sign"),
        ("heartbeat = # none", "heartbeat =: expected a value after the equals sign"),
        ("default_pass = ''", "default_pass =: expected a value after the equals sign"),
        ("default_pass = 'abc", "default_pass = ***: expected the value to end with the quote ' that it begins with"),
        ("default_pass = 'a'b'", "default_pass = ***: expected the value to end with the quote ' that it begins with"),
        ("default_pass = $(NOT_SET)", "default_pass = $(NOT_SET): expected an environment variable of that name"),
    ],
)
def test_a_mistake_in_a_file_names_its_place_and_what_was_expected(conf: Path, line: str, text: str) -> None:
    assert problems(conf, f"# first line\n\n{line}\n") == [f"rabbitmq.conf:3: {text}"]


def test_all_mistakes_are_told_at_once(conf: Path) -> None:
    told = problems(conf, "heartbeat = x\nframe_mx = 1\nchannel_max\n", RABBITMQ_NODE_PORT="y", LEVERET_HEARTBEAT="z")
    assert sorted(told) == [
        "environment: LEVERET_HEARTBEAT = z: expected a whole number of seconds from 0 to 65535",
        "environment: RABBITMQ_NODE_PORT = y: expected a port from 0 to 65535",
        "rabbitmq.conf:1: heartbeat = x: expected a whole number of seconds from 0 to 65535",
        'rabbitmq.conf:2: frame_mx = 1: there is no setting with that name; did you mean "frame_max"?',
        "rabbitmq.conf:3: channel_max: expected `key = value`",
    ]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.conf: the configuration file can't be read: No such file or directory"):
        load(environ={}, config_file=tmp_path / "none.conf")
    with pytest.raises(ConfigError, match="the configuration file can't be read: Is a directory"):
        load(environ={"LEVERET_CONFIG_FILE": str(tmp_path)})
    binary = tmp_path / "binary.conf"
    binary.write_bytes(b"default_user = \xff\xfe")
    with pytest.raises(ConfigError, match=r"isn't UTF-8 text: invalid start byte at byte 15"):
        load(environ={}, config_file=binary)


def test_rabbitmqs_other_settings_are_one_warning(conf: Path) -> None:
    config = read(conf, "net_ticktime = 1800000\nheartbeat = 30\ncluster_formation.k8s.host = k\nmanagement.tcp.port = 15672\n")
    assert config.heartbeat_seconds == 30
    assert config.config_file == conf
    (warning,) = config.warnings
    head, _, names = warning.partition(" and goes on without them: ")
    assert head == f"{conf}: Leveret doesn't have these settings of RabbitMQ"
    assert names == "net_ticktime (line 1), cluster_formation.k8s.host (line 3), management.tcp.port (line 4)"


@pytest.mark.parametrize(
    ("environ", "attribute", "value"),
    [
        ({"RABBITMQ_NODE_PORT": "5673"}, "listeners", (Listener("127.0.0.1", 5673), Listener("::1", 5673))),
        ({"RABBITMQ_NODE_IP_ADDRESS": "10.0.0.1"}, "listeners", (Listener("10.0.0.1", 5672),)),
        ({"RABBITMQ_NODE_IP_ADDRESS": "auto"}, "listeners", (Listener("::", 5672),)),
        ({"RABBITMQ_NODE_PORT": "1", "RABBITMQ_NODE_IP_ADDRESS": "::1"}, "listeners", (Listener("::1", 1),)),
        ({"RABBITMQ_NODE_PORT": ""}, "listeners", LOOPBACK),
        ({"RABBITMQ_DEFAULT_USER": "alice"}, "default_user", "alice"),
        ({"RABBITMQ_DEFAULT_PASS": "p"}, "default_pass", "p"),
        ({"RABBITMQ_DEFAULT_VHOST": "v"}, "default_vhost", "v"),
        ({"RABBITMQ_URL": "amqp://x"}, "default_user", "guest"),
        ({"LEVERET_HEARTBEAT": "5"}, "heartbeat_seconds", 5),
        ({"LEVERET_LOG_CONSOLE_LEVEL": "debug"}, "log_level", "debug"),
        ({"LEVERET_LISTENERS_TCP_DEFAULT": "[::]:1"}, "listeners", (Listener("::", 1),)),
        ({"LEVERET_LISTENERS_TCP_1": "a:1", "LEVERET_LISTENERS_TCP_2": "b:2"}, "listeners", (Listener("a", 1), Listener("b", 2))),
        ({"LEVERET_LOOPBACK_USERS": "none"}, "loopback_users", frozenset()),
        ({"LEVERET_LOOPBACK_USERS_GUEST": "false"}, "loopback_users", frozenset()),
        ({"LEVERET_DEFAULT_USER": "l", "RABBITMQ_DEFAULT_USER": "r"}, "default_user", "l"),
    ],
)
def test_what_the_environment_gives(environ: dict[str, str], attribute: str, value: Any) -> None:
    assert getattr(load(environ=environ, memory=True), attribute) == value


def test_an_unknown_variable_is_a_warning() -> None:
    config = load(environ={"LEVERET_HEARTBAET": "5", "LEVERET_XYZZY": "1"}, memory=True)
    assert config.warnings == (
        "environment: LEVERET_HEARTBAET is no setting of Leveret; did you mean LEVERET_HEARTBEAT?",
        "environment: LEVERET_XYZZY is no setting of Leveret",
    )


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(conf: Path) -> None:
    conf.write_text("listeners.tcp.1 = 10.0.0.1:1111\nheartbeat = 1\ndefault_user = file\nlog.console.level = error\ndata_dir = /file\n")
    environ = {"RABBITMQ_NODE_PORT": "2222", "LEVERET_HEARTBEAT": "2", "LEVERET_LOG_DEFAULT_LEVEL": "warning", "LEVERET_DATA_DIR": "/env"}

    file_alone = load(environ={}, config_file=conf)
    assert file_alone.listeners == (Listener("10.0.0.1", 1111),)
    assert (file_alone.heartbeat_seconds, file_alone.log_level, file_alone.data_dir) == (1, "error", Path("/file"))

    with_environment = load(environ=environ, config_file=conf)
    assert with_environment.listeners == (Listener("10.0.0.1", 2222),)
    assert (with_environment.heartbeat_seconds, with_environment.log_level, with_environment.data_dir) == (2, "warning", Path("/env"))

    with_all = load(environ=environ, config_file=conf, host="::1", port=0, data_dir=Path("/typed"), log_level="debug")
    assert with_all.listeners == (Listener("::1", 0),)
    assert (with_all.heartbeat_seconds, with_all.log_level, with_all.data_dir) == (2, "debug", Path("/typed"))
    assert with_all.default_user == "file"


def test_which_file_is_read(tmp_path: Path) -> None:
    for name, seconds in (("a", 1), ("b", 2), ("c", 3)):
        (tmp_path / f"{name}.conf").write_text(f"heartbeat = {seconds}\n")
    rabbit = {"RABBITMQ_CONFIG_FILE": str(tmp_path / "a")}  # without .conf, as RabbitMQ allows
    both = rabbit | {"LEVERET_CONFIG_FILE": str(tmp_path / "b.conf")}
    assert load(environ=rabbit, memory=True).heartbeat_seconds == 1
    assert load(environ=both, memory=True).heartbeat_seconds == 2
    assert load(environ=both, config_file=tmp_path / "c.conf", memory=True).heartbeat_seconds == 3


def test_rabbitmqs_variable_may_name_a_file_that_is_not_there() -> None:
    """The Docker image's environment does, and RabbitMQ starts."""
    config = load(environ={"RABBITMQ_CONFIG_FILE": "/none/rabbitmq"}, memory=True)
    assert config.config_file is None
    assert config.warnings == (
        "RABBITMQ_CONFIG_FILE names /none/rabbitmq, and there is no such file: going on without it, as RabbitMQ does",
    )


def test_the_documentation_is_up_to_date() -> None:
    assert (ROOT / "conf" / "leveret.conf").read_text(encoding="utf-8") == settings.conf_text(), (
        "run: python -m broker.settings > conf/leveret.conf"
    )


def test_the_documented_defaults_are_the_defaults(conf: Path) -> None:
    """Every key of the table at the default that it documents gives what no file at all gives."""
    rows = [row for row in settings.SETTINGS if "given" not in row.default and row.attribute not in ("data_dir", "cluster_name")]
    text = "".join(f"{row.example or f'{row.name} = {row.default}'}\n" for row in rows if row.name != "loopback_users")
    assert dataclasses.replace(read(conf, text), config_file=None) == Config()


def test_every_setting_is_an_attribute_and_every_level_is_known() -> None:
    attributes = {field.name for field in dataclasses.fields(Config)}
    assert {row.attribute for row in settings.SETTINGS} == attributes - {"config_file", "warnings"}
    assert tuple(logs.LEVELS) == settings.LOG_LEVELS


def test_a_password_is_not_shown() -> None:
    assert "hunter2" not in repr(configuration.Config(default_pass="hunter2"))


def test_a_profile_has_its_own_defaults(conf: Path) -> None:
    assert (read(conf, "").compat, read(conf, "").max_message_size_bytes) == ("3.13", 134_217_728)
    config = read(conf, "compat = 4.x\n")
    assert (config.compat, config.max_message_size_bytes) == ("4.x", 16_777_216)
    assert read(conf, "compat = 4.x\nmax_message_size = 5MB\n").max_message_size_bytes == 5_000_000
