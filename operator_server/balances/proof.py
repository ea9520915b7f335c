"""Proving balances: what buckets, credits and shares say against their movements, holds and the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Subquery, and_, func, select

from charging.balances.tables import (
    OPEN,
    BalanceMovement,
    BalanceShare,
    PrepaidCredit,
    UnitBucket,
    UnitHold,
    UsageReservation,
)
from charging.ledger.tables import Posting, Reservation
from charging.ledger.verify import Finding
from operator_server.store.accounting import Charge
from operator_server.store.rows import table

_buckets, _movements, _holds = table(UnitBucket), table(BalanceMovement), table(UnitHold)
_shares, _reservations, _credits = table(BalanceShare), table(UsageReservation), table(PrepaidCredit)


def verify_balances(connection: Connection) -> list[Finding]:
    """Findings; none is the proof that

    1. what remains of a bucket is the sum of its movements, is not below zero, and is at least what is reserved of it;
    2. what is reserved of buckets and shares is what open reservations hold, and closed ones hold nothing;
    3. what was drawn by a share is the sum of its movements, and with what is reserved within its limit;
    4. money that a share drew is what the ledger's transfer of it took;
    5. what is set aside in the ledger for use belongs to an open reservation of use or is closed;
    6. no charge stands for two transfers, and no transfer for two charges.
    """
    return [
        *_bucket_sums(connection),
        *_bucket_holds(connection),
        *_share_sums(connection),
        *_shared_money(connection),
        *_set_aside(connection),
        *_credit_bounds(connection),
        *_transfers_once(connection),
    ]


def _sums(by: Any, amount: Any, *where: Any) -> Subquery:
    return select(by.label("key"), func.sum(amount).label("total")).where(*where).group_by(by).subquery()


def _bucket_sums(connection: Connection) -> Iterator[Finding]:
    moved = _sums(_movements.c.bucket_id, _movements.c.amount, _movements.c.bucket_id.is_not(None))
    total = func.coalesce(moved.c.total, 0)
    rows = connection.execute(
        select(_buckets.c.id, _buckets.c.unit, _buckets.c.remaining, _buckets.c.reserved, total.label("total"))
        .outerjoin(moved, moved.c.key == _buckets.c.id)
        .where(
            (_buckets.c.remaining != total) | (_buckets.c.remaining < _buckets.c.reserved) | (_buckets.c.reserved < 0)
        )
    )
    for row in rows:
        what = f"{row.remaining} {row.unit} remain, its movements sum to {row.total}, {row.reserved} are reserved"
        yield Finding(what, f"bucket {row.id}")
    homeless = (
        select(_movements.c.bucket_id)
        .distinct()
        .outerjoin(_buckets, _buckets.c.id == _movements.c.bucket_id)
        .where(_movements.c.bucket_id.is_not(None), _buckets.c.id.is_(None))
    )
    for (bucket,) in connection.execute(homeless):
        yield Finding("it has movements but does not exist", f"bucket {bucket}")


def _bucket_holds(connection: Connection) -> Iterator[Finding]:
    held = _sums(_holds.c.bucket_id, _holds.c.amount)
    total = func.coalesce(held.c.total, 0)
    rows = connection.execute(
        select(_buckets.c.id, _buckets.c.reserved, total.label("total"))
        .outerjoin(held, held.c.key == _buckets.c.id)
        .where(_buckets.c.reserved != total)
    )
    for row in rows:
        yield Finding(f"{row.reserved} are reserved, reservations hold {row.total}", f"bucket {row.id}")
    closed = (
        select(_holds.c.reservation_id, _reservations.c.state)
        .distinct()
        .outerjoin(_reservations, _reservations.c.id == _holds.c.reservation_id)
        .where(func.coalesce(_reservations.c.state, "") != OPEN)
    )
    for reservation, state in connection.execute(closed):
        yield Finding(f"it is {state or 'not there'} and holds units", f"reservation of use {reservation}")


def _share_sums(connection: Connection) -> Iterator[Finding]:
    used = _sums(_movements.c.share_id, -_movements.c.amount, _movements.c.share_id.is_not(None))
    units = _sums(_holds.c.share_id, _holds.c.amount, _holds.c.share_id.is_not(None))
    money = _sums(
        _reservations.c.share_id,
        _reservations.c.money - _reservations.c.captured,
        _reservations.c.share_id.is_not(None),
        _reservations.c.state == OPEN,
    )
    drawn = func.coalesce(used.c.total, 0)
    reserved = func.coalesce(units.c.total, 0) + func.coalesce(money.c.total, 0)
    rows = connection.execute(
        select(_shares, drawn.label("drawn"), reserved.label("held"))
        .outerjoin(used, used.c.key == _shares.c.id)
        .outerjoin(units, units.c.key == _shares.c.id)
        .outerjoin(money, money.c.key == _shares.c.id)
        .where(
            (_shares.c.used != drawn)
            | (_shares.c.reserved != reserved)
            | (_shares.c.used + _shares.c.reserved > _shares.c.most)
        )
    )
    for row in rows:
        what = (
            f"{row.used} are used and {row.reserved} reserved of {'no limit' if row.most is None else row.most}, "
            f"its movements say {row.drawn}, reservations {row.held}"
        )
        yield Finding(what, f"share {row.id}")


def _shared_money(connection: Connection) -> Iterator[Finding]:
    posting = table(Posting)
    rows = connection.execute(
        select(_movements.c.id, _movements.c.amount, _movements.c.transfer_id, posting.c.amount.label("posted"))
        .outerjoin(posting, and_(posting.c.transfer_id == _movements.c.transfer_id, posting.c.leg == 0))
        .where(
            _movements.c.transfer_id.is_not(None),
            posting.c.amount.is_distinct_from(-_movements.c.amount),
        )
    )
    for row in rows:
        what = f"it says {row.amount} micros, transfer {row.transfer_id} {row.posted}"
        yield Finding(what, f"movement {row.id}")


def _set_aside(connection: Connection) -> Iterator[Finding]:
    kept = table(Reservation)
    rows = connection.execute(
        select(
            _reservations.c.id, _reservations.c.state, _reservations.c.money, kept.c.amount, kept.c.state.label("is")
        )
        .outerjoin(kept, kept.c.id == _reservations.c.money_id)
        .where(
            _reservations.c.money_id.is_not(None),
            (kept.c.amount.is_distinct_from(_reservations.c.money))
            | ((_reservations.c.state != OPEN) & (_reservations.c.state != "expired") & (kept.c.state == OPEN)),
        )
    )
    for id, state, money, amount, ledger_state in rows:
        what = f"it is {state} and set {money} micros aside, the ledger says {ledger_state}, {amount}"
        yield Finding(what, f"reservation of use {id}")


def _credit_bounds(connection: Connection) -> Iterator[Finding]:
    posting = table(Posting)
    rows = connection.execute(
        select(_credits.c.id, _credits.c.amount, _credits.c.remaining).where(
            (_credits.c.remaining < 0) | (_credits.c.remaining > _credits.c.amount)
        )
    )
    for id, amount, remaining in rows:
        yield Finding(f"{remaining} micros remain of {amount}", f"credit {id}")
    booked = connection.execute(
        select(_credits.c.id, _credits.c.amount, posting.c.amount.label("booked"))
        .join(posting, and_(posting.c.transfer_id == _credits.c.id, posting.c.leg == 0))
        .where(_credits.c.amount != posting.c.amount)
    )
    for id, amount, posted in booked:
        yield Finding(f"it is of {amount} micros, its transfer of {posted}", f"credit {id}")


def _transfers_once(connection: Connection) -> Iterator[Finding]:
    charge = table(Charge)
    rows = connection.execute(
        select(charge.c.transfer_id, func.count())
        .where(charge.c.pays != "none", charge.c.transfer_id != "")
        .group_by(charge.c.transfer_id)
        .having(func.count() > 1)
    )
    for transfer, times in rows:
        yield Finding(f"{times} charges stand for it", f"transfer {transfer}")
