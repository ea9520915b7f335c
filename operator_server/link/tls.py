"""TLS of the link: a context for TLS 1.3, and what binds a logon proof to one channel."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from OpenSSL._util import lib
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from signalling.proof import EXPORTER_LABEL


@implementer(IOpenSSLServerConnectionCreator)
class LinkTls:
    """The operator's certificate for the link, TLS 1.3 only, with session tickets."""

    def __init__(self, certificate: Path, private_key: Path, groups: Sequence[str] = ("X25519", "P-256")) -> None:
        """Reads both files (PEM; the certificate may be followed by its chain). Raises ``OpenSSL.SSL.Error``.

        ``groups``: key exchanges in the order of preference. OpenSSL keeps about 5 KiB a link of a hybrid one such as
        ``X25519MLKEM768``.
        """
        self.context = context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        _set_groups(context, groups)
        context.use_certificate_chain_file(str(certificate))
        context.use_privatekey_file(str(private_key))
        context.check_privatekey()
        context.set_session_id(hashlib.sha256(str(certificate).encode()).digest())
        # Tickets carry the sessions; a copy of each in memory would cost a link some KiB.
        context.set_session_cache_mode(SSL.SESS_CACHE_SERVER | SSL.SESS_CACHE_NO_INTERNAL)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        leaf = x509.load_pem_x509_certificate(certificate.read_bytes())
        self.end_point = hashlib.sha256(leaf.public_bytes(Encoding.DER)).digest()
        """``tls-server-end-point`` (RFC 5929): SHA-256 over our certificate."""

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """A server's side of a new connection."""
        return SSL.Connection(self.context, None)


class TlsFactory(TLSMemoryBIOFactory):
    """Closes a connection that the wrapped factory does not want.

    A link writes once a turn, so there is nothing for the buffering transport to gather.
    """

    noisy = False
    protocol = TLSMemoryBIOProtocol

    def buildProtocol(self, addr: Any) -> Any:
        inner = self.wrappedFactory.buildProtocol(addr)
        return None if inner is None else self.protocol(self, inner)


def _set_groups(context: SSL.Context, groups: Sequence[str]) -> None:
    # pyOpenSSL has no public way to name key exchange groups; a test pins this one.
    if not lib.SSL_CTX_set1_curves_list(context._context, ":".join(groups).encode("ascii")):
        raise ValueError(f"link.key_exchange: OpenSSL knows no such groups: {', '.join(groups)}")


def binding_data(binding: str, tls: LinkTls | None, handle: Any, allowed: frozenset[str]) -> bytes | None:
    """The channel that a proof must cover: of this link, by ``binding``; ``None`` when that may not be used here.

    ``handle`` is the link's OpenSSL connection. Without TLS only ``none`` is possible, and with TLS never.
    """
    if tls is None:
        return b"" if binding == "none" else None
    if binding not in allowed:
        return None
    if binding == "tls-exporter":
        data: bytes = handle.export_keying_material(EXPORTER_LABEL, 32, None)
        return data
    return tls.end_point
