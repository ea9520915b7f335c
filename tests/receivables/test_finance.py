"""The hand-off to finance ties to the ledger."""

from __future__ import annotations

import csv
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from receivable_samples import Books
from sqlalchemy import Connection, update

from charging.periods import period
from charging.receivables.chart import code_of, deferred
from operator_server.billing.accounts import Billing, set_billing
from operator_server.parties import AccountChange, change_account
from operator_server.receivables.books import take_in_invoices
from operator_server.receivables.credit_notes import CreditRequest, make_credit_note
from operator_server.receivables.finance import Handover, handover, journal
from operator_server.receivables.finance_files import COLUMNS, export_finance
from operator_server.receivables.payments import return_payment
from operator_server.receivables.write_offs import approve_write_off, ask_write_off
from operator_server.settings import FinanceSettings
from operator_server.store.accounting import Charge
from operator_server.store.engine import writing
from operator_server.store.parties import Account
from operator_server.store.rows import table

CENT = 10_000


def figures(books: Books, name: str = "2026-11") -> Handover:
    span = period(name, books.settings.operator.zone)
    books.do(take_in_invoices)
    made = books.read(lambda c: handover(c, books.settings, span, books.now))
    assert made.faults == []
    return made


def busy(books: Books) -> Books:
    """Invoices in two months, payments, a return, a credit note, a write-off, a credit."""
    first, second = books.invoice("10.00", ("5.00", 700)), books.invoice("20.3333", account="acc-2")
    books.pay("7.00", first, id="p-1")
    books.do(make_credit_note, CreditRequest(first, {"2": None}))
    books.now += timedelta(days=20)
    books.pay("4.00", id="p-2")
    books.do(return_payment, "p-2", reason="x")
    books.now += timedelta(days=20)
    books.invoice("1.00", account="acc-2")
    books.do(approve_write_off, books.do(ask_write_off, second, reason="x", by="eve"), by="adam")
    books.pay("50.00")
    books.pay("3.00", account=None, id="p-3")
    books.prove()
    return books


