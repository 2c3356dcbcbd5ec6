"""What an install puts on whose path: users get `leveret` and nothing else at top level (design.md, section 1)."""

import os
import signal
import subprocess
import sys
import sysconfig
import tarfile
import textwrap
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import leveret
from tests.house.conftest import ROOT, clean_environment
from tests.house.test_serve import READY, Served

SERVER_PACKAGES = ("broker", "protocol", "storage")
VERSION = f"leveret {leveret.__version__} (RabbitMQ 3.13.7 compatible)\n"
Environment = Callable[[Path], Path]


def build(kind: str, source: Path, directory: Path) -> Path:
    """Build an sdist, a wheel or an editable wheel of `source` as pip would, without its isolated environment."""
    code = f"import sys, hatchling.build as b; sys.stdout.write(b.build_{kind}({os.fspath(directory)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=True, timeout=60)
    return directory / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def install(tmp_path: Path) -> Environment:
    """Installs a wheel into a fresh environment, where our own one's libraries can be imported too, and returns its scripts' folder."""

    def install(wheel: Path) -> Path:
        home = tmp_path / "venv"
        venv.create(home, with_pip=False, symlinks=os.name != "nt")
        scripts = home / ("Scripts" if os.name == "nt" else "bin")
        pip = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(scripts / "python"),
            "install",
            "--quiet",
            "--no-deps",
            "--no-index",
            str(wheel),
        ]
        subprocess.run(pip, check=True, timeout=60, env=clean_environment(PIP_DISABLE_PIP_VERSION_CHECK="1"))
        # As a line of a .pth: the folder's own .pth files (an editable leveret's among them) aren't run.
        (site_packages(scripts) / "libraries.pth").write_text(sysconfig.get_path("purelib"))
        return scripts

    return install


def site_packages(scripts: Path) -> Path:
    paths = {"base": str(scripts.parent), "platbase": str(scripts.parent)}
    return Path(sysconfig.get_path("purelib", scheme="venv", vars=paths))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's project with packages of its own that are called as the server's are, and a module called as a library of ours is."""
    home = tmp_path / "project"
    for name in SERVER_PACKAGES:
        (home / name).mkdir(parents=True)
        (home / name / "__init__.py").write_text(f"OWNER = 'the user, {name}'\n")
    (home / "pydantic.py").write_text("raise SystemExit('the server imported the user\\'s pydantic.py')\n")
    return home


def run(*command: str | Path, cwd: Path) -> str:
    """What the command prints; it must succeed."""
    done = subprocess.run([*map(str, command)], cwd=cwd, env=clean_environment(), capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_leveret_alone(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"leveret", f"leveret-{leveret.__version__}.dist-info"}
    for package in SERVER_PACKAGES:
        theirs = {name.removeprefix("leveret/_server/") for name in names if name.startswith(f"leveret/_server/{package}/")}
        ours = {path.relative_to(ROOT).as_posix() for path in (ROOT / package).rglob("*.py")}
        assert ours == {name for name in theirs if name.endswith(".py")}
    assert not [name for name in names if name.endswith(".pyc") or "/tests/" in name]


def test_the_sdist_has_what_the_wheel_needs(wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(build("sdist", ROOT, tmp_path)) as archive:
        archive.extractall(tmp_path, filter="data")
    again = build("wheel", tmp_path / f"leveret-{leveret.__version__}", tmp_path)
    assert sorted(zipfile.ZipFile(again).namelist()) == sorted(zipfile.ZipFile(wheel).namelist())


def test_a_project_with_packages_of_the_same_names_keeps_them(wheel: Path, install: Environment, project: Path) -> None:
    scripts = install(wheel)
    code = """
        import sys, leveret, leveret.__main__, broker, protocol, storage
        print(broker.OWNER, protocol.OWNER, storage.OWNER, "_server" in "".join(sys.path), leveret.__version__)
    """
    expected = f"the user, broker the user, protocol the user, storage False {leveret.__version__}\n"
    assert run(scripts / "python", "-c", textwrap.dedent(code), cwd=project) == expected
    # The server's process finds its own, however it is started and wherever.
    assert run(scripts / "leveret", "--version", cwd=project) == VERSION
    assert run(scripts / "python", "-m", "leveret", "--version", cwd=project) == VERSION
    loads = "import sys, runpy; sys.argv[1:] = ['serve', '--help']; runpy.run_module('leveret', run_name='__main__')"
    assert "usage: leveret serve" in run(scripts / "python", "-c", loads, cwd=project)


def test_the_users_modules_are_not_imported_by_the_server(wheel: Path, install: Environment, project: Path) -> None:
    """`python -m` puts the working directory first; here lies a pydantic.py, which reading a configuration would import."""
    (project / "leveret.conf").write_text("heartbeat = soon\n")
    scripts = install(wheel)
    for command in ([scripts / "leveret"], [scripts / "python", "-m", "leveret"]):
        done = subprocess.run(
            [*map(str, command), "serve", "--config", "leveret.conf"],
            cwd=project,
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 78
        assert "leveret.conf:1: heartbeat = soon: expected a whole number of seconds" in done.stderr


def test_an_installed_broker_serves_beside_such_a_project(wheel: Path, install: Environment, project: Path) -> None:
    scripts = install(wheel)
    for command in ((str(scripts / "leveret"),), (str(scripts / "python"), "-m", "leveret")):
        with Served("--memory", "--port", "0", command=command, cwd=project) as broker:
            assert READY in broker.lines[-1], "".join(broker.lines)
            assert broker.stop(signal.SIGTERM) == 0


def test_the_pytest_plugin_of_an_install_works_beside_such_a_project(wheel: Path, install: Environment, project: Path) -> None:
    """With pytest and pika, and without a warning."""
    scripts = install(wheel)
    test = """
        import broker, leveret.broker, pika
        def test_it(leveret):
            with pika.BlockingConnection(leveret.pika_parameters()) as connection:
                connection.channel().queue_declare("orders")
            assert broker.OWNER == "the user, broker"
            assert __import__("leveret").broker.__file__.startswith({!r})
    """
    (project / "test_project.py").write_text(textwrap.dedent(test).format(os.fspath(site_packages(scripts))))
    (project / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    others = ("schemathesis", "hypothesispytest")
    blocked = [word for other in others for word in ("-p", f"no:{other}")]
    assert "1 passed" in run(scripts / "python", "-m", "pytest", "-W", "error", *blocked, cwd=project)


def test_an_editable_install_runs_the_trees_files(install: Environment, project: Path, tmp_path: Path) -> None:
    scripts = install(build("editable", ROOT, tmp_path))
    where = "import leveret, leveret.__main__ as m; print(leveret.__file__, m.server_folder())"
    assert run(scripts / "python", "-c", where, cwd=tmp_path).split() == [str(ROOT / "leveret" / "__init__.py"), str(ROOT)]
    assert run(scripts / "leveret", "--version", cwd=project) == VERSION
    assert run(scripts / "python", "-m", "leveret", "--version", cwd=project) == VERSION


@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_no_install_exposes_the_servers_packages(kind: str, install: Environment, tmp_path: Path) -> None:
    scripts = install(build(kind, ROOT, tmp_path))
    found = "import importlib.util as u; print(*(n for n in ('leveret', 'broker', 'protocol', 'storage', 'tests') if u.find_spec(n)))"
    assert run(scripts / "python", "-c", found, cwd=tmp_path) == "leveret\n"
