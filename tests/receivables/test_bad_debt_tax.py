"""The tax of written-off debts: taken back by the country's rule, and owed again for what is paid after all."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from receivable_samples import Books

from charging.periods import period
from charging.receivables.bad_debt import COUNTRY_RULES, Rule, TaxPart, between, correctable_on, part_of, rule_of
from operator_server.receivables.bad_debt_tax import correct_due, corrections_of, find_corrections, notice_rows
from operator_server.receivables.books import ReceivablesError
from operator_server.receivables.credit_notes import CreditRequest, make_credit_note
from operator_server.receivables.finance import handover
from operator_server.receivables.notices import compose_notice
from operator_server.receivables.payments import return_payment
from operator_server.receivables.reminders import remind
from operator_server.receivables.write_offs import approve_write_off, ask_write_off, find_write_offs

CENT = 10_000


def write_off(books: Books, number: str) -> str:
    id = books.do(ask_write_off, number, reason="insolvent", by="eve")
    books.do(approve_write_off, id, by="adam")
    return id


def taxes(books: Books) -> list[tuple[str, int, int, int]]:
    """Category, rate, base and tax of the month, in cents, as finance gets them."""
    span = period("2026-11", books.settings.operator.zone)
    made = books.read(lambda c: handover(c, books.settings, span, books.now))
    assert made.faults == []
    return [(row.category, row.rate_bp, row.base // CENT, row.tax // CENT) for row in made.taxes]


def test_a_write_off_takes_the_tax_back_and_bad_debt_is_the_net(books: Books) -> None:
    number = books.invoice("10.00", ("5.00", 700), ("2.00", 0))
    write_off(books, number)
    assert books.ledger() == {"revenue": -1700, "bad_debt": 1700}
    assert taxes(books) == [("S", 700, 0, 0), ("S", 1900, 0, 0), ("Z", 0, 0, 0)]
    assert books.open() == {}
    books.prove()


def test_only_what_is_not_paid_takes_tax_back(books: Books) -> None:
    number = books.invoice("10.00", ("5.00", 700))
    books.do(make_credit_note, CreditRequest(number, {"2": None}))
    books.pay("5.95", number)
    write_off(books, number)
    assert books.ledger() == {"revenue": -1000, "tax:S": -95, "cash": 595, "bad_debt": 500}
    assert taxes(books) == [("S", 700, 0, 0), ("S", 1900, 500, 95)]
    books.prove()


def test_a_payment_after_all_owes_its_tax_again_to_the_cent(books: Books) -> None:
    number = books.invoice("10.00", ("5.00", 700))
    id = write_off(books, number)
    for part in ("0.01", "3.33", "5.00", "8.90"):
        books.pay(part)
        books.prove()
    assert books.ledger() == {"revenue": -1500, "tax:S": -225, "cash": 1724, "bad_debt": 1}
    books.pay("0.01")
    assert books.ledger() == {"revenue": -1500, "tax:S": -225, "cash": 1725}
    rows = books.read(lambda c: corrections_of(c, id))
    assert (sum(row.base for row in rows), sum(row.tax for row in rows)) == (0, 0)
    assert taxes(books) == [("S", 700, 500, 35), ("S", 1900, 1000, 190)]


def test_a_payment_that_comes_back_leaves_a_debt_with_its_tax_that_can_be_written_off_again(books: Books) -> None:
    number = books.invoice("10.00")
    write_off(books, number)
    books.pay("11.90", number, id="late")
    books.do(return_payment, "late", reason="x")
    [again] = books.open()
    assert (books.ledger()["tax:S"], books.open()) == (-190, {again: 1190})
    write_off(books, again)
    assert books.ledger() == {"revenue": -1000, "bad_debt": 1000}
    assert {row.number for row in books.read(find_corrections)} == {number}
    books.prove()


def test_a_credit_note_on_a_written_off_invoice_takes_nothing_back_twice(books: Books) -> None:
    number = books.invoice("10.00")
    write_off(books, number)
    books.do(make_credit_note, CreditRequest(number, {"1": 400 * CENT}))
    assert books.ledger() == {"revenue": -600, "bad_debt": 600}
    assert books.open() == {}
    books.do(make_credit_note, CreditRequest(number))
    assert books.ledger() == {}
    assert books.open() == {}
    assert taxes(books) == [("S", 1900, 0, 0)]
    books.prove()


@pytest.mark.parametrize("rule", [{"DE": {"method": "keep"}}, {"DE": {"method": "posting", "days": 30}}])
def test_the_operator_says_whether_and_from_when(rule: dict[str, Any]) -> None:
    own = Books(bad_debt_tax=rule)
    number = own.invoice("10.00")
    id = write_off(own, number)
    assert own.ledger()["bad_debt"] == 1190
    [row] = own.read(find_write_offs)
    if rule["DE"]["method"] == "keep":
        assert row.tax == "kept"
        return
    # Due on the 16th, and thirty days more.
    assert (row.tax, row.tax_from) == ("waiting", date(2026, 12, 16))
    own.now += timedelta(days=20)
    assert correct_due(own.engine, own.settings, own.now) == 0
    own.pay("1.19")
    own.now += timedelta(days=30)
    assert [correct_due(own.engine, own.settings, own.now) for _ in range(2)] == [1, 0]
    assert own.ledger() == {"revenue": -1000, "tax:S": -19, "cash": 119, "bad_debt": 900}
    own.pay("10.71")
    assert own.ledger() == {"revenue": -1000, "tax:S": -190, "cash": 1190}
    assert sum(row.tax for row in own.read(lambda c: corrections_of(c, id))) == 0
    own.prove()


def test_where_the_country_asks_for_it_the_customer_gets_a_numbered_notice() -> None:
    books = Books(bad_debt_tax={"DE": {"method": "document"}})
    first, second = books.invoice("10.00"), books.invoice("1.00", account="acc-2")
    write_off(books, first)
    write_off(books, second)
    books.pay("5.95", first)
    rows = books.read(find_corrections)
    assert [row.notice for row in rows] == ["B-2026-000001", "B-2026-000002", "B-2026-000003"]
    told = [
        compose_notice(books.settings, *books.read(lambda c, name=row.notice: notice_rows(c, name))) for row in rows
    ]
    assert "€11.90 were not paid: €10.00 net and €1.90 tax" in told[0]
    assert first in told[0]
    assert "What you owe does not change" in told[0]
    assert "€5.95 were paid after all: €5.00 net and €0.95 tax" in told[2]
    with pytest.raises(ReceivablesError, match="there is none"):
        books.read(lambda c: notice_rows(c, "B-2026-000009"))


def test_a_fee_has_no_tax_to_correct() -> None:
    books = Books(reminders=[{"days": 1, "fee": "2.50"}])
    books.invoice("10.00")
    books.open()
    books.now += timedelta(days=20)
    with books.engine.begin() as connection:
        remind(connection, books.settings, "acc-1", "EUR", books.now)
    [fee] = [item.number for item in books.items() if item.kind == "fee"]
    write_off(books, fee)
    assert books.ledger()["bad_debt"] == 250
    assert [row.tax for row in books.read(find_write_offs)] == ["kept"]


def test_the_rule_is_that_of_the_country_whose_tax_it_is() -> None:
    own = {"FR": Rule("keep"), "CH": Rule("posting", 5)}
    assert rule_of("DE", own) == COUNTRY_RULES["DE"] == Rule("posting")
    assert (rule_of("FR", own), rule_of("CH", own), rule_of("US", own)) == (own["FR"], own["CH"], Rule("keep"))
    due, today = date(2026, 11, 16), date(2026, 11, 2)
    assert correctable_on(Rule("posting"), due, today) == today
    assert correctable_on(Rule("document", 10), due, today) == date(2026, 11, 26)
    assert correctable_on(Rule("document", 10), due, date(2026, 12, 24)) == date(2026, 12, 24)
    assert correctable_on(Rule("keep", 10), due, today) is None


_PARTS = st.lists(
    st.builds(
        lambda category, rate, base: TaxPart(category, rate, base * CENT, base * CENT * rate // 10_000 // CENT * CENT),
        st.sampled_from("SZE"), st.sampled_from([0, 700, 1900]), st.integers(0, 100_000),
    ),
    min_size=1, max_size=3, unique_by=lambda part: (part.category, part.rate_bp),
)  # fmt: skip


@given(_PARTS, st.lists(st.integers(1, 50_000), max_size=8), st.integers(1, 100))
def test_whatever_is_paid_in_whatever_parts_brings_back_what_was_taken(
    parts: list[TaxPart], payments: list[int], percent: int
) -> None:
    whole = sum(each.base + each.tax for each in parts)
    if not whole:
        return
    amount = max(CENT, whole * percent // 100 // CENT * CENT)
    taken = part_of(parts, whole, amount, CENT)
    of = {(each.category, each.rate_bp): each for each in parts}
    assert all(0 <= each.tax <= of[each.category, each.rate_bp].tax for each in taken)
    if amount >= whole:
        assert {(each.base, each.tax) for each in taken} == {(e.base, e.tax) for e in parts if e.base or e.tax}
    paid, back = 0, [0, 0]
    for payment in [*payments, whole]:
        part = min(payment * CENT, amount - paid)
        for each in between(taken, amount, paid, paid + part, CENT):
            back = [back[0] + each.base, back[1] + each.tax]
        paid += part
    assert back == [sum(each.base for each in taken), sum(each.tax for each in taken)]
