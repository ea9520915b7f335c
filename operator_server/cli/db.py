"""``tollgate db``: the database's schema."""

from __future__ import annotations

import typer

from operator_server.cli.common import CONFIG, ConfigOption, out, says_errors
from operator_server.settings import load_settings
from operator_server.store import migrate

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
