"""Deferred revenue is posted once for each agreement and month, and what the export tells is what the ledger has."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from receivable_samples import Books
from sqlalchemy import select, update

from charging.periods import period
from operator_server.receivables.daily import DailyDesk
from operator_server.receivables.finance import handover
from operator_server.receivables.finance_files import export_finance
from operator_server.receivables.proof import verify_receivables
from operator_server.receivables.recognition import Recognised, recognise
from operator_server.store.accounting import Charge
from operator_server.store.engine import writing
from operator_server.store.receivables import RevenueDeferral
from operator_server.store.rows import table

DAY = timedelta(days=1)
CENT = 10_000


def serve(books: Books, number_of_charge: int, start: datetime, end: datetime) -> None:
    """Let a charge be for the time from start to end."""
    charge = table(Charge)
    with writing(books.engine).begin() as connection:
        ids = list(connection.execute(select(charge.c.id).order_by(charge.c.recorded_at, charge.c.id)).scalars())
        connection.execute(
            update(charge).where(charge.c.id == ids[number_of_charge]).values(service_from=start, service_to=end)
        )


def month_end(books: Books, name: str) -> datetime:
    return period(name, books.settings.operator.zone).end


def post(books: Books, name: str) -> list[Recognised]:
    return recognise(books.engine, books.settings, period(name, books.settings.operator.zone), books.now)


def a_year(books: Books) -> None:
    """365.00 for 73 days, of which 28 lie in November, 31 in December and 14 in January."""
    books.invoice("365.00")
    end = month_end(books, "2026-11")
    serve(books, 0, end - 28 * DAY, end + 45 * DAY)


def test_revenue_for_a_time_to_come_waits_and_is_earned_month_by_month(books: Books) -> None:
    a_year(books)
    books.now = datetime(2026, 12, 2, tzinfo=UTC)
    assert post(books, "2026-11") == [Recognised("2026-11", 1, {"EUR": 225_000_000})]
    assert books.ledger() == {"revenue": -14000, "deferred": -22500, "tax:S": -6935}
    assert post(books, "2026-11") == []
    books.now = datetime(2027, 3, 2, tzinfo=UTC)
    assert [(each.period, each.moved, each.standing) for each in post(books, "2027-02")] == [
        ("2026-12", 1, {"EUR": 70_000_000}),
        ("2027-01", 1, {"EUR": 0}),
        ("2027-02", 0, {}),
    ]
    assert books.ledger() == {"revenue": -36500, "tax:S": -6935}
    books.prove()


def test_the_posting_belongs_to_the_month_that_it_closes_whenever_it_is_written(books: Books, tmp_path: Path) -> None:
    a_year(books)
    books.now = datetime(2027, 2, 2, tzinfo=UTC)
    for name, deferred, revenue in (("2026-12", "-70.00", "-295.00"), ("2026-11", "-225.00", "-140.00")):
        span = period(name, books.settings.operator.zone)
        made, files = export_finance(books.engine, books.settings, span, tmp_path, "csv", books.now)
        assert made.faults == []
        balances = {
            row["account"]: row["closing"] for row in csv.DictReader((tmp_path / f"{name}-balances.csv").open())
        }
        assert (balances["deferred"], balances["revenue"]) == (deferred, revenue)
        told = [row["deferred"] for row in csv.DictReader((tmp_path / f"{name}-deferred.csv").open())]
        assert told == [deferred.removeprefix("-")]
        journal = list(csv.DictReader((tmp_path / f"{name}-journal.csv").open()))
        assert {row["day"][:7] for row in journal} == {name}
        before = {file: file.read_bytes() for file in files}
        export_finance(books.engine, books.settings, span, tmp_path, "csv", books.now + 9 * DAY)
        assert {file: file.read_bytes() for file in files} == before


def test_a_month_without_its_posting_does_not_tie(books: Books) -> None:
    a_year(books)
    books.now = datetime(2026, 12, 2, tzinfo=UTC)
    post(books, "2026-11")
    serve(books, 0, month_end(books, "2026-11") - DAY, month_end(books, "2026-11") + 364 * DAY)
    books.open()
    span = period("2026-11", books.settings.operator.zone)
    made = books.read(lambda c: handover(c, books.settings, span, books.now))
    assert made.faults == [
        "deferred revenue in EUR: the ledger has 225000000 micros, the charges leave 364000000",
    ]


def test_an_operator_may_keep_revenue_where_it_is(books: Books, tmp_path: Path) -> None:
    books.settings = books.settings.model_copy(
        update={"finance": books.settings.finance.model_copy(update={"post_deferred": False})}
    )
    a_year(books)
    books.now = datetime(2026, 12, 2, tzinfo=UTC)
    span = period("2026-11", books.settings.operator.zone)
    made, _ = export_finance(books.engine, books.settings, span, tmp_path, "csv", books.now)
    assert made.faults == []
    assert "deferred" not in books.ledger()
    assert [row.deferred for row in made.deferred] == [225_000_000]


def test_the_worker_posts_the_months_that_are_over_once_a_day(books: Books) -> None:
    a_year(books)
    desk = DailyDesk(books.engine, books.settings)
    assert desk.work(books.now) == []
    books.now = datetime(2026, 12, 1, 1, tzinfo=UTC)
    assert desk.work(books.now) == ["deferred revenue of 2026-11 is posted, 1 agreements moved"]
    assert desk.work(books.now) == []


def test_what_was_posted_and_what_is_told_beside_it_agree(books: Books) -> None:
    a_year(books)
    books.now = datetime(2026, 12, 2, tzinfo=UTC)
    post(books, "2026-11")
    rows = table(RevenueDeferral)
    with writing(books.engine).begin() as connection:
        connection.execute(update(rows).values(moved=rows.c.moved - 1))
    assert [finding.where for finding in books.read(verify_receivables)] == ["deferred revenue in EUR"]


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 10**6), st.integers(-40, 60), st.integers(1, 120), st.integers(0, 40)),
        min_size=1, max_size=5,
    ),
    st.lists(st.integers(0, 7), min_size=1, max_size=4),
)  # fmt: skip
def test_in_the_end_all_is_earned_in_whatever_steps_months_are_posted(
    charges: list[tuple[int, int, int, int]], steps: list[int]
) -> None:
    books = Books()
    for place, (cents, start, length, later) in enumerate(sorted(charges, key=lambda each: each[3])):
        books.now = datetime(2026, 11, 2, tzinfo=UTC) + later * DAY
        books.invoice(f"{cents / 100:.2f}", account="acc-2" if place % 2 else "acc-1")
        begin = books.now + start * DAY
        serve(books, place, begin, begin + length * DAY)
    total = books.ledger()["revenue"]
    names = ["2026-11", "2026-12", "2027-01", "2027-02", "2027-03", "2027-04", "2027-05", "2027-06"]
    books.now = datetime(2027, 8, 1, tzinfo=UTC)
    for step in steps:
        post(books, names[step])
    post(books, "2027-07")
    assert books.ledger()["revenue"] == total
    assert "deferred" not in books.ledger()
    books.prove()
