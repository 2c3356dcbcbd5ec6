"""What was charged: a stand-in for a database with a unique key on the order's id."""


class Accounts:
    """Charges by order."""

    def __init__(self) -> None:
        self.charges: list[tuple[str, int]] = []

    def has(self, order_id: str) -> bool:
        """The order was charged."""
        return any(order_id == charged for charged, _ in self.charges)

    def charge(self, order_id: str, amount: int) -> None:
        """Charge it. Raises ValueError for an amount that nobody can be charged."""
        if amount <= 0:
            raise ValueError(f"order {order_id} is about {amount}")
        self.charges.append((order_id, amount))
