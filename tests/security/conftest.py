"""Brokers of a test's own (tests/runtime/conftest.py)."""

from tests.runtime.conftest import start

__all__ = ["start"]
