"""The repository of all that is delivered: a TUF repository on disk (https://theupdateframework.io/specification).

Targets are spread over hash bins (succinct delegation, TAP 15), so a publish signs one bin, the snapshot and the
timestamp, whatever else lies in the repository. With consistent snapshots every file has a name of its own, and
``timestamp.json`` alone is replaced: that one rename is the commit. A crash before it leaves files that nothing
speaks of, and the next publish writes over them.

What is served is ``metadata_dir`` and ``targets_dir``, by this server or any other; the signing keys lie elsewhere.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from securesystemslib.exceptions import FormatError
from securesystemslib.formats import encode_canonical
from tuf.api.metadata import (
    Metadata,
    MetaFile,
    Root,
    Signed,
    Snapshot,
    SuccinctRoles,
    TargetFile,
    Targets,
    Timestamp,
)

from operator_server.delivery.files import file_lock, sync_directory, write_atomically
from operator_server.delivery.roles import RepositorySettings, sign_and_write, write_first_versions
from operator_server.delivery.signing import ROLES, KeyFolder

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

_TARGET_PATH = re.compile(r"(?:[A-Za-z0-9_@][A-Za-z0-9._:@+!~-]{0,127}/){2}[A-Za-z0-9_@][A-Za-z0-9._:@+!~-]{0,180}")
_PATH_RULE = (
    "product/version/name is needed, each of letters, digits and ._:@+!~- beginning with a letter, a digit, _ or @"
)
_BINS = "bins"
_KEPT_VERSIONS = 10
"""Old versions of each metadata file that stay, for clients that are reading an older snapshot."""

_SignedT = TypeVar("_SignedT", Root, Timestamp, Snapshot, Targets)


class RepositoryError(Exception):
    """The repository cannot do what was asked; the text says what and why. Nothing was published."""


class TargetExists(RepositoryError):
    """The path already names other bytes; what was published once never changes under its name."""


class NoSuchTarget(RepositoryError):
    """Nothing is published under the path."""


@dataclass(frozen=True)
class NewTarget:
    """A file to publish under ``path`` (``product/version/name``). ``custom`` is signed with it: no floats."""

    path: str
    file: Path
    custom: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PublishedTarget:
    """A target as the signed metadata describes it; ``length`` in bytes."""

    path: str
    sha256: bytes
    length: int
    custom: Mapping[str, Any]


class Repository:
    """A TUF repository that publishes, withdraws and keeps its signatures fresh.

    May be used from several threads and processes at once; each change holds a lock in the keys folder.
    """

    def __init__(
        self, metadata_dir: Path, targets_dir: Path, keys_dir: Path, settings: RepositorySettings | None = None
    ) -> None:
        """Open an existing repository. Raises :class:`RepositoryError` where there is none."""
        self._metadata_dir = metadata_dir
        self._targets_dir = targets_dir
        self._keys = KeyFolder(keys_dir)
        self._settings = settings or RepositorySettings()
        self._cache: dict[str, Metadata[Targets]] = {}
        if not self._timestamp_file.exists():
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
        return (self._metadata_dir / f"{self._root_version()}.root.json").read_bytes()

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
            _check(target)
        with self._locked(), self._staging() as staging:
            succinct, snapshot = self._succinct(), self._snapshot()
            changed: dict[str, Metadata[Targets]] = {}
            added = []
            for number, target in enumerate(targets):
                staged = staging / str(number)
                fresh = _copy(target, staged)
                role = succinct.get_role_for_target(target.path)
                current = (changed.get(role) or self._bin(snapshot, role)).signed.targets.get(target.path)
                if current is not None and current.hashes != fresh.hashes:
                    raise TargetExists(f"{target.path} is published with other bytes; publish them as a new version")
                if current != fresh:
                    if role not in changed:
                        changed[role] = self._cache.pop(role)
                    changed[role].signed.targets[target.path] = fresh
                added.append((staged, fresh))
            self._place(added)
            if changed:
                self._commit(snapshot, changed, now)
        return [_published(fresh) for _, fresh in added]

    def remove_target(self, path: str, now: datetime) -> None:
        """Withdraw a target, then delete its file. Raises :class:`NoSuchTarget`."""
        with self._locked():
            snapshot = self._snapshot()
            role = self._succinct().get_role_for_target(path)
            if path not in self._bin(snapshot, role).signed.targets:
                raise NoSuchTarget(f"{path} is not in the repository")
            metadata = self._cache.pop(role)
            removed = metadata.signed.targets.pop(path)
            self._commit(snapshot, {role: metadata}, now)
            self._served_file(removed).unlink(missing_ok=True)

    def target(self, path: str) -> PublishedTarget | None:
        """What is published under ``path``."""
        with self._locked():
            found = self._bin(self._snapshot(), self._succinct().get_role_for_target(path)).signed.targets.get(path)
        return None if found is None else _published(found)

    def targets(self) -> list[PublishedTarget]:
        """Everything that is published, ordered by path."""
        with self._locked():
            snapshot = self._snapshot()
            bins = [self._bin(snapshot, role) for role in self._succinct().get_roles()]
        found = [_published(target) for one in bins for target in one.signed.targets.values()]
        return sorted(found, key=lambda target: target.path)

    def refresh_timestamp(self, now: datetime) -> list[str]:
        """Sign again what has less than half of its time left; returns the roles. To be called regularly.

        A root that is due is renewed too when its key is in the keys folder; where it is not, the other roles are
        renewed all the same, and :meth:`root_expires` tells how long there is to fetch it.
        """
        with self._locked():
            renewed = self._renew_root(now)
            snapshot = self._snapshot()
            due = {}
            for role in (Targets.type, *self._succinct().get_roles()):
                if self._is_due(role, self._bin(snapshot, role).signed, now):
                    due[role] = self._cache.pop(role)
            timestamp = self._read(Timestamp.type, None, Timestamp)
            if due or self._is_due(Snapshot.type, snapshot.signed, now):
                self._commit(snapshot, due, now)
                renewed += [*due, Snapshot.type, Timestamp.type]
            elif self._is_due(Timestamp.type, timestamp.signed, now):
                self._commit_timestamp(snapshot, now)
                renewed.append(Timestamp.type)
        return renewed

    def rotate_key(self, role: str, now: datetime) -> None:
        """Replace the key of a role by a new one, and sign again what it signs; the old key is worth nothing then.

        Needs the key ``root`` in the keys folder, for ``bins`` the key ``targets``. What was cut short is mended by
        calling it again. Terminals follow by themselves. Raises :class:`RepositoryError` for a role that there is not,
        :class:`operator_server.delivery.signing.SigningKeyError` where a key is missing.
        """
        if role not in ROLES:
            raise RepositoryError(f"role {role!r}: there are {', '.join(ROLES)}")
        with self._locked():
            if role == _BINS:
                self._rotate_bins(now)
                return
            root = self._read(Root.type, self._root_version(), Root)
            staged = self._keys.staged(role)
            if role == Root.type and staged and staged.public_key.keyid in root.signed.roles[role].keyids:
                self._keys.activate(role)
                return
            self._name_in_root(root, role, now)
            self._keys.activate(role)
            snapshot = self._snapshot()
            if role == Targets.type:
                self._bin(snapshot, role)
                self._commit(snapshot, {role: self._cache.pop(role)}, now)
            elif role == Snapshot.type:
                self._commit(snapshot, {}, now)
            elif role == Timestamp.type:
                self._commit_timestamp(snapshot, now)

    def _name_in_root(self, root: Metadata[Root], role: str, now: datetime) -> None:
        """A root that names a new key for a role; a new root key is named by the old one and signs beside it."""
        in_force = self._keys.signer(Root.type)
        new = self._keys.stage(role)
        for keyid in list(root.signed.roles[role].keyids):
            root.signed.revoke_key(keyid, role)
        root.signed.add_key(new.public_key, role)
        root.signed.version += 1
        root.signed.expires = (now + self._settings.lifetime(Root.type)).replace(microsecond=0)
        root.sign(in_force)
        if role == Root.type:
            root.sign(new, append=True)
        write_atomically(self._metadata_dir / f"{root.signed.version}.root.json", root.to_bytes())
        sync_directory(self._metadata_dir)

    def _rotate_bins(self, now: datetime) -> None:
        self._keys.signer(Targets.type)
        snapshot, succinct = self._snapshot(), self._succinct()
        for role in (Targets.type, *succinct.get_roles()):
            self._bin(snapshot, role)
        changed = {role: self._cache.pop(role) for role in (Targets.type, *succinct.get_roles())}
        top = changed[Targets.type].signed
        new = self._keys.stage(_BINS)
        for keyid in list(succinct.keyids):
            top.revoke_key(keyid)
        top.add_key(new.public_key)
        self._keys.activate(_BINS)
        self._commit(snapshot, changed, now)

    def root_expires(self) -> datetime:
        """Until when terminals accept the newest root."""
        return self._read(Root.type, self._root_version(), Root).signed.expires

    # Making

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

    # Reading

    @property
    def _timestamp_file(self) -> Path:
        return self._metadata_dir / "timestamp.json"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with file_lock(self._keys.folder / "lock"):
            yield

    def _read(self, role: str, version: int | None, kind: type[_SignedT]) -> Metadata[_SignedT]:
        name = f"{role}.json" if version is None else f"{version}.{role}.json"
        metadata = Metadata.from_bytes((self._metadata_dir / name).read_bytes())
        if not isinstance(metadata.signed, kind):
            raise RepositoryError(f"{self._metadata_dir / name} holds {metadata.signed.type}, not {kind.type}")
        return metadata

    def _snapshot(self) -> Metadata[Snapshot]:
        timestamp = self._read(Timestamp.type, None, Timestamp).signed
        return self._read(Snapshot.type, timestamp.snapshot_meta.version, Snapshot)

    def _bin(self, snapshot: Metadata[Snapshot], role: str) -> Metadata[Targets]:
        """The metadata of a bin, or of the top, as the snapshot has it; parsed once as long as it stays the same.

        Who changes it takes it out of the cache first, so that what fails half-way is read from the disk again.
        """
        version = snapshot.signed.meta[f"{role}.json"].version
        cached = self._cache.get(role)
        if cached is None or cached.signed.version != version:
            cached = self._cache[role] = self._read(role, version, Targets)
        return cached

    def _succinct(self) -> SuccinctRoles:
        top = self._cache.get(Targets.type) or self._bin(self._snapshot(), Targets.type)
        delegations = top.signed.delegations
        if delegations is None or delegations.succinct_roles is None:
            raise RepositoryError(f"{self._metadata_dir} is not a repository with hash bins")
        return delegations.succinct_roles

    def _root_version(self) -> int:
        return max(int(file.name.split(".")[0]) for file in self._metadata_dir.glob("[0-9]*.root.json"))

    def _is_due(self, role: str, signed: Signed, now: datetime) -> bool:
        return signed.expires - now < self._settings.lifetime(role) / 2

    # Writing

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

    def _commit(self, snapshot: Metadata[Snapshot], changed: Mapping[str, Metadata[Targets]], now: datetime) -> None:
        for role, metadata in changed.items():
            metadata.signed.version += 1
            self._sign_and_write(role, metadata, now)
            snapshot.signed.meta[f"{role}.json"] = MetaFile(metadata.signed.version)
        snapshot.signed.version += 1
        self._sign_and_write(Snapshot.type, snapshot, now)
        sync_directory(self._metadata_dir)
        self._commit_timestamp(snapshot, now)
        self._cache.update(changed)
        for role, version in [(Snapshot.type, snapshot.signed.version), *_versions(changed)]:
            (self._metadata_dir / f"{version - _KEPT_VERSIONS}.{role}.json").unlink(missing_ok=True)

    def _commit_timestamp(self, snapshot: Metadata[Snapshot], now: datetime) -> None:
        timestamp = self._read(Timestamp.type, None, Timestamp)
        timestamp.signed.version += 1
        timestamp.signed.snapshot_meta = MetaFile(snapshot.signed.version)
        self._sign_and_write(Timestamp.type, timestamp, now)
        sync_directory(self._metadata_dir)

    def _renew_root(self, now: datetime) -> list[str]:
        root = self._read(Root.type, self._root_version(), Root)
        if not self._is_due(Root.type, root.signed, now) or not self._keys.has(Root.type):
            return []
        root.signed.version += 1
        self._sign_and_write(Root.type, root, now)
        sync_directory(self._metadata_dir)
        return [Root.type]

    def _sign_and_write(self, role: str, metadata: Metadata[Any], now: datetime) -> None:
        sign_and_write(self._metadata_dir, self._keys, role, metadata, now + self._settings.lifetime(role))


def target_path(product: str, version: str, name: str) -> str:
    """The path of a package in the repository. Raises :class:`RepositoryError` for a part that a path cannot hold."""
    path = f"{product}/{version}/{name}"
    if not _TARGET_PATH.fullmatch(path):
        raise RepositoryError(f"target path {path!r}: {_PATH_RULE}")
    return path


def _check(target: NewTarget) -> None:
    if not _TARGET_PATH.fullmatch(target.path):
        raise RepositoryError(f"target path {target.path!r}: {_PATH_RULE}")
    try:
        encode_canonical(dict(target.custom))
    except FormatError as error:
        raise RepositoryError(
            f"custom of {target.path}: only text, integers, lists and maps can be signed: {error}"
        ) from None


def _copy(target: NewTarget, staged: Path) -> TargetFile:
    """Copy to ``staged``, durable, measuring the very bytes that are written."""
    digest = hashlib.sha256()
    length = 0
    with target.file.open("rb") as source, staged.open("wb") as sink:
        while block := source.read(1024 * 1024):
            digest.update(block)
            length += len(block)
            sink.write(block)
        sink.flush()
        os.fsync(sink.fileno())
    fields = {"custom": dict(target.custom)} if target.custom else {}
    return TargetFile(length, {"sha256": digest.hexdigest()}, target.path, fields)


def _published(target: TargetFile) -> PublishedTarget:
    return PublishedTarget(target.path, bytes.fromhex(target.hashes["sha256"]), target.length, target.custom or {})


def _versions(metadata: Mapping[str, Metadata[Targets]]) -> list[tuple[str, int]]:
    return [(role, one.signed.version) for role, one in metadata.items()]
