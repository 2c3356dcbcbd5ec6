"""advanced.config: Erlang terms as settings."""

from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.config import AuthBackend, Config, ConfigError, Listener, ManagementOptions, TlsOptions, load
from broker.settings import terms
from broker.settings.terms import Atom, TermError

HERE = str(Path(__file__))


@pytest.fixture
def advanced(tmp_path: Path) -> Path:
    return tmp_path / "advanced.config"


def read(path: Path, text: str, **environ: str) -> Config:
    path.write_text(text, encoding="utf-8")
    return load(environ={"RABBITMQ_ADVANCED_CONFIG_FILE": str(path)} | environ, memory=True)


@pytest.mark.parametrize(
    ("term", "attribute", "value"),
    [
        ('{default_user, <<"alice">>}', "default_user", "alice"),
        ('{default_pass, <<"p">>}', "default_pass", "p"),
        ('{default_vhost, <<"Zoë"/utf8>>}', "default_vhost", "Zoë"),
        ("{default_user_tags, [administrator, monitoring]}", "default_user_tags", ("administrator", "monitoring")),
        ("{default_user_tags, ['my.tag', administrator]}", "default_user_tags", ("my.tag", "administrator")),
        ("{default_user_tags, []}", "default_user_tags", ()),
        ('{default_permissions, [<<"^c">>, <<"^w">>, <<"^r">>]}', "default_permissions", ("^c", "^w", "^r")),
        ('{default_permissions, [<<"">>, <<>>, <<".*">>]}', "default_permissions", ("", "", ".*")),
        ("{loopback_users, []}", "loopback_users", frozenset()),
        ('{loopback_users, [<<"guest">>, <<"a.b">>]}', "loopback_users", {"guest", "a.b"}),
        ("{tcp_listeners, [5673]}", "listeners", (Listener("127.0.0.1", 5673), Listener("::1", 5673))),
        ('{tcp_listeners, [{"10.0.0.1", 1}, {"::1", 2}]}', "listeners", (Listener("10.0.0.1", 1), Listener("::1", 2))),
        ('{tcp_listeners, []}, {ssl_listeners, [{"a", 1}]}', "listeners", (Listener("a", 1, tls=True),)),
        (
            f"{{ssl_options, [{{certfile, \"{HERE}\"}}, {{verify, verify_peer}}, {{depth, 2}}, {{versions, ['tlsv1.2']}}]}}",
            "ssl_options",
            TlsOptions(certfile=Path(HERE), verify_peer=True, depth=2, versions=("tlsv1.2",)),
        ),
        ("{consumer_timeout, 1000}", "consumer_timeout_ms", 1000),
        ("{consumer_timeout, undefined}", "consumer_timeout_ms", 0),
        (f'{{load_definitions, "{HERE}"}}', "load_definitions", Path(HERE)),
        ("{heartbeat, 7}", "heartbeat_seconds", 7),
        ("{heartbeat, 16#3C}", "heartbeat_seconds", 60),
        ("{heartbeat, $c}", "heartbeat_seconds", 99),
        ("{channel_max, 7}", "channel_max", 7),
        ("{frame_max, 8192}", "frame_max_bytes", 8192),
        ("{connection_max, infinity}", "connection_max", None),
        ("{vm_memory_high_watermark, 0.6}", "vm_memory_high_watermark", 0.6),
        ("{vm_memory_high_watermark, {absolute, 1073741824}}", "vm_memory_high_watermark", 1 << 30),
        ('{vm_memory_high_watermark, {absolute, "1GB"}}', "vm_memory_high_watermark", 10**9),
        ("{disk_free_limit, 50000000}", "disk_free_limit", 50_000_000),
        ("{disk_free_limit, {mem_relative, 1.5}}", "disk_free_limit", 1.5),
        ("{auth_mechanisms, ['PLAIN', 'EXTERNAL']}", "auth_mechanisms", ("PLAIN", "EXTERNAL")),
        (
            "{auth_backends, [{rabbit_auth_backend_internal, rabbit_auth_backend_http}, rabbit_auth_backend_internal]}",
            "auth_backends",
            (AuthBackend("internal", "http"), AuthBackend()),
        ),
        ("{log_levels, [{connection, error}]}", "log.levels", (("default", "info"), ("connection", "error"))),
    ],
)
def test_what_a_term_gives(advanced: Path, term: str, attribute: str, value: Any) -> None:
    config = read(advanced, f"%% a comment\n[\n {{rabbit, [{term}]}}\n].\n")
    assert attrgetter(attribute)(config) == value
    assert config.warnings == ()


