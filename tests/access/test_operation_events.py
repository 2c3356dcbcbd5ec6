"""What operators do is told as RabbitMQ tells it: names and headers are what 3.10.8 published for rabbitmqctl's commands."""

from typing import Any

import pytest

from broker.core.internal_events import EventExchange, Facts, FactsOf
from tests.access.conftest import Office

CLI = "rmq-cli"


@pytest.fixture
def told(office: Office) -> list[tuple[str, Facts]]:
    """Names and facts, as they come."""
    events: list[tuple[str, Facts]] = []

    def hear(name: str, facts: FactsOf) -> None:
        events.append((name, facts()))

    office.operations.add_user("bob", "sekrit-pw2")
    office.operations.put_vhost("v1")
    office.broker.emit = hear
    return events


BOB = {"user_who_performed_action": CLI, "name": "bob"}
IN_V1 = {"user_who_performed_action": CLI, "vhost": "v1", "user": "bob"}
CASES: dict[str, tuple[str, tuple[Any, ...], list[tuple[str, Facts]]]] = {
    "set_password": ("set_password", ("bob", "sekrit-pw3"), [("user.password.changed", BOB)]),
    "clear_password": ("clear_password", ("bob",), [("user.password.cleared", BOB)]),
    "set_tags": ("set_tags", ("bob", ["management", "monitoring"]), [("user.tags.set", BOB | {"tags": ["management", "monitoring"]})]),
    "add_user": ("add_user", ("ann", "sekrit-pw4"), [("user.created", BOB | {"name": "ann"})]),
    "delete_user": ("delete_user", ("bob",), [("user.deleted", BOB)]),
    "set_permissions": (
        "set_permissions", ("bob", "v1", "a", "b", "c"),
        [("permission.created", IN_V1 | {"read": "c", "write": "b", "configure": "a"})],
    ),
    "clear_permissions": ("clear_permissions", ("bob", "v1"), [("permission.deleted", IN_V1)]),
    "set_topic_permissions": (
        "set_topic_permissions", ("bob", "v1", "amq.topic", "^a", "^b"),
        [("topic.permission.created", IN_V1 | {"read": "^b", "write": "^a", "exchange": "amq.topic"})],
    ),
    "clear_topic_permissions": ("clear_topic_permissions", ("bob", "v1"), [("topic.permission.deleted", IN_V1)]),
    "set_vhost_limits": (
        "set_vhost_limits", ("v1", {"max-queues": 5}),
        [
            ("parameter.set", {
                "user_who_performed_action": CLI, "value": {"max-queues": 5}, "name": "limits", "component": "vhost-limits", "vhost": "v1",
            }),
            ("vhost.limits.set", {"max-queues": 5, "user_who_performed_action": CLI, "name": "limits"}),
        ],
    ),
    "set_user_limits": (
        "set_user_limits", ("bob", {"max-connections": 5}),
        [("user.limits.set", {"max-connections": 5, "username": "bob", "user_who_performed_action": CLI, "name": "limits"})],
    ),
    "clear_user_limits": (
        "clear_user_limits", ("bob",),
        [("user.limits.cleared", {"username": "bob", "user_who_performed_action": CLI, "name": "limits"})],
    ),
    "set_global_parameter": (
        "set_global_parameter", ("gp", {"a": 1}),
        [("parameter.set", {"user_who_performed_action": CLI, "value": {"a": 1}, "name": "gp", "component": "global"})],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_an_operation_is_told(office: Office, told: list[tuple[str, Facts]], case: str) -> None:
    method, arguments, expected = CASES[case]
    getattr(office.operations, method)(*arguments, acting_user=CLI)
    assert told == expected


def test_what_is_cleared(office: Office, told: list[tuple[str, Facts]]) -> None:
    office.operations.set_vhost_limits("v1", {"max-queues": 5}, acting_user=CLI)
    office.operations.set_global_parameter("gp", 1, acting_user=CLI)
    told.clear()
    office.operations.clear_parameter("v1", "vhost-limits", "limits", acting_user=CLI)
    office.operations.clear_global_parameter("gp", acting_user=CLI)
    by = {"user_who_performed_action": CLI}
    assert told == [
        ("parameter.cleared", by | {"name": "limits", "component": "vhost-limits", "vhost": "v1"}),
        ("vhost.limits.cleared", by | {"name": "limits"}),
        ("parameter.cleared", by | {"name": "gp", "component": "global"}),
    ]


def test_a_vhost_comes_and_goes(office: Office, told: list[tuple[str, Facts]]) -> None:
    office.operations.put_vhost("v2", description="two", tags=["a", "b"], acting_user=CLI)
    names = [name for name, _ in told]
    assert names == ["exchange.created"] * 7 + ["vhost.created"]
    assert told[-1][1] == {
        "tags": "a,b", "description": "two", "user_who_performed_action": CLI, "cluster_state": {office.broker.node: "running"},
        "tracing": False, "default_queue_type": "undefined", "name": "v2",
    }  # fmt: skip
    office.operations.set_permissions("bob", "v2", "", "", "")
    told.clear()
    office.operations.delete_vhost("v2", acting_user=CLI)
    assert told[0] == ("permission.deleted", {"user_who_performed_action": CLI, "vhost": "v2", "user": "bob"})
    assert told[-1] == ("vhost.deleted", {"user_who_performed_action": CLI, "name": "v2"})


def test_what_is_refused_is_not_told(office: Office, told: list[tuple[str, Facts]]) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        office.operations.clear_policy("v1", "none", acting_user=CLI)
    with pytest.raises(ValueError, match="already exists"):
        office.operations.add_user("bob", "x", acting_user=CLI)
    assert told == [] and office.broker.acting_user == "rmq-internal"


def test_no_event_has_a_secret(office: Office) -> None:
    """Neither the password nor its hash is among the facts of any operation on users."""
    exchange = EventExchange(office.broker, office.broker.vhosts["/"])
    office.broker.emit = exchange.emit
    listener = office.connect().channel()
    listener.declare("q")
    listener.bind("q", "amq.rabbitmq.event", "#")
    user = office.operations.add_user("ann", "sekrit-pw5", ["management"])
    office.operations.set_password("ann", "sekrit-pw6")
    announced = b"".join(each.header + each.body for each in office.broker.announcements.waiting)
    assert b"user.created" not in announced and b"ann" in announced
    assert b"sekrit" not in announced and user.password_hash not in announced
