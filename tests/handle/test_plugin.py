"""The pytest plugin, in runs of pytest in processes of their own."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from broker.control import is_alive
from leveret import Broker
from tests.handle.programs import TIMEOUT_SECONDS, gone
from tests.handle.test_api import token
from tests.house.conftest import clean_environment

pytest_plugins = ["pytester"]

IMPORT_MICROSECONDS_MAX = 10_000
SANDBOX_SECONDS_MAX = 0.005
TITLE = "*- leveret: what the broker saw -*"
QUICKER = ("-p", "no:cacheprovider", "-p", "no:schemathesis", "-p", "no:hypothesispytest")
"""Other plugins of ours take a second to import."""
CONNECTS = """
    import pika
    def connect(broker):
        return pika.BlockingConnection(broker.pika_parameters())
"""


@pytest.fixture(autouse=True)
def plain_run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the run that we are in; with CI set, pytest's summary would say everything once more."""
    for name in list(os.environ):
        if name.startswith(("PYTEST_", "LEVERET_")) or name in ("CI", "BUILD_NUMBER"):
            monkeypatch.delenv(name)
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makeconftest(CONNECTS)


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess(*QUICKER, *arguments, timeout=TIMEOUT_SECONDS)


# --- fixtures -------------------------------------------------------------------------------------------------------


def test_fixtures(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import os, pika, pytest
        from conftest import connect
        seen = []

        def test_one(leveret, leveret_server):
            with connect(leveret) as connection:
                connection.channel().queue_declare("orders")
            assert leveret.vhost == leveret.user == "test_one" and leveret.port == leveret_server.port
            seen.append((leveret.url, leveret_server.pid))

        @pytest.mark.parametrize("what", ["a/b c", "é" * 100])
        def test_others_have_vhosts_of_their_own(leveret, leveret_server, what):
            with connect(leveret) as connection, pytest.raises(pika.exceptions.ChannelClosedByBroker, match="404"):
                connection.channel().queue_declare("orders", passive=True)
            assert seen[0][0] != leveret.url and seen[0][1] == leveret_server.pid
            with pytest.raises(pika.exceptions.AMQPError):
                pika.BlockingConnection(pika.URLParameters(seen[0][0]))

        def test_time_goes_on(leveret):
            leveret._note_frozen(False)

        def test_a_broker_of_ones_own(leveret_factory, leveret_server):
            first, second = leveret_factory(data_dir=True), leveret_factory(compat="4.x", seed=8)
            assert len({first.port, second.port, leveret_server.port}) == 3
            assert (first.seed, second.seed) == (leveret_server.seed, 8)
            first.kill()
            first.start()
            seen.append(first)

        def test_it_is_gone_afterwards():
            assert not seen[-1].is_running

        class TestOfUnittest:
            import unittest
            class TestCase(unittest.TestCase):
                @pytest.fixture(autouse=True)
                def broker(self, leveret):
                    self.broker = leveret
                def test_it(self):
                    connect(self.broker).close()

        def test_it_is_there_after_somebody_has_killed_it(leveret_server):
            leveret_server.kill()

        def test_as_if_nothing_had_happened(leveret):
            connect(leveret).close()
        """
    )
    result = run(pytester, "-W", "error::ResourceWarning", "-W", "error::pytest.PytestUnraisableExceptionWarning", "--leveret-seed=42")
    result.assert_outcomes(passed=9)
    result.stdout.fnmatch_lines(["leveret: seed 42 (to have the same again: --leveret-seed=42)"])


def test_nothing_starts_unless_used(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys
        def test_it():
            assert not {name for name in sys.modules if name.startswith("leveret.")} - {"leveret.pytest_plugin"}
        """
    )
    result = run(pytester)
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("leveret:*")


