"""Bill runs: each charge on exactly one invoice, whenever and however often they run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from counting_samples import (
    AGREED,
    OCTOBER_END,
    SETTINGS,
    House,
    Meterer,
    add_customer,
    add_installation,
    add_terminal,
    charges,
    left,
    tariff,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, func, insert, select, update

from charging.invoices.mirror import booked
from charging.invoices.model import Invoice, InvoiceError, InvoiceLine, Totals
from charging.ledger.book import apply, balances, open_account
from charging.ledger.operations import Applied, Reverse
from charging.ledger.operations import Charge as LedgerCharge
from charging.ledger.tables import OPERATOR
from charging.periods import PeriodError, period_of
from operator_server.billing import bill_run, making, writing
from operator_server.billing.bill_run import BillRunError, run_bills, until_instant
from operator_server.billing.invoices import (
    UnknownInvoice,
    each_invoice,
    export_invoices,
    find_invoices,
    load_invoice,
)
from operator_server.billing.open_period import effective_at
from operator_server.billing.proof import verify_billing
from operator_server.store.accounting import BillRun, Charge, InvoiceRow
from operator_server.store.dealings import TariffVersionRow
from operator_server.store.parties import Account, Event
from operator_server.store.rows import add, table
from signalling.clock import to_micros
from signalling.ids import new_id

DAY = timedelta(days=1)
CENT = 10_000
NOVEMBER = OCTOBER_END + DAY


@pytest.fixture
def house() -> House:
    return furnished(House())


def furnished(house: House) -> House:
    with house.writing() as connection:
        add_customer(connection)
        add_terminal(connection)
        add_installation(connection, house.version)
        version = house.version
        add(
            connection,
            TariffVersionRow(
                id=version.version_id,
                tariff_id=version.tariff_id,
                content=version.content,
                effective_from=version.effective_from,
                first_loaded_at=AGREED,
            ),
        )
    return house


def use(house: House, counter: Meterer, units: int, at: datetime, *samples: tuple[datetime, int]) -> None:
    with house.writing() as connection:
        house.take(connection, at, counter.use(units, at, *samples))


def deliver(connection: Connection, agreement: str, net: int, at: datetime, reverses: str | None = None) -> str:
    """A delivery's charge, or what takes it back, as the delivery desk writes it."""
    charge = new_id(to_micros(at))
    known = table(Charge)
    common: dict[str, Any] = {"source": "delivery", "op_id": charge, "effective_at": at}
    if reverses is None:
        operation: Any = LedgerCharge(owner="acc-1", amount=net, currency="EUR", **common)
    else:
        transfer = connection.execute(select(known.c.transfer_id).where(known.c.id == reverses)).scalar_one()
        operation = Reverse(transfer_id=transfer, **common)
    [outcome] = apply(connection, [operation], to_micros(at))
    assert isinstance(outcome, Applied)
    zone = SETTINGS.operator.zone
    row = Charge(
        id=charge, kind="reversal" if reverses else "delivery", agreement_id=agreement, account_id="acc-1",
        subscriber_id="acc-1", period=period_of(at, zone), effective_at=effective_at(connection, at), recorded_at=at,
        net=-net if reverses else net, currency="EUR", tax_category="S", tax_rate=1900,
        transfer_id=outcome.transfer_id, reverses_id=reverses,
    )  # fmt: skip
    add(connection, row)
    return charge


def bill(house: House, name: str = "2026-10", now: datetime = NOVEMBER, **more: Any) -> bill_run.BillRunReport:
    return run_bills(house.engine, SETTINGS, name, now=now, **more)


def invoices(house: House) -> list[Invoice]:
    with house.engine.connect() as connection:
        return list(each_invoice(connection))


def snapshot(house: House) -> list[list[Any]]:
    with house.engine.connect() as connection:
        return [
            [tuple(row) for row in connection.execute(select(table(model)).order_by(table(model).c.id))]
            for model in (Charge, InvoiceRow, BillRun)
        ]


def ledger(house: House, owner: str) -> dict[str, int]:
    with house.engine.connect() as connection:
        return {each.kind: each.balance for each in balances(connection, owner)}


