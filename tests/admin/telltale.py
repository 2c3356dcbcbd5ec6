"""`python -m tests.admin.telltale serve ...`: Leveret, whose HTTP API prints what handlers read of requests.

read: PUT /api/queues/{vhost}/{name} body durable
read: GET /api/queues query page
"""

import re
import sys
from typing import Any

import leveret.__main__
from broker.admin.bodies import Body
from broker.admin.call import Call
from broker.admin.routing import Route, Router
from tests.admin.served import Served

READ = re.compile(r"^read: (\w+) (\S+) (query|body) (\S+)$", re.MULTILINE)

Read = tuple[str, str, str, str]
"""Method and path of the route, `query` or `body`, and a name."""


class Telltale(Served):
    """Such a broker as a process of its own."""

    module = "tests.admin.telltale"

    def reads(self) -> set[Read]:
        return set(READ.findall(self.log))


class _Told:
    """Which route is being answered: the handler's request is made in the same breath as the route is found."""

    def __init__(self) -> None:
        self.route: Route | None = None
        self.seen: set[Read] = set()

    def tell(self, kind: str, name: object) -> None:
        if self.route is not None and (line := (self.route.method, self.route.path, kind, str(name))) not in self.seen:
            self.seen.add(line)
            sys.stdout.write(f"read: {' '.join(line)}\n")
            sys.stdout.flush()


class _Mapping:
    """Tells of each name that it is asked for, before it has it looked up."""

    def __init__(self, values: Any, told: _Told, kind: str) -> None:
        self._values = values
        self._tell = lambda name: told.tell(kind, name)

    def __getitem__(self, name: str) -> Any:
        self._tell(name)
        return self._values[name]

    def __contains__(self, name: str) -> bool:
        self._tell(name)
        return name in self._values

    def __len__(self) -> int:
        return len(self._values)

    def get(self, name: str, default: Any = None) -> Any:
        self._tell(name)
        return self._values.get(name, default)

    def getall(self, name: str, default: Any) -> Any:
        self._tell(name)
        return self._values.getall(name, default)

    def items(self) -> Any:
        return self._values.items()


def install() -> None:
    """Have routes, calls and bodies tell. One request at a time."""
    told = _Told()
    find, make_call, make_body = Router.find, Call.__init__, Body.__init__

    def found(self: Router, method: str, raw_path: str) -> tuple[Route, dict[str, str]]:
        told.route = None
        result = find(self, method, raw_path)
        told.route = result[0]
        return result

    def call(self: Call, *arguments: Any) -> None:
        make_call(self, *arguments)
        self.query = _Mapping(self.query, told, "query")  # type: ignore[assignment]

    def body(self: Body, values: dict[str, Any]) -> None:
        make_body(self, values)
        self.values = _Mapping(values, told, "body")  # type: ignore[assignment]

    Router.find, Call.__init__, Body.__init__ = found, call, body  # type: ignore[method-assign]


if __name__ == "__main__":
    install()
    sys.exit(leveret.__main__.main())
