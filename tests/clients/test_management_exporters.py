"""Monitoring tools and the HTTP API, field by field: one that is missing, or of another type, is a failure there."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest

from tests.admin.brokers import Managed
from tests.admin.client import Http
from tests.admin.fields import KINDS, NEWER, TOOLS, VHOST, Fields
from tests.runtime.process import soon
from tests.wire import Wire


@pytest.fixture(scope="module")
def busy(managed: Managed) -> Iterator[Http]:
    """The API of a broker where all that is counted has happened."""
    http = managed.http()
    http.ask("PUT", f"/api/vhosts/{VHOST}")
    http.ask("PUT", f"/api/permissions/{VHOST}/guest", {"configure": ".*", "write": ".*", "read": ".*"})
    with Wire.connect(managed, vhost=VHOST, properties={"product": "tests"}) as wire:
        channel = wire.open_channel()
        channel.queue("work", durable=True)
        channel.queue("quorum", durable=True, arguments={"x-queue-type": "quorum"})
        channel.queue("own", exclusive=True)
        channel.confirm_select()
        channel.publish_confirmed("", "work", *[b"0123456789"] * 10)
        channel.publish_confirmed("amq.topic", "lost", b"0123456789")
        channel.qos(2)
        channel.consume("work", "tag")
        channel.deliveries(2)
        channel.ack(1)
        channel.deliver()
        soon(lambda: http.get(f"/api/queues/{VHOST}/work").get("message_stats", {}).get("ack") == 1, what="the queue's figures")
        yield http
        wire.close()
    http.ask("DELETE", f"/api/vhosts/{VHOST}")


def values_at(document: Any, path: str) -> list[Any]:
    """All values at a path such as `[].exchange_types[].name`; fails with the part that isn't there."""
    found = [document]
    for part in re.findall(r"\[\]|[^.\[\]]+", path):
        if part == "[]":
            found = [item for value in found for item in value]
            assert found, f"{path}: an empty list"
        else:
            assert all(isinstance(value, dict) and part in value for value in found), f"{path}: no {part} in {found!r:.300}"
            found = [value[part] for value in found]
    return found


def check(document: Any, wanted: Fields, but: set[str]) -> None:
    for path, kind in wanted.items():
        if path.rpartition(".")[2] not in but:
            for value in values_at(document, path):
                assert type(value) in KINDS[kind], f"{path}: {value!r} is no {kind}"


@pytest.mark.parametrize(("tool", "path"), [(tool, path) for tool, paths in TOOLS.items() for path in paths])
def test_fields(managed: Managed, busy: Http, tool: str, path: str) -> None:
    whole = f"/api{path.replace('{node}', busy.get('/api/overview')['node'])}"
    but = NEWER if managed.name == "rabbitmq" else set()
    if managed.name == "leveret":  # its figures are there at once
        check(busy.get(whole), TOOLS[tool][path], but)
        return

    def shown() -> bool:
        try:
            check(busy.get(whole), TOOLS[tool][path], but)
        except AssertionError:
            return False
        return True

    try:
        soon(shown)
    except AssertionError:
        check(busy.get(whole), TOOLS[tool][path], but)


@pytest.mark.parametrize("key", ["", "a.*", "with space", "with/slash", "per%cent", "~", "a+b"])
@pytest.mark.parametrize("arguments", [{}, {"x-match": "all", "k": "v"}], ids=["plain", "arguments"])
def test_terraform_finds_its_binding_again(busy: Http, key: str, arguments: dict[str, Any]) -> None:
    """rabbit-hole: what Location ends in, unescaped once, is the `properties_key` of the binding in the list."""
    where = f"/api/bindings/{VHOST}/e/amq.headers/q/work"
    created = busy.ask("POST", where, {"routing_key": key, "arguments": arguments})
    assert created.status == 201
    properties_key = unquote(created.headers["location"].rpartition("/")[2])
    assert properties_key in [binding["properties_key"] for binding in busy.get(where)]
    deleted = busy.ask("DELETE", f"{where}/{created.headers['location'].rpartition('/')[2]}")
    assert deleted.status == 204
    assert properties_key not in [binding["properties_key"] for binding in busy.ask("GET", where).json]


def test_a_bound_key_can_be_escaped_by_go(busy: Http) -> None:
    """Go's url.PathEscape leaves a plus as it is."""
    where = f"/api/queues/{VHOST}/with+plus"
    assert busy.ask("PUT", where, {}).status == 201
    assert busy.get(where)["name"] == "with+plus"
    assert busy.ask("DELETE", where).status == 204


def test_nservicebus_trusts_the_delivery_limit(busy: Http) -> None:
    """It asks a 3.13 for no limit, and refuses to start if there is one."""
    version = tuple(map(int, busy.get("/api/overview")["rabbitmq_version"].split(".")[:2]))
    queue = busy.get(f"/api/queues/{VHOST}/quorum")
    assert version >= (3, 10)
    assert "x-delivery-limit" not in queue["arguments"]
    assert any(flag["name"] == "stream_queue" and flag["state"] == "enabled" for flag in busy.get("/api/feature-flags"))
