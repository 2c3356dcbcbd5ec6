"""conf/leveret.conf: every setting with its documentation, unit and default."""

from __future__ import annotations

from typing import Final

from broker.settings.table import SETTINGS

HEAD: Final = """\
# Leveret's configuration, with every setting at its default: `leveret serve --config leveret.conf`.
# The format and the keys are rabbitmq.conf's. The environment wins over the file (LEVERET_ and the key in capitals, dots as
# underscores; also RabbitMQ's variables), and the command line over both: docs/configuration.md.
# Written by `python -m broker.settings`: change broker/settings/, not this file.
"""


def conf_text() -> str:
    """Return the file, every setting commented out; where nothing is the default, an example."""
    paragraphs = [HEAD]
    for row in SETTINGS:
        lines = [*row.doc.split("\n"), f"Unit: {row.unit}. Default: {'none given' if row.default is None else row.default}."]
        lines.append(row.example or f"{row.name} = {row.default}")
        paragraphs.append("".join(f"# {line}\n" for line in lines))
    return "\n".join(paragraphs)
