"""Headers of a form that is known are scanned as `content.scan` scans them, whatever is damaged in them."""

import random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from protocol import forms
from protocol.content import HAS_DIRECT_REPLY_TO, MalformedProperties, Properties, encode_properties, scan
from protocol.forms import FORMS_MAX, TRIES, Forms, mask_of
from protocol.tables import table_of
from tests.protocol.test_content import sizes, some_properties


def verdict(of: list[bytes], each: Forms | None = None) -> list[int] | str:
    try:
        return list(map(scan, of)) if each is None else each.scan_each(of)
    except MalformedProperties as error:
        return str(error)


def changed(header: bytes, changes: list[tuple[int, int]]) -> bytes:
    result = bytearray(header)
    for at, value in changes:
        result[at % len(result)] = value
    return bytes(result)


changes = st.lists(st.tuples(st.integers(0, 4096), st.integers(0, 255)), min_size=1, max_size=3)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(some_properties, sizes, st.lists(changes, min_size=1, max_size=8))
@example(Properties(headers=table_of({"CC": "x", "d": 1.5, "l": [{"a": None}]}), reply_to="amq.rabbitmq.reply-to"), 1, [[(14, 0)]])
def test_as_the_scan_says(properties: Properties, size: int, damage: list[list[tuple[int, int]]]) -> None:
    header = encode_properties(properties, size)
    known = Forms()
    for each in [header, header, *(changed(header, some) for some in damage), header]:
        assert verdict([each], known) == verdict([each])


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(some_properties, sizes)
def test_every_octet_that_decides_is_under_the_mask(properties: Properties, size: int) -> None:
    """Change any other, and nothing changes."""
    header = encode_properties(properties, size)
    facts, mask = scan(header), mask_of(header)
    chance = random.Random(header)
    free = [at for at, octet in enumerate(mask) if not octet]
    for at in chance.sample(free, min(len(free), 40)):
        assert scan(changed(header, [(at, chance.randrange(256))])) == facts


def test_headers_that_differ_in_what_they_say_are_scanned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    scanned: list[bytes] = []
    monkeypatch.setattr(forms, "scan", lambda header: scanned.append(header) or scan(header))  # type: ignore[func-returns-value]
    headers = [
        encode_properties(
            Properties(headers=table_of({"id": f"{number:08}", "n": number}), reply_to=f"{number:020}", message_id="x"), number
        )
        for number in range(100)
    ]
    assert Forms().scan_each(headers) == list(map(scan, headers))
    assert scanned == headers[:1]


def test_direct_reply_to_is_never_taken_for_another() -> None:
    """It is as long as others, but it is a fact."""
    known = Forms()
    texts = ["amq.rabbitmq.reply-to", "x" * 21, "amq.rabbitmq.reply-to", "amq.rabbitmq.reply-t0"]
    found = [known.scan_each([encode_properties(Properties(reply_to=text), 0)]) for text in texts]
    assert found == [[HAS_DIRECT_REPLY_TO], [0], [HAS_DIRECT_REPLY_TO], [0]]


def test_a_length_without_a_form_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bytes] = []
    monkeypatch.setattr(forms, "mask_of", lambda header: made.append(header) or mask_of(header))  # type: ignore[func-returns-value]
    headers = [
        encode_properties(Properties(message_id="x" * number, app_id="y" * (100 - number)), 0) for _ in range(10) for number in range(100)
    ]
    assert Forms().scan_each(headers) == list(map(scan, headers))
    assert len(made) == 1 + TRIES


def test_forms_are_bounded() -> None:
    known = Forms()
    known.scan_each([encode_properties(Properties(message_id="x" * number), 0) for number in range(200)])
    assert 0 < len(known._forms) <= FORMS_MAX
