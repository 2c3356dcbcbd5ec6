"""`leveret config`, and what holds whatever is given: what is shown is the configuration, and mistakes are ConfigErrors."""

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from broker.config import Config, ConfigError, TlsOptions, load
from broker.settings import effective, environment, loading, table
from tests.house.conftest import ROOT, Run, clean_environment
from tests.runtime.certificates import Authority

HERE = str(Path(__file__))


def test_show_names_where_each_setting_comes_from(leveret: Run, tmp_path: Path) -> None:
    conf = tmp_path / "a.conf"
    conf.write_text("\nheartbeat = 5\ndefault_pass = hunter2\nnet_ticktime = 1\nlisteners.tcp.1 = a:1\nauth_mechanisms.1 = PLAIN\n")
    shown = leveret("config", "show", "--config", str(conf), LEVERET_DEFAULT_USER="it's # me", RABBITMQ_NODE_PORT="7", XDG_DATA_HOME="/d")
    lines = shown.stdout.splitlines()
    assert shown.returncode == 0
    assert lines[0] == f"# warning: Leveret doesn't have these settings of RabbitMQ and goes on without them: net_ticktime ({conf}:4)"
    assert f"heartbeat = 5  # {conf}:2" in lines
    assert f"# default_pass = ***  # {conf}:3" in lines
    assert 'default_user = "it\'s # me"  # environment LEVERET_DEFAULT_USER' in lines
    assert "listeners.tcp.default = a:7  # environment RABBITMQ_NODE_PORT" in lines
    assert "channel_max = 2047  # default" in lines
    assert "data_dir = /d/leveret  # default" in lines
    assert "# loopback_users.guest = true  # default" in lines
    assert "# auth_backends.1 = internal  # default" in lines
    assert [line for line in lines if "auth_mechanisms" in line] == ["auth_mechanisms.1 = PLAIN  # " + f"{conf}:6"]
    assert leveret("config", "show", str(conf), XDG_DATA_HOME="/d").stdout == (
        leveret("config", "show", "--config", str(conf), XDG_DATA_HOME="/d").stdout
    )
    assert not any(line.startswith("listeners.tcp.1") for line in lines)
    assert "hunter2" not in shown.stdout


def test_show_names_the_defaults_of_lists(tmp_path: Path) -> None:
    """Those that no single text stands for; given, they give the same."""
    lines = list(effective.lines(loading.load({}, None, loading.Source())))
    named = [line.removeprefix("# ").removesuffix("  # default") for line in lines if line.startswith("# ") and "***" not in line]
    assert len(named) == len(set(named)) == 7
    conf = tmp_path / "a.conf"
    conf.write_text("\n".join(named))
    assert dataclasses.replace(load(environ={}, config_file=conf, memory=True), config_files=(), ssl_options=None) == Config()
    assert load(environ={}, config_file=conf, memory=True).ssl_options in (None, TlsOptions())


def test_what_a_file_cannot_hold_is_commented_out(leveret: Run) -> None:
    shown = leveret(
        "config", "show", LEVERET_DEFAULT_USER="$(HOME)", LEVERET_DEFAULT_VHOST="$(<x)", LEVERET_AUTH_HTTP_USER_PATH="http://u:hunter2@h/x"
    )
    assert "# default_user = '$(HOME)'  # environment LEVERET_DEFAULT_USER: a file can't hold it" in shown.stdout
    assert "# default_vhost = '$(<x)'  # environment LEVERET_DEFAULT_VHOST: a file can't hold it" in shown.stdout
    assert "# auth_http.user_path = http://***@h/x  # environment LEVERET_AUTH_HTTP_USER_PATH" in shown.stdout
    assert "hunter2" not in shown.stdout


def test_show_of_a_wrong_configuration(leveret: Run, tmp_path: Path) -> None:
    shown = leveret("config", "show", "--config", str(tmp_path / "none.conf"))
    assert (shown.returncode, shown.stdout) == (78, "")
    assert "none.conf: the configuration file can't be read: No such file or directory" in shown.stderr


def test_check_says_ok_or_lists_the_problems(leveret: Run, tmp_path: Path) -> None:
    good, bad, erlang = tmp_path / "good.conf", tmp_path / "bad.conf", tmp_path / "advanced.config"
    good.write_text("heartbeat = $(BEAT)\nmqtt.vhost = x\n")
    bad.write_text("heartbeat = x\nframe_mx = 1\n")
    erlang.write_text("[{rabbit, [{heartbeat, 1}]}].")
    fine = leveret("config", "check", str(good), str(erlang), BEAT="5", LEVERET_HEARTBEAT="not looked at")
    assert fine.returncode == 0
    assert fine.stdout.splitlines() == [
        f"{good}: warning: Leveret doesn't have these settings of RabbitMQ and goes on without them: mqtt.vhost ({good}:2)",
        f"{good}: ok",
        f"{erlang}: ok",
    ]
    both = leveret("config", "check", str(bad), str(erlang))
    assert both.returncode == 78
    assert both.stdout.splitlines() == [
        f"{bad}:1: heartbeat = x: expected a whole number of seconds from 0 to 65535",
        f'{bad}:2: frame_mx: there is no setting with that name; did you mean "frame_max"?',
        f"{erlang}: ok",
    ]
    alone = leveret("config")
    assert (alone.returncode, alone.stderr) == (64, "")
    assert "show" in alone.stdout
    assert "check" in alone.stdout
    assert leveret("config", "show", str(good), "--config", str(good)).returncode == 64


