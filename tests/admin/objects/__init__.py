"""Queues, exchanges, bindings and messages over HTTP, on one broker."""
