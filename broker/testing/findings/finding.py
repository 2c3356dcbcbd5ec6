"""One finding, and all of a vhost: each place once, with how often it was seen."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from broker.testing.findings.rules import RULES, SEVERITIES
from broker.testing.findings.versions import LATEST, applies

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

PLACE: Final = ("vhost", "queue", "exchange", "policy", "client_name", "user", "connection", "channel")
"""What `where` may have."""
_SAME: Final = ("queue", "exchange", "policy", "client_name")
"""What makes two places different; connection and channel are those of the first."""
_NAMED: Final = ("queue", "exchange", "policy")
GENERATED: Final = "amq.gen-"
FINDINGS_MAX: Final = 1000
"""Of one vhost; more places of a rule count as the last one that there was room for."""


class Finding:
    """Something that was seen, and where. `details` are what else its rule's texts name; `since` and `until` those of the rule, unless it
    is so of this one in other versions only."""

    __slots__ = ("_details", "count", "rule", "since", "until", "where")

    def __init__(
        self,
        code: str,
        where: dict[str, Any],
        details: dict[str, Any] | None = None,
        *,
        count: int = 1,
        since: str | None = None,
        until: str | None = None,
    ) -> None:
        self.rule = RULES[code]
        self.where = {name: where[name] for name in PLACE if where.get(name) is not None}
        self.count = count
        self.since = since or self.rule.since
        self.until = until or self.rule.until
        self._details = details or {}

    @property
    def key(self) -> tuple[Any, ...]:
        """The same for what is the same finding. Names that the broker made up are one."""
        names = [self.where.get(name) for name in _SAME]
        return (self.rule.code, self.since, self.until, *(GENERATED if str(name).startswith(GENERATED) else name for name in names))

    def applies_to(self, version: str) -> bool:
        """It is so of that RabbitMQ."""
        return applies(version, self.since, self.until)

    def facts(self, version: str = LATEST) -> dict[str, Any]:
        """As JSON has it, for that RabbitMQ. `text` says all of it in one paragraph."""
        rule = self.rule
        known = {"exchange": "", "version": version, **self._details, **self.where}
        what, advice = rule.what.format(**known), rule.advice.format(**known)
        return {
            "code": rule.code,
            "severity": rule.severity,
            "since": self.since,
            "what": what,
            "where": self.where,
            "advice": advice,
            "count": self.count,
            "text": f"{rule.severity} {rule.code}: {what}. {_sentence(advice)}{self._seen}",
        }

    @property
    def _seen(self) -> str:
        where = self.where
        at = [f"{name} {where[name]}" for name in ("connection", "channel") if name in where]
        who = f"by {where['client_name']}" if "client_name" in where else f"by user {where['user']}" if "user" in where else ""
        place = f"{who} ({', '.join(at)})" if who and at else who or ", ".join(at)
        if not place and self.count == 1:
            return ""
        times = "Seen once" if self.count == 1 else f"Seen {self.count} times"
        return f" {times}{', first' * (self.count > 1 and bool(place))}{' ' * bool(place)}{place}."


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


class Findings:
    """All of one vhost, in the order in which they came up."""

    def __init__(self) -> None:
        self._found: dict[tuple[Any, ...], Finding] = {}

    def add(self, finding: Finding) -> None:
        """Seen, perhaps again."""
        known = self._found.get(finding.key)
        if known is None and len(self._found) >= FINDINGS_MAX:
            known = next((each for each in reversed(self._found.values()) if each.rule is finding.rule), None)
        if known is not None:
            known.count += finding.count
        else:
            self._found[finding.key] = finding

    def clear(self) -> None:
        """Forget all."""
        self._found.clear()

    def of(self, version: str) -> list[Finding]:
        """What is so of that RabbitMQ, worst first."""
        return in_order(each for each in self._found.values() if each.applies_to(version))


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Worst first."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.rule.severity))


def chosen(findings: Iterable[Finding], severities: Collection[str], ignored: Collection[str]) -> list[Finding]:
    """Those of these severities (empty: any) that aren't ignored. `ignored` are codes, or a code and what its queue, exchange or policy is
    called: unroutable:celeryev, transient-queue:*.pidbox."""
    return [
        each
        for each in findings
        if (not severities or each.rule.severity in severities) and not any(_is_ignored(each, word) for word in ignored)
    ]


def _is_ignored(finding: Finding, word: str) -> bool:
    code, colon, pattern = word.partition(":")
    names = [finding.where.get(name, "") for name in _NAMED]
    return code == finding.rule.code and (not colon or any(fnmatchcase(name, pattern) for name in names))


def code_of(word: str) -> str:
    """The code in something to be ignored."""
    return word.partition(":")[0]
