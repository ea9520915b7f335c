"""What a terminal is given before its first logon: whom it trusts, and its own identity.

The *trust bundle* is one JSON file made by the operator; it holds nothing secret, and is the same for all terminals
(``terminal`` may name the one it was made for)::

    {"server": "tollgate.example", "server_public_key": "<base64, 32 bytes of Ed25519>",
     "host": "localhost", "port": 7707, "tls": true, "ca_pem": "-----BEGIN CERTIFICATE-----...",
     "repository_urls": ["https://localhost:7780/repository/"], "tuf_root": "<text of root.json>", "terminal": ""}
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Meta

from signalling.documents import DeliveryGrant, KeyChange, Quote, UsageGrant, decode_document
from signalling.envelope import BodyError
from signalling.messages import Digest, Id, Instant, Signed
from signalling.proof import ProofError, check, private_bytes, public_bytes
from terminal_sim.files import sync_directory, write_atomically

IssuedDocument = TypeVar("IssuedDocument", Quote, DeliveryGrant, UsageGrant)


class TrustError(ValueError):
    """A bundle or an identity that cannot be used; the text names the file, what is wrong, and what to do."""


class FormerKey(msgspec.Struct, frozen=True):
    """A signing key that the server has replaced: what it signed before ``until`` still holds."""

    public_key: Digest
    until: Instant


class Trust(msgspec.Struct, frozen=True):
    """Whom the terminal trusts and where it finds them; see the module's text for the file.

    ``former_keys``: those that ``server_public_key`` has taken the place of; not in a bundle.
    """

    server: Id
    server_public_key: Digest
    host: str
    port: Annotated[int, Meta(ge=1, le=65535)]
    ca_pem: str = ""
    repository_urls: list[str] = []
    tuf_root: str = ""
    tls: bool = True
    terminal: str = ""
    former_keys: list[FormerKey] = []

    @classmethod
    def read(cls, path: Path) -> Trust:
        """The bundle in a file. Raises :class:`TrustError`."""
        try:
            trust = msgspec.json.decode(path.read_bytes(), type=cls)
        except OSError as error:
            raise TrustError(f"{path}: {error.strerror}; ask the operator for the terminal bundle") from None
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise TrustError(f"{path}: not a terminal bundle: {error}") from None
        if trust.tls and "BEGIN CERTIFICATE" not in trust.ca_pem:
            raise TrustError(f"{path}: ca_pem holds no certificate, so that the server could not be told from another")
        return trust

    def document(self, kind: type[IssuedDocument], signed: Signed) -> IssuedDocument:
        """What the server signed, with its key or, before the change, with a former one.

        Raises :class:`signalling.proof.ProofError` and :class:`signalling.envelope.BodyError`.
        """
        try:
            return decode_document(kind, check(self.server_public_key, kind.PURPOSE, signed))
        except ProofError:
            document = decode_document(kind, signed.document)
            for former in self.former_keys:
                if document.issued < former.until:
                    with suppress(ProofError):
                        check(former.public_key, kind.PURPOSE, signed)
                        return document
            raise

    def after(self, changes: Iterable[Signed], now: int) -> Trust:
        """Whom to trust after the server told of changes of its key; the same where none follows from the key known.

        ``now``: the server's time in micros. A change that the key before it has not signed is not taken.
        """
        trust = self
        for signed in changes:
            try:
                change = decode_document(KeyChange, signed.document)
                if (change.server, change.old_key) != (trust.server, trust.server_public_key):
                    continue
                check(trust.server_public_key, KeyChange.PURPOSE, signed)
            except (ProofError, BodyError):
                continue
            former = FormerKey(trust.server_public_key, now)
            trust = msgspec.structs.replace(
                trust, server_public_key=change.new_key, former_keys=[*trust.former_keys, former]
            )
        return trust


class Identity:
    """A terminal's name and its Ed25519 key."""

    def __init__(self, terminal: str, key: Ed25519PrivateKey) -> None:
        self.terminal = terminal
        self.key = key

    @classmethod
    def new(cls, terminal: str) -> Identity:
        """A fresh key for ``terminal``."""
        return cls(terminal, Ed25519PrivateKey.generate())

    @property
    def public_key(self) -> bytes:
        """32 bytes, for the enrolment."""
        return public_bytes(self.key)

    def wrap_key(self, agreement: str) -> X25519PrivateKey:
        """The X25519 key to which the grant of ``agreement`` is wrapped.

        It is derived from the identity's key, one for each agreement, so an order that is repeated after a crash
        needs no further secret on the disk.
        """
        seed = HKDF(hashes.SHA256(), 32, None, b"tollgate wrap key 1" + agreement.encode()).derive(
            private_bytes(self.key)
        )
        return X25519PrivateKey.from_private_bytes(seed)


class _IdentityFile(msgspec.Struct, frozen=True):
    terminal: Id
    private_key: Digest


def write_identity(path: Path, identity: Identity) -> None:
    """Keep the identity in a file that only its owner may read."""
    write_private(path, msgspec.json.encode(_IdentityFile(identity.terminal, private_bytes(identity.key))))


def read_identity(path: Path) -> Identity:
    """The identity in a file. Raises :class:`TrustError`."""
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=_IdentityFile)
    except OSError as error:
        raise TrustError(f"{path}: {error.strerror}; make the terminal first with tollgate-terminal init") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise TrustError(f"{path}: not an identity: {error}") from None
    return Identity(kept.terminal, Ed25519PrivateKey.from_private_bytes(kept.private_key))


def write_private(path: Path, data: bytes) -> None:
    """Write a file (mode 0600) so that after a power cut it is there whole or as it was before."""
    write_atomically(path, data)
    sync_directory(path.parent)
