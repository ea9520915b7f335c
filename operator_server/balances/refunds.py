"""Refunds: what was charged is given back to where it came from, never more than was charged."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, insert, or_, select

from charging.balances.tables import BalanceMovement
from charging.ledger.operations import Leg, Post, Reverse
from charging.ledger.tables import OPERATOR, REVENUE, UNBILLED, tax_kind
from charging.rating import round_ratio
from operator_server.balances.buckets import change_share, move
from operator_server.balances.once import SOURCE, BalanceError, lock, once, post
from operator_server.balances.paying import TAX
from operator_server.billing.open_period import effective_at
from operator_server.receivables.given_back import left_of_charge
from operator_server.store.accounting import Charge
from operator_server.store.feed import record
from operator_server.store.rows import table
from operator_server.store.usage import UsageRecord
from operator_server.usage.history import RERATED
from signalling.clock import to_micros
from signalling.ids import new_id
from signalling.money import format_micros

_charges, _movements, _records = table(Charge), table(BalanceMovement), table(UsageRecord)
_first = _charges.c.kind != RERATED


def refund(
    connection: Connection, charge: str, *, id: str, amount: int | None = None, reason: str, now: datetime
) -> dict[str, Any]:
    """Give back ``amount`` micros of a charge, or all that is left of it.

    What the next invoice bills is given back net, onto the next invoice; what was paid ahead, with its tax, into what
    is paid ahead. Raises :class:`BalanceError` for more than is left of the charge.
    """
    if not reason.strip():
        raise BalanceError("bad_name", f"refund {id}: say why")
    if amount is not None and amount <= 0:
        raise BalanceError("bad_amount", f"refund {id}: the amount is more than zero")
    row = _charge(connection, charge)
    lock(connection, [row.account_id])

    def do() -> dict[str, Any]:
        left_net, left_tax = _left(connection, row)
        paid = left_net + left_tax
        given = paid if amount is None else amount
        if given <= 0 or given > paid:
            asked, rest = format_micros(given, row.currency), format_micros(max(0, paid), row.currency)
            raise BalanceError("exceeds_charge", f"charge {charge}: {asked} {row.currency} asked, {rest} of it is left")
        # The last refund takes what rounding left; so all together give back exactly net and tax.
        tax = round_ratio(left_tax * given, paid, "half_up")
        reverse = Reverse(source=SOURCE, op_id=id, transfer_id=row.transfer_id, amount=given, effective_at=now)
        transfer = post(connection, reverse, now)
        if tax:
            legs = (
                Leg(OPERATOR, REVENUE, row.currency, -tax),
                Leg(OPERATOR, tax_kind(row.tax_category), row.currency, tax),
            )
            post(connection, Post(source=TAX, op_id=id, kind="prepaid_tax", legs=legs, effective_at=now), now)
        reversal = _keep(connection, row, given - tax, tax, transfer, now)
        _give_share_back(connection, row, given, transfer, reason, now)
        record(
            connection, now, "refunded", account=row.account_id, subscriber=row.subscriber_id, reference=charge,
            amount=given, currency=row.currency, reason=reason.strip(),
        )  # fmt: skip
        return {"id": id, "charge": charge, "reversal": reversal, "account": row.account_id, "amount": given,
                "net": given - tax, "tax": tax, "currency": row.currency, "transfer": transfer}  # fmt: skip

    return once(connection, id, "refund", {"charge": charge, "amount": amount, "reason": reason}, now, do)


def _charge(connection: Connection, charge: str) -> Row[Any]:
    row = connection.execute(select(_charges).where(_charges.c.id == charge)).first()
    if row is None:
        raise BalanceError("unknown_charge", f"charge {charge}: there is none; see `tollgate usage list`")
    if (row.reverses_id is not None and row.kind != RERATED) or row.net < 0 or row.pays == "none":
        raise BalanceError("unknown_charge", f"charge {charge}: it is a {row.kind} that took no money")
    return row


def _left(connection: Connection, row: Row[Any]) -> tuple[int, int]:
    """What of the charge was not given back yet, by refund or credit note, net and the tax that was paid with it."""
    columns = [func.coalesce(func.sum(_charges.c[name]), 0).label(name) for name in ("net", "paid_tax")]
    mine = (_charges.c.id == row.id) | (
        (_charges.c.agreement_id == row.agreement_id) & (_charges.c.reverses_id == row.id)
    )
    net, tax = connection.execute(select(*columns).where(mine, or_(_charges.c.id == row.id, _first))).one()
    on_line = left_of_charge(connection, row) if row.pays == UNBILLED and row.invoice_id else None
    return (int(net) if on_line is None else min(int(net), on_line)), int(tax)


def _keep(connection: Connection, row: Row[Any], net: int, tax: int, transfer: str, now: datetime) -> str:
    reversal = new_id(to_micros(now))
    unbilled = row.pays == UNBILLED
    values = dict(row._mapping) | {
        "id": reversal, "kind": "reversal", "net": -net, "paid_tax": -tax, "transfer_id": transfer,
        "reverses_id": row.id, "invoice_id": None, "invoice_line": None, "recorded_at": now,
        "effective_at": effective_at(connection, now) if unbilled else now, "included": 0,
    }  # fmt: skip
    connection.execute(insert(_charges).values(values))
    return reversal


def _give_share_back(
    connection: Connection, row: Row[Any], amount: int, transfer: str, reason: str, now: datetime
) -> None:
    used = connection.execute(
        select(_movements.c.share_id, _movements.c.usage_id)
        .join(_records, _records.c.id == _movements.c.usage_id)
        .where(_records.c.charge_id == row.id, _movements.c.transfer_id == row.transfer_id)
    ).first()
    if used is not None:
        change_share(connection, used.share_id, used=-amount)
        move(
            connection, None, amount, "refund", now, share=used.share_id, usage=used.usage_id, transfer=transfer,
            reason=reason,
        )  # fmt: skip
