"""A tariff's commitment: what a month of use is short of it is billed once, with that month."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from counting_samples import SETTINGS, SIGNING
from sqlalchemy import select, update
from usage_samples import Shop, version

from charging.ledger.verify import verify
from charging.tariffs import Tariff, TariffVersion
from operator_server.billing.bill_run import run_bills
from operator_server.billing.invoices import each_invoice
from operator_server.billing.proof import verify_billing
from operator_server.counting.tariffs import TariffVersions
from operator_server.receivables.rerating import rerate_invoice
from operator_server.store.accounting import Charge
from operator_server.store.engine import writing
from operator_server.store.parties import Account
from operator_server.store.rows import table
from operator_server.usage.standing import set_payment

EURO = 1_000_000
DECEMBER, JANUARY, FEBRUARY = (datetime(2026 + year, month, 2, tzinfo=UTC) for year, month in ((0, 12), (1, 1), (1, 2)))
DAY = datetime(2026, 11, 20, tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC)
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


def charged(made: Shop) -> dict[str, list[int]]:
    """The nets of all charges, ascending, by kind."""
    found: dict[str, list[int]] = {}
    with made.engine.connect() as connection:
        for row in connection.execute(select(table(Charge)).order_by(table(Charge).c.net)):
            found.setdefault(row.kind, []).append(row.net)
    return found


def again(made: Shop, number: str, right: TariffVersion, now: datetime) -> None:
    with writing(made.engine).begin() as connection:
        versions = TariffVersions(lambda: made.book)
        assert rerate_invoice(connection, SETTINGS, number, Tariff("talk", {}, (right,)), now, tariffs=versions).new


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


def test_late_use_counts_towards_the_month_that_was_billed_short() -> None:
    made = shop()
    used(made, "a", 600)
    billed(made)
    made.clock.set(DECEMBER)
    used(made, "late", 6_000)
    lines = billed(made, "2026-12", JANUARY)
    assert sorted(lines) == [
        ("acc-1", "commitment 11-01 Talk: Minimum spend", -600_000),
        ("acc-1", "commitment 11-01 Talk: Minimum spend", 4_940_000),
        ("acc-1", "use 11-01 Talk", 60_000),
        ("acc-1", "use 11-01 Talk", 600_000),
    ]
    assert billed(made, "2026-12", JANUARY) == lines
    assert billed(made, "2027-01", datetime(2027, 2, 2, tzinfo=UTC)) == lines


def test_re_rating_changes_what_is_missing_with_the_next_run() -> None:
    made = shop()
    used(made, "a", 6_000)
    billed(made)
    dearer = version("talk", commitment="5.00", price={"model": "per_unit", "amount": "0.05", "unit_size": 60})
    again(made, "R-2026-000001", dearer, DECEMBER)
    assert charged(made) == {"use": [600_000], "commitment": [4_400_000], "rerated": [5 * EURO]}
    billed(made, "2026-12", JANUARY)
    assert charged(made)["commitment"] == [-4_400_000, 4_400_000]
    again(made, "R-2026-000002", version("talk", commitment="4.00"), JANUARY)
    billed(made, "2027-01", FEBRUARY)
    billed(made, "2027-01", FEBRUARY)
    expected = {"use": [600_000], "commitment": [-4_400_000, 3_400_000, 4_400_000], "rerated": [600_000, 5 * EURO]}
    assert charged(made) == expected


def test_a_re_rated_line_tells_the_units_that_are_included_now() -> None:
    made = shop()
    for number, quantity in enumerate((60, 600, 30)):
        used(made, str(number), quantity)
    billed(made)
    again(made, "R-2026-000001", version("talk", commitment="5.00", included=90), DECEMBER)
    with made.engine.connect() as connection:
        [line] = list(each_invoice(connection))[-1].lines
    assert (line.quantity, line.included, line.net_micros) == (690, 90, 60_000)


def close(made: Shop) -> None:
    with writing(made.engine).begin() as connection:
        connection.execute(update(table(Account)).where(table(Account).c.id == "acc-1").values(status="closed"))


def test_the_last_bill_of_a_closed_account_asks_for_the_share_of_a_broken_month() -> None:
    made = shop()
    used(made, "a", 600)
    close(made)
    run_bills(made.engine, SETTINGS, "2026-11", now=DAY, until=DAY)
    expected = [("acc-1", "commitment 11-01 Talk: Minimum spend", 3_106_667), ("acc-1", "use 11-01 Talk", 60_000)]
    assert sorted(billed(made)) == expected
    assert sorted(billed(made, "2026-12", JANUARY)) == expected
    with made.engine.connect() as connection:
        [invoice] = each_invoice(connection)
    assert {line.period_to for line in invoice.lines if line.kind == "commitment"} == {date(2026, 11, 19)}


def test_who_spent_the_share_of_a_broken_month_owes_nothing_of_the_rest() -> None:
    made = shop()
    used(made, "a", 36_000)
    close(made)
    run_bills(made.engine, SETTINGS, "2026-11", now=DAY, until=DAY)
    assert billed(made) == [("acc-1", "use 11-01 Talk", 3_600_000)]
