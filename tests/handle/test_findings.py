"""What breaks elsewhere or loses messages, through the handle; and strict brokers."""

import pytest

from leveret import Broker
from tests.handle.clients import channel_of


def declare_transient(broker: Broker) -> None:
    with channel_of(broker) as channel:
        channel.queue_declare("orders")


def fail_with_findings(broker: Broker) -> None:
    declare_transient(broker)
    raise KeyError("the test's own")


def test_findings(sandbox: Broker) -> None:
    sandbox.assert_no_findings()
    declare_transient(sandbox)
    (found,) = sandbox.findings(severity=["breaks"])
    assert (found.code, found.severity, found.where["queue"]) == ("transient-queue", "breaks", "orders")
    assert str(found) == found.text and "orders" in found.what and found.advice and found.count == 1
    assert not sandbox.findings(ignore=["transient-queue"], severity=["breaks"])
    assert not sandbox.findings("4.2", severity=["breaks"])
    with pytest.raises(AssertionError, match=r"1 finding:\n  breaks transient-queue: queue 'orders'"):
        sandbox.assert_no_findings()


def test_a_strict_broker() -> None:
    with pytest.raises(AssertionError, match="transient-queue"), Broker(strict=True) as broker:
        declare_transient(broker)
    assert not broker.is_running
    with pytest.raises(KeyError, match="the test's own"), Broker(strict=True) as broker:
        fail_with_findings(broker)
    with Broker(strict=True, ignore=["transient-queue"]) as broker:
        declare_transient(broker)
        with broker.sandbox() as sandbox:
            declare_transient(sandbox)


def test_codes_may_be_one_string(sandbox: Broker) -> None:
    declare_transient(sandbox)
    assert [each.code for each in sandbox.findings(severity="breaks")] == ["transient-queue"]
    assert not sandbox.findings(severity="breaks,loses", ignore="transient-queue")
