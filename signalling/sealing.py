"""Sealed packages and their keys: what is paid for travels as an envelope that only its content key opens.

A package is sealed in chunks, so that neither side holds it in memory, by AES-256-GCM in the STREAM construction
(Hoang, Reyhanitabar, Rogaway, Vizar, "Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", 2015)::

    header = "TGSEAL" | u8 version (1) | u32 chunk size | 32 bytes key id | 7 bytes nonce prefix
    then chunks: AES-256-GCM( content key, nonce = prefix | u32 counter from 0 | u8 last, data = header )

Integers are big-endian. Every chunk but the last holds exactly *chunk size* bytes of plaintext and is followed by its
tag of 16 bytes; ``last`` is 1 in the last chunk and 0 in the others, so a chunk that is cut off, moved, repeated or
added does not open. An empty package is one empty last chunk. The key id is a digest of the key
(:func:`key_id`): it commits the envelope to one key, and a wrong key is told from a damaged package.

The content key reaches a terminal wrapped for its X25519 key by HPKE (RFC 9180, base mode, DHKEM(X25519, HKDF-SHA256),
HKDF-SHA256, AES-128-GCM), bound to the agreement by ``info`` (:func:`grant_info`).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

KEY_BYTES = 32
CHUNK_BYTES = 64 * 1024
MAX_CHUNK_BYTES = 4 * 1024 * 1024

_MAGIC = b"TGSEAL"
_VERSION = 1
_HEADER = struct.Struct(">6sBI32s7s")
_NONCE = struct.Struct(">7sIB")
_TAG_BYTES = 16
_MAX_CHUNKS = 2**32

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM)


class SealError(ValueError):
    """A package or a wrapped key that does not open; the text says why. What was written so far must be discarded."""


class WrongKey(SealError):
    """The package is sealed with another content key."""


def new_content_key() -> bytes:
    """A fresh content key of 32 random bytes. One key seals one package."""
    return os.urandom(KEY_BYTES)


def key_id(content_key: bytes) -> bytes:
    """32 bytes that name a content key without giving it away."""
    _check_key(content_key)
    return hashlib.sha256(b"tollgate content key id 1" + content_key).digest()


def seal(source: BinaryIO, sink: BinaryIO, content_key: bytes, chunk_bytes: int = CHUNK_BYTES) -> int:
    """Seal everything ``source`` gives into ``sink``; returns the plaintext's length in bytes.

    Raises ``ValueError`` for a key that is not 32 bytes, a chunk size out of bounds, or a package of 2**32 chunks.
    """
    if not 1 <= chunk_bytes <= MAX_CHUNK_BYTES:
        raise ValueError(f"a chunk has 1 to {MAX_CHUNK_BYTES} bytes, not {chunk_bytes}")
    prefix = os.urandom(7)
    header = _HEADER.pack(_MAGIC, _VERSION, chunk_bytes, key_id(content_key), prefix)
    sink.write(header)
    cipher = AESGCM(content_key)
    total = 0
    chunk = _read_exactly(source, chunk_bytes)
    for counter in range(_MAX_CHUNKS):
        following = _read_exactly(source, chunk_bytes)
        last = not following
        sink.write(cipher.encrypt(_NONCE.pack(prefix, counter, last), chunk, header))
        total += len(chunk)
        if last:
            return total
        chunk = following
    raise ValueError(f"the package has more than {_MAX_CHUNKS} chunks of {chunk_bytes} bytes; take larger chunks")


def open_seal(source: BinaryIO, sink: BinaryIO, content_key: bytes) -> int:
    """Write the plaintext of the sealed ``source`` to ``sink``; returns its length in bytes.

    What is in ``sink`` counts only once this returns: the last chunk proves that nothing is missing. Raises
    :class:`WrongKey`, or :class:`SealError` for what is not a sealed package or was damaged, cut off or extended.
    """
    header, chunk_bytes, sealed_for, prefix = _read_header(source)
    if not hmac.compare_digest(sealed_for, key_id(content_key)):
        raise WrongKey(f"the package is sealed with content key {sealed_for.hex()[:16]}..., not with the given one")
    cipher = AESGCM(content_key)
    total = 0
    chunk = _read_exactly(source, chunk_bytes + _TAG_BYTES)
    for counter in range(_MAX_CHUNKS):
        following = _read_exactly(source, chunk_bytes + _TAG_BYTES)
        last = not following
        if last and counter and len(chunk) == _TAG_BYTES:
            raise SealError(f"chunk {counter} is empty; only an empty package has an empty chunk")
        try:
            plain = cipher.decrypt(_NONCE.pack(prefix, counter, last), chunk, header)
        except (InvalidTag, ValueError):
            where = "the last" if last else "not the last"
            raise SealError(f"chunk {counter} ({where}) does not open: damaged, cut off, moved or extended") from None
        sink.write(plain)
        total += len(plain)
        if last:
            return total
        chunk = following
    raise SealError(f"more than {_MAX_CHUNKS} chunks")


def sealed_key_id(source: BinaryIO) -> bytes:
    """The id of the content key that opens the sealed package. Raises :class:`SealError`."""
    return _read_header(source)[2]


def sealed_length(plain_length: int, chunk_bytes: int = CHUNK_BYTES) -> int:
    """How many bytes a package of ``plain_length`` bytes has once it is sealed."""
    chunks = max(1, -(-plain_length // chunk_bytes))
    return _HEADER.size + plain_length + chunks * _TAG_BYTES


def grant_info(agreement: str) -> bytes:
    """What a wrapped content key is bound to: the agreement it was granted for."""
    return b"tollgate content key 1" + agreement.encode()


def wrap_key(content_key: bytes, public_key: bytes, info: bytes) -> bytes:
    """The content key for one terminal: 32 bytes HPKE encapsulation, then 48 bytes ciphertext (RFC 9180, 6.1).

    ``public_key``: 32 raw bytes of X25519, as the terminal sent them. ``info``: see :func:`grant_info`. Raises
    :class:`SealError` for a public key to which nothing can be wrapped, ``ValueError`` for a content key that is none.
    """
    _check_key(content_key)
    try:
        return _SUITE.encrypt(content_key, X25519PublicKey.from_public_bytes(public_key), info)
    except ValueError as error:
        raise SealError(f"nothing can be wrapped for the public key {public_key.hex()[:64]}: {error}") from None


def unwrap_key(wrapped: bytes, private_key: X25519PrivateKey, info: bytes) -> bytes:
    """The content key again. Raises :class:`SealError` when it was wrapped for another key or bound to another info."""
    try:
        content_key = _SUITE.decrypt(wrapped, private_key, info)
    except (InvalidTag, ValueError):
        raise SealError(
            "the wrapped content key does not open: other terminal key, other agreement, or damaged"
        ) from None
    _check_key(content_key)
    return content_key


def _read_header(source: BinaryIO) -> tuple[bytes, int, bytes, bytes]:
    header = _read_exactly(source, _HEADER.size)
    if len(header) < _HEADER.size or not header.startswith(_MAGIC):
        raise SealError("this is not a sealed package: its header is missing")
    _, version, chunk_bytes, sealed_for, prefix = _HEADER.unpack(header)
    if version != _VERSION:
        raise SealError(f"the package is sealed by version {version} of the format; this program knows {_VERSION}")
    if not 1 <= chunk_bytes <= MAX_CHUNK_BYTES:
        raise SealError(f"the header speaks of chunks of {chunk_bytes} bytes; 1 to {MAX_CHUNK_BYTES} are allowed")
    return header, chunk_bytes, sealed_for, prefix


def _read_exactly(source: BinaryIO, size: int) -> bytes:
    """``size`` bytes, fewer only at the end: raw files and pipes may give less in one read."""
    data = source.read(size)
    while len(data) < size:
        more = source.read(size - len(data))
        if not more:
            break
        data += more
    return data


def _check_key(content_key: bytes) -> None:
    if len(content_key) != KEY_BYTES:
        raise ValueError(f"a content key has {KEY_BYTES} bytes, not {len(content_key)}")
