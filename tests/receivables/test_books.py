"""What customers owe: payments, credit notes, returns, write-offs; the ledger and the open items always agree."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from receivable_samples import Books

from charging.receivables.credit import CreditError
from operator_server.receivables.books import ReceivablesError, open_items
from operator_server.receivables.credit_notes import (
    CreditRequest,
    credited_of,
    find_credit_notes,
    load_credit_note,
    make_credit_note,
)
from operator_server.receivables.disputes import held, place_hold, release_hold
from operator_server.receivables.payments import assign_payment, find_payments, named_in, refund_credit, return_payment
from operator_server.receivables.proof import verify_receivables
from operator_server.receivables.write_offs import approve_write_off, ask_write_off, find_write_offs, refuse_write_off
from operator_server.store.engine import writing
from signalling.money import Money

CENT = 10_000


def credit(books: Books, invoice: str, lines: dict[str, int | None] | None = None, **more: Any) -> str:
    return books.do(make_credit_note, CreditRequest(invoice, lines, **more)).number


def test_an_invoice_is_open_until_it_is_paid(books: Books) -> None:
    number = books.invoice("10.00")
    assert books.open() == {number: 1190}
    taken = books.pay("11.90", number)
    assert (taken.settled, taken.left) == (((number, 1190 * CENT),), 0)
    assert books.open() == {}
    assert books.ledger() == {"revenue": -1000, "tax:S": -190, "cash": 1190}
    books.prove()


def test_a_payment_without_a_reference_settles_the_oldest_and_the_rest_pays_the_next_invoice(books: Books) -> None:
    first, second = books.invoice("10.00"), books.invoice("1.00", due=7)
    books.pay("14.00")
    assert list(books.open().values()) == [-91]
    third = books.invoice("1.00")
    assert books.open() == {third: 28}
    assert {first, second, third} <= {item.number for item in books.items()}
    books.prove()


def test_the_same_payment_is_taken_once(books: Books) -> None:
    number = books.invoice("10.00")
    first = books.pay("5.00", number, id="bank-1")
    again = books.pay("5.00", number, id="bank-1")
    assert (first.new, again.new, again.settled) == (True, False, first.settled)
    with pytest.raises(ReceivablesError, match="used before for another payment"):
        books.pay("6.00", number, id="bank-1")
    assert books.open() == {number: 690}


@pytest.mark.parametrize(
    ("amount", "named", "more", "told"),
    [
        ("0", (), {}, "nobody can pay that"),
        ("1.005", (), {}, "nobody can pay that"),
        ("1.00", ("R-2026-000009",), {}, "no such invoice"),
        ("1.00", ("R-2026-000001",), {"account": "acc-2"}, "no such invoice"),
        ("1.00", (), {"account": "acc-9"}, "there is none"),
        ("1.00", ("R-2026-000001",), {"currency": "USD"}, "the payment in USD"),
    ],
)
def test_a_payment_that_cannot_be_is_refused_and_changes_nothing(
    books: Books, amount: str, named: tuple[str, ...], more: dict[str, Any], told: str
) -> None:
    books.invoice("10.00")
    books.open()
    before = books.items()
    with pytest.raises(ReceivablesError, match=told):
        books.pay(amount, *named, **more)
    assert books.items() == before


def test_a_payment_that_comes_back_opens_what_it_had_paid(books: Books) -> None:
    first, second = books.invoice("10.00"), books.invoice("20.00")
    books.pay("15.00", second, id="p")
    assert books.open() == {first: 1190, second: 880}
    opened = books.do(return_payment, "p", reason="MD06")
    assert opened == [second]
    assert books.open() == {first: 1190, second: 2380}
    assert books.do(return_payment, "p", reason="MD06") == []
    assert books.ledger()["revenue"] == -3000
    assert "cash" not in books.ledger()
    books.prove()


def test_a_debt_that_a_return_opens_is_settled_by_what_stands_to_the_credit() -> None:
    books = Books()
    first, second = books.invoice("10.00", due=7), books.invoice("5.00")
    books.pay("11.90", first, id="p")
    books.pay("5.95", second)
    credit(books, second)
    assert books.open() == {"G-2026-000001": -595}
    assert books.do(return_payment, "p", reason="MD06") == [first]
    assert books.open() == {first: 595}
    books.prove()


def test_money_that_nobody_can_place_stands_in_suspense_until_it_is_assigned(books: Books) -> None:
    number = books.invoice("10.00")
    books.pay("11.90", account=None, id="p", reason="no reference")
    assert books.ledger()["suspense"] == -1190
    assert books.open() == {number: 1190}
    assert [row.id for row in books.read(lambda c: find_payments(c, state="suspense"))] == ["p"]
    for _ in range(2):
        assert books.do(assign_payment, "p", "acc-1", by="eve").settled == ((number, 1190 * CENT),)
    with pytest.raises(ReceivablesError, match="not in suspense"):
        books.do(assign_payment, "p", "acc-2")
    assert books.open() == {}
    assert "suspense" not in books.ledger()
    books.prove()


def test_a_credit_note_settles_its_invoice_and_frees_what_was_paid(books: Books) -> None:
    first, second = books.invoice("10.00", ("5.00", 700)), books.invoice("2.00")
    books.pay("17.25", first)
    note = credit(books, first, {"2": None}, reason="not delivered", by="eve")
    assert note == "G-2026-000001"
    document = books.read(lambda c: load_credit_note(c, note))
    assert (document.kind, document.corrects, document.totals.gross_micros) == ("credit_note", first, 535 * CENT)
    # What was paid of the line already pays the other invoice.
    assert sum(books.open().values()) == 238 - 535
    assert books.ledger()["revenue"] == -1200
    assert credit(books, second) == "G-2026-000002"
    assert [row.invoice_number for row in books.read(lambda c: find_credit_notes(c))] == [first, second]
    books.prove()


def test_a_credit_note_gives_back_the_exact_amounts_and_their_rounding(books: Books) -> None:
    number = books.invoice("0.2331")
    credit(books, number)
    assert books.ledger() == {}
    assert books.open() == {}
    books.prove()


def test_the_same_request_makes_one_credit_note_and_no_more_than_the_invoice_is_credited(books: Books) -> None:
    number = books.invoice("10.00")
    notes = {credit(books, number, {"1": 4 * 100 * CENT}, op_id="ticket-7") for _ in range(2)}
    assert len(notes) == 1
    with pytest.raises(ReceivablesError, match="of other content"):
        credit(books, number, {"1": 5 * 100 * CENT}, op_id="ticket-7")
    with pytest.raises(CreditError, match=r"7.00 EUR asked, 6.00 net of it is not credited yet"):
        credit(books, number, {"1": 7 * 100 * CENT})
    credit(books, number)
    with pytest.raises(CreditError, match="nothing is left"):
        credit(books, number)
    assert books.ledger() == {}
    assert books.read(lambda c: credited_of(c, number)).nets == {"1": 1000 * CENT}
    books.prove()


def test_a_credit_is_paid_out_once_and_not_beyond_what_stands(books: Books) -> None:
    books.pay("20.00")
    for _ in range(2):
        assert books.do(refund_credit, "acc-1", Money(15_000_000, "EUR"), id="r-1") == "r-1"
    assert sum(books.open().values()) == -500
    with pytest.raises(ReceivablesError, match=r"6.00 EUR asked, 5.00 EUR stand"):
        books.do(refund_credit, "acc-1", Money(6_000_000, "EUR"), id="r-2")
    assert books.ledger()["cash"] == 500
    books.prove()


def write_off(books: Books, number: str) -> str:
    return books.do(ask_write_off, number, reason="insolvent", by="eve")


def approve(books: Books, id: str, by: str = "adam") -> int:
    return books.do(approve_write_off, id, by=by)


def test_a_write_off_needs_a_reason_and_another_person(books: Books) -> None:
    number = books.invoice("10.00")
    with pytest.raises(ReceivablesError, match="a reason"):
        books.do(ask_write_off, number, reason=" ", by="eve")
    id = write_off(books, number)
    assert write_off(books, number) == id
    with pytest.raises(ReceivablesError, match="another person"):
        approve(books, id, "eve")
    assert books.open() == {number: 1190}
    assert [approve(books, id), approve(books, id)] == [1190 * CENT] * 2
    assert books.open() == {}
    assert books.ledger()["bad_debt"] == 1000
    with pytest.raises(ReceivablesError, match="nothing is owed"):
        write_off(books, number)
    books.prove()


def test_a_refused_write_off_leaves_the_debt(books: Books) -> None:
    number = books.invoice("10.00")
    id = write_off(books, number)
    books.do(refuse_write_off, id, by="adam")
    with pytest.raises(ReceivablesError, match="refused already, by adam"):
        approve(books, id)
    assert books.open() == {number: 1190}


@pytest.mark.parametrize("named", [True, False])
def test_a_payment_after_a_write_off_takes_it_back_as_far_as_it_goes(books: Books, named: bool) -> None:
    number = books.invoice("10.00")
    approve(books, write_off(books, number))
    books.pay("5.00", *([number] if named else []), id="late")
    assert books.ledger()["bad_debt"] == 580
    assert books.open() == {}
    books.pay("10.00", id="later")
    assert "bad_debt" not in books.ledger()
    assert sum(books.open().values()) == -310
    assert [row.recovered for row in books.read(find_write_offs)] == [1190 * CENT]
    books.prove()


def test_a_named_written_off_debt_comes_before_what_is_open(books: Books) -> None:
    gone = books.invoice("10.00")
    approve(books, write_off(books, gone))
    current = books.invoice("1.00")
    books.pay("11.90", gone)
    assert books.open() == {current: 119}
    assert "bad_debt" not in books.ledger()
    books.prove()


def test_a_hold_covers_an_invoice_or_a_line_until_it_is_released(books: Books) -> None:
    first, second = books.invoice("10.00", "5.00"), books.invoice("1.00")

    def place(invoice: str, line: str) -> str:
        return books.do(place_hold, invoice, line=line, reason="never used", by="eve")

    assert place(first, "2") == place(first, "2")
    place(second, "")
    found = books.read(lambda c: held(c, [first, second]))
    assert (found[first].demanded(1785 * CENT), found[second].demanded(119 * CENT)) == (1190 * CENT, 0)
    assert books.do(release_hold, first, line="2", by="eve")
    assert not books.do(release_hold, first, line="2")
    assert set(books.read(lambda c: held(c, [first, second]))) == {second}
    with pytest.raises(ReceivablesError, match="no line '9'"):
        place(first, "9")


def test_what_was_credited_of_a_disputed_line_is_not_held_beside_it() -> None:
    books = Books()
    number = books.invoice("10.00", "5.00")
    books.do(place_hold, number, line="2", reason="never used", by="eve")
    credit(books, number, {"2": 200 * CENT})
    assert books.open() == {number: 1547}
    assert books.read(lambda c: held(c, [number]))[number].demanded(1547 * CENT) == 1190 * CENT
    credit(books, number, {"2": None})
    assert books.read(lambda c: held(c, [number]))[number].demanded(1190 * CENT) == 1190 * CENT


def test_what_a_return_owes_again_of_a_write_off_is_paid_by_its_invoices_number() -> None:
    books = Books()
    gone, current = books.invoice("10.00"), books.invoice("1.00")
    approve(books, write_off(books, gone))
    books.pay("4.00", gone, id="late")
    books.do(return_payment, "late", reason="MD06")
    books.pay("10.00", gone, id="later")
    assert books.open() == {current: 119}
    credit(books, gone)
    assert books.open() == {"G-2026-000001": -881}
    assert "bad_debt" not in books.ledger()
    books.prove()


def test_debts_are_found_by_the_numbers_in_a_text(books: Books) -> None:
    first, second = books.invoice("10.00"), books.invoice("10.00", account="acc-2")
    books.open()

    def found(text: str) -> list[str]:
        return [row.number for row in books.read(lambda c: named_in(c, books.settings, text))]

    assert found("Rechnung R 2026 000002, R-2026-000001") == [second, first]
    assert found("RF17R2026000001") == [first]
    assert found("R-2026-000003 und 2026") == []


@pytest.mark.parametrize(
    ("alteration", "where"),
    [
        ("UPDATE credit_note SET total = total + 1", "credit note G-2026-000001"),
        ("UPDATE credit_note SET number_in_series = 2", "series G-2026"),
        ("UPDATE credit_note SET total = 9999999999", "invoice R-2026-000001"),
        ("UPDATE receivable_item SET open = open + 1 WHERE kind = 'invoice'", "open item R-2026-000001"),
        ("UPDATE receivable_item SET open = open + 1 WHERE kind = 'invoice'", "account acc-1"),
        ("DELETE FROM item_allocation", "open item R-2026-000001"),
    ],
)
def test_what_is_altered_is_found(books: Books, alteration: str, where: str) -> None:
    credit(books, books.invoice("10.00"), {"1": 100 * CENT})
    books.prove()
    with writing(books.engine).begin() as connection:
        connection.exec_driver_sql(alteration)
    assert where in {finding.where for finding in books.read(verify_receivables)}


MOVES = st.lists(
    st.tuples(
        st.sampled_from(
            ["invoice", "pay", "pay one", "credit", "credit all", "return", "write off", "suspense", "refund"]
        ),
        st.integers(1, 400),
        st.integers(0, 5),
    ),
    max_size=14,
)


@hypothesis_settings(max_examples=25, deadline=None)
@given(MOVES)
def test_whatever_happens_the_items_are_the_ledgers_receivable(moves: list[tuple[str, int, int]]) -> None:
    books, payments, invoices = Books(), [], []
    for place, (move, cents, which) in enumerate(moves):
        books.now += timedelta(hours=1)
        amount, number = f"{cents / 100:.2f}", invoices[which % len(invoices)] if invoices else None
        try:
            if move == "invoice" or number is None:
                invoices.append(books.invoice(f"{amount}{which}", (amount, 700)))
            elif move.startswith("pay"):
                payments.append(books.pay(amount, *([number] if move == "pay one" else []), id=f"p{place}").payment)
            elif move == "credit":
                credit(books, number, {"1": cents * CENT})
            elif move == "credit all":
                credit(books, number)
            elif move == "return" and payments:
                books.do(return_payment, payments[which % len(payments)], reason="x")
            elif move == "write off":
                approve(books, write_off(books, number))
            elif move == "suspense":
                books.pay(amount, account=None, id=f"s{place}", reason="x")
                books.do(assign_payment, f"s{place}", "acc-1")
            elif move == "refund":
                books.do(refund_credit, "acc-1", Money(cents * CENT, "EUR"), id=f"f{place}")
        except (ReceivablesError, CreditError):
            continue
        finally:
            books.prove()
    books.open()
    books.prove()
    left = sum(row.open for row in books.read(lambda c: open_items(c, "acc-1", "EUR")))
    assert left // CENT == books.ledger("acc-1").get("receivable", 0)
