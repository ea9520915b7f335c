"""What names a person is overwritten on demand; what invoices rest on stays, and nothing goes while money is owed."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from operator_samples import House
from sqlalchemy import update

from charging.ledger.verify import verify
from operator_server.audit import entries, verify_audit
from operator_server.billing.bill_run import run_bills
from operator_server.billing.dispatch import ask
from operator_server.billing.proof import verify_billing
from operator_server.desk import Refused
from operator_server.receivables.proof import verify_receivables
from operator_server.store.accounting import InvoiceRow
from operator_server.store.dispatch import InvoiceDispatch
from operator_server.store.parties import Account, Binding, Subscriber, Terminal
from operator_server.store.rows import table
from signalling.clock import SharedClock
from signalling.messages import Reject

if TYPE_CHECKING:
    from conftest import Tollgate

NUMBER = "R-2026-000001"
PERSON = ("Erika Muster", "Weg 1", "erika@muster.example", "I dislike it, says Erika")


@pytest.fixture
def customer(house: House) -> House:
    """A-1, a person with an address, bought something in November and has its invoice."""

    def known(connection) -> None:  # type: ignore[no-untyped-def]  # one statement
        accounts = table(Account)
        values = {"name": PERSON[0], "address": [PERSON[1]], "email": PERSON[2]}
        connection.execute(update(accounts).where(accounts.c.id == "A-1").values(**values))
        connection.execute(update(table(Subscriber)).where(table(Subscriber).c.id == "A-1").values(name=PERSON[0]))

    house.change(known)
    user = house.user()
    user.say(Reject("notes", user.version("notes"), PERSON[3]))
    user.take("game", "buy")
    return house


def billed(house: House) -> None:
    house.clock.advance(timedelta(days=40))
    SharedClock(house.folder / "clock").set(house.clock.now())
    run_bills(house.engine, house.operator.settings, "2026-11", now=house.clock.now())
    house.change(lambda c: ask(c, NUMBER, house.clock.now(), by="person:billing"))


def everything_but_invoices(house: House) -> str:
    kept = {"invoice", "credit_note", "audit_entry"}
    with house.engine.connect() as connection:
        names = [
            name
            for (name,) in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")
            if name not in kept
        ]
        return "\n".join(str(row) for name in names for row in connection.exec_driver_sql(f"SELECT * FROM {name}"))


def test_nothing_is_erased_while_money_is_owed(customer: House, tollgate: Tollgate) -> None:
    before = everything_but_invoices(customer)
    assert "is not billed yet; run the bill" in tollgate("account", "erase", "A-1", "--yes", code=1).stderr
    assert everything_but_invoices(customer) == before
    billed(customer)
    assert "of invoices is open" in tollgate("account", "erase", "A-1", "--yes", code=1).stderr
    tollgate("payment", "add", "A-1", "8.32")
    tollgate("account", "top-up", "A-1", "5.00", "--id", "v-1")
    assert "paid ahead is left" in tollgate("account", "erase", "A-1", "--yes", code=1).stderr


def test_what_names_the_person_goes_and_the_invoice_stays(customer: House, tollgate: Tollgate) -> None:
    billed(customer)
    tollgate("payment", "add", "A-1", "8.32")
    [before] = customer.rows(InvoiceRow)
    assert all(each in everything_but_invoices(customer) for each in PERSON)
    done = json.loads(tollgate("account", "erase", "A-1", "--yes", "--json").stdout)
    assert (done["terminals"], done["invoices"]) == (["T-1", "T-2"], 1)
    left = everything_but_invoices(customer)
    assert [each for each in PERSON if each in left] == []
    [after] = customer.rows(InvoiceRow)
    assert after.document == before.document
    assert PERSON[0].encode() in after.document
    assert [row.status for row in customer.rows(Terminal)] == ["revoked", "revoked", "active"]
    assert all(row.valid_to for row in customer.rows(Binding, subscriber_id="A-1"))
    [dispatch] = customer.rows(InvoiceDispatch)
    assert (dispatch.recipient, dispatch.state) == ("", "failed")
    with customer.engine.connect() as connection:
        assert [*verify(connection), *verify_billing(connection), *verify_receivables(connection)] == []
        assert next(iter(entries(connection))).action == "account.erase"
        assert verify_audit(connection)[2] == []
    with pytest.raises(Refused):
        customer.user().agree("hotline", "buy")
    assert "erased already" in tollgate("account", "erase", "A-1", "--yes", code=1).stderr
    assert "open a new account" in tollgate("account", "unbar", "A-1", "--reason", "x", code=1).stderr
