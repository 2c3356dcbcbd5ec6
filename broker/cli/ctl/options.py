"""The command line of rabbitmqctl: options may stand anywhere, `--` ends them, `--no-x` turns a switch off.

    --name VALUE  --name=VALUE  --switch  --no-switch  -n VALUE  -nVALUE  -qs

argparse can't say which options were wrong in RabbitMQ's words, and takes no options between arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Kinds = dict[str, type]
"""Option names (with underscores) and what they take: str, int, or bool for a switch."""

GLOBAL: Final[Kinds] = {
    "node": str, "vhost": str, "timeout": int, "formatter": str, "printer": str, "file": str, "script_name": str, "rabbitmq_home": str,
    "data_dir": str, "mnesia_dir": str, "plugins_dir": str, "enabled_plugins_file": str, "aliases_file": str, "erlang_cookie": str,
    "url": str,
    "quiet": bool, "silent": bool, "dry_run": bool, "longnames": bool, "help": bool, "print_stacktrace": bool, "table_headers": bool,
    "pad_to_header": bool,
}  # fmt: skip
"""What every command takes; some of it means nothing here, and scripts give it all the same."""
SHORT: Final = {"p": "vhost", "n": "node", "q": "quiet", "s": "silent", "l": "longnames", "t": "timeout", "?": "help"}


class Parsed(NamedTuple):
    """A command line: what stands alone, options by name, and options that are unknown or have a wrong value, as typed."""

    arguments: list[str]
    options: dict[str, Any]
    invalid: list[tuple[str, str]]


def parse(words: Sequence[str], kinds: Mapping[str, type], short: Mapping[str, str]) -> Parsed:
    """Tell options from arguments."""
    parsed = Parsed([], {}, [])
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            parsed.arguments.extend(rest)
            break
        if word.startswith("--"):
            name, has_value, value = word.partition("=")
            _long(parsed, name, value if has_value else None, rest, kinds)
        elif len(word) > 1 and word.startswith("-") and not _is_negative(word):
            _short(parsed, word, rest, kinds, short)
        else:
            parsed.arguments.append(word)
    return parsed


def _long(parsed: Parsed, typed: str, value: str | None, rest: list[str], kinds: Mapping[str, type]) -> None:
    name = typed[2:].replace("-", "_")
    if name not in kinds and name.startswith("no_") and kinds.get(name[3:]) is bool and value is None:
        parsed.options[name[3:]] = False
    elif name not in kinds:
        parsed.invalid.append((typed, value or ""))
    else:
        _take(parsed, typed, name, value, rest, kinds[name])


def _short(parsed: Parsed, typed: str, rest: list[str], kinds: Mapping[str, type], short: Mapping[str, str]) -> None:
    letters = typed[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        name = short.get(letter)
        if name is None:
            parsed.invalid.append((f"-{letter}", ""))
        elif kinds[name] is bool:
            parsed.options[name] = True
        else:
            _take(parsed, f"-{letter}", name, letters.removeprefix("=") or None, rest, kinds[name])
            return


def _take(parsed: Parsed, typed: str, name: str, value: str | None, rest: list[str], kind: type) -> None:
    if kind is bool:
        if value not in (None, "true", "false"):
            parsed.invalid.append((typed, value or ""))
        else:
            parsed.options[name] = value != "false"
        return
    if value is None and rest and (rest[0] == "-" or not rest[0].startswith("-") or _is_negative(rest[0])):
        value = rest.pop(0)
    if value is None or (kind is int and not _is_integer(value)):
        parsed.invalid.append((typed, value or ""))
    else:
        parsed.options[name] = kind(value)


def _is_integer(text: str) -> bool:
    return text.removeprefix("-").isdecimal() and text.isascii()


def _is_negative(word: str) -> bool:
    return word[1:2].isdecimal()
