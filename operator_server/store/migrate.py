"""Bringing a database to the newest schema, by Alembic."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from operator_server.files import file_lock
from operator_server.store.engine import open_engine

_MIGRATIONS = Path(__file__).parent / "migrations"


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["url"] = url
    return config


@cache
def newest() -> str:
    """The revision that this version of the program needs."""
    head = ScriptDirectory(str(_MIGRATIONS)).get_current_head()
    assert head is not None
    return head


def current(url: str) -> str | None:
    """The revision of the database, ``None`` where it has no tables yet."""
    engine = open_engine(url)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()


def upgrade(url: str) -> tuple[str | None, str]:
    """Upgrade to the newest revision; returns the revision before and after. Several processes may call it at once."""
    before = current(url)
    if before == newest():
        return before, before
    if url.startswith("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///"))
        with file_lock(path.with_suffix(".upgrade.lock")):
            command.upgrade(_config(url), "head")
    else:
        command.upgrade(_config(url), "head")
    return before, newest()
