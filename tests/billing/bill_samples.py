"""Customers with charges of any instant, amount and tax, to be billed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from counting_samples import AGREED, SETTINGS, House, add_customer, add_installation, add_terminal
from sqlalchemy import Connection, select, update

from charging.invoices.model import Invoice
from charging.ledger.book import apply
from charging.ledger.operations import Applied
from charging.ledger.operations import Charge as LedgerCharge
from charging.ledger.verify import verify
from charging.periods import period_of
from operator_server.billing.invoices import each_invoice
from operator_server.billing.open_period import effective_at
from operator_server.billing.proof import verify_billing
from operator_server.store.accounting import Charge
from operator_server.store.parties import Account
from operator_server.store.rows import add, table
from signalling.clock import to_micros
from signalling.ids import new_id

CENT = 10_000
EURO = 1_000_000


def house(*accounts: str) -> House:
    """An operator with these customers, each of whom has bought one item by agreement."""
    made = House()
    with made.writing() as connection:
        add_terminal(connection)
        for account in accounts or ("acc-1",):
            customer(connection, made, account)
    return made


def customer(connection: Connection, made: House, account: str, **billing: Any) -> None:
    add_customer(connection, account)
    add_installation(connection, made.version, f"inst-{account}", account=account, kind="one_off", amount=EURO)
    set_account(connection, account, **billing)


def set_account(connection: Connection, account: str, **billing: Any) -> None:
    if billing:
        connection.execute(update(table(Account)).where(table(Account).c.id == account).values(**billing))


def charge(
    made: House, at: datetime, net: int = EURO, account: str = "acc-1", tax: tuple[str, int] = ("S", 1900), **more: Any
) -> str:
    """Charge something at an instant."""
    with made.writing() as connection:
        identifier = new_id(to_micros(max(at, AGREED)))
        operation = LedgerCharge(
            source="test", op_id=identifier, owner=account, amount=net, currency="EUR", effective_at=at, checked=False
        )
        [outcome] = apply(connection, [operation], to_micros(max(at, AGREED)))
        assert isinstance(outcome, Applied)
        values = {
            "id": identifier, "kind": "delivery", "agreement_id": f"agr-inst-{account}", "account_id": account,
            "subscriber_id": account, "period": period_of(at, SETTINGS.operator.zone),
            "effective_at": effective_at(connection, at), "recorded_at": at, "net": net, "currency": "EUR",
            "tax_category": tax[0], "tax_rate": tax[1], "transfer_id": outcome.transfer_id,
        }  # fmt: skip
        add(connection, Charge(**(values | more)))
    return identifier


def invoices(made: House) -> list[Invoice]:
    with made.engine.connect() as connection:
        return list(each_invoice(connection))


def charged_on(made: House) -> dict[str, str | None]:
    """Charge id to the id of its invoice or draft."""
    with made.engine.connect() as connection:
        rows = connection.execute(select(table(Charge).c.id, table(Charge).c.invoice_id)).all()
    return {row.id: row.invoice_id for row in rows}


def proven(made: House) -> None:
    """The books hold; of the proof of charges, deliveries that these tests repeat are no concern."""
    with made.engine.connect() as connection:
        assert verify(connection) == []
        assert [finding for finding in verify_billing(connection) if "delivery is charged" not in finding.what] == []
