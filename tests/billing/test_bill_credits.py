"""A bill that gives money back is a credit note, or waits for the next bill."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from bill_samples import EURO, charge, house, invoices, proven, set_account
from counting_samples import SETTINGS, House
from sqlalchemy import select

from charging.invoices.facturx import to_xml
from charging.ledger.book import apply, balances
from charging.ledger.operations import Applied, Leg, Post
from charging.ledger.tables import OPERATOR, RECEIVABLE, REVENUE, UNBILLED
from charging.periods import period
from operator_server.billing.approval import approve, finalise
from operator_server.billing.bill_run import run_bills
from operator_server.receivables.books import ReceivablesError, take_in_invoices
from operator_server.receivables.credit_notes import CreditRequest, make_credit_note
from operator_server.receivables.finance import handover
from operator_server.settings import Settings
from operator_server.store.accounting import Charge, InvoiceRow
from operator_server.store.receivables import ReceivableItem
from operator_server.store.rows import add, table
from signalling.clock import to_micros
from signalling.ids import new_id

OCTOBER = datetime(2026, 10, 5, tzinfo=UTC)
NOVEMBER = datetime(2026, 11, 2, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 2, tzinfo=UTC)


def give_back(made: House, net: int, at: datetime = OCTOBER, rate: int = 1900, account: str = "acc-1") -> None:
    with made.writing() as connection:
        id = new_id(to_micros(at))
        legs = (Leg(account, UNBILLED, "EUR", -net), Leg(OPERATOR, REVENUE, "EUR", net))
        [outcome] = apply(
            connection, [Post(source="test", op_id=id, kind="taken_back", legs=legs, effective_at=at)], to_micros(at)
        )
        assert isinstance(outcome, Applied)
        add(
            connection,
            Charge(
                id=id, kind="reversal", agreement_id=f"agr-inst-{account}", account_id=account, subscriber_id=account,
                period="2026-10", effective_at=at, recorded_at=at, net=-net, currency="EUR", tax_category="S",
                tax_rate=rate, transfer_id=outcome.transfer_id,
            ),
        )  # fmt: skip


def carrying() -> Settings:
    operator = SETTINGS.operator.model_copy(update={"negative_bills": "carry"})
    return SETTINGS.model_copy(update={"operator": operator})


def receivable(made: House) -> int:
    with made.engine.connect() as connection:
        return next(each.balance for each in balances(connection, "acc-1") if each.kind == RECEIVABLE)


@pytest.mark.parametrize("draft", [False, True])
def test_credits_beyond_charges_are_a_credit_note(draft: bool) -> None:
    made = house()
    charge(made, OCTOBER)
    give_back(made, 3 * EURO)
    run_bills(made.engine, SETTINGS, "2026-10", now=NOVEMBER, draft=draft)
    if draft:
        with made.writing() as connection:
            approve(connection, "2026-10", "eve", NOVEMBER)
        finalise(made.engine, SETTINGS, "2026-10", "eve", now=NOVEMBER)
    [note] = invoices(made)
    assert (note.kind, note.number, note.corrects) == ("credit_note", "R-2026-000001", "")
    assert (note.totals.net_micros, note.totals.tax_micros, note.totals.payable_micros) == (
        2 * EURO, 380_000, 2_380_000,
    )  # fmt: skip
    assert sorted((line.kind, line.quantity, line.net_micros) for line in note.lines) == [
        ("delivery", -1, -EURO),
        ("reversal", 1, 3 * EURO),
    ]
    with made.engine.connect() as connection:
        row = connection.execute(select(table(InvoiceRow))).one()
        span = period("2026-11", SETTINGS.operator.zone)
        taxes = [(each.base, each.tax) for each in handover(connection, SETTINGS, span, DECEMBER).taxes]
    assert (row.net, row.tax, row.total) == (-2 * EURO, -380_000, -2_380_000)
    assert taxes == [(-2 * EURO, -380_000)]
    assert receivable(made) == -2_380_000
    proven(made)


def test_it_stands_to_the_credit_and_cannot_be_credited_itself() -> None:
    made = house()
    give_back(made, 3 * EURO)
    run_bills(made.engine, SETTINGS, "2026-10", now=NOVEMBER)
    charge(made, datetime(2026, 11, 5, tzinfo=UTC), 10 * EURO)
    run_bills(made.engine, SETTINGS, "2026-11", now=DECEMBER)
    with made.writing() as connection:
        take_in_invoices(connection, SETTINGS, DECEMBER)
        item = table(ReceivableItem)
        rows = connection.execute(select(item.c.number, item.c.open).order_by(item.c.number)).all()
        assert [tuple(row) for row in rows] == [("R-2026-000001", 0), ("R-2026-000002", 8_330_000)]
        with pytest.raises(ReceivablesError, match="it is a credit note itself"):
            make_credit_note(connection, SETTINGS, CreditRequest("R-2026-000001"), DECEMBER)


def test_an_operator_may_leave_it_to_the_next_bill_but_not_the_last_one() -> None:
    made, carry = house(), carrying()
    give_back(made, 3 * EURO)
    report = run_bills(made.engine, carry, "2026-10", now=NOVEMBER)
    assert (report.made, report.carried, report.state) == (0, 1, "done")
    charge(made, datetime(2026, 11, 5, tzinfo=UTC), 2 * EURO)
    assert run_bills(made.engine, carry, "2026-11", now=DECEMBER).carried == 1
    charge(made, datetime(2026, 12, 5, tzinfo=UTC), 2 * EURO)
    january = datetime(2027, 1, 2, tzinfo=UTC)
    run_bills(made.engine, carry, "2026-12", now=january)
    [bill] = invoices(made)
    assert (bill.kind, bill.totals.net_micros, bill.carried_forward_micros) == ("invoice", EURO, -EURO)
    give_back(made, EURO, january)
    with made.writing() as connection:
        set_account(connection, "acc-1", status="closed")
    run_bills(made.engine, carry, "2027-01", now=datetime(2027, 2, 2, tzinfo=UTC))
    assert [(each.kind, each.final_bill) for each in invoices(made)] == [("invoice", False), ("credit_note", True)]
    proven(made)


def test_machines_read_it_as_a_credit_note() -> None:
    made = house()
    give_back(made, 3 * EURO)
    operator = SETTINGS.operator.model_copy(update={"vat_id": "DE123456788"})
    run_bills(made.engine, SETTINGS.model_copy(update={"operator": operator}), "2026-10", now=NOVEMBER)
    xml = to_xml(invoices(made)[0]).decode()
    assert ">381<" in xml
    assert "<ram:DuePayableAmount>3.57</ram:DuePayableAmount>" in xml
    assert '<ram:BilledQuantity unitCode="C62">1</ram:BilledQuantity>' in xml