@pytest.mark.requirement("S15")
def test_use_becomes_a_line_with_its_counter_and_its_charges(house: House) -> None:
    counter = Meterer()
    use(house, counter, 8, AGREED + DAY)
    use(house, counter, 5, AGREED + 2 * DAY)
    assert bill(house).made == 1
    [invoice] = invoices(house)
    [line] = invoice.lines
    with house.engine.connect() as connection:
        assert line.charge_ids == tuple(sorted(charge.id for charge in charges(connection)))
    assert (line.offer, line.description, line.agreement_id) == ("Chess", "Pay per game", "agr-inst-1")
    assert (line.counter_name, line.counter_from, line.counter_to) == ("uses", 0, 13)
    assert (line.quantity, line.included, line.unit_price, line.net_micros) == (13, 10, "0.05", 15 * CENT)
    assert (line.period_from, line.period_to) == (date(2026, 10, 1), date(2026, 10, 31))
    assert (invoice.totals.net_micros, invoice.totals.tax_micros) == (15 * CENT, 3 * CENT)
    assert (invoice.number, invoice.due_date) == ("R-2026-000001", date(2026, 11, 16))
    assert invoice.customer.name == "Customer acc-1"


def test_the_posting_moves_what_was_unbilled_with_tax_and_rounding(house: House) -> None:
    house = furnished(House(tariff(included=0, rounding={"mode": "half_up", "place": "record", "to": 1},
                                   price={"model": "per_unit", "amount": "0.0333"})))  # fmt: skip
    use(house, Meterer(), 7, AGREED)
    bill(house)
    assert ledger(house, "acc-1") == {"unbilled": 0, "receivable": 23 * CENT + 4 * CENT, "prepaid": 0}
    operator = ledger(house, OPERATOR)
    assert operator == {"revenue": -233_100, "tax:S": -4 * CENT, "rounding": 3_100}


def test_a_second_run_changes_nothing(house: House) -> None:
    use(house, Meterer(), 12, AGREED)
    first = bill(house)
    before = snapshot(house)
    again = bill(house, now=NOVEMBER + 9 * DAY)
    assert (again.made, again.invoices, again.gross) == (0, first.invoices, first.gross)
    assert snapshot(house) == before


def test_use_that_comes_to_light_after_the_run_is_billed_with_the_next_and_keeps_its_month(house: House) -> None:
    counter = Meterer()
    use(house, counter, 12, AGREED)
    bill(house)
    use(house, counter, 5, NOVEMBER + DAY, (OCTOBER_END, 15))
    before = snapshot(house)
    bill(house, now=NOVEMBER + 2 * DAY)
    assert snapshot(house) == before
    bill(house, "2026-11", datetime(2026, 12, 3, tzinfo=UTC))
    late = invoices(house)[1]
    assert [(line.period_from, line.quantity, line.net_micros) for line in late.lines] == [
        (date(2026, 10, 1), 3, 3 * 5 * CENT),
        (date(2026, 11, 1), 2, 0),
    ]


def test_use_within_the_included_units_is_billed_with_nothing_to_pay(house: House) -> None:
    use(house, Meterer(), 9, AGREED)
    assert bill(house).gross == {"EUR": 0}
    [line] = invoices(house)[0].lines
    assert (line.quantity, line.included, line.net_micros) == (9, 9, 0)
    with house.engine.connect() as connection:
        assert verify_billing(connection) == []


def test_an_open_period_needs_an_until_that_has_come(house: House) -> None:
    use(house, Meterer(), 12, AGREED)
    now = AGREED + 5 * DAY
    with pytest.raises(BillRunError, match="say until when"):
        bill(house, now=now)
    with pytest.raises(BillRunError, match="not come yet"):
        bill(house, now=now, until=now + DAY)
    with pytest.raises(BillRunError, match="does not lie within"):
        bill(house, now=now, until=datetime(2026, 9, 1, tzinfo=UTC))
    with pytest.raises(PeriodError):
        bill(house, "October", now=now)
    assert bill(house, now=now, until=now).made == 1


def test_a_part_and_the_rest_of_a_month_add_up(house: House) -> None:
    counter = Meterer()
    use(house, counter, 12, AGREED)
    bill(house, now=AGREED + 2 * DAY, until=AGREED + DAY)
    use(house, counter, 12, AGREED + 5 * DAY)
    bill(house)
    assert [invoice.totals.net_micros for invoice in invoices(house)] == [2 * 5 * CENT, 12 * 5 * CENT]
    assert invoices(house)[0].period_to == (AGREED + DAY).date()


