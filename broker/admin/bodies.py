"""What is sent to the API: JSON that may be told in several ways.

Clients send "true" for true and "1" for 1, nothing at all for an empty object, and keys that nobody asked for (rabbitmqadmin and
testcontainers do); RabbitMQ takes it all.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from broker.admin import jsons
from broker.admin.errors import BadRequest
from broker.documents import Unfit

_EMPTY: Final = (b"", b"null", b"undefined")
_DOUBLY_ENCODED: Final = "invalid payload: the request body JSON-decoded to a string. Is the input doubly-JSON-encoded?"
ERLANG_LINE: Final = 80
"""What is longer is printed with a line for each element."""
_WORDS: Final = {"true": True, "false": False}


class Body:
    """A JSON object. Every getter raises BadRequest where a value is of the wrong kind."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    @classmethod
    def parse(cls, body: bytes) -> Body:
        """Raises BadRequest for what is no JSON object."""
        if body.strip() in _EMPTY:
            return cls({})
        try:
            document = jsons.loads(body)
        except Unfit as error:
            raise BadRequest(str(error)) from None
        except ValueError:
            raise BadRequest("not_json") from None
        if isinstance(document, str):
            raise BadRequest(_DOUBLY_ENCODED)
        if not isinstance(document, dict):
            raise BadRequest("not_json")
        return cls(document)

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def require(self, *names: str) -> None:
        """Raises BadRequest that names each that is missing, as RabbitMQ prints it."""
        missing = [f"{{key_missing,{name}}}" for name in names if name not in self.values]
        if missing:
            text = f"[{','.join(missing)}]"
            raise BadRequest(text if len(text) < ERLANG_LINE else f"[{f',{chr(10)} '.join(missing)}]")

    def text(self, name: str, default: str = "") -> str:
        """A text; numbers are taken as they would be written."""
        value = self.values.get(name, default)
        if isinstance(value, str):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        if value is None:
            return default
        raise BadRequest(f"{name} is {_shown(value)}: expected text")

    def string(self, name: str) -> str:
        """A text, which has to be one."""
        value = self.values.get(name)
        if isinstance(value, str):
            return value
        raise BadRequest(f"{name} is {_shown(value)}: expected text")

    def flag(self, name: str, default: bool = False) -> bool:
        """true or false, or these words as text."""
        value = self.values.get(name, default)
        if isinstance(value, str):
            value = _WORDS.get(value.lower(), value)
        if isinstance(value, bool):
            return value
        if value is None:
            return default
        raise BadRequest(f"{name} is {_shown(value)}: expected true or false")

    def number(self, name: str, default: int = 0) -> int:
        """A whole number, or one as text."""
        value = self.values.get(name, default)
        if isinstance(value, str):
            try:
                return int(value)
            except ValueError:
                pass
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if value is None:
            return default
        raise BadRequest(f"{name} is {_shown(value)}: expected a whole number")

    def object(self, name: str) -> dict[str, Any]:
        """An object; an empty list stands for an empty one, as RabbitMQ writes it."""
        value = self.values.get(name)
        if value is None or value == [] or value == "":
            return {}
        if isinstance(value, dict):
            return value
        raise BadRequest(f"{name} is {_shown(value)}: expected an object")


def _shown(value: object) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= 80 else f"{text[:80]}..."
