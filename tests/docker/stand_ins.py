"""Images to begin with where Docker's registry can't be reached, under the names that the Dockerfile knows them by; and Compose.

`debian:RELEASE-slim` is what debootstrap makes, without manuals as in the real one; `python:VERSION-slim-RELEASE` is that with a Python of
the same version in /usr/local and the libraries that it needs. They are of Debian's testing release, whatever RELEASE says: that has
the Python.
"""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.docker.engine import ROOT, Engine

SUITE = "forky"
MIRROR = "http://deb.debian.org/debian"
BOOTSTRAP_SECONDS = 600
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
"""Whom this machine trusts: the package registries' names may be served by somebody else here."""
NO_MANUALS = "".join(f"path-exclude /usr/share/{folder}/*\n" for folder in ("doc", "info", "lintian", "locale", "man"))
PYTHON = """\
FROM {debian}
COPY ca-certificates.crt /tmp/
RUN apt-get update \\
    && apt-get install --yes --no-install-recommends python{version} python3-pip-whl ca-certificates netbase tzdata \\
    && mv /tmp/ca-certificates.crt /etc/ssl/certs/ \\
    && printf '[global]\\ncert = /etc/ssl/certs/ca-certificates.crt\\n' >/etc/pip.conf \\
    && cp -a /usr/bin/python{version} /usr/local/bin/ \\
    && ln -s python{version} /usr/local/bin/python3 \\
    && cp -a /usr/lib/python{version} /usr/local/lib/ \\
    && cd /usr/local/lib/python{version} \\
    && mkdir -p dist-packages site-packages \\
    && echo "$PWD/site-packages" >dist-packages/site.pth \\
    && python3 -m zipfile -e /usr/share/python-wheels/pip-*.whl site-packages \\
    && apt-get purge --yes 'python3*' 'libpython3*' \\
    && rm -rf /usr/lib/python3* /var/lib/apt/lists/*
"""
"""Where Debian's site.py looks for packages is another place than where Python's own does, which the real image has."""


def argument(name: str) -> str:
    """The default of an ARG of the Dockerfile."""
    (value,) = re.findall(rf"^ARG {name}=(\S+)$", (ROOT / "docker" / "Dockerfile").read_text(), flags=re.MULTILINE)
    return str(value)


def make(engine: Engine) -> None:
    """Make both. Takes half a minute."""
    version, release = argument("PYTHON_VERSION"), argument("DEBIAN_RELEASE")
    debian = f"debian:{release}-slim"
    with tempfile.TemporaryDirectory(prefix="leveret-debian-") as name:
        directory = Path(name)
        _bootstrap(directory / "tree")
        _take_compose(directory / "tree", engine.compose_plugin)
        _slim(directory / "tree")
        archive = subprocess.run(["tar", "--create", f"--directory={directory / 'tree'}", "."], capture_output=True, check=True).stdout
        engine.docker("import", "-", debian, stdin=archive)
        shutil.copy(CERTIFICATES, directory / "ca-certificates.crt")
        shutil.rmtree(directory / "tree")
        (directory / "Dockerfile").write_text(PYTHON.format(debian=debian, version=version))
        engine.build(f"python:{version}-slim-{release}", directory)


def _bootstrap(tree: Path) -> None:
    command = ["debootstrap", "--variant=minbase", SUITE, str(tree), MIRROR, "/usr/share/debootstrap/scripts/sid"]
    subprocess.run(command, check=True, timeout=BOOTSTRAP_SECONDS, stdout=subprocess.DEVNULL)
    # A machine whose clock isn't the mirror's.
    (tree / "etc/apt/apt.conf.d/stand-in").write_text('Acquire::Check-Valid-Until "false";\n')


def _take_compose(tree: Path, destination: Path) -> None:
    """Compose is no part of the image: Debian's stable release has none that reads our file."""
    script = "cd /tmp && apt-get update -q && apt-get download -q docker-compose && dpkg-deb --extract docker-compose_*.deb compose"
    subprocess.run(["chroot", str(tree), "sh", "-ec", script], check=True, timeout=BOOTSTRAP_SECONDS, stdout=subprocess.DEVNULL)
    shutil.move(tree / "tmp/compose/usr/libexec/docker/cli-plugins/docker-compose", destination)
    shutil.rmtree(tree / "tmp/compose")
    for package in (tree / "tmp").glob("*.deb"):
        package.unlink()


def _slim(tree: Path) -> None:
    (tree / "etc/dpkg/dpkg.cfg.d/slim").write_text(NO_MANUALS)
    for folder in ("usr/share/doc", "usr/share/info", "usr/share/lintian", "usr/share/locale", "usr/share/man", "var/lib/apt/lists"):
        shutil.rmtree(tree / folder, ignore_errors=True)
    for cached in (*(tree / "var/cache/apt/archives").glob("*.deb"), *(tree / "var/cache/apt").glob("*.bin")):
        cached.unlink()