@pytest.mark.parametrize(
    ("term", "attribute", "value"),
    [
        ('{listener, [{port, 1567}, {ip, "127.0.0.1"}]}', "management", ManagementOptions(port=1567, ip="127.0.0.1")),
        ("{tcp_config, [{port, 1568}]}", "management.port", 1568),
        (
            f"{{listener, [{{port, 1569}}, {{ssl, true}}, {{ssl_opts, [{{certfile, \"{HERE}\"}}, {{versions, ['tlsv1.3']}}]}}]}}",
            "management",
            ManagementOptions(tls_port=1569, ssl_options=TlsOptions(certfile=Path(HERE), versions=("tlsv1.3",))),
        ),
        (f'{{ssl_config, [{{certfile, "{HERE}"}}]}}', "management.tls_port", 15671),
        ('{cors_allow_origins, ["https://a", "*"]}', "management.cors_allow_origins", ("https://a", "*")),
        ("{cors_allow_origins, []}", "management.cors_allow_origins", ()),
        ('{rates_mode, basic}, {path_prefix, "/x"}', "management.path_prefix", "/x"),
        ('{path_prefix, "x/y/"}', "management.path_prefix", "/x/y"),
        ('{path_prefix, "/"}', "management.path_prefix", ""),
        ("{disable_management_stats, true}", "management.disable_stats", True),
    ],
)
def test_what_a_term_of_the_management_plugin_gives(advanced: Path, term: str, attribute: str, value: Any) -> None:
    config = read(advanced, f"[{{rabbitmq_management, [{term}]}}].")
    assert attrgetter(attribute)(config) == value
    assert config.warnings == ()


def test_options_of_its_listeners_that_leveret_has_not(advanced: Path) -> None:
    (warning,) = read(advanced, "[{rabbitmq_management, [{tcp_config, [{port, 1}, {cowboy_opts, [{idle_timeout, 5}]}]}]}].").warnings
    assert "rabbitmq_management.tcp_config (management.tcp.cowboy_opts.idle_timeout) (line 1)" in warning


def test_it_wins_over_the_file_and_the_environment_over_it(advanced: Path, tmp_path: Path) -> None:
    (tmp_path / "rabbitmq.conf").write_text("heartbeat = 1\nchannel_max = 1\nframe_max = 5000\n")
    terms = '[{rabbit, [{heartbeat, 2}, {channel_max, 2}]}, {rabbitmq_management, [{load_definitions, "/"}]}].'
    config = read(advanced, terms, LEVERET_CHANNEL_MAX="3", RABBITMQ_CONFIG_FILE=str(tmp_path / "rabbitmq"))
    assert (config.heartbeat_seconds, config.channel_max, config.frame_max_bytes, config.load_definitions) == (2, 3, 5000, Path("/"))


def test_other_terms_are_a_warning(advanced: Path) -> None:
    config = read(advanced, "[{rabbit, [\n{heartbeat, 3},\n{tcp_listen_options, [{backlog, 5}]}]},\n{kernel, [{x, []}]}].")
    assert config.heartbeat_seconds == 3
    assert config.warnings == (f"{advanced}: Leveret goes on without these terms: rabbit.tcp_listen_options (line 3), kernel.x (line 4)",)


def test_a_bare_number_is_a_share_of_the_memory_and_bytes_of_the_disk(advanced: Path) -> None:
    """In Config an int is bytes and a float a share."""
    variable = load(environ={"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-rabbit vm_memory_high_watermark 1"}, memory=True)
    bare = read(advanced, "[{rabbit, [{vm_memory_high_watermark, 1}, {disk_free_limit, 7}]}].")
    named = read(advanced, "[{rabbit, [{vm_memory_high_watermark, {relative, 1}}, {disk_free_limit, {absolute, 7}}]}].")
    assert [repr(each.vm_memory_high_watermark) for each in (variable, bare, named)] == ["1.0"] * 3
    assert [repr(each.disk_free_limit) for each in (bare, named)] == ["7"] * 2


def test_a_category_of_lines_that_there_is_not_takes_no_other_with_it(advanced: Path) -> None:
    config = read(advanced, "[{rabbit, [{log_levels, [{queue, error}, {xyzzy, debug}]}]}].")
    assert config.log.levels == (("default", "info"), ("queue", "error"))
    assert config.warnings == (f"{advanced}: Leveret goes on without these terms: rabbit.log_levels (log.xyzzy.level) (line 1)",)


def test_what_is_unknown_in_ssl_options_takes_nothing_else_with_it(advanced: Path) -> None:
    members = f'{{cacertfile, "{HERE}"}}, {{verify, verify_peer}},\n{{fail_if_no_peer_cert, true}}, {{client_renegotiation, false}}'
    config = read(advanced, f"[{{rabbit, [{{ssl_options, [{members},\n{{secure_renegotiate, true}}, {{depth, 2}}, {{ciphers, []}}]}}]}}].")
    assert config.ssl_options == TlsOptions(cacertfile=Path(HERE), verify_peer=True, fail_if_no_peer_cert=True, depth=2)
    (warning,) = config.warnings
    assert warning.endswith(": rabbit.ssl_options.client_renegotiation (line 2), rabbit.ssl_options.secure_renegotiate (line 3)")
    config = load(environ={"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-rabbit ssl_options [{verify,verify_peer},{reuse_sessions,true}]"})
    assert config.ssl_options == TlsOptions(verify_peer=True)
    assert "rabbit.ssl_options.reuse_sessions" in config.warnings[0]


