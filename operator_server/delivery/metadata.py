"""The signed metadata of the repository on disk: read, signed again, committed.

With consistent snapshots every file has a name of its own, and ``timestamp.json`` alone is replaced: that one rename is
the commit. A crash before it leaves files that nothing speaks of, and the next publish writes over them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from tuf.api.metadata import Metadata, MetaFile, Root, Signed, Snapshot, SuccinctRoles, Targets, Timestamp

from operator_server.delivery.roles import RepositorySettings, sign_and_write
from operator_server.delivery.signing import KeyFolder
from operator_server.delivery.targets import RepositoryError
from operator_server.files import sync_directory, write_atomically

_KEPT_VERSIONS = 10
"""Old versions of each metadata file that stay, for clients that are reading an older snapshot."""


_SignedT = TypeVar("_SignedT", Root, Timestamp, Snapshot, Targets)


class SignedMetadata:
    """The metadata folder and the keys that sign it. Its user holds the lock for every call."""

    def __init__(self, folder: Path, keys: KeyFolder, settings: RepositorySettings) -> None:
        self.folder = folder
        self.keys = keys
        self.settings = settings
        self._cache: dict[str, Metadata[Targets]] = {}

    @property
    def exists(self) -> bool:
        """Whether a repository is here."""
        return (self.folder / "timestamp.json").exists()

    # Reading.

    def root(self) -> Metadata[Root]:
        """The newest root."""
        return self._read(Root.type, self._root_version(), Root)

    def root_bytes(self) -> bytes:
        """The newest root as it lies on the disk."""
        return (self.folder / f"{self._root_version()}.root.json").read_bytes()

    def timestamp(self) -> Metadata[Timestamp]:
        """The newest signature of all."""
        return self._read(Timestamp.type, None, Timestamp)

    def _read(self, role: str, version: int | None, kind: type[_SignedT]) -> Metadata[_SignedT]:
        name = f"{role}.json" if version is None else f"{version}.{role}.json"
        metadata = Metadata.from_bytes((self.folder / name).read_bytes())
        if not isinstance(metadata.signed, kind):
            raise RepositoryError(f"{self.folder / name} holds {metadata.signed.type}, not {kind.type}")
        return metadata

    def snapshot(self) -> Metadata[Snapshot]:
        """The snapshot that is in force."""
        timestamp = self.timestamp().signed
        return self._read(Snapshot.type, timestamp.snapshot_meta.version, Snapshot)

    def targets(self, snapshot: Metadata[Snapshot], role: str) -> Metadata[Targets]:
        """The metadata of a bin, or of the top, as the snapshot has it; parsed once as long as it stays the same.

        Who wants to change it takes it by :meth:`to_change`.
        """
        version = snapshot.signed.meta[f"{role}.json"].version
        cached = self._cache.get(role)
        if cached is None or cached.signed.version != version:
            cached = self._cache[role] = self._read(role, version, Targets)
        return cached

    def to_change(self, snapshot: Metadata[Snapshot], role: str) -> Metadata[Targets]:
        """The same for who changes it and commits that: what fails half-way is read from the disk again."""
        self.targets(snapshot, role)
        return self._cache.pop(role)

    def succinct(self) -> SuccinctRoles:
        """The hash bins. Raises :class:`RepositoryError` where there are none."""
        top = self._cache.get(Targets.type) or self.targets(self.snapshot(), Targets.type)
        delegations = top.signed.delegations
        if delegations is None or delegations.succinct_roles is None:
            raise RepositoryError(f"{self.folder} is not a repository with hash bins")
        return delegations.succinct_roles

    def _root_version(self) -> int:
        return max(int(file.name.split(".")[0]) for file in self.folder.glob("[0-9]*.root.json"))

    def is_due(self, role: str, signed: Signed, now: datetime) -> bool:
        """Whether less than half of its time is left."""
        return signed.expires - now < self.settings.lifetime(role) / 2

    # Writing.

    def commit(self, snapshot: Metadata[Snapshot], changed: Mapping[str, Metadata[Targets]], now: datetime) -> None:
        """Sign and write what changed, then the snapshot, and last the timestamp, which puts it in force."""
        for role, metadata in changed.items():
            metadata.signed.version += 1
            self._sign_and_write(role, metadata, now)
            snapshot.signed.meta[f"{role}.json"] = MetaFile(metadata.signed.version)
        snapshot.signed.version += 1
        self._sign_and_write(Snapshot.type, snapshot, now)
        sync_directory(self.folder)
        self.commit_timestamp(snapshot, now)
        self._cache.update(changed)
        for role, version in [(Snapshot.type, snapshot.signed.version), *_versions(changed)]:
            (self.folder / f"{version - _KEPT_VERSIONS}.{role}.json").unlink(missing_ok=True)

    def commit_timestamp(self, snapshot: Metadata[Snapshot], now: datetime) -> None:
        """Put the snapshot in force."""
        timestamp = self.timestamp()
        timestamp.signed.version += 1
        timestamp.signed.snapshot_meta = MetaFile(snapshot.signed.version)
        self._sign_and_write(Timestamp.type, timestamp, now)
        sync_directory(self.folder)

    def renew_root(self, now: datetime) -> list[str]:
        """Sign the root again if it is due and its key is there; the role if so."""
        root = self.root()
        if not self.is_due(Root.type, root.signed, now) or not self.keys.has(Root.type):
            return []
        root.signed.version += 1
        self._sign_and_write(Root.type, root, now)
        sync_directory(self.folder)
        return [Root.type]

    def write_root(self, root: Metadata[Root]) -> None:
        """Put a root that is signed already in force."""
        write_atomically(self.folder / f"{root.signed.version}.root.json", root.to_bytes())
        sync_directory(self.folder)

    def _sign_and_write(self, role: str, metadata: Metadata[Any], now: datetime) -> None:
        sign_and_write(self.folder, self.keys, role, metadata, now + self.settings.lifetime(role))


def _versions(metadata: Mapping[str, Metadata[Targets]]) -> list[tuple[str, int]]:
    return [(role, one.signed.version) for role, one in metadata.items()]
