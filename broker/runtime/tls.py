"""What TLS listeners present and ask for (ssl_options.*), and what a handshake that failed is called.

TLS 1.3's suites are always on: the ssl module can't choose among them (`ciphers` is about TLS 1.2 and older). With suites of TLS 1.3
alone in `ciphers`, older versions are off, as nothing is left for them.
"""

from __future__ import annotations

import hashlib
import logging
import socket
import ssl
import sys
import warnings
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from broker.runtime import certificates
from broker.runtime.proxy_protocol import shown

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from broker.config import TlsOptions

log = logging.getLogger("tls")

VERSIONS: Final = {
    "tlsv1": ssl.TLSVersion.TLSv1,
    "tlsv1.1": ssl.TLSVersion.TLSv1_1,
    "tlsv1.2": ssl.TLSVersion.TLSv1_2,
    "tlsv1.3": ssl.TLSVersion.TLSv1_3,
}
OFF: Final = {"tlsv1": ssl.OP_NO_TLSv1, "tlsv1.1": ssl.OP_NO_TLSv1_1, "tlsv1.2": ssl.OP_NO_TLSv1_2, "tlsv1.3": ssl.OP_NO_TLSv1_3}
HAS: Final = {"tlsv1": ssl.HAS_TLSv1, "tlsv1.1": ssl.HAS_TLSv1_1, "tlsv1.2": ssl.HAS_TLSv1_2, "tlsv1.3": ssl.HAS_TLSv1_3}
OLD_VERSIONS: Final = ("tlsv1", "tlsv1.1")
OLD_CIPHERS: Final = "DEFAULT:@SECLEVEL=0"
"""OpenSSL 3 has nothing for TLS 1.1 and older above this level: their signatures are SHA-1."""
TLS13_SUITES: Final = ("TLS_AES_", "TLS_CHACHA20_")
HANDSHAKE_RECORD: Final = 0x16
ALERT: Final = b"\x15\x03\x01\x00\x02\x02\x0a"
"""Fatal, unexpected_message: what RabbitMQ answers to what isn't TLS."""


class Unusable(Exception):
    """The TLS options can't be used; the text names the setting, the file and what is wrong, and no password."""


class Session(ssl.SSLObject):
    """TLS of one connection, which tells the peer why its handshake failed: the event loops close without sending OpenSSL's alert."""

    outgoing: ssl.MemoryBIO
    socket: socket.socket | None = None

    def do_handshake(self) -> None:
        """See ssl.SSLObject."""
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError:
            if self.socket is not None:
                try:
                    self.socket.send(self.outgoing.read())
                except OSError as error:
                    log.debug("a TLS alert could not be sent: %s", error)
            raise


class Context(ssl.SSLContext):
    """Makes Sessions, for the socket in `arriving`."""

    sslobject_class = Session

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """See ssl.SSLContext."""
        session = super().wrap_bio(incoming, outgoing, *arguments, **options)
        assert isinstance(session, Session)
        session.outgoing = outgoing
        session.socket = arriving.get()
        return session


arriving: ContextVar[socket.socket | None] = ContextVar("arriving", default=None)
"""The socket of the connection that this task hands to the event loop."""


class Contexts:
    """The certificates as they were read last: `current` is for new connections, `reload` reads the files again."""

    def __init__(self, options: TlsOptions | None) -> None:
        """Raises Unusable."""
        if options is None:
            raise Unusable("a TLS listener (listeners.ssl) needs ssl_options.certfile")
        self.options = options
        self.current = _contexts(options)
        self.certificates = _certificates(options)
        """By file, the certificates (DER) that were read."""
        if old := [version for version in options.versions if version in OLD_VERSIONS]:
            log.warning("%s.versions has %s, which is broken; clients of this century know tlsv1.2", options.name, " and ".join(old))
        self._too_deep: set[bytes] = set()

    def reload(self) -> None:
        """Read the files again. Raises Unusable, and then everything stays as it was. Connections keep what they began with."""
        current, certificates = _contexts(self.options), _certificates(self.options)
        self.current, self.certificates = current, certificates
        self._too_deep = set()

    def ending(self, file: Path | None, now: datetime, until: datetime) -> list[str]:
        """Of the certificates in one of the files, as it was read last: when those end that do before `until`, and what else is wrong."""
        found: list[str] = []
        for certificate in self.certificates[file] if file is not None else ():
            try:
                begin, end = certificates.valid_between(certificate)
            except certificates.Malformed:
                found.append("Certificate can't be read")
                continue
            if begin > now:
                found.append("Certificate is not yet valid")
            elif end < until:
                found.append(end.strftime("%Y-%m-%d %H:%M:%S"))
        return found

    def objection(self, session: ssl.SSLObject) -> str | None:
        """What is wrong with the client's certificate that OpenSSL wasn't asked: how many stand between it and the trusted one.

        A session that is resumed brings its certificate and no others, so those that were refused are remembered.
        """
        certificate = session.getpeercert(binary_form=True)
        if self.options.depth is None or certificate is None:
            return None
        digest = hashlib.sha256(certificate).digest()
        between = _certificates_between(session)
        if between is not None and between <= self.options.depth:
            self._too_deep.discard(digest)
        elif between is not None or not session.session_reused:
            self._too_deep.add(digest)
        if digest not in self._too_deep:
            return None
        return f"the chain of the client's certificate is longer than {self.options.name}.depth = {self.options.depth} allows"


