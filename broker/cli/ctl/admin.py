"""rabbitmqadmin, in both of its tongues.

    classic   rabbitmqadmin -H HOST declare queue name=q durable=true      the Python script of RabbitMQ up to 4.2
    second    rabbitmqadmin --host HOST declare queue --name q             rabbitmqadmin v2 (rabbitmqadmin-ng), of 4.x images

Scripts and images have one or the other, so both are understood: words that only the second generation has (`--non-interactive`,
`health_check`, `--name`) decide for it, otherwise it is the classic one. Both talk to an HTTP API over TCP, with a user and a password.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

CLASSIC_VERBS: Final = ("list", "show", "declare", "delete", "close", "purge", "export", "import", "publish", "get", "help")
SECOND_OPTIONS: Final = (
    "--non-interactive", "--table-style", "--use-tls", "--tls-ca-cert-file", "--tls-cert-file", "--tls-key-file", "--timeout",
    "--insecure", "--verbose", "--idempotently", "--file", "--stdout", "--stdin", "--columns", "--page",
)  # fmt: skip
SECOND_LISTS: Final = ("user_connections", "user_limits", "feature_flags", "deprecated_features", "deprecated_features_in_use")
SECOND_SHOWS: Final = ("churn", "endpoint", "memory_breakdown_in_bytes", "memory_breakdown_in_percent")
_OPTION: Final = re.compile(r"--[a-z]")
_WITH_VALUES: Final = (
    "-c", "-N", "-H", "-P", "-V", "-u", "-p", "-U", "-t", "-f", "-S", "-d", "--config", "--node", "--host", "--hostname", "--port",
    "--vhost", "--username", "--password", "--base-uri", "--path-prefix", "--request-timeout", "--format", "--sort", "--depth",
    "--ssl-key-file", "--ssl-cert-file", "--ssl-ca-cert-file", "--timeout", "--table-style", "--tls-ca-cert-file", "--tls-cert-file",
    "--tls-key-file",
)  # fmt: skip


def main(words: Sequence[str]) -> int:
    """Run the command line; returns the exit status."""
    if is_second(words):
        from broker.cli.ctl import admin_second

        return admin_second.main(words)
    from broker.cli.ctl import admin_classic

    return admin_classic.main(words)


def is_second(words: Sequence[str]) -> bool:
    """Whether these are words of the second generation."""
    if any(word.partition("=")[0] in SECOND_OPTIONS for word in words):
        return True
    command = _command(words)
    if not command:
        return False
    verb, *rest = command
    if verb not in CLASSIC_VERBS:
        from broker.cli.ctl.admin_commands import COMMANDS

        return verb.replace("-", "_") in COMMANDS
    if verb == "list":
        return bool(rest) and rest[0] in SECOND_LISTS
    if verb == "show":
        return bool(rest) and rest[0] in SECOND_SHOWS
    if verb == "help":
        return False
    # Objects are described by name=value there, and by --name value here.
    return any(_OPTION.match(word) and word.partition("=")[0] not in _WITH_VALUES and not word.startswith("--ssl") for word in rest) or (
        verb in ("publish", "get") and bool(rest) and rest[0] in ("message", "messages")
    )


def _command(words: Sequence[str]) -> list[str]:
    """The words from the first on that is no option."""
    at = 0
    while at < len(words):
        word = words[at]
        if not word.startswith("-"):
            return list(words[at:])
        at += 2 if word in _WITH_VALUES else 1
    return []
