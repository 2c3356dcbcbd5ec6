"""ssl_options.*: what a context made of them lets in, and what a person is told whose options can't be used; names in certificates."""

import re
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.config import Config, SniHost, TlsOptions
from broker.runtime import certificates
from broker.runtime.certificates import Malformed
from broker.runtime.tls import Contexts, Unusable
from tests.runtime.certificates import SANS, SUBJECTS, Authority, der, encrypted

VERSIONS = {
    "tlsv1": ssl.TLSVersion.TLSv1,
    "tlsv1.1": ssl.TLSVersion.TLSv1_1,
    "tlsv1.2": ssl.TLSVersion.TLSv1_2,
    "tlsv1.3": ssl.TLSVersion.TLSv1_3,
}
ECDSA_128, ECDSA_256 = "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"


class Shaken(NamedTuple):
    """A handshake in memory: client and server, and the objection to the client's certificate."""

    client: ssl.SSLObject
    server: ssl.SSLObject
    objection: str | None


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def options(authority: Authority) -> TlsOptions:
    return TlsOptions(certfile=authority.server("server"), cacertfile=authority.file)


def client(authority: Authority, certificate: Path | None = None, version: str | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.file)
    if certificate is not None:
        context.load_cert_chain(certificate)
    if version is not None:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = VERSIONS[version]
    return context


def shake(contexts: Contexts, context: ssl.SSLContext, session: Any = None) -> Shaken:
    """Raises ssl.SSLError, the server's first."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = contexts.current.wrap_bio(to_server, to_client, server_side=True)
    peer = context.wrap_bio(to_client, to_server, server_hostname="localhost", session=session)
    done: set[ssl.SSLObject] = set()
    for _ in range(8):
        for side in (peer, server):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                pass
    assert done == {peer, server}
    try:
        peer.read(1)  # the session's ticket
    except ssl.SSLWantReadError:
        pass
    return Shaken(peer, server, contexts.objection(server))


# --- versions and ciphers


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize(
    ("versions", "accepted"),
    [
        (("tlsv1.2", "tlsv1.3"), {"tlsv1.2", "tlsv1.3"}),
        (("tlsv1.3", "tlsv1.2"), {"tlsv1.2", "tlsv1.3"}),
        (("tlsv1.2",), {"tlsv1.2"}),
        (("tlsv1.3",), {"tlsv1.3"}),
        (("tlsv1.1", "tlsv1.2"), {"tlsv1.1", "tlsv1.2"}),
        (("tlsv1", "tlsv1.3"), {"tlsv1", "tlsv1.3"}),
        (tuple(VERSIONS), set(VERSIONS)),
    ],
)
def test_versions(authority: Authority, options: TlsOptions, versions: tuple[str, ...], accepted: set[str]) -> None:
    contexts = Contexts(replace(options, versions=versions))
    assert {version for version in VERSIONS if speaks(contexts, client(authority, version=version))} == accepted


def speaks(contexts: Contexts, context: ssl.SSLContext) -> bool:
    try:
        return shake(contexts, context).server.version() == context.minimum_version.name.replace("_", ".")
    except ssl.SSLError as error:
        if error.reason in ("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "NO_PROTOCOLS_AVAILABLE"):
            return False
        raise


def cipher_of(contexts: Contexts, context: ssl.SSLContext) -> str:
    chosen = shake(contexts, context).server.cipher()
    assert chosen is not None
    return chosen[0]


def test_ciphers_and_whose_order_counts(authority: Authority, options: TlsOptions) -> None:
    context = client(authority, version="tlsv1.2")
    context.set_ciphers(f"{ECDSA_128}:{ECDSA_256}")
    both = replace(options, ciphers=(ECDSA_256, ECDSA_128))
    assert cipher_of(Contexts(both), context) == ECDSA_256
    assert cipher_of(Contexts(replace(both, honor_cipher_order=False)), context) == ECDSA_128
    assert cipher_of(Contexts(replace(options, ciphers=(ECDSA_128,))), context) == ECDSA_128
    with pytest.raises(ssl.SSLError, match="NO_SHARED_CIPHER"):
        shake(Contexts(replace(options, ciphers=("ECDHE-ECDSA-CHACHA20-POLY1305",))), context)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_old_versions_have_the_ciphers_that_are_named(authority: Authority, options: TlsOptions) -> None:
    cipher = "ECDHE-ECDSA-AES128-SHA"
    old = Contexts(replace(options, versions=("tlsv1.1", "tlsv1.2"), ciphers=(cipher,)))
    assert cipher_of(old, client(authority, version="tlsv1.1")) == cipher


def test_suites_of_tls_1_3_are_always_on_and_alone_they_leave_nothing_to_older_versions(authority: Authority, options: TlsOptions) -> None:
    mixed = Contexts(replace(options, ciphers=(ECDSA_128, "TLS_AES_128_GCM_SHA256")))
    assert cipher_of(mixed, client(authority, version="tlsv1.2")) == ECDSA_128
    assert cipher_of(mixed, client(authority, version="tlsv1.3")) == "TLS_AES_256_GCM_SHA384"
    alone = Contexts(replace(options, ciphers=("TLS_AES_128_GCM_SHA256",)))
    assert cipher_of(alone, client(authority, version="tlsv1.3")).startswith("TLS_")
    with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
        shake(alone, client(authority, version="tlsv1.2"))


# --- verification


@pytest.mark.parametrize("version", ["tlsv1.2", "tlsv1.3"])
def test_how_many_certificates_may_stand_between(authority: Authority, options: TlsOptions, version: str) -> None:
    """A session that was refused isn't let in when it is resumed; one that was accepted is."""
    contexts = Contexts(replace(options, verify_peer=True, depth=1))
    for between, accepted in ((0, True), (1, True), (2, False), (3, False)):
        context = client(authority, authority.client_below(f"below-{between}", between), version)
        first = shake(contexts, context)
        assert (first.objection is None) == accepted, between
        again = shake(contexts, context, first.client.session)
        assert again.server.session_reused
        assert (again.objection is None) == accepted, between
    assert shake(contexts, client(authority, version=version)).objection is None
    assert shake(Contexts(replace(options, verify_peer=True)), context).objection is None, "no limit"


