"""Direct debits and reminders: nobody is asked twice, nor for what is disputed."""

from __future__ import annotations

from datetime import date, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from receivable_samples import DAY, Books
from sqlalchemy import update
from statement_maker import detail, entry, statement

from operator_server.mail import TemplateError
from operator_server.outlets import NotSent
from operator_server.receivables.books import ReceivablesError
from operator_server.receivables.collecting import (
    NewMandate,
    add_mandate,
    cancel_collection,
    collect,
    find_mandates,
    revoke_mandate,
)
from operator_server.receivables.disputes import place_hold, release_hold
from operator_server.receivables.letters import check_reminder_templates
from operator_server.receivables.reminders import Reminded, find_reminders, run_reminders
from operator_server.receivables.statements import import_statements
from operator_server.store.engine import writing
from operator_server.store.parties import Account
from operator_server.store.rows import table

IBAN = "DE89 3704 0044 0532 0130 00"
ON = date(2026, 11, 30)


@pytest.fixture
def bank() -> Books:
    books = Books(return_fee="3.00")
    operator = books.settings.operator.model_copy(update={"bic": "BYLADEM1001"})
    books.settings = books.settings.model_copy(update={"operator": operator})
    mandate(books, "M-1")
    return books


def mandate(books: Books, id: str, account: str = "acc-1", iban: str = IBAN, **more: Any) -> None:
    books.do(add_mandate, NewMandate(id, account, iban, date(2026, 10, 1), **more))


def test_a_file_collects_what_is_due_once(bank: Books) -> None:
    first, second = bank.invoice("10.00"), bank.invoice("5.00")
    bank.invoice("1.00", due=60)
    bank.invoice("1.00", account="acc-2")
    made = bank.do(collect, ON)
    assert (made.id, made.numbers, made.total) == ("DD20261130-000001", (first, second), 17_850_000)
    document = etree.fromstring(made.document)
    names = {"d": "urn:iso:std:iso:20022:tech:xsd:pain.008.001.02"}
    text = lambda path: [each.text for each in document.iterfind(f".//d:{path}", names)]  # noqa: E731
    assert text("GrpHdr/d:MsgId") == ["DD20261130-000001"]
    assert text("GrpHdr/d:CtrlSum") == ["17.85"]
    assert text("SeqTp") == ["FRST", "RCUR"]
    assert text("InstdAmt") == ["11.90", "5.95"]
    assert text("MndtId") == ["M-1", "M-1"]
    assert text("DbtrAcct/d:Id/d:IBAN") == ["DE89370400440532013000"] * 2
    assert text("EndToEndId") == ["DD20261130-000001-000001", "DD20261130-000001-000002"]
    assert bank.do(collect, ON).id is None


def test_what_was_credited_in_one_sum_settles_every_debt_of_the_part(bank: Books) -> None:
    bank.invoice("10.00")
    bank.invoice("5.00")
    bank.do(collect, ON)
    parts = [
        entry(amount, detail(refs=""), ref=ref, batch=f"DD20261130-000001-{part}")
        for amount, part, ref in (("11.90", "FRST", "B-1"), ("5.95", "RCUR", "B-2"))
    ]
    result = bank.do(import_statements, statement(*parts))
    assert (result.matched, result.suspense, bank.open()) == (2, [], {})
    bank.prove()


def test_a_direct_debit_that_comes_back_is_owed_again_with_the_fee_and_may_be_collected_again(bank: Books) -> None:
    number = bank.invoice("10.00")
    bank.do(collect, ON)
    refs = "<EndToEndId>DD20261130-000001-000001</EndToEndId>"
    bank.do(import_statements, statement(entry("11.90", detail(refs=refs))))
    assert bank.open() == {}
    back = entry("11.90", detail(refs=refs, returned="MD06", debit=True), debit=True)
    bank.do(import_statements, statement(back, name="S-2"))
    assert bank.open() == {number: 1190, "F-2026-000001": 300}
    bank.now += 30 * DAY
    again = bank.do(collect, date(2026, 12, 20))
    assert set(again.numbers) == {number, "F-2026-000001"}
    assert b"<SeqTp>FRST" not in again.document
    bank.prove()


def test_what_is_disputed_or_in_another_currency_is_not_collected(bank: Books) -> None:
    whole, part = bank.invoice("10.00"), bank.invoice("10.00", "5.00")
    bank.do(place_hold, whole, reason="x")
    bank.do(place_hold, part, line="1", reason="x")
    made = bank.do(collect, ON)
    assert (made.numbers, made.total) == ((part,), 5_950_000)
    bank.do(release_hold, whole)
    assert bank.do(collect, ON).numbers == (whole,)


def test_a_file_that_was_not_handed_in_is_cancelled_and_collected_anew(bank: Books) -> None:
    number = bank.invoice("10.00")
    made = bank.do(collect, ON)
    assert bank.do(cancel_collection, made.id) == 1
    assert bank.do(collect, ON).numbers == (number,)


@pytest.mark.parametrize(
    ("new", "told"),
    [
        (NewMandate("M-2", "acc-1", "DE89370400440532013001", ON), "IBAN 'DE89370400440532013001'"),
        (NewMandate("M-2", "acc-1", IBAN, date(2026, 10, 1), bic="NOBIC"), "BIC 'NOBIC'"),
        (NewMandate("M-2", "acc-1", IBAN, date(2027, 1, 1)), "has not come yet"),
        (NewMandate("M-2", "acc-9", IBAN, date(2026, 10, 1)), "there is none"),
        (NewMandate("M 2", "acc-1", IBAN, date(2026, 10, 1)), "1 to 64 of"),
        (NewMandate("M-1", "acc-2", IBAN, date(2026, 10, 1)), "of other content"),
    ],
)
def test_a_mandate_that_cannot_be_is_refused(bank: Books, new: NewMandate, told: str) -> None:
    with pytest.raises(ReceivablesError, match=told):
        bank.do(add_mandate, new)


