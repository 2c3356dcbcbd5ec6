"""What the broker's messages take: accounted, not measured."""


class Memory:
    """`used`, in bytes, is what all queues hold: bodies, and what keeping a message costs. Whoever puts in or takes out changes it."""

    __slots__ = ("used",)

    def __init__(self) -> None:
        self.used = 0
