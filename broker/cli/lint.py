"""`leveret lint`: what works here and would break on RabbitMQ 4, and what loses messages (docs/lint.md lists it).

A running broker for tests has watched its clients; a file of definitions is read as it stands.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, Final

from broker.cli.main import EXIT_UNAVAILABLE, EXIT_USAGE
from broker.testing.findings.finding import chosen, code_of
from broker.testing.findings.rules import RULES, SEVERITIES
from broker.testing.findings.versions import LATEST, UnknownVersion, parse

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from broker.cli.ctl.api import Api

EXIT_FINDINGS: Final = 1
EXIT_DATA: Final = 65
"""sysexits.h: EX_DATAERR. The file is no definitions."""
TIMEOUT_SECONDS: Final = 30.0
TOKEN: Final = "LEVERET_TESTING_TOKEN"
TESTING: Final = ("leveret", "testing")


class _Failed(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `leveret lint` takes."""
    parser.description = (
        "Tell what works here and would break on RabbitMQ 4, and what loses messages: what a running broker for tests (leveret serve "
        "--testing) has seen its clients do, or what a file of definitions declares."
    )
    parser.epilog = (
        "Exit status: 0 nothing was found, 1 something was, 64 the command line is wrong, 65 the file is no definitions, 69 no broker for "
        "tests answers, or the file can't be read."
    )
    parser.add_argument(
        "file", metavar="FILE", nargs="?", help="RabbitMQ's or Leveret's definitions, - for stdin (default: ask the broker)"
    )
    parser.add_argument("--for", metavar="VERSION", dest="version", default=LATEST, help=f"the RabbitMQ that is meant (default: {LATEST})")
    parser.add_argument(
        "--severity", metavar="S,...", default=",".join(SEVERITIES), help=f"only these of {', '.join(SEVERITIES)} (default: all)"
    )
    parser.add_argument(
        "--ignore", metavar="CODE,...", default="", help="not these codes; CODE:NAME or a pattern for one queue, exchange or policy"
    )
    parser.add_argument("--vhost", metavar="V", help="of this vhost alone (default: all)")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("-n", "--node", metavar="NODE", help="the broker of that node name, if several run on this machine")
    parser.add_argument("--url", metavar="URL", help="the HTTP API of a broker elsewhere, http://host:15672; with --token")
    parser.add_argument("--token", metavar="T", help=f"the testing.token of that broker (default: ${TOKEN})")


def run(arguments: argparse.Namespace) -> int:
    """Look, and tell; returns the exit status."""
    try:
        version = parse(arguments.version)
    except UnknownVersion as error:
        sys.stderr.write(f"leveret lint: --for {error}\n")
        return EXIT_USAGE
    severities, ignored = _words(arguments.severity), _words(arguments.ignore)
    for option, words, known in (("severity", severities, SEVERITIES), ("ignore", ignored, tuple(RULES))):
        if wrong := [word for word in words if code_of(word) not in known]:
            sys.stderr.write(f"leveret lint: --{option}: '{wrong[0]}' is none of {', '.join(known)}\n")
            return EXIT_USAGE
    try:
        if arguments.file is not None:
            found = _of_file(arguments.file, version, severities, ignored, arguments.vhost)
        else:
            found = _of_broker(arguments, version, severities, ignored)
    except _Failed as failed:
        sys.stderr.write(f"leveret lint: {failed}\n")
        return failed.status
    sys.stdout.write(json.dumps(found, indent=2) + "\n" if arguments.json else _text(found, version))
    return EXIT_FINDINGS if found else 0


def _words(text: str) -> list[str]:
    return [word for word in text.replace(" ", "").split(",") if word]


# --- a file -------------------------------------------------------------------------------------------------------------


