"""The operator's own keys: the signing key of quotes and grants, and the TLS authority and certificate of the link.

They are made at the first start in ``keys/`` of the data folder, files of mode 0600. A certificate of a public
authority may be put in place of the one made here; terminals then pin that authority.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from operator_server.delivery.files import file_lock, write_atomically

_AUTHORITY_YEARS = 20
_LEAF_DAYS = 825


class UnusableKey(RuntimeError):
    """A key file that is missing or cannot be read; the text says which and what to do."""


@dataclass(frozen=True)
class OperatorKeys:
    """The operator's signing key and where its TLS files lie."""

    signing: Ed25519PrivateKey
    authority: Path
    certificate: Path
    private_key: Path

    def public_key(self) -> bytes:
        """The 32 bytes with which terminals check quotes and grants."""
        return self.signing.public_key().public_bytes_raw()


def write_private(path: Path, data: bytes) -> None:
    """Write a secret so that it is whole or absent, and nobody else may read it."""
    write_atomically(path, data, mode=0o600)


def load_or_create_keys(folder: Path, server_id: str, hosts: list[str], now: datetime) -> OperatorKeys:
    """The keys in ``folder``; what is missing is made. ``hosts``: names and addresses for the TLS certificate.

    Several processes may call this at once. Raises :class:`UnusableKey`.

    The certificate is valid by the machine's clock, since TLS knows no other; ``now`` only starts its validity when
    it lies before that.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    signing = folder / "server_ed25519.pem"
    authority, certificate, private = folder / "tls_authority.pem", folder / "tls_server.pem", folder / "tls_server.key"
    with file_lock(folder / "lock"):
        if not signing.exists():
            write_private(signing, _private_pem(Ed25519PrivateKey.generate()))
        if not certificate.exists():
            _make_tls(authority, certificate, private, server_id, hosts, min(now, datetime.now(UTC)))
    try:
        key = serialization.load_pem_private_key(signing.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise UnusableKey(f"{signing}: cannot be read as a key; restore it from the backup: {error}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UnusableKey(f"{signing}: not an Ed25519 key; restore it from the backup")
    return OperatorKeys(key, authority, certificate, private)


def _private_pem(key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _alternative_names(hosts: list[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for host in dict.fromkeys([*hosts, "localhost", "127.0.0.1", "::1"]):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return names


def _make_tls(
    authority: Path, certificate: Path, private: Path, server_id: str, hosts: list[str], now: datetime
) -> None:
    ca_key, leaf_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{server_id} terminal link authority"[:64])])
    start = now - timedelta(days=1)
    ca = (
        x509.CertificateBuilder()
        .subject_name(ca_name)
        .issuer_name(ca_name)
        .public_key(ca_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=365 * _AUTHORITY_YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(
                digital_signature=False,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=True,
                crl_sign=True,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .sign(ca_key, hashes.SHA256())
    )
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, server_id[:64])]))
        .issuer_name(ca_name)
        .public_key(leaf_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=_LEAF_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(_alternative_names(hosts)), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    write_private(authority.with_suffix(".key"), _private_pem(ca_key))
    write_private(private, _private_pem(leaf_key))
    # The certificate last: while it is missing, the next start makes all of them anew.
    write_atomically(authority, ca.public_bytes(pem))
    write_atomically(certificate, leaf.public_bytes(pem))
