"""The same desks on PostgreSQL: payments, statements, direct debits, reminders, credit notes, the hand-off."""

from __future__ import annotations

import sys
from datetime import date, timedelta
from pathlib import Path

from receivable_samples import Books
from sqlalchemy import update
from statement_maker import detail, entry, statement

sys.path.insert(0, str(Path(__file__).parents[1]))

from postgres import postgres_server, postgres_url

from charging.periods import period
from operator_server.receivables.collecting import NewMandate, add_mandate, collect
from operator_server.receivables.credit_notes import CreditRequest, make_credit_note
from operator_server.receivables.daily import DailyDesk
from operator_server.receivables.disputes import place_hold
from operator_server.receivables.finance import handover, journal
from operator_server.receivables.payments import refund_credit, return_payment
from operator_server.receivables.reminders import run_reminders
from operator_server.receivables.statements import import_statements
from operator_server.receivables.write_offs import approve_write_off, ask_write_off
from operator_server.store.accounting import Charge
from operator_server.store.engine import open_engine
from operator_server.store.migrate import upgrade
from operator_server.store.rows import table
from signalling.money import Money

__all__ = ["postgres_server", "postgres_url"]


def test_everything_is_as_on_sqlite(postgres_url: str) -> None:
    upgrade(postgres_url)
    engine = open_engine(postgres_url)
    books = Books(engine)
    operator = books.settings.operator.model_copy(update={"bic": "BYLADEM1001"})
    books.settings = books.settings.model_copy(update={"operator": operator})
    first, second, third = books.invoice("10.00", ("5.00", 700)), books.invoice("20.00"), books.invoice("30.00")
    charge = table(Charge)
    with engine.begin() as connection:
        ahead = books.now + timedelta(days=60)
        connection.execute(update(charge).values(service_from=books.now, service_to=ahead))
    books.pay("11.90", first, id="p-1")
    assert books.do(return_payment, "p-1", reason="x") == [first]
    books.do(make_credit_note, CreditRequest(first, {"2": None}, op_id="t-1"))
    files = [statement(entry("23.80", detail(ustrd=second)), entry("1.00", detail(ustrd="?")))] * 2
    assert [books.do(import_statements, file).matched for file in files] == [1, 0]
    books.do(add_mandate, NewMandate("M-1", "acc-1", "DE89370400440532013000", date(2026, 10, 1)))
    books.do(place_hold, third, reason="x")
    assert books.do(collect, date(2026, 11, 30)).numbers == (first,)
    books.do(import_statements, statement(entry("11.90", detail(), batch="DD20261130-000001-FRST"), name="S-2"))
    assert books.open() == {third: 3570}
    books.now += timedelta(days=20)
    books.do(approve_write_off, books.do(ask_write_off, third, reason="x", by="eve"), by="adam")
    other = books.invoice("1.00", account="acc-2")
    books.now += timedelta(days=20)
    assert run_reminders(engine, books.settings, books.now).no_email == 1
    books.pay("10.00", other, account="acc-2")
    books.do(refund_credit, "acc-2", Money(8_810_000, "EUR"), id="r-1")
    books.pay("5.95", third, id="late")
    assert DailyDesk(engine, books.settings).work(books.now) == [
        "deferred revenue of 2026-11 is posted, 4 agreements moved"
    ]
    ledger = books.ledger()
    assert (ledger["bad_debt"], ledger["deferred"]) == (2500, -3404)
    books.prove()
    for name in ("2026-11", "2026-12"):
        span = period(name, books.settings.operator.zone)
        assert books.read(lambda c, span=span: handover(c, books.settings, span, books.now)).faults == []
        rows = books.read(lambda c, span=span: list(journal(c, books.settings, span, books.now)))
        assert rows
        assert sum(row.amount for row in rows) == 0
    engine.dispose()
