"""Until when terminals accept the repository's metadata, read from the files as they are served."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp


@dataclass(frozen=True, slots=True)
class RoleExpiry:
    """A role of the repository, and when its signature ends. Past that terminals refuse everything delivered."""

    role: str
    expires: datetime


def role_expiries(metadata_dir: Path) -> list[RoleExpiry]:
    """Every role that is in force, soonest first; the bins as one, the first of them to end.

    Raises ``OSError`` where no repository is there, and what python-tuf raises for metadata that cannot be read.
    """
    return sorted(_in_force(metadata_dir), key=lambda each: each.expires)


def _in_force(metadata_dir: Path) -> Iterator[RoleExpiry]:
    timestamp = Metadata[Timestamp].from_bytes((metadata_dir / "timestamp.json").read_bytes()).signed
    yield RoleExpiry(Timestamp.type, timestamp.expires)
    version = timestamp.snapshot_meta.version
    snapshot = Metadata[Snapshot].from_bytes((metadata_dir / f"{version}.snapshot.json").read_bytes()).signed
    yield RoleExpiry(Snapshot.type, snapshot.expires)
    bins = []
    for name, meta in snapshot.meta.items():
        targets = Metadata[Targets].from_bytes((metadata_dir / f"{meta.version}.{name}").read_bytes()).signed
        if name == "targets.json":
            yield RoleExpiry(Targets.type, targets.expires)
        else:
            bins.append(targets.expires)
    if bins:
        yield RoleExpiry("bins", min(bins))
    newest = max(int(file.name.split(".")[0]) for file in metadata_dir.glob("[0-9]*.root.json"))
    root = Metadata[Root].from_bytes((metadata_dir / f"{newest}.root.json").read_bytes()).signed
    yield RoleExpiry(Root.type, root.expires)
