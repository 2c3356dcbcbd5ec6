"""`python -m tests.security.impatient serve ...`: the broker where little may be open, and nobody is waited for.

FILES_MAX may be open, which makes HTTP_MAX connections to ports of one kind. What takes half a minute elsewhere is one second.
"""

import resource
import sys

from broker.admin import call, connection
from broker.cli.main import main
from tests.admin.served import Served

FILES_MAX = 200
HTTP_MAX = 25


class Impatient(Served):
    """That process."""

    module = "tests.security.impatient"


class WithoutHttp(Served):
    """A broker whose HTTP server can't be imported."""

    module = "tests.security.impatient"

    def __init__(self) -> None:
        super().__init__("--config", "/dev/null")


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES_MAX, FILES_MAX))
    call.BODY_SECONDS = connection.SEND_SECONDS = 1.0  # type: ignore[misc]
    if "/dev/null" in sys.argv:
        sys.modules["broker.admin.server"] = None  # type: ignore[assignment]
    sys.exit(main(sys.argv[1:]))
