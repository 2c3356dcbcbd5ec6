"""The HTTP server: requests in, answers out; who asks, whether they may, and what goes wrong in RabbitMQ's words."""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from broker.admin import access, jsons, origins
from broker.admin.authentication import count, log_in, no_login
from broker.admin.call import Answer, Call, redirect, with_spaces
from broker.admin.errors import BadRequest, HttpError, MethodNotAllowed, Missing, NoSuchObject, NotAuthorised, Unavailable
from broker.admin.routes import ROUTES
from broker.admin.routing import Access, Route, Router
from broker.core.permissions import Identity, InvalidPattern, Permissions
from broker.definitions import InvalidDefinitions
from broker.metrics import serving as metrics
from broker.node import HTTPS
from broker.operations import InvalidOperation, NotFound
from protocol.constants import ACCESS_REFUSED, NOT_FOUND
from protocol.errors import AmqpError, ChannelException

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from broker.admin.context import Context

log = logging.getLogger("management")

REALM: Final = 'Basic realm="RabbitMQ Management"'
VARY: Final = "accept, accept-encoding, origin"
LOCAL_USER: Final = "rmq-cli"
"""Whoever has the control socket."""
KEEPALIVE_SECONDS: Final = 75.0
SHUTDOWN_SECONDS: Final = 0.5
LINE_MAX: Final = 200
"""Characters of what aiohttp says of a request."""


class Api:
    """Answers requests. `prefix` stands before the paths of the routes. `is_local` is for the control socket: whoever gets there needs
    no password."""

    def __init__(self, context: Context, routes: Iterable[Route], *, prefix: str = "", is_local: bool = False) -> None:
        self._context = context
        self._router = Router(routes)
        self._prefix = prefix.rstrip("/")
        self._is_local = is_local
        self._server = web.Server(
            self._handle, access_log=None, logger=_http_log(), keepalive_timeout=KEEPALIVE_SECONDS, tcp_keepalive=False
        )

    def protocol(self) -> asyncio.Protocol:
        """For the event loop: what speaks HTTP on one connection."""
        handler: asyncio.Protocol = self._server()
        return handler

    async def close(self) -> None:
        """End all connections, after the answers that are being given."""
        await self._server.shutdown(SHUTDOWN_SECONDS)

    # --- one request ------------------------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            answer = await self._answer(request)
        except HttpError as error:
            answer = _refusal(error)
        except (web.RequestPayloadError, HttpProcessingError) as error:
            answer = _refusal(BadRequest(f"the body can't be read: {_first_line(error)}"))
        except Exception as error:
            if isinstance(error, ConnectionError) and (request.transport is None or request.transport.is_closing()):
                # The client is gone, in the middle of its request: nobody gets this.
                return await _respond(request, _refusal(Unavailable("the client is gone")))
            # A bug in one handler costs one request; the log has the traceback.
            log.exception("internal error on %s %s", request.method, request.path)
            answer = _refusal(HttpError(500, "internal_server_error", "the broker met an internal error, see its log"))
        answer.headers |= origins.headers(request, self._context.config.management)
        return await _respond(request, answer)

    async def _answer(self, request: web.BaseRequest) -> Answer:
        self._check_certificate(request)
        origins.check(request, self._context.config.management)
        path = request.rel_url.raw_path
        if self._prefix:
            if path == "/":
                return redirect(f"{self._prefix}/")
            if not f"{path}/".startswith(f"{self._prefix}/"):
                raise NoSuchObject
            path = path[len(self._prefix) :] or "/"
        if request.method == "OPTIONS":
            return Answer(headers={"Allow": ", ".join(self._router.allowed(path))})
        route, names = self._router.find(request.method, path)
        if request.method != "PUT":
            names = with_spaces(self._context.broker, names)
        call = Call(self._context, request, names, _NOBODY, request.remote or "")
        if route.access is not Access.ANYBODY:
            call.identity = await self._identify(request)
            await self._check(call, route.access)
            call.visible = await access.visible(self._context, call.identity)
        try:
            result = route.handler(call)
            if inspect.isawaitable(result):
                result = await result
        except NotFound as error:
            raise Missing(str(error)) from error
        except (InvalidOperation, InvalidDefinitions, InvalidPattern) as error:
            raise BadRequest(str(error)) from error
        except AmqpError as error:
            raise _of_amqp(error) from error
        return result if isinstance(result, Answer) else Answer(body=jsons.dumps(result))

    def _check_certificate(self, request: web.BaseRequest) -> None:
        """What OpenSSL isn't asked of a client's certificate (management.ssl.depth). Raises NotAuthorised."""
        session = request.transport.get_extra_info("ssl_object") if request.transport is not None else None
        contexts = self._context.node.tls.get(HTTPS)
        if session is not None and contexts is not None and (objection := contexts.objection(session)) is not None:
            log.warning("HTTP access denied: %s", objection)
            raise NotAuthorised(objection)

    async def _identify(self, request: web.BaseRequest) -> Identity:
        if self._is_local:
            return _LOCAL
        header = request.headers.get("Authorization")
        if header is None and not self._context.config.management.disable_basic_auth:
            raise no_login()
        return await log_in(self._context, header, request.remote or "")

    async def _check(self, call: Call, wanted: Access) -> None:
        try:
            await access.check(call, wanted)
        except NotAuthorised as refused:
            log.warning("HTTP access denied: user '%s' - %s", call.user_name, refused.reason)
            self._count(call, succeeded=False)
            raise
        self._count(call, succeeded=True)

    def _count(self, call: Call, *, succeeded: bool) -> None:
        if not self._is_local:
            count(self._context, call.peer_address, call.user_name, succeeded=succeeded)


