"""`python -m tests.security.few_files serve ...`: the broker where few files may be open."""

import resource
import sys

from broker.cli.main import main
from tests.oracle.leveret import Leveret

FILES_MAX = 128


class FewFiles(Leveret):
    """The broker as a process of its own that may have FILES_MAX descriptors."""

    module = "tests.security.few_files"


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES_MAX, FILES_MAX))
    sys.exit(main(sys.argv[1:]))