def test_the_plugin_is_imported_in_no_time() -> None:
    """And brings nothing along that pytest hasn't imported."""
    code = "import pytest, sys; before = set(sys.modules); import leveret.pytest_plugin; print(sorted(set(sys.modules) - before))"
    best = IMPORT_MICROSECONDS_MAX * 10
    for _ in range(3):
        command = [sys.executable, "-X", "importtime", "-c", code]
        done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=True, timeout=TIMEOUT_SECONDS)
        assert done.stdout == "['leveret', 'leveret.pytest_plugin']\n"
        microseconds = re.findall(r"\| +(\d+) \| leveret$|\| +(\d+) \| +leveret.pytest_plugin$", done.stderr)
        best = min(best, sum(int(number) for pair in microseconds for number in pair if number))
    assert best < IMPORT_MICROSECONDS_MAX


@pytest.mark.alone
def test_a_sandbox_costs_a_test_next_to_nothing(pytester: pytest.Pytester) -> None:
    """All that comes between two tests, less what comes between two that use nothing; the quicker ones, for this machine may be busy."""
    pytester.makepyfile(
        """
        import pytest, statistics, time
        begun = {"with": [], "without": []}

        @pytest.mark.parametrize("number", range(100))
        def test_with(leveret, number):
            begun["with"].append(time.perf_counter())

        @pytest.mark.parametrize("number", range(100))
        def test_without(number):
            begun["without"].append(time.perf_counter())

        def test_the_difference():
            between = {name: [after - before for before, after in zip(times, times[1:])] for name, times in begun.items()}
            with open("seconds", "w") as file:
                usual = {name: statistics.quantiles(seconds, n=4)[0] for name, seconds in between.items()}
                file.write(str(usual["with"] - usual["without"]))
        """
    )
    run(pytester, "--capture=no").assert_outcomes(passed=201)
    assert float((pytester.path / "seconds").read_text()) < SANDBOX_SECONDS_MAX


# --- failures -------------------------------------------------------------------------------------------------------


def test_the_report_of_a_failed_test_says_what_the_broker_saw(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from conftest import connect

        def use(broker, queue):
            with connect(broker) as connection:
                channel = connection.channel()
                channel.queue_declare(queue)
                channel.basic_publish("", queue, b"x")

        @pytest.fixture
        def fails_before(leveret):
            use(leveret, "in-setup")
            raise ValueError

        @pytest.fixture
        def fails_after(leveret):
            yield
            use(leveret, "in-teardown")
            raise ValueError

        def test_setup(fails_before):
            pass

        def test_call(leveret):
            use(leveret, "in-call")
            assert False

        def test_passes(leveret):
            use(leveret, "in-vain")

        @pytest.mark.xfail
        def test_is_expected(leveret):
            use(leveret, "in-vain")
            assert False

        def test_own(leveret_factory):
            use(leveret_factory(), "in-own")
            assert False

        def test_teardown(fails_after):
            pass
        """
    )
    result = run(pytester)
    result.assert_outcomes(passed=2, failed=2, errors=2, xfailed=1)
    text = result.stdout.str()
    assert text.count("leveret: what the broker saw") == 4
    assert len(re.findall(r"^seed \d+ \(to have the same again: --leveret-seed=\d+\)$", text, flags=re.MULTILINE)) == 4
    for where in ("setup", "call", "own", "teardown"):
        assert f"queue.declare queue='in-{where}'" in text, where
    assert "in-vain" not in text


def test_a_broker_that_is_gone_is_no_reason_to_stop(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_it(leveret_server, leveret):
            leveret_server.kill()
            assert False
        """
    )
    result = run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([TITLE, "seed *", "the broker was ended by signal 9; the end of its log:", "*Adding vhost 'test_it'*"])


# --- beside other plugins -------------------------------------------------------------------------------------------


