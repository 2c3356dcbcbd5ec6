"""`python -m tests.runtime.configured serve --port N --memory FILE`: a broker with the Config that is pickled in FILE.

For listeners of several kinds, and to choose the event loop (`--asyncio`: its own, and not uvloop). `--port` is the first listener's.
"""

import argparse
import pickle
import sys
from dataclasses import replace
from pathlib import Path

from broker import app, logs
from broker.config import Config


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("command")
    parser.add_argument("--port", type=int)
    parser.add_argument("--memory", action="store_true", required=True)
    parser.add_argument("--asyncio", action="store_true")
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    config: Config = pickle.loads(arguments.file.read_bytes())  # its writer is the test
    if arguments.asyncio:
        sys.modules["uvloop"] = None  # type: ignore[assignment]
    first, *others = config.listeners
    listeners = (first._replace(port=arguments.port), *others)
    logs.set_up(config.log_level)
    return app.serve(replace(config, listeners=listeners))


if __name__ == "__main__":
    sys.exit(main())
