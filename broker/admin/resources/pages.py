"""Pages for people: the overview, and what the API is."""

from __future__ import annotations

import html
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from broker.admin import jsons, openapi
from broker.admin.call import Answer, redirect
from broker.admin.errors import NoSuchObject
from broker.admin.routing import Access, Route

if TYPE_CHECKING:
    from broker.admin.call import Call

_STATIC: Final = Path(__file__).resolve().parents[1] / "static"
_TYPES: Final = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
_API_PAGE: Final = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Leveret: HTTP API</title><link rel="icon" href="data:,">
<link rel="stylesheet" href="../static/overview.css"></head>
<body>
<header><h1>HTTP API</h1><p><a href="openapi.json">OpenAPI</a></p></header>
<main><div class="scroll"><table>
<tr><th scope="col">Method</th><th scope="col">Path</th><th scope="col">What it does</th><th scope="col">Who may</th></tr>
{rows}
</table></div></main>
</body>
</html>
"""


def overview_page(call: Call) -> Answer:
    """Shows the broker to people, in a browser."""
    if not call.request.path.endswith("/"):
        return redirect(f"{call.request.path}/")
    return _page((_STATIC / "index.html").read_bytes(), ".html")


def static(call: Call) -> Answer:
    """Serves what the pages consist of."""
    path = next((path for path in _STATIC.iterdir() if path.name == call.path["file"] and path.suffix in _TYPES), None)
    if path is None:
        raise NoSuchObject
    return _page(path.read_bytes(), path.suffix)


def api_page(call: Call) -> Answer:
    """Lists what the API has, for people."""
    return _page(_api_page(*_described(call)), ".html")


def openapi_document(call: Call) -> Answer:
    """Describes the API for programs, as an OpenAPI document."""
    return Answer(body=_document(*_described(call)))


def _described(call: Call) -> tuple[str, str]:
    return call.context.node.version, call.context.config.management.path_prefix


# Anybody may ask for these, and they take some milliseconds.


@lru_cache(maxsize=1)
def _document(version: str, path_prefix: str) -> bytes:
    return jsons.dumps(openapi.document(version, path_prefix))


@lru_cache(maxsize=1)
def _api_page(version: str, path_prefix: str) -> bytes:
    lines = [
        f"<tr><td>{method.upper()}</td><td><code>{html.escape(path)}</code></td>"
        f"<td>{html.escape(operation['summary'])}</td><td>{html.escape(operation['x-access'])}</td></tr>"
        for path, operations in openapi.document(version, path_prefix)["paths"].items()
        for method, operation in operations.items()
    ]
    return _API_PAGE.format(rows="\n".join(lines)).encode()


def to_api_page(call: Call) -> Answer:
    """Leads to the page that lists what the API has."""
    return redirect(f"{call.context.config.management.path_prefix}/api/index.html")


def _page(content: bytes, suffix: str) -> Answer:
    return Answer(body=content, headers=dict(_HEADERS), content_type=_TYPES[suffix])


ROUTES: Final = (
    Route("GET", "/", overview_page, shows="text/html"),
    Route("GET", "/static/{file}", static, Access.ANYBODY, shows="text/*"),
    Route("GET", "/api", to_api_page, Access.ANYBODY, statuses=(301,)),
    Route("GET", "/doc/stats.html", to_api_page, Access.ANYBODY, statuses=(301,)),
    Route("GET", "/api/index.html", api_page, Access.ANYBODY, shows="text/html"),
    Route("GET", "/api/openapi.json", openapi_document, Access.ANYBODY, shows="object"),
)
