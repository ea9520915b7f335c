"""Each account by its own cycle: every charge once, in the cycle it belongs to, whatever zones and months do."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from bill_samples import CENT, EURO, charge, charged_on, customer, house, invoices, proven, set_account
from counting_samples import SETTINGS, House
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from charging.billing.cycle import cycle, cycle_of
from operator_server.billing.bill_run import BillRunReport, run_bills
from operator_server.billing.commitments import NewCommitment, add_commitment, end_commitment
from operator_server.parties import PartyError
from operator_server.settings import Settings
from operator_server.store.accounting import InvoiceRow
from operator_server.store.rows import table

BERLIN = ZoneInfo("Europe/Berlin")
NOVEMBER = datetime(2026, 11, 2, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 2, tzinfo=UTC)
MICRO = timedelta(microseconds=1)


def bill(made: House, name: str = "2026-10", now: datetime = NOVEMBER, **how: object) -> BillRunReport:
    return run_bills(made.engine, SETTINGS, name, now=now, **how)  # type: ignore[arg-type]  # options of one run


@pytest.mark.parametrize(
    ("day", "zone"),
    [(1, ""), (15, ""), (31, "Europe/Berlin"), (1, "America/New_York"), (31, "Asia/Kolkata"), (26, "Europe/London"),
     (5, "Australia/Lord_Howe")],
)  # fmt: skip
def test_what_lies_at_the_edges_of_a_cycle_is_billed_once_and_with_its_own(day: int, zone: str) -> None:
    made = house()
    with made.writing() as connection:
        set_account(connection, "acc-1", cycle_day=day, time_zone=zone)
    span = cycle("2026-11", day, ZoneInfo(zone) if zone else BERLIN)
    before, first = charge(made, span.start - MICRO), charge(made, span.start)
    last, after = charge(made, span.end - MICRO), charge(made, span.end)
    report = bill(made, "2026-10", NOVEMBER)
    assert (report.made, report.state) == (1, "done")
    bill(made, "2026-11", DECEMBER)
    bill(made, "2026-12", datetime(2027, 1, 2, tzinfo=UTC))
    on = charged_on(made)
    assert len({on[before], on[first], on[after]}) == 3
    assert on[first] == on[last]
    middle = invoices(made)[1]
    assert middle.period_from == span.start.astimezone(ZoneInfo(middle.time_zone)).date()
    assert middle.period_to == (span.end - MICRO).astimezone(ZoneInfo(middle.time_zone)).date()
    proven(made)


@given(
    st.integers(1, 31),
    st.sampled_from(["", "America/New_York", "Asia/Kolkata", "Pacific/Auckland"]),
    st.lists(st.integers(0, 119 * 24 * 60), min_size=1, max_size=6),
)
@example(2, "Pacific/Auckland", [119 * 24 * 60])
@settings(max_examples=15, deadline=None)
def test_every_charge_is_billed_in_the_cycle_it_lies_in(day: int, zone: str, minutes: list[int]) -> None:
    made = house()
    own = ZoneInfo(zone) if zone else BERLIN
    with made.writing() as connection:
        set_account(connection, "acc-1", cycle_day=day, time_zone=zone)
    placed = {}
    for late in minutes:
        at = datetime(2026, 8, 5, tzinfo=UTC) + timedelta(minutes=late)
        placed[charge(made, at)] = cycle_of(at, day, own).name
    # With day 2, the second of December lies in the cycle that January names.
    for month in (8, 9, 10, 11, 12, 13):
        year, of_year = 2026 + (month - 1) // 12, (month - 1) % 12 + 1
        name, now = f"{year}-{of_year:02d}", datetime(2026 + month // 12, month % 12 + 1, 2, 12, tzinfo=UTC)
        first, again = bill(made, name, now), bill(made, name, now)
        assert (first.waiting, again.made) == (0, 0)
    with made.engine.connect() as connection:
        periods = dict(connection.execute(select(table(InvoiceRow).c.id, table(InvoiceRow).c.period)).all())
    assert {each: periods[on or ""] for each, on in charged_on(made).items()} == placed
    proven(made)


def test_an_account_whose_cycle_is_not_over_waits_until_it_is() -> None:
    made = house()
    with made.writing() as connection:
        set_account(connection, "acc-1", time_zone="America/New_York")
    charge(made, datetime(2026, 10, 5, tzinfo=UTC))
    report = bill(made, now=datetime(2026, 10, 31, 23, 30, tzinfo=UTC))
    assert (report.made, report.waiting, report.state) == (0, 1, "running")
    report = bill(made)
    assert (report.made, report.waiting, report.state) == (1, 0, "done")


def test_accounts_that_are_due_are_billed_day_by_day() -> None:
    made = house("acc-1", "acc-2")
    with made.writing() as connection:
        set_account(connection, "acc-2", cycle_day=15)
    for account in ("acc-1", "acc-2"):
        charge(made, datetime(2026, 10, 5, tzinfo=UTC), account=account)
    day = datetime(2026, 10, 14, 22, tzinfo=UTC)
    report = bill(made, now=day + timedelta(hours=3), until=day, scope="due")
    assert (report.made, [invoice.account for invoice in invoices(made)]) == (1, ["acc-2"])
    assert (invoices(made)[0].period_from, invoices(made)[0].period_to) == (date(2026, 9, 15), date(2026, 10, 14))
    assert bill(made).made == 1
    assert [invoice.account for invoice in invoices(made)] == ["acc-2", "acc-1"]


def test_a_part_of_a_month_leaves_accounts_with_a_cycle_of_their_own_to_its_end() -> None:
    made = house("acc-1", "acc-2")
    with made.writing() as connection:
        set_account(connection, "acc-2", cycle_day=20)
    for account in ("acc-1", "acc-2"):
        charge(made, datetime(2026, 10, 5, tzinfo=UTC), account=account)
    day = datetime(2026, 10, 10, tzinfo=UTC)
    bill(made, now=day, until=day)
    assert [invoice.account for invoice in invoices(made)] == ["acc-1"]


def test_small_bills_are_carried_forward_until_they_are_worth_it_or_the_account_is_closed() -> None:
    made = house("acc-1", "acc-2", "acc-3")
    least = Settings(
        **(SETTINGS.model_dump() | {"operator": {**SETTINGS.operator.model_dump(), "minimum_amount": "3"}})
    )
    with made.writing() as connection:
        set_account(connection, "acc-3", minimum_amount=0)
    for account in ("acc-1", "acc-2", "acc-3"):
        charge(made, datetime(2026, 10, 5, tzinfo=UTC), account=account)
    report = run_bills(made.engine, least, "2026-10", now=NOVEMBER)
    assert (report.made, report.carried, report.state) == (1, 2, "done")
    assert run_bills(made.engine, least, "2026-10", now=NOVEMBER).made == 0
    charge(made, datetime(2026, 11, 5, tzinfo=UTC), 2 * EURO)
    with made.writing() as connection:
        set_account(connection, "acc-2", status="closed")
    report = run_bills(made.engine, least, "2026-11", now=DECEMBER)
    assert (report.made, report.carried) == (2, 0)
    _, first, second = invoices(made)
    assert (first.account, first.carried_forward_micros, first.totals.net_micros) == ("acc-1", EURO, 3 * EURO)
    assert (second.account, second.final_bill, second.totals.gross_micros) == ("acc-2", True, 119 * CENT)
    proven(made)


def test_what_is_missing_to_a_commitment_is_billed_once() -> None:
    made = house("acc-1", "acc-2")
    start = datetime(2026, 9, 30, 22, tzinfo=UTC)
    with made.writing() as connection:
        for account, amount in (("acc-1", 5 * EURO), ("acc-2", EURO // 2)):
            new = NewCommitment(account, amount, "EUR", start, label="Least spend")
            add_commitment(connection, new, SETTINGS.operator, start)
    for account in ("acc-1", "acc-2"):
        charge(made, datetime(2026, 10, 5, tzinfo=UTC), account=account)
    bill(made)
    assert bill(made).made == 0
    first, second = invoices(made)
    assert [(line.kind, line.net_micros) for line in first.lines] == [("delivery", EURO), ("commitment", 4 * EURO)]
    line = first.lines[1]
    assert (line.description, line.period_from, line.period_to) == (
        "Least spend",
        date(2026, 10, 1),
        date(2026, 10, 31),
    )
    assert len(second.lines) == 1
    bill(made, "2026-11", DECEMBER)
    assert [invoice.totals.net_micros for invoice in invoices(made)[2:]] == [5 * EURO, EURO // 2]
    proven(made)


def test_a_commitment_in_another_currency_is_on_an_invoice_of_its_own() -> None:
    made = house("acc-1", "acc-2")
    start = datetime(2026, 10, 1, tzinfo=BERLIN).astimezone(UTC)
    with made.writing() as connection:
        add_commitment(connection, NewCommitment("acc-1", 900 * EURO, "JPY", start), SETTINGS.operator, start)
    for account in ("acc-1", "acc-2"):
        charge(made, datetime(2026, 10, 5, tzinfo=UTC), account=account)
    bill(made)
    found = sorted((each.account, each.currency, each.totals.net_micros) for each in invoices(made))
    assert found == [("acc-1", "EUR", EURO), ("acc-1", "JPY", 900 * EURO), ("acc-2", "EUR", EURO)]
    proven(made)


def test_what_is_given_back_of_an_earlier_cycle_is_not_spent_less_in_this_one() -> None:
    made = house()
    first = charge(made, datetime(2026, 9, 15, tzinfo=UTC))
    start = datetime(2026, 10, 1, tzinfo=BERLIN).astimezone(UTC)
    with made.writing() as connection:
        add_commitment(connection, NewCommitment("acc-1", 5 * EURO, "EUR", start), SETTINGS.operator, start)
    charge(made, datetime(2026, 10, 5, tzinfo=UTC), 3 * EURO, reverses_id=first, kind="reversal")
    second = charge(made, datetime(2026, 10, 6, tzinfo=UTC), EURO)
    charge(made, datetime(2026, 10, 7, tzinfo=UTC), EURO, reverses_id=second, kind="reversal")
    bill(made)
    [line] = [line for line in invoices(made)[0].lines if line.kind == "commitment"]
    assert line.net_micros == 3 * EURO


def test_a_commitment_that_ends_within_a_cycle_promises_its_share() -> None:
    made = house()
    with made.writing() as connection:
        new = NewCommitment("acc-1", 31 * EURO, "EUR", datetime(2026, 10, 10, tzinfo=BERLIN).astimezone(UTC))
        name = add_commitment(connection, new, SETTINGS.operator, NOVEMBER)
        end_commitment(connection, name, datetime(2026, 10, 20, tzinfo=BERLIN).astimezone(UTC))
        with pytest.raises(PartyError, match="it begins at"):
            end_commitment(connection, name, datetime(2026, 10, 1, tzinfo=UTC))
        for wrong in ({"amount": 0}, {"currency": "XXZ"}, {"tax_category": "Q"}, {"account": "nobody"}):
            values = {"account": "acc-1", "amount": EURO, "currency": "EUR", "starts_at": NOVEMBER} | wrong
            with pytest.raises(PartyError):
                add_commitment(connection, NewCommitment(**values), SETTINGS.operator, NOVEMBER)
    day = datetime(2026, 10, 25, tzinfo=UTC)
    bill(made, now=day, until=day)
    assert invoices(made) == []
    bill(made)
    [line] = invoices(made)[0].lines
    assert (line.net_micros, line.period_from, line.period_to) == (10 * EURO, date(2026, 10, 10), date(2026, 10, 19))
    proven(made)


def test_new_customers_of_another_zone_do_not_change_what_was_billed() -> None:
    made = house()
    charge(made, datetime(2026, 10, 5, tzinfo=UTC))
    bill(made)
    before = invoices(made)
    with made.writing() as connection:
        customer(connection, made, "acc-2", time_zone="Asia/Tokyo", cycle_day=31)
    charge(made, datetime(2026, 10, 6, tzinfo=UTC), account="acc-2")
    bill(made)
    assert invoices(made) == before


def commit(made: House, amount: int, start: datetime, account: str = "acc-1") -> str:
    with made.writing() as connection:
        new = NewCommitment(account, amount, "EUR", start.astimezone(UTC), label="Least spend")
        return add_commitment(connection, new, SETTINGS.operator, start)


def owed(made: House) -> list[tuple[str, date, date, int]]:
    """Invoice's period, days and euros of each line of a commitment."""
    return [
        (f"{invoice.period_from:%Y-%m}", line.period_from, line.period_to, line.net_micros // EURO)
        for invoice in invoices(made)
        for line in invoice.lines
        if line.kind == "commitment"
    ]


def test_a_month_that_nobody_billed_still_owes_its_commitment() -> None:
    made = house()
    commit(made, 5 * EURO, datetime(2026, 8, 16, tzinfo=BERLIN))
    charge(made, datetime(2026, 9, 5, tzinfo=UTC), 2 * EURO)
    bill(made, "2026-10")
    assert bill(made, "2026-10").made == 0
    assert owed(made) == [
        ("2026-10", date(2026, 8, 16), date(2026, 8, 31), 2),
        ("2026-10", date(2026, 9, 1), date(2026, 9, 30), 3),
        ("2026-10", date(2026, 10, 1), date(2026, 10, 31), 5),
    ]
    bill(made, "2026-11", DECEMBER)
    assert owed(made)[3:] == [("2026-11", date(2026, 11, 1), date(2026, 11, 30), 5)]
    proven(made)


def test_a_changed_cycle_day_settles_each_day_of_a_commitment_once() -> None:
    made = house()
    commit(made, 31 * EURO, datetime(2026, 10, 1, tzinfo=BERLIN))
    bill(made, "2026-10")
    with made.writing() as connection:
        set_account(connection, "acc-1", cycle_day=15)
    bill(made, "2026-11", DECEMBER)
    bill(made, "2026-12", datetime(2027, 1, 2, tzinfo=UTC))
    with made.writing() as connection:
        set_account(connection, "acc-1", cycle_day=1)
    bill(made, "2027-01", datetime(2027, 2, 2, tzinfo=UTC))
    days = [(first, last) for _, first, last, _ in owed(made)]
    assert days == sorted(days)
    assert (days[0][0], days[-1][1]) == (date(2026, 10, 1), date(2027, 1, 31))
    assert all(later[0] - earlier[1] == timedelta(days=1) for earlier, later in pairwise(days))
    proven(made)


def test_a_closed_account_owes_the_share_of_its_last_cycle_and_then_nothing() -> None:
    made = house()
    commit(made, 31 * EURO, datetime(2026, 10, 1, tzinfo=BERLIN))
    with made.writing() as connection:
        set_account(connection, "acc-1", status="closed")
    day = datetime(2026, 10, 11, tzinfo=BERLIN).astimezone(UTC)
    bill(made, now=day, until=day)
    assert owed(made) == [("2026-10", date(2026, 10, 1), date(2026, 10, 10), 10)]
    bill(made)
    bill(made, "2026-11", DECEMBER)
    assert len(owed(made)) == 1
    proven(made)