def test_xdist(pytester: pytest.Pytester) -> None:
    """One broker for each worker, and one seed for all."""
    pytester.makepyfile(
        """
        import os, pathlib, pytest
        from conftest import connect

        @pytest.mark.parametrize("number", range(12))
        def test_it(leveret, leveret_server, number):
            connect(leveret).close()
            directory = leveret_server.api.ask("GET", "")["data_dir"]
            assert pathlib.Path(directory).name == os.environ["PYTEST_XDIST_WORKER"]
            pathlib.Path("pids", f"{leveret_server.pid}-{leveret_server.seed}").touch()
        """
    )
    (pytester.path / "pids").mkdir()
    result = run(pytester, "-n2", "--leveret-data-dir", "data")
    result.assert_outcomes(passed=12)
    pids, seeds = zip(*(path.name.split("-") for path in (pytester.path / "pids").iterdir()), strict=True)
    assert len(set(pids)) == 2 and len(set(seeds)) == 1
    assert not any(is_alive(int(pid)) for pid in pids)


def test_asyncio_and_anyio(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import aio_pika, anyio, pytest, sys

        @pytest.mark.asyncio
        async def test_asyncio(leveret):
            async with await aio_pika.connect_robust(leveret.url) as connection:
                await connection.channel()
            async with leveret.aio.sandbox() as other:
                assert other.vhost != leveret.vhost

        @pytest.fixture
        async def published(leveret, anyio_backend):
            yield leveret.aio

        @pytest.mark.anyio
        async def test_anyio(published, anyio_backend_name):
            assert (anyio_backend_name == "trio") == ("trio" in sys.modules and in_trio())
            async with published.sandbox() as other:
                assert other.vhost != published.vhost

        def in_trio():
            import trio
            try:
                return bool(trio.lowlevel.current_task())
            except RuntimeError:
                return False
        """
    )
    run(pytester).assert_outcomes(passed=3)


@pytest.mark.parametrize("method", ["signal", "thread"])
def test_timeouts(method: str, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pathlib, threading

        def test_it(leveret, leveret_server):
            pathlib.Path("pid").write_text(str(leveret_server.pid))
            threading.Event().wait()
        """
    )
    result = run(pytester, "--timeout=1", f"--timeout-method={method}", "-o", "timeout_func_only=true")
    if method == "signal":
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines([TITLE])
    else:
        result.stdout.fnmatch_lines(["*Timeout*"])
    assert gone(int((pytester.path / "pid").read_text()))