def _certificates_between(session: Any) -> int | None:
    """Certificates between the peer's and the trusted one; None if the session doesn't have them (any more)."""
    # Public from Python 3.13 on; the object underneath has had it since 3.10.
    owner = session if hasattr(session, "get_verified_chain") else session._sslobj
    chain = owner.get_verified_chain()
    return max(0, len(chain) - 2) if chain else None


# --- from options to contexts


def _certificates(options: TlsOptions) -> dict[Path, list[bytes]]:
    """The certificates (DER) in each of the files, which could be read just now."""
    files = [options.certfile, options.cacertfile, *[host.certfile for host in options.sni]]
    try:
        return {file: certificates.in_pem(file.read_text("ascii", "replace")) for file in files if file is not None}
    except OSError as error:
        raise Unusable(f"{options.name}: {error.filename}: {error.strerror}") from None


def _contexts(options: TlsOptions) -> ssl.SSLContext:
    """The default certificate's context, which hands over to the others by the name that the client asks for."""
    default = _context(options, options.certfile, options.keyfile, options.name)
    by_name = {
        host.hostname.rstrip(".").lower(): _context(options, host.certfile, host.keyfile, f"{options.name}.sni.{host.hostname}")
        for host in options.sni
    }
    if by_name:

        def choose(session: ssl.SSLObject, name: str | None, _default: ssl.SSLContext) -> None:
            chosen = by_name.get(name.rstrip(".").lower()) if name else None
            if chosen is not None:
                session.context = chosen

        default.sni_callback = choose
    return default


def _context(options: TlsOptions, certfile: Path | None, keyfile: Path | None, name: str) -> ssl.SSLContext:
    context = Context(ssl.PROTOCOL_TLS_SERVER)
    # A client that asks for handshake after handshake would cost more than it pays.
    context.options |= ssl.OP_NO_RENEGOTIATION
    if options.honor_cipher_order:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    versions = _set_ciphers(context, options, _checked_versions(options))
    _set_versions(context, versions)
    _set_verification(context, options)
    if certfile is None:
        raise Unusable(f"{name}.certfile is not set, and a TLS listener needs a certificate")
    _load_certificate(context, certfile, keyfile, options, name)
    return context


def _checked_versions(options: TlsOptions) -> list[str]:
    for version in options.versions:
        if version not in VERSIONS:
            raise Unusable(f"{options.name}.versions: '{version}' is no version of TLS: expected {', '.join(VERSIONS)}")
        if not HAS[version]:
            raise Unusable(f"{options.name}.versions: {ssl.OPENSSL_VERSION} was built without {version}")
    if not options.versions:
        raise Unusable(f"{options.name}.versions is empty: expected one or more of " + ", ".join(VERSIONS))
    return [version for version in VERSIONS if version in options.versions]


def _set_ciphers(context: ssl.SSLContext, options: TlsOptions, versions: list[str]) -> list[str]:
    """Choose the ciphers; returns the versions that have any."""
    chosen = [cipher for cipher in options.ciphers if not cipher.startswith(TLS13_SUITES)]
    for cipher in chosen:
        try:
            context.set_ciphers(cipher)
        except ssl.SSLError:
            raise Unusable(
                f"{options.name}.ciphers: {ssl.OPENSSL_VERSION} knows no cipher '{cipher}' (`openssl ciphers` lists them)"
            ) from None
    is_old = any(version in OLD_VERSIONS for version in versions)
    if chosen:
        context.set_ciphers(":".join([*chosen, "@SECLEVEL=0"] if is_old else chosen))
    elif options.ciphers:
        versions = [version for version in versions if version == "tlsv1.3"]
        if not versions:
            raise Unusable(f"{options.name}.ciphers has suites of TLS 1.3 alone, and {options.name}.versions has no tlsv1.3")
    elif is_old:
        context.set_ciphers(OLD_CIPHERS)
    return versions


def _set_versions(context: ssl.SSLContext, versions: list[str]) -> None:
    # That old versions are deprecated is for whoever configures the broker to know, and not for its stderr.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = VERSIONS[versions[0]]
        context.maximum_version = VERSIONS[versions[-1]]
        for version in VERSIONS:
            if version not in versions:
                context.options |= OFF[version]