def test_no_certificate_is_asked_for_that_is_not_verified(authority: Authority, options: TlsOptions) -> None:
    context = client(authority, authority.client("joe"))
    assert shake(Contexts(options), context).server.getpeercert(binary_form=True) is None
    assert shake(Contexts(replace(options, verify_peer=True)), context).server.getpeercert(binary_form=True) is not None


def test_what_lies_between_is_sent_from_the_ca_file(authority: Authority, tmp_path: Path) -> None:
    """As RabbitMQ does: certfile has the server's own certificate only, cacertfile the rest of its chain."""
    chain = authority.client_below("localhost", 1).read_text()
    blocks = re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", chain, flags=re.DOTALL)
    key = chain.replace("".join(blocks), "")
    (tmp_path / "leaf.pem").write_text(blocks[0] + key)
    (tmp_path / "ca.pem").write_text("".join(blocks[1:]) + authority.file.read_text())
    contexts = Contexts(TlsOptions(certfile=tmp_path / "leaf.pem", cacertfile=tmp_path / "ca.pem"))
    context = client(authority)
    context.check_hostname = False
    assert shake(contexts, context).client.version() == "TLSv1.3"


# --- what can't be used


def test_texts_of_what_can_not_be_used(authority: Authority, options: TlsOptions, tmp_path: Path) -> None:
    server = authority.server("texts")
    other, key = authority.server("texts-other"), encrypted(server, "s3cret")
    rubbish, certificate_only = tmp_path / "rubbish", tmp_path / "certificate.pem"
    rubbish.write_text("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
    certificate_only.write_text(
        server.read_text().partition("-----BEGIN CERTIFICATE")[1] + server.read_text().partition("-----BEGIN CERTIFICATE")[2]
    )
    missing = tmp_path / "missing"
    base = TlsOptions(certfile=server)
    texts: dict[str, TlsOptions | None] = {
        "a TLS listener (listeners.ssl) needs ssl_options.certfile": None,
        "ssl_options.certfile is not set": TlsOptions(),
        f"ssl_options.certfile = {missing}: No such file": TlsOptions(certfile=missing),
        f"ssl_options.certfile = {tmp_path}: Is a directory": TlsOptions(certfile=tmp_path),
        f"ssl_options.certfile = {rubbish}: no certificate in PEM format": TlsOptions(certfile=rubbish),
        f"ssl_options.keyfile is not set, and there is no private key in ssl_options.certfile = {certificate_only}": TlsOptions(
            certfile=certificate_only
        ),
        f"ssl_options.keyfile = {missing}: No such file": replace(base, keyfile=missing),
        f"ssl_options.keyfile = {rubbish}: no private key in PEM format": replace(base, keyfile=rubbish),
        f"ssl_options.keyfile = {other}: the key doesn't belong to the certificate in {server}": replace(base, keyfile=other),
        f"ssl_options.keyfile = {key}: the key is encrypted, and ssl_options.password is not set": replace(base, keyfile=key),
        f"ssl_options.keyfile = {key}: the key is encrypted, and ssl_options.password doesn't open it": replace(
            base, keyfile=key, password="wr0ng"
        ),
        f"ssl_options.cacertfile = {missing}: No such file": replace(base, cacertfile=missing),
        f"ssl_options.cacertfile = {certificate_only.with_name('rubbish')}: no certificate in PEM format": replace(
            base, cacertfile=rubbish
        ),
        "ssl_options.verify = verify_peer needs ssl_options.cacertfile": replace(base, verify_peer=True),
        "ssl_options.fail_if_no_peer_cert = true needs ssl_options.verify = verify_peer": replace(options, fail_if_no_peer_cert=True),
        "ssl_options.versions: 'tlsv1.4' is no version of TLS: expected tlsv1, tlsv1.1, tlsv1.2, tlsv1.3": replace(
            base, versions=("tlsv1.4",)
        ),
        "ssl_options.versions is empty": replace(base, versions=()),
        "ssl_options.ciphers: OpenSSL": replace(base, ciphers=(ECDSA_128, "ECDHE-NONSENSE")),
        "knows no cipher 'ECDHE-NONSENSE' (`openssl ciphers` lists them)": replace(base, ciphers=("ECDHE-NONSENSE",)),
        "ssl_options.ciphers has suites of TLS 1.3 alone, and ssl_options.versions has no tlsv1.3": replace(
            base, ciphers=("TLS_AES_128_GCM_SHA256",), versions=("tlsv1.2",)
        ),
        f"ssl_options.sni.a.example.certfile = {missing}: No such file": replace(base, sni=(SniHost("a.example", missing, missing),)),
    }
    for text, unusable in texts.items():
        with pytest.raises(Unusable) as refused:
            Contexts(unusable)
        assert text in str(refused.value)
        assert "s3cret" not in str(refused.value) and "wr0ng" not in str(refused.value)


def test_an_encrypted_key_opens_with_its_password(authority: Authority) -> None:
    server = authority.server("encrypted")
    contexts = Contexts(TlsOptions(certfile=server, keyfile=encrypted(server, "s3cret"), password="s3cret"))
    assert shake(contexts, client(authority)).server.version() == "TLSv1.3"


# --- names in certificates


@pytest.mark.parametrize("name", SUBJECTS)
def test_names_are_those_of_rabbitmq(authority: Authority, name: str) -> None:
    subject, distinguished, common = SUBJECTS[name]
    certificate = der(authority.client_called("name", subject))
    assert certificates.user_name(certificate, Config()) == distinguished
    assert certificates.user_name(certificate, Config(ssl_cert_login_from="common_name")) == common


def test_alternative_names(authority: Authority) -> None:
    certificate = der(authority.client_called("san", SUBJECTS["plain"][0], SANS))

    def names(san_type: str) -> list[str | None]:
        login = Config(ssl_cert_login_from="subject_alternative_name", ssl_cert_login_san_type=san_type)
        return [certificates.user_name(certificate, replace(login, ssl_cert_login_san_index=index)) for index in range(3)]

    assert names("dns") == ["a.example", "b.example", None]
    assert names("ip") == ["10.1.2.3", "fe80::1", None]
    assert names("email") == ["me@example.org", None, None]
    assert names("uri") == ["spiffe://x/y", None, None]
    assert names("other_name") == ["u@corp", None, None]
    bare = der(authority.client_called("bare", SUBJECTS["plain"][0]))
    assert certificates.user_name(bare, Config(ssl_cert_login_from="subject_alternative_name")) is None


def test_an_empty_subject_is_no_name(authority: Authority) -> None:
    """RabbitMQ logs the user with the empty name in."""
    nameless = der(authority.client_called("nameless", type(SUBJECTS["plain"][0])([])))
    assert certificates.distinguished_name(nameless) == ""
    assert certificates.user_name(nameless, Config()) is None


def test_a_name_that_is_no_text_is_none(authority: Authority) -> None:
    certificate = der(authority.client_called("patched", SUBJECTS["plain"][0])).replace(b"client", b"\xff\xfeient")
    assert certificates.user_name(certificate, Config()) is None
    assert certificates.user_name(certificate, Config(ssl_cert_login_from="common_name")) is None


def test_lengths_that_der_does_not_have() -> None:
    """OpenSSL may read them (BER); a name that two readers read differently is none."""
    for data in (b"\x30\x80\x00\x00", b"\x30\x85\x00\x00\x00\x00\x00", b"\x30\x84\x00\x00", b"\x30", b"\x30\x01"):
        with pytest.raises(Malformed):
            certificates._children(data)


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_a_certificate_that_is_none_has_no_name(authority: Authority, data: st.DataObject) -> None:
    """Cut off, or with bytes changed: a name or None, and nothing else."""
    certificate = bytearray(whole(authority))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(certificate) - 1))
        certificate[at] = data.draw(st.integers(0, 255))
    del certificate[data.draw(st.integers(0, len(certificate))) :]
    for login in ("distinguished_name", "common_name", "subject_alternative_name"):
        for san_type in certificates.SAN_TAGS:
            name = certificates.user_name(bytes(certificate), Config(ssl_cert_login_from=login, ssl_cert_login_san_type=san_type))
            assert name is None or isinstance(name, str)


def whole(authority: Authority) -> bytes:
    path = authority.folder / "client-fuzzed.pem"
    return der(path if path.exists() else authority.client_called("fuzzed", SUBJECTS["unknown"][0], SANS))


@given(st.binary(max_size=200))
def test_bytes_that_are_no_certificate(data: bytes) -> None:
    with pytest.raises(Malformed):
        certificates.common_name(data[:5])
    assert certificates.user_name(data, Config()) is None or data.startswith(b"\x30")
