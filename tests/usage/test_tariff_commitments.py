"""A tariff's commitment: what a month of use is short of it is billed once, with that month."""

from __future__ import annotations

from datetime import UTC, datetime

from counting_samples import SETTINGS, SIGNING
from usage_samples import Shop, version

from charging.ledger.verify import verify
from charging.tariffs import Tariff
from operator_server.billing.bill_run import run_bills
from operator_server.billing.invoices import each_invoice
from operator_server.billing.proof import verify_billing
from operator_server.usage.standing import set_payment

EURO = 1_000_000
DECEMBER = datetime(2026, 12, 2, tzinfo=UTC)
TALK = Tariff("talk", {"en": "Talk", "fr": "Appels"}, (version("talk", commitment="5.00"),))
PLAIN = Tariff("plain", {"en": "Plain"}, (version("plain"),))


def shop() -> Shop:
    return Shop(None, TALK, PLAIN)


def used(made: Shop, id: str, quantity: int, at: str = "2026-11-02T09:00:00Z", **keys: str) -> None:
    record = {"source": "switch", "id": id, "subscriber": "acc-1", "tariff": "talk", "quantity": quantity, "at": at}
    assert made.take(record | keys).taken == 1


def billed(made: Shop, name: str = "2026-11", now: datetime = DECEMBER) -> list[tuple[str, str, int]]:
    run_bills(made.engine, SETTINGS, name, now=now)
    with made.engine.connect() as connection:
        assert [*verify(connection), *verify_billing(connection)] == []
        return [
            (invoice.account, f"{line.kind} {line.period_from:%m-%d} {line.description}", line.net_micros)
            for invoice in each_invoice(connection)
            for line in invoice.lines
        ]


def test_a_month_of_use_comes_to_the_least_amount_once() -> None:
    made = shop()
    used(made, "a", 60_000)
    used(made, "b", 60_000, subscriber="acc-2", tariff="plain")
    expected = [
        ("acc-1", "use 11-01 Talk", 6 * EURO),
        ("acc-2", "use 11-01 Plain", 6 * EURO),
    ]
    assert billed(made) == expected
    assert billed(made) == expected


def test_what_is_missing_is_a_line_with_its_month() -> None:
    made = shop()
    used(made, "a", 600)
    expected = [("acc-1", "commitment 11-01 Talk: Minimum spend", 4_940_000), ("acc-1", "use 11-01 Talk", 60_000)]
    assert sorted(billed(made)) == expected
    assert sorted(billed(made)) == expected
    assert sorted(billed(made, "2026-12", datetime(2027, 1, 2, tzinfo=UTC))) == expected


def test_a_part_of_a_month_asks_for_nothing_yet() -> None:
    made = shop()
    used(made, "a", 600)
    day = datetime(2026, 11, 20, tzinfo=UTC)
    run_bills(made.engine, SETTINGS, "2026-11", now=day, until=day)
    assert [kind for _, kind, _ in billed(made)] == ["use 11-01 Talk", "commitment 11-01 Talk: Minimum spend"]


def test_use_that_is_only_rated_owes_none() -> None:
    made = shop()
    with made.engine.begin() as connection:
        set_payment(connection, made.book, SETTINGS.operator, SIGNING, "acc-1", "talk", "rated_only", DECEMBER)
    used(made, "a", 600)
    assert billed(made) == []