def _set_verification(context: ssl.SSLContext, options: TlsOptions) -> None:
    if options.fail_if_no_peer_cert and not options.verify_peer:
        raise Unusable(f"{options.name}.fail_if_no_peer_cert = true needs {options.name}.verify = verify_peer")
    if options.cacertfile is None:
        if options.verify_peer:
            raise Unusable(f"{options.name}.verify = verify_peer needs {options.name}.cacertfile: whom to trust")
    else:
        # Without verification too: what is between certfile's certificate and the root is sent from here.
        _check_readable(f"{options.name}.cacertfile", options.cacertfile)
        try:
            context.load_verify_locations(options.cacertfile)
        except ssl.SSLError as error:
            raise Unusable(f"{options.name}.cacertfile = {options.cacertfile}: no certificate in PEM format{_reason(error)}") from None
    if options.verify_peer:
        context.verify_mode = ssl.CERT_REQUIRED if options.fail_if_no_peer_cert else ssl.CERT_OPTIONAL


def _load_certificate(context: ssl.SSLContext, certfile: Path, keyfile: Path | None, options: TlsOptions, name: str) -> None:
    _check_readable(f"{name}.certfile", certfile)
    if keyfile is not None:
        _check_readable(f"{name}.keyfile", keyfile)
    asked = False

    def tell() -> str:
        # Without a callback OpenSSL asks at the terminal, and the server stands still.
        nonlocal asked
        asked = True
        return options.password or ""

    try:
        context.load_cert_chain(certfile, keyfile, tell)
    except (ssl.SSLError, ValueError) as error:  # ValueError: the password is longer than OpenSSL takes
        has_password = bool(options.password)
        raise Unusable(_what_is_wrong(error, certfile, keyfile, name, options.name, asked=asked, has_password=has_password)) from None


def _what_is_wrong(
    error: ssl.SSLError | ValueError, certfile: Path, keyfile: Path | None, name: str, section: str, *, asked: bool, has_password: bool
) -> str:
    certificate = f"{name}.certfile = {certfile}"
    key = f"{name}.keyfile = {keyfile}" if keyfile is not None else certificate
    reason = getattr(error, "reason", None) or ""
    if "VALUES_MISMATCH" in reason or "TYPE_MISMATCH" in reason:
        return f"{key}: the key doesn't belong to the certificate in {certfile}"
    if reason.startswith(("EE_", "CA_")):
        return f"{certificate}: {ssl.OPENSSL_VERSION} refuses the certificate{_reason(error)}"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(certfile)
    except ssl.SSLError as unreadable:
        return f"{certificate}: no certificate in PEM format{_reason(unreadable)}"
    if asked and has_password:
        return f"{key}: the key is encrypted, and {section}.password doesn't open it"
    if asked:
        return f"{key}: the key is encrypted, and {section}.password is not set"
    if keyfile is None:
        return f"{name}.keyfile is not set, and there is no private key in {certificate}"
    return f"{key}: no private key in PEM format{_reason(error)}"


def _check_readable(setting: str, path: Path) -> None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise Unusable(f"{setting} = {path}: {error.strerror}") from None


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return f" ({reason.lower().replace('_', ' ')})" if reason else ""


# --- what goes wrong with a peer

LOST: Final = "the client closed the connection"
_EXPLAINED: Final = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the client has no certificate, and ssl_options.fail_if_no_peer_cert asks for one",
    "UNSUPPORTED_PROTOCOL": "the client has no version of TLS in common with ssl_options.versions",
    "NO_SHARED_CIPHER": "the client has no cipher in common with ssl_options.ciphers and the certificate",
    "CALLBACK_FAILED": "the client asks for a server name that isn't ASCII",
    "TLSV1_ALERT_UNKNOWN_CA": "the client doesn't trust the server's certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the client doesn't accept the server's certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the client doesn't accept the server's certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the client says that the server's certificate has expired",
}
_PROTOCOLS: Final = ((b"AMQP", "AMQP"), (b"SSH-", "SSH"), (b"PROXY ", "the PROXY protocol"), (b"\r\n\r\n\0\r\n", "the PROXY protocol"))
_HTTP_METHODS: Final = (b"GET ", b"POST", b"PUT ", b"HEAD", b"OPTI", b"DELE", b"PATC", b"CONN", b"PRI ")


def failure(error: Exception) -> str:
    """Why a handshake failed, for the log."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the client's certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLEOFError) or not isinstance(error, ssl.SSLError):
        if isinstance(error, ValueError):
            return "the client's certificate can't be read"
        return LOST
    reason = error.reason or ""
    return _EXPLAINED.get(reason) or reason.lower().replace("_", " ") or "unknown error"


def looks_like(data: bytes) -> str:
    """What a peer speaks whose first bytes are `data`, for the log."""
    if data.startswith(_HTTP_METHODS):
        return "HTTP"
    for start, name in _PROTOCOLS:
        if data.startswith(start):
            return name
    if data[:1] == bytes((HANDSHAKE_RECORD,)):
        return "TLS"
    return f"something else: {shown(data)}"


def unraisable(unraised: sys.UnraisableHookArgs) -> None:
    """A sys.unraisablehook that passes over what the ssl module can't tell anybody: a server name that isn't ASCII. The handshake fails."""
    if not (isinstance(unraised.exc_value, UnicodeDecodeError) and isinstance(unraised.object, bytes)):
        sys.__unraisablehook__(unraised)
