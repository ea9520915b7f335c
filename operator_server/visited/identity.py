"""Who an operator is to its partners: a key and certificate for the interconnect, and the introduction that tells it.

The certificate is signed by itself. Partners do not ask who vouches for it: each knows the certificate of the
other, given by hand, and two people can compare its fingerprint (SHA-256) by telephone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Meta

from operator_server.context import Operator
from operator_server.files import file_lock
from operator_server.keys import UnusableKey, write_private
from operator_server.visited.faults import VisitedError
from signalling.messages import Id

_YEARS = 20
MOST_CERTIFICATE = 8 * 1024


@dataclass(frozen=True)
class Identity:
    """Our side of the interconnect. ``file``: private key and certificate, PEM, mode 0600."""

    file: Path
    certificate: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, in hex."""
        return fingerprint_of(self.certificate)


class Introduction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one operator gives another: who it is, where it listens, and its certificate. It holds no secret."""

    network: Id
    name: Annotated[str, Meta(min_length=1, max_length=200)]
    url: Annotated[str, Meta(max_length=300)]
    certificate: Annotated[str, Meta(max_length=MOST_CERTIFICATE)]


def identity_of(operator: Operator, *, renew: bool = False) -> Identity:
    """The operator's identity; made when first needed, and anew with ``renew``: partners must be told then.

    Raises :class:`operator_server.keys.UnusableKey`.
    """
    operator.keys  # noqa: B018 - makes the folder of mode 0700
    folder = operator.data / "keys"
    file = folder / "roaming.pem"
    with file_lock(folder / "lock"):
        if renew or not file.exists():
            write_private(file, _made(operator.settings.operator.server_id))
        text = file.read_text(encoding="ascii", errors="replace")
    begin = text.find("-----BEGIN CERTIFICATE-----")
    try:
        certificate = checked_certificate(text[begin:] if begin >= 0 else "")
        serialization.load_pem_private_key(text[: max(begin, 0)].encode(), password=None)
    except (VisitedError, ValueError, TypeError) as error:
        raise UnusableKey(f"{file}: key and certificate cannot be read; restore it from the backup: {error}") from None
    return Identity(file, certificate)


def _made(server_id: str) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, server_id[:64])])
    # TLS knows no clock but the machine's.
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365 * _YEARS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)


def checked_certificate(pem: str) -> str:
    """The one certificate in ``pem``, alone. Raises :class:`VisitedError`."""
    try:
        found = x509.load_pem_x509_certificates(pem.encode("ascii"))
    except ValueError:
        raise VisitedError("bad_partner", "the certificate cannot be read as PEM") from None
    if len(found) != 1:
        raise VisitedError("bad_partner", f"{len(found)} certificates where one is needed")
    if found[0].not_valid_after_utc <= datetime.now(UTC):
        raise VisitedError("bad_partner", f"the certificate ended on {found[0].not_valid_after_utc:%Y-%m-%d}")
    return found[0].public_bytes(serialization.Encoding.PEM).decode()


def fingerprint_of(pem: str) -> str:
    """SHA-256 of a certificate (PEM), in hex."""
    return sha256(x509.load_pem_x509_certificate(pem.encode()).public_bytes(serialization.Encoding.DER)).hexdigest()


def shown(fingerprint: str) -> str:
    """A fingerprint as people compare it: in groups of four."""
    return " ".join(fingerprint[at : at + 4] for at in range(0, len(fingerprint), 4))


def introduction(operator: Operator, url: str = "", *, renew: bool = False) -> Introduction:
    """Our own. ``url``: where partners reach us; empty: as the settings say. Raises :class:`VisitedError`."""
    settings = operator.settings
    where = url or settings.roaming.public_url or f"https://{settings.link.public_host}:{settings.roaming.port}"
    return Introduction(
        settings.operator.server_id, settings.operator.name[:200], checked_url(where),
        identity_of(operator, renew=renew).certificate,
    )  # fmt: skip


def read_introduction(path: Path) -> Introduction:
    """The introduction in a file. Raises :class:`VisitedError`, ``OSError``."""
    try:
        told = msgspec.json.decode(path.read_bytes(), type=Introduction)
        checked_url(told.url)
        return msgspec.structs.replace(told, certificate=checked_certificate(told.certificate))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        reason = f"not an introduction: {error}; the partner's `tollgate visited introduction` writes one"
    except VisitedError as no:
        reason = no.reason
    raise VisitedError("bad_partner", f"{path}: {reason}")


def checked_url(url: str) -> str:
    """Where a partner listens, without a slash at the end. Raises :class:`VisitedError`."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme == "https" and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or parts.path.strip("/") or parts.username:
        raise VisitedError("bad_partner", f"url {url!r}: https://HOST:PORT is needed")
    return url.rstrip("/")
