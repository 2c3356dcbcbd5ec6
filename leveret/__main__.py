"""The launcher: `leveret` and `python -m leveret`.

The server's packages are called `broker`, `protocol` and `storage`, names that a user's project may well have too. So they are
never installed at top level: a wheel has them in `leveret/_server/`, a checkout in the repository's root, and only the process
that runs the launcher puts that folder on its path, in front of everything else.
"""

import os
import sys


def server_folder() -> str:
    """Return the folder that holds `broker`, `protocol` and `storage`: `_server` beside this file, else the repository's root."""
    package = os.path.dirname(os.path.abspath(__file__))
    packaged = os.path.join(package, "_server")
    return packaged if os.path.isdir(packaged) else os.path.dirname(package)


def main() -> int:
    """Run the command line in this process and return its exit status."""
    sys.path.insert(0, server_folder())
    if "leveret" not in sys.modules:
        # A shim runs this file without site-packages; the server reads the version from the package around it.
        sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from broker.cli.main import main as run

    return run(sys.argv[1:])


if __name__ == "__main__":
    if not sys.flags.safe_path and not sys.flags.isolated:
        # `python -m` puts the working directory first: a uvloop.py that lies there is the user's, and not for the server.
        del sys.path[0]
    sys.exit(main())
