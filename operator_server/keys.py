"""The operator's own keys: the signing key of quotes and grants, and the TLS authority and certificate of the link.

They are made at the first start in ``keys/`` of the data folder, files of mode 0600. The certificate is made anew at a
start when it ends soon or lacks a host that the settings name. One of a public authority may be put in its place;
terminals then pin that authority, and it is left alone.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from operator_server.files import file_lock, sync_directory, write_atomically
from operator_server.key_history import HistoryError, KnownKey, changes, hand_over, noted, read_history
from signalling.messages import Signed
from signalling.proof import public_bytes

SIGNING, STAGED, HISTORY = "server_ed25519.pem", "server_ed25519.new", "server_keys.json"

_AUTHORITY_YEARS = 20
_LEAF_DAYS = 825
_RENEW_DAYS = 30
_KEY_USES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


class UnusableKey(RuntimeError):
    """A key file that is missing or cannot be read; the text says which and what to do."""


@dataclass(frozen=True)
class OperatorKeys:
    """The operator's signing key, those before it, and where its TLS files lie."""

    signing: Ed25519PrivateKey
    authority: Path
    certificate: Path
    private_key: Path
    history: tuple[KnownKey, ...] = ()

    def public_key(self) -> bytes:
        """The 32 bytes with which terminals check quotes and grants."""
        return self.signing.public_key().public_bytes_raw()

    def public_keys(self) -> list[bytes]:
        """All keys with which the operator ever signed, the one in force first."""
        return list(dict.fromkeys([self.public_key(), *(each.public_key for each in reversed(self.history))]))

    def changes(self) -> list[Signed]:
        """What terminals are told so that they follow to the key in force."""
        return changes(self.history)


def write_private(path: Path, data: bytes) -> None:
    """Write a secret so that it is whole or absent, and nobody else may read it."""
    write_atomically(path, data, mode=0o600)


def load_or_create_keys(folder: Path, server_id: str, hosts: list[str], now: datetime) -> OperatorKeys:
    """The keys in ``folder``; what is missing is made. ``hosts``: names and addresses for the TLS certificate.

    Several processes may call this at once. Raises :class:`UnusableKey`.

    The certificate is valid by the machine's clock, since TLS knows no other; where ``now`` lies before it, from
    then on.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    signing = folder / SIGNING
    authority, certificate, private = folder / "tls_authority.pem", folder / "tls_server.pem", folder / "tls_server.key"
    with file_lock(folder / "lock"):
        _finish_change(folder)
        if not signing.exists():
            write_private(signing, _private_pem(Ed25519PrivateKey.generate()))
        start = min(now, datetime.now(UTC)) - timedelta(days=1)
        try:
            if not (authority.exists() or certificate.exists()):
                _make_authority(authority, server_id, start)
            if _is_due(authority, certificate, hosts):
                _make_leaf(authority, certificate, private, server_id, hosts, start)
        except (FileNotFoundError, ValueError, TypeError) as error:
            raise UnusableKey(
                f"{folder}: its TLS files cannot be used; restore them from the backup: {error}"
            ) from None
        key = _signing_key(signing)
        try:
            history = noted(folder / HISTORY, key, now)
        except HistoryError as error:
            raise UnusableKey(str(error)) from None
    return OperatorKeys(key, authority, certificate, private, tuple(history))


def replace_signing_key(folder: Path, server_id: str, now: datetime) -> tuple[bytes, bytes]:
    """Replace the key that signs quotes and grants; the public keys before and after.

    The change is signed with the old key, so that terminals follow by themselves at their next logon. The old private
    key is gone then. Cut short, either nothing has changed or the next that opens ``folder`` finishes it. Servers that
    run go on with the old key until they are started again. Raises :class:`UnusableKey`.
    """
    with file_lock(folder / "lock"):
        _finish_change(folder)
        old, new = _signing_key(folder / SIGNING), Ed25519PrivateKey.generate()
        write_private(folder / STAGED, _private_pem(new))
        sync_directory(folder)
        try:
            hand_over(folder / HISTORY, old, new, server_id, now)
        except HistoryError as error:
            raise UnusableKey(str(error)) from None
        _finish_change(folder)
    return public_bytes(old), public_bytes(new)


def _finish_change(folder: Path) -> None:
    """Put a staged key in force when the history says that it is; one of which nobody was told is dropped."""
    staged = folder / STAGED
    if not staged.exists():
        return
    try:
        history = read_history(folder / HISTORY)
    except HistoryError as error:
        raise UnusableKey(str(error)) from None
    if history and history[-1].public_key == public_bytes(_signing_key(staged)):
        os.replace(staged, folder / SIGNING)
    else:
        staged.unlink()
    sync_directory(folder)


def _signing_key(path: Path) -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise UnusableKey(f"{path}: cannot be read as a key; restore it from the backup: {error}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UnusableKey(f"{path}: not an Ed25519 key; restore it from the backup")
    return key


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


def _make_authority(authority: Path, server_id: str, start: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{server_id} terminal link authority"[:64])])
    signs_only = dict.fromkeys(_KEY_USES, False) | {"key_cert_sign": True, "crl_sign": True}
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(datetime.now(UTC) + timedelta(days=365 * _AUTHORITY_YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.KeyUsage(**signs_only), critical=True)
        .sign(key, hashes.SHA256())
    )
    write_private(authority.with_suffix(".key"), _private_pem(key))
    write_atomically(authority, certificate.public_bytes(serialization.Encoding.PEM))


def _make_leaf(
    authority: Path, certificate: Path, private: Path, server_id: str, hosts: list[str], start: datetime
) -> None:
    issuer = x509.load_pem_x509_certificate(authority.read_bytes())
    issuer_key = serialization.load_pem_private_key(authority.with_suffix(".key").read_bytes(), password=None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, server_id[:64])]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(datetime.now(UTC) + timedelta(days=_LEAF_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(_alternative_names(hosts)), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    # Between the two the pair does not fit; without a certificate the next start makes both anew.
    certificate.unlink(missing_ok=True)
    write_private(private, _private_pem(key))
    write_atomically(certificate, leaf.public_bytes(serialization.Encoding.PEM))


def _is_due(authority: Path, certificate: Path, hosts: list[str]) -> bool:
    """Whether a certificate of our own authority is missing, ends soon or lacks one of the hosts."""
    if not certificate.exists():
        return True
    leaf = x509.load_pem_x509_certificate(certificate.read_bytes())
    if not authority.with_suffix(".key").exists():
        return False
    if leaf.issuer != x509.load_pem_x509_certificate(authority.read_bytes()).subject:
        return False
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    ends_soon = leaf.not_valid_after_utc < datetime.now(UTC) + timedelta(days=_RENEW_DAYS)
    return ends_soon or not set(_alternative_names(hosts)) <= set(names)
