"""Drafts, approval, numbers, and that nothing final ever changes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bill_samples import CENT, EURO, charge, charged_on, customer, house, invoices, proven
from counting_samples import AGREED, OCTOBER_END, SETTINGS, House, Meterer, add_terminal
from sqlalchemy import Engine, delete, select, text, update
from sqlalchemy.exc import DBAPIError
from test_bill_run import furnished, killed_at, use

from charging.periods import PeriodError
from operator_server.billing import approval, bill_run, writing
from operator_server.billing.accounts import Billing, set_billing
from operator_server.billing.bill_run import BillRunError, run_bills
from operator_server.billing.control import control_report
from operator_server.billing.open_period import billed_until, effective_at
from operator_server.billing.proof import verify_billing
from operator_server.parties import PartyError
from operator_server.store.accounting import Charge, InvoiceRow
from operator_server.store.billing import InvoiceDraft
from operator_server.store.engine import open_engine, sqlite_url
from operator_server.store.migrate import upgrade
from operator_server.store.people import AuditEntry
from operator_server.store.rows import table
from operator_server.store.store import transact
from tools.throwaway_postgres import PostgresMissing, throwaway_postgres

OCTOBER = datetime(2026, 10, 5, tzinfo=UTC)
NOW = datetime(2026, 11, 2, tzinfo=UTC)
DAY = timedelta(days=1)
ACCOUNTS = tuple(f"acc-{number}" for number in range(1, 6))


@pytest.fixture
def made() -> House:
    operator = house(*ACCOUNTS)
    for account in ACCOUNTS:
        charge(operator, OCTOBER, account=account)
        charge(operator, OCTOBER + DAY, account=account)
    return operator


def draft(made: House, **how: Any) -> bill_run.BillRunReport:
    return run_bills(made.engine, SETTINGS, "2026-10", now=NOW, draft=True, **how)


def approve(made: House, by: str = "person:erika") -> bill_run.BillRunReport:
    return transact(made.engine, lambda c: approval.approve(c, "2026-10", by, NOW))


def finalise(made: House, **how: Any) -> bill_run.BillRunReport:
    return approval.finalise(made.engine, SETTINGS, "2026-10", "person:erika", now=NOW + DAY, **how)


def test_drafts_have_no_number_until_somebody_approved_them_by_name(made: House) -> None:
    report = draft(made)
    assert (report.made, report.state, report.gross) == (5, "drafted", {"EUR": 5 * 238 * CENT})
    assert draft(made).made == 0
    assert invoices(made) == []
    proven(made)
    with made.engine.connect() as connection:
        drafts = approval.drafts_of(connection, "2026-10")
    assert [(each.account, each.number) for each in drafts] == [(account, "") for account in ACCOUNTS]
    with pytest.raises(BillRunError, match="approve it with"):
        finalise(made)
    with pytest.raises(BillRunError, match="has drafts"):
        run_bills(made.engine, SETTINGS, "2026-10", now=NOW)
    assert approve(made).state == "approved"
    told: list[tuple[int, int]] = []
    report = finalise(made, progress=lambda done, of: told.append((done, of)))
    assert (report.made, report.invoices, report.state) == (5, 5, "done")
    assert told[-1] == (5, 5)
    made_out = invoices(made)
    assert [each.number for each in made_out] == [f"R-2026-00000{number}" for number in range(1, 6)]
    assert [each.lines for each in made_out] == [each.lines for each in drafts]
    assert made_out[0].issue_date == (NOW + DAY).date()
    with pytest.raises(BillRunError, match="invoices are final"):
        finalise(made)
    proven(made)
    with made.engine.connect() as connection:
        trail = connection.execute(select(table(AuditEntry).c.action, table(AuditEntry).c.actor)).all()
    assert ("bill_run.approve", "person:erika") in [tuple(row) for row in trail]


def test_a_draft_that_is_not_what_was_approved_is_not_made_final(made: House) -> None:
    draft(made)
    approve(made)
    with made.writing() as connection:
        connection.execute(update(table(InvoiceDraft)).values(unbilled=1))
    with pytest.raises(BillRunError, match="not what person:erika approved"):
        finalise(made)
    with made.engine.connect() as connection:
        assert any("its charges sum to" in finding.what for finding in verify_billing(connection))


def test_drafts_that_are_thrown_away_are_billed_by_the_next_run(made: House) -> None:
    draft(made)
    approve(made)
    count = transact(made.engine, lambda c: approval.discard(c, "2026-10", "person:erika", NOW))
    assert count == 5
    assert set(charged_on(made).values()) == {None}
    with made.writing() as connection:
        set_billing(connection, "acc-1", Billing(tax_status="exempt", tax_reason="Mission"), "person:erika", NOW)
    report = run_bills(made.engine, SETTINGS, "2026-10", now=NOW)
    assert (report.made, report.state) == (5, "done")
    assert invoices(made)[0].totals.tax_micros == 0
    with pytest.raises(BillRunError, match="invoices are final"):
        transact(made.engine, lambda c: approval.discard(c, "2026-10", "person:erika", NOW))
    proven(made)


@pytest.mark.parametrize(
    ("step", "module", "call"),
    [("_finalise", approval, 1), ("_finalise", approval, 3), ("_post", writing, 2), ("_finish", approval, 1)],
)
@pytest.mark.parametrize("after", [False, True])
def test_finalising_that_was_killed_goes_on_where_it_stopped(
    made: House, monkeypatch: pytest.MonkeyPatch, step: str, module: Any, call: int, after: bool
) -> None:
    monkeypatch.setattr(approval, "PORTION", 1)
    draft(made)
    approve(made)
    killed_at(monkeypatch, module, step, call, after, lambda: finalise(made))
    report = finalise(made)
    assert (report.invoices, report.state) == (5, "done")
    assert [each.number for each in invoices(made)] == [f"R-2026-00000{number}" for number in range(1, 6)]
    proven(made)


@pytest.mark.parametrize(("call", "after"), [(1, False), (2, False), (3, True)])
def test_drafting_that_was_killed_goes_on_where_it_stopped(
    made: House, monkeypatch: pytest.MonkeyPatch, call: int, after: bool
) -> None:
    monkeypatch.setattr(bill_run, "PORTION", 1)
    killed_at(monkeypatch, bill_run, "write_drafts", call, after, lambda: draft(made))
    if call > 1:
        with pytest.raises(BillRunError, match="is making drafts"):
            run_bills(made.engine, SETTINGS, "2026-10", now=NOW, draft=False)
    report = draft(made)
    assert (report.invoices, report.state) == (5, "drafted")
    proven(made)


def test_by_settings_a_run_makes_drafts(made: House) -> None:
    careful = SETTINGS.model_copy(update={"operator": SETTINGS.operator.model_copy(update={"bill_approval": True})})
    assert run_bills(made.engine, careful, "2026-10", now=NOW).state == "drafted"


IMMUTABLE = [
    update(table(InvoiceRow)).values(total=0),
    update(table(InvoiceRow)).values(document=b"{}"),
    delete(table(InvoiceRow)),
    update(table(Charge)).values(net=0),
    update(table(Charge)).values(invoice_id=None),
    delete(table(Charge)),
]


@pytest.mark.parametrize("statement", IMMUTABLE, ids=str)
def test_the_database_refuses_to_change_what_is_final(made: House, statement: Any) -> None:
    run_bills(made.engine, SETTINGS, "2026-10", now=NOW)
    with pytest.raises(DBAPIError, match="never changes; make a credit note"), made.writing() as connection:
        connection.execute(statement)
    proven(made)


def test_the_proof_finds_what_somebody_changed_past_the_database(made: House) -> None:
    run_bills(made.engine, SETTINGS, "2026-10", now=NOW)
    with made.writing() as connection:
        for trigger in ("invoice_final", "invoice_kept", "charge_billed", "charge_kept"):
            connection.execute(text(f"DROP TRIGGER {trigger}"))
        document = table(InvoiceRow).c.document
        number = table(InvoiceRow).c.number_in_series
        first = connection.execute(select(document).where(number == 1)).scalar_one()
        forged = first.replace(b"Customer acc-1", b"Customer acc-9")
        connection.execute(update(table(InvoiceRow)).where(number == 1).values(document=forged))
        connection.execute(update(table(InvoiceRow)).where(number == 2).values(net=1, digest=None))
        connection.execute(delete(table(InvoiceRow)).where(number == 3))
    with made.engine.connect() as connection:
        found = {finding.where: finding.what for finding in verify_billing(connection)}
    assert "not the one that was made" in found["invoice R-2026-000001"]
    assert "the row beside it" in found["invoice R-2026-000002"]
    assert "numbers are missing" in found["series R-2026"]
    assert any("neither an invoice nor a draft" in what for what in found.values())


def test_a_locked_period_takes_no_late_use_and_can_be_opened_until_it_is_billed(made: House) -> None:
    def lock(name: str, now: datetime = NOW) -> datetime:
        return transact(made.engine, lambda c: approval.lock_period(c, name, SETTINGS.operator, "person:erika", now))

    with pytest.raises(BillRunError, match="cannot be locked before"):
        lock("2026-10", OCTOBER)
    with pytest.raises(PeriodError):
        lock("October")
    assert lock("2026-10") == lock("2026-10") == OCTOBER_END
    with made.writing() as connection:
        assert effective_at(connection, OCTOBER) == OCTOBER_END
        approval.unlock_period(connection, "2026-10", "person:erika", NOW)
        assert billed_until(connection) is None
        with pytest.raises(BillRunError, match="is not locked"):
            approval.unlock_period(connection, "2026-10", "person:erika", NOW)
    lock("2026-10")
    draft(made)
    with made.writing() as connection, pytest.raises(BillRunError, match="so it stays closed"):
        approval.unlock_period(connection, "2026-10", "person:erika", NOW)


def test_how_an_account_is_billed_is_checked(made: House) -> None:
    wrong = [
        Billing(cycle_day=32), Billing(time_zone="Mars/Base"), Billing(tax_country="de"), Billing(tax_status="none"),
        Billing(tax_status="exempt"), Billing(minimum="-1"), Billing(minimum="much"),
    ]  # fmt: skip
    with made.writing() as connection:
        for change in wrong:
            with pytest.raises(PartyError, match="account acc-1: "):
                set_billing(connection, "acc-1", change, "cli:test", NOW)
        with pytest.raises(PartyError, match="there is none"):
            set_billing(connection, "nobody", Billing(), "cli:test", NOW)
        row = set_billing(connection, "acc-1", Billing(31, "Asia/Tokyo", minimum="5", closed=True), "cli:test", NOW)
    assert (row.cycle_day, row.time_zone, row.minimum_amount, row.status) == (31, "Asia/Tokyo", 5 * EURO, "closed")


def _on(engine: Engine, count: int) -> House:
    """The customers of these tests in a database of processes."""
    operator = House()
    operator.engine = engine
    with operator.writing() as connection:
        add_terminal(connection)
        for number in range(count):
            customer(connection, operator, f"acc-{number:03d}")
    for number in range(count):
        charge(operator, OCTOBER, account=f"acc-{number:03d}")
    return operator


@pytest.fixture
def on_disk(tmp_path: Path) -> Iterator[House]:
    url = sqlite_url(tmp_path / "bills.sqlite")
    upgrade(url)
    engine = open_engine(url)
    yield _on(engine, 7)
    engine.dispose()


def test_several_processes_make_the_same_bills(on_disk: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bill_run, "PORTION", 3)
    report = run_bills(on_disk.engine, SETTINGS, "2026-10", now=NOW, workers=2)
    assert (report.made, report.state) == (7, "done")
    assert [(each.number[-1], each.account) for each in invoices(on_disk)] == [
        (str(number + 1), f"acc-{number:03d}") for number in range(7)
    ]
    proven(on_disk)


KILLED = """
import sys
from datetime import datetime
from counting_samples import SETTINGS
from operator_server.billing import approval, bill_run
from operator_server.store.engine import open_engine
bill_run.PORTION = approval.PORTION = 1
engine, now = open_engine(sys.argv[1]), datetime.fromisoformat(sys.argv[2])
told = lambda done, of: print(done, flush=True)
if sys.argv[3] == "finalise":
    approval.finalise(engine, SETTINGS, "2026-10", "system", now=now, progress=told)
