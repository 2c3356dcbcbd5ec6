"""Password hashes, against hashes that RabbitMQ made."""

import base64
import json

import pytest

from broker.access import passwords

# rabbit_password:hash/2 on RabbitMQ 3.10.8, each for the password "secret"
OF_RABBITMQ = {
    passwords.SHA512: "tb2vB80QPT0ZIrvQ6xPI7no/zVk0YPIJbnMCv1FBZ0jZmzNNVXdDCerN4yQy7skl406TKDuUjbvuHRQcf8KNdw/t+Kc=",
    passwords.MD5: "+ggg5SYwGUgA+CVtnHMSJ/iTmiY=",
}


@pytest.mark.parametrize("algorithm", OF_RABBITMQ)
def test_hashes_that_rabbitmq_made(algorithm: str) -> None:
    stored = passwords.decode(OF_RABBITMQ[algorithm])
    assert passwords.is_password(b"secret", stored, algorithm)
    assert not passwords.is_password(b"Secret", stored, algorithm)
    assert passwords.encode(passwords.hash_password(b"secret", algorithm, stored[:4])) == OF_RABBITMQ[algorithm]


def test_the_example_of_the_documentation() -> None:
    """https://www.rabbitmq.com/docs/passwords#computing-password-hash: salt 908D C60A, password test12."""
    stored = passwords.hash_password(b"test12", salt=bytes.fromhex("908DC60A"))
    assert passwords.encode(stored) == "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"


@pytest.mark.parametrize("algorithm", passwords.ALGORITHMS)
def test_every_hash_has_a_salt_of_its_own(algorithm: str) -> None:
    one, other = passwords.hash_password(b"p", algorithm), passwords.hash_password(b"p", algorithm)
    assert one != other and one[:4] != other[:4]
    assert passwords.is_password(b"p", one, algorithm) and passwords.is_password(b"p", other, algorithm)
    assert not passwords.is_password(b"", one, algorithm) and not passwords.is_password(b"p\0", one, algorithm)


@pytest.mark.parametrize("stored", [b"", b"salt", b"sal", b"salt" + b"x" * 31])
def test_what_is_no_hash_fits_no_password(stored: bytes) -> None:
    assert not passwords.is_password(b"", stored) and not passwords.is_password(b"p", stored)


def test_what_is_not_understood() -> None:
    for call in (
        lambda: passwords.hash_password(b"p", "rot13"),
        lambda: passwords.hash_password(b"p", salt=b"sal"),
        lambda: passwords.decode("not base64!"),
        lambda: passwords.decode("é"),
    ):
        with pytest.raises(ValueError):
            call()


def test_base64_survives_json() -> None:
    stored = passwords.hash_password(b"p", salt=b"\xff\xfe\x00\x01")
    assert passwords.decode(json.loads(json.dumps(passwords.encode(stored)))) == stored
    assert base64.b64decode(passwords.encode(stored)) == stored
