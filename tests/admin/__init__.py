"""The HTTP API, held against RabbitMQ's.

`scenarios/` are conversations: requests, and AMQP clients beside them. `recorded/` is what RabbitMQ 3.10.8 answered, with what differs
from run to run as its type; `differences` says where Leveret must or may answer otherwise, and why. `test_recorded` walks the scenarios:
through Leveret in `make test`, through RabbitMQ as well in `make oracle`, so that the recording stays true.

    python -m tests.admin record               # ask RabbitMQ again, all or some scenarios
    python -m tests.admin compare [--broker B] # the differences, as a report
"""
