"""Definitions: all that is declared, out and in."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from broker import definitions
from broker.admin import jsons
from broker.admin.call import Answer, done
from broker.admin.errors import BadRequest, Missing, NoSuchObject, UnsupportedMediaType
from broker.admin.pacing import Pacer
from broker.admin.routing import Access, Route
from broker.definitions import InvalidDefinitions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.admin.call import Call

log = logging.getLogger("definitions")

ITEMS: Final = 1000
"""In a part of an answer."""


async def export(call: Call) -> Answer:
    """Exports all definitions, or those of a virtual host; with `download=NAME` as a file of that name."""
    vhost = call.path.get("vhost")
    if vhost is not None and vhost not in call.broker.vhosts:
        raise BadRequest("vhost_not_found")
    pacer = Pacer(call.context.turns)
    parts = [jsons.dumps(definitions.head(call.operations, vhost))[:-1]]
    for section in definitions.sections(call.operations, vhost):
        parts += await _section(section, pacer)
    parts.append(b"}")
    name = call.query.get("download", "")
    named = {"Content-Disposition": f"attachment; filename={name}"} if _is_plain(name) else {}
    return Answer(body=parts, headers=named)


async def _section(section: definitions.Section, pacer: Pacer) -> list[bytes]:
    """What stands behind the sections before it: JSON text in parts, none of which takes long to copy."""
    begin, parts = f',"{section.name}":['.encode(), []
    for start in range(0, len(section.objects), ITEMS):
        items = []
        for each in section.objects[start : start + ITEMS]:
            items.append(jsons.dumps(section.shape(each)))
            if pacer.is_due:
                await pacer.rest()
        parts.append(begin + b",".join(items))
        begin = b","
    return [*parts, b"]"] if parts else [begin + b"]"]


async def upload(call: Call) -> Answer:
    """Imports definitions, into all virtual hosts or into one: as JSON, or as the part `file` of a form."""
    kind = call.request.content_type
    redirect = ""
    if kind == "multipart/form-data":
        parts = await _parts(call)
        body, redirect = parts.get("file", b"unknown"), parts.get("redirect", b"").decode("ascii", "replace")
    elif kind == "application/json":
        body = await call.read()
    else:
        raise UnsupportedMediaType("expected application/json or multipart/form-data")
    try:
        document: Any = definitions.parse(body, "the request") if body else {}
        if not isinstance(document, dict):
            raise InvalidDefinitions("the request: expected a JSON object")
    except InvalidDefinitions as error:
        log.error("definitions were not imported: %s", error)
        raise BadRequest(f"failed_to_parse_json: {error}") from error
    pacer = Pacer(call.context.turns)
    try:
        for _ in _steps(call, document):
            if pacer.is_due:
                await pacer.rest()
    except InvalidDefinitions as error:
        log.error("definitions were not imported, or not all of them: %s", error)
        raise
    finally:
        await call.commit()
    return Answer(303, headers={"Location": redirect}) if _is_plain(redirect) else done()


def _steps(call: Call, document: dict[str, Any]) -> Iterator[None]:
    if "vhost" not in call.path:
        return definitions.steps(call.operations, document, acting_user=call.user_name)
    try:
        name = call.vhost.name
    except NoSuchObject:
        raise Missing("vhost_not_found") from None
    return definitions.steps_to_vhost(call.operations, name, document, acting_user=call.user_name)


async def _parts(call: Call) -> dict[str, bytes]:
    """The parts of a form by name. Raises BadRequest for what is none, and for one that is too long."""
    most = call.context.config.management.max_body_size_bytes
    parts: dict[str, bytes] = {}
    try:
        reader = await call.request.multipart()
        while (part := await reader.next()) is not None:
            content = bytearray()
            while chunk := await part.read_chunk():  # type: ignore[union-attr]
                content += chunk
                if len(content) + sum(map(len, parts.values())) > most:
                    raise BadRequest("Exceeded HTTP request body size limit")
            if part.name is not None:  # type: ignore[union-attr]
                parts[part.name] = bytes(content)  # type: ignore[union-attr]
    except (ValueError, AssertionError, AttributeError) as error:
        raise BadRequest("the request is no form (multipart/form-data)") from error
    return parts


def _is_plain(text: str) -> bool:
    """It may stand in a header."""
    return bool(text) and text.isascii() and text.isprintable()


_OBJECTS: Final = "users vhosts permissions topic_permissions global_parameters parameters policies queues exchanges bindings"
SCHEMAS: Final = {
    "Definitions": {
        "rabbit_version rabbitmq_version product_name product_version": "string",
        _OBJECTS: "[object]",
    },
}
_DOWNLOAD: Final = {"download": "string: Save as a file of this name."}
_BODY_TYPES: Final = ("application/json", "multipart/form-data")


def _both(path: str) -> tuple[Route, Route]:
    return (
        Route("GET", path, export, Access.ADMINISTRATOR, query=_DOWNLOAD, shows="Definitions"),
        Route(
            "POST", path, upload, Access.ADMINISTRATOR, {_OBJECTS: "[object]"},
            statuses=(204, 303), refusals=(415,), body_types=_BODY_TYPES,
        ),
    )  # fmt: skip


ROUTES: Final = (*_both("/api/definitions"), *_both("/api/definitions/{vhost}"), *_both("/api/all-configuration"))
