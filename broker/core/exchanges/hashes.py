"""The hash of exchange types that choose by a value: the same in every process and on every machine, unlike Python's hash()."""

from hashlib import blake2b


def stable_hash(value: bytes) -> int:
    """64 well-mixed bits."""
    return int.from_bytes(blake2b(value, digest_size=8).digest())
