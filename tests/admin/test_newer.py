"""What RabbitMQ 3.13.7 and 4.x answer and 3.10 doesn't know: as their source has it, for the oracle can't be asked."""

import base64
import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.admin import brokers
from tests.admin.client import Http
from tests.admin.shapes import differences

VHOST = "newer"
EMPTY: list[Any] = []
ANSWERS: dict[str, tuple[str, int, Any]] = {
    "GET /deprecated-features": (
        "management",
        200,
        {
            "<each>": {
                "name": "<string>",
                "desc": "<string>",
                "deprecation_phase": "<string>",
                "doc_url": "<string>",
                "provided_by": "<string>",
            }
        },
    ),
    "GET /deprecated-features/used": ("management", 200, "<list>"),
    "GET /auth": ("nobody", 200, {"oauth_enabled": False}),
    "GET /version": ("management", 200, "<string>"),
    "GET /shovels": ("monitoring", 200, EMPTY),
    f"GET /shovels/{VHOST}": ("monitoring", 200, EMPTY),
    "GET /federation-links": ("monitoring", 200, EMPTY),
    f"GET /federation-links/{VHOST}": ("monitoring", 200, EMPTY),
    "GET /stream/connections": ("management", 200, EMPTY),
    "GET /stream/publishers": ("management", 200, EMPTY),
    "GET /stream/consumers": ("management", 200, EMPTY),
    "GET /traces": ("administrator", 200, EMPTY),
    "GET /queues/detailed?columns=name,messages,garbage_collection": (
        "administrator",
        200,
        {"<each>": {"name": "<string>", "messages": "<int>", "garbage_collection": "<object>"}},
    ),
    "GET /whoami": ("management", 200, {"name": "management", "tags": ["management"], "is_internal_user": True}),
    f"PUT /vhosts/{VHOST}": ("administrator", 204, None),
    f"GET /vhosts/{VHOST}": (
        "administrator",
        200,
        {
            "name": VHOST,
            "description": "",
            "tags": [],
            "tracing": False,
            "default_queue_type": "<string>",
            "metadata": {"description": "", "tags": []},
            "cluster_state": "<object>",
        },
    ),
    f"POST /vhosts/{VHOST}/deletion/protection": ("administrator", 204, None),
    f"DELETE /vhosts/{VHOST}": ("administrator", 412, {"error": "<string>", "reason": "<string>"}),
    f"DELETE /vhosts/{VHOST}/deletion/protection": ("administrator", 204, None),
    "GET /deprecated-features/nope": ("management", 404, {"error": "Object Not Found", "reason": "Not Found"}),
}


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Http]:
    with brokers.leveret(tmp_path_factory.mktemp("newer")) as managed:
        http = managed.http()
        http.ask("PUT", f"/api/vhosts/{VHOST}")
        for tag in ("management", "monitoring", "administrator"):
            http.ask("PUT", f"/api/users/{tag}", {"password": "secret", "tags": tag})
            http.ask("PUT", f"/api/permissions/{VHOST}/{tag}", {"configure": ".*", "write": ".*", "read": ".*"})
        http.ask("PUT", f"/api/queues/{VHOST}/q", {})
        yield http


@pytest.mark.parametrize("request_line", ANSWERS)
def test_answers(http: Http, request_line: str) -> None:
    user, status, shape = ANSWERS[request_line]
    method, path = request_line.split(" ")
    credentials = ("", "") if user == "nobody" else (user, "secret")
    answer = http.ask(method, f"/api{path}", credentials=credentials)
    assert answer.status == status
    found = list(differences(shape, answer.json if answer.body else None, extra=status != 200 or isinstance(shape, dict)))
    assert not [each for each in found if each.path != "error"], found


def test_hashes_of_passwords(http: Http) -> None:
    raw = base64.b64decode(http.get("/api/auth/hash_password/some%20secret")["ok"])
    assert raw[4:] == hashlib.sha256(raw[:4] + b"some secret").digest()


def test_the_configuration_in_effect(http: Http) -> None:
    answer = http.ask("GET", "/api/config/effective", credentials=("administrator", "secret"))
    assert answer.headers["content-type"].startswith("text/plain") and answer.body
    assert http.ask("GET", "/api/config/effective", credentials=("management", "secret")).status == 401
