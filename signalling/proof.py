"""Signatures: who proves what over which bytes.

Every signature covers its purpose first, so that a signature made for one thing proves nothing else::

    "tollgate " | purpose | " 1" | 0x00 | bytes
"""

from __future__ import annotations

import struct

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from signalling.messages import Signed

EXPORTER_LABEL = b"EXPORTER-Channel-Binding"
"""RFC 9266: the TLS 1.3 exporter that names one connection; 32 bytes, no context."""

_U32 = struct.Struct(">I")


class ProofError(ValueError):
    """A signature that does not hold; the text says whose and for what."""


def _prefixed(raw: bytes) -> bytes:
    return _U32.pack(len(raw)) + raw


def statement(purpose: str, document: bytes) -> bytes:
    """The bytes that are signed when ``document`` is signed for ``purpose``."""
    return b"tollgate " + purpose.encode("ascii") + b" 1\x00" + document


def logon_statement(nonce: bytes, terminal: str, server: str, binding: str, binding_data: bytes) -> bytes:
    """What a terminal signs at logon: the live nonce, both names and the channel it speaks through.

    ``binding`` is ``tls-exporter`` (RFC 9266), ``tls-server-end-point`` (RFC 5929) or ``none`` with no data on a link
    without TLS. A proof that is replayed has an old nonce, one that is relayed has another channel.
    """
    return statement(
        "logon",
        nonce
        + _prefixed(terminal.encode())
        + _prefixed(server.encode())
        + _prefixed(binding.encode("ascii"))
        + _prefixed(binding_data),
    )


def sign(key: Ed25519PrivateKey, purpose: str, document: bytes) -> Signed:
    """``document`` with the key's signature for ``purpose``."""
    return Signed(document, key.sign(statement(purpose, document)))


def check(public_key: bytes, purpose: str, signed: Signed) -> bytes:
    """The document when its signature holds. Raises :class:`ProofError`."""
    verify(public_key, statement(purpose, signed.document), signed.signature, purpose)
    return signed.document


def verify(public_key: bytes, message: bytes, signature: bytes, purpose: str) -> None:
    """Raises :class:`ProofError` unless ``signature`` is the key's over ``message``."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise ProofError(f"the {purpose} signature does not hold") from None


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """The 32 bytes of the public key."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def private_bytes(key: Ed25519PrivateKey) -> bytes:
    """The 32 bytes of the private key."""
    return key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
