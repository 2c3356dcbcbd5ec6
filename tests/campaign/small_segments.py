"""`python -m tests.campaign.small_segments serve ...`: the broker with segments of some hundred kilobytes, so that it rolls and
truncates all the time."""

import sys

from broker.cli.main import main
from broker.core import ledger
from tests.oracle.leveret import Leveret

SEGMENT_BYTES = 150_000


class SmallSegments(Leveret):
    """That broker as a process."""

    module = "tests.campaign.small_segments"


if __name__ == "__main__":
    ledger.SEGMENT_BYTES = SEGMENT_BYTES
    sys.exit(main(sys.argv[1:]))
