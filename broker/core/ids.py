"""Names that the broker makes up, from an injected source of random bytes (RabbitMQ's rabbit_guid:string)."""

from base64 import urlsafe_b64encode
from collections.abc import Callable

RandomBytes = Callable[[int], bytes]


def generate(prefix: str, random_bytes: RandomBytes) -> str:
    """`prefix` and 22 url-safe characters: `amq.gen-JzTY20BRgKO-HjmUJj0wLg`."""
    return prefix + urlsafe_b64encode(random_bytes(16)).rstrip(b"=").decode()
