"""From what a test sends to a rule, or to a text that says what is wrong with it and what is possible."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from broker.testing.faults.actions import ACTIONS
from broker.testing.faults.moment import AFTER, BEFORE, CLIENT_METHODS, HOLD
from broker.testing.faults.rule import CONNECTION_FILTERS, SUBJECT_FILTERS, Pattern

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broker.testing.faults.actions.action import Action, Option

FILTERS: Final = (*CONNECTION_FILTERS, *SUBJECT_FILTERS)
COUNTERS: Final = ("skip", "times", "chance", "seed")
FIELDS: Final = ("do", "on", "when", *FILTERS, *COUNTERS)
FEW: Final = 12

Order = tuple[dict[str, Any], "Action", frozenset[str], dict[str, Pattern]]


class InvalidOrder(ValueError):
    """No rule can be made of it; the text says why."""


def parse(document: dict[str, Any]) -> Order:
    """The order with all that it left out, the action, which methods it is on, and the filters. Raises InvalidOrder."""
    do = document.get("do")
    if not isinstance(do, str):
        raise InvalidOrder(f"do: expected what is to go wrong, one of {_listed(ACTIONS)}")
    kind = ACTIONS.get(do)
    if kind is None:
        raise InvalidOrder(f"do: there is no action '{do}'{_nearest(do, ACTIONS)} There are {_listed(ACTIONS)}")
    for name in document:
        if name not in (*FIELDS, *kind.options):
            own = f"{do} has {_listed(kind.options)} beside those of all rules" if kind.options else f"{do} has no fields of its own"
            raise InvalidOrder(f"{do}: unknown field '{name}'{_nearest(name, (*FIELDS, *kind.options))} {own}: {_listed(FIELDS)}")
    given = {name: value for name, value in document.items() if value is not None}
    options = {name: _option(name, option, given) for name, option in kind.options.items()}
    on, methods = _on(kind, given)
    order: dict[str, Any] = {"do": do}
    if methods:
        order |= {"on": on, "when": _when(kind, given)}
    elif "when" in given:
        raise InvalidOrder(f"when: {do} is on no method, so it is neither before nor after one")
    filters = _filters(kind, given, methods)
    order |= {name: pattern.text for name, pattern in filters.items()}
    order |= {"skip": _whole(given, "skip") or 0, "times": _times(kind, document)}
    if "chance" in given:
        order["chance"] = _chance(given["chance"])
    if "seed" in given:
        order["seed"] = given["seed"]
    order |= {name: value for name, value in options.items() if value is not None}
    try:
        action = kind(options)
        if methods:
            kind.check_moment(methods, order["when"])
    except ValueError as error:
        raise InvalidOrder(f"{do}: {error}") from error
    return order, action, methods, filters


def _on(kind: type[Action], given: dict[str, Any]) -> tuple[str, frozenset[str]]:
    """What it is on, as text, and which methods that are; none, if it begins at once."""
    text = given.get("on", kind.on)
    if text is None:
        return "", frozenset()
    if not kind.methods:
        raise InvalidOrder(f"on: {kind.name} is on no method")
    if not isinstance(text, str):
        raise InvalidOrder(f"on: expected the name of a method, as basic.publish, not {text!r}")
    text = text.strip().lower().replace("_", "-")
    pattern = Pattern(text)
    methods = kind.methods & CLIENT_METHODS if text == "*" else frozenset(filter(pattern.fits, kind.methods))
    if not methods:
        few = _listed(sorted(kind.methods)) if len(kind.methods) < FEW else f"for example {_listed(sorted(kind.methods)[:6])}"
        raise InvalidOrder(f"on: '{text}' is no method that {kind.name} can be on{_nearest(text, kind.methods)} It can be on {few}")
    return text, methods


def _when(kind: type[Action], given: dict[str, Any]) -> str:
    whens = tuple(BEFORE if when == HOLD else when for when in kind.whens)
    when: object = given.get("when", whens[0])
    if when in whens:
        return str(when)
    if when in (BEFORE, AFTER):
        raise InvalidOrder(f"when: {kind.name} can't be {when} a method")
    raise InvalidOrder(f"when: expected '{BEFORE}' or '{AFTER}', not {when!r}")


def _filters(kind: type[Action], given: dict[str, Any], methods: frozenset[str]) -> dict[str, Pattern]:
    filters: dict[str, Pattern] = {}
    for name in FILTERS:
        if name not in given:
            continue
        text = given[name]
        if not isinstance(text, str):
            raise InvalidOrder(f"{name}: expected a name, or a pattern with *, not {text!r}")
        if kind.is_of_the_broker and name != "vhost":
            raise InvalidOrder(f"{name}: {kind.name} is about the whole broker")
        if not methods and name in SUBJECT_FILTERS and not kind.is_of_the_broker:
            raise InvalidOrder(f"{name}: {kind.name} begins with the connection, so it can't depend on a {name} unless it is `on` a method")
        filters[name] = Pattern(text)
    return filters


def _option(name: str, option: Option, given: dict[str, Any]) -> Any:
    if name not in given:
        if option.is_required:
            raise InvalidOrder(f"{given['do']}: it needs '{name}': {option.what}")
        return option.default
    value = given[name]
    if option.kind in _CHECKS:
        is_right = _CHECKS[option.kind](value)
    else:
        is_right = value in option.kind.split("|")
    if not is_right:
        words = option.kind if option.kind in _CHECKS else " or ".join(f"'{word}'" for word in option.kind.split("|"))
        raise InvalidOrder(f"{name}: expected {_ARTICLES.get(option.kind, '')}{words} ({option.what}), not {value!r}")
    return value


_CHECKS: Final = {
    "text": lambda value: isinstance(value, str),
    "flag": lambda value: isinstance(value, bool),
    "whole number": lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12,
}
_ARTICLES: Final = {"whole number": "a ", "number": "a ", "flag": "a "}


def _whole(given: dict[str, Any], name: str) -> int | None:
    value = given.get(name)
    if value is None or _CHECKS["whole number"](value):
        return value
    raise InvalidOrder(f"{name}: expected a whole number, 0 or more, not {value!r}")


def _times(kind: type[Action], document: dict[str, Any]) -> int | None:
    if "times" not in document:
        return kind.times
    times = _whole({"times": document["times"]}, "times")
    if times == 0:
        raise InvalidOrder("times: expected 1 or more, or null for any number of times")
    return times


def _chance(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    raise InvalidOrder(f"chance: expected a number from 0 to 1, not {value!r}")


def _nearest(word: str, words: Iterable[str]) -> str:
    found = get_close_matches(word, words, 1)
    return f", did you mean '{found[0]}'?" if found else "."


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)
