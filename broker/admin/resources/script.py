"""/cli/rabbitmqadmin: the tool as one file that Python runs, for machines without Leveret, where RabbitMQ serves its own.

The file is a zip archive with a first line for the shell (https://docs.python.org/3/library/zipapp.html): broker.cli.ctl's rabbitmqadmin,
and what it imports of Leveret.
"""

from __future__ import annotations

import html
import io
import zipfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from broker import identity
from broker.admin.call import Answer, redirect
from broker.admin.routing import Access, Route

if TYPE_CHECKING:
    from broker.admin.call import Call

FIRST_LINE: Final = b"#!/usr/bin/env python3\n"
MODULES: Final = (
    "broker", "broker.cli", "broker.cli.ctl", "broker.cli.ctl.admin", "broker.cli.ctl.admin_actions", "broker.cli.ctl.admin_classic",
    "broker.cli.ctl.admin_commands", "broker.cli.ctl.admin_second", "broker.cli.ctl.admin_tables", "broker.cli.ctl.api",
    "broker.cli.ctl.errors", "broker.cli.ctl.formats", "broker.cli.ctl.options", "broker.cli.ctl.terms",
)  # fmt: skip
_MAIN: Final = """import sys

if sys.version_info < (3, 11):
    sys.exit("rabbitmqadmin needs Python 3.11 or newer, and this is %d.%d" % sys.version_info[:2])
from broker.cli.ctl.admin import main

sys.exit(main(sys.argv[1:]))
"""
_ROOT: Final = Path(__file__).resolve().parents[3]
"""Where `broker` lies."""
_TIME: Final = (2026, 1, 1, 0, 0, 0)
"""Of every file in the archive, so that the same modules are the same bytes."""
_PAGE: Final = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Leveret: rabbitmqadmin</title><link rel="icon" href="data:,">
<link rel="stylesheet" href="../static/overview.css"></head>
<body><header><h1>rabbitmqadmin</h1></header>
<main><p><a href="rabbitmqadmin" download>Download it</a>, or</p>
<pre>curl -O {address}/cli/rabbitmqadmin
python3 rabbitmqadmin help</pre>
<p>It needs Python 3.11 or newer, and nothing else.</p></main></body>
</html>
"""


def to_page(call: Call) -> Answer:
    """Leads to the page that says how to get rabbitmqadmin."""
    return redirect(f"{call.context.config.management.path_prefix}/cli/index.html")


def page(call: Call) -> Answer:
    """Says how to get rabbitmqadmin."""
    address = f"{call.request.scheme}://{call.request.host}{call.context.config.management.path_prefix}"
    return Answer(body=_PAGE.format(address=html.escape(address)).encode(), content_type="text/html; charset=utf-8")


def rabbitmqadmin(call: Call) -> Answer:
    """Gives out rabbitmqadmin, as one file that Python runs."""
    return Answer(body=archive(), content_type="application/octet-stream")


@cache
def archive() -> bytes:
    """That file."""
    written = io.BytesIO()
    written.write(FIRST_LINE)
    with zipfile.ZipFile(written, "a", zipfile.ZIP_DEFLATED) as archived:
        for name in MODULES:
            path = Path(*name.split("."))
            file = path / "__init__.py" if (_ROOT / path).is_dir() else path.with_suffix(".py")
            _add(archived, file.as_posix(), (_ROOT / file).read_text())
        _add(archived, "broker/identity.py", f"RABBITMQ_VERSION = {identity.RABBITMQ_VERSION!r}\n")
        _add(archived, "__main__.py", _MAIN)
    return written.getvalue()


def _add(archived: zipfile.ZipFile, name: str, text: str) -> None:
    about = zipfile.ZipInfo(name, _TIME)
    about.compress_type = zipfile.ZIP_DEFLATED
    archived.writestr(about, text)


def to_root(call: Call) -> Answer:
    """Leads to the overview."""
    return redirect(f"{call.context.config.management.path_prefix}/")


ROUTES: Final = (
    Route("GET", "/cli", to_page, Access.ANYBODY, statuses=(301,)),
    Route("GET", "/cli/index.html", page, Access.ANYBODY, shows="text/html"),
    Route("GET", "/cli/rabbitmqadmin", rabbitmqadmin, Access.ANYBODY, shows="application/octet-stream"),
    Route("GET", "/mgmt", to_root, Access.ANYBODY, statuses=(301,)),
)
