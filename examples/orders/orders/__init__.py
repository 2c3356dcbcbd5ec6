"""A shop that takes orders, and a worker that charges them."""
