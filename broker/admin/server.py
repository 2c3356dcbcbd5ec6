"""The HTTP server: requests in, answers out; who asks, whether they may, and what goes wrong in RabbitMQ's words."""

from __future__ import annotations

import asyncio
import hmac
import inspect
import logging
from typing import TYPE_CHECKING, Any, Final, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from broker.admin import access, jsons, origins
from broker.admin.authentication import count, log_in, no_login
from broker.admin.call import Answer, Call, redirect, with_spaces
from broker.admin.connection import Complaints, Connection, Crowd, most_of
from broker.admin.errors import BadRequest, HttpError, MethodNotAllowed, Missing, NoSuchObject, NotAuthorised
from broker.admin.routes import ROUTES
from broker.admin.routing import Access, Route, Router
from broker.core.permissions import Identity, InvalidPattern, Permissions
from broker.definitions import InvalidDefinitions
from broker.metrics import serving as metrics
from broker.operations import InvalidOperation, NotFound
from protocol.constants import ACCESS_REFUSED, NOT_FOUND
from protocol.errors import AmqpError, ChannelException

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from broker.admin.context import Context

log = logging.getLogger("management")

REALM: Final = 'Basic realm="RabbitMQ Management"'
VARY: Final = "accept, accept-encoding, origin"
SERVER: Final = "Leveret"
LOCAL_USER: Final = "rmq-cli"
"""Whoever has the control socket."""
TESTING_USER: Final = "leveret-testing"
"""Whoever has the token of a broker for tests."""
KEEPALIVE_SECONDS: Final = 75.0
"""Without a request."""
LINGER_SECONDS: Final = 3.0
"""In which a body is read and dropped that nobody wanted, for who sends it hears of that only then."""
LINE_BYTES_MAX: Final = 8190
LINES_MAX: Final = 128
"""Of a head; all together: connection.HEAD_BYTES_MAX."""
SHUTDOWN_SECONDS: Final = 0.5
LINE_MAX: Final = 200
"""Characters of what aiohttp says of a request."""
PATH_SHOWN_MAX: Final = 500
"""Characters of a path that the log is told."""
WRITE_BYTES: Final = 131_072
"""Of an answer that is there as a whole, so much is given to the system at a time."""


class Api:
    """Answers requests. `prefix` stands before the paths of the routes. `is_local` is for the control socket: whoever gets there needs
    no password."""

    def __init__(self, context: Context, routes: Iterable[Route], *, prefix: str = "", is_local: bool = False) -> None:
        self._context = context
        self._router = Router(routes)
        self._prefix = prefix
        self._is_local = is_local
        node, config = context.node, context.config
        most = None if is_local else most_of(node.sockets_max)
        self._crowd = Crowd(most, node.has_room_for, config.handshake_timeout_seconds)
        self._server = web.Server(
            self._handle,
            # Who goes is not worked for any more.
            handler_cancellation=True,
            access_log=None,
            logger=Complaints(),
            keepalive_timeout=KEEPALIVE_SECONDS,
            lingering_time=LINGER_SECONDS,
            max_line_size=LINE_BYTES_MAX,
            max_field_size=LINE_BYTES_MAX,
            max_headers=LINES_MAX,
            tcp_keepalive=False,
            # No client compresses, and a megabyte of zeros is a gigabyte's work.
            auto_decompress=False,
        )

    def protocol(self) -> asyncio.Protocol:
        """For the event loop: what speaks HTTP on one connection."""
        return Connection(self._server(), self._crowd)

    async def close(self) -> None:
        """End all connections, after the answers that are being given."""
        await self._server.shutdown(SHUTDOWN_SECONDS)

    # --- one request ------------------------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = None if request.transport is None else cast("Connection", request.transport.get_protocol())
        if connection is None or (request.remote is None and not self._is_local):
            raise ConnectionResetError("the peer has gone")
        connection.begins()
        try:
            return await self._respond(request)
        finally:
            connection.ends(0 if request.content.is_eof() else self._context.config.management.max_body_size_bytes)

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            answer = await self._answer(request)
        except HttpError as error:
            answer = _refusal(error)
        except (web.RequestPayloadError, HttpProcessingError) as error:
            answer = _refusal(BadRequest(f"the body can't be read: {_first_line(error)}"))
        except Exception as error:
            if isinstance(error, ConnectionError) and (request.transport is None or request.transport.is_closing()):
                raise  # the client is gone, in the middle of its request
            # A bug in one handler costs one request; the log has the traceback.
            log.exception("internal error on %s %s", request.method, request.path[:PATH_SHOWN_MAX])
            answer = _refusal(HttpError(500, "internal_server_error", "the broker met an internal error, see its log"))
        answer.headers |= origins.headers(request, self._context.config.management)
        return await _send(request, answer)

    async def _answer(self, request: web.BaseRequest) -> Answer:
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
            call.identity = await self._identify(request, route.access)
            await self._check(call, route.access)
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

    async def _identify(self, request: web.BaseRequest, wanted: Access) -> Identity:
        if self._is_local:
            return _LOCAL
        if wanted is Access.TESTING:
            return _by_token(request, self._context)
        header = request.headers.get("Authorization")
        if header is None and not self._context.config.management.disable_basic_auth:
            raise no_login()
        return await log_in(self._context, request)

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
    return Api(context, (*ROUTES, *context.more_routes()), prefix=config.management.path_prefix, is_local=kind == "local")


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


def _by_token(request: web.BaseRequest, context: Context) -> Identity:
    """Whoever has the token of a broker for tests. Raises HttpError 401."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), (context.testing_token or "").encode()):
        text = "this needs the header 'Authorization: Bearer TOKEN', with the broker's testing.token"
        raise HttpError(401, "not_authorised", text)
    return _TESTER


_EVERYTHING: Final = Permissions(".*", ".*", ".*")
_NOBODY: Final = Identity("")
_LOCAL: Final = _Operator(LOCAL_USER, [access.ADMINISTRATOR])
_TESTER: Final = _Operator(TESTING_USER, [access.ADMINISTRATOR])


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


async def _send(request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    headers = {"Server": SERVER, "Vary": VARY, "Cache-Control": "no-cache", **answer.headers}
    body = answer.body
    if body:
        headers["Content-Type"] = answer.content_type
    if isinstance(body, bytes):
        if len(body) <= WRITE_BYTES:
            return web.Response(status=answer.status, body=body, headers=headers)
        body = [body[at : at + WRITE_BYTES] for at in range(0, len(body), WRITE_BYTES)]
    if isinstance(body, list):
        headers["Content-Length"] = str(sum(map(len, body)))
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    if request.method != "HEAD":
        await _send_parts(response, body)
    await response.write_eof()
    return response


async def _send_parts(response: web.StreamResponse, parts: list[bytes] | AsyncIterator[bytes]) -> None:
    if isinstance(parts, list):
        for part in parts:
            await response.write(part)
            await asyncio.sleep(0)
    else:
        async for part in parts:
            await response.write(part)
