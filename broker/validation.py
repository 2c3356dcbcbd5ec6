"""The types of the settings, as pydantic checks them. Imported only when a file or the environment gave something: pydantic costs 0.1 s."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter

from broker.core.permissions import compiled
from broker.logs.rotation import Schedule
from broker.settings.setting import Setting

NUMBER: Final = re.compile(r"-?[0-9]{1,30}(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,3})?")
SIZE: Final = re.compile(r"([0-9]+)\s*([kmgtp]i?b?|b)?", re.IGNORECASE)
SIZE_UNITS: Final = {
    "": 1, "b": 1, "k": 1000, "kib": 1024, "ki": 1024, "kb": 1000, "m": 1000**2, "mib": 1024**2, "mi": 1024**2, "mb": 1000**2,
    "g": 1000**3, "gib": 1024**3, "gi": 1024**3, "gb": 1000**3, "t": 1000**4, "tib": 1024**4, "ti": 1024**4, "tb": 1000**4,
    "p": 1000**5, "pib": 1024**5, "pi": 1024**5, "pb": 1000**5,
}  # fmt: skip
"""As RabbitMQ reads them since 3.13 (rabbit_resource_monitor_misc); before, a bare k, M or G was a power of 1024."""
BINARY_UNITS: Final = SIZE_UNITS | {unit + b: 1024**power for power, unit in enumerate("kmgtp", start=1) for b in ("", "b")}
"""Of keys whose unit cuttlefish reads and not RabbitMQ (cuttlefish_bytesize)."""
DURATION: Final = re.compile(r"(?:[0-9]{1,15}(?:\.[0-9]{1,6})?(?:ms|[smhdwf]))+", re.IGNORECASE)
DURATION_PART: Final = re.compile(r"([0-9.]+)([a-zA-Z]+)")
MILLISECONDS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "f": 1_209_600_000}
LOGIN_IN_URL: Final = re.compile(r"^(\w+://)?.*@", re.DOTALL)


def parse(setting: Setting, text: str) -> Any:
    """Return the value of Config's attribute that `text` gives; an endpoint is (host or None, port). Raises ValueError if it is wrong."""
    if text in setting.words:
        return setting.words[text]
    if not text and setting.kind not in ("regex", "text"):
        raise ValueError("nothing")
    return _adapter(setting.kind, setting.low, setting.high).validate_python(text)  # pydantic's ValidationError is a ValueError


def shown(setting: Setting, text: str) -> str:
    """Return how the value may be shown: a secret as ***, a URL without the login in it."""
    if setting.secret:
        return "***"
    return LOGIN_IN_URL.sub(r"\1***@", text) if setting.kind == "url" else text


@lru_cache(maxsize=256)
def _adapter(kind: str, low: float, high: float) -> TypeAdapter[Any]:
    return TypeAdapter(_annotation(kind, low, high))


def _annotation(kind: str, low: float, high: float) -> Any:
    bounded = Annotated[int, BeforeValidator(_digits), Field(ge=low, le=high)]
    match kind:
        case "integer":
            return bounded
        case "milliseconds":
            return Annotated[bounded, AfterValidator(lambda value: value / 1000)]
        case "size":
            return Annotated[int, BeforeValidator(_bytes), Field(ge=low, le=high)]
        case "bytesize":
            return Annotated[int, BeforeValidator(lambda text: _bytes(text, BINARY_UNITS)), Field(ge=low, le=high)]
        case "duration":
            return Annotated[int, BeforeValidator(_duration), Field(ge=low, le=high)]
        case "fraction":
            return Annotated[float, BeforeValidator(_number), Field(ge=low, le=high, allow_inf_nan=False)]
        case "endpoint":
            return Annotated[tuple[str | None, bounded], BeforeValidator(_endpoint)]
        case "host":
            return Annotated[str, AfterValidator(_host)]
        case "text":
            return Annotated[str, AfterValidator(lambda value: _sized(value, low, high))]
        case "tags":
            return Annotated[str, AfterValidator(_tags)]
        case "regex":
            return Annotated[str, AfterValidator(_regex)]
        case "url":
            return Annotated[str, AfterValidator(_url)]
        case "rotation_date":
            return Annotated[str, AfterValidator(_rotation)]
        case "boolean":
            return Annotated[Literal["true", "false"], AfterValidator(lambda value: value == "true")]
        case "choice":
            return Literal[None]  # no text is None: the choices are the setting's words
        case "path":
            return Annotated[str, AfterValidator(_path)]
        case "file":
            return Annotated[str, AfterValidator(_path), AfterValidator(_readable_file)]
        case "definitions":
            return Annotated[str, AfterValidator(_path), AfterValidator(_there)]
    raise AssertionError(f"there is no kind {kind}")


def _digits(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,30}", text):
        raise ValueError("not a number")
    return int(text)


def _number(text: str) -> float:
    if NUMBER.fullmatch(text) is None:
        raise ValueError("not a number")
    return float(text)


def _bytes(text: str, units: Mapping[str, int] = SIZE_UNITS) -> int:
    match = SIZE.fullmatch(text)
    if match is None:
        raise ValueError("not a size")
    return int(match[1]) * units[(match[2] or "").lower()]


def _duration(text: str) -> int:
    if text.isascii() and text.isdigit():
        return _digits(text)
    if DURATION.fullmatch(text) is None:
        raise ValueError("not a duration")
    return round(sum(float(number) * MILLISECONDS[unit.lower()] for number, unit in DURATION_PART.findall(text)))


def _endpoint(text: str) -> tuple[str | None, str]:
    """Split at the last colon, as RabbitMQ does: ::1:5672 is port 5672 on ::1. Brackets around the address are welcome."""
    host, colon, port = text.rpartition(":")
    return (_host(host) if colon else None), port


def _host(text: str) -> str:
    host = text.removeprefix("[").removesuffix("]")
    if not host or any(character.isspace() or character in "[]/\0" for character in host):
        raise ValueError("not an address")
    return "::" if host in ("auto", "*") else host


def _sized(text: str, low: float, high: float) -> str:
    if not low <= len(text.encode()) <= high:
        raise ValueError("too short or too long")
    return text


def _tags(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tag.strip() for tag in text.split(",") if tag.strip()))


def _regex(text: str) -> str:
    compiled(text)  # InvalidPattern is a ValueError
    return text


def _url(text: str) -> str:
    parsed = urlsplit(text)
    if parsed.scheme not in ("http", "https") or not parsed.hostname or not 0 <= (parsed.port or 0) <= 65535:
        raise ValueError("not a URL")
    return text


def _rotation(text: str) -> str:
    return Schedule(text).text


def _path(text: str) -> Path:
    if "\0" in text:
        raise ValueError("not a path")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # ~nobody
        raise ValueError("there is no such user") from error


def _readable_file(path: Path) -> Path:
    if not os.path.isfile(path) or not os.access(path, os.R_OK):  # which raises nothing, whatever the path is
        raise ValueError("no file that can be read")
    return path


def _there(path: Path) -> Path:
    if not os.path.exists(path) or not os.access(path, os.R_OK):
        raise ValueError("nothing that can be read")
    return path
