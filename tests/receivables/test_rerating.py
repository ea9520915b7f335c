"""A tariff fault: what was invoiced by it is credited and invoiced anew, once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

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
    keep_version,
    tariff,
)

from charging.invoices.model import Invoice
from charging.ledger.book import balances
from charging.ledger.tables import OPERATOR
from charging.ledger.verify import verify
from charging.tariffs import Tariff, TariffBook
from charging.tariffs.explain import explain
from operator_server.billing.bill_run import run_bills
from operator_server.billing.commitments import NewCommitment, add_commitment
from operator_server.billing.control import ControlReport, control_report
from operator_server.billing.invoices import each_invoice
from operator_server.billing.proof import verify_billing
from operator_server.counting.tariffs import TariffVersions
from operator_server.receivables.books import ReceivablesError, open_items
from operator_server.receivables.credit_notes import CreditRequest, each_credit_note, make_credit_note
from operator_server.receivables.payments import NewPayment, add_payment
from operator_server.receivables.proof import verify_receivables
from operator_server.receivables.rerating import Rerated, invoices_by_tariff, rerate_invoice
from operator_server.usage.history import find_use
from operator_server.usage.simulation import simulate_month
from signalling.money import decimal_micros

CENT = 10_000
NOVEMBER = OCTOBER_END + timedelta(days=1)
FIRST, SECOND, THIRD = "R-2026-000001", "R-2026-000002", "R-2026-000003"


def right(**keys: Any) -> Tariff:
    """The tariff as it should have been: three cents a use."""
    return Tariff("games", {}, (tariff(**({"price": {"model": "per_unit", "amount": "0.03"}} | keys)),))


@pytest.fixture
def house() -> House:
    """Thirty uses in October, of which ten are included, billed at five cents: 1.00 net, 1.19 with tax."""
    house = House()
    with house.writing() as connection:
        add_customer(connection)
        add_terminal(connection)
        add_installation(connection, house.version)
        keep_version(connection, house.version)
    counter = Meterer()
    for day, units in ((1, 14), (9, 16)):
        with house.writing() as connection:
            at = AGREED + timedelta(days=day)
            house.take(connection, at, counter.use(units, at))
    run_bills(house.engine, SETTINGS, "2026-10", now=NOVEMBER)
    return house


def rerate(house: House, number: str = FIRST, corrected: Tariff | None = None, **more: Any) -> Rerated:
    with house.writing() as connection:
        return rerate_invoice(
            connection, SETTINGS, number, corrected or right(), NOVEMBER + timedelta(days=5),
            tariffs=TariffVersions(lambda: TariffBook([])), **more,
        )  # fmt: skip


def pay(house: House, amount: str) -> None:
    with house.writing() as connection:
        new = NewPayment(decimal_micros(amount), "EUR", NOVEMBER.date(), "acc-1")
        add_payment(connection, SETTINGS, new, NOVEMBER + timedelta(days=2))


def state(house: House) -> tuple[list[Invoice], list[Invoice], dict[str, int], dict[str, int]]:
    """Invoices, credit notes, open items and the operator's ledger in cents; everything is proven."""
    with house.engine.connect() as connection:
        assert [*verify(connection), *verify_billing(connection), *verify_receivables(connection)] == []
        return (
            list(each_invoice(connection)),
            list(each_credit_note(connection)),
            {row.number: row.open // CENT for row in open_items(connection, "acc-1", "EUR")},
            {row.kind: row.balance // CENT for row in balances(connection, OPERATOR) if row.balance},
        )


def test_an_unpaid_invoice_is_credited_and_takes_its_right_amount(house: House) -> None:
    done = rerate(house, reason="price list")
    assert (done.before, done.after, done.credit_note, done.new_invoice) == (
        100 * CENT, 60 * CENT, "G-2026-000001", SECOND,
    )  # fmt: skip
    invoices, notes, items, ledger = state(house)
    assert [made.totals.gross_micros for made in invoices] == [119 * CENT, 71 * CENT]
    assert [(note.corrects, note.totals.gross_micros, note.notes) for note in notes] == [
        (FIRST, 119 * CENT, ("price list",))
    ]
    [line] = invoices[1].lines
    assert (line.quantity, line.included, line.unit_price, line.net_micros) == (30, 10, "0.03", 60 * CENT)
    assert (line.counter_from, line.counter_to) == (0, 30)
    assert items == {SECOND: 71}
    assert ledger == {"revenue": -60, "tax:S": -11}


def test_what_was_paid_pays_the_new_invoice_and_the_rest_stands_to_the_credit(house: House) -> None:
    pay(house, "1.19")
    rerate(house)
    _, _, items, _ = state(house)
    assert sum(items.values()) == 71 - 119
    assert SECOND not in items


def test_a_second_call_changes_nothing(house: House) -> None:
    first = rerate(house)
    before = state(house)
    again = rerate(house)
    assert (first.new, again.new) == (True, False)
    assert (again.credit_note, again.new_invoice) == (first.credit_note, first.new_invoice)
    assert state(house) == before


def test_a_dry_run_and_a_tariff_that_changes_nothing_write_nothing(house: House) -> None:
    before = state(house)
    tried = rerate(house, dry_run=True)
    assert (tried.before, tried.after, tried.new_invoice) == (100 * CENT, 60 * CENT, "")
    assert rerate(house, corrected=right(price={"model": "per_unit", "amount": "0.05"})).new_invoice == ""
    assert state(house) == before


def test_another_fault_is_mended_on_the_new_invoice(house: House) -> None:
    rerate(house)
    better = right(included=20, price={"model": "per_unit", "amount": "0.07"})
    with pytest.raises(ReceivablesError, match=f"re-rate {SECOND}"):
        rerate(house, corrected=better)
    done = rerate(house, SECOND, better)
    assert (done.before, done.after, done.new_invoice) == (60 * CENT, 70 * CENT, THIRD)
    _, notes, items, ledger = state(house)
    assert [note.corrects for note in notes] == [FIRST, SECOND]
    assert items == {THIRD: 83}
    assert ledger == {"revenue": -70, "tax:S": -13}


def test_tiers_are_rated_in_the_course_of_the_month(house: House) -> None:
    tiers = [{"from": 0, "to": 15, "amount": "0.10"}, {"from": 15, "amount": "0.01"}]
    done = rerate(house, corrected=right(included=0, price={"model": "graduated", "tiers": tiers}))
    assert done.after == 15 * 10 * CENT + 15 * CENT


def test_a_charge_that_was_rated_again_is_explained_by_the_right_version(house: House) -> None:
    rerate(house)
    invoices, *_ = state(house)
    [line] = invoices[1].lines
    with house.engine.connect() as connection:
        found = find_use(connection, TariffVersions(lambda: TariffBook([])), line.charge_ids[-1])
    assert explain(found.uses).cost_micros == found.charge.net == 16 * 3 * CENT
    assert found.uses[-1].version.version_id == found.charge.tariff_version == right().versions[0].version_id


def test_invoices_of_a_period_are_found_until_they_are_replaced(house: House) -> None:
    with house.engine.connect() as connection:
        assert invoices_by_tariff(connection, "games", "2026-10") == [FIRST]
        assert invoices_by_tariff(connection, "games", "2026-11") == []
        assert invoices_by_tariff(connection, "game", "2026-10") == []
    rerate(house)
    with house.engine.connect() as connection:
        assert invoices_by_tariff(connection, "games", "2026-10") == [SECOND]


def test_a_bill_run_of_the_same_month_changes_nothing_after_a_re_rating(house: House) -> None:
    rerate(house)
    before = state(house)
    report = run_bills(house.engine, SETTINGS, "2026-10", now=NOVEMBER + timedelta(days=9))
    assert report.made == 0
    assert state(house) == before


def test_what_cannot_be_re_rated_is_refused_and_stays(house: House) -> None:
    with pytest.raises(ReceivablesError, match="there is none"):
        rerate(house, "R-2026-000009")
    with pytest.raises(ReceivablesError, match="no use by tariff voice"):
        rerate(house, corrected=Tariff("voice", {}, right().versions))
    with pytest.raises(ReceivablesError, match="no version for 2026-01-01"):
        rerate(house, corrected=right(effective_from="2026-05-01"))
    with house.writing() as connection:
        make_credit_note(
            connection, SETTINGS, CreditRequest(FIRST, {"1": 10 * CENT}), datetime(2026, 11, 4, tzinfo=UTC)
        )
    with pytest.raises(ReceivablesError, match="credited already"):
        rerate(house)
    state(house)


def test_the_control_report_counts_what_was_rated_again_once(house: House) -> None:
    def report() -> ControlReport:
        with house.engine.connect() as connection:
            return control_report(connection, SETTINGS.operator, "2026-10")

    before = report()
    rerate(house)
    [first], [rated], [billed] = before.rated, report().rated, report().billed
    assert (first.micros, rated.micros, billed.micros) == (100 * CENT, 60 * CENT, 60 * CENT)
    assert first.count == rated.count == billed.count


def test_what_an_account_owes_of_its_commitment_follows_the_re_rated_use(house: House) -> None:
    october = datetime(2026, 9, 30, 22, tzinfo=UTC)
    with house.writing() as connection:
        new = NewCommitment("acc-1", 300 * CENT, "EUR", october)
        add_commitment(connection, new, SETTINGS.operator, NOVEMBER)

    def promised(name: str, now: datetime) -> list[int]:
        run_bills(house.engine, SETTINGS, name, now=now)
        lines = [line for made in state(house)[0] for line in made.lines if line.kind == "commitment"]
        return sorted(line.net_micros // CENT for line in lines)

    assert promised("2026-11", NOVEMBER + timedelta(days=30)) == [200, 300]
    rerate(house)
    assert promised("2026-12", NOVEMBER + timedelta(days=61)) == [40, 200, 300, 300]
    assert promised("2027-01", NOVEMBER + timedelta(days=92)) == [40, 200, 300, 300, 300]


def test_a_simulation_compares_with_what_is_paid_since_the_re_rating(house: House) -> None:
    rerate(house)
    [version] = right(price={"model": "per_unit", "amount": "0.02"}).versions
    with house.engine.connect() as connection:
        total = simulate_month(connection, version, "2026-10", SETTINGS.operator.zone).total
    assert (total.now, total.then) == (60 * CENT, 40 * CENT)
