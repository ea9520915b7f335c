"""Refunds, credit notes and re-rating of the same use: together they give back what was charged, and no more."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from balance_samples import EURO, Purse
from counting_samples import SETTINGS
from usage_samples import version

from charging.tariffs import Tariff, TariffBook
from operator_server.balances.money import set_limit
from operator_server.balances.once import BalanceError
from operator_server.balances.refunds import refund
from operator_server.billing.bill_run import run_bills
from operator_server.counting.tariffs import TariffVersions
from operator_server.receivables.books import ReceivablesError
from operator_server.receivables.credit_notes import CreditRequest, make_credit_note
from operator_server.receivables.rerating import rerate_invoice
from operator_server.store.accounting import Charge

INVOICE, CENT = "R-2026-000001", 10_000
DECEMBER = datetime(2026, 12, 2, tzinfo=UTC)


@pytest.fixture
def billed(purse: Purse) -> tuple[Purse, list[str]]:
    """A customer with an invoice over two calls of 6.00 and 3.00, and the ids of their charges."""
    purse.do(set_limit, "acc-1", 100 * EURO)
    records = [
        {"source": "s", "id": str(number), "subscriber": "acc-1", "tariff": "calls", "quantity": quantity,
         "at": "2026-11-02T09:00:00Z"}
        for number, quantity in enumerate((60_000, 30_000))
    ]  # fmt: skip
    assert purse.shop.take(*records).taken == 2
    run_bills(purse.engine, SETTINGS, "2026-11", now=DECEMBER)
    purse.now = DECEMBER
    return purse, [charge.id for charge in purse.shop.charges()]


def credit(purse: Purse, line: str | None = None, cents: int | None = None) -> int:
    lines = None if line is None else {line: None if cents is None else cents * CENT}
    with purse.writing() as connection:
        note = make_credit_note(connection, SETTINGS, CreditRequest(INVOICE, lines), DECEMBER)
    return note.totals.net_micros // CENT


def test_a_credit_note_leaves_out_what_was_refunded(billed: tuple[Purse, list[str]]) -> None:
    purse, (first, _) = billed
    purse.do(refund, first, id="r", reason="bad line", amount=500 * CENT)
    with pytest.raises(ReceivablesError, match=r"4\.01 EUR asked, but refunds gave back 5\.00 .* so 4\.00 are left"):
        credit(purse, "1", 401)
    assert credit(purse, "1", 100) == 100
    assert credit(purse) == 300
    with pytest.raises(ReceivablesError, match="nothing is left of it to credit"):
        credit(purse)


def test_a_refund_leaves_out_what_was_credited(billed: tuple[Purse, list[str]]) -> None:
    purse, (first, second) = billed
    assert credit(purse, "1", 700) == 700
    with pytest.raises(BalanceError, match=r"6\.00 EUR asked, 2\.00 of it is left"):
        purse.do(refund, first, id="r", reason="bad line", amount=600 * CENT)
    assert purse.do(refund, first, id="r", reason="bad line")["amount"] == 200 * CENT
    with pytest.raises(BalanceError, match=r"0\.00 of it is left"):
        purse.do(refund, second, id="s", reason="bad line")


def test_what_was_refunded_is_not_re_rated_and_what_was_re_rated_is_refunded_as_that(
    billed: tuple[Purse, list[str]],
) -> None:
    purse, (first, _) = billed
    right = Tariff("calls", {}, (version("calls", price={"model": "per_unit", "amount": "0.003", "unit_size": 60}),))
    with purse.writing() as connection:
        versions = TariffVersions(lambda: TariffBook([]))
        done = rerate_invoice(connection, SETTINGS, INVOICE, right, DECEMBER, tariffs=versions)
    assert (done.before, done.after) == (900 * CENT, 450 * CENT)
    with pytest.raises(BalanceError, match=r"0\.00 of it is left"):
        purse.do(refund, first, id="r", reason="bad line")
    [again] = [row.id for row in purse.rows(Charge) if row.kind == "rerated" and row.reverses_id == first]
    assert purse.do(refund, again, id="r", reason="bad line")["amount"] == 300 * CENT
    with pytest.raises(ReceivablesError, match="refunds gave back a part of it"), purse.writing() as connection:
        rerate_invoice(connection, SETTINGS, done.new_invoice, Tariff("calls", {}, (version("calls"),)), DECEMBER,
                       tariffs=versions)  # fmt: skip
