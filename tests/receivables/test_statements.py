"""Bank statements: matched by reference, taken once, refused whole."""

from __future__ import annotations

from typing import Any

import pytest
from receivable_samples import Books
from statement_maker import detail, entry, simple, statement

from charging.receivables.camt import StatementError, read_statements
from charging.receivables.references import creditor_reference
from operator_server.receivables import statements
from operator_server.receivables.payments import find_payments
from operator_server.receivables.statements import Imported, import_statements

CENT = 10_000


def take(books: Books, *files: bytes) -> list[Imported]:
    return [books.do(import_statements, content) for content in files]


@pytest.mark.parametrize("version", ["02", "04", "08", "10", "13"])
def test_payments_are_matched_by_reference_in_every_version(books: Books, version: str) -> None:
    first, second, third = books.invoice("10.00"), books.invoice("20.00"), books.invoice("30.00", account="acc-2")
    content = statement(
        simple("11.90", f"Rechnung {first.replace('-', ' ')}", version=version),
        entry("23.80", detail(strd=creditor_reference(second), version=version, payer="Max"), version=version),
        entry("35.70", detail(refs=f"<EndToEndId>{third}</EndToEndId>", version=version), version=version),
        version=version,
        balances=("100.00", "171.40"),
    )
    [result] = take(books, content)
    assert (result.matched, result.suspense, dict(result.amounts)) == (3, [], {"EUR": 7140 * CENT})
    assert books.open() == books.open("acc-2") == {}
    assert {row.matched_by for row in books.read(find_payments)} == {"text", "reference"}
    assert {row.payer for row in books.read(find_payments)} == {"Erika", "Max", ""}
    books.prove()


def test_a_second_import_changes_nothing_nor_does_another_statement_with_the_same_entries(books: Books) -> None:
    number = books.invoice("10.00")
    bank = entry("11.90", detail(ustrd=number), ref="BANK-1")
    content = statement(bank, entry("5.00", detail(ustrd="?"), ref="BANK-2"))
    take(books, content)
    before = books.items(), books.ledger()
    [again, other] = take(books, content, statement(bank, name="S-2"))
    assert (again.statements, again.known, again.matched) == (0, 2, 0)
    assert (other.statements, other.known) == (1, 1)
    assert (books.items(), books.ledger()) == before


def test_two_entries_that_look_the_same_are_two_payments(books: Books) -> None:
    books.invoice("10.00")
    take(books, statement(simple("5.00", "R-2026-000001"), simple("5.00", "R-2026-000001")))
    assert books.open() == {"R-2026-000001": 190}


def test_a_batch_is_taken_by_its_details(books: Books) -> None:
    first, second = books.invoice("10.00"), books.invoice("20.00", account="acc-2")
    parts = detail("11.90", ustrd=first), detail("23.80", ustrd=second)
    [result] = take(books, statement(entry("35.70", *parts)))
    assert result.matched == 2
    assert books.open() == books.open("acc-2") == {}
    with pytest.raises(StatementError, match="do not sum"):
        take(books, statement(entry("35.71", *parts), name="S-2"))


def test_without_a_reference_the_payers_account_and_the_amount_decide(books: Books) -> None:
    first, second = books.invoice("10.00"), books.invoice("20.00")
    [result] = take(books, statement(simple("23.80", "Kunde acc-1, danke")))
    assert result.matched == 1
    assert books.open() == {first: 1190}
    [result] = take(books, statement(simple("11.90", "wie immer"), name="S-2"))
    assert result.matched == 1
    assert books.open() == {}
    [result] = take(books, statement(simple("11.90", "wie immer"), name="S-3"))
    assert result.suspense[0][1] == "it names no invoice, and no debt of account acc-1 is of this amount"
    assert second not in books.open()
    books.prove()


@pytest.mark.parametrize(
    ("payment", "why"),
    [
        (entry("11.90", detail(ustrd="danke")), "it names no invoice, and the payer is not known"),
        (simple("11.90", "R-2026-000001 R-2026-000002"), "it names debts of several accounts: R-2026-000001, R-2026-"),
        (entry("11.90", detail(ustrd="R-2026-000001"), currency="USD"), "it is in USD, R-2026-000001 in EUR"),
    ],
)
def test_what_cannot_be_matched_stands_in_suspense_with_the_reason(books: Books, payment: str, why: str) -> None:
    books.invoice("10.00")
    books.invoice("20.00", account="acc-2")
    [result] = take(books, statement(payment))
    assert result.suspense[0][1].startswith(why)
    [row] = books.read(lambda c: find_payments(c, state="suspense"))
    assert row.reason.startswith(why)
    assert books.open() == {"R-2026-000001": 1190}
    books.prove()


