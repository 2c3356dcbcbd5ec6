"""Regular expressions of operators against names of users: the same answer as re's, in bounded time whatever the pattern."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.core import pattern as module
from broker.core.pattern import Pattern, TooComplex
from broker.core.permissions import InvalidPattern, Permissions, compiled
from broker.core.policy import InvalidPolicy, Policy

NAME_MAX = b"a" * 254 + b"!"
"""The longest name there is (a shortstr), and the worst: alike to the end."""
SECONDS_MAX = 0.5
"""What a search may take on a busy machine; each takes a millisecond or two."""

PATHOLOGICAL = [
    "(a+)+$", "^(a+)+$", "(a*)*b", "(a|a)*b", "^(([a-z])+.)+[A-Z]([a-z])+$", "(a|aa)+$", "(.*a){20}b", "(a?){60}a{60}$", "a*a*a*a*a*a*b",
    ".*.*.*.*=.*", "^(?!(a+)+$).*b", "(?<=a)(a+)+$", "((a{0,9}){0,9}){0,9}b", r"^(\w+\s?)*$",
    r"(x+x+)+y|(a+a+)+b", "(?i)(A+)+$", r"(\ba*)*b",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATHOLOGICAL)
def test_a_pattern_that_re_would_never_be_done_with(pattern: str) -> None:
    begin = time.process_time()
    found = compiled(pattern).search(NAME_MAX)
    assert time.process_time() - begin < SECONDS_MAX
    assert found is None


@pytest.mark.parametrize("pattern", [r"(a*)*(b*)\1", r"(a+)+(?>a)b", "((a{1,60}){1,60}){1,60}", r"(a*)(b*)\1\2$"])
def test_what_can_not_be_bounded_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidPattern, match=r"for ever|repeats too much"):
        compiled(pattern)
    with pytest.raises(InvalidPolicy, match="pattern should be regular expression but is invalid"):
        Policy("p", pattern, {"max-length": 1})
    with pytest.raises(InvalidPattern):
        Permissions(".*", pattern, ".*")


def test_a_policy_and_a_permission_of_that_kind_answer() -> None:
    begin = time.process_time()
    assert not Policy("p", "^(a+)+$", {"max-length": 1}).is_for("classic", NAME_MAX.decode())
    assert Policy("p", "^(a+)+!$", {"max-length": 1}).is_for("classic", NAME_MAX.decode())
    assert not Permissions("^(a+)+$", "", "").permits("configure", NAME_MAX.decode())
    assert time.process_time() - begin < SECONDS_MAX


@pytest.mark.parametrize("pattern", ["", ".*", "^amq\\.", "^(?!amq\\.).*", "^(foo|bar)-[a-z0-9]{1,8}$", "^.+\\.events$", "^a{3}$", "^$"])
def test_patterns_as_people_write_them_are_left_to_re(pattern: str) -> None:
    assert Pattern(pattern.encode())._quick is not None


atoms = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\w", r"\d", r"\W", "1", "\\n", "-", "(?:ab)", "^", "$", r"\b", r"\A", r"\Z"])
patterns = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"(?:{'|'.join(parts)})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "*?", "+?", "{2}", "{0,2}", "{1,}"])).map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
        st.tuples(st.sampled_from(["(?=", "(?!", "(?i:", "(?s:", "(?m:", "("]), inner).map(lambda pair: f"{pair[0]}{pair[1]})"),
        inner.map(lambda each: f"(?<=[ab]){each}(?<!1)"),
    ),
    max_leaves=6,
)


@settings(max_examples=400, deadline=None)
@given(patterns, st.lists(st.text("abA1-\n", min_size=1, max_size=8), min_size=1, max_size=6))
def test_the_answer_is_re_s(pattern: str, names: list[str]) -> None:
    """Held to the automaton, also where re would be trusted. Short names, for re is to be done with them."""
    pattern_bytes = pattern.encode()
    automatic = _automatic(pattern_bytes)
    for name in names:
        assert (automatic.search(name.encode()) is not None) == (re.search(pattern_bytes, name.encode()) is not None), name


def _automatic(pattern: bytes) -> Pattern:
    found = Pattern(b"(a*)*")
    found._automaton = module._Automaton(module._parser.parse(pattern), re.compile(pattern).flags)
    return found


def test_too_complex_is_told_apart_from_wrong() -> None:
    with pytest.raises(TooComplex):
        Pattern(rb"(a*)*\1")
    with pytest.raises(re.error):
        Pattern(b"(")
