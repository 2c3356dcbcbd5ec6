"""The fixtures of conformance tests."""

from tests.fixtures import channel, connect, other, raw, unique, wire

__all__ = ["channel", "connect", "other", "raw", "unique", "wire"]
