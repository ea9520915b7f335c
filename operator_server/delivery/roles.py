"""What the repository's metadata is signed with, for how long, and how it begins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tuf.api.metadata import (
    Delegations,
    Metadata,
    MetaFile,
    Role,
    Root,
    Signed,
    Snapshot,
    SuccinctRoles,
    Targets,
    Timestamp,
)

from operator_server.delivery.signing import KeyFolder
from operator_server.files import sync_directory, write_atomically

TOP_ROLES = (Root.type, Targets.type, Snapshot.type, Timestamp.type)
_BIN_PREFIX = "bins"


@dataclass(frozen=True)
class RepositorySettings:
    """How long each role's signature is good, and over how many bins (a power of two, 2 to 256) targets are spread.

    The number of bins is fixed when a repository is created.
    """

    bins: int = 16
    root_expires: timedelta = timedelta(days=730)
    targets_expires: timedelta = timedelta(days=365)
    bins_expires: timedelta = timedelta(days=90)
    snapshot_expires: timedelta = timedelta(days=14)
    timestamp_expires: timedelta = timedelta(days=2)

    def __post_init__(self) -> None:
        if self.bins not in (2, 4, 8, 16, 32, 64, 128, 256):
            raise ValueError(f"bins = {self.bins}: a power of two from 2 to 256 is needed")

    def lifetime(self, role: str) -> timedelta:
        """How long the metadata of a role is good."""
        lifetimes = {
            Root.type: self.root_expires,
            Targets.type: self.targets_expires,
            Snapshot.type: self.snapshot_expires,
            Timestamp.type: self.timestamp_expires,
        }
        return lifetimes.get(role, self.bins_expires)


def write_first_versions(metadata_dir: Path, keys: KeyFolder, settings: RepositorySettings, now: datetime) -> None:
    """Write version 1 of every role, the timestamp last: it makes the repository exist."""
    bits = settings.bins.bit_length() - 1
    public = {role: keys.signer(role).public_key for role in (*TOP_ROLES, _BIN_PREFIX)}
    succinct = SuccinctRoles([public[_BIN_PREFIX].keyid], 1, bits, _BIN_PREFIX)
    top = Targets(delegations=Delegations({public[_BIN_PREFIX].keyid: public[_BIN_PREFIX]}, succinct_roles=succinct))
    first: dict[str, Signed] = {
        Root.type: Root(
            keys={public[role].keyid: public[role] for role in TOP_ROLES},
            roles={role: Role([public[role].keyid], 1) for role in TOP_ROLES},
            consistent_snapshot=True,
        ),
        Targets.type: top,
        **{role: Targets() for role in succinct.get_roles()},
    }
    names = [name for name in first if name != Root.type]
    first[Snapshot.type] = Snapshot(meta={f"{name}.json": MetaFile(1) for name in names})
    first[Timestamp.type] = Timestamp(snapshot_meta=MetaFile(1))
    for role, signed in first.items():
        if role == Timestamp.type:
            sync_directory(metadata_dir)
        sign_and_write(metadata_dir, keys, role, Metadata(signed), now + settings.lifetime(role))
    sync_directory(metadata_dir)


def sign_and_write(metadata_dir: Path, keys: KeyFolder, role: str, metadata: Metadata[Any], expires: datetime) -> None:
    """Sign the metadata of a role as good until ``expires`` and put it under its name, replacing what is there."""
    metadata.signed.expires = expires.replace(microsecond=0)
    metadata.sign(keys.signer(role if role in TOP_ROLES else _BIN_PREFIX))
    name = f"{role}.json" if role == Timestamp.type else f"{metadata.signed.version}.{role}.json"
    write_atomically(metadata_dir / name, metadata.to_bytes())
