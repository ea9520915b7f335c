"""``tollgate publish`` and ``tollgate release``: packages in the repository."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import select

from operator_server.audit import audited, cli_actor
from operator_server.cli.common import (
    CONFIG,
    CommandError,
    ConfigOption,
    JsonOption,
    arguments,
    changed,
    opened,
    says_errors,
    show_json,
    show_table,
    told,
)
from operator_server.delivery import publishing
from operator_server.delivery.publishing import Package, PublishError, paid_products
from operator_server.delivery.repository import RepositoryError
from operator_server.delivery.signing import KeyFolder
from operator_server.offering.loading import BrokenCatalogue, load
from operator_server.store.dealings import Release
from operator_server.store.rows import table
from operator_server.store.store import transact

app = typer.Typer(no_args_is_help=True, help="Published releases.")


@says_errors(PublishError, RepositoryError, BrokenCatalogue)
def publish(
    path: Annotated[Path, typer.Argument(help="A file, or a folder that becomes one tar archive.")],
    name: Annotated[str, typer.Option("--name", help="The product, as offers name it.")],
    version: Annotated[str, typer.Option("--version", help="The release's version.")],
    valid_until: Annotated[str, typer.Option("--valid-until", help="Date (UTC) from which on it is expired.")] = "",
    seal: Annotated[
        bool | None, typer.Option("--seal/--open", help="Default: sealed when an offer asks money for the product.")
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Add a package to the signed repository.

    Example: tollgate publish build/chess.bin --name chess --version 1.4.0
    """
    with opened(config) as operator:
        loaded = load(operator.settings)
        paid = name in paid_products(loaded.catalogue)
        if seal is False and paid:
            raise CommandError(f"{name}: an offer asks money for it, so it must be sealed")
        package = Package(path, name, version, paid if seal is None else seal, _date(valid_until))
        now, given = operator.clock.now(), arguments() | {"sealed": package.sealed}
        [row] = publishing.publish(
            operator.engine, operator.repository, operator.vault, [package], now,
            lambda c: audited(c, cli_actor(), "release.publish", f"release/{name}/{version}", None, given, now),
        )  # fmt: skip
        more = [] if name in loaded.catalogue.products else ["No offer names this product yet."]
        with operator.engine.connect() as connection:
            more += [
                f"{product} {other} is still published open, though an offer asks money for it: revoke it."
                for product, other in publishing.open_though_paid(connection, loaded.catalogue)
            ]
    made = {"product": name, "version": version, "target": row.target, "length": row.length, "sealed": row.sealed}
    how = "sealed" if row.sealed else "open"
    text = f"{name} {version} is published as {row.target}: {row.length} bytes, {how}."
    told(made | {"advice": more}, as_json, text, *more)


def _date(text: str) -> datetime | None:
    if not text:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"--valid-until: {text!r} is not a date such as 2027-01-31") from None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


@app.command("list")
@says_errors()
def list_(as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """List what is published.

    Example: tollgate release list
    """
    with opened(config) as operator, operator.engine.connect() as connection:
        release, now = table(Release), operator.clock.now()
        rows = connection.execute(select(release).order_by(release.c.product, release.c.published_at)).all()
        states = [
            "expired" if r.status == "valid" and r.valid_until and r.valid_until <= now else r.status for r in rows
        ]
        if as_json:
            show_json(
                [
                    {"product": r.product, "version": r.version, "state": s, "length": r.length, "sealed": r.sealed,
                     "target": r.target, "digest": r.digest, "published_at": r.published_at, "reason": r.reason}
                    for r, s in zip(rows, states, strict=True)
                ]
            )  # fmt: skip
            return
        show_table(
            "Releases",
            ["Product", "Version", "State", "Bytes", "Sealed", "Published"],
            [
                (r.product, r.version, s, r.length, "yes" if r.sealed else "no", f"{r.published_at:%Y-%m-%d %H:%M}")
                for r, s in zip(rows, states, strict=True)
            ],
            empty="Nothing is published. `tollgate publish` adds a package.",
        )


@app.command()
@says_errors(PublishError)
def revoke(
    product: Annotated[str, typer.Argument(help="Product.")],
    version: Annotated[str, typer.Argument(help="Version.")],
    reason: Annotated[str, typer.Option(help="Told to the users who have it.")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Withdraw a release: it is offered no more, and terminals that have it are told at their next logon.

    Example: tollgate release revoke chess 1.4.0 --reason "It loses games."
    """
    with opened(config) as operator:
        now = operator.clock.now()
        changed(
            operator, "release.revoke", f"release/{product}/{version}",
            lambda c: publishing.withdraw(c, product, version, reason, now), {},
        )  # fmt: skip
    told({"product": product, "version": version, "revoked": True}, as_json, f"{product} {version} is revoked.")


@app.command("rotate-key")
@says_errors(RepositoryError)
def rotate_key(
    role: Annotated[str, typer.Argument(help="root, targets, snapshot, timestamp or bins.")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Replace a signing key of the repository by a new one; terminals follow by themselves, servers may run meanwhile.

    It takes the key `root` in keys/repository, for `bins` the key `targets`.

    Example: tollgate release rotate-key timestamp
    """
    with opened(config) as operator:
        folder = KeyFolder(operator.data / "keys" / "repository")
        before = _fingerprint(folder, role)
        operator.repository.rotate_key(role, operator.clock.now())
        after = _fingerprint(folder, role)
        transact(
            operator.engine,
            lambda c: audited(
                c, cli_actor(), "release.rotate_key", f"repository_key/{role}", {"fingerprint": before},
                {"fingerprint": after}, operator.clock.now(),
            ),
        )  # fmt: skip
        file = folder.folder / f"{role}.pem"
    told({"role": role, "file": str(file)}, as_json, f"{role} has a new key, {file}. Back it up now.")


def _fingerprint(folder: KeyFolder, role: str) -> str:
    return folder.signer(role).public_key.keyid[:16] if folder.has(role) else ""
