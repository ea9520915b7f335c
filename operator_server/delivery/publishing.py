"""Publishing releases: a file or folder becomes a package in the repository, sealed when an offer asks money for it."""

from __future__ import annotations

import hashlib
import tarfile
import tempfile
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, delete, select, update

from charging.modes import mode_kind
from offers.catalogue import Offer
from offers.versions import parse_version
from operator_server.delivery.repository import NewTarget, NoSuchTarget, Repository, target_path
from operator_server.delivery.vault import KeyVault
from operator_server.store.dealings import Release
from operator_server.store.feed import record
from operator_server.store.rows import add, table
from operator_server.store.store import transact
from signalling.sealing import new_content_key, seal

_PUBLISHING = "publishing"


class PublishError(ValueError):
    """A release that cannot be published or withdrawn; the text says which and why."""


@dataclass(frozen=True)
class Package:
    """What is to be published: a file, or a folder that becomes a tar archive."""

    path: Path
    product: str
    version: str
    sealed: bool
    valid_until: datetime | None = None


def vault_name(product: str, version: str) -> str:
    """The name that a sealed content key is bound to."""
    return f"{product}/{version}"


def publish(
    engine: Engine,
    repository: Repository,
    vault: KeyVault,
    packages: Sequence[Package],
    now: datetime,
    noted: Callable[[Connection], None] = lambda connection: None,
) -> list[Release]:
    """Publish packages by one signed commit of the repository.

    A release row of state ``publishing`` stands before the repository changes and becomes ``valid`` after it, so that
    a crash between leaves nothing that is offered; publishing it again starts anew. ``noted`` is called in the first
    of the two transactions. Raises :class:`PublishError` for a release that exists.
    """
    with tempfile.TemporaryDirectory(prefix="tollgate-publish-") as folder:
        prepared = [
            _prepare(package, Path(folder) / str(number), vault, now) for number, package in enumerate(packages)
        ]

        def announce(connection: Connection) -> None:
            _announce(connection, repository, [row for row, _ in prepared], now)
            noted(connection)

        transact(engine, announce)
        published = repository.add_targets([NewTarget(row.target, file) for row, file in prepared], now)
    for (row, _), target in zip(prepared, published, strict=True):
        row.sha256, row.length, row.status = target.sha256, target.length, "valid"
    transact(engine, lambda connection: _make_valid(connection, [row for row, _ in prepared], now))
    return [row for row, _ in prepared]


def _prepare(package: Package, staged: Path, vault: KeyVault, now: datetime) -> tuple[Release, Path]:
    try:
        plain = _archive(package.path, staged.with_suffix(".tar")) if package.path.is_dir() else package.path
        with plain.open("rb") as source:
            digest = hashlib.file_digest(source, "sha256").digest()
            sealed_key, served = None, plain
            if package.sealed:
                key = new_content_key()
                sealed_key, served = vault.seal(key, vault_name(package.product, package.version)), staged
                source.seek(0)
                with staged.open("wb") as sink:
                    seal(source, sink, key)
    except OSError as error:
        raise PublishError(f"{error.filename or package.path}: {error.strerror}") from None
    name = (
        package.path.resolve().name + (".tar" if package.path.is_dir() else "") + (".sealed" if package.sealed else "")
    )
    row = Release(
        product=package.product,
        version=package.version,
        digest=digest,
        target=target_path(package.product, package.version, name),
        sha256=b"",
        length=0,
        sealed=package.sealed,
        sealed_key=sealed_key,
        status=_PUBLISHING,
        valid_until=package.valid_until,
        published_at=now,
    )
    if parse_version(package.version) is None:
        raise PublishError(
            f"{package.product} {package.version}: no offer could bring it, since it is neither older nor newer than "
            "another; a version begins with a number, such as 1.4.0"
        )
    return row, served


def _archive(folder: Path, archive: Path) -> Path:
    """A tar of the folder that has the same bytes for the same content."""

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mtime = 0
        return entry

    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            tar.add(path, arcname=str(path.relative_to(folder)), recursive=False, filter=plain)
    return archive


def _announce(connection: Connection, repository: Repository, rows: Iterable[Release], now: datetime) -> None:
    release = table(Release)
    for row in rows:
        key = (release.c.product == row.product) & (release.c.version == row.version)
        known = connection.execute(select(release).where(key)).first()
        if known is not None and known.status != _PUBLISHING:
            raise PublishError(f"{row.product} {row.version} is published already; give it another version")
        if known is not None:
            connection.execute(delete(release).where(key))
            with suppress(NoSuchTarget):
                repository.remove_target(known.target, now)
        add(connection, row)


def _make_valid(connection: Connection, rows: Iterable[Release], now: datetime) -> None:
    release = table(Release)
    for row in rows:
        changed = connection.execute(
            update(release)
            .where(
                release.c.product == row.product,
                release.c.version == row.version,
                release.c.status == _PUBLISHING,
                release.c.digest == row.digest,
                release.c.sealed_key.is_not_distinct_from(row.sealed_key),
            )
            .values(sha256=row.sha256, length=row.length, status="valid")
        )
        if not changed.rowcount:
            raise PublishError(f"{row.product} {row.version}: somebody else published it meanwhile; try again")
        record(connection, now, "published", reference=vault_name(row.product, row.version), sealed=row.sealed)


def withdraw(connection: Connection, product: str, version: str, reason: str, now: datetime) -> None:
    """Revoke a release: it is offered no more, and terminals that have it are told (claims 9 and 11)."""
    release = table(Release)
    changed = connection.execute(
        update(release)
        .where(release.c.product == product, release.c.version == version)
        .values(status="revoked", reason=reason)
    )
    if not changed.rowcount:
        raise PublishError(f"{product} {version} was never published")
    record(connection, now, "revoked", reference=vault_name(product, version), reason=reason)


def valid_releases(connection: Connection, now: datetime) -> dict[str, list[str]]:
    """Product to the versions that may be offered now."""
    release = table(Release)
    found: dict[str, list[str]] = {}
    for row in connection.execute(select(release).where(release.c.status == "valid").order_by(release.c.published_at)):
        if row.valid_until is None or row.valid_until > now:
            found.setdefault(row.product, []).append(row.version)
    return found


def paid_products(offers: Iterable[Offer]) -> Collection[str]:
    """Products that some offer asks money for: their packages are sealed."""
    return {offer.product for offer in offers if any(mode_kind(mode.kind).paid for mode in offer.modes)}


def open_though_paid(connection: Connection, offers: Iterable[Offer]) -> list[tuple[str, str]]:
    """Valid releases that were published open, and that some offer asks money for by now: anybody can read them."""
    release = table(Release)
    rows = connection.execute(
        select(release.c.product, release.c.version)
        .where(release.c.status == "valid", release.c.sealed.is_(False), release.c.product.in_(paid_products(offers)))
        .order_by(release.c.product, release.c.version)
    )
    return [(row.product, row.version) for row in rows]