# --- runs that end in the middle ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["kill -9", "Ctrl-C", "kill -9 of a worker", "a crash with a fork"])
def test_a_run_that_ends_in_the_middle_leaves_no_process_behind(how: str, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        f"""
        import os, signal, sys, threading

        def test_it(leveret, leveret_server, leveret_factory):
            own = leveret_factory(data_dir=True)
            if {how == "a crash with a fork"}:
                child = os.fork()
                if child == 0:
                    signal.pause()
                tell(leveret_server.pid, own.pid, child)
                os.kill(os.getpid(), signal.SIGSEGV)
            tell(leveret_server.pid, own.pid)
            if {how == "kill -9 of a worker"}:
                os.kill(os.getpid(), signal.SIGKILL)
            threading.Event().wait()

        def tell(*pids):
            with open("pids.new", "w") as file:
                file.write(" ".join(map(str, pids)))
            os.rename("pids.new", "pids")
        """
    )
    command = [sys.executable, "-m", "pytest", *QUICKER, "-p", "no:faulthandler", *(["-n1"] if "worker" in how else [])]
    log = (pytester.path / "log").open("w+")
    process = subprocess.Popen(command, cwd=pytester.path, stdout=log, stderr=log, start_new_session=True)
    try:
        pids = numbers(pytester.path / "pids", process, log.name)
        if how == "Ctrl-C":
            os.killpg(process.pid, signal.SIGINT)
        elif how == "kill -9":
            process.kill()
        process.wait(TIMEOUT_SECONDS)
        for pid in pids[:2]:
            assert gone(pid)
        for pid in pids[2:]:
            assert is_alive(pid)
            os.kill(pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
        log.close()


def numbers(path: Path, process: subprocess.Popen[bytes], log: str) -> list[int]:
    """What stands in a file, once it is there."""
    from tests.runtime.process import soon

    soon(lambda: path.exists() or process.poll() is not None)
    assert path.exists(), Path(log).read_text()
    return [int(word) for word in path.read_text().split()]


# --- options --------------------------------------------------------------------------------------------------------


def test_options_of_three_places(pytester: pytest.Pytester) -> None:
    """What is typed wins over the fixture, and that over the ini file."""
    (pytester.path / "rabbitmq.conf").write_text("cluster_name = from-the-ini\n")
    pytester.makeini(
        """
        [pytest]
        asyncio_default_fixture_loop_scope = function
        leveret_config = rabbitmq.conf
        leveret_compat = 4.x
        leveret_seed = 1
        leveret_data_dir = temporary
        """
    )
    pytester.makeconftest(
        CONNECTS
        + """
    import pytest
    @pytest.fixture(scope="session")
    def leveret_options(tmp_path_factory):
        return {"compat": "3.13", "seed": 2, "data_dir": tmp_path_factory.mktemp("data")}
    """
    )
    pytester.makepyfile(
        """
        from conftest import connect
        def test_it(leveret, leveret_server, leveret_factory, tmp_path_factory):
            assert leveret.seed == leveret_factory().seed == 3
            with connect(leveret) as connection:
                properties = connection._impl.server_properties
                connection.channel().queue_declare("orders", durable=True)
            assert properties["cluster_name"] == "from-the-ini" and properties["version"].startswith("3.13")
            assert leveret_server.api.ask("GET", "")["data_dir"] == str(tmp_path_factory.getbasetemp() / "data0")
            leveret.restart()
            with connect(leveret) as connection:
                connection.channel().queue_declare("orders", passive=True)
        """
    )
    run(pytester, "--leveret-seed=3").assert_outcomes(passed=1)


def test_strict_tests_fail_of_findings(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from conftest import connect

        def declare(broker):
            with connect(broker) as connection:
                connection.channel().queue_declare("transient")

        def test_sandbox(leveret):
            declare(leveret)

        def test_own(leveret_factory):
            declare(leveret_factory())

        def test_fails_anyway(leveret):
            declare(leveret)
            assert False

        def test_clean(leveret):
            pass
        """
    )
    run(pytester).assert_outcomes(passed=3, failed=1)
    result = run(pytester, "--leveret-strict")
    result.assert_outcomes(passed=1, failed=3)
    text = result.stdout.str()
    assert text.count("leveret, strict: 1 finding:\n  breaks transient-queue: queue 'transient'") == 2
    assert text.count("leveret: what the broker saw") == 3
    run(pytester, "--leveret-strict", "--leveret-ignore=transient-queue,global-qos").assert_outcomes(passed=3, failed=1)


def test_a_broker_that_runs_already(pytester: pytest.Pytester, server: Broker) -> None:
    pytester.makepyfile(
        f"""
        from conftest import connect
        def test_it(leveret, leveret_server):
            connect(leveret).close()
            assert leveret_server.port == {server.port}

        def test_fails(leveret):
            assert False
        """
    )
    result = run(pytester, "--leveret-url", server.http_url, "--leveret-token", token(server))
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines([f"leveret: the broker at {server.http_url}", TITLE, f"the broker at {server.http_url}, seed 7"])
    assert server.is_running
    result = run(pytester, "--leveret-url", server.http_url)
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*--leveret-url needs --leveret-token*"])


def test_options_that_make_no_sense(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(leveret): pass")
    result = run(pytester, "--leveret-seed=x")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--leveret-seed: expected a number, 0 or more, not 'x'*"])
    assert run(pytester, "--leveret-seed=-3").ret == pytest.ExitCode.USAGE_ERROR
    result = run(pytester, "--leveret-compat=2.0")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*CannotStart*", "*2.0*expected*"])
