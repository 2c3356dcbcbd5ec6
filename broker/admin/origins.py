"""Pages of other origins: which may use the API (management.cors.allow_origins), and that no other changes anything.

A browser adds the login that it remembers to whatever a page of anybody's sends here, forms among it, and these need nobody's leave
(https://owasp.org/www-community/attacks/csrf). But it also says where the page is from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.admin.errors import HttpError

if TYPE_CHECKING:
    from aiohttp.web import BaseRequest

    from broker.config import ManagementOptions

_HARMLESS: Final = ("GET", "HEAD", "OPTIONS")
_OWN: Final = ("same-origin", "none")
"""What browsers say of requests of our own pages, and of what people typed."""


def _is_allowed(origin: str, options: ManagementOptions) -> bool:
    return "*" in options.cors_allow_origins or origin in options.cors_allow_origins


def check(request: BaseRequest, options: ManagementOptions) -> None:
    """Raises HttpError 403 for a change that a page of another origin asks for, unless it is an allowed one."""
    origin = request.headers.get("Origin")
    if origin is None or request.method in _HARMLESS or _is_allowed(origin, options):
        return
    relation = request.headers.get("Sec-Fetch-Site")
    hosts = (request.headers.get("Host"), request.headers.get("X-Forwarded-Host"))
    # Browsers tell the relation only over https and on this machine; they see it right even where a proxy changes the host.
    if relation in _OWN if relation is not None else origin.partition("://")[2] in hosts:
        return
    raise HttpError(
        403, "forbidden", f"a page of {origin[:255]} may change nothing here: management.cors.allow_origins.N = {origin[:255]} would let it"
    )


def headers(request: BaseRequest, options: ManagementOptions) -> dict[str, str]:
    """What tells browsers that a page of an allowed origin may read the answer."""
    origin = request.headers.get("Origin")
    if origin is None or not _is_allowed(origin, options):
        return {}
    found = {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true"}
    if request.method == "OPTIONS":
        found["Access-Control-Max-Age"] = str(options.cors_max_age_seconds)
        found["Access-Control-Allow-Methods"] = "HEAD, GET, POST, PUT, DELETE, OPTIONS"
        if asked := request.headers.get("Access-Control-Request-Headers"):
            found["Access-Control-Allow-Headers"] = asked
    return found