def test_debits_are_credits_and_the_ageing_is_the_receivable(books: Books) -> None:
    made = figures(busy(books))
    for name in ("2026-11", "2026-12"):
        made = figures(books, name)
        span = period(name, books.settings.operator.zone)
        rows = books.read(lambda c, span=span: list(journal(c, books.settings, span, books.now)))
        assert rows
        assert sum(row.amount for row in rows) == 0
        moved: Counter[str] = Counter()
        for row in rows:
            moved[row.account] += row.amount
        assert moved == {row.account: row.debit - row.credit for row in made.balances if row.debit or row.credit}
    closing = {row.account: row.closing // CENT for row in made.balances if row.closing}
    assert closing == books.ledger() | {
        "receivable": books.ledger("acc-1").get("receivable", 0) + books.ledger("acc-2").get("receivable", 0)
    }


def test_a_month_that_is_over_stays_as_it_was(books: Books) -> None:
    books.invoice("10.00")
    books.now = datetime(2026, 12, 5, tzinfo=UTC)
    before = figures(books)
    books.pay("11.90")
    busy(books)
    assert figures(books) == before
    [(account, currency, ageing)] = before.ageing
    assert (account, currency, ageing.days_1_30, ageing.total) == ("acc-1", "EUR", 1190 * CENT, 1190 * CENT)


def test_debts_age_by_bucket_and_credits_stand_apart(books: Books) -> None:
    for days in (0, 25, 30, 30):
        books.invoice("10.00")
        books.now += timedelta(days=days)
    books.pay("1.00", account="acc-2")
    books.now = datetime(2027, 2, 14, tzinfo=UTC)
    made = {account: ageing for account, _, ageing in figures(books, "2027-02").ageing}
    one = made["acc-1"]
    assert (one.days_1_30, one.days_31_60, one.days_61_90) == (0, 1190 * CENT, 3 * 1190 * CENT)
    assert (made["acc-2"].credits, made["acc-2"].total) == (-100 * CENT, -100 * CENT)


def test_taxes_are_told_by_country_category_and_rate_less_credits(books: Books) -> None:
    number = books.invoice("10.00", ("5.00", 700), ("2.00", 0))
    books.do(make_credit_note, CreditRequest(number, {"1": 400 * CENT}))
    rows = [(row.country, row.category, row.rate_bp, row.base // CENT, row.tax // CENT) for row in figures(books).taxes]
    assert rows == [("DE", "S", 700, 500, 35), ("DE", "S", 1900, 600, 114), ("DE", "Z", 0, 200, 0)]


def test_revenue_for_the_time_after_the_month_is_deferred(books: Books) -> None:
    books.invoice("31.00")
    charge = table(Charge)
    with writing(books.engine).begin() as connection:
        end = period("2026-11", books.settings.operator.zone).end
        connection.execute(
            update(charge).values(service_from=end - timedelta(days=21), service_to=end + timedelta(days=10))
        )
    books.now = datetime(2026, 12, 5, tzinfo=UTC)
    [row] = figures(books).deferred
    assert (row.deferred, row.net) == (10_000_000, 31_000_000)
    books.now = datetime(2027, 1, 5, tzinfo=UTC)
    assert figures(books, "2026-12").deferred == []


@given(st.integers(-(10**9), 10**9), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(-10, 2 * 10**6))
def test_never_more_is_deferred_than_was_charged(net: int, start: int, length: int, at: int) -> None:
    part = deferred(net, start, start + length, at)
    assert 0 <= abs(part) <= abs(net)
    assert part == -deferred(-net, start, start + length, at)
    assert not part or part * net > 0


def test_codes_are_the_operators_own_where_it_has_them() -> None:
    own = {"revenue": "4000", "tax:R": "3801", "tax": "3806"}
    codes = [code_of(kind, own) for kind in ("revenue", "tax:R", "tax:S", "cash", "something")]
    assert codes == ["4000", "3801", "3806", "1200", "9999"]


@pytest.mark.parametrize("form", ["csv", "json"])
def test_files_hold_the_same_figures_in_both_forms(books: Books, tmp_path: Path, form: Any) -> None:
    busy(books)
    books.settings = books.settings.model_copy(update={"finance": FinanceSettings(accounts={"cash": "1800"})})
    span = period("2026-11", books.settings.operator.zone)
    _, files = export_finance(books.engine, books.settings, span, tmp_path, form, books.now)
    assert [file.name for file in files] == [f"2026-11-{name}.{form}" for name in COLUMNS]
    read = {
        file.name.split(".")[0].removeprefix("2026-11-"): json.loads(file.read_text())
        if form == "json"
        else list(csv.DictReader(file.open(newline="")))
        for file in files
    }
    assert all(set(row) == set(COLUMNS[name]) for name, rows in read.items() for row in rows)
    assert {row["code"] for row in read["journal"] if row["account"] == "cash"} == {"1800"}
    debit, credit = (sum(round(float(row[side]) * 10**6) for row in read["journal"]) for side in ("debit", "credit"))
    assert debit == credit > 0
    again = [file.read_bytes() for file in files]
    export_finance(books.engine, books.settings, span, tmp_path, form, books.now)
    assert [file.read_bytes() for file in files] == again


def paid_ahead(connection: Connection, id: str, account: str, at: datetime, **values: Any) -> None:
    row = {
        "id": id, "kind": "use", "agreement_id": "a", "account_id": account, "subscriber_id": account,
        "period": "2026-11", "effective_at": at, "recorded_at": at, "net": 100 * CENT, "currency": "EUR",
        "tax_category": "S", "tax_rate": 0, "transfer_id": "", "pays": "prepaid", "paid_tax": 0, "quantity": 1,
        "included": 0, "counter": "", "epoch": 0, "counter_from": 0, "counter_to": 0, "tariff_version": "",
    }  # fmt: skip
    connection.execute(table(Charge).insert().values(**row | values))


def test_what_was_paid_ahead_stands_under_the_categories_of_invoices(books: Books) -> None:
    with writing(books.engine).begin() as connection:
        for number, (account, category, rate, tax) in enumerate(
            (("acc-1", "S", 1900, 19 * CENT), ("acc-1", "R", 700, 7 * CENT), ("acc-2", "S", 0, 0), ("acc-1", "Z", 0, 0))
        ):
            paid_ahead(
                connection, f"p-{number}", account, books.now, tax_category=category, tax_rate=rate, paid_tax=tax
            )
        accounts = table(Account)
        connection.execute(update(accounts).where(accounts.c.id == "acc-2").values(tax_status="exempt"))
        # What the customer is later changes nothing of what was paid before, nor of what of that is given back.
        later = books.now + timedelta(days=1)
        change = Billing(tax_status="reverse_charge", tax_country="AT")
        set_billing(connection, "acc-2", change, "test", later)
        change_account(connection, "acc-2", AccountChange(country="CH", vat_id=""), later)
        paid_ahead(connection, "back", "acc-2", later + timedelta(hours=1), net=-30 * CENT, reverses_id="p-2")
    span = period("2026-11", books.settings.operator.zone)
    made = books.read(lambda c: handover(c, books.settings, span, books.now + timedelta(days=40)))
    assert {row.country for row in made.taxes} == {"DE"}
    assert [(row.category, row.rate_bp, row.base // CENT, row.tax // CENT) for row in made.taxes] == [
        ("E", 0, 70, 0), ("S", 700, 100, 7), ("S", 1900, 100, 19), ("Z", 0, 100, 0),
    ]  # fmt: skip