def test_a_reset_within_the_month_is_told_on_its_line(house: House) -> None:
    counter = Meterer()
    use(house, counter, 12, AGREED)
    counter.reset()
    use(house, counter, 3, AGREED + DAY)
    bill(house)
    [line] = invoices(house)[0].lines
    assert (line.quantity, line.net_micros, line.counter_from) == (15, 5 * 5 * CENT, None)
    assert line.description == "Pay per game; counter uses: 0 to 12, reset, 0 to 3"


def test_a_delivery_and_its_reversal_stand_on_lines_of_their_own(house: House) -> None:
    with house.writing() as connection:
        agreement = add_installation(connection, house.version, "inst-2", kind="one_off", amount=6_990_000)
        deliver(connection, agreement, 6_990_000, AGREED)
        lost = deliver(connection, agreement, 6_990_000, AGREED + DAY)
        deliver(connection, agreement, 6_990_000, AGREED + 2 * DAY, reverses=lost)
    bill(house)
    [invoice] = invoices(house)
    assert [(line.quantity, line.unit_price, line.net_micros) for line in invoice.lines] == [
        (1, "6.99", 6_990_000),
        (1, "6.99", 6_990_000),
        (-1, "6.99", -6_990_000),
    ]
    assert "taken back" in invoice.lines[2].description
    assert invoice.totals.gross_micros == 6_990_000 + 1_330_000


def test_what_is_taken_back_after_it_was_billed_is_credited_with_the_next_run(house: House) -> None:
    with house.writing() as connection:
        agreement = add_installation(connection, house.version, "inst-2", kind="one_off", amount=6_990_000)
        charge = deliver(connection, agreement, 6_990_000, AGREED)
    bill(house)
    with house.writing() as connection:
        deliver(connection, agreement, 6_990_000, NOVEMBER, reverses=charge)
    bill(house, "2026-11", datetime(2026, 12, 1, tzinfo=UTC))
    assert [(invoice.kind, invoice.totals.gross_micros) for invoice in invoices(house)] == [
        ("invoice", 8_320_000),
        ("credit_note", 8_320_000),
    ]
    assert ledger(house, "acc-1")["receivable"] == 0


def test_numbers_have_no_gaps_and_begin_again_each_year(house: House) -> None:
    counter = Meterer()
    for month in range(10, 13):
        use(house, counter, 12, datetime(2026, month, 5, tzinfo=UTC))
    for name, now in (("2026-10", NOVEMBER), ("2026-11", datetime(2026, 12, 2, tzinfo=UTC)),
                      ("2026-12", datetime(2027, 1, 2, tzinfo=UTC))):  # fmt: skip
        bill(house, name, now)
    assert [invoice.number for invoice in invoices(house)] == ["R-2026-000001", "R-2026-000002", "R-2027-000001"]


def test_an_account_with_two_currencies_gets_two_invoices(house: House) -> None:
    use(house, Meterer(), 12, AGREED)
    with house.writing() as connection:
        yen = tariff(currency="JPY", price={"model": "per_unit", "amount": "7"})
        add_installation(connection, yen, "inst-2", amount=7_000_000)
        row = dict(charges(connection)[0].model_dump(), id="yen", currency="JPY", net=14_500_000)
        row |= {"agreement_id": "agr-inst-2", "tariff_version": yen.version_id, "counter_to": 2}
        connection.execute(insert(table(Charge)), row)
        open_account(connection, "acc-1", "JPY", None)
    report = bill(house)
    assert set(report.gross) == {"EUR", "JPY"}
    assert {invoice.currency: invoice.totals.net_micros for invoice in invoices(house)}["JPY"] == 15_000_000


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize(
    ("module", "step", "call"),
    [
        (bill_run, "_begin", 1),
        (bill_run, "write_invoices", 1),
        (bill_run, "write_invoices", 2),
        (writing, "_post", 2),
        (writing, "_mark", 3),
        (bill_run, "note_outcomes", 2),
        (bill_run, "_finish", 1),
    ],
)
@pytest.mark.parametrize("after", [False, True])
def test_a_run_that_was_killed_goes_on_where_it_stopped(
    house: House, monkeypatch: pytest.MonkeyPatch, module: Any, step: str, call: int, after: bool
) -> None:
    _two_more_customers(house)
    monkeypatch.setattr(bill_run, "PORTION", 1)
    killed_at(monkeypatch, module, step, call, after, lambda: bill(house))
    report = bill(house)
    assert (report.invoices, report.gross) == (3, {"EUR": 3 * 12 * CENT})
    assert [invoice.number for invoice in invoices(house)] == [f"R-2026-00000{number}" for number in (1, 2, 3)]
    with house.engine.connect() as connection:
        assert all(charge.invoice_id for charge in charges(connection))
        runs = connection.execute(select(table(BillRun))).all()
        assert [(run.state, run.invoices) for run in runs] == [("done", 3)]
        events = connection.execute(select(func.count()).where(table(Event).c.kind == "invoiced")).scalar()
        assert events == 3
    assert ledger(house, OPERATOR)["revenue"] == -30 * CENT


