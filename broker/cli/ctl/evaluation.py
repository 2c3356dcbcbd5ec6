"""eval: the handful of Erlang that scripts ask brokers, answered as a RabbitMQ would. There is no Erlang here to run anything else."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, Final

from broker.cli.ctl.command import ANY, Call, Command
from broker.cli.ctl.errors import EXIT_DATA, Invalid, error
from broker.cli.ctl.formats import Output
from broker.cli.ctl.terms import Atom, Characters

if TYPE_CHECKING:
    from collections.abc import Callable

REFUSED: Final = "Leveret runs no Erlang. What it answers: {}"
GET: Final = re.compile(r"application:get_env\((?P<application>\w+),(?P<variable>\w+)\)")
SET: Final = re.compile(r"application:set_env\((?P<application>\w+),(?P<variable>\w+),(?P<value>[0-9]+|undefined)\)")


def _node(call: Call) -> Any:
    return Atom(call.node)


def _true(call: Call) -> Any:
    call.api.get("whoami")
    return True


def _false(call: Call) -> Any:
    call.api.get("whoami")
    return False


def _nodes(call: Call) -> Any:
    return [Atom(call.node)]


def _nothing(call: Call) -> Any:
    call.api.get("whoami")
    return []


def _alarms(call: Call) -> Any:
    node = call.api.get("nodes", call.node, columns="mem_alarm,disk_free_alarm")
    rung = [name for name, key in (("memory", "mem_alarm"), ("disk", "disk_free_alarm")) if node.get(key)]
    return [((Atom("resource_limit"), Atom(name), Atom(call.node)), []) for name in rung]


def _version(call: Call) -> Any:
    return Characters(call.api.get("overview", columns="rabbitmq_version")["rabbitmq_version"])


def _queues(call: Call) -> Any:
    return int(call.api.get("overview", columns="object_totals.queues")["object_totals"]["queues"])


ANSWERS: Final[dict[str, Callable[[Call], Any]]] = {
    "node()": _node,
    "rabbit:is_booted(node())": _true,
    "rabbit:is_booted()": _true,
    "rabbit:is_running(node())": _true,
    "rabbit:is_running()": _true,
    "rabbit:is_booting(node())": _false,
    "rabbit:is_booting()": _false,
    "rabbit_mnesia:is_clustered()": _false,
    "rabbit_db_cluster:is_clustered()": _false,
    "rabbit_mnesia:cluster_nodes(all)": _nodes,
    "rabbit_mnesia:cluster_nodes(running)": _nodes,
    "rabbit_nodes:list_running()": _nodes,
    "rabbit_nodes:all_running()": _nodes,
    "rabbit_nodes:list_members()": _nodes,
    "nodes()": _nothing,
    "rabbit_alarm:get_alarms()": _alarms,
    "rabbit_misc:version()": _version,
    "rabbit_amqqueue:count()": _queues,
    "length(rabbit_amqqueue:list())": _queues,
}


def evaluate(call: Call) -> Output:
    """The expression's value. Anything but the few that are known is refused."""
    text = call.arguments[0] if call.arguments else sys.stdin.read()
    if not text.strip():
        raise error("Expression to evaluate is not provided via argument or stdin", EXIT_DATA)
    expression = re.sub(r"\s+", "", text).removesuffix(".").replace("'", "")
    return Output(erlang=_value(call, expression))


def _value(call: Call, expression: str) -> Any:
    if expression in ANSWERS:
        return ANSWERS[expression](call)
    if match := GET.fullmatch(expression):
        variables = call.api.get("leveret", "ctl", "environment").get(match["application"], {})
        return (Atom("ok"), variables[match["variable"]]) if match["variable"] in variables else Atom("undefined")
    if match := SET.fullmatch(expression):
        value = int(match["value"]) if match["value"].isdecimal() else match["value"]
        call.api.put("leveret", "ctl", "environment", match["application"], match["variable"], body={"value": value})
        return Atom("ok")
    raise error(REFUSED.format(", ".join([*ANSWERS, "application:get_env(APPLICATION, VARIABLE)"])))


def _check_blank(call: Call) -> None:
    if call.arguments and not call.arguments[0]:
        raise Invalid('"Expression must not be blank"')


COMMANDS: Final = {
    "eval": Command(
        evaluate,
        "eval <expression>",
        (0, ANY),
        check=_check_blank,
        formatter="erlang",
        details=(("<expression>", "one of a few that scripts use; read from stdin if it isn't given"),),
    )
}
