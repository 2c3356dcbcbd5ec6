"""`python -m tests.campaign.small_segments serve ...`: the broker with segments of some hundred kilobytes and hardly any memory for
messages, so that it rolls, truncates, compacts and pages all the time."""

import sys

from broker.cli.main import main
from broker.core import ledger, memory, queue
from tests.oracle.leveret import Leveret

SEGMENT_BYTES = 150_000
PAGING_BYTES = 20_000


class SmallSegments(Leveret):
    """That broker as a process."""

    module = "tests.campaign.small_segments"


if __name__ == "__main__":
    ledger.SEGMENT_BYTES = ledger.SLACK_BYTES = SEGMENT_BYTES
    memory.PAGING_BYTES = PAGING_BYTES
    memory.READ_AHEAD_BYTES = 16_000
    queue.DEEP_BYTES = 1000
    sys.exit(main(sys.argv[1:]))
