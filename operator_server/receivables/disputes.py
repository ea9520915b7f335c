"""Disputes: while an invoice or a line of it is held, nobody is reminded of it and it is not collected."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update

from charging.invoices.totals import round_to_unit
from charging.receivables.items import demanded
from operator_server.receivables.books import ReceivablesError, decode, find_item, lock, take_in_invoices
from operator_server.receivables.credited import credited_of
from operator_server.settings import Settings
from operator_server.store.accounting import InvoiceRow
from operator_server.store.feed import record
from operator_server.store.receivables import DisputeHold
from operator_server.store.rows import add, table
from signalling.clock import to_micros
from signalling.ids import new_id
from signalling.money import minor_unit

_hold = table(DisputeHold)
_PORTION = 500


@dataclass(frozen=True, slots=True)
class Held:
    """What is disputed of a debt: the ``whole``, or lines with these micros (with tax)."""

    whole: bool = False
    lines: tuple[int, ...] = ()

    def demanded(self, left: int) -> int:
        """What may be demanded of what is left of the debt."""
        return 0 if self.whole else demanded(left, self.lines)


def place_hold(
    connection: Connection, settings: Settings, number: str, now: datetime, *, line: str = "", reason: str, by: str = ""
) -> str:
    """Hold an invoice, a fee, or a line of an invoice; the hold's id. One that is held already stays as it is."""
    lock(connection)
    if not reason.strip():
        raise ReceivablesError(f"hold of {number}: a reason is needed")
    take_in_invoices(connection, settings, now)
    item = find_item(connection, number)
    if item.amount <= 0:
        raise ReceivablesError(f"{number}: it is no debt")
    known = connection.execute(
        select(_hold.c.id).where(_hold.c.number == number, _hold.c.line == line, _hold.c.released_at.is_(None))
    ).scalar()
    if known is not None:
        return str(known)
    hold = DisputeHold(
        id=new_id(to_micros(now)), number=number, line=line, amount=_of_line(connection, number, line) if line else 0,
        reason=reason, by=by, placed_at=now,
    )  # fmt: skip
    add(connection, hold)
    record(connection, now, "held", account=item.account_id, reference=number, line=line, reason=reason, by=by)
    return hold.id


def release_hold(
    connection: Connection, settings: Settings, number: str, now: datetime, *, line: str = "", by: str = ""
) -> bool:
    """Release what is held; whether there was something to release."""
    lock(connection)
    released = connection.execute(
        update(_hold)
        .where(_hold.c.number == number, _hold.c.line == line, _hold.c.released_at.is_(None))
        .values(released_at=now, released_by=by)
    ).rowcount
    if released:
        item = find_item(connection, number)
        record(connection, now, "hold_released", account=item.account_id, reference=number, line=line, by=by)
    return bool(released)


def held(connection: Connection, numbers: Collection[str]) -> dict[str, Held]:
    """What is held now of debts, by number; those without a dispute are not in it."""
    found: dict[str, Held] = {}
    names = sorted(numbers)
    for start in range(0, len(names), _PORTION):
        rows = connection.execute(
            select(_hold).where(_hold.c.number.in_(names[start : start + _PORTION]), _hold.c.released_at.is_(None))
        )
        for row in rows:
            before = found.get(row.number, Held())
            lines = (*before.lines, _of_line(connection, row.number, row.line)) if row.line else before.lines
            found[row.number] = Held(before.whole or not row.line, lines)
    return found


def find_holds(connection: Connection, *, active: bool = True) -> list[Row[Any]]:
    """Holds, the oldest first."""
    statement = select(_hold).order_by(_hold.c.placed_at, _hold.c.id)
    return list(connection.execute(statement.where(_hold.c.released_at.is_(None)) if active else statement))


def _of_line(connection: Connection, number: str, line: str) -> int:
    """A line with its tax, as far as no credit note took it back."""
    invoices = table(InvoiceRow)
    document = connection.execute(select(invoices.c.document).where(invoices.c.number == number)).scalar()
    if document is None:
        raise ReceivablesError(f"{number}: it is no invoice, so it has no lines; hold the whole")
    invoice = decode(document)
    for each, net in zip(invoice.lines, invoice.totals.lines, strict=True):
        if each.line_id == line:
            left = net.net_micros - credited_of(connection, number).nets.get(line, 0)
            return left + round_to_unit(left * each.tax_rate_bp, 10_000, minor_unit(invoice.currency))
    raise ReceivablesError(
        f"invoice {number}: it has no line {line!r}; it has {', '.join(e.line_id for e in invoice.lines)}"
    )
