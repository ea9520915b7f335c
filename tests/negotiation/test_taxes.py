"""A quote names the tax that the bill will bear: quote, agreement and invoice come to the same to the cent."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from operator_samples import PRICE_OF_GAME, House, User, opened
from sqlalchemy import update

from charging.ledger.book import balances
from charging.ledger.tables import PREPAID
from charging.ledger.verify import verify
from charging.modes import affordable, owed
from operator_server.balances.money import top_up
from operator_server.billing.bill_run import run_bills
from operator_server.billing.invoices import each_invoice
from operator_server.offering.loading import BrokenCatalogue, load
from operator_server.store.accounting import Charge
from operator_server.store.dealings import Agreement
from operator_server.store.parties import Account
from operator_server.store.rows import table
from terminal_sim.negotiation import BadQuote, _check_not_worse

CUSTOMERS = [
    ({}, 1900),
    ({"country": "AT", "vat_id": "ATU12345675"}, 0),
    ({"country": "AT"}, 1900),
    ({"country": "NO"}, 0),
    ({"tax_status": "exempt", "tax_reason": "diplomats"}, 0),
]
AHEAD = """
[[offer]]
id = "ahead"
product = "ahead"
kind = "service"
text.en = { title = "Paid ahead" }

[[offer.mode]]
id = "buy"
kind = "one_off"
label = { en = "Buy" }
amount = "6.99"
currency = "EUR"
tax_category = "S"
payment = "prepaid"

[[offer.mode]]
id = "use"
kind = "per_use"
label = { en = "By use" }
tariff = "games"
payment = "prepaid"
"""
NAMES = ["at home", "owed by the customer", "without a VAT id", "outside the EU", "exempt"]


def of_customer(house: House, account: dict[str, str]) -> None:
    house.operator.settings.operator.vat_id = "DE123456788"
    if account:
        house.change(lambda connection: connection.execute(update(table(Account)).values(**account)))


def with_prices_that_contain_tax(house: House) -> None:
    folder = house.operator.settings.config_dir
    (folder / "tax.toml").write_text('inclusive = ["S"]\n')
    (folder / "offers" / "ahead.toml").write_text(AHEAD)
    house.take_over()


@pytest.mark.parametrize(("account", "rate"), CUSTOMERS, ids=NAMES)
@pytest.mark.parametrize("inclusive", [False, True], ids=["tax on top", "tax in the price"])
def test_quote_agreement_and_invoice_agree_to_the_cent(
    house: House, user: User, account: dict[str, str], rate: int, inclusive: bool
) -> None:
    of_customer(house, account)
    if inclusive:
        with_prices_that_contain_tax(house)
    quote = opened(house, user.request("game", "buy"))
    net = 5_870_000 if inclusive else PRICE_OF_GAME
    tax = (1_120_000 if inclusive else 1_330_000) if rate else 0
    assert (quote.mode.tax_rate, quote.amount, quote.tax) == (rate, net, tax)
    assert quote.mode.tax_included == (1900 if inclusive else 0)
    user.take("game", "buy")
    [agreed] = house.rows(Agreement)
    assert (agreed.tax_rate, agreed.amount) == (rate, PRICE_OF_GAME)
    december = datetime(2026, 12, 2, tzinfo=UTC)
    run_bills(house.operator.engine, house.operator.settings, "2026-11", now=december)
    with house.operator.engine.connect() as connection:
        [invoice] = each_invoice(connection)
    sums = invoice.totals
    assert (sums.net_micros, sums.tax_micros, sums.payable_micros) == (net, tax, quote.amount + quote.tax)


@pytest.mark.parametrize(("account", "rate"), CUSTOMERS, ids=NAMES)
def test_a_price_with_tax_takes_just_itself_from_money_paid_ahead(
    house: House, user: User, account: dict[str, str], rate: int
) -> None:
    of_customer(house, account)
    with_prices_that_contain_tax(house)
    whole = PRICE_OF_GAME if rate else 5_870_000
    house.change(lambda connection: top_up(connection, "A-1", whole, id="t", now=house.clock.now()))
    quote = opened(house, user.request("ahead", "buy"))
    assert quote.amount + quote.tax == whole
    user.take("ahead", "buy")
    [charge] = house.rows(Charge)
    assert (charge.net, charge.paid_tax, charge.pays) == (quote.amount, quote.tax, PREPAID)
    with house.engine.connect() as connection:
        assert [each.balance for each in balances(connection, "A-1") if each.kind == PREPAID] == [0]
        assert verify(connection) == []


def test_the_price_in_words_says_what_it_contains_for_whom(house: House, user: User) -> None:
    with_prices_that_contain_tax(house)
    shown = user.menu()["game"].modes
    assert [mode.price_text for mode in shown if mode.mode == "buy"] == ["€6.99 once, including 19% tax"]
    assert opened(house, user.request("game", "buy")).mode.price_text == "€6.99 once, including 19% tax"
    of_customer(house, {"tax_status": "exempt", "tax_reason": "diplomats"})
    assert opened(house, user.request("game", "buy")).mode.price_text == "€5.87 once, without tax"


def test_a_terminal_shows_no_quote_that_puts_tax_on_top_of_a_price_with_tax(house: House, user: User) -> None:
    with_prices_that_contain_tax(house)
    [shown] = [mode for mode in user.menu()["game"].modes if mode.mode == "buy"]
    quote = opened(house, user.request("game", "buy"))
    _check_not_worse(quote, shown)
    for worse in (
        {"amount": PRICE_OF_GAME, "tax": 1_330_000},
        {"amount": PRICE_OF_GAME},
        {"mode": msgspec.structs.replace(quote.mode, tax_included=0)},
    ):
        with pytest.raises(BadQuote):
            _check_not_worse(msgspec.structs.replace(quote, **worse), shown)


@given(st.integers(0, 10**12), st.sampled_from([0, 500, 700, 1900, 2550]), st.sampled_from([1, 10_000, 10**6]))
def test_what_is_owed_of_a_price_with_tax_is_the_price(price: int, rate: int, unit: int) -> None:
    made = owed(price, rate, rate, unit)
    assert made.total == price
    assert owed(price, 0, rate, unit).total == owed(price, 0, rate, unit).net <= price
    assert owed(-price, rate, rate, unit).total == -price
    money = affordable(price, rate, rate)
    assert owed(money, rate, rate).total <= price < owed(money + 2, rate, rate).total
    free = affordable(price, 0, rate)
    assert owed(free, 0, rate).total <= price < owed(free + 3, 0, rate).total


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('inclusive = ["Q"]', "inclusive = 'Q': no rate has this category, here or in operator.toml"),
        ("inclusive = [", "not TOML"),
    ],
)
def test_a_table_of_taxes_with_a_fault_is_told_with_offers_and_tariffs(house: House, text: str, reason: str) -> None:
    (house.operator.settings.config_dir / "tax.toml").write_text(text)
    with pytest.raises(BrokenCatalogue, match=reason):
        load(house.operator.settings)
