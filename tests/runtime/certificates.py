"""Certificates made for a test: a CA, servers and clients; and subjects as no tool would write them."""

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

PEM = serialization.Encoding.PEM
DAY = datetime.timedelta(days=1)
SANS = (
    x509.DNSName("a.example"),
    x509.RFC822Name("me@example.org"),
    x509.DNSName("b.example"),
    x509.IPAddress(ipaddress.ip_address("10.1.2.3")),
    x509.IPAddress(ipaddress.ip_address("fe80::1")),
    x509.UniformResourceIdentifier("spiffe://x/y"),
    x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x06u@corp"),
)


class Authority:
    """A CA of its own, in a folder; `server` and `client` write PEM files with the certificate's chain and its key."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self.folder = folder
        self.ca = trustme.CA(organization_name=name, key_type=trustme.KeyType.ECDSA)
        self.file = folder / f"{name}.pem"
        self.ca.cert_pem.write_to_path(self.file)
        key = serialization.load_pem_private_key(self.ca.private_key_pem.bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key
        self._name = x509.load_pem_x509_certificate(self.ca.cert_pem.bytes()).subject

    def server(self, name: str, *hosts: str) -> Path:
        return self._written(name, self.ca.issue_cert(*(hosts or ("localhost", "127.0.0.1")), key_type=trustme.KeyType.ECDSA))

    def client(self, name: str) -> Path:
        return self._written(f"client-{name}", self.ca.issue_cert("localhost", common_name=name, key_type=trustme.KeyType.ECDSA))

    def client_below(self, name: str, intermediates: int) -> Path:
        """A client whose certificate has so many others between it and this CA."""
        below = self.ca
        for _ in range(intermediates):
            below = below.create_child_ca(key_type=trustme.KeyType.ECDSA)
        return self._written(f"client-{name}", below.issue_cert("localhost", common_name=name, key_type=trustme.KeyType.ECDSA))

    def client_called(self, name: str, subject: x509.Name, sans: Sequence[x509.GeneralName] | bytes = ()) -> Path:
        """A client with this very subject; alternative names as bytes are the extension's DER."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + DAY)
        )
        if isinstance(sans, bytes):
            builder = builder.add_extension(x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, sans), critical=False)
        elif sans:
            builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=False)
        path = self.folder / f"client-{name}.pem"
        secret = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(PEM) + secret)
        return path

    def _written(self, name: str, leaf: trustme.LeafCert) -> Path:
        path = self.folder / f"{name}.pem"
        leaf.private_key_and_cert_chain_pem.write_to_path(path)
        return path


def encrypted(path: Path, password: str) -> Path:
    """The key in a PEM file, in a file of its own that opens with `password`."""
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    result = path.with_suffix(".key")
    encryption = serialization.BestAvailableEncryption(password.encode())
    result.write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, encryption))
    return result


def der(path: Path) -> bytes:
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(serialization.Encoding.DER)


def _name(*attributes: tuple[x509.ObjectIdentifier | str, str] | tuple[x509.ObjectIdentifier | str, str, _ASN1Type]) -> x509.Name:
    return x509.Name([_attribute(*attribute) for attribute in attributes])


def _attribute(kind: x509.ObjectIdentifier | str, text: str, encoding: _ASN1Type | None = None) -> x509.NameAttribute:
    return x509.NameAttribute(x509.ObjectIdentifier(kind) if isinstance(kind, str) else kind, text, encoding)


CN, ORG, COUNTRY = NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.COUNTRY_NAME
SUBJECTS: dict[str, tuple[x509.Name, str, str | None]] = {
    "plain": (_name((COUNTRY, "DE"), (ORG, "Leveret"), (CN, "client")), "CN=client,O=Leveret,C=DE", "client"),
    "escapes": (
        _name((ORG, ' #a,b+c"d\\e<f>g;h=i/ '), (CN, "#x")),
        r"CN=\#x,O=\ #a\,b\+c\"d\\e\<f\>g\;h=i/\ ",
        "#x",
    ),
    "utf8": (
        _name((ORG, "Käse ~ € 😀\x7f\x01"), (CN, "é")),
        r"CN=\C3\A9,O=K\C3\A4se \7E \E2\82\AC \F0\9F\98\80\7F\01",
        "é",
    ),
    "bmp": (_name((CN, "Käse €", _ASN1Type.BMPString)), r"CN=K\C3\A4se \E2\82\AC", "Käse €"),
    "teletex": (_name((CN, "Käse", _ASN1Type.T61String)), r"CN=K\C3\83\C2\A4se", "KÃ¤se"),
    "universal": (_name((CN, "K😀", _ASN1Type.UniversalString)), r"CN=K\F0\9F\98\80", "K😀"),
    "several": (
        x509.Name(
            [
                x509.RelativeDistinguishedName([_attribute(CN, "c"), _attribute(NameOID.USER_ID, "u")]),
                x509.RelativeDistinguishedName([_attribute(ORG, "o")]),
            ]
        ),
        "O=o,CN=c+UID=u",
        "c",
    ),
    "attributes": (
        _name(
            (NameOID.SURNAME, "sn"), (NameOID.GIVEN_NAME, "gn"), ("2.5.4.43", "in"), (NameOID.GENERATION_QUALIFIER, "gq"),
            (NameOID.LOCALITY_NAME, "l"), (NameOID.STATE_OR_PROVINCE_NAME, "st"), (NameOID.ORGANIZATIONAL_UNIT_NAME, "ou"),
            (NameOID.TITLE, "t"), (NameOID.SERIAL_NUMBER, "5"), (NameOID.PSEUDONYM, "ps"), (NameOID.DOMAIN_COMPONENT, "example"),
            (NameOID.EMAIL_ADDRESS, "a@b.c"), (NameOID.STREET_ADDRESS, "str"), (NameOID.USER_ID, "uid"), (NameOID.DN_QUALIFIER, "dnq"),
        ),
        (
            "2.5.4.46=dnq,UID=uid,2.5.4.9=str,EMAILADDRESS=a@b.c,DC=example,PSEUDONYM=ps,SERIALNUMBER=5,TITLE=t,OU=ou,ST=st,L=l,"
            "GENERATIONQUALIFIER=gq,INITIALS=in,GIVENNAME=gn,SN=sn"
        ),
        None,
    ),
    "unknown": (
        _name(
            (NameOID.POSTAL_CODE, "12"), ("1.2.3.4", "val"), ("1.2.3.5", "vä"), ("1.2.3.6", "ia5", _ASN1Type.IA5String),
            ("1.2.3.7", "pr", _ASN1Type.PrintableString), (NameOID.JURISDICTION_COUNTRY_NAME, "DE"),
        ),
        r"1.3.6.1.4.1.311.60.2.1.3=DE,1.2.3.7=pr,1.2.3.6=\<\<22\,3\,105\,97\,53\>\>,1.2.3.5=v\C3\A4,1.2.3.4=val,2.5.4.17=12",
        None,
    ),
    "two names": (_name((CN, "one"), (ORG, "x"), (CN, "tw,o")), r"CN=tw\,o,O=x,CN=one", "one,tw,o"),
    "mail": (_name((NameOID.EMAIL_ADDRESS, "a,b@c"), (NameOID.DOMAIN_COMPONENT, "d+c")), r"DC=d\+c,EMAILADDRESS=a\,b@c", None),
}  # fmt: skip
"""Subject, distinguished name and common name: as RabbitMQ 3.10.8 logs them in (tests/conformance/test_01_tls.py asks it)."""
