"""Where Leveret must or may answer otherwise than RabbitMQ 3.10.8, and why.

A row names steps (a pattern for `scenario: step`), a path in the answer (as in rules.py: `body.items[].name`), and what is expected there
instead: a shape, OPTIONAL for a key that may be absent, or a function of the recorded shape. Rows are applied in their order.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

from tests.admin.rules import pattern_of
from tests.admin.shapes import AT_LEAST, ONE_OF, UNORDERED, is_special

Change = Callable[[Any], Any]


class Row(NamedTuple):
    steps: str
    path: str
    expected: Any
    why: str


class Optional:
    """The key may be absent; if it is there, it is as recorded."""


OPTIONAL = Optional()
ERROR = {"error": "<string>", "reason": "<string|list>"}
VERSION = "3.13.7"
ERLANG = "has no meaning without Erlang"


def or_like(*shapes: Any) -> Change:
    """As recorded, or like one of these."""
    return lambda recorded: {ONE_OF: [recorded, *shapes]}


def answers(steps: str, status: Any, body: Any, why: str) -> tuple[Row, ...]:
    """Another answer altogether."""
    headers = Row(steps, "headers.(content-type|content-length|location|www-authenticate|set-cookie)", OPTIONAL, why)
    return (Row(steps, "status", status, why), headers, Row(steps, "body", body, why))


def refused(steps: str, why: str) -> tuple[Row, ...]:
    return answers(steps, 400, ERROR, why)


def accepted(steps: str, status: int, why: str) -> tuple[Row, ...]:
    return answers(steps, status, "<any>", why)


def at_least(recorded: Any) -> Any:
    """Leveret has these and more."""
    return {AT_LEAST: recorded[UNORDERED]} if isinstance(recorded, dict) and UNORDERED in recorded else recorded


def enabled(recorded: Any) -> Any:
    return {AT_LEAST: [item for item in recorded[UNORDERED] if item["enabled"]]}


def without_clustering(recorded: Any) -> Any:
    """The listener between the nodes of a cluster is Erlang's."""
    items = recorded[UNORDERED] if isinstance(recorded, dict) else recorded
    return {
        AT_LEAST: [item for item in items if item != "clustering" and not (isinstance(item, dict) and item["protocol"] == "clustering")]
    }


def without_cluster_id(recorded: Any) -> Any:
    """The parameter that names a cluster for good."""
    special = isinstance(recorded, dict) and UNORDERED in recorded
    items = recorded[UNORDERED] if special else recorded
    if not isinstance(items, list):
        return recorded
    kept = [item for item in items if not (isinstance(item, dict) and item.get("name") == "internal_cluster_id")]
    return {AT_LEAST: kept} if len(kept) < len(items) else recorded


def in_own_words(recorded: Any) -> Any:
    """Texts with Erlang terms in them, or terms instead of texts."""
    erlang = isinstance(recorded, list) or (isinstance(recorded, str) and any(sign in recorded for sign in ERLANG_SIGNS))
    return {ONE_OF: [recorded, "<string>"]} if erlang else recorded


def nothing_is_empty(recorded: Any) -> Any:
    """An object of which no column was asked for is [] in RabbitMQ's JSON."""
    return {} if recorded == [] else recorded


