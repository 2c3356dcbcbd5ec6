"""What RabbitMQ makes of a file, and Leveret of the same: units, patterns, secrets; and RabbitMQ's own reader, asked."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from broker.config import Config, ConfigError, DefaultUser, HttpBackendOptions, Listener, load
from broker.settings import table
from broker.settings.setting import Setting

PLUGINS = next(iter(sorted(Path("/usr/lib/rabbitmq").glob("lib/*/plugins"))), Path("/none"))
SCHEMAS = sorted(PLUGINS.glob("*/priv/schema/*.schema"))
MAPPING = re.compile(r'\{\s*mapping\s*,\s*"([^"]+)"')
READER = """
Schema = cuttlefish_schema:files(string:lexemes(os:getenv("SCHEMAS"), ":")),
{ok, Text} = file:read_file(os:getenv("LINES")),
lists:foreach(fun(Line) ->
    ok = file:write_file(os:getenv("CONF"), [Line, "\\n"]),
    Result = case cuttlefish_conf:file(os:getenv("CONF")) of
        {errorlist, _} -> syntax;
        Conf -> case cuttlefish_generator:map(Schema, Conf) of {error, Phase, _} -> Phase; _ -> ok end
    end,
    io:format("RESULT ~s~n", [Result])
end, string:split(string:trim(Text), "\\n", all)),
halt(0).
"""
WRONG = (
    "heartbeat = soon",
    "heartbaet = 5",
    "listeners.tcp.default = amqp",
    "listeners.tcp = some",
    "loopback_users = all",
    "ssl_options.verify = verify_some",
    "ssl_options.depth = 256",
    "tcp_listen_options.nodelay = 1",
    "vm_memory_high_watermark.relative = much",
    "max_message_size = 536870913",
    "channel_max_per_node = 0",
    "vhost_max = -1",
    "log.console.level = loud",
    "log.file.formatter = xml",
    "ssl_cert_login_from = shoe_size",
    "auth_backends.first = internal",
    "auth_http.http_method = put",
    "default_user",
)


def read(folder: Path, text: str, **environ: str) -> Config:
    conf = folder / "rabbitmq.conf"
    conf.write_text(text, encoding="utf-8")
    return load(environ=environ, config_file=conf, memory=True)


def keys_of_schemas() -> set[str]:
    texts = [re.sub(r"^%%.*", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE) for path in SCHEMAS]
    return {re.sub(r"\$\w+", "*", key) for text in texts for key in MAPPING.findall(text)}


def rabbitmq_says(lines: list[str], folder: Path) -> dict[str, str]:
    """What RabbitMQ's own reader of files makes of each line: ok, or the step that refuses it."""
    (folder / "lines").write_text("\n".join(lines), encoding="utf-8")
    paths = [argument for path in sorted(PLUGINS.glob("*/ebin")) for argument in ("-pa", str(path))]
    environment = {
        "SCHEMAS": ":".join(map(str, SCHEMAS)),
        "LINES": str(folder / "lines"),
        "CONF": str(folder / "conf"),
        "HOME": str(folder),
    }
    command = ["erl", "-noshell", *paths, "-eval", READER]
    done = subprocess.run(command, env=environment | {"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=120, check=True)
    results = re.findall(r"^RESULT (\w+)$", done.stdout, flags=re.MULTILINE)
    return dict(zip(lines, results, strict=True))


def line_of(row: Setting, folder: Path) -> str:
    """The line of the documentation, with a file or folder that is there, and without a variable (3.10 has none)."""
    line = re.sub(r"\$\(\w+\)", "x", row.example or f"{row.name} = {row.default}")
    is_path = row.kind in ("path", "file", "definitions") and row.name != "log.file"
    return f"{line.partition(' = ')[0]} = {folder if row.name == 'log.dir' else folder / 'there'}" if is_path else line


@pytest.mark.oracle
def test_every_key_of_rabbitmqs_schemas_is_known() -> None:
    keys = {key.replace("*", "x") for key in keys_of_schemas()}
    assert len(keys) > 800
    assert {key for key in keys if table.find(key) is None and not table.is_rabbitmqs(key)} == set()


@pytest.mark.oracle
def test_rabbitmq_takes_what_the_documentation_says(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("x")
    known = [key.split(".") for key in keys_of_schemas()]
    rows = [row for row in table.SETTINGS if any(is_below(row.name.split("."), key) for key in known)]
    rows = [row for row in rows if not row.name.startswith("default_permissions.")]  # three that RabbitMQ takes only together
    assert len(rows) > 60
    said = rabbitmq_says([line_of(row, tmp_path) for row in rows], tmp_path)
    assert {line: step for line, step in said.items() if step != "ok"} == {}


def is_below(name: list[str], pattern: list[str]) -> bool:
    return len(name) == len(pattern) and all(wanted in ("*", part) for part, wanted in zip(name, pattern, strict=True))


@pytest.mark.oracle
def test_what_is_wrong_is_wrong_for_both(tmp_path: Path) -> None:
    assert {line for line, step in rabbitmq_says(list(WRONG), tmp_path).items() if step == "ok"} == set()
    for line in WRONG:
        with pytest.raises(ConfigError):
            read(tmp_path, line)


@pytest.mark.parametrize(
    ("text", "attribute", "value"),
    [
        # rabbit_resource_monitor_misc since 3.13: a bare letter is a power of 1000, as in Kubernetes
        ("disk_free_limit.absolute = 2G", "disk_free_limit", 2_000_000_000),
        ("disk_free_limit.absolute = 2Gi", "disk_free_limit", 2 << 30),
        ("vm_memory_high_watermark.absolute = 3k", "vm_memory_high_watermark", 3000),
        # cuttlefish_bytesize, which has powers of 1024 alone
        ("frame_max = 128KB", "frame_max_bytes", 131072),
        ("frame_max = 8kb", "frame_max_bytes", 8192),
        ("frame_max = 0", "frame_max_bytes", 0),
        # cuttlefish_duration
        ("default_policies.operator.p.expires = 1.5s", "default_policies", (("expires", 1500),)),
        ("default_policies.operator.p.expires = 1f2d", "default_policies", (("expires", 16 * 86_400_000),)),
        ("default_policies.operator.p.max_length_bytes = 1KB", "default_policies", (("max-length-bytes", 1024),)),
        # patterns are Perl's, as permissions are
        (r"default_permissions.read = ^a\z", "default_permissions", (".*", ".*", r"^a\z")),
        ("default_permissions.write = (?<name>a)", "default_permissions", (".*", "(?<name>a)", ".*")),
        ("default_users.a.tags = x", "default_users", (DefaultUser("a", None, ("x",)),)),
    ],
)
def test_as_rabbitmq_reads_it(tmp_path: Path, text: str, attribute: str, value: Any) -> None:
    found = getattr(read(tmp_path, text), attribute)
    assert (found[0].definition if attribute == "default_policies" else found) == value


@pytest.mark.parametrize("pattern", ["(", "[[:nonsense:]]", "(?<n", "*"])
def test_a_pattern_that_is_none(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(ConfigError, match="expected a regular expression"):
        read(tmp_path, f"default_permissions.read = {pattern}")


def test_a_login_in_a_url_is_in_no_repr(tmp_path: Path) -> None:
    text = "".join(f"auth_http.{part}_path = http://u:hunter2@h/{part}\n" for part in ("user", "vhost", "resource", "topic"))
    config = read(tmp_path, text)
    assert config.auth_http.user_path == "http://u:hunter2@h/user"
    assert "hunter2" not in repr(config)
    assert "hunter2" not in repr(HttpBackendOptions(topic_path="http://u:hunter2@h/"))


def test_erls_arguments_never_stop_a_start(tmp_path: Path) -> None:
    name = "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"
    config = load(environ={name: "-rabbit tcp_listeners []"}, memory=True)
    assert config.listeners == (Listener("127.0.0.1", 5672), Listener("::1", 5672))
    assert config.warnings == (f"environment {name}: -rabbit tcp_listeners [] is passed over: nothing would be left to listen on",)
    config = read(tmp_path, "listeners.ssl.1 = 127.0.0.1:1", **{name: "-rabbit tcp_listeners []"})
    assert config.listeners == (Listener("127.0.0.1", 1, tls=True),)
    assert config.warnings == ()
