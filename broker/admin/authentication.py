"""Who asks: HTTP's Basic authentication against the same users and backends as AMQP's."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import logging
from typing import TYPE_CHECKING, Final

from broker.access.attempts import HTTP
from broker.access.backends import Confined, Credentials, Rejected
from broker.admin.errors import HttpError, NotAuthenticated, NotAuthorised
from broker.core.login import Attempt

if TYPE_CHECKING:
    from aiohttp.web import BaseRequest

    from broker.admin.context import Context
    from broker.core.permissions import Identity

log = logging.getLogger("management")

HOST_MAX: Final = 255
_PRIVATE: Final = (".localhost", ".local", ".internal", ".lan", ".home.arpa", ".test", ".localdomain")
"""Names that nobody can buy."""
SHOWN_MAX: Final = 500
"""Characters of what somebody said who may be anybody."""


async def log_in(context: Context, request: BaseRequest) -> Identity:
    """The user that an Authorization header speaks for. Raises HttpError: what is missing or wrong is answered with 401."""
    basic_auth_is_on(context)
    name, password = _basic(request.headers.get("Authorization"))
    return await log_in_as(context, name, password, request)


def basic_auth_is_on(context: Context) -> None:
    """Raises NotAuthorised where nobody may log in with a password (management.disable_basic_auth)."""
    if context.config.management.disable_basic_auth:
        log.warning("HTTP access denied: basic auth disabled")
        raise NotAuthorised("HTTP access denied: basic auth disabled")


async def log_in_as(context: Context, name: str, password: bytes, request: BaseRequest) -> Identity:
    """The user of that name, if it has the password. A refusal is counted; a success is the caller's to count. Raises HttpError."""
    address, host = request.remote or "", host_of(request.headers.get("Host", ""))
    claim = Credentials(name, password, address)
    attempt = Attempt()
    is_loopback = _is_loopback(address) and _is_of_this_network(host, context.node.name)
    try:
        return await context.decide(lambda: context.authentication.admit(claim, attempt, is_loopback=is_loopback))
    except Rejected as refused:
        count(context, address, name, succeeded=False)
        if isinstance(refused, Confined):
            log.warning(
                "HTTP access denied: user '%s' - User can only log in via localhost, not from %s to '%s'", name[:SHOWN_MAX], address, host
            )
            raise NotAuthorised("User can only log in via localhost") from refused
        log.warning("HTTP access denied: %s", refused.reason[:SHOWN_MAX])
        raise NotAuthenticated from refused


def count(context: Context, address: str, name: str, *, succeeded: bool) -> None:
    """A login was decided."""
    context.authentication.attempts.add(HTTP, address, name, succeeded=succeeded)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False


def host_of(header: str) -> str:
    """The name in a Host header, without the port."""
    name = header[1:].partition("]")[0] if header.startswith("[") else header.partition(":")[0]
    return name[:HOST_MAX].lower()


def _is_of_this_network(host: str, node: str) -> bool:
    """No page of the world has an address like this, so none has had this machine's browser send the request: whoever owns a domain can
    let its name stand for 127.0.0.1 (DNS rebinding), and would be guest."""
    if "." not in host or host.endswith(_PRIVATE) or host == node.partition("@")[2].lower():
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _basic(header: str | None) -> tuple[str, bytes]:
    """User and password. Raises HttpError: a login is asked for."""
    scheme, _, encoded = (header or "").partition(" ")
    if scheme.lower() != "basic":
        raise no_login()
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        raise no_login() from None
    if not colon:
        raise no_login()
    return name.decode("utf-8", "surrogateescape"), password


def no_login() -> HttpError:
    """401 with an empty body, as RabbitMQ answers who says nothing of himself."""
    return HttpError(401, "", "", challenge=True)