ERLANG_SIGNS = (
    "<<",
    "&lt;",
    "regular expression but is invalid: {",
    "should be a number",
    "apply-to 'nope'",
    "limits not a list",
    "should be a binary",
    "n@localhost",
)
ROWS: tuple[Row, ...] = (
    # --- everywhere
    Row("*", "headers.vary", or_like("accept, accept-encoding, origin"), "a cache that looks at more is right too"),
    Row("*", "body**(management_version|rabbitmq_version|product_version|rabbit_version)", VERSION, "the RabbitMQ that Leveret is like"),
    Row("*", "body**product_name", "Leveret", "whose broker it is"),
    Row("*", "body**exchange_types", at_least, "all types are built in"),
    Row("*", "body**(exchange_types|auth_mechanisms)[].description", "<string>", "texts for people"),
    Row("*", "body**auth_mechanisms", enabled, "which there are, differs"),
    Row("*", "body**enabled_plugins", at_least, "what plugins do is built in"),
    Row("*", "body**(listeners|ports|protocols)", without_clustering, "no Erlang distribution; metrics are always on"),
    Row("*", "body**listeners[].(socket_opts|ip_address)", "<any>", "options of Erlang's sockets; by default both families"),
    Row("*", "body**contexts", at_least, "metrics are always on"),
    Row("*", "body**contexts[].(description|cowboy_opts|path|port)", "<string>", "Erlang's texts; metrics are always on"),
    Row("*", "body**contexts[].(ssl_opts|ip|protocol)", OPTIONAL, "Erlang's options"),
    Row(
        "*",
        "body**(backing_queue_status|pending_raft_commands|ra_open_file_metrics|metrics_gc_queue_length|cluster_links)",
        OPTIONAL,
        ERLANG,
    ),
    Row("*", "body**(open_files|single_active_consumer_ctag)", OPTIONAL, "a quorum queue's files; the same as single_active_consumer_tag"),
    Row("*", "body**reason", in_own_words, "a text says more than an Erlang term"),
    Row(
        "*(PATCH |DELETE /nope|PUT /queues|POST /queues|DELETE /vhosts|GET /queues/qs/q/get|GET /login)*",
        "body",
        or_like(ERROR),
        "405 with words",
    ),
    Row(
        "*(PATCH |HEAD |OPTIONS |DELETE /nope|PUT /queues|POST /queues|DELETE /vhosts|GET /queues/qs/q/get|GET /login)*",
        "headers.content-length",
        OPTIONAL,
        "as above",
    ),
    Row("*", "body**.state", lambda recorded: "running" if recorded == "live" else recorded, "3.13 says running"),
    # --- access
    *(
        row
        for steps in ("logins: GET /whoami (Basic*)", "logins: GET /whoami (nonsense)")
        for row in (
            Row(steps, "status", 401, "no credentials that anybody could read"),
            Row(steps, "headers.www-authenticate", OPTIONAL, "as above"),
        )
    ),
    *answers("logins: GET /whoami (Bearer abc)", 401, "<any>", "no OAuth"),
    *answers("tags: (management|policymaker|monitoring): GET /feature-flags", 200, "<list>", "everybody sees them in 3.13"),
    *answers(
        "tags: (management|policymaker): GET /connections/username/guest",
        401,
        {"error": "not_authorised", "reason": "User not authorised to access object"},
        "as in 3.13",
    ),
    *answers("connections: ann: GET /connections/username/ann*", 200, "<list>", "as in 3.13"),
    *answers(
        "connections: bob: GET /connections/username/ann*",
        401,
        {"error": "not_authorised", "reason": "User not authorised to access object"},
        "as in 3.13",
    ),
    Row(
        "permitted: *",
        "body.reason",
        or_like("ACCESS_REFUSED - read access to queue 'theirs' in vhost 'access' refused for user 'narrow'"),
        "3.13's",
    ),
    *answers("methods: OPTIONS /nope", {ONE_OF: [200, 404]}, "<any>", "what isn't there has no methods"),
    Row("methods: OPTIONS /nope", "headers.allow", OPTIONAL, "as above"),
    *answers("methods: DELETE /nope", {ONE_OF: [405, 404]}, "<any>", "what isn't there has no methods"),
    Row("methods: DELETE /nope", "headers.allow", OPTIONAL, "as above"),
    *answers("methods: GET /whoami (Accept: *bert*)", 200, "<object>", "there is JSON only"),
    Row("methods: GET /whoami (Accept: *bert*)", "headers.content-type", "application/json", "there is JSON only"),
    *answers("methods: GET /whoami (Accept: text/html)", {ONE_OF: [200, 406]}, "<any>", "a browser sees it too"),
    Row("methods: GET /overview/*", "body", nothing_is_empty, "JSON has empty objects"),
    Row(
        "methods: *preflight*",
        "headers.access-control-allow-methods",
        or_like("DELETE, GET, HEAD, OPTIONS, POST, PUT"),
        "what the API takes",
    ),
    Row("methods: HEAD //", "headers.content-type", or_like("text/html; charset=utf-8"), "a page of its own"),
    Row("logins: nobody: POST /login", "headers.set-cookie", OPTIONAL, "no cookie with a password in it"),
    # --- spaces
    *accepted("*GET /*/with+space*", 200, "tools that escape as in a query: KEDA, Datadog"),
    # --- leniency
    *refused("users: PUT /users/refused (*no_such_module*)", "nobody could log in with it"),
    *accepted("limits: PUT /*-limits/*({'value': '10'})", 204, "digits are numbers"),
    *accepted("exchanges: PUT /exchanges/xs/refused ({'(type|durable|arguments)': None})", 201, "null is as good as absent"),
    *accepted("queues: PUT /queues/qs/refused ({'(durable|arguments)': None})", 201, "null is as good as absent"),
    *accepted("bindings-refused: POST *({'arguments': None})", 201, "null is as good as absent"),
    Row("bindings-refused: POST *({'routing_key': None})", "headers.location", "q/~", "null is as good as absent"),
    *accepted("publish: POST *(properties [])", 200, "this is how empty properties are shown"),
    *refused("bindings-refused: POST *({'routing_key': 'xx*)", "no client could use this key"),
    *refused("*policies: PUT *({*'priority': 1.5})", "no number of priorities"),
    *accepted("policies: PUT /policies/pol/text", 201, "digits are numbers"),
    *refused("messages: POST *({'count': 1.5})", "no number of messages"),
    Row("messages: POST *", "body[].properties.headers.b[]", lambda shape: None if shape == "undefined" else shape, "JSON has null"),
    *answers("overview: PUT /feature-flags/quorum_queue/enable (no body)", 204, None, "there is nothing to say"),
    *answers("users: POST /users/bulk-delete", {ONE_OF: [400, 204, 401]}, "<any>", "who isn't there needn't be deleted"),
    *refused("*policies: PUT *({'pattern': 5,*", "the text says what was expected"),
    *accepted("definitions-import: POST *{'component': 'nothing',*", 204, "parameters of plugins are kept"),
    # --- 3.13
    Row("vhosts: *", "body**default_queue_type", or_like("quorum"), "virtual hosts have one"),
    *answers("*GET /users?page=*", 200, "<object>", "3.13 has pages of users"),
    *answers(
        "(publish|messages): POST /(exchanges/xs|queues/qs)/none/(publish|get)",
        404,
        {"error": "not_found", "reason": {ONE_OF: ["exchange_not_found", "queue_not_found"]}},
        "as in 3.13",
    ),
    *answers(
        "(publish|messages): POST /(exchanges|queues)/nowhere/*", 404, {"error": "not_found", "reason": "vhost_not_found"}, "as in 3.13"
    ),
    Row("definitions-export: GET /definitions/defs", "body.(parameters|policies)[].vhost", OPTIONAL, "as in 3.13"),
    Row("*GET /feature-flags", "body", "<list>", "which there are, differs from version to version"),
    Row("attempts: GET /auth", "body.*", OPTIONAL, "no OAuth; other keys in 3.13"),
    # --- other
    *(
        Row(steps, "body**user_who_performed_action", or_like("rmq-internal"), "nobody declared these")
        for steps in ("*GET /exchanges/(xs|access|access-other)", "*GET /exchanges/*/amq.*")
    ),
    Row("*", "body**idle_since", OPTIONAL, "idle is what hasn't changed since the last sample"),
    Row("rates: *", "body**_details.samples[].sample", "<int|float>", "a number"),
    Row("*GET /extensions", "body", "<list>", "scripts of RabbitMQ's pages"),
    Row("attempts: GET /auth/attempts/{node}/source", "body", "<list>", "RabbitMQ counts by source only if it is told to"),
    Row("exchanges: PUT *({'type': ''})", "body.reason", "<string>", "another word for what there isn't"),
    Row("*", "body", without_cluster_id, "there is no cluster"),
    Row("*", "body.global_parameters", without_cluster_id, "there is no cluster"),
    Row("queues*: *enable_queue_totals=true", "body[].exclusive", or_like(False), "null for quorum queues"),
    *answers("queues: GET /queues/qs/none/bindings", {ONE_OF: [200, 404]}, "<any>", "what isn't there isn't bound"),
    *answers("bindings-refused: GET /bindings/nowhere/*", {ONE_OF: [200, 404]}, "<any>", "404, as for other lists of what isn't there"),
    *answers("columns: *sort_reverse=false*", 200, "<list>", "RabbitMQ takes `true` only"),
    Row("columns: *sort=", "body", lambda recorded: {UNORDERED: recorded}, "the default order, as in 3.13"),
    Row("columns: *sort=&*", "body", lambda recorded: {UNORDERED: recorded}, "the default order, as in 3.13"),
    Row("(columns|paging): *", "body[]", nothing_is_empty, "JSON has empty objects"),
    Row("columns: GET /overview?columns=*", "body.(queue_totals|object_totals).*", OPTIONAL, "columns of objects in objects count"),
    Row("connections: GET /connections?columns=*", "body[].client_properties.*", OPTIONAL, "columns of objects in objects count"),
    Row("(connections|queues): *GET /(channels|connections|queues)/*?columns=*", "body.*", OPTIONAL, "columns of single objects count"),
    *answers("paging: GET /nodes?page=1", 200, "<any>", "every list has pages"),
    Row("paging: GET /queues/lists?page=(0|-1)*", "body.reason", "<string>", "the page size is known"),
    Row("paging: GET /queues/lists?page=1&name=%5B*", "body.reason", "<string>", "a text says more"),
    # --- settings
    Row("(stats-off|totals-only): GET /exchanges/conf/amq.topic", "body.(incoming|outgoing)", OPTIONAL, "as in 3.13"),
    *answers("(stats-off|totals-only): GET /channels*", 200, "<any>", "what channels are needs no statistics"),
    *answers("prefix: HEAD //before", {ONE_OF: [200, 301]}, "<any>", "its links are relative"),
    Row("prefix: HEAD //before/", "headers.content-type", or_like("text/html; charset=utf-8"), "a page of its own"),
    # --- definitions
    Row("definitions-import: POST /definitions*", "body.reason", "<string>", "a text that says where"),
    *refused("definitions-import: POST /definitions ({'bindings': [{'source': 'none'*)", "it can't be bound"),
    *refused("definitions-import: POST /definitions ({'queues': {}})", "it is no list"),
)


