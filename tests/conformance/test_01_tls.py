"""Who a client is by its certificate, and what a TLS port answers to what isn't TLS: asked of RabbitMQ with the same certificates."""

import ipaddress
import re
import socket
import ssl
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from cryptography import x509

from broker.config import Config, TlsOptions
from tests.oracle.rabbitmq import RabbitMQ, free_port
from tests.runtime.certificates import SANS, SUBJECTS, Authority
from tests.runtime.configured import LOOPBACK, PLAIN, TLS, Address, Configured, Dialled
from tests.runtime.process import soon
from tests.spec import differs, expect_on, spec

PLAIN_SUBJECT = SUBJECTS["plain"][0]
RABBITMQS_NAME = re.compile(r"auth mechanism TLS extracted username '(.*)' from peer certificate")


class Secure(NamedTuple):
    """A broker that verifies certificates and takes user names from them in one of the ways."""

    broker: RabbitMQ | Configured
    address: Address
    authority: Authority

    def name_of(self, name: str, subject: x509.Name, sans: tuple[x509.GeneralName, ...] = ()) -> str | None:
        """The name that a client logs in as; None if it has none."""
        context = ssl.create_default_context(cafile=self.authority.file)
        context.load_cert_chain(self.authority.client_called(name, subject, sans))
        with Dialled.dial(self.address, context) as wire:
            if isinstance(self.broker, Configured):
                wire.greet()
                return self.broker.peer(wire).certificate_name
            start = len(self.broker.log)
            wire.greet()
            wire.start_ok(mechanism="EXTERNAL", response=b"")
            # Debug lines are written by another process than the one that answers.
            line = soon(lambda: re.search(r"EXTERNAL login refused: .*", self.broker.log[start:]))
            if "no name found" in line[0]:
                return None
            found = soon(lambda: RABBITMQS_NAME.search(self.broker.log[start:]))
            # 3.10 writes the bytes of UTF-8 as if each were a character.
            return str(found[1]).encode("latin-1").decode("utf-8", "surrogateescape")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


def started(
    request: pytest.FixtureRequest, authority: Authority, login_from: str, san_type: str = "dns", san_index: int = 0
) -> Iterator[Secure]:
    server = authority.server("server")
    if request.config.getoption("--broker") == "rabbitmq":
        address = Address(LOOPBACK, free_port())
        settings = {
            "listeners.ssl.1": f"{address.host}:{address.port}",
            "ssl_options.cacertfile": authority.file,
            "ssl_options.certfile": server,
            "ssl_options.keyfile": server,
            "ssl_options.verify": "verify_peer",
            "ssl_options.fail_if_no_peer_cert": "false",
            "ssl_cert_login_from": login_from,
            "ssl_cert_login_san_type": san_type,
            "ssl_cert_login_san_index": san_index,
            "auth_mechanisms.1": "EXTERNAL",
            "log.file.level": "debug",
        }
        lines = tuple(f"{key} = {value}" for key, value in settings.items())
        with RabbitMQ(settings=lines, plugins=("rabbitmq_auth_mechanism_ssl",)) as node:
            yield Secure(node, address, authority)
        return
    config = Config(
        listeners=(PLAIN, TLS),
        ssl_options=TlsOptions(certfile=server, cacertfile=authority.file, verify_peer=True),
        ssl_cert_login_from=login_from,
        ssl_cert_login_san_type=san_type,
        ssl_cert_login_san_index=san_index,
    )
    with Configured(authority.folder / "config", config) as broker:
        yield Secure(broker, broker.tls, authority)


@pytest.fixture(scope="module")
def by_distinguished_name(request: pytest.FixtureRequest, authority: Authority) -> Iterator[Secure]:
    yield from started(request, authority, "distinguished_name")


@pytest.fixture(scope="module")
def by_common_name(request: pytest.FixtureRequest, authority: Authority) -> Iterator[Secure]:
    yield from started(request, authority, "common_name")


@pytest.fixture(scope="module")
def by_second_host_name(request: pytest.FixtureRequest, authority: Authority) -> Iterator[Secure]:
    yield from started(request, authority, "subject_alternative_name", "dns", 1)


@pytest.fixture(scope="module")
def by_address(request: pytest.FixtureRequest, authority: Authority) -> Iterator[Secure]:
    yield from started(request, authority, "subject_alternative_name", "ip", 1)


@spec("1.3", "EXTERNAL: the distinguished name, last part first, escaped as in RFC 4514")
@pytest.mark.parametrize("subject", SUBJECTS)
def test_distinguished_names(by_distinguished_name: Secure, subject: str) -> None:
    assert by_distinguished_name.name_of("dn", SUBJECTS[subject][0]) == SUBJECTS[subject][1]


@spec("1.3", "EXTERNAL: the common name, several joined by commas")
@pytest.mark.parametrize("subject", SUBJECTS)
def test_common_names(by_common_name: Secure, subject: str) -> None:
    assert by_common_name.name_of("cn", SUBJECTS[subject][0]) == SUBJECTS[subject][2]


@spec("1.3", "EXTERNAL: an alternative name of a type, by its index")
def test_alternative_names(by_second_host_name: Secure) -> None:
    assert by_second_host_name.name_of("both", PLAIN_SUBJECT, SANS) == "b.example"
    assert by_second_host_name.name_of("one", PLAIN_SUBJECT, SANS[:2]) is None
    assert by_second_host_name.name_of("none", PLAIN_SUBJECT) is None


@spec("1.3", "EXTERNAL: an IP address as a name")
@differs(rabbitmq="3.10.8", why="the name is the address's bytes there, in 3.13.7 too, which no user can have")
def test_addresses_as_names(by_address: Secure) -> None:
    octets = ipaddress.ip_address("fe80::1").packed.decode("utf-8", "surrogateescape")
    assert by_address.name_of("ip", PLAIN_SUBJECT, SANS) == expect_on(by_address.broker, leveret="fe80::1", rabbitmq=octets)


@spec("1.1", "A TLS port answers to what isn't TLS with an alert, and closes")
@pytest.mark.parametrize("said", [b"AMQP\x00\x00\x09\x01", b"GET / HTTP/1.1\r\n\r\n"])
def test_what_is_no_tls(by_distinguished_name: Secure, said: bytes) -> None:
    with socket.create_connection(by_distinguished_name.address, timeout=10) as bare:
        bare.sendall(said)
        assert bare.recv(100) == b"\x15\x03\x01\x00\x02\x02\x0a"
        try:
            assert bare.recv(100) == b""
        except ConnectionResetError:
            assert isinstance(by_distinguished_name.broker, RabbitMQ)
