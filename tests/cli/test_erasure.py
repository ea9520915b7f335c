"""What names a person is overwritten on demand; what invoices rest on stays, and nothing goes while money is owed."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
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
from operator_server.erasure import erase_account
from operator_server.receivables.proof import verify_receivables
from operator_server.store.accounting import InvoiceRow
from operator_server.store.dispatch import BalanceMail, InvoiceDispatch
from operator_server.store.parties import Account, Binding, Subscriber, Terminal
from operator_server.store.people import AnsweredRequest, AuditEntry
from operator_server.store.rows import add, table
from signalling.clock import SharedClock
from signalling.messages import Reject

if TYPE_CHECKING:
    from conftest import Tollgate

NUMBER = "R-2026-000001"
PERSON = ("Erika Muster", "Weg 1", "erika@muster.example", "I dislike it, says Erika")


@pytest.fixture
def customer(house: House) -> House:
    """A-1, a person with an address, bought something in November and has its invoice."""

    def known(connection) -> None:
        accounts = table(Account)
        values = {"name": PERSON[0], "address": [PERSON[1]], "email": PERSON[2]}
        connection.execute(update(accounts).where(accounts.c.id == "A-1").values(**values))
        connection.execute(update(table(Subscriber)).where(table(Subscriber).c.id == "A-1").values(name=PERSON[0]))

    house.change(known)
    user = house.user()
    user.say(Reject("notes", user.version("notes"), PERSON[3]))
    user.take("game", "buy")
    return house


@pytest.fixture
def erased(house: House, tollgate: Tollgate) -> Tollgate:
    """A-1 is erased; it never bought anything."""
    house.change(lambda c: erase_account(c, house.operator.settings, "A-1", house.clock.now(), "cli:test"))
    return tollgate


def billed(house: House) -> None:
    house.clock.advance(timedelta(days=40))
    SharedClock(house.folder / "clock").set(house.clock.now())
    run_bills(house.engine, house.operator.settings, "2026-11", now=house.clock.now())
    house.change(lambda c: ask(c, NUMBER, house.clock.now(), by="person:billing"))


def everything_but_invoices(house: House) -> str:
    kept = {"invoice", "credit_note"}
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
    tollgate("account", "change", "A-1", "--address", "Weg 2, wo Erika Muster wohnt")
    billed(customer)
    tollgate("payment", "add", "A-1", "8.32")
    for key, body in (("1", b'{"account": "A-1", "payer": "Erika Muster"}'), ("2", b'{"account": "A-11"}')):
        made = AnsweredRequest(
            actor="t", key=key, request_digest=bytes(32), status=201, body=body, answered_at=customer.clock.now()
        )
        customer.change(lambda c, made=made: add(c, made))
    [before] = customer.rows(InvoiceRow)
    assert all(each in everything_but_invoices(customer) for each in PERSON)
    done = json.loads(tollgate("account", "erase", "A-1", "--yes", "--json").stdout)
    assert (done["terminals"], done["invoices"]) == (["T-1", "T-2"], 1)
    assert done["trail"] > 0
    [answer] = customer.rows(AnsweredRequest)
    assert answer.key == "2"
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
        erasure, *before_it = entries(connection)
        assert (erasure.action, erasure.before, erasure.after["status"]) == (
            "account.erase", {"status": "active"}, "erased",
        )  # fmt: skip
        assert len(erasure.after["overwritten"]) == done["trail"]
        assert {each.action for each in before_it} >= {"account.change", "payment.take"}
        assert verify_audit(connection)[2] == []
    with pytest.raises(Refused):
        customer.user().agree("hotline", "buy")
    assert "erased already" in tollgate("account", "erase", "A-1", "--yes", code=1).stderr
    assert "open a new account" in tollgate("account", "unbar", "A-1", "--reason", "x", code=1).stderr


def test_only_what_names_the_person_goes_from_the_trail_and_a_change_of_it_by_hand_still_shows(
    customer: House, tollgate: Tollgate
) -> None:
    tollgate("account", "change", "A-2", "--name", "Max Muster", "--email", "max@muster.example")
    tollgate("account", "adjust", "A-2", "1.00", "--reason", "as erika@muster.example asked")
    tollgate("account", "bar", "A-1", "--reason", "Erika is in hospital")
    billed(customer)
    tollgate("invoice", "send", NUMBER, "--to", "erika@muster.example")
    tollgate("payment", "add", "A-1", "8.32")
    with customer.engine.connect() as connection:
        count, digest, _ = verify_audit(connection)
    tollgate("account", "erase", "A-1", "--yes")
    with customer.engine.connect() as connection:
        assert next(row.digest for row in entries(connection) if row.id == count) == digest
        told = {row.action: (row.reference, row.after) for row in entries(connection, most=1000) if row.id <= count}
    assert told["account.change"] == ("account/A-2", {"name": "Max Muster", "email": "max@muster.example"})
    assert told["balance.adjust"][1]["reason"] == "as erased asked"
    assert told["account.bar"] == ("account/A-1", {"barred": "erased", "reason": "erased", "status": "barred"})
    assert told["invoice.send"][1]["to"] == "erased"
    entry = table(AuditEntry)
    customer.change(lambda c: c.execute(update(entry).where(entry.c.action == "account.bar").values(actor="somebody")))
    assert "1 fault(s)" in tollgate("audit", "verify", code=1).stderr


@pytest.mark.parametrize(
    "command",
    [
        ["account", "change", "A-1", "--name", "Erika Muster"],
        ["account", "add-subscriber", "A-1", "A-1-2"],
        ["account", "groups", "A-1", "staff"],
        ["account", "top-up", "A-1", "5.00"],
        ["account", "limit", "A-1", "5.00"],
        ["account", "bucket", "add", "A-1", "second", "60"],
        ["account", "threshold", "add", "A-1", "--below", "1.00"],
        ["account", "share", "add", "A-1", "A-2"],
        ["account", "unbar", "A-1"],
        ["account", "erase", "A-1", "--yes"],
        ["agreement", "limit", "A-1", "--amount", "5.00"],
        ["bill", "cycle", "A-1", "--day", "3"],
        ["bill", "commit", "A-1", "5.00"],
        ["card", "add", "S", "--iccid", "8949000000000000018", "--msisdn", "+491701234567", "--subscriber", "A-1"],
        ["mandate", "add", "M", "--account", "A-1", "--iban", "DE89370400440532013000", "--signed-on", "2026-10-01"],
        ["terminal", "bind", "T-3", "A-1"],
        ["terminal", "enroll", "T-9", "--public-key", "ab" * 32, "--subscriber", "A-1"],
    ],
    ids=lambda command: " ".join(command[:3]),
)
def test_nothing_comes_back_to_an_erased_account(erased: Tollgate, command: list[str]) -> None:
    assert "erased" in erased(*command, code=1).stderr


def test_an_import_refuses_the_row_of_an_erased_account(erased: Tollgate, tmp_path: Path) -> None:
    rows = tmp_path / "accounts.csv"
    rows.write_text("id,name\nA-1,Erika Muster\nA-3,Max Muster\n")
    told = erased("account", "import", rows, code=1).output
    assert "line 2: account A-1: its person's data is erased" in told.replace("\n", " ")
    assert "1 opened, 0 known already, 1 refused." in told


def test_a_mail_about_a_balance_that_waits_is_not_sent_and_tells_of_nobody(house: House) -> None:
    now = house.clock.now()
    house.change(
        lambda c: add(
            c,
            BalanceMail(
                id="m", account_id="A-1", threshold="low", recipient=PERSON[2], language="en", text="Erika's balance",
                created_at=now, due_at=now,
            ),
        )
    )  # fmt: skip
    house.change(lambda c: erase_account(c, house.operator.settings, "A-1", now, "cli:test"))
    [row] = house.rows(BalanceMail)
    assert (row.recipient, row.text, row.state) == ("", "", "failed")
