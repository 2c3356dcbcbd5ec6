"""The types of the settings, as pydantic checks them. Imported only when a file or the environment gave something: pydantic costs 0.1 s."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter

from broker.settings import COMPAT_PROFILES, LOG_LEVELS, Setting

SIZE: Final = re.compile(r"(\d+)\s*([kmg]i?b?|b)?", re.IGNORECASE)
SIZE_UNITS: Final = {
    "": 1, "b": 1, "k": 1024, "kib": 1024, "ki": 1024, "kb": 1000, "m": 1024**2, "mib": 1024**2, "mi": 1024**2, "mb": 1000**2,
    "g": 1024**3, "gib": 1024**3, "gi": 1024**3, "gb": 1000**3,
}  # fmt: skip


def parse(setting: Setting, text: str) -> Any:
    """Return the value of Config's attribute that `text` gives; an endpoint is (host or None, port). Raises ValueError if it is wrong."""
    return TypeAdapter(_annotation(setting)).validate_python(text)  # pydantic's ValidationError is a ValueError


def _annotation(setting: Setting) -> Any:
    bounded = Annotated[int, Field(ge=setting.low, le=setting.high)]
    match setting.kind:
        case "integer":
            return bounded
        case "milliseconds":
            return Annotated[bounded, AfterValidator(lambda value: value / 1000)]
        case "size":
            return Annotated[bounded, BeforeValidator(_bytes)]
        case "fraction":
            return Annotated[float, Field(ge=setting.low, le=setting.high, allow_inf_nan=False)]
        case "frame_max":
            return Annotated[Literal["0"], AfterValidator(int)] | bounded
        case "endpoint":
            return Annotated[tuple[str | None, bounded], BeforeValidator(_endpoint)]
        case "host":
            return Annotated[str, AfterValidator(_host)]
        case "text":
            return Annotated[str, AfterValidator(lambda value: _sized(value, setting.low, setting.high))]
        case "boolean":
            return Annotated[Literal["true", "false"], AfterValidator(lambda value: value == "true")]
        case "none":
            return Literal["none"]
        case "level":
            return Literal[LOG_LEVELS]
        case "compat":
            return Literal[COMPAT_PROFILES]
        case "path":
            return Annotated[Path, AfterValidator(Path.expanduser)]
    raise AssertionError(f"{setting.name} has no such kind as {setting.kind}")


def _bytes(text: str) -> int:
    match = SIZE.fullmatch(text)
    if match is None:
        raise ValueError("not a size")
    return int(match[1]) * SIZE_UNITS[(match[2] or "").lower()]


def _endpoint(text: str) -> tuple[str | None, str]:
    """Split at the last colon, as RabbitMQ does: ::1:5672 is port 5672 on ::1. Brackets around the address are welcome."""
    host, colon, port = text.rpartition(":")
    return (_host(host) if colon else None), port


def _host(text: str) -> str:
    host = text.removeprefix("[").removesuffix("]")
    if not host or any(character.isspace() for character in host):
        raise ValueError("not an address")
    return "::" if host in ("auto", "*") else host


def _sized(text: str, low: int, high: int) -> str:
    if not low <= len(text.encode()) <= high:
        raise ValueError("too short or too long")
    return text