@pytest.mark.parametrize(
    ("term", "problem"),
    [
        ("{ssl_options, [\n{verify, [verify_peer]}]}", "2: rabbit.ssl_options.verify: expected a text, an atom or a number"),
        ("{ssl_options, [{ciphers, [{rsa, aes_128_cbc, sha}]}]}", "1: rabbit.ssl_options.ciphers: expected a list of texts or atoms"),
        ("{ssl_options, [{versions, []}]}", "1: rabbit.ssl_options.versions: expected a list with something in it"),
        ("{ssl_options, verify_peer}", "1: rabbit.ssl_options: expected [{name, value}]"),
        ('{ssl_options, [{password, <<"">>}]}', "1: ssl_options.password = ***: expected a password of 1 to 1024 bytes"),
        ('{default_permissions, [<<".*">>]}', "1: rabbit.default_permissions: expected three patterns: configure, write and read"),
        ('{default_permissions, [<<"a">>, {}, <<"b">>]}', "1: rabbit.default_permissions: expected a text, an atom or a number"),
        ("{default_pass, <<>>}", "1: default_pass = ***: expected a password of 1 to 255 bytes"),
        ('{load_definitions, ""}', "1: load_definitions = : expected a file or a directory that is there"),
        ("{default_user_tags, [<<>>]}", "1: rabbit.default_user_tags: expected a list of names"),
        ("{auth_mechanisms, []}", "1: rabbit.auth_mechanisms: expected a list with something in it"),
        ("{disk_free_limit, 1.5}", "1: disk_free_limit.absolute = 1.5: expected a size from 0 to 9223372036854775807 bytes"),
    ],
)
def test_a_term_that_is_known_and_cannot_be_read_stops_the_start(advanced: Path, term: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(advanced, f"[{{rabbit, [{term}]}}].")
    assert caught.value.problems == (f"{advanced}:{problem}",)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[{rabbit, [\n{heartbeat, soon}]}].", ":2: heartbeat = soon: expected a whole number of seconds from 0 to 65535"),
        ('[{rabbit, [{default_pass, <<"encrypted:hunter2">>}]}].', ":1: default_pass = ***: expected the value itself"),
        ("[{rabbit, [{heartbeat, 1}]}]", ":1: expected more: the text ends within a term"),
        ("[{rabbit, [{heartbeat, 1}]\n\n].", ":3: expected `,`"),
        ("[{rabbit,\n[{heartbeat, fun() -> 1 end}]}].", ":2: expected an Erlang term: an atom, a text, a number, a list, a tuple or a map"),
        ("[{rabbit,\n[{heartbeat, X}]}].", ":2: expected an Erlang term: an atom, a text, a number, a list, a tuple or a map"),
        ("[{rabbit, [{heartbeat, 37#1}]}].", ":1: expected a number of base 2 to 36"),
        ("[{rabbit, [{heartbeat, 2#12}]}].", ":1: expected a number of base 2"),
        ("[{rabbit, [{x, #{a => 1, b}}]}].", ":1: expected `=>`"),
        ("[{rabbit, [{heartbeat, #{}}]}].", ":1: rabbit.heartbeat: expected a text, an atom or a number"),
        ("[{rabbit, #{heartbeat => 1}}].", ": expected [{application, [{name, value}]}]."),
        ("[" * 60, ":1: expected terms of at most 50 levels"),
        ("{rabbit, []}.", ": expected [{application, [{name, value}]}]."),
    ],
)
def test_a_mistake_stops_the_start_and_names_its_line(advanced: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(advanced, text)
    (told,) = caught.value.problems
    assert told.startswith(f"{advanced}{problem}")
    assert "hunter2" not in told


def test_terms() -> None:
    text = r"""[a, 'B c', "x\n\"y\"" "z", <<"bin">>, <<>>, -5, 1.5e3, [], {}, {k, [v]}]. % end"""
    assert terms.read(text) == [["a", "B c", 'x\n"y"z', "bin", "", -5, 1500.0, [], (), ("k", ["v"])]]
    assert terms.read(r"[16#3C, 16#ff, -2#101, 36#Z, $c, $\n, $\\, $\s, $ , $\x41, $é].") == [
        [60, 255, -5, 35, 99, 10, 92, 32, 32, 65, 233]
    ]
    assert terms.read('[1, #{a => [1], <<"b">> => #{}, c => {}}, 2]. #{}.') == [[1, terms.OPAQUE, 2], terms.OPAQUE]
    assert isinstance(terms.read_one("ok"), Atom)
    assert not isinstance(terms.read_one('"ok"'), Atom)
    with pytest.raises(TermError):
        terms.read_one("a b")


@given(text=st.text(alphabet="[]{}(),.%<>\"'\\ab1 \n#-_e/utf8$=>#", max_size=60) | st.text(max_size=60))
def test_whatever_the_text_it_is_terms_or_a_term_error(text: str) -> None:
    line = 1
    try:
        terms.read(text)
    except TermError as error:
        line = error.line
    assert 1 <= line <= text.count("\n") + 1