def killed_at(
    monkeypatch: pytest.MonkeyPatch, module: Any, step: str, call: int, after: bool, work: Callable[[], Any]
) -> None:
    """Do ``work``, which ends before or after the ``call``-th call of ``step``."""
    original: Callable[..., Any] = getattr(module, step)
    calls = 0

    def killing(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and not after:
            raise Killed
        result = original(*arguments, **named)
        if calls == call:
            raise Killed
        return result

    with monkeypatch.context() as patch:
        patch.setattr(module, step, killing)
        with pytest.raises(Killed):
            work()


def _two_more_customers(house: House) -> None:
    use(house, Meterer(), 12, AGREED)
    with house.writing() as connection:
        for number in (2, 3):
            add_customer(connection, f"acc-{number}")
            add_installation(connection, house.version, f"inst-{number}", account=f"acc-{number}")
            house.take(connection, AGREED, Meterer(f"inst-{number}").use(12, AGREED))


def test_an_account_that_cannot_be_billed_does_not_hold_up_the_others(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    _two_more_customers(house)
    make = making.totals

    def refusing(lines: Sequence[InvoiceLine], currency: str) -> Totals:
        if lines[0].agreement_id == "agr-inst-2":
            raise InvoiceError("no")
        return make(lines, currency)

    with monkeypatch.context() as patch:
        patch.setattr(making, "totals", refusing)
        report = bill(house)
    assert (report.made, report.failed) == (2, ("account acc-2: no",))
    report = bill(house)
    assert (report.made, report.invoices, report.failed) == (1, 3, ())
    assert [invoice.number for invoice in invoices(house)] == [f"R-2026-00000{number}" for number in (1, 2, 3)]


def test_a_reduced_rate_is_a_standard_category_on_the_invoice(house: House) -> None:
    with house.writing() as connection:
        add_installation(connection, house.version, "inst-2", tax=("R", 700))
        house.take(connection, AGREED, Meterer("inst-2").use(30, AGREED))
    use(house, Meterer(), 30, AGREED)
    bill(house)
    taxes = [(tax.category, tax.rate_bp, tax.tax_micros) for tax in invoices(house)[0].totals.taxes]
    assert taxes == [("S", 700, 7 * CENT), ("S", 1900, 19 * CENT)]


def test_progress_is_told_account_by_account(house: House) -> None:
    _two_more_customers(house)
    told: list[tuple[int, int]] = []
    bill(house, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_invoices_are_found_shown_and_exported_the_same_each_time(house: House, tmp_path: Path) -> None:
    _two_more_customers(house)
    bill(house)
    with house.engine.connect() as connection:
        assert [row.account_id for row in find_invoices(connection)] == ["acc-1", "acc-2", "acc-3"]
        assert [row.number for row in find_invoices(connection, account="acc-2")] == ["R-2026-000002"]
        assert find_invoices(connection, period="2026-11") == []
        invoice = load_invoice(connection, "R-2026-000002")
        with pytest.raises(UnknownInvoice, match="R-1"):
            load_invoice(connection, "R-1")
        files = export_invoices(connection, each_invoice(connection), tmp_path / "out")
        again = export_invoices(connection, each_invoice(connection), tmp_path / "again")
        as_json = export_invoices(connection, [invoice], tmp_path, "json")
        as_csv = export_invoices(connection, [invoice], tmp_path, "csv")
    assert [path.name for path in files] == [f"R-2026-00000{number}.pdf" for number in (1, 2, 3)]
    assert [path.read_bytes() for path in files] == [path.read_bytes() for path in again]
    assert files[0].read_bytes().startswith(b"%PDF")
    assert msgspec.json.decode(as_json[0].read_bytes())["number"] == invoice.number
    assert as_csv[0].read_text().count("R-2026-000002") == 1


def test_an_invoice_stays_as_it_was_made_when_the_customer_moves(house: House) -> None:
    use(house, Meterer(), 12, AGREED)
    bill(house)
    before = invoices(house)
    with house.writing() as connection:
        connection.execute(update(table(Account)).values(name="Another"))
    assert invoices(house) == before


def test_until_is_a_local_day_or_an_instant() -> None:
    zone = SETTINGS.operator.zone
    assert until_instant("2026-10-15", zone) == datetime(2026, 10, 14, 22, tzinfo=UTC)
    assert until_instant("2026-10-15T12:00+02:00", zone) == datetime(2026, 10, 15, 10, tzinfo=UTC)
    for text in ("yesterday", "2026-10-15T12:00", "0001-01-01T00:00+14:00"):
        with pytest.raises(BillRunError, match=r"2026-10-15|year 1 to 9999"):
            until_instant(text, zone)


MOMENTS = st.lists(
    st.one_of(
        st.tuples(st.just("use"), st.integers(1, 30)),
        st.tuples(st.just("late"), st.integers(1, 30)),
        st.tuples(st.just("reset"), st.just(0)),
        st.tuples(st.just("days"), st.integers(1, 40)),
        st.tuples(st.just("part"), st.just(0)),
        st.tuples(st.just("bill"), st.just(0)),
        st.tuples(st.just("deliver"), st.integers(1, 900)),
        st.tuples(st.just("reverse"), st.just(0)),
    ),
    max_size=14,
)


@pytest.mark.requirement("S15")
@settings(max_examples=30, deadline=None)
@given(MOMENTS)
def test_each_charge_is_on_exactly_one_invoice_whenever_bills_are_run(moments: list[tuple[str, int]]) -> None:
    house, counter, now = furnished(House(tariff(price={"model": "per_unit", "amount": "0.0333"}))), Meterer(), AGREED
    with house.writing() as connection:
        bought = add_installation(connection, house.version, "inst-2", kind="one_off")
    standing: list[tuple[str, int]] = []
    zone = SETTINGS.operator.zone
    for moment, amount in moments:
        if moment in ("use", "late"):
            use(house, counter, amount, now if moment == "use" else now - 20 * DAY)
        elif moment == "reset":
            counter.reset()
        elif moment == "days":
            now += amount * DAY
        elif moment == "part":
            bill(house, period_of(now, zone), now, until=now)
        elif moment == "bill":
            bill(house, period_of(now - 31 * DAY, zone), now)
        elif moment == "deliver":
            with house.writing() as connection:
                standing.append((deliver(connection, bought, amount * CENT, now), amount * CENT))
        elif standing:
            charge, net = standing.pop()
            with house.writing() as connection:
                deliver(connection, bought, net, now, reverses=charge)
    now += 40 * DAY
    bill(house, period_of(now, zone), now, until=now)

    with house.engine.connect() as connection:
        made = charges(connection)
        known = {row.id: row.number for row in find_invoices(connection)}
    listed = [(identity, invoice.number) for invoice in invoices(house) for line in invoice.lines
              for identity in line.charge_ids]  # fmt: skip
    assert sorted(listed) == sorted((charge.id, known[charge.invoice_id or ""]) for charge in made)
    nets = {charge.id: charge.net for charge in made}
    for invoice in invoices(house):
        sign = -1 if invoice.kind == "credit_note" else 1
        assert all(line.net_micros == sign * sum(nets[one] for one in line.charge_ids) for line in invoice.lines)
    totals = [booked(invoice) for invoice in invoices(house)]
    assert sum(each.net_micros - each.rounding_micros for each in totals) == sum(nets.values())
    own = ledger(house, "acc-1")
    with house.engine.connect() as connection:
        assert [finding for finding in verify_billing(connection) if "delivery is charged" not in str(finding)] == []
    assert (own["unbilled"], own["receivable"]) == (0, sum(each.gross_micros for each in totals))


def test_billing_takes_nothing_from_the_customers_credit_but_tax_and_rounding(house: House) -> None:
    use(house, Meterer(), 110, AGREED)
    with house.writing() as connection:
        house.grants.release(connection, "inst-1", AGREED)
        before = left(connection)
    bill(house)
    assert before is not None
    with house.writing() as connection:
        assert left(connection) == before - 95 * CENT
