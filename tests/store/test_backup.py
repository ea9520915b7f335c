"""A database goes into a file and back, and from SQLite to PostgreSQL, with nothing lost."""

from __future__ import annotations

import sqlite3
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

sys.path.insert(0, str(Path(__file__).parents[1]))

from postgres import postgres_server, postgres_url

from charging.ledger.verify import verify
from operator_server import parties
from operator_server.audit import audited, verify_audit
from operator_server.parties import NewAccount
from operator_server.settings import OperatorSettings
from operator_server.store import backup
from operator_server.store.backup import BackupError
from operator_server.store.engine import open_engine, sqlite_url, writing
from operator_server.store.migrate import upgrade
from operator_server.store.schema import metadata
from signalling.clock import SystemClock

__all__ = ["postgres_server", "postgres_url"]


def furnish(engine: Engine, *accounts: str) -> None:
    now = SystemClock().now()
    settings = OperatorSettings(name="Op", address=["Weg 1"], country="DE", server_id="op-1")
    with writing(engine).begin() as connection:
        for account in accounts:
            parties.create_account(connection, NewAccount(account, "Erika"), settings, now)
            parties.enroll_terminal(connection, f"T-{account}", bytes([9] * 32), account, now)
            audited(connection, "system", "account.create", f"account/{account}", None, {"name": "Erika"}, now)


def content(url: str) -> dict[str, list[Any]]:
    engine = open_engine(url)
    try:
        with engine.connect() as connection:
            return {
                table.name: sorted(map(repr, connection.execute(select(table)))) for table in metadata.sorted_tables
            }
    finally:
        engine.dispose()


@pytest.fixture
def url(tmp_path: Path) -> str:
    made = sqlite_url(tmp_path / "tollgate.sqlite")
    upgrade(made)
    engine = open_engine(made)
    furnish(engine, "A-1", "A-2")
    engine.dispose()
    return made


def test_a_backup_made_while_somebody_writes_is_restored_whole(url: str, tmp_path: Path) -> None:
    engine = open_engine(url)
    before = content(url)
    file = tmp_path / "backup"
    with writing(engine).begin() as connection:
        parties.set_groups(connection, "A-1", ["business"])
        backup.back_up(url, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    furnish(engine, "A-3")
    restored = sqlite_url(tmp_path / "new/tollgate.sqlite")
    backup.restore(restored, file)
    assert content(restored) == before
    assert before["account"]
    engine.dispose()


def test_nothing_that_is_there_is_overwritten(url: str, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    backup.back_up(url, file)
    with pytest.raises(BackupError, match="there already"):
        backup.back_up(url, file)
    with pytest.raises(BackupError, match="move tollgate"):
        backup.restore(url, file)


def test_a_damaged_file_is_not_restored(url: str, tmp_path: Path) -> None:
    file, new = tmp_path / "backup", tmp_path / "new/tollgate.sqlite"
    backup.back_up(url, file)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BackupError, match=r"damaged|malformed|disk image"):
        backup.restore(sqlite_url(new), file)
    file.write_text("no database")
    with pytest.raises(BackupError, match="no SQLite database"):
        backup.restore(sqlite_url(new), file)
    assert not new.exists()


def test_postgres_is_dumped_and_restored(url: str, postgres_url: str, tmp_path: Path) -> None:
    backup.copy(url, postgres_url)
    file = tmp_path / "dump"
    backup.back_up(postgres_url, file)
    with pytest.raises(BackupError, match="tables already"):
        backup.restore(postgres_url, file)
    engine = open_engine(postgres_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()
    backup.restore(postgres_url, file)
    assert content(postgres_url) == content(url)


def test_an_operator_moves_to_postgres_and_goes_on_there(url: str, postgres_url: str) -> None:
    rows = backup.copy(url, postgres_url)
    assert rows["account"] == 2
    assert content(postgres_url) == content(url)
    engine = open_engine(postgres_url)
    furnish(engine, "A-3")
    with engine.connect() as connection:
        assert list(verify(connection)) == []
        assert verify_audit(connection)[0] == 3
        assert verify_audit(connection)[2] == []
    engine.dispose()
    with pytest.raises(BackupError, match="tables already"):
        backup.copy(url, postgres_url)


def test_a_copy_is_one_file(url: str, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    backup.back_up(url, file)
    assert [path.name for path in tmp_path.glob("*backup*")] == ["backup"]
    with sqlite3.connect(file) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
