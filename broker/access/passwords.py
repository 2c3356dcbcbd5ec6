"""Password hashes in RabbitMQ's format, so that its definitions move over (https://www.rabbitmq.com/docs/passwords).

    base64( salt, 4 octets | hash(salt + password) )

The salt is short and the hash quick, which is RabbitMQ's choice: a login costs microseconds, a stolen hash little more.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Any, Final

SALT_BYTES: Final = 4
SHA256: Final = "rabbit_password_hashing_sha256"
SHA512: Final = "rabbit_password_hashing_sha512"
MD5: Final = "rabbit_password_hashing_md5"
"""What RabbitMQ used before 3.6; only for hashes that are brought along."""

ALGORITHMS: Final[dict[str, Callable[[bytes], Any]]] = {
    SHA256: hashlib.sha256,
    SHA512: hashlib.sha512,
    MD5: lambda data: hashlib.md5(data, usedforsecurity=False),
}


def hash_password(password: bytes, algorithm: str = SHA256, salt: bytes | None = None) -> bytes:
    """Salt and hash of a password, with a new salt unless one is given. Raises ValueError for an unknown algorithm."""
    if salt is None:
        salt = secrets.token_bytes(SALT_BYTES)
    elif len(salt) != SALT_BYTES:
        raise ValueError(f"a salt has {SALT_BYTES} octets, not {len(salt)}")
    digest: bytes = _hash(algorithm)(salt + password).digest()
    return salt + digest


def is_password(password: bytes, stored: bytes, algorithm: str = SHA256) -> bool:
    """Whether `stored` is a hash of the password; the time it takes tells nothing. An empty `stored` is nobody's hash."""
    if len(stored) <= SALT_BYTES:
        stored = bytes(SALT_BYTES)
    return hmac.compare_digest(hash_password(password, algorithm, stored[:SALT_BYTES]), stored)


def encode(stored: bytes) -> str:
    """A hash as definitions and the HTTP API carry it."""
    return base64.b64encode(stored).decode("ascii")


def decode(text: str) -> bytes:
    """The hash that `encode` wrote. Raises ValueError for what isn't base64."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("password_hash is not base64") from None


def _hash(algorithm: str) -> Callable[[bytes], Any]:
    found = ALGORITHMS.get(algorithm)
    if found is None:
        raise ValueError(f"unknown hashing algorithm '{algorithm}'")
    return found