class _Refused(logging.Filter):
    """What is no HTTP is the client's mistake, which it is told: here it gets a line, and no traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        """See logging.Filter."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError | web.RequestPayloadError):
            record.msg, record.exc_info = f"{record.getMessage()}: {_first_line(error)}", None
            record.args = ()
            record.levelno, record.levelname = logging.INFO, "INFO"
        return True


_REFUSED: Final = _Refused()


def _http_log() -> logging.Logger:
    """aiohttp's."""
    logger = logging.getLogger("aiohttp.server")
    logger.addFilter(_REFUSED)
    return logger


def _first_line(error: HttpProcessingError | web.RequestPayloadError) -> str:
    """Of what aiohttp says, without what was sent."""
    lines = [line for line in str(error).splitlines()[1:] if line.strip()] or [str(error)]
    return lines[0].strip().rstrip(":")[:LINE_MAX]


def api_for(kind: str, context: Context) -> Api:
    """What serves one kind of socket (door.Opening)."""
    config = context.config
    if kind == "prometheus":
        wanted = Access.MONITORING if config.prometheus.authentication_enabled else Access.ANYBODY
        return Api(context, metrics.routes(config.prometheus.path, wanted))
    return Api(context, ROUTES, prefix=config.management.path_prefix, is_local=kind == "local")


class _Operator(Identity):
    """Whoever has the control socket: an administrator who may do everything everywhere."""

    __slots__ = ()

    def permissions(self, vhost: str) -> Permissions | None:
        """See Identity."""
        return _EVERYTHING

    def check_vhost(self, vhost: str) -> None:
        """See Identity."""

    def permits(self, kind: Any, resource: Any, name: str, vhost: str) -> bool:
        """See Identity."""
        return True


_EVERYTHING: Final = Permissions(".*", ".*", ".*")
_NOBODY: Final = Identity("")
_LOCAL: Final = _Operator(LOCAL_USER, [access.ADMINISTRATOR])


def _of_amqp(error: AmqpError) -> HttpError:
    """What a channel refused, as RabbitMQ's management plugin says it."""
    if error.code == NOT_FOUND:
        return Missing(error.text)
    if error.code == ACCESS_REFUSED and isinstance(error, ChannelException):
        return NotAuthorised(error.text)
    return BadRequest(error.text)


def _refusal(error: HttpError) -> Answer:
    headers = {"WWW-Authenticate": REALM} if error.challenge else {}
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(error.allowed)
    body = jsons.dumps({"error": error.error, "reason": error.reason}) if error.error else b""
    return Answer(error.status, body, headers)


async def _respond(request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    headers = {"Vary": VARY, "Cache-Control": "no-cache", **answer.headers}
    if answer.body:
        headers["Content-Type"] = answer.content_type
    if isinstance(answer.body, bytes):
        return web.Response(status=answer.status, body=answer.body, headers=headers)
    if isinstance(answer.body, list):
        headers["Content-Length"] = str(sum(map(len, answer.body)))
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    if request.method != "HEAD":
        await _send(response, answer.body)
    await response.write_eof()
    return response


async def _send(response: web.StreamResponse, parts: list[bytes] | AsyncIterator[bytes]) -> None:
    if isinstance(parts, list):
        for part in parts:
            await response.write(part)
            await asyncio.sleep(0)
    else:
        async for part in parts:
            await response.write(part)