def _of_file(file: str, version: str, severities: Sequence[str], ignored: Sequence[str], vhost: str | None) -> list[dict[str, Any]]:
    from broker.testing.findings.definitions import NoDefinitions, findings_of

    try:
        if file == "-":
            text = sys.stdin.buffer.read()
        else:
            with open(file, "rb") as opened:
                text = opened.read()
        found = findings_of(json.loads(text), version)
    except OSError as error:
        raise _Failed(EXIT_UNAVAILABLE, f"{file}: {error.strerror or error}") from error
    except NoDefinitions as error:
        raise _Failed(EXIT_DATA, f"{file}: {error}") from error
    except ValueError as error:
        raise _Failed(EXIT_DATA, f"{file} is no JSON: {error}") from error
    picked = chosen(found, severities, ignored)
    return [each.facts(version) for each in picked if vhost is None or each.where.get("vhost", vhost) == vhost]


# --- a broker -----------------------------------------------------------------------------------------------------------


def _of_broker(arguments: argparse.Namespace, version: str, severities: Sequence[str], ignored: Sequence[str]) -> list[dict[str, Any]]:
    from broker.cli.ctl.api import TimedOut, Unreachable
    from broker.cli.ctl.errors import Refused

    path = (*TESTING, "findings") if arguments.vhost is None else (*TESTING, "vhosts", arguments.vhost, "findings")
    query = {"for": version, "severity": ",".join(severities), "ignore": ",".join(ignored)}
    api = _api(arguments)
    try:
        found: list[dict[str, Any]] = api.get(*path, **query)
    except TimedOut as error:
        raise _Failed(EXIT_UNAVAILABLE, f"{api.place} doesn't answer") from error
    except Unreachable as error:
        raise _Failed(EXIT_UNAVAILABLE, f"{api.place} can't be reached: {error}") from error
    except Refused as error:
        raise _Failed(EXIT_UNAVAILABLE, _refusal(api, error, arguments.vhost)) from error
    finally:
        api.close()
    return found


def _api(arguments: argparse.Namespace) -> Api:
    from broker.cli.ctl.api import Api, SocketTransport, TcpTransport

    if arguments.url is None:
        from broker.control import NoBroker, find

        try:
            return Api(SocketTransport(find(arguments.node)), TIMEOUT_SECONDS)
        except NoBroker as error:
            raise _Failed(EXIT_UNAVAILABLE, str(error)) from error
    token = arguments.token or os.environ.get(TOKEN)
    if not token:
        raise _Failed(EXIT_USAGE, f"--url needs --token, or ${TOKEN}: the broker's log has it, or its configuration (testing.token)")
    try:
        transport = TcpTransport.of_url(arguments.url)
    except ValueError as error:
        raise _Failed(EXIT_USAGE, str(error)) from error
    transport.headers = {"Authorization": f"Bearer {token}"}
    return Api(transport, TIMEOUT_SECONDS)


def _refusal(api: Api, refused: Any, vhost: str | None) -> str:
    if refused.status == 401:
        return f"{api.place} doesn't take this token"
    if refused.status == 404:
        missing = "" if vhost is None else f"there is no vhost '{vhost}', or "
        return f"{missing}{api.place} isn't for tests: start one with `leveret serve --testing`, run your clients, and ask again"
    return f"{api.place} refuses: {refused.reason}"


# --- text ---------------------------------------------------------------------------------------------------------------


def _text(found: Sequence[dict[str, Any]], version: str) -> str:
    if not found:
        return f"Nothing was found that RabbitMQ {version} wouldn't do as well, and nothing that loses messages.\n"
    lines = []
    several = len({each["where"].get("vhost") for each in found}) > 1
    for each in found:
        vhost = f"vhost '{each['where'].get('vhost')}': " if several else ""
        lines.append(f"{vhost}{each['text']}")
    counts = [f"{number} {severity}" for severity in SEVERITIES if (number := sum(each["severity"] == severity for each in found))]
    return "\n".join([*lines, "", f"For RabbitMQ {version}: {', '.join(counts)}."]) + "\n"