CRASH = {
    "status": {ONE_OF: [400, 401, 404, 405]},
    "headers": {"content-type": "application/json"},
    "body": {"error": "<string>", "reason": "<string|list>"},
}
"""Where RabbitMQ answers 500 without a word, Leveret says what is wrong with the request."""


def expected_of(scenario: str, step: dict[str, Any]) -> dict[str, Any]:
    """What Leveret has to answer, made of what was recorded."""
    if step["status"] == 500:
        step = step | CRASH
    label = f"{scenario}: {step['step']}"
    for row in ROWS:
        if steps_of(row.steps).fullmatch(label):
            step = _changed(step, row, "")
    return step


@cache
def steps_of(pattern: str) -> "re.Pattern[str]":
    """`*` is anything, `(a|b)` either; parentheses without a bar are themselves."""
    parts = re.split(r"(\*|\([^()|]*\|[^()]*\))", pattern)
    return re.compile("".join(_pattern(part) for part in parts), re.DOTALL)


def _pattern(part: str) -> str:
    if part == "*":
        return ".*"
    if part.startswith("(") and "|" in part:
        return "(?:" + "|".join(re.escape(choice) for choice in part[1:-1].split("|")) + ")"
    return re.escape(part)


def _changed(shape: Any, row: Row, path: str) -> Any:
    if isinstance(shape, list):
        return [_at(item, row, f"{path}[]") for item in shape]
    if not isinstance(shape, dict):
        return shape
    if ONE_OF in shape:
        return {ONE_OF: [_changed(value, row, path) for value in shape[ONE_OF]]}
    if is_special(shape):
        return {key: _inside(value, row, path) for key, value in shape.items()}
    changed: dict[str, Any] = {}
    for name, value in shape.items():
        key = name.removesuffix("?")
        where = f"{path}.{key}" if path else key
        if isinstance(row.expected, Optional) and pattern_of(row.path).fullmatch(where):
            changed[f"{key}?"] = value
        else:
            changed[name] = _at(value, row, where)
    return changed


def _inside(value: Any, row: Row, path: str) -> Any:
    """What lies in <each> and its like has the path of an item."""
    return [_at(item, row, f"{path}[]") for item in value] if isinstance(value, list) else _at(value, row, f"{path}[]")


def _at(value: Any, row: Row, path: str) -> Any:
    if not isinstance(row.expected, Optional) and pattern_of(row.path).fullmatch(path):
        return row.expected(value) if callable(row.expected) else row.expected
    return _changed(value, row, path)


def matches(row: Row, scenario: str, step: dict[str, Any]) -> bool:
    """Whether the row says something about this step."""
    return bool(steps_of(row.steps).fullmatch(f"{scenario}: {step['step']}")) and any(
        pattern_of(row.path).fullmatch(path) for path in _paths(step, "")
    )


def _paths(shape: Any, path: str) -> Iterator[str]:
    yield path
    if isinstance(shape, list):
        for item in shape:
            yield from _paths(item, f"{path}[]")
    elif isinstance(shape, dict):
        for key, value in shape.items():
            if is_special(shape):
                yield from _paths(value if isinstance(value, list) else [value], path)
            else:
                name = key.removesuffix("?")
                yield from _paths(value, f"{path}.{name}" if path else name)
