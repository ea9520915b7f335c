"""The repository's signing keys: one Ed25519 key a role, each in a PEM file that only its owner reads."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner

from operator_server.files import sync_directory, write_atomically

ROLES = ("root", "targets", "snapshot", "timestamp", "bins")


class SigningKeyError(Exception):
    """A key is missing or badly kept; the text says which file and what to do."""


class KeyFolder:
    """The folder of signing keys, apart from what is served.

    The root key is needed only to create the repository and to renew or change the root; it may be kept elsewhere in
    between. The targets key is needed only as often as the top of the hash bins is renewed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._signers: dict[str, tuple[tuple[int, int] | None, CryptoSigner]] = {}

    def has(self, role: str) -> bool:
        """Whether the role's key lies here."""
        return self._file(role).exists()

    def generate_missing(self) -> None:
        """Make a key for every role that has none yet."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for role in ROLES:
            if not self.has(role):
                write_atomically(self._file(role), CryptoSigner.generate_ed25519().private_bytes, mode=0o600)
        sync_directory(self.folder)

    def signer(self, role: str) -> CryptoSigner:
        """The signer of a role, also after another process has replaced its key. Raises :class:`SigningKeyError`."""
        file = self._file(role)
        mark, known = _mark(file), self._signers.get(role)
        if known is None or known[0] != mark:
            known = self._signers[role] = mark, self._load(file)
        return known[1]

    def stage(self, role: str) -> CryptoSigner:
        """A new key for a role, beside the one in force until :meth:`activate`."""
        write_atomically(self._staged_file(role), CryptoSigner.generate_ed25519().private_bytes, mode=0o600)
        sync_directory(self.folder)
        return self._load(self._staged_file(role))

    def staged(self, role: str) -> CryptoSigner | None:
        """The new key of a role whose replacement was cut short."""
        return self._load(self._staged_file(role)) if self._staged_file(role).exists() else None

    def activate(self, role: str) -> None:
        """Put the staged key in the place of the one in force, which is gone then."""
        os.replace(self._staged_file(role), self._file(role))
        sync_directory(self.folder)

    def _staged_file(self, role: str) -> Path:
        return self.folder / f"{role}.new"

    def _file(self, role: str) -> Path:
        return self.folder / f"{role}.pem"

    def _load(self, file: Path) -> CryptoSigner:
        try:
            mode = stat.S_IMODE(file.stat().st_mode)
            data = file.read_bytes()
        except FileNotFoundError:
            raise SigningKeyError(f"{file} is missing; put the repository's key back there") from None
        if mode & 0o077:
            raise SigningKeyError(f"{file} has mode {mode:04o}; others may read the key. Run: chmod 600 {file}")
        try:
            return CryptoSigner(load_pem_private_key(data, password=None))
        except (ValueError, TypeError) as error:
            raise SigningKeyError(f"{file} is not a private key in PEM form: {error}") from None


def _mark(file: Path) -> tuple[int, int] | None:
    """What tells a file from the one that was there before."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns
