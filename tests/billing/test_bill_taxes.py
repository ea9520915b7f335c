"""Which tax stands on a bill, and what it does to the books."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from bill_samples import CENT, EURO, charge, house, invoices, proven, set_account
from counting_samples import SETTINGS, House

from charging.invoices.model import Invoice
from charging.ledger.book import balances
from charging.ledger.tables import OPERATOR
from operator_server.billing.accounts import Billing, set_billing
from operator_server.billing.bill_run import run_bills
from operator_server.settings import Settings

OCTOBER = datetime(2026, 10, 5, tzinfo=UTC)
CONFIGS = Path(__file__).parents[2] / "configs"
WITH_TABLE = SETTINGS.model_copy(update={"config_dir": CONFIGS})


def bill(made: House, settings: Settings = WITH_TABLE, name: str = "2026-10") -> Invoice:
    run_bills(made.engine, settings, name, now=datetime(2026, 12, 2, tzinfo=UTC))
    proven(made)
    return invoices(made)[-1]


def account(made: House, **values: object) -> None:
    with made.writing() as connection:
        set_account(connection, "acc-1", **values)


def test_a_business_in_another_eu_country_owes_the_tax_itself() -> None:
    made = house()
    account(made, country="AT", vat_id="ATU12345678", language="de")
    charge(made, OCTOBER)
    made_out = bill(made)
    [tax] = made_out.totals.taxes
    assert (tax.category, tax.rate_bp, tax.tax_micros, tax.net_micros) == ("AE", 0, 0, EURO)
    assert (tax.reason, tax.reason_code) == ("Steuerschuldnerschaft des Leistungsempfängers", "VATEX-EU-AE")
    assert (made_out.totals.payable_micros, made_out.tax_country) == (EURO, "AT")


def test_tax_below_the_threshold_is_that_of_the_operators_country() -> None:
    made = house()
    account(made, country="FR")
    charge(made, OCTOBER)
    made_out = bill(made)
    [tax] = made_out.totals.taxes
    assert (tax.category, tax.rate_bp, made_out.tax_country, made_out.customer.country) == ("S", 1900, "DE", "FR")


def test_several_rates_stand_on_one_invoice() -> None:
    made = house()
    charge(made, OCTOBER, 100 * EURO)
    charge(made, OCTOBER, 100 * EURO, tax=("R", 700))
    charge(made, OCTOBER, 100 * EURO, tax=("Z", 0))
    taxes = [(tax.category, tax.rate_bp, tax.tax_micros) for tax in bill(made).totals.taxes]
    assert taxes == [("S", 700, 7 * EURO), ("S", 1900, 19 * EURO), ("Z", 0, 0)]


def test_the_rate_of_the_day_holds_and_what_is_taken_back_keeps_the_rate_of_its_day(tmp_path: Path) -> None:
    (tmp_path / "tax.toml").write_text(
        '[rates.DE]\nS = [{ percent = "19", from = 2007-01-01 }, { percent = "16", from = 2026-10-10 }]\n'
    )
    made = house()
    first = charge(made, datetime(2026, 10, 9, 21, tzinfo=UTC))
    charge(made, datetime(2026, 10, 9, 22, tzinfo=UTC))
    charge(made, datetime(2026, 10, 20, tzinfo=UTC), 5 * EURO, reverses_id=first, kind="reversal")
    taxes = bill(made, SETTINGS.model_copy(update={"config_dir": tmp_path})).totals.taxes
    assert [(tax.rate_bp, tax.net_micros) for tax in taxes] == [(1600, EURO), (1900, 6 * EURO)]


def test_what_is_taken_back_bears_the_tax_that_it_was_billed_with_whatever_the_customer_is_since() -> None:
    made = house()
    first = charge(made, OCTOBER)
    bill(made)
    november = datetime(2026, 12, 3, tzinfo=UTC)
    with made.writing() as connection:
        set_billing(connection, "acc-1", Billing(tax_status="exempt", tax_reason="Embassy"), "test", november)
    charge(made, datetime(2026, 12, 5, tzinfo=UTC), reverses_id=first, kind="reversal")
    charge(made, datetime(2026, 12, 5, tzinfo=UTC), 2 * EURO)
    run_bills(made.engine, WITH_TABLE, "2026-12", now=datetime(2027, 1, 2, tzinfo=UTC))
    proven(made)
    taxes = [(tax.category, tax.rate_bp, tax.net_micros, tax.reason) for tax in invoices(made)[-1].totals.taxes]
    assert taxes == [("E", 0, 2 * EURO, "Embassy"), ("S", 1900, EURO, "")]


@pytest.mark.parametrize(
    ("values", "category", "reason"),
    [
        ({"tax_status": "exempt", "tax_reason": "Diplomatic mission"}, "E", "Diplomatic mission"),
        ({"tax_status": "reverse_charge", "language": "fr"}, "AE", "Autoliquidation : TVA due par le client"),
        ({"country": "US"}, "G", "Export outside the EU, VAT not charged"),
    ],
)
def test_no_tax_is_charged_where_none_is_due_and_the_bill_says_why(
    values: dict[str, str], category: str, reason: str
) -> None:
    made = house()
    account(made, **values)
    charge(made, OCTOBER)
    [tax] = bill(made).totals.taxes
    assert (tax.category, tax.reason, tax.tax_micros) == (category, reason, 0)


def test_private_customers_abroad_pay_their_own_countrys_rate_where_the_table_has_it() -> None:
    made = house("acc-1", "acc-2", "acc-3")
    with made.writing() as connection:
        for name, country in (("acc-1", "AT"), ("acc-2", "FR"), ("acc-3", "CH")):
            set_account(connection, name, country=country)
    for name in ("acc-1", "acc-2", "acc-3"):
        charge(made, OCTOBER, 100 * EURO, account=name)
    bill(made)
    rates = {made_out.account: made_out.totals.taxes[0].rate_bp for made_out in invoices(made)}
    assert rates == {"acc-1": 2000, "acc-2": 1900, "acc-3": 810}


def test_prices_that_include_tax_are_paid_as_they_are_and_the_tax_comes_out_of_the_revenue() -> None:
    made = house()
    charge(made, OCTOBER, 4_990_000, tax=("B", 1900))
    charge(made, OCTOBER, 4_990_000, tax=("B", 1900))
    sums = bill(made).totals
    assert (sums.payable_micros, sums.net_micros, sums.tax_micros) == (9_980_000, 8_390_000, 1_590_000)
    with made.engine.connect() as connection:
        own = {each.kind: each.balance for each in balances(connection, OPERATOR)}
        theirs = {each.kind: each.balance for each in balances(connection, "acc-1")}
    assert (theirs["unbilled"], theirs["receivable"], own["tax:S"]) == (0, 9_980_000, -1_590_000)
    assert own["revenue"] + own.get("rounding", 0) == -8_390_000


def test_a_price_with_tax_that_no_net_can_reach_is_paid_as_it_is() -> None:
    made = house()
    charge(made, OCTOBER, 3 * CENT, tax=("B", 1900))
    sums = bill(made).totals
    assert (sums.gross_micros, sums.payable_rounding_micros, sums.payable_micros) == (4 * CENT, -CENT, 3 * CENT)


def test_an_exempt_customer_pays_less_of_a_price_with_tax() -> None:
    made = house()
    account(made, tax_status="exempt", tax_reason="Diplomatic mission")
    charge(made, OCTOBER, 1_190_000, tax=("B", 1900))
    assert bill(made).totals.payable_micros == EURO
