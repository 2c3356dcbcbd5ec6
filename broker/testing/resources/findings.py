"""What was found that would break on RabbitMQ 4, or loses messages (broker.testing.findings)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broker.admin.call import done
from broker.admin.errors import BadRequest
from broker.admin.routing import Access, Route
from broker.testing.findings.finding import chosen, code_of, in_order
from broker.testing.findings.rules import RULES, SEVERITIES
from broker.testing.findings.versions import LATEST, UnknownVersion, parse
from broker.testing.resources.info import ROOT, rig_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.admin.call import Answer, Call

QUERY: Final = {
    "for": "string: the RabbitMQ that is meant, 3.13 to 4.3 (the latest, if not given)",
    "severity": "string: only these of breaks, loses and risks, with commas between",
    "ignore": "string: not these codes, with commas between; a code may have a name or pattern behind it (unroutable:celeryev)",
}


def list_findings(call: Call) -> Any:
    """Lists what was found in a vhost, worst first."""
    return _shown(call, [call.vhost.name])


def list_all_findings(call: Call) -> Any:
    """Lists what was found in all vhosts, worst first."""
    return _shown(call, list(call.broker.vhosts))


def forget_findings(call: Call) -> Answer:
    """Forgets what was found in a vhost."""
    rig_of(call).judge.forget(call.vhost.name)
    return done()


def _shown(call: Call, vhosts: Sequence[str]) -> list[dict[str, Any]]:
    try:
        version = parse(call.query.get("for", LATEST))
    except UnknownVersion as error:
        raise BadRequest(str(error)) from error
    severities = _words(call, "severity", SEVERITIES)
    ignored = _words(call, "ignore", RULES)
    judge = rig_of(call).judge
    found = in_order(each for vhost in vhosts for each in judge.of(vhost).of(version))
    return [each.facts(version) for each in chosen(found, severities, ignored)]


def _words(call: Call, parameter: str, known: Sequence[str] | dict[str, Any]) -> list[str]:
    words = [word for word in call.query.get(parameter, "").replace(" ", "").split(",") if word]
    for word in words:
        if code_of(word) not in known:
            raise BadRequest(f"'{word}' is no {parameter if parameter == 'severity' else 'code'}: there are {', '.join(known)}")
    return words


_IN_VHOST: Final = f"{ROOT}/vhosts/{{vhost}}/findings"
ROUTES: Final = (
    Route("GET", f"{ROOT}/findings", list_all_findings, Access.TESTING, query=QUERY, shows="[object]"),
    Route("GET", _IN_VHOST, list_findings, Access.TESTING, query=QUERY, shows="[object]"),
    Route("DELETE", _IN_VHOST, forget_findings, Access.TESTING),
)
