"""Content keys and other secrets at rest: encrypted under one key-encryption key that lies in a file of its own."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from contextlib import AbstractContextManager
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from operator_server.files import file_lock, sync_directory, write_atomically

_KEY_BYTES = 32
_VERSION = 1
_HEADER = struct.Struct(">B8s12s")


class VaultError(Exception):
    """The key file cannot be used, or a sealed content key does not open; the text says which and what to do."""


class KeyVault:
    """Seals content keys for the store and opens them again.

    A sealed key is ``u8 version (1) | 8 bytes id of the key-encryption key | 12 bytes nonce | AES-256-GCM``, with the
    release's identity as associated data: a row copied to another release does not open.

    The key can be replaced (:meth:`replace`). The one before then lies beside it, ``NAME.ID.old``, and what was sealed
    under it still opens, until :meth:`forget`. A vault in another process notices both by itself.
    """

    def __init__(self, key_file: Path) -> None:
        """Read the key-encryption key from ``key_file``; a missing file is created with mode 0600.

        Raises :class:`VaultError` for a file that others may read or that is not a key, ``OSError`` from the disk.
        """
        if not key_file.exists():
            _create(key_file)
        self._path = key_file
        self._load()

    @property
    def key_id(self) -> str:
        """The id of the key in force, as :class:`VaultError` names it."""
        self._refresh()
        return self._id.hex()

    def former(self) -> list[str]:
        """The ids of keys that were replaced and are still there."""
        return sorted(_id_of(path) for path in _former(self._path))

    def seal(self, content_key: bytes, release: str) -> bytes:
        """The content key of ``release`` (its identity, such as ``product/version``) in a form fit for the store."""
        self._refresh()
        header = _HEADER.pack(_VERSION, self._id, os.urandom(12))
        return header + self._ciphers[self._id].encrypt(header[-12:], content_key, header + release.encode())

    def open(self, sealed: bytes, release: str) -> bytes:
        """The content key again. Raises :class:`VaultError` for another release, another vault, or altered bytes."""
        if len(sealed) < _HEADER.size or sealed[0] != _VERSION:
            raise VaultError(f"the content key of {release} is not in a form that this vault knows")
        header, body = sealed[: _HEADER.size], sealed[_HEADER.size :]
        _, key_id, nonce = _HEADER.unpack(header)
        if key_id not in self._ciphers:
            self._load()
        if key_id not in self._ciphers:
            raise VaultError(
                f"the content key of {release} is sealed under key {key_id.hex()}, {self._path} holds {self._id.hex()};"
                " restore the key file that belongs to this database"
            )
        try:
            return self._ciphers[key_id].decrypt(nonce, body, header + release.encode())
        except InvalidTag:
            raise VaultError(f"the content key of {release} does not open: altered, or of another release") from None

    def replace(self) -> None:
        """Make a new key and put it in force; the one before stays beside it.

        Cut short, nothing is lost: the old key is durable under its other name before the new one takes its place.
        """
        with _locked(self._path):
            self._load()
            before = self._path.with_name(f"{self._path.name}.{self._id.hex()}.old")
            write_atomically(before, self._path.read_bytes(), mode=0o600)
            sync_directory(before.parent)
            write_atomically(self._path, os.urandom(_KEY_BYTES), mode=0o600)
            sync_directory(self._path.parent)
            self._load()

    def forget(self) -> list[str]:
        """Remove the keys that were replaced; their ids. What is still sealed under them never opens again."""
        with _locked(self._path):
            gone = [path for path in _former(self._path) if _id_of(path) != self._id.hex()]
            for path in _former(self._path):
                path.unlink()
            sync_directory(self._path.parent)
            self._load()
        return sorted(_id_of(path) for path in gone)

    def _refresh(self) -> None:
        if _mark(self._path) != self._seen:
            self._load()

    def _load(self) -> None:
        self._seen = _mark(self._path)
        current = _read(self._path)
        self._id = _key_id(current)
        self._ciphers = {self._id: AESGCM(current)}
        for path in _former(self._path):
            key = _read(path)
            self._ciphers.setdefault(_key_id(key), AESGCM(key))


def sealed_under(sealed: bytes) -> str:
    """The id of the key under which something was sealed."""
    return sealed[1:9].hex()


def _former(key_file: Path) -> list[Path]:
    return sorted(key_file.parent.glob(f"{key_file.name}.*.old"))


def _id_of(former: Path) -> str:
    return former.name.split(".")[-2]


def _mark(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_ino


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"tollgate vault key id 1" + key).digest()[:8]


def _read(path: Path) -> bytes:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise VaultError(f"{path} has mode {mode:04o}; others may read the key. Run: chmod 600 {path}")
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise VaultError(f"{path} holds {len(key)} bytes, a key has {_KEY_BYTES}; restore it from the backup")
    return key


def _locked(key_file: Path) -> AbstractContextManager[None]:
    return file_lock(key_file.with_name(key_file.name + ".lock"))


def _create(key_file: Path) -> None:
    """Write a fresh key so that two processes that start at once agree on one."""
    key_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(key_file):
        if not key_file.exists():
            write_atomically(key_file, os.urandom(_KEY_BYTES), mode=0o600)
            sync_directory(key_file.parent)
