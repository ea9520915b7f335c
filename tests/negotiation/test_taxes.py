"""A quote names the tax that the bill will bear."""

from __future__ import annotations

import pytest
from operator_samples import PRICE_OF_GAME, House, User, opened
from sqlalchemy import update

from operator_server.store.dealings import Agreement
from operator_server.store.parties import Account
from operator_server.store.rows import table


@pytest.mark.parametrize(
    ("account", "rate"),
    [
        ({}, 1900),
        ({"country": "AT", "vat_id": "ATU12345675"}, 0),
        ({"country": "AT"}, 1900),
        ({"country": "NO"}, 0),
        ({"tax_status": "exempt"}, 0),
    ],
    ids=["at home", "owed by the customer", "without a VAT id", "outside the EU", "exempt"],
)
def test_a_quote_bears_the_tax_of_its_customer(house: House, user: User, account: dict[str, str], rate: int) -> None:
    house.operator.settings.operator.vat_id = "DE123456788"
    if account:
        house.change(lambda connection: connection.execute(update(table(Account)).values(**account)))
    quote = opened(house, user.request("game", "buy"))
    assert (quote.mode.tax_rate, quote.tax) == (rate, PRICE_OF_GAME * rate // 10_000)
    user.agree("game", "buy")
    [agreed] = house.rows(Agreement)
    assert agreed.tax_rate == rate
