"""The semantics of the broker: pure, synchronous, deterministic. No asyncio, sockets, files, clock or randomness of its own."""
