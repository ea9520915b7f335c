from __future__ import annotations

import sqlite3

import pytest
from ledger_samples import EURO, Ledger, capture, charge, reserve, reverse, top_up

from charging.ledger.seal import group_root
from charging.ledger.verify import Finding


@pytest.fixture
def busy(ledger: Ledger) -> Ledger:
    """A ledger with four groups of two writers."""
    first = ledger.do_one(charge("1", 3 * EURO))
    held = ledger.do(reserve("2", 2 * EURO), top_up("3", EURO), writer="second")[0]
    ledger.do(capture("4", held.transfer_id, EURO))  # type: ignore[union-attr]  # it is applied
    ledger.do(reverse("5", first.transfer_id, EURO), writer="second")
    return ledger


def _whats(findings: list[Finding]) -> str:
    return "\n".join(f"{finding.where}: {finding.what}" for finding in findings)


def test_a_ledger_that_nobody_touched_has_no_findings(busy: Ledger) -> None:
    assert busy.findings() == []


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("UPDATE posting SET amount = amount + 1 WHERE leg = 0 AND amount = 3000000", "sum to 1 micros, not to zero"),
        ("UPDATE posting SET amount = amount + 1 WHERE leg = 0 AND amount = 3000000", "altered after it was sealed"),
        (
            "UPDATE ledger_account SET balance = balance - 1 WHERE kind = 'unbilled'",
            "account ada unbilled EUR: its bal",
        ),
        ("UPDATE ledger_account SET reserved = 0 WHERE kind = 'unbilled'", "its open reservations hold 1000000"),
        ("UPDATE reservation SET remaining = remaining + 1", "of 2000000 micros 1000000 are captured and 1000001 rem"),
        ("UPDATE transfer SET agreement_id = 'other' WHERE kind = 'reserve'", "group second 1: it or a transfer from"),
        ("UPDATE transfer SET effective_at = effective_at + 1 WHERE kind = 'charge'", "group main 1: it or a transfer"),
        ("UPDATE transfer SET op_id = 'x' WHERE kind = 'reverse'", "group second 2: it or a transfer"),
        ("DELETE FROM transfer WHERE kind = 'reserve'", "group second 1: it sealed 2 transfers, there are 1"),
        ("DELETE FROM ledger_group WHERE writer = 'main' AND sequence = 1", "it stands in no sealed group"),
        ("DELETE FROM ledger_group WHERE writer = 'main' AND sequence = 1", "groups from 1 to 1 before it are missing"),
        ("UPDATE ledger_group SET previous_root = zeroblob(32) WHERE sequence = 2", "previous root is not the root of"),
        (
            "UPDATE ledger_group SET writer = 'third' WHERE sequence = 2 AND writer = 'main'",
            "group third 2: the groups",
        ),
        ("UPDATE posting SET currency = 'USD' WHERE amount IN (3000000, -3000000)", "not in the currency of its acc"),
    ],
)
def test_what_was_altered_is_found_and_named(busy: Ledger, sql: str, found: str) -> None:
    busy.alter(sql)
    assert found in _whats(busy.findings())


def test_a_forged_transfer_is_found_even_with_balances_that_fit(busy: Ledger) -> None:
    busy.alter(
        "INSERT INTO transfer SELECT id || '0', source, 'forged', request_digest, kind, pending_id, reverses_id,"
        " agreement_id, tariff_version_id, effective_at, recorded_at FROM transfer WHERE kind = 'charge'"
    )
    busy.alter(
        "INSERT INTO posting SELECT transfer_id || '0', leg, ledger_account_id, currency, amount FROM posting"
        " WHERE amount IN (3000000, -3000000)"
    )
    busy.alter("UPDATE ledger_account SET balance = balance + 3000000 WHERE kind = 'unbilled'")
    busy.alter("UPDATE ledger_account SET balance = balance - 3000000 WHERE kind = 'revenue'")
    findings = busy.findings()
    assert [finding.what for finding in findings] == ["it stands in no sealed group"]


def test_an_operation_done_twice_is_found_where_the_unique_key_is_gone(busy: Ledger) -> None:
    raw = busy.connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    raw.execute("PRAGMA foreign_keys = OFF")
    with busy.connection.begin():
        sql = busy.connection.exec_driver_sql("SELECT sql FROM sqlite_schema WHERE name = 'transfer'").scalar_one()
        bare = sql.replace("CONSTRAINT transfer_once UNIQUE (source, op_id)", "CHECK (1)").replace(
            "CREATE TABLE transfer", "CREATE TABLE bare"
        )
        busy.connection.exec_driver_sql(bare)
        busy.connection.exec_driver_sql("INSERT INTO bare SELECT * FROM transfer")
        busy.connection.exec_driver_sql("DROP TABLE transfer")
        busy.connection.exec_driver_sql("ALTER TABLE bare RENAME TO transfer")
    busy.alter("UPDATE transfer SET op_id = '1'")
    assert "operation test 1: it was done 5 times" in _whats(busy.findings())


def test_more_taken_back_than_charged_is_found(busy: Ledger) -> None:
    busy.alter(
        "UPDATE posting SET amount = amount * 4 WHERE transfer_id IN (SELECT id FROM transfer WHERE kind = 'reverse')"
    )
    assert "4000000 of 3000000 micros are taken back" in _whats(busy.findings())


def test_the_root_depends_on_the_previous_root_and_on_each_leaf_in_order() -> None:
    previous, leaves = bytes(32), [bytes([number]) * 32 for number in range(5)]
    root = group_root(previous, leaves)
    assert group_root(bytes([1]) * 32, leaves) != root
    assert group_root(previous, leaves[::-1]) != root
    assert len({group_root(previous, leaves[:count]) for count in range(6)}) == 6
