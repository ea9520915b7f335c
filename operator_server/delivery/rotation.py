"""Replacing a signing key of the repository by a new one."""

from __future__ import annotations

from datetime import datetime

from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from operator_server.delivery.metadata import SignedMetadata
from operator_server.delivery.signing import ROLES
from operator_server.delivery.targets import RepositoryError

_BINS = "bins"


def rotate_key(metadata: SignedMetadata, role: str, now: datetime) -> None:
    """See :meth:`operator_server.delivery.repository.Repository.rotate_key`; the caller holds the lock."""
    if role not in ROLES:
        raise RepositoryError(f"role {role!r}: there are {', '.join(ROLES)}")
    if role == _BINS:
        _rotate_bins(metadata, now)
        return
    keys, root = metadata.keys, metadata.root()
    staged = keys.staged(role)
    if role == Root.type and staged and staged.public_key.keyid in root.signed.roles[role].keyids:
        keys.activate(role)
        return
    _name_in_root(metadata, root, role, now)
    keys.activate(role)
    snapshot = metadata.snapshot()
    if role == Targets.type:
        metadata.commit(snapshot, {role: metadata.to_change(snapshot, role)}, now)
    elif role == Snapshot.type:
        metadata.commit(snapshot, {}, now)
    elif role == Timestamp.type:
        metadata.commit_timestamp(snapshot, now)


def _name_in_root(metadata: SignedMetadata, root: Metadata[Root], role: str, now: datetime) -> None:
    """A root that names a new key for a role; a new root key is named by the old one and signs beside it."""
    in_force = metadata.keys.signer(Root.type)
    new = metadata.keys.stage(role)
    for keyid in list(root.signed.roles[role].keyids):
        root.signed.revoke_key(keyid, role)
    root.signed.add_key(new.public_key, role)
    root.signed.version += 1
    root.signed.expires = (now + metadata.settings.lifetime(Root.type)).replace(microsecond=0)
    root.sign(in_force)
    if role == Root.type:
        root.sign(new, append=True)
    metadata.write_root(root)


def _rotate_bins(metadata: SignedMetadata, now: datetime) -> None:
    metadata.keys.signer(Targets.type)
    snapshot, succinct = metadata.snapshot(), metadata.succinct()
    roles = (Targets.type, *succinct.get_roles())
    for role in roles:
        metadata.targets(snapshot, role)
    changed = {role: metadata.to_change(snapshot, role) for role in roles}
    top = changed[Targets.type].signed
    new = metadata.keys.stage(_BINS)
    for keyid in list(succinct.keyids):
        top.revoke_key(keyid)
    top.add_key(new.public_key)
    metadata.keys.activate(_BINS)
    metadata.commit(snapshot, changed, now)
