"""The repository of all that is delivered: a TUF repository on disk (https://theupdateframework.io/specification).

Targets are spread over hash bins (succinct delegation, TAP 15), so a publish signs one bin, the snapshot and the
timestamp, whatever else lies in the repository (:mod:`operator_server.delivery.metadata`).

What is served is ``metadata_dir`` and ``targets_dir``, by this server or any other; the signing keys lie elsewhere.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from tuf.api.metadata import Metadata, Snapshot, TargetFile, Targets, Timestamp

from operator_server.delivery.metadata import SignedMetadata
from operator_server.delivery.roles import RepositorySettings, write_first_versions
from operator_server.delivery.rotation import rotate_key
from operator_server.delivery.signing import KeyFolder
from operator_server.delivery.targets import (
    NewTarget,
    NoSuchTarget,
    PublishedTarget,
    RepositoryError,
    TargetExists,
    check_target,
    copy_to,
    published,
    target_path,
)
from operator_server.files import file_lock, sync_directory

__all__ = [
    "NewTarget",
    "NoSuchTarget",
    "PublishedTarget",
    "Repository",
    "RepositoryError",
    "RepositorySettings",
    "TargetExists",
    "target_path",
]


class Repository:
    """A TUF repository that publishes, withdraws and keeps its signatures fresh.

    May be used from several threads and processes at once; each change holds a lock in the keys folder.
    """

    def __init__(
        self, metadata_dir: Path, targets_dir: Path, keys_dir: Path, settings: RepositorySettings | None = None
    ) -> None:
        """Open an existing repository. Raises :class:`RepositoryError` where there is none."""
        self._targets_dir = targets_dir
        self._metadata = SignedMetadata(metadata_dir, KeyFolder(keys_dir), settings or RepositorySettings())
        if not self._metadata.exists:
            raise RepositoryError(f"{metadata_dir} holds no repository (no timestamp.json); create it first")

    @classmethod
    def create(
        cls,
        metadata_dir: Path,
        targets_dir: Path,
        keys_dir: Path,
        now: datetime,
        settings: RepositorySettings | None = None,
    ) -> Repository:
        """Make an empty repository and its missing keys. Raises :class:`RepositoryError` where one exists."""
        return cls._create(metadata_dir, targets_dir, keys_dir, now, settings or RepositorySettings(), may_exist=False)

    @classmethod
    def open_or_create(
        cls,
        metadata_dir: Path,
        targets_dir: Path,
        keys_dir: Path,
        now: datetime,
        settings: RepositorySettings | None = None,
    ) -> Repository:
        """The repository that is there, or a new one; several processes may call this at once."""
        return cls._create(metadata_dir, targets_dir, keys_dir, now, settings or RepositorySettings(), may_exist=True)

    def root_bytes(self) -> bytes:
        """The newest root metadata: what a terminal pins."""
        return self._metadata.root_bytes()

    def add_target(
        self, path: str, file: Path, *, now: datetime, custom: Mapping[str, Any] | None = None
    ) -> PublishedTarget:
        """Publish one file; see :meth:`add_targets`."""
        return self.add_targets([NewTarget(path, file, custom or {})], now)[0]

    def add_targets(self, targets: Iterable[NewTarget], now: datetime) -> list[PublishedTarget]:
        """Copy files into the repository and publish all of them by one commit, or none.

        The same bytes under the same path again change nothing but ``custom``. Raises :class:`TargetExists` for other
        bytes under a path that is taken, :class:`RepositoryError` for a bad path or custom, ``OSError`` for a file
        that cannot be read or a full disk.
        """
        targets = list(targets)
        for target in targets:
            check_target(target)
        with self._locked(), self._staging() as staging:
            metadata = self._metadata
            succinct, snapshot = metadata.succinct(), metadata.snapshot()
            changed: dict[str, Metadata[Targets]] = {}
            added = []
            for number, target in enumerate(targets):
                staged = staging / str(number)
                fresh = copy_to(target, staged)
                role = succinct.get_role_for_target(target.path)
                current = (changed.get(role) or metadata.targets(snapshot, role)).signed.targets.get(target.path)
                if current is not None and current.hashes != fresh.hashes:
                    raise TargetExists(f"{target.path} is published with other bytes; publish them as a new version")
                if current != fresh:
                    if role not in changed:
                        changed[role] = metadata.to_change(snapshot, role)
                    changed[role].signed.targets[target.path] = fresh
                added.append((staged, fresh))
            self._place(added)
            if changed:
                metadata.commit(snapshot, changed, now)
        return [published(fresh) for _, fresh in added]

    def remove_target(self, path: str, now: datetime) -> None:
        """Withdraw a target, then delete its file. Raises :class:`NoSuchTarget`."""
        with self._locked():
            metadata = self._metadata
            snapshot = metadata.snapshot()
            role = metadata.succinct().get_role_for_target(path)
            if path not in metadata.targets(snapshot, role).signed.targets:
                raise NoSuchTarget(f"{path} is not in the repository")
            changed = metadata.to_change(snapshot, role)
            removed = changed.signed.targets.pop(path)
            metadata.commit(snapshot, {role: changed}, now)
            self._served_file(removed).unlink(missing_ok=True)

    def target(self, path: str) -> PublishedTarget | None:
        """What is published under ``path``."""
        with self._locked():
            role = self._metadata.succinct().get_role_for_target(path)
            found = self._metadata.targets(self._metadata.snapshot(), role).signed.targets.get(path)
        return None if found is None else published(found)

    def targets(self) -> list[PublishedTarget]:
        """Everything that is published, ordered by path."""
        with self._locked():
            snapshot = self._metadata.snapshot()
            bins = [self._metadata.targets(snapshot, role) for role in self._metadata.succinct().get_roles()]
        found = [published(target) for one in bins for target in one.signed.targets.values()]
        return sorted(found, key=lambda target: target.path)

    def refresh_timestamp(self, now: datetime) -> list[str]:
        """Sign again what has less than half of its time left; returns the roles. To be called regularly.

        A root that is due is renewed too when its key is in the keys folder; where it is not, the other roles are
        renewed all the same, and :meth:`root_expires` tells how long there is to fetch it.
        """
        with self._locked():
            metadata = self._metadata
            renewed = metadata.renew_root(now)
            snapshot = metadata.snapshot()
            due = {}
            for role in (Targets.type, *metadata.succinct().get_roles()):
                if metadata.is_due(role, metadata.targets(snapshot, role).signed, now):
                    due[role] = metadata.to_change(snapshot, role)
            if due or metadata.is_due(Snapshot.type, snapshot.signed, now):
                metadata.commit(snapshot, due, now)
                renewed += [*due, Snapshot.type, Timestamp.type]
            elif metadata.is_due(Timestamp.type, metadata.timestamp().signed, now):
                metadata.commit_timestamp(snapshot, now)
                renewed.append(Timestamp.type)
        return renewed

    def rotate_key(self, role: str, now: datetime) -> None:
        """Replace the key of a role by a new one, and sign again what it signs; the old key is worth nothing then.

        Needs the key ``root`` in the keys folder, for ``bins`` the key ``targets``. What was cut short is mended by
        calling it again. Terminals follow by themselves. Raises :class:`RepositoryError` for a role that there is not,
        :class:`operator_server.delivery.signing.SigningKeyError` where a key is missing.
        """
        with self._locked():
            rotate_key(self._metadata, role, now)

    def root_expires(self) -> datetime:
        """Until when terminals accept the newest root."""
        return self._metadata.root().signed.expires

    # Making.

    @classmethod
    def _create(
        cls,
        metadata_dir: Path,
        targets_dir: Path,
        keys_dir: Path,
        now: datetime,
        settings: RepositorySettings,
        *,
        may_exist: bool,
    ) -> Repository:
        for folder in (metadata_dir, targets_dir):
            folder.mkdir(parents=True, exist_ok=True)
        keys_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        with file_lock(keys_dir / "lock"):
            if not (metadata_dir / "timestamp.json").exists():
                keys = KeyFolder(keys_dir)
                keys.generate_missing()
                write_first_versions(metadata_dir, keys, settings, now)
            elif not may_exist:
                raise RepositoryError(f"{metadata_dir} already holds a repository")
        return cls(metadata_dir, targets_dir, keys_dir, settings)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with file_lock(self._metadata.keys.folder / "lock"):
            yield

    @contextmanager
    def _staging(self) -> Iterator[Path]:
        """An empty folder on the disk of the targets; what a killed publish left in it goes first."""
        staging = self._targets_dir / ".staging"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _served_file(self, target: TargetFile) -> Path:
        return self._targets_dir / target.get_prefixed_paths()[0]

    def _place(self, added: list[tuple[Path, TargetFile]]) -> None:
        """Give the staged files the names under which they are served."""
        folders = {self._targets_dir}
        for staged, target in added:
            served = self._served_file(target)
            served.parent.mkdir(parents=True, exist_ok=True)
            os.replace(staged, served)
            folders |= {served.parent, served.parent.parent}
        for folder in folders:
            sync_directory(folder)
