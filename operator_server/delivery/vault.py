"""Content keys at rest: each encrypted under one key-encryption key that lies in a file of its own."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from operator_server.delivery.files import file_lock, sync_directory, write_atomically

_KEY_BYTES = 32
_VERSION = 1
_HEADER = struct.Struct(">B8s12s")


class VaultError(Exception):
    """The key file cannot be used, or a sealed content key does not open; the text says which and what to do."""


class KeyVault:
    """Seals content keys for the store and opens them again.

    A sealed key is ``u8 version (1) | 8 bytes id of the key-encryption key | 12 bytes nonce | AES-256-GCM``, with the
    release's identity as associated data: a row copied to another release does not open.
    """

    def __init__(self, key_file: Path) -> None:
        """Read the key-encryption key from ``key_file``; a missing file is created with mode 0600.

        Raises :class:`VaultError` for a file that others may read or that is not a key, ``OSError`` from the disk.
        """
        if not key_file.exists():
            _create(key_file)
        mode = stat.S_IMODE(key_file.stat().st_mode)
        if mode & 0o077:
            raise VaultError(f"{key_file} has mode {mode:04o}; others may read the key. Run: chmod 600 {key_file}")
        key = key_file.read_bytes()
        if len(key) != _KEY_BYTES:
            raise VaultError(f"{key_file} holds {len(key)} bytes, a key has {_KEY_BYTES}; restore it from the backup")
        self._path = key_file
        self._cipher = AESGCM(key)
        self._id = hashlib.sha256(b"tollgate vault key id 1" + key).digest()[:8]

    def seal(self, content_key: bytes, release: str) -> bytes:
        """The content key of ``release`` (its identity, such as ``product/version``) in a form fit for the store."""
        header = _HEADER.pack(_VERSION, self._id, os.urandom(12))
        return header + self._cipher.encrypt(header[-12:], content_key, header + release.encode())

    def open(self, sealed: bytes, release: str) -> bytes:
        """The content key again. Raises :class:`VaultError` for another release, another vault, or altered bytes."""
        if len(sealed) < _HEADER.size or sealed[0] != _VERSION:
            raise VaultError(f"the content key of {release} is not in a form that this vault knows")
        header, body = sealed[: _HEADER.size], sealed[_HEADER.size :]
        _, key_id, nonce = _HEADER.unpack(header)
        if key_id != self._id:
            raise VaultError(
                f"the content key of {release} is sealed under key {key_id.hex()}, {self._path} holds {self._id.hex()};"
                " restore the key file that belongs to this database"
            )
        try:
            return self._cipher.decrypt(nonce, body, header + release.encode())
        except InvalidTag:
            raise VaultError(f"the content key of {release} does not open: altered, or of another release") from None


def _create(key_file: Path) -> None:
    """Write a fresh key so that two processes that start at once agree on one."""
    key_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with file_lock(key_file.with_name(key_file.name + ".lock")):
        if not key_file.exists():
            write_atomically(key_file, os.urandom(_KEY_BYTES), mode=0o600)
            sync_directory(key_file.parent)
