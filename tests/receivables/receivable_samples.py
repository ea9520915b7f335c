"""An operator with customers and invoices, and the desks of receivables on its books."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

import msgspec
from counting_samples import SETTINGS, add_customer, memory_engine
from sqlalchemy import Connection, Engine, select

from charging.invoices.model import Invoice, InvoiceLine, Party
from charging.invoices.totals import totals
from charging.ledger.book import apply, balances
from charging.ledger.operations import Applied, Leg, Post
from charging.ledger.operations import Charge as LedgerCharge
from charging.ledger.tables import OPERATOR, RECEIVABLE, ROUNDING, UNBILLED, tax_kind
from charging.ledger.verify import verify
from operator_server.billing.proof import verify_billing
from operator_server.receivables.books import open_items, take_in_invoices
from operator_server.receivables.payments import NewPayment, Taken, add_payment
from operator_server.receivables.proof import verify_receivables
from operator_server.settings import Settings
from operator_server.store.accounting import BillRun, Charge, InvoiceRow
from operator_server.store.engine import writing
from operator_server.store.receivables import ReceivableItem
from operator_server.store.rows import add, table
from signalling.clock import to_micros
from signalling.ids import new_id
from signalling.money import decimal_micros

START = datetime(2026, 11, 2, 9, tzinfo=UTC)
DAY = timedelta(days=1)
T = TypeVar("T")
Line = tuple[str, int]
"""Net amount and tax rate in basis points."""


def settings(**receivables: Any) -> Settings:
    made = Settings.model_validate(SETTINGS.model_dump() | {"receivables": receivables})
    return made.model_copy(update={"config_dir": SETTINGS.config_dir})


class Books:
    """Customers acc-1 and acc-2, who owe nothing yet."""

    def __init__(self, engine: Engine | None = None, **receivables: Any) -> None:
        self.engine = engine or memory_engine()
        self.settings = settings(creditor_id="DE98ZZZ09999999999", **receivables)
        self.now = START
        with writing(self.engine).begin() as connection:
            for account in ("acc-1", "acc-2"):
                add_customer(connection, account, "10000.00")

    def do(self, desk: Callable[..., T], *arguments: Any, **keys: Any) -> T:
        """Call a desk's function in a transaction, with the settings and the time where it wants them."""
        with writing(self.engine).begin() as connection:
            return desk(connection, self.settings, *arguments, self.now, **keys)

    def read(self, look: Callable[[Connection], T]) -> T:
        with self.engine.connect() as connection:
            return look(connection)

    def invoice(self, *lines: Line | str, account: str = "acc-1", currency: str = "EUR", due: int = 14) -> str:
        """An invoice over lines, as a bill run makes it; its number."""
        with writing(self.engine).begin() as connection:
            return add_invoice(connection, self.now, lines, account, currency, due)

    def pay(self, amount: str, *named: str, account: str | None = "acc-1", currency: str = "EUR", **more: Any) -> Taken:
        new = NewPayment(
            amount=decimal_micros(amount), currency=currency, booked_on=self.now.date(), account=account,
            named=named, **more,
        )  # fmt: skip
        return self.do(add_payment, new)

    def open(self, account: str = "acc-1", currency: str = "EUR") -> dict[str, int]:
        """What is left of each item, in cents, by number."""
        self.do(take_in_invoices)
        rows = self.read(lambda connection: open_items(connection, account, currency))
        return {row.number: row.open // 10_000 for row in rows}

    def ledger(self, owner: str = OPERATOR, currency: str = "EUR") -> dict[str, int]:
        """Balances in cents by kind, without those that are zero."""
        rows = self.read(lambda connection: balances(connection, owner))
        return {row.kind: row.balance // 10_000 for row in rows if row.currency == currency and row.balance}

    def items(self) -> list[Any]:
        item = table(ReceivableItem)
        return self.read(lambda connection: list(connection.execute(select(item).order_by(item.c.id))))

    def prove(self) -> None:
        """The ledger, the invoices and the open items agree."""
        with self.engine.connect() as connection:
            found = [*verify(connection), *verify_billing(connection), *verify_receivables(connection)]
        assert found == []


def add_invoice(
    connection: Connection, now: datetime, lines: Sequence[Line | str], account: str, currency: str, due: int
) -> str:
    invoices = table(InvoiceRow)
    number = len(connection.execute(select(invoices.c.id)).all()) + 1
    name = f"R-2026-{number:06d}"
    pairs = [(line, 1900) if isinstance(line, str) else line for line in lines]
    charges = [_charge(connection, now, account, currency, decimal_micros(net), rate) for net, rate in pairs]
    made = tuple(
        InvoiceLine(
            line_id=str(place), description="Chess", offer="Chess", charging_mode="one_off",
            agreement_id=charge.agreement_id, period_from=date(2026, 10, 1), period_to=date(2026, 10, 31), quantity=1,
            net_micros=charge.net, tax_category="S" if charge.tax_rate else "Z", tax_rate_bp=charge.tax_rate,
            charge_ids=(charge.id,),
        )
        for place, charge in enumerate(charges, 1)
    )  # fmt: skip
    sums = totals(made, currency)
    issued = now.date()
    document = Invoice(
        number=name, series="R-2026", issue_date=issued, due_date=issued + timedelta(days=due),
        period_from=date(2026, 10, 1), period_to=date(2026, 10, 31),
        seller=Party(name="Operator", address=("Street 1",), country="DE"),
        customer=Party(name=f"Customer {account}", address=("Road 2",), country="DE"), currency=currency, language="en",
        lines=made, totals=sums, payment_reference=name,
    )  # fmt: skip
    exact = sum(charge.net for charge in charges)
    legs = [
        Leg(account, UNBILLED, currency, -exact),
        Leg(account, RECEIVABLE, currency, sums.gross_micros),
        Leg(OPERATOR, tax_kind("S"), currency, -sums.tax_micros),
        Leg(OPERATOR, ROUNDING, currency, exact - sums.net_micros),
    ]
    post = Post(
        source="billing", op_id=name, kind="invoice", legs=tuple(leg for leg in legs if leg.amount), effective_at=now
    )
    [outcome] = apply(connection, [post], to_micros(now), writer="billing")
    assert isinstance(outcome, Applied)
    if not connection.execute(select(table(BillRun).c.id)).first():
        add(connection, BillRun(id="run", period="2026-10", until_at=START - DAY, started_at=START, state="done"))
    row = InvoiceRow(
        id=new_id(to_micros(now)), number=name, series="R-2026", number_in_series=number, bill_run_id="run",
        account_id=account, period="2026-10", currency=currency, net=sums.net_micros, tax=sums.tax_micros,
        total=sums.gross_micros, issued_at=now, document=msgspec.json.encode(document), transfer_id=outcome.transfer_id,
    )  # fmt: skip
    add(connection, row)
    for place, charge in enumerate(charges, 1):
        charge.invoice_id, charge.invoice_line = row.id, place
        add(connection, charge)
    return name


def _charge(connection: Connection, now: datetime, account: str, currency: str, net: int, rate: int) -> Charge:
    id = new_id(to_micros(now))
    common: dict[str, Any] = {"source": "test", "op_id": id, "effective_at": now}
    if net >= 0:
        operation: Any = LedgerCharge(owner=account, amount=net, currency=currency, checked=False, **common)
    else:
        legs = (Leg(account, UNBILLED, currency, net), Leg(OPERATOR, "revenue", currency, -net))
        operation = Post(kind="taken_back", legs=legs, **common)
    [outcome] = apply(connection, [operation], to_micros(now))
    assert isinstance(outcome, Applied)
    return Charge(
        id=id, kind="delivery", agreement_id=id, account_id=account, subscriber_id=account, period="2026-10",
        effective_at=now, recorded_at=now, net=net, currency=currency, tax_category="S" if rate else "Z", tax_rate=rate,
        transfer_id=outcome.transfer_id,
    )  # fmt: skip
