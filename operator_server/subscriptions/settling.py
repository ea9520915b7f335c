"""Charging an agreement for one thing, and taking a charge back: the ledger's side and the row of the charge."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from sqlalchemy import Connection, Row, func, select

from charging.ledger.book import apply
from charging.ledger.operations import Applied, Capture, Conflict, Declined, Duplicate, Operation, Outcome, Reverse
from charging.modes import PAYMENTS, Owed, Payment, owed, payment_of
from charging.periods import period_of
from operator_server.billing.open_period import effective_at
from operator_server.counting.money import charge_operation, tax_operation
from operator_server.store.accounting import Charge
from operator_server.store.rows import add, table
from signalling.clock import to_micros
from signalling.ids import new_id
from signalling.messages import ModeTerms
from signalling.money import minor_unit


class NotSettled(Exception):
    """The ledger did not take a charge; the text says why. Nothing was written."""


@dataclass(frozen=True, slots=True)
class Due:
    """What an agreement owes: a price of ``price`` micros at ``at``, under a name that is used once. ``kind``: as on a
    charge.

    ``service``: the time that it is for, from and to (exclusive). ``reservation``: what it is captured from.
    """

    source: str
    op_id: str
    kind: str
    price: int
    at: datetime
    installation: str | None = None
    service: tuple[datetime, datetime] | None = None
    reservation: str | None = None


def settle(
    connection: Connection, agreement: Row[Any], terms: ModeTerms, due: Due, zone: tzinfo, now: datetime
) -> Charge:
    """Charge what is due in the agreement's way of paying. Raises :class:`NotSettled`.

    From money paid ahead tax is paid at once, as the quote has it; it goes to the tax account in the same transaction.
    What an invoice will bill keeps its price, of which the invoice makes net and tax.
    """
    payment = payment_of(terms.payment)
    paid = Owed(due.price, 0)
    if payment.ahead:
        paid = owed(due.price, terms.tax_rate, terms.tax_included, minor_unit(agreement.currency))
    row = Charge(
        id=new_id(to_micros(now)),
        kind=due.kind,
        agreement_id=agreement.id,
        account_id=agreement.account_id,
        subscriber_id=agreement.subscriber_id,
        installation_id=due.installation,
        quantity=1,
        period=period_of(due.at, zone),
        effective_at=effective_at(connection, due.at),
        recorded_at=now,
        net=paid.net,
        currency=agreement.currency,
        tax_category=agreement.tax_category,
        tax_rate=agreement.tax_rate,
        tariff_version=agreement.tariff_version,
        transfer_id="",
        pays=payment.settled,
        paid_tax=paid.tax,
        service_from=None if due.service is None else due.service[0],
        service_to=None if due.service is None else due.service[1],
    )
    values = row.model_dump()
    operation = _operation(due, values, payment)
    if operation is not None:
        row.transfer_id = _applied(connection, operation, now)
        if (further := tax_operation(due.source, due.op_id, values)) is not None:
            _applied(connection, further, now)
    add(connection, row)
    return row


def _operation(due: Due, values: dict[str, Any], payment: Payment) -> Operation | None:
    if due.reservation is None:
        checked = payment.ahead and payment.secured
        return charge_operation(due.source, due.op_id, values, payment, checked=checked)
    return Capture(
        source=due.source,
        op_id=due.op_id,
        reservation_id=due.reservation,
        amount=values["net"] + values["paid_tax"],
        tariff_version_id=values["tariff_version"] or None,
        effective_at=values["effective_at"],
        release_rest=True,
    )


def take_back(
    connection: Connection, charge: Row[Any], kind: str, zone: tzinfo, now: datetime, *, source: str
) -> Charge | None:
    """Take back what is left of a charge, its tax too where that was paid with it; ``None`` where nothing is left.

    What an invoice billed already comes back with the next one. Raises :class:`NotSettled`.
    """
    charges = table(Charge)
    before = connection.execute(
        select(func.sum(charges.c.net), func.sum(charges.c.paid_tax)).where(charges.c.reverses_id == charge.id)
    ).one()
    net, tax = charge.net + int(before[0] or 0), charge.paid_tax + int(before[1] or 0)
    if not net or charge.pays == "none":
        return None
    values: dict[str, Any] = {
        **charge._mapping,
        "id": new_id(to_micros(now)), "kind": kind, "recorded_at": now, "effective_at": effective_at(connection, now),
        "period": period_of(now, zone), "net": -net, "paid_tax": -tax, "transfer_id": "", "reverses_id": charge.id,
        "invoice_id": None, "invoice_line": None, "quantity": 1, "included": 0,
    }  # fmt: skip
    operation: Operation | None
    if net > 0:
        operation = Reverse(
            source=source,
            op_id=charge.id,
            transfer_id=charge.transfer_id,
            amount=net + tax,
            effective_at=values["effective_at"],
        )
    else:
        # What was given back for earlier units is owed again.
        operation = charge_operation(source, charge.id, values, _way(charge.pays))
    assert operation is not None
    values["transfer_id"] = _applied(connection, operation, now)
    if (further := tax_operation(source, charge.id, values)) is not None:
        _applied(connection, further, now)
    row = Charge(**{name: values[name] for name in Charge.model_fields})
    add(connection, row)
    return row


def _way(settled: str) -> Payment:
    return PAYMENTS["pseudo_prepaid" if settled == "prepaid" else "postpaid"]


def _applied(connection: Connection, operation: Operation, now: datetime) -> str:
    outcome: Outcome = apply(connection, [operation], to_micros(now))[0]
    match outcome:
        case Applied() | Duplicate():
            return outcome.transfer_id
        case Declined():
            raise NotSettled(outcome.reason)
        case Conflict():
            raise NotSettled(f"{operation.source} {operation.op_id} was booked with other content")
