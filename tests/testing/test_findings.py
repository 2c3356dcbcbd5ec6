"""The findings of a vhost over HTTP, and what makes one finding of many."""

import pytest

from broker.testing.findings.finding import FINDINGS_MAX, Finding, Findings
from broker.testing.findings.rules import BREAKS, LOSES, RULES, SEVERITIES
from broker.testing.findings.versions import VERSIONS, UnknownVersion, applies, parse
from tests.house.conftest import ROOT
from tests.testing.sandboxed import Sandboxed
from tests.testing.supervised import Supervised


def make_some(sandbox: Sandboxed) -> None:
    """One of each severity."""
    with sandbox.channel("careless") as channel:
        channel.queue_declare("tasks")
        channel.basic_publish("", "nowhere", b"1")
        channel.queue_declare("own", durable=True, exclusive=True)


def test_they_are_listed_worst_first(sandbox: Sandboxed) -> None:
    make_some(sandbox)
    found = sandbox.findings()
    assert [(each["severity"], each["code"]) for each in found] == [
        ("breaks", "transient-queue"), ("loses", "unroutable"), ("risks", "exclusive-durable"),
    ]  # fmt: skip
    assert found[0].keys() == {"code", "severity", "since", "what", "where", "advice", "count", "text"}
    assert found[0]["text"] == (
        "breaks transient-queue: queue 'tasks' is neither durable nor exclusive, which RabbitMQ 4.3 refuses to declare (541, the "
        "connection is closed). Declare it durable (x-expires removes one that nobody uses), or exclusive. Seen once by careless "
        f"(connection {found[0]['where']['connection']}, channel 1)."
    )


def test_one_chooses(sandbox: Sandboxed) -> None:
    make_some(sandbox)
    assert sandbox.codes("3.13") == ["unroutable", "exclusive-durable"]
    assert sandbox.codes("4.x") == sandbox.codes("4.3.5") == sandbox.codes()
    assert [each["code"] for each in sandbox.findings(severity="breaks,loses")] == ["transient-queue", "unroutable"]
    assert [each["code"] for each in sandbox.findings(ignore="transient-queue,exclusive-durable")] == ["unroutable"]
    assert [each["code"] for each in sandbox.findings(ignore="transient-queue:t*,exclusive-durable:other")] == [
        "unroutable", "exclusive-durable",
    ]  # fmt: skip
    assert sandbox.broker.ask_vhost("GET", sandbox.vhost, "/findings", status=200) == sandbox.findings()


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("for=5.0", "'5.0' is none of the versions that are known: 3.13, 4.0, 4.1, 4.2, 4.3, or 4.x for 4.3"),
        ("severity=bad", "'bad' is no severity: there are breaks, loses, risks"),
        ("ignore=transient-queues", "'transient-queues' is no code: there are transient-queue, global-qos"),
    ],
)
def test_what_makes_no_sense_is_told(sandbox: Sandboxed, query: str, reason: str) -> None:
    answer = sandbox.broker.ask_vhost("GET", sandbox.vhost, f"/findings?{query}", status=400)
    assert answer["reason"].startswith(reason)


def test_vhosts_have_their_own(testing_broker: Supervised, sandbox: Sandboxed) -> None:
    other = Sandboxed(testing_broker)
    make_some(other)
    assert sandbox.findings() == []
    of_all = testing_broker.ask("GET", "/findings")
    assert {each["where"]["vhost"] for each in of_all} == {other.vhost}
    testing_broker.ask_vhost("DELETE", other.vhost, "/findings", status=204)
    assert other.findings() == []
    make_some(other)
    other.end()
    assert testing_broker.ask("GET", "/findings") == []
    testing_broker.ask_vhost("GET", other.vhost, "/findings", status=404)


def test_names_that_the_broker_made_up_are_one_place(sandbox: Sandboxed) -> None:
    with sandbox.channel() as channel:
        for _ in range(3):
            channel.queue_declare("")
    assert sandbox.one("transient-queue")["count"] == 3


def test_there_is_no_end_of_names_but_of_findings() -> None:
    findings = Findings()
    for number in range(FINDINGS_MAX + 5):
        findings.add(Finding("transient-queue", {"vhost": "/", "queue": f"q{number}"}))
    found = findings.of("4.3")
    assert (len(found), found[-1].count) == (FINDINGS_MAX, 6)


def test_versions() -> None:
    assert [parse(text) for text in ("3.13", "3.13.7", "4.0.9", "v4.2.0", "4.x", "4.3.5")] == ["3.13", "3.13", "4.0", "4.2", "4.3", "4.3"]
    for text in ("", "4.9", "3.12", "latest"):
        with pytest.raises(UnknownVersion):
            parse(text)
    assert [applies(version, "4.0", "4.3") for version in VERSIONS] == [False, True, True, True, False]
    assert all(applies(version, None, None) for version in VERSIONS)


def test_each_rule_says_where_it_is_from_and_is_documented() -> None:
    document = (ROOT / "docs" / "lint.md").read_text(encoding="utf-8")
    documented = [line.split("|")[1:4] for line in document.splitlines() if line.startswith("| `")]
    rows = [(code.strip(" `"), severity.strip(), since.strip()) for code, severity, since in documented]
    assert rows == [(rule.code, rule.severity, f"until {rule.until}" if rule.until else rule.since or "") for rule in RULES.values()]
    for rule in RULES.values():
        assert rule.severity in SEVERITIES and rule.source and rule.advice
        assert rule.since is None or rule.since in VERSIONS
        assert rule.severity != BREAKS or rule.since or rule.until
        assert rule.severity != LOSES or not rule.since