else:
    bill_run.run_bills(engine, SETTINGS, "2026-10", now=now, draft=sys.argv[3] == "draft", progress=told)
"""


@pytest.mark.parametrize("what", ["run", "draft", "finalise"])
def test_a_process_that_is_killed_leaves_whole_bills_and_the_next_one_goes_on(on_disk: House, what: str) -> None:
    url, path = str(on_disk.engine.url), os.pathsep.join(sys.path)
    if what == "finalise":
        draft(on_disk)
        approve(on_disk)
    done = 0
    # A repeated run passes accounts that are billed already.
    for lines in (1, 1) if what == "finalise" else (2, 4):
        command = [sys.executable, "-c", KILLED, url, NOW.isoformat(), what]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": path}) as process:
            assert process.stdout is not None
            for _ in range(lines):
                assert process.stdout.readline().strip()
            process.kill()
        proven(on_disk)
        with on_disk.engine.connect() as connection:
            kept = table(InvoiceDraft) if what == "draft" else table(InvoiceRow)
            count = len(connection.execute(select(kept.c.id)).all())
        assert done < count
        done = count
    if what == "draft":
        draft(on_disk)
        approve(on_disk)
    report = finalise(on_disk) if what != "run" else run_bills(on_disk.engine, SETTINGS, "2026-10", now=NOW)
    assert (report.invoices, report.state) == (7, "done")
    assert [each.number for each in invoices(on_disk)] == [f"R-2026-00000{number}" for number in range(1, 8)]
    proven(on_disk)


def test_runs_at_the_same_time_bill_everything_once_without_a_gap(
    on_disk: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bill_run, "PORTION", 2)
    _race(on_disk, 7)


def _race(operator: House, count: int) -> None:
    def run(_: int) -> int:
        return run_bills(operator.engine, SETTINGS, "2026-10", now=NOW).made

    with ThreadPoolExecutor(3) as threads:
        made = list(threads.map(run, range(3)))
    assert sum(made) == count
    assert sorted(each.account for each in invoices(operator)) == [f"acc-{number:03d}" for number in range(count)]
    assert [each.number for each in invoices(operator)] == [f"R-2026-{number:06d}" for number in range(1, count + 1)]
    proven(operator)


def test_on_postgresql_the_same_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bill_run, "PORTION", 2)
    try:
        with throwaway_postgres() as url:
            upgrade(url)
            engine = open_engine(url)
            operator = _on(engine, 7)
            _race(operator, 7)
            for statement in IMMUTABLE:
                with pytest.raises(DBAPIError, match="make a credit note"), operator.writing() as connection:
                    connection.execute(statement)
            engine.dispose()
    except PostgresMissing as missing:
        pytest.skip(str(missing))


def test_the_control_report_accounts_for_everything_that_was_rated() -> None:
    operator = house(*ACCOUNTS)
    for month in (7, 8, 9, 10):
        for account in ACCOUNTS[:4]:
            net = 100 * EURO if (month, account) == (10, "acc-2") else EURO
            charge(operator, datetime(2026, month, 5, tzinfo=UTC), 0 if account == "acc-4" else net, account=account)
        if month < 10:
            run_bills(operator.engine, SETTINGS, f"2026-{month:02d}", now=datetime(2026, month + 1, 2, tzinfo=UTC))
    charge(operator, OCTOBER, 500 * EURO, account="acc-5")
    charge(operator, OCTOBER, 7 * EURO, account="acc-1", pays="prepaid")
    charge(operator, OCTOBER, 3 * EURO, account="acc-1", pays="none")

    def report() -> Any:
        with operator.engine.connect() as connection:
            return control_report(connection, SETTINGS.operator, "2026-10")

    before = report()
    assert (before.state, [each.micros for each in before.rated]) == ("", [612 * EURO])
    assert [(each.count, each.micros) for each in before.unbilled] == [(5, 602 * EURO)]
    assert [each.micros for each in before.prepaid + before.rated_only] == [7 * EURO, 3 * EURO]
    draft(operator)
    drafted = report()
    assert (drafted.state, drafted.unbilled, [each.micros for each in drafted.drafted]) == ("drafted", [], [602 * EURO])
    assert [each.account for each in drafted.zero] == ["acc-4"]
    assert [(each.account, each.usual) for each in drafted.outliers] == [("acc-5", 1_190_000), ("acc-2", 1_190_000)]
    approve(operator)
    finalise(operator)
    final = report()
    assert (final.approved_by, [each.micros for each in final.billed]) == ("person:erika", [602 * EURO])
    assert [each.account for each in final.outliers] == ["acc-5", "acc-2"]


def test_the_control_report_names_terminals_that_are_silent_by_what_is_at_risk() -> None:
    operator = furnished(House())
    use(operator, Meterer(), 30, AGREED)

    def silent(name: str) -> list[Any]:
        with operator.engine.connect() as connection:
            return control_report(connection, SETTINGS.operator, name).silent

    [one] = silent("2026-11")
    assert (one.terminal, one.installation, one.reported_at, one.at_risk) == ("T-1", "inst-1", AGREED, EURO)
    assert [each.at_risk for each in silent("2026-10")] == [0]
    assert silent("2026-08") == []
