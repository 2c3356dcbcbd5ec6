"""Refused logins are remembered by address, and not for ever."""

import pytest

from broker.access import failures
from broker.access.failures import Failures, network_of


def test_the_oldest_addresses_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "ADDRESSES_MAX", 3)
    watched = Failures(lambda: 0.0, 1, 5.0)
    for last in (1, 2, 3, 1, 4):
        watched.add(f"203.0.113.{last}")
    assert len(watched) == 3
    assert [watched.delay(f"203.0.113.{last}") > 0 for last in (1, 2, 3, 4)] == [True, False, True, True]


def test_an_address_costs_no_more_the_longer_it_tries() -> None:
    watched = Failures(lambda: 0.0, 5, 5.0)
    for _ in range(1000):
        watched.add("203.0.113.1")
    assert max(map(len, watched._times.values())) < 30 and watched.delay("203.0.113.1") == 5.0


@pytest.mark.parametrize(
    ("one", "other", "is_one_place"),
    [
        ("203.0.113.1", "203.0.113.2", False),
        ("203.0.113.1", "::ffff:203.0.113.1", True),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::1", True),
        ("nonsense", "other", False),
        ("a\0b", "a\0b", True),
    ],
)
def test_what_counts_as_one_place(one: str, other: str, is_one_place: bool) -> None:
    assert (network_of(one) == network_of(other)) is is_one_place