def test_a_new_mandate_takes_the_place_of_the_old_one(bank: Books) -> None:
    mandate(bank, "M-2", iban="DE02120300000000202051")
    bank.now += DAY
    states = {row.id: row.state for row in bank.read(find_mandates)}
    assert states == {"M-1": "revoked", "M-2": "active"}
    assert bank.do(revoke_mandate, "M-2")
    bank.invoice("10.00")
    assert bank.do(collect, ON).id is None


def test_collecting_needs_a_creditor_and_a_day_ahead(bank: Books, books: Books) -> None:
    with pytest.raises(ReceivablesError, match="the first day is 2026-11-03"):
        bank.do(collect, date(2026, 11, 2))
    with pytest.raises(ReceivablesError, match="need receivables"):
        books.do(collect, ON)


class Letters:
    """Keeps what is sent; refuses while ``down``."""

    def __init__(self) -> None:
        self.sent: list[EmailMessage] = []
        self.down = False

    def send(self, name: str, message: EmailMessage) -> None:
        if self.down:
            raise NotSent("no way")
        self.sent.append(message)


LEVELS = [
    {"days": 3},
    {"days": 14, "fee": "2.50", "text": {"de": "zweite Erinnerung:", "en": "second reminder:"}},
    {"days": 7, "fee": "5.00"},
]


@pytest.fixture
def dunning() -> Books:
    books = Books(reminders=LEVELS)
    with writing(books.engine).begin() as connection:
        connection.execute(update(table(Account)).values(email="customer@example.org"))
        connection.execute(update(table(Account)).where(table(Account).c.id == "acc-2").values(language="de"))
    return books


def run(books: Books, letters: Letters, days: float = 0) -> Reminded:
    books.now += timedelta(days=days)
    return run_reminders(books.engine, books.settings, books.now, letters)


def text_of(message: EmailMessage) -> str:
    return str(message.get_content())


def test_levels_rise_with_time_and_each_letter_is_sent_once(dunning: Books) -> None:
    number, letters = dunning.invoice("10.00"), Letters()
    assert run(dunning, letters, 16).letters == []
    assert (run(dunning, letters, 1).levels, run(dunning, letters).levels) == ({1: 1}, {})
    assert run(dunning, letters, 13).levels == {}
    second = run(dunning, letters, 1)
    assert (second.levels, second.fees) == ({2: 1}, 1)
    assert run(dunning, letters, 7).levels == {3: 1}
    assert run(dunning, letters, 100).levels == {}
    assert [len(letters.sent), run(dunning, letters).sent] == [3, 0]
    assert "R-2026-000001, due November 16, 2026: €11.90" in text_of(letters.sent[0])
    assert "second reminder:" in text_of(letters.sent[1])
    assert "Fee for this reminder (F-2026-000001): €2.50" in text_of(letters.sent[1])
    assert "€16.90" in text_of(letters.sent[2])
    assert dunning.open() == {number: 1190, "F-2026-000001": 250, "F-2026-000002": 500}
    dunning.prove()


def test_a_letter_is_in_the_customers_language_and_number_format(dunning: Books) -> None:
    letters = Letters()
    dunning.invoice("1000.00", account="acc-2")
    run(dunning, letters, 17)
    [message] = letters.sent
    assert message["Subject"] == "1. Zahlungserinnerung von Operator, Kundenkonto acc-2"
    assert "fällig am 16. November 2026: 1.190,00" in text_of(message)
    assert "RF17 R202" not in text_of(message)
    assert "RF17R2026000001" in text_of(message)


def test_nobody_is_reminded_of_what_is_paid_disputed_or_being_collected(dunning: Books) -> None:
    paid, disputed, part = dunning.invoice("10.00"), dunning.invoice("20.00"), dunning.invoice("30.00", "1.00")
    dunning.pay("11.90", paid)
    dunning.do(place_hold, disputed, reason="x")
    dunning.do(place_hold, part, line="1", reason="x")
    letters = Letters()
    assert run(dunning, letters, 17).levels == {1: 1}
    assert "To pay by November 26, 2026: €1.19" in text_of(letters.sent[0])
    dunning.do(release_hold, disputed)
    assert run(dunning, letters).levels == {1: 1}
    assert "€23.80" in text_of(letters.sent[1])


def test_a_letter_that_could_not_be_sent_goes_out_with_the_next_run(dunning: Books) -> None:
    dunning.invoice("10.00")
    letters = Letters()
    letters.down = True
    assert (run(dunning, letters, 17).sent, run(dunning, letters).waiting) == (0, 1)
    letters.down = False
    assert (run(dunning, letters).sent, run(dunning, letters).sent) == (1, 0)
    assert [row.state for row in dunning.read(find_reminders)] == ["sent"]


def test_a_customer_without_an_address_is_named(books: Books) -> None:
    books.invoice("10.00")
    assert run(books, Letters(), 17).no_email == 1


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("reminder.en.txt", "Hello", "must be a line 'Subject"),
        ("reminder.en.txt", "Subject: x\n\nPay", "lacks ${items}"),
        ("reminder-2.en.txt", "Subject: x\n\n${items} ${nothing}", "${nothing} is not known"),
        ("reminder-x.txt", "Subject: x\n\n${items}", "is never used"),
    ],
)
def test_a_template_that_cannot_be_used_is_named(
    dunning: Books, tmp_path: Path, name: str, content: str, told: str
) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / name).write_text(content)
    with pytest.raises(TemplateError) as error:
        check_reminder_templates(dunning.settings.model_copy(update={"config_dir": tmp_path}))
    assert told in str(error.value)
