"""The text format, read back with Prometheus's parser."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from broker.metrics.text import GAUGE, NO_LABELS, Family, labels, samples

FAMILY = Family("depth", GAUGE, "How deep")
VALUES = st.none() | st.integers(0, 2**63) | st.floats(0, 1e12)
NAMES = st.text(st.characters(codec="utf-8"))


@given(st.dictionaries(NAMES, VALUES, min_size=1))
def test_what_is_written_is_read(written: dict[str, float | None]) -> None:
    text = FAMILY.head("x_") + samples("x_depth", [labels(vhost="/", name=name) for name in written], list(written.values()))
    (family,) = text_string_to_metric_families(text)
    assert (family.name, family.type, family.documentation) == ("x_depth", "gauge", "How deep")
    read = {sample.labels["name"]: sample.value for sample in family.samples}
    assert read == {name: value for name, value in written.items() if value is not None}


@given(st.lists(NAMES, min_size=1, unique=True), st.integers(0, 5) | st.none())
def test_a_column_of_one_value(names: list[str], value: int | None) -> None:
    labelled = [labels(name=name) for name in names]
    at_once = samples("x", labelled, [value] * len(names))
    assert at_once == "".join([samples("x", [label], [value]) for label in labelled])
    assert at_once.count("\n") == (0 if value is None else len(names))


def test_without_labels() -> None:
    assert samples("x", [NO_LABELS], [0.5]) == "x 0.5\n"


def test_octets_that_are_no_text() -> None:
    """Prometheus refuses a scrape that isn't UTF-8, and with it all figures of the broker."""
    text = samples("x", [labels(name=b"a\xff".decode("utf-8", "surrogateescape"))], [1])
    assert text.encode().decode() == 'x{name="a\ufffd"} 1\n'
