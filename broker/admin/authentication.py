"""Who asks: HTTP's Basic authentication against the same users and backends as AMQP's."""

from __future__ import annotations

import base64
import binascii
import logging
from typing import TYPE_CHECKING

from broker.access.backends import Confined, Credentials, Rejected
from broker.admin.errors import HttpError, NotAuthenticated, NotAuthorised
from broker.core.login import Attempt

if TYPE_CHECKING:
    from broker.admin.context import Context
    from broker.core.permissions import Identity

log = logging.getLogger("management")


async def log_in(context: Context, header: str | None, address: str, *, is_loopback: bool) -> Identity:
    """The user that an Authorization header speaks for. Raises HttpError: what is missing or wrong is answered with 401."""
    name, password = _basic(header)
    claim = Credentials(name, password, address)
    attempt = Attempt()
    try:
        return await context.decide(lambda: context.authentication.admit(claim, attempt, is_loopback=is_loopback))
    except Confined as refused:
        log.warning("HTTP access denied: %s", refused.reason)
        raise NotAuthorised("User can only log in via localhost") from refused
    except Rejected as refused:
        log.warning("HTTP access denied: %s", refused.reason)
        raise NotAuthenticated from refused


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
