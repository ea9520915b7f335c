"""How imported use is paid for: as its standing agreement says, units of buckets before money, each once."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from counting_samples import SETTINGS, SIGNING, add_installation, add_terminal
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from usage_samples import NOW, Shop, call, version

from charging.balances.tables import UnitBucket
from charging.ledger.book import balances
from charging.ledger.tables import PREPAID, UNBILLED
from charging.ledger.verify import verify
from charging.modes import ModeError
from charging.tariffs import Tariff, TariffBook, TariffError
from charging.tariffs.explain import costs, explain
from operator_server.balances.buckets import add_bucket
from operator_server.balances.money import top_up
from operator_server.balances.proof import verify_balances
from operator_server.balances.usage import UsageDesk, Use
from operator_server.billing.bill_run import run_bills
from operator_server.billing.invoices import each_invoice
from operator_server.billing.proof import verify_billing
from operator_server.counting.tariffs import TariffVersions
from operator_server.counting.units import COVERED
from operator_server.store.dealings import QuoteRow
from operator_server.store.engine import writing
from operator_server.store.rows import table
from operator_server.usage.history import find_use
from operator_server.usage.intake import Importer
from operator_server.usage.standing import StandingError, agreement_id, payments, set_payment
from signalling.documents import Quote, decode_document
from signalling.messages import Signed
from signalling.proof import check, public_bytes

EURO = 1_000_000


def paying(shop: Shop, payment: str, subscriber: str = "acc-1", tariff: str = "calls") -> str:
    with writing(shop.engine).begin() as connection:
        return set_payment(connection, shop.book, SETTINGS.operator, SIGNING, subscriber, tariff, payment, NOW)


def fill(shop: Shop, micros: int, name: str = "t-1") -> None:
    with writing(shop.engine).begin() as connection:
        top_up(connection, "acc-1", micros, id=name, now=NOW)


def bucket(shop: Shop, seconds: int, name: str = "b-1", **keys: Any) -> None:
    with writing(shop.engine).begin() as connection:
        keys.setdefault("valid_from", NOW - timedelta(days=40))
        add_bucket(connection, "acc-1", "second", seconds, id=name, now=NOW, **keys)


def owes(shop: Shop) -> tuple[int, int]:
    """What is paid ahead, and what waits for the next invoice; everything is proven."""
    with shop.engine.connect() as connection:
        assert [*verify(connection), *verify_billing(connection), *verify_balances(connection)] == []
        by_kind = {each.kind: each.balance for each in balances(connection, "acc-1")}
    return -by_kind[PREPAID], by_kind[UNBILLED]


def left(shop: Shop) -> int:
    rows = table(UnitBucket)
    with shop.engine.connect() as connection:
        return sum(connection.execute(select(rows.c.remaining)).scalars())


@pytest.mark.parametrize(
    ("payment", "filled", "after", "pays"),
    [
        ("postpaid", EURO, (EURO, 3600), "unbilled"),
        ("prepaid", EURO, (EURO - 3600 - 684, 0), "prepaid"),
        ("prepaid", 4000, (4000, 3600), "unbilled"),
        ("pseudo_prepaid", 4000, (4000 - 4284, 0), "prepaid"),
        ("rated_only", EURO, (EURO, 0), "none"),
    ],
)
def test_the_same_record_costs_the_same_from_whatever_money(
    payment: str, filled: int, after: tuple[int, int], pays: str
) -> None:
    shop = Shop()
    paying(shop, payment)
    fill(shop, filled)
    assert shop.take(call()).taken == 1
    assert shop.nets() == {"1": 3600}
    assert [charge.pays for charge in shop.charges()] == [pays]
    assert owes(shop) == after


def test_what_was_paid_ahead_is_on_no_invoice_and_the_rest_is() -> None:
    shop = Shop()
    paying(shop, "prepaid")
    fill(shop, 2 * 4284)
    shop.take(*(call(name, at="2026-10-20T09:30:00Z") for name in "abcd"))
    assert [charge.pays for charge in shop.charges()] == ["prepaid", "prepaid", "unbilled", "unbilled"]
    run_bills(shop.engine, SETTINGS, "2026-10", now=NOW)
    with shop.engine.connect() as connection:
        [invoice] = each_invoice(connection)
    assert invoice.totals.net_micros == 10_000  # two of 0.0036
    assert owes(shop)[0] == 0


def test_use_is_paid_as_the_subscriber_agreed_to_at_a_terminal() -> None:
    shop = Shop()
    with writing(shop.engine).begin() as connection:
        add_terminal(connection)
        add_installation(connection, shop.book.at("calls", NOW), payment="prepaid")
    fill(shop, EURO)
    shop.take(call(), call("2", subscriber="acc-2"))
    assert sorted((charge.account_id, charge.pays) for charge in shop.charges()) == [
        ("acc-1", "prepaid"),
        ("acc-2", "unbilled"),
    ]


def test_use_is_paid_as_it_was_when_it_was_first_taken_live() -> None:
    shop = Shop()
    fill(shop, EURO)
    desk = UsageDesk(lambda: shop.book, SETTINGS, SIGNING)
    with writing(shop.engine).begin() as connection:
        use = Use(subscriber="acc-1", unit="second", quantity=32, tariff="calls", pays="prepaid", at=NOW)
        desk.consume(connection, "live-1", use, NOW)
    shop.take(call())
    assert {charge.pays for charge in shop.charges()} == {"prepaid"}


def test_a_change_of_payment_holds_from_then_on_and_keeps_the_quote_before() -> None:
    shop = Shop()
    shop.take(call("a"))
    fill(shop, EURO)
    for _ in range(2):
        name = paying(shop, "prepaid")
    shop.take(call("b"))
    paying(shop, "postpaid")
    shop.take(call("c"))
    assert name == agreement_id("acc-1", "calls")
    assert [charge.pays for charge in shop.charges()] == ["unbilled", "prepaid", "unbilled"]
    with shop.engine.connect() as connection:
        rows = connection.execute(select(table(QuoteRow)).order_by(table(QuoteRow).c.id)).all()
        assert payments(connection, [name])[name].name == "postpaid"
    assert [(row.id, row.state) for row in rows] == [
        (name, "superseded"), (f"{name}.2", "superseded"), (f"{name}.3", "agreed"),
    ]  # fmt: skip
    said = [decode_document(Quote, row.document) for row in rows]
    assert [each.mode.payment for each in said] == ["postpaid", "prepaid", "postpaid"]
    for row in rows:
        check(public_bytes(SIGNING), Quote.PURPOSE, Signed(row.document, row.signature))
    owes(shop)


def test_a_payment_that_cannot_be_is_refused() -> None:
    shop = Shop()
    for arguments, error, text in [
        (("cash",), ModeError, "payment 'cash' is not one of"),
        (("prepaid", "nobody"), StandingError, "subscriber nobody: there is none"),
        (("prepaid", "acc-3"), StandingError, "calls is in EUR, account acc-3 in JPY"),
        (("prepaid", "acc-1", "gone"), TariffError, "gone"),
    ]:
        with pytest.raises(error, match=text):
            paying(shop, *arguments)


def test_units_cover_records_before_money_and_what_they_leave_is_explained() -> None:
    shop = Shop()
    paying(shop, "prepaid")
    fill(shop, EURO)
    bucket(shop, 100)
    shop.take(call("a", 60), call("b", 72), call("c", 57))
    whole, part, none = shop.charges()
    assert (whole.kind, whole.pays, whole.quantity, whole.net, whole.transfer_id) == (COVERED, "none", 0, 0, "")
    assert (part.kind, part.quantity, part.net) == ("use", 32, 3600)
    assert (none.quantity, none.net) == (57, 6000)
    assert (left(shop), owes(shop)[0]) == (0, EURO - 3600 - 684 - 6000 - 1140)
    with shop.engine.connect() as connection:
        found = find_use(connection, TariffVersions(lambda: TariffBook([])), "c")
        assert explain(found.uses).cost_micros == 6000
        assert costs(found.uses) == [3600, 6000]


def test_units_that_do_not_hold_when_the_use_was_and_use_that_is_only_rated_take_none() -> None:
    shop = Shop()
    bucket(shop, 100, valid_from=NOW)
    shop.take(call("a"))
    paying(shop, "rated_only")
    bucket(shop, 50, name="b-2")
    shop.take(call("b"))
    assert (left(shop), [charge.quantity for charge in shop.charges()]) == (150, [32, 32])


def test_a_record_that_cannot_be_rated_leaves_its_units_to_the_next() -> None:
    dear = version("calls", price={"model": "per_unit", "amount": "1000000"})
    shop = Shop(None, Tariff("calls", {"en": "Calls"}, (dear,)))
    bucket(shop, 40)
    outcome = shop.take(call("a", 10**15), call("b", 40))
    assert [reason for _, reason in outcome.refused] == [f"{10**15 - 40} units cost more than a ledger amount can be"]
    assert [charge.kind for charge in shop.charges()] == [COVERED]
    assert (left(shop), owes(shop)) == (0, (0, 0))


_records = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 90)), min_size=1, max_size=12)


@given(
    st.lists(_records, min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(1, 150), st.integers(1, 3)), max_size=3),
    st.sampled_from(["postpaid", "prepaid", "pseudo_prepaid"]),
    st.integers(0, 20_000),
)
@settings(max_examples=40, deadline=None)
def test_no_unit_is_used_twice_in_whatever_portions_records_come(
    batches: list[list[tuple[int, int]]], filled: list[tuple[int, int]], payment: str, money: int
) -> None:
    shop = Shop()
    paying(shop, payment)
    if money:
        fill(shop, money)
    for number, (seconds, priority) in enumerate(filled):
        bucket(shop, seconds, name=f"b-{number}", priority=priority)
    whole = sum(seconds for seconds, _ in filled)
    used: dict[str, int] = {}
    for batch in [*batches, *batches]:
        before = (left(shop), owes(shop), len(shop.charges()))
        shop.take(*(call(f"r{name}", quantity) for name, quantity in batch))
        taken = {f"r{name}": quantity for name, quantity in reversed(batch)}
        if taken.keys() <= used.keys():
            assert (left(shop), owes(shop), len(shop.charges())) == before
        used = {**taken, **used}
        assert left(shop) >= 0
        assert whole - left(shop) + sum(charge.quantity for charge in shop.charges()) == sum(used.values())
    if payment == "prepaid":
        assert owes(shop)[0] >= 0


def test_portions_share_units_as_one_batch_would() -> None:
    def done(*portions: int) -> tuple[list[tuple[str, int]], tuple[int, int]]:
        shop = Shop()
        bucket(shop, 100)
        records = [call(f"r{number}", 10 + 7 * number) for number in range(8)]
        first = 0
        for portion in portions:
            shop.take(*records[first : first + portion])
            first += portion
        return sorted(shop.nets().items()), owes(shop)

    assert done(8) == done(3, 5) == done(*[1] * 8)


def test_use_of_a_price_with_tax_takes_just_the_price_and_is_explained(tmp_path: Path) -> None:
    (tmp_path / "tax.toml").write_text('inclusive = ["S"]\n')
    settings = SETTINGS.model_copy(update={"config_dir": tmp_path})
    shop = Shop()
    shop.importer = Importer(shop.book, settings, SIGNING, shop.clock)
    with writing(shop.engine).begin() as connection:
        set_payment(
            connection,
            shop.book,
            settings.operator,
            SIGNING,
            "acc-1",
            "calls",
            "prepaid",
            NOW,
            inclusive=frozenset("S"),
        )
        top_up(connection, "acc-1", 10_200, id="t", now=NOW)
    for number, quantity in enumerate((60, 40, 75)):
        shop.take(call(str(number), quantity))
    rows = sorted(shop.charges(), key=lambda row: row.net)
    assert [(row.pays, row.net, row.paid_tax) for row in rows] == [
        ("prepaid", 3529, 671), ("prepaid", 5042, 958), ("unbilled", 7800, 0),
    ]  # fmt: skip
    for row in rows:
        with shop.engine.connect() as connection:
            found = find_use(connection, TariffVersions(lambda: shop.book), row.id)
        assert explain(found.uses).cost_micros == found.price
