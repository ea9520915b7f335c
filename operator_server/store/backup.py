"""Copies of the database: into a file and back, and from one database to another."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, inspect, select, text
from sqlalchemy.engine import make_url

from operator_server.store import migrate
from operator_server.store.engine import open_engine
from operator_server.store.schema import metadata

_ROWS = 1000


class BackupError(RuntimeError):
    """A copy that cannot be made or put back; the text says why and what to do."""


def back_up(url: str, file: Path) -> None:
    """Write the database as it is at one instant into ``file`` (mode 0600); servers may run meanwhile.

    SQLite: a database file, made by SQLite's online backup and checked. PostgreSQL: what ``pg_dump`` writes in its
    custom format. ``file`` is there whole or not at all. Raises :class:`BackupError`.
    """
    if file.exists():
        raise BackupError(f"{file} is there already; name another file")
    if migrate.current(url) is None:
        raise BackupError("the database has no tables yet; there is nothing to back up")
    part = file.with_name(f".{file.name}.part")
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
    try:
        if url.startswith("sqlite"):
            _copy_sqlite(_sqlite_path(url), part)
        else:
            _postgres(url, "pg_dump", "--format=custom", f"--file={part}")
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        part.rename(file)
    finally:
        part.unlink(missing_ok=True)


def restore(url: str, file: Path) -> None:
    """Make the database from a file of :func:`back_up`; there must be none yet. Raises :class:`BackupError`."""
    if not file.is_file():
        raise BackupError(f"{file}: there is no such file")
    sqlite_file = _is_sqlite(file)
    if url.startswith("sqlite"):
        if not sqlite_file:
            raise BackupError(f"{file} is no SQLite database; a dump of PostgreSQL goes back to PostgreSQL")
        _restore_sqlite(_sqlite_path(url), file)
        return
    if sqlite_file:
        raise BackupError(f"{file} is a SQLite database; bring it to PostgreSQL with `tollgate db copy`")
    _require_empty(url)
    _postgres(url, "pg_restore", "--no-owner", "--exit-on-error", "--single-transaction", str(file))


def copy(source: str, target: str) -> dict[str, int]:
    """Copy every table from one database into another, empty one; returns the rows of each table.

    What is written to ``source`` after the beginning is not copied: stop all servers before. The whole is one
    transaction in ``target``. Raises :class:`BackupError`.
    """
    if migrate.current(source) != migrate.newest():
        raise BackupError("the database is not at the newest schema; run `tollgate db upgrade` first")
    _require_empty(target)
    migrate.upgrade(target)
    reading, writing = open_engine(source), open_engine(target)
    try:
        with reading.connect() as old, writing.begin() as new:
            return {table.name: _copy_table(old, new, table) for table in metadata.sorted_tables}
    finally:
        reading.dispose()
        writing.dispose()


def _copy_table(old: Connection, new: Connection, table: Any) -> int:
    new.execute(table.delete())
    copied = 0
    for rows in old.execution_options(yield_per=_ROWS).execute(select(table)).mappings().partitions():
        new.execute(table.insert(), [dict(row) for row in rows])
        copied += len(rows)
    if new.execute(select(func.count()).select_from(table)).scalar_one() != copied:
        raise BackupError(f"{table.name}: not every row has arrived; nothing was copied")
    if new.dialect.name == "postgresql" and copied:
        _continue_numbers(new, table)
    return copied


def _continue_numbers(new: Connection, table: Any) -> None:
    column = table.autoincrement_column
    if column is None:
        return
    sequence = new.execute(
        text("SELECT pg_get_serial_sequence(:table, :column)"), {"table": table.name, "column": column.name}
    ).scalar()
    if sequence:
        last = new.execute(select(func.max(column))).scalar_one()
        new.execute(text("SELECT setval(:sequence, :last)"), {"sequence": sequence, "last": last})


def _sqlite_path(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def _is_sqlite(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(16) == b"SQLite format 3\x00"


def _restore_sqlite(path: Path, file: Path) -> None:
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        if (path.parent / name).exists():
            raise BackupError(
                f"{path.parent / name} is there; stop all servers and move {path.name}, -wal and -shm away first"
            )
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_name(f".{path.name}.part")
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
    try:
        _copy_sqlite(file, part)
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)


def _copy_sqlite(source: Path, target: Path) -> None:
    # Not in WAL mode: the copy is one file.
    try:
        with (
            closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as old,
            closing(sqlite3.connect(target)) as new,
        ):
            old.backup(new)
            new.execute("PRAGMA journal_mode = DELETE")
            faults = [row[0] for row in new.execute("PRAGMA integrity_check") if row[0] != "ok"]
    except sqlite3.DatabaseError as error:
        raise BackupError(f"{source}: {error}") from None
    if faults:
        raise BackupError(f"{source} is damaged: {faults[0]}; restore the last good back-up")


def _require_empty(url: str) -> None:
    engine = open_engine(url)
    try:
        with engine.connect() as connection:
            there = inspect(connection).get_table_names()
    finally:
        engine.dispose()
    if there:
        raise BackupError(f"the database has {len(there)} tables already; name an empty one")


def _postgres(url: str, program: str, *options: str) -> None:
    """Run one of PostgreSQL's programs; the password goes by the environment, which others cannot read."""
    parsed = make_url(url)
    plain = parsed.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
    environment = os.environ | ({"PGPASSWORD": str(parsed.password)} if parsed.password else {})
    try:
        done = subprocess.run(
            [program, f"--dbname={plain}", *options], env=environment, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise BackupError(f"{program} is not on the path; install PostgreSQL's client programs") from None
    if done.returncode:
        raise BackupError(f"{program}: {done.stderr.strip()}")
