"""`leveret serve`: reads the configuration, sets up the log and runs the broker in the foreground."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from broker.cli.main import EXIT_CONFIG
from broker.config import LOG_LEVELS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `leveret serve` takes."""
    parser.epilog = "Settings from the command line win over the environment, and that over files: conf/leveret.conf lists them all."
    parser.add_argument("--host", metavar="H", type=_host, help="address to listen on, :: for every one (default: 127.0.0.1 and ::1)")
    parser.add_argument("--port", metavar="N", type=_port, help="AMQP port, 0 for a free one (default: 5672)")
    parser.add_argument(
        "--http-port",
        metavar="N",
        type=_http_port,
        help="HTTP API's port, 0 for a free one, none for no API (default: 15672, if free)",
    )
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--data-dir", metavar="DIR", type=Path, help="where messages are kept (default: the platform's user data directory)")
    place.add_argument("--memory", action="store_true", help="keep everything in memory: a stop forgets it (default: off)")
    parser.add_argument("--config", metavar="FILE", type=Path, help="settings in rabbitmq.conf's format (default: the system's file)")
    parser.add_argument(
        "--log-level", metavar="L", choices=LOG_LEVELS, help=f"least severe lines to log: {', '.join(LOG_LEVELS)} (default: info)"
    )
    parser.add_argument("--log-file", metavar="FILE", type=Path, help="where lines go in place of the console (default: the console)")
    parser.add_argument(
        "--testing", action="store_true", help="a broker for tests: its time can be moved, faults can be ordered (default: off)"
    )
    parser.add_argument("--seed", metavar="N", type=_seed, help="with --testing: what is left to chance depends on it (default: any)")
    parser.add_argument(
        "--supervised",
        action="store_true",
        help="for programs: tell on stdout, as one line of JSON, where it listens; end when stdin is closed (default: off)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to stop; returns the exit status, 78 if the configuration is wrong."""
    from broker import config as configuration

    try:
        config = configuration.load(
            environ=os.environ,
            config_file=arguments.config,
            host=arguments.host,
            port=arguments.port,
            http_port=arguments.http_port,
            data_dir=arguments.data_dir,
            memory=arguments.memory,
            log_level=arguments.log_level,
            log_file=None if arguments.log_file is None else arguments.log_file.absolute(),
            testing=arguments.testing,
            seed=arguments.seed,
        )
    except configuration.ConfigError as error:
        sys.stderr.write(f"leveret: the configuration is wrong:\n{error}\n")
        return EXIT_CONFIG

    import logging

    from broker import app, logs

    try:
        logs.set_up(config.log)
    except logs.CannotLog as error:
        sys.stderr.write(f"leveret: cannot log: {error}\n")
        return EXIT_CONFIG
    log = logging.getLogger("config")
    if config.config_files:
        log.info("configuration read from %s", ", ".join(map(str, config.config_files)))
    for warning in config.warnings:
        log.warning("%s", warning)
    return app.serve(config, supervised=arguments.supervised)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"'{text}' is no port: expected 0 to 65535")
    return int(text)


def _seed(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"'{text}' is no seed: expected 0 to {2**63 - 1}")
    return int(text)


def _http_port(text: str) -> str:
    try:
        return text if text == "none" else str(_port(text))
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, or none") from None


def _host(text: str) -> str:
    if not text or any(character.isspace() for character in text):
        raise argparse.ArgumentTypeError(f"'{text}' is no address")
    return text.removeprefix("[").removesuffix("]")
