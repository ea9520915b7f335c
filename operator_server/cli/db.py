"""``tollgate db``: the database's schema, copies of it, and the way to another database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy.exc import ArgumentError, OperationalError

from operator_server.audit import audited, cli_actor
from operator_server.cli.common import CONFIG, ConfigOption, JsonOption, says_errors, told, working
from operator_server.settings import Settings, load_settings
from operator_server.store import backup as copies
from operator_server.store import migrate
from operator_server.store.backup import BackupError
from operator_server.store.engine import open_engine
from operator_server.store.store import transact

app = typer.Typer(no_args_is_help=True, help="The database.")


@app.command()
@says_errors()
def upgrade(as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """Bring the database to the newest schema; a database that is there already is changed in place.

    Example: tollgate db upgrade
    """
    settings = load_settings(config)
    settings.store.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    before, after = migrate.upgrade(settings.database_url())
    if before != after:
        _note(settings, "db.upgrade", {"schema": before}, {"schema": after})
    text = f"The database is at {after}." if before == after else f"Upgraded from {before or 'nothing'} to {after}."
    told({"before": before, "schema": after}, as_json, text)


@app.command()
@says_errors()
def current(as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """Show the schema's revision and the one that this version needs.

    Example: tollgate db current
    """
    settings = load_settings(config)
    schema, needed = migrate.current(settings.database_url()), migrate.newest()
    told({"schema": schema, "needed": needed}, as_json, f"{schema or 'no tables'}; needed: {needed}")


@app.command()
@says_errors(BackupError, OperationalError)
def backup(
    file: Annotated[Path, typer.Argument(help="File to write; it must not be there yet.")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Copy the database as it is at one instant into a file; servers may run meanwhile.

    Keys and the repository are not in it: copy those two folders after it.

    Example: tollgate db backup backup/tollgate.sqlite
    """
    settings = load_settings(config)
    with working("Copying"):
        copies.back_up(settings.database_url(), file)
    size = file.stat().st_size
    text = f"{file}: {size:,} bytes. It holds personal data; keep it as safe as the database."
    told({"file": str(file), "bytes": size}, as_json, text)


@app.command()
@says_errors(BackupError, OperationalError)
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `tollgate db backup` wrote.")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Make the database from a back-up; it refuses where there is a database already.

    Example: tollgate db restore backup/tollgate.sqlite
    """
    settings = load_settings(config)
    with working("Restoring"):
        copies.restore(settings.database_url(), file)
    if migrate.current(settings.database_url()) == migrate.newest():
        _note(settings, "db.restore", None, {"file": str(file)})
    text = "The database is restored. Prove it with `tollgate ledger verify` before you start a server."
    told({"file": str(file), "restored": True}, as_json, text)


@app.command()
@says_errors(BackupError, OperationalError, ArgumentError)
def copy(
    url: Annotated[str, typer.Argument(help="URL of an empty database.", envvar="TOLLGATE_COPY_URL")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Copy everything into another, empty database, such as PostgreSQL. Stop all servers before.

    Example: tollgate db copy postgresql+psycopg://tollgate@db.example/tollgate
    """
    settings = load_settings(config)
    with working("Copying"):
        rows = copies.copy(settings.database_url(), url)
    text = f"{sum(rows.values()):,} rows of {len(rows)} tables are copied. Set store.url to the new database."
    told({"tables": len(rows), "rows": sum(rows.values())}, as_json, text)


def _note(settings: Settings, action: str, before: dict[str, Any] | None, after: dict[str, Any]) -> None:
    engine, now = open_engine(settings.database_url()), settings.make_clock().now()
    try:
        transact(engine, lambda c: audited(c, cli_actor(), action, "database/schema", before, after, now))
    finally:
        engine.dispose()
