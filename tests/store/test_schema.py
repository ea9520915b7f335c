"""The migrations make exactly the schema that the models describe, once, whoever starts first."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import OperationalError

from operator_server.store import migrate
from operator_server.store.engine import open_engine, sqlite_url
from operator_server.store.schema import metadata

Schema = dict[tuple[str, str], tuple[str, ...]]


def schema(path: Path) -> Schema:
    """Tables and indexes as SQLite keeps them, the clauses of each in one order."""
    with sqlite3.connect(path) as connection:
        rows = connection.execute(
            "SELECT type, name, sql FROM sqlite_master"
            " WHERE name NOT LIKE 'sqlite_%' AND name NOT LIKE 'alembic_%' AND sql IS NOT NULL"
        ).fetchall()
    return {(kind, name): clauses(sql) for kind, name, sql in rows}


def clauses(sql: str) -> tuple[str, ...]:
    """Head, tail and the sorted clauses between the outer parentheses."""
    flat = re.sub(r"\s+", " ", sql.replace('"', ""))
    start, end = flat.index("("), flat.rindex(")") if flat.startswith("CREATE TABLE") else len(flat)
    parts = [""]
    for letter in flat[start + 1 : end]:
        depth = parts[-1].count("(") - parts[-1].count(")")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return (flat[:start], flat[end:], *sorted(part.strip() for part in parts))


@pytest.fixture
def migrated(tmp_path: Path) -> Path:
    path = tmp_path / "migrated.sqlite"
    migrate.upgrade(sqlite_url(path))
    return path


def described(tmp_path: Path) -> Schema:
    """The schema of the models themselves."""
    path = tmp_path / "described.sqlite"
    metadata.create_all(open_engine(sqlite_url(path)))
    return schema(path)


def test_the_migrations_give_what_the_models_describe(migrated: Path) -> None:
    with open_engine(sqlite_url(migrated)).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_the_migrations_give_the_very_same_tables_and_indexes(migrated: Path, tmp_path: Path) -> None:
    # What Alembic does not compare: WITHOUT ROWID, conditions of partial indexes.
    made, wanted = schema(migrated), described(tmp_path)
    assert made.keys() == wanted.keys()
    for name, definition in wanted.items():
        assert made[name] == definition


def test_tables_that_ask_for_it_have_no_row_ids_and_partial_indexes_their_condition(migrated: Path) -> None:
    with sqlite3.connect(migrated) as connection:
        tables = dict(connection.execute("SELECT name, wr FROM pragma_table_list WHERE type = 'table'").fetchall())
        partial = dict(
            connection.execute(
                "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql LIKE '% WHERE %'"
            ).fetchall()
        )
    asked = {table.name for table in metadata.sorted_tables if table.dialect_options["sqlite"]["with_rowid"] is False}
    assert asked
    assert {name for name, without in tables.items() if without} == asked
    conditions = {
        index.name: str(index.dialect_options["sqlite"]["where"])
        for table in metadata.sorted_tables
        for index in table.indexes
        if index.dialect_options["sqlite"]["where"] is not None
    }
    assert conditions.keys() == partial.keys()
    assert all(partial[name].endswith(f"WHERE {condition}") for name, condition in conditions.items())


def test_the_revisions_are_one_line_from_the_first_to_the_newest() -> None:
    script = ScriptDirectory(migrate._config("sqlite://").get_main_option("script_location") or "")
    assert (script.get_bases(), script.get_heads()) == (["0001"], [migrate.newest()])
    assert not any(revision.is_branch_point or revision.is_merge_point for revision in script.walk_revisions())


def test_an_upgrade_of_what_is_newest_changes_nothing(migrated: Path) -> None:
    before = migrated.read_bytes()
    assert migrate.upgrade(sqlite_url(migrated)) == (migrate.newest(), migrate.newest())
    assert migrate.current(sqlite_url(migrated)) == migrate.newest()
    assert migrated.read_bytes() == before


def test_an_upgrade_that_fails_leaves_the_database_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "half.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE usage_grant (id)")
    with pytest.raises(OperationalError, match="already exists"):
        migrate.upgrade(sqlite_url(path))
    assert schema(path).keys() == {("table", "usage_grant")}
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE usage_grant")
    assert migrate.upgrade(sqlite_url(path)) == (None, migrate.newest())


def test_processes_that_upgrade_at_once_make_one_schema(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "shared.sqlite")
    code = f"from operator_server.store.migrate import upgrade; print(upgrade({url!r})[1])"
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [out.strip() for out, _ in outputs] == [migrate.newest()] * 3, outputs
    assert schema(tmp_path / "shared.sqlite") == described(tmp_path)