@pytest.mark.parametrize("mark", ["<RvslInd>true</RvslInd>", ""])
def test_a_payment_that_comes_back_opens_its_invoice(books: Books, mark: str) -> None:
    number = books.invoice("10.00")
    take(books, statement(entry("11.90", detail(ustrd=number, refs="<EndToEndId>E-1</EndToEndId>"))))
    back = detail(refs="<EndToEndId>E-1</EndToEndId>", returned="" if mark else "MD06", debit=True)
    content = statement(entry("11.90", back, debit=True, more=mark), name="S-2")
    [result, again] = take(books, content, content)
    assert (result.returned, again.returned, again.known) == (1, 0, 1)
    assert books.open() == {number: 1190}
    assert "cash" not in books.ledger()
    books.prove()


def test_a_return_that_belongs_to_no_payment_stands_in_suspense(books: Books) -> None:
    [result] = take(books, statement(entry("7.00", detail(ustrd="?", returned="AC04", debit=True), debit=True)))
    assert result.suspense[0][1] == "it came back (AC04), and no payment of ours is it"
    assert books.ledger() == {"cash": -700, "suspense": 700}


def test_money_that_the_operator_spent_and_what_is_only_announced_is_left_alone(books: Books) -> None:
    [result] = take(books, statement(entry("9.00", debit=True), entry("11.90", status="PDNG")))
    assert (len(result.ignored), result.matched, books.ledger()) == (1, 0, {})


BAD = {
    "not XML": (b"<Document", "line 1: not well-formed XML"),
    "another document": (b'<Document xmlns="urn:x"/>', "is no camt.053 statement"),
    "a document type": (statement(head='<!DOCTYPE Document [<!ENTITY a "b">]>'), "a document type is declared"),
    "external entity": (
        statement(simple("1.00", "&x;"), head='<!DOCTYPE Document [<!ENTITY x SYSTEM "file:///etc/passwd">]>'),
        "a document type is declared",
    ),
    "no amount": (statement(entry("1.00").replace('<Amt Ccy="EUR">1.00</Amt>', "")), "Ntry: Amt is missing"),
    "amount in words": (statement(entry("1,00")), "line 5: /Document/BkToCstmrStmt/Stmt/Ntry/Amt: '1,00' is not"),
    "half a cent": (statement(entry("1.005")), "cannot be paid in EUR"),
    "unknown currency": (statement(entry("1.00", currency="EUX")), "not a currency"),
    "no day": (statement(entry("1.00", day="soon")), "BookgDt = 'soon'"),
    "no side": (statement(entry("1.00").replace("CRDT", "LEFT")), "CRDT or DBIT is needed"),
    "cut off": (statement(simple("1.00", "x"), balances=("0.00", "2.00")), "the file is not complete"),
    "another account": (statement(iban="DE89370400440532013000"), "receivables.bank_accounts has DE0212"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_whole_with_the_place(books: Books, name: str) -> None:
    content, told = BAD[name]
    with pytest.raises(StatementError, match=told.replace("(", r"\(")):
        take(books, content)
    assert books.ledger() == {}


def test_the_good_entries_of_a_bad_file_are_not_taken(books: Books) -> None:
    number = books.invoice("10.00")
    with pytest.raises(StatementError, match=r"line 6: /Document/BkToCstmrStmt/Stmt/Ntry\[2\]/Amt"):
        take(books, statement(simple("11.90", number), entry("x")))
    assert books.open() == {number: 1190}


def test_a_file_beyond_the_limit_is_not_read() -> None:
    with pytest.raises(StatementError, match="at most 100 are read"):
        read_statements(statement(), 100)


def test_an_import_that_is_killed_half_way_takes_nothing_and_is_repeated(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = books.invoice("10.00"), books.invoice("20.00")
    content = statement(simple("11.90", first), simple("23.80", second))
    original, calls = statements.add_payment, []

    def killing(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(statements, "add_payment", killing)
        with pytest.raises(KeyboardInterrupt):
            take(books, content)
    assert books.open() == {first: 1190, second: 2380}
    books.prove()
    assert take(books, content)[0].matched == 2
    assert books.open() == {}
    books.prove()
