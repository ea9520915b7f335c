"""A package on its way into the repository: sealed when it is paid for, then published.

The two steps lie apart so that the content key can be stored between them: :func:`prepare`, write the release with
its sealed content key to the store, :func:`publish`. Killed in between, the release is prepared anew; killed after,
publishing once more changes nothing. A key is never needed that was not stored first.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from operator_server.delivery.repository import NewTarget, PublishedTarget, Repository, target_path
from operator_server.delivery.vault import KeyVault
from signalling.sealing import key_id, new_content_key, seal


@dataclass(frozen=True)
class Package:
    """A file ready to be published, as it will be served.

    ``sha256`` and ``length`` (bytes) are those of the served file; ``content_key`` is sealed by the vault for
    :func:`release_identity`, and empty where the package is free.
    """

    product: str
    version: str
    target: str
    file: Path
    sha256: bytes
    length: int
    sealed: bool
    content_key: bytes


def release_identity(product: str, version: str) -> str:
    """What a content key is bound to at rest."""
    return f"{product}/{version}"


def prepare(package: Path, product: str, version: str, staging: Path, vault: KeyVault | None) -> Package:
    """Make ``package`` ready: with a ``vault`` sealed into the folder ``staging``, without one as it is.

    Raises ``RepositoryError`` for a product, version or file name that a path cannot hold, ``OSError`` for a file that
    cannot be read (a folder, for one) or a full disk.
    """
    target = target_path(product, version, package.name)
    if vault is None:
        with package.open("rb") as source:
            digest = hashlib.file_digest(source, "sha256").digest()
        return Package(product, version, target, package, digest, package.stat().st_size, False, b"")
    content_key = new_content_key()
    sealed = staging / f"{key_id(content_key).hex()}.sealed"
    with package.open("rb") as source, sealed.open("w+b") as sink:
        seal(source, sink, content_key)
        sink.flush()
        os.fsync(sink.fileno())
        sink.seek(0)
        digest = hashlib.file_digest(sink, "sha256").digest()
    kept = vault.seal(content_key, release_identity(product, version))
    return Package(product, version, target, sealed, digest, sealed.stat().st_size, True, kept)


def publish(repository: Repository, packages: list[Package], now: datetime) -> list[PublishedTarget]:
    """Publish packages by one commit; see :meth:`Repository.add_targets` for what is refused."""
    return repository.add_targets(
        [NewTarget(package.target, package.file, {"sealed": package.sealed}) for package in packages], now
    )
