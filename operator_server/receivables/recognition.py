"""Deferred revenue, posted: at the end of each month revenue for a time to come moves to ``deferred``, and back as the
time passes.

What an agreement has deferred at a month's end follows from the charges that were recorded by then; the month's posting
is the difference to the month before. It carries the month's last instant and belongs to that month, whenever it is
written; so it is done once for each agreement and month, and months follow one another without a gap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, insert, select, union

from charging.billing.tax import TaxTable, load_taxes
from charging.invoices.totals import without_tax
from charging.ledger.book import apply
from charging.ledger.operations import Applied, Duplicate, Leg, Post
from charging.ledger.tables import OPERATOR, REVENUE
from charging.periods import Period, period, period_of
from charging.receivables.chart import deferred
from operator_server.receivables.books import ReceivablesError, lock
from operator_server.settings import Settings
from operator_server.store.accounting import Charge
from operator_server.store.receivables import RevenueClose, RevenueDeferral
from operator_server.store.rows import add, table
from operator_server.store.store import transact
from signalling.clock import to_micros

KIND = "deferral"
"""The kind of the transfers, which belong to the month of their effect."""

DEFERRED = "deferred"
SOURCE = "recognition"
_PORTION = 500
_FIELD = 64

_charge, _rows, _close = table(Charge), table(RevenueDeferral), table(RevenueClose)
Key = tuple[str, str]
"""Agreement and currency."""


@dataclass(frozen=True, slots=True)
class Recognised:
    """A month that was posted now: how many agreements moved, and by currency the micros that are deferred then."""

    period: str
    moved: int
    standing: dict[str, int]


def recognise(engine: Engine, settings: Settings, through: Period, now: datetime) -> list[Recognised]:
    """Post every month up to ``through`` that is over and not posted yet, in order. Killed, it goes on where it was."""
    zone, done = settings.operator.zone, []
    taxes = load_taxes(settings.config_dir / "tax.toml")
    with engine.connect() as connection:
        current = _next(connection, settings)
    while current is not None and current.end <= min(now, through.end):
        _post_month(engine, settings, taxes, current, now)
        with engine.connect() as connection:
            done.append(_told(connection, current.name))
        current = period(period_of(current.end, zone), zone)
    return done


def is_posted(connection: Connection, name: str) -> bool:
    """Whether the deferred revenue of a month is posted."""
    return connection.execute(select(_close.c.period).where(_close.c.period == name)).first() is not None


def deferring(end: datetime) -> Any:
    """Which charges are for a time after ``end`` and were recorded before it."""
    return (
        (_charge.c.service_to > end)
        & (_charge.c.recorded_at < end)
        & (_charge.c.net != 0)
        & (_charge.c.pays != "none")
    )  # fmt: skip


def deferred_of(charge: Row[Any], taxes: TaxTable, end: datetime) -> int:
    """Micros of a charge that are not earned at ``end``, without the tax that its price contains."""
    net = charge.net
    if charge.pays == "unbilled" and charge.tax_category in taxes.inclusive:
        net = without_tax(net, charge.tax_rate)
    return deferred(net, to_micros(charge.service_from), to_micros(charge.service_to), to_micros(end))


def _next(connection: Connection, settings: Settings) -> Period | None:
    """The first month that is not posted; ``None`` while nothing was ever charged for a time."""
    zone = settings.operator.zone
    last = connection.execute(select(func.max(_close.c.period))).scalar()
    if last is not None:
        return period(period_of(period(last, zone).end, zone), zone)
    first = connection.execute(
        select(func.min(_charge.c.recorded_at)).where(_charge.c.service_to.is_not(None))
    ).scalar()
    return None if first is None else period(period_of(first, zone), zone)


def _post_month(engine: Engine, settings: Settings, taxes: TaxTable, span: Period, now: datetime) -> None:
    zone, last = settings.operator.zone, ""
    before = period_of(span.start - timedelta(microseconds=1), zone)

    def portion(connection: Connection) -> list[str]:
        lock(connection)
        agreements = _portion(connection, span, before, last)
        if agreements:
            _post(connection, taxes, span, before, agreements, now)
        elif not is_posted(connection, span.name):
            add(connection, RevenueClose(period=span.name, closed_at=now))
        return agreements

    while done := transact(engine, portion):
        last = done[-1]


def _portion(connection: Connection, span: Period, before: str, last: str) -> list[str]:
    """The next agreements that have, or had, something deferred, in order."""
    charged = (
        select(_charge.c.agreement_id)
        .where(deferring(span.end), _charge.c.agreement_id > last)
        .distinct()
        .order_by(_charge.c.agreement_id)
        .limit(_PORTION)
        .subquery()
    )
    stood = (
        select(_rows.c.agreement_id)
        .where(_rows.c.period == before, _rows.c.standing != 0, _rows.c.agreement_id > last)
        .distinct()
        .order_by(_rows.c.agreement_id)
        .limit(_PORTION)
        .subquery()
    )
    both = union(select(charged.c.agreement_id), select(stood.c.agreement_id)).subquery()
    found = connection.execute(select(both.c.agreement_id).order_by(both.c.agreement_id).limit(_PORTION))
    return [str(each) for each in found.scalars()]


def _post(
    connection: Connection, taxes: TaxTable, span: Period, before: str, agreements: Sequence[str], now: datetime
) -> None:
    targets = _targets(connection, taxes, span, agreements)
    stood = _standing(connection, before, agreements)
    known = _standing(connection, span.name, agreements)
    rows = []
    for key in sorted(targets.keys() | stood.keys()):
        if key not in known and (targets.get(key) or stood.get(key)):
            target = targets.get(key, 0)
            rows.append(
                {
                    "period": span.name, "agreement_id": key[0], "currency": key[1], "standing": target,
                    "moved": target - stood.get(key, 0), "transfer_id": None,
                }
            )  # fmt: skip
    moving = [row for row in rows if row["moved"]]
    operations = [_operation(row, span) for row in moving]
    for row, outcome in zip(moving, apply(connection, operations, to_micros(now), writer=SOURCE), strict=True):
        if not isinstance(outcome, Applied | Duplicate):
            raise ReceivablesError(f"deferred revenue of {row['agreement_id']} in {span.name}: {outcome}")
        row["transfer_id"] = outcome.transfer_id
    if rows:
        connection.execute(insert(_rows), rows)


def _operation(row: dict[str, Any], span: Period) -> Post:
    op_id = f"{row['agreement_id']}:{row['currency']}:{row['period']}"
    if len(op_id) > _FIELD:
        op_id = sha256(op_id.encode()).hexdigest()
    legs = (
        Leg(OPERATOR, REVENUE, row["currency"], row["moved"]),
        Leg(OPERATOR, DEFERRED, row["currency"], -row["moved"]),
    )
    return Post(
        source=SOURCE, op_id=op_id, kind=KIND, legs=legs, effective_at=span.end - timedelta(microseconds=1),
        agreement_id=row["agreement_id"],
    )  # fmt: skip


def _targets(
    connection: Connection, taxes: TaxTable, span: Period, agreements: Sequence[str]
) -> dict[Key, int]:  # fmt: skip
    found: dict[Key, int] = {}
    for row in _charges(connection, span, agreements):
        key = (row.agreement_id, row.currency)
        found[key] = found.get(key, 0) + deferred_of(row, taxes, span.end)
    return found


def _charges(connection: Connection, span: Period, agreements: Sequence[str]) -> Iterator[Row[Any]]:
    yield from connection.execute(
        select(_charge).where(_charge.c.agreement_id.in_(agreements), deferring(span.end)).order_by(_charge.c.id)
    )


def _standing(connection: Connection, name: str, agreements: Sequence[str]) -> dict[Key, int]:
    rows = connection.execute(
        select(_rows.c.agreement_id, _rows.c.currency, _rows.c.standing).where(
            _rows.c.period == name, _rows.c.agreement_id.in_(agreements)
        )
    )
    return {(row.agreement_id, row.currency): row.standing for row in rows}


def _told(connection: Connection, name: str) -> Recognised:
    rows = connection.execute(
        select(_rows.c.currency, func.sum(_rows.c.standing), func.count(_rows.c.transfer_id))
        .where(_rows.c.period == name)
        .group_by(_rows.c.currency)
        .order_by(_rows.c.currency)
    ).all()
    return Recognised(name, sum(int(row[2]) for row in rows), {row[0]: int(row[1]) for row in rows})