def test_check_refuses_what_serve_refuses(leveret: Run, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server, other = authority.server("server"), authority.server("other")
    key = tmp_path / "other.key"
    key.write_bytes(other.read_bytes().partition(b"-----BEGIN CERTIFICATE")[0])
    tls = "listeners.ssl.1 = 127.0.0.1:0\n"
    with_certificate = f"{tls}ssl_options.certfile = {server}\n"
    texts = {
        tls: "a TLS listener (listeners.ssl) needs ssl_options.certfile$",
        f"{with_certificate}ssl_options.keyfile = {other}\n": f"the key doesn't belong to the certificate in {server}",
        f"{with_certificate}ssl_options.fail_if_no_peer_cert = true\n": "needs ssl_options.verify = verify_peer",
        f"{with_certificate}ssl_options.verify = verify_peer\n": "verify_peer needs ssl_options.cacertfile: whom to trust",
        f"auth_backends.1 = http\nauth_http.ssl_options.cacertfile = {key}\nauth_http.user_path = https://h\n": f"certificates in {key}",
    }
    paths = [tmp_path / f"{number}.conf" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    (tmp_path / "good.conf").write_text(with_certificate)
    done = leveret("config", "check", *map(str, paths), str(tmp_path / "good.conf"))
    assert done.returncode == 78
    *told, good = done.stdout.splitlines()
    assert good == f"{tmp_path / 'good.conf'}: ok"
    for path, line, expected in zip(paths, told, texts.values(), strict=True):
        assert line.startswith(f"{path}: ")
        assert expected in f"{line}$"
        assert leveret("serve", "--memory", "--port", "0", "--config", str(path)).returncode == 78


@pytest.mark.parametrize("command", [("backup", "/nowhere"), ("definitions", "export"), ("definitions", "import", "{file}")])
def test_commands_for_a_data_directory_say_that_there_is_none(leveret: Run, tmp_path: Path, command: tuple[str, ...]) -> None:
    file = tmp_path / "definitions.json"
    file.write_text("{}")
    done = leveret(*(word.format(file=file) for word in command), LEVERET_DATA_DIR="none")
    assert done.returncode == 69
    assert "data_dir = none" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_start_with_nothing_given_imports_nothing_for_it() -> None:
    code = (
        "import sys; from broker.config import load; load(environ={'PATH': '/'}, memory=True, port=0, host='::1', log_level='info');"
        "sys.stdout.write(' '.join(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=True)
    imported = set(run.stdout.split())
    assert "broker.settings.loading" in imported
    assert imported.isdisjoint({"pydantic", "platformdirs", "difflib", "broker.settings.table", "broker.settings.environment"})


def round_trip(conf: Path, text: str, **environ: str) -> tuple[Config, Config]:
    """What is given, and what comes of reading what is shown of it."""
    conf.write_text(text, encoding="utf-8")
    first = loading.load(environ, conf, loading.command_line(None, None, None, None, memory="data_dir" not in text))
    shown = conf.with_name("shown.conf")
    shown.write_text("".join(f"{line}\n" for line in effective.lines(first)), encoding="utf-8")
    second = loading.load({}, shown, loading.Source())
    return first.config, dataclasses.replace(second.config, config_files=first.config.config_files, warnings=first.config.warnings)


EVERYTHING = [
    row.example.replace("/etc/leveret/", f"{ROOT}/").rpartition(f"{ROOT}/")[0] + HERE
    if row.kind in ("file", "definitions")
    else row.example or f"{row.name} = {row.default}"
    for row in table.SETTINGS
    if not row.secret
    and row.name not in ("listeners.tcp", "listeners.ssl", "loopback_users", "auth_backends.*", "auth_cache.cached_backend")
    and not row.name.startswith("default_users")
]
"""A line for each setting that isn't secret: its example, else its default."""


def test_what_is_shown_reads_back_as_the_same_configuration(tmp_path: Path) -> None:
    text = "\n".join(EVERYTHING)
    first, second = round_trip(tmp_path / "a.conf", text, RABBITMQ_NODE_IP_ADDRESS="::", RABBITMQ_NODENAME="x")
    assert first == second
    assert first.listeners != Config().listeners


VALUES: dict[str, st.SearchStrategy[str]] = {
    "boolean": st.sampled_from(["true", "false"]),
    "fraction": st.floats(0, 1000).map(repr),
    "text": st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\r\n$"), min_size=1, max_size=20).map(
        lambda text: f"'{text}'" if "'" not in text else f'"{text}"'
    ),
    "path": st.sampled_from(["/a b/c", "x#y", "~/z"]).map(repr),
    "regex": st.sampled_from([".*", "^a#b", "^(x|y)$"]).map(repr),
    "endpoint": st.sampled_from(["5", "[::1]:1", ":::2", "*:3", "host:4"]),
    "host": st.sampled_from(["loopback", "::", "*", "10.0.0.1"]),
    "tags": st.sampled_from(["a", "a, b"]),
    "url": st.just("http://h/x"),
    "duration": st.sampled_from(["5", "1h", "1m30s"]),
    "rotation_date": st.sampled_from(["$D0", "$W0D23", "$M1D0"]),
    "file": st.just(HERE),
    "definitions": st.just(HERE),
}


@st.composite
def settings_lines(draw: st.DrawFn) -> str:
    """Lines that are each right; together they may not be."""
    lines = []
    for row in draw(st.lists(st.sampled_from([row for row in table.SETTINGS if not row.secret]), max_size=12)):
        if row.kind in ("choice", "size", "bytesize", "integer", "milliseconds") or not row.kind:
            numbers = st.integers(int(row.low), int(min(row.high, 10**9))).map(str)
            value = draw(st.sampled_from(list(row.words)) if row.words else numbers)
        else:
            value = draw(VALUES[row.kind])
        lines.append(f"{row.name.replace('*', draw(st.sampled_from(['1', '2', 'x'])))} = {value}\n")
    return "".join(lines)


QUICK = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@QUICK
@given(text=settings_lines())
def test_any_configuration_reads_back_as_itself(tmp_path: Path, text: str) -> None:
    problems: tuple[str, ...] = ()
    try:
        first, second = round_trip(tmp_path / "a.conf", text)
    except ConfigError as error:
        problems = error.problems
    assert all("expected" in problem for problem in problems)
    assert problems or first == second


def lines_of(names: Iterator[str] | list[str]) -> st.SearchStrategy[str]:
    return st.lists(
        st.tuples(st.sampled_from(list(names)), st.sampled_from([" = ", "=", " ", " = '"]), st.text(max_size=12)).map("".join), max_size=5
    ).map("\n".join)


NAMES = [row.name.replace("*", "1") for row in table.SETTINGS] + ["xyzzy", "mqtt.vhost", "loopback_users.a\\.b", "..", "[{rabbit,[]}]."]


VARIABLES = sorted(
    {
        *environment.KEYS,
        *(name for name in environment.SILENT if "CONFIG_FILE" not in name),
        *(f"{name}_FILE" for name in environment.IN_FILES),
    }
    | {f"RABBITMQ_{name}" for name in "NODE_PORT NODE_IP_ADDRESS NODENAME USE_LONGNAME LOGS LOG MNESIA_DIR MNESIA_BASE".split()}
    | {"RABBITMQ_VM_MEMORY_HIGH_WATERMARK", "RABBITMQ_ENABLED_PLUGINS", "RABBITMQ_ENABLED_PLUGINS_FILE", environment.ERL_ARGS}
    | {table.variable_of_key(name) for name in NAMES}
)
# What an environment may hold: no zero bytes, and bytes that aren't UTF-8 as Python has them.
CHARACTERS = st.characters(blacklist_characters="\0", max_codepoint=0x2FF) | st.sampled_from(["\udcff", "%", "=", ",", "{", "["])
ANYTHING = st.text(CHARACTERS, max_size=12) | st.sampled_from([HERE, "-rabbit heartbeat [{", "40%", "none", "infinity"])


@QUICK
@given(environ=st.dictionaries(st.sampled_from(VARIABLES), ANYTHING, max_size=8))
def test_whatever_is_in_the_environment_it_is_a_configuration_or_a_config_error(environ: dict[str, str]) -> None:
    told: tuple[str, ...] = ()
    shown: list[str] = []
    try:
        shown = list(effective.lines(loading.load(environ, None, loading.Source())))
    except ConfigError as error:
        told = error.problems
    assert shown or told
    assert all(problem.startswith("environment: ") or "expected" in problem for problem in told)


@QUICK
@given(content=st.binary(max_size=200) | (st.text(max_size=200) | lines_of(NAMES)).map(lambda text: text.encode("utf-8", "replace")))
@example(content=b"log.dir = ~nobody-of-that-name")
@example(content=b"heartbeat = " + b"9" * 5000)
@example(content=b"max_message_size = " + b"9" * 5000)
@example(content=b"default_permissions.read = " + b"(" * 5000)
@example(content=b"auth_http.user_path = http://[")
@example(content=b"load_definitions = " + b"x" * 5000)
@example(content=b"ssl_options.certfile = a\0b")
@example(content=b"default_pass = $(<a\0b)")
@example(content=b"default_pass = $(</)\ninclude \0")
@example(content=b"include *\ninclude *")
def test_whatever_is_in_a_file_it_is_a_configuration_or_a_config_error(tmp_path: Path, content: bytes) -> None:
    for name in ("a.conf", "a.config"):
        path = tmp_path / name
        path.write_bytes(content)
        told: tuple[str, ...] = ()
        try:
            config = load(environ={}, config_file=path, memory=True)
        except ConfigError as error:
            told = error.problems
        assert all(str(path) in problem or "expected" in problem for problem in told)
        assert told or config.listeners
