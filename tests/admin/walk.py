"""A walk through a broker: requests and AMQP clients in turn; what was answered is written down."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote

from tests.admin.brokers import Managed
from tests.admin.client import NOBODY, Answer
from tests.wire import Wire

HEADERS = frozenset(
    """content-type location www-authenticate allow cache-control vary content-disposition set-cookie
    access-control-allow-origin access-control-allow-credentials access-control-allow-methods access-control-allow-headers
    access-control-expose-headers access-control-max-age""".split()
)
"""Those that clients look at; besides, `content-length` where it is 0."""
SETS = frozenset({"allow", "vary", "access-control-allow-methods", "access-control-expose-headers"})
"""Their order means nothing."""
LOOK_SECONDS = 0.05
UNTIL_SECONDS = {"rabbitmq": 30.0, "leveret": 10.0}
Until = Callable[[Any], Any]


class Step(NamedTuple):
    """`body` is the JSON; None stands for no body or one that is no JSON, which `headers` tell apart."""

    label: str
    status: int
    headers: dict[str, str]
    body: Any

    def as_json(self) -> dict[str, Any]:
        return {"step": self.label, "status": self.status, "headers": self.headers, "body": self.body}


class Walk:
    """`names` and `numbers` are what differs from broker to broker and has a name: it stands for them in what is written down."""

    def __init__(self, managed: Managed) -> None:
        self.managed = managed
        self.steps: list[Step] = []
        self.node: str = managed.http().get(f"{managed.prefix}/api/overview")["node"]
        self.names = {self.node: "{node}", str(managed.port): "{amqp}", str(managed.http_port): "{http}"}
        self.numbers = {managed.port: "{amqp}", managed.http_port: "{http}"}
        self._http = managed.http()
        self._credentials: tuple[str, str] | None = None
        self._wires: list[Wire] = []
        self.error: Exception | None = None
        self.unmet: list[str] = []
        """Steps whose condition never held."""

    # --- requests

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        note: str = "",
        until: Until | None = None,
        credentials: tuple[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One step. `until` looks at the body: asked again until it is true, or until the answer is taken as it is.

        `path` begins behind /api, `//` stands for the server's root. Whose credentials they are stands in the label.
        """
        whole = path[1:] if path.startswith("//") else f"{self.managed.prefix}/api{path}"
        chosen = credentials or self._credentials
        answer = self._http.ask(method, whole, body, credentials=chosen, headers=headers)
        deadline = time.monotonic() + UNTIL_SECONDS[self.managed.name]
        while until is not None and not _holds(until, answer) and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
            answer = self._http.ask(method, whole, body, credentials=chosen, headers=headers)
        if until is not None and not _holds(until, answer):
            self.unmet.append(f"{method} {path}: {answer}")
        who = "" if chosen is None else "nobody: " if chosen == NOBODY else f"{chosen[0]}: "
        self._write_down(f"{who}{method} {path}{f' ({note})' if note else ''}", answer)
        return answer

    def name_last(self) -> None:
        """Put into the last step the names that it has shown."""
        label, status, headers, body = self.steps[-1]
        self.steps[-1] = Step(self.named(label), status, self.named(headers), self.named(body))

    def get(self, path: str, **options: Any) -> Any:
        """The body, None where there is none or where it is no JSON."""
        answer = self.ask("GET", path, **options)
        return answer.json if answer.is_json else None

    def put(self, path: str, body: Any = None, **options: Any) -> Answer:
        return self.ask("PUT", path, body, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        return self.ask("POST", path, body, **options)

    def delete(self, path: str, **options: Any) -> Answer:
        return self.ask("DELETE", path, **options)

    def acting_as(self, user: str | None, password: str = "secret") -> None:
        """Whose credentials the next steps have; None is guest again."""
        self._credentials = None if user is None else (user, password)

    def quietly(self, method: str, path: str, body: Any = None) -> Answer:
        """A request that is no step: what has to be there first."""
        return self._http.ask(method, f"{self.managed.prefix}/api{path}", body, credentials=("guest", "guest"))

    def vhost(self, name: str, user: str = "guest") -> str:
        """A vhost that `user` may do everything in, made quietly."""
        assert self.quietly("PUT", f"/vhosts/{quote(name, safe='')}").status in (201, 204)
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        assert self.quietly("PUT", f"/permissions/{quote(name, safe='')}/{user}", everything).status in (201, 204)
        return name

    def user(self, name: str, tags: str = "", *vhosts: str, password: str = "secret") -> str:
        """A user that may do everything in `vhosts`, made quietly."""
        assert self.quietly("PUT", f"/users/{name}", {"password": password, "tags": tags}).status in (201, 204)
        for vhost in vhosts:
            self.vhost(vhost, name)
        return name

    # --- AMQP

    def connect(self, title: str, **options: Any) -> Wire:
        """A connection; in answers its name and port are `{title}` and `{title port}`."""
        wire = Wire.connect(self.managed, **options)
        self._wires.append(wire)
        host, port = wire._socket.getsockname()
        self.called(title, f"{host}:{port} -> {self.managed.host}:{self.managed.port}", port)
        return wire

    def called(self, title: str, name: str, port: int) -> None:
        """From here on a connection's name and port are written down as its title."""
        self.names |= {name: f"{{{title}}}", quote(name, safe=""): f"{{{title}}}"}
        self.numbers[port] = f"{{{title} port}}"

    def path_of(self, wire: Wire) -> str:
        """The name of a connection, for a path."""
        host, port = wire._socket.getsockname()
        return quote(f"{host}:{port} -> {self.managed.host}:{self.managed.port}", safe="")

    # --- the end

    def clean(self) -> None:
        """Close what is connected and delete what was made."""
        for wire in self._wires:
            wire.abort()
        deadline = time.monotonic() + UNTIL_SECONDS[self.managed.name]
        while self.quietly("GET", "/connections").json and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
        for kind, kept in (("vhosts", "/"), ("users", "guest")):
            for item in self.quietly("GET", f"/{kind}").json:
                if item["name"] != kept:
                    self.quietly("DELETE", f"/{kind}/{quote(item['name'], safe='')}")

    def _write_down(self, label: str, answer: Answer) -> None:
        headers = {name: value for name, value in sorted(answer.headers.items()) if name in HEADERS}
        if answer.headers.get("content-length") == "0":
            headers["content-length"] = "0"
        for name in SETS & headers.keys():
            headers[name] = ", ".join(sorted(part.strip() for part in headers[name].split(",")))
        body = answer.json if answer.is_json else None
        self.steps.append(Step(self.named(label), answer.status, self.named(headers), self.named(body)))

    def named(self, value: Any) -> Any:
        """`value` with names in the place of what differs from broker to broker."""
        if isinstance(value, str):
            for literal, name in sorted(self.names.items(), key=lambda pair: -len(pair[0])):
                value = value.replace(literal, name)
            return value
        if isinstance(value, list):
            return [self.named(item) for item in value]
        if isinstance(value, dict):
            return {self.named(key): self.named(item) for key, item in value.items()}
        if type(value) is int:
            return self.numbers.get(value, value)
        return value


def _holds(until: Until, answer: Answer) -> bool:
    """False while a part that is looked at isn't there yet."""
    try:
        return bool(until(answer.json))
    except (KeyError, IndexError, TypeError, AssertionError):
        return False
