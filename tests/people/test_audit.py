"""The audit trail."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, Engine, delete, insert, update

from operator_server.audit import audited, entries, verify_audit
from operator_server.store.people import AuditEntry
from operator_server.store.rows import table
from operator_server.store.store import transact
from operator_server.trail import told_change

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)


def write(engine: Engine, count: int = 3) -> None:
    def some(connection: Connection) -> None:
        for number in range(count):
            before, after = {"limit": number}, {"limit": number + 1, "at": NOW, "password": "hidden"}
            audited(connection, f"person:p{number % 2}", "account.change", f"account/A-{number}", before, after, NOW)

    transact(engine, some)


def test_an_entry_says_who_when_what_before_and_after_and_no_secret(engine: Engine) -> None:
    write(engine)
    with engine.connect() as connection:
        newest, *_ = entries(connection)
        assert [row.id for row in entries(connection)] == [3, 2, 1]
        assert [row.id for row in entries(connection, actor="person:p0")] == [3, 1]
        assert [row.id for row in entries(connection, reference="account/A-1")] == [2]
        assert [row.id for row in entries(connection, before=3, most=1)] == [2]
    assert (newest.actor, newest.action, newest.reference, newest.at) == (
        "person:p0", "account.change", "account/A-2", NOW,
    )  # fmt: skip
    assert newest.before == {"limit": 2}
    assert newest.after == {"limit": 3, "at": NOW.isoformat()}


def test_entries_that_stay_as_they_were_verify(engine: Engine) -> None:
    write(engine)
    write(engine)
    with engine.connect() as connection:
        count, digest, faults = verify_audit(connection)
    assert (count, faults) == (6, [])
    assert digest != bytes(32)


def test_a_changed_or_removed_entry_shows(engine: Engine) -> None:
    write(engine, 5)
    entry = table(AuditEntry)
    transact(engine, lambda c: c.execute(update(entry).where(entry.c.id == 2).values(actor="person:somebody")))
    with engine.connect() as connection:
        assert [fault.entry for fault in verify_audit(connection)[2]] == [2]
    transact(engine, lambda c: c.execute(delete(entry).where(entry.c.id == 4)))
    with engine.connect() as connection:
        assert [fault.entry for fault in verify_audit(connection)[2]] == [2, 5, 5]


def test_an_entry_of_somebody_else_meanwhile_does_not_stand_for_ones_own(engine: Engine) -> None:
    entry = table(AuditEntry)
    other = {"id": 1, "at": NOW, "actor": "cli:other", "action": "x", "reference": "x/1", "digest": bytes(32)}

    def change(connection: Connection) -> None:
        told_change(
            connection, "cli:test", "account.import", "statement/1",
            lambda c: c.execute(insert(entry).values(other)), NOW, {"rows": 3},
        )  # fmt: skip

    transact(engine, change)
    with engine.connect() as connection:
        assert [(row.actor, row.after) for row in entries(connection)] == [
            ("cli:test", {"rows": 3}),
            ("cli:other", None),
        ]


def test_a_change_that_writes_its_own_entry_or_finds_all_so_before_gets_none(engine: Engine) -> None:
    def change(connection: Connection) -> None:
        told_change(connection, "cli:test", "a", "statement/1", lambda c: 0, NOW, lambda count: None)
        told_change(
            connection, "cli:test", "b", "statement/2",
            lambda c: audited(c, "cli:test", "own", "statement/2", None, None, NOW), NOW, {},
        )  # fmt: skip
        told_change(connection, "cli:test", "c", "statement/3", lambda c: 7, NOW, lambda count: {"count": count})

    transact(engine, change)
    with engine.connect() as connection:
        found = [(row.action, row.after) for row in entries(connection)]
    assert found == [("c", {"count": 7}), ("own", None)]


def test_a_change_that_is_rolled_back_leaves_no_entry(engine: Engine) -> None:
    class Undone(Exception):
        pass

    def change(connection: Connection) -> None:
        audited(connection, "cli:test", "nothing", "nothing/1", None, None, NOW)
        raise Undone

    with pytest.raises(Undone):
        transact(engine, change)
    with engine.connect() as connection:
        assert list(entries(connection)) == []
