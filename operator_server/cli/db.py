"""``tollgate db``: the database's schema, copies of it, and the way to another database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.exc import ArgumentError, OperationalError

from operator_server.cli.common import CONFIG, ConfigOption, out, says_errors
from operator_server.settings import load_settings
from operator_server.store import backup as copies
from operator_server.store import migrate
from operator_server.store.backup import BackupError

app = typer.Typer(no_args_is_help=True, help="The database.")


@app.command()
@says_errors()
def upgrade(config: ConfigOption = CONFIG) -> None:
    """Bring the database to the newest schema; a database that is there already is changed in place."""
    settings = load_settings(config)
    settings.store.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    before, after = migrate.upgrade(settings.database_url())
    out.print(f"The database is at {after}." if before == after else f"Upgraded from {before or 'nothing'} to {after}.")


@app.command()
@says_errors()
def current(config: ConfigOption = CONFIG) -> None:
    """Show the schema's revision and the one that this version needs."""
    settings = load_settings(config)
    out.print(f"{migrate.current(settings.database_url()) or 'no tables'}; needed: {migrate.newest()}")


@app.command()
@says_errors(BackupError, OperationalError)
def backup(
    file: Annotated[Path, typer.Argument(help="File to write; it must not be there yet.")],
    config: ConfigOption = CONFIG,
) -> None:
    """Copy the database as it is at one instant into a file; servers may run meanwhile.

    Keys and the repository are not in it: copy those two folders after it.

    Example: tollgate db backup backup/tollgate.sqlite
    """
    settings = load_settings(config)
    copies.back_up(settings.database_url(), file)
    out.print(f"{file}: {file.stat().st_size:,} bytes. It holds personal data; keep it as safe as the database.")


@app.command()
@says_errors(BackupError, OperationalError)
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `tollgate db backup` wrote.")],
    config: ConfigOption = CONFIG,
) -> None:
    """Make the database from a back-up; it refuses where there is a database already.

    Example: tollgate db restore backup/tollgate.sqlite
    """
    settings = load_settings(config)
    copies.restore(settings.database_url(), file)
    out.print("The database is restored. Prove it with `tollgate ledger verify` before you start a server.")


@app.command()
@says_errors(BackupError, OperationalError, ArgumentError)
def copy(
    url: Annotated[str, typer.Argument(help="URL of an empty database.", envvar="TOLLGATE_COPY_URL")],
    config: ConfigOption = CONFIG,
) -> None:
    """Copy everything into another, empty database, such as PostgreSQL. Stop all servers before.

    Example: tollgate db copy postgresql+psycopg://tollgate@db.example/tollgate
    """
    settings = load_settings(config)
    rows = copies.copy(settings.database_url(), url)
    out.print(f"{sum(rows.values()):,} rows of {len(rows)} tables are copied. Set store.url to the new database.")
