"""Which buckets and shared balances a subscriber may draw on, and what is held, taken and given back of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from charging.balances.drawing import Bucket, Drawn
from charging.balances.tables import OPEN, BalanceShare, UnitBucket, UnitHold
from operator_server.balances.barring import barred
from operator_server.balances.buckets import change_bucket, change_share, move
from operator_server.balances.once import lock
from operator_server.balances.thresholds import bucket_changed
from operator_server.counting.book import portions
from operator_server.store.rows import table

_buckets, _shares, _holds = table(UnitBucket), table(BalanceShare), table(UnitHold)


def drawable(connection: Connection, subscriber: str, account: str, unit: str) -> list[Bucket]:
    """The buckets of the unit that are the account's own or shared with it or the subscriber; their rows are locked."""
    shares = {row.id: row for row in _shared(connection, subscriber, account) if row.bucket_id is not None}
    mine = _buckets.c.owner == account
    statement = select(_buckets).where(
        mine | _buckets.c.id.in_([row.bucket_id for row in shares.values()]) if shares else mine,
        _buckets.c.unit == unit,
        _buckets.c.state == OPEN,
    )
    rows = {row.id: row for row in connection.execute(statement.order_by(_buckets.c.id).with_for_update())}
    found = [_bucket(row) for row in rows.values() if row.owner == account]
    for held in _locked_shares(connection, shares):
        row = rows.get(held.bucket_id)
        if row is not None and held.ended_at is None:
            found.append(_bucket(row, held.id, _share_free(held)))
    return found


def lock_purses(connection: Connection, users: Collection[tuple[str, str]]) -> None:
    """Let nobody else do operations on what these may draw on, subscribers and their accounts: all locks at once.

    Who took the lock of an account that lends to them later, with rows of theirs in hand, might wait for ever.
    """
    if connection.dialect.name != "postgresql":
        return
    names = {name for user in users for name in user}
    lenders: set[str] = set()
    for some in portions(names):
        lenders.update(connection.execute(select(_shares.c.owner).where(_shares.c.user_id.in_(some))).scalars())
    lock(connection, lenders.union(account for _, account in users))


def payers(connection: Connection, subscriber: str, account: str, currency: str) -> list[tuple[str, str | None, int]]:
    """Whose money may pay: owner, share and what the share still allows; the account itself first."""
    found: list[tuple[str, str | None, int]] = [(account, None, 2**63 - 1)]
    shares = {row.id: row for row in _shared(connection, subscriber, account) if row.currency == currency}
    for held in _locked_shares(connection, shares):
        free = _share_free(held)
        if held.ended_at is None:
            found.append((held.owner, held.id, 2**63 - 1 if free is None else free))
    return found


def take(connection: Connection, drawn: Iterable[Drawn], usage: str, now: datetime) -> None:
    """Take units that are free."""
    for each in drawn:
        change_bucket(connection, each.bucket, remaining=-each.amount)
        _moved(connection, each, usage, now)


def hold(connection: Connection, drawn: Sequence[Drawn], reservation: str, now: datetime) -> None:
    """Set units aside for a reservation."""
    for place, each in enumerate(drawn):
        change_bucket(connection, each.bucket, reserved=each.amount)
        if each.share is not None:
            change_share(connection, each.share, reserved=each.amount)
        connection.execute(
            insert(_holds).values(
                reservation_id=reservation, place=place, bucket_id=each.bucket, share_id=each.share, amount=each.amount
            )
        )
        bucket_changed(connection, each.bucket, now)


def held(connection: Connection, reservation: str) -> list[Drawn]:
    """What is held for a reservation; the buckets are locked."""
    rows = connection.execute(select(_holds).where(_holds.c.reservation_id == reservation).order_by(_holds.c.place))
    drawn = [Drawn(row.bucket_id, row.share_id, row.amount) for row in rows]
    buckets = select(_buckets.c.id).where(_buckets.c.id.in_({each.bucket for each in drawn}))
    connection.execute(buckets.order_by(_buckets.c.id).with_for_update()).all()
    return drawn


def take_held(connection: Connection, reservation: str, quantity: int, usage: str, now: datetime) -> list[Drawn]:
    """Take ``quantity`` units of what is held, as far as it goes, and go on holding the rest; what was taken."""
    held(connection, reservation)
    rows = connection.execute(select(_holds).where(_holds.c.reservation_id == reservation).order_by(_holds.c.place))
    taken: list[Drawn] = []
    left = quantity
    for row in rows.all():
        amount = min(left, row.amount)
        left -= amount
        if not amount:
            break
        change_bucket(connection, row.bucket_id, remaining=-amount, reserved=-amount)
        if row.share_id is not None:
            change_share(connection, row.share_id, reserved=-amount)
        taken.append(Drawn(row.bucket_id, row.share_id, amount))
        _moved(connection, taken[-1], usage, now)
        mine = (_holds.c.reservation_id == reservation) & (_holds.c.place == row.place)
        if amount == row.amount:
            connection.execute(delete(_holds).where(mine))
        else:
            connection.execute(update(_holds).where(mine).values(amount=row.amount - amount))
    return taken


def settle_holds(
    connection: Connection, drawn: Sequence[Drawn], reservation: str, quantity: int, usage: str, now: datetime
) -> list[Drawn]:
    """Take ``quantity`` units of what is held, as far as it goes, and give the rest back; what was taken."""
    taken = []
    left = quantity
    for each in drawn:
        amount = min(left, each.amount)
        left -= amount
        change_bucket(connection, each.bucket, remaining=-amount, reserved=-each.amount)
        if each.share is not None:
            change_share(connection, each.share, reserved=-each.amount)
        if amount:
            taken.append(Drawn(each.bucket, each.share, amount))
            _moved(connection, taken[-1], usage, now)
        else:
            bucket_changed(connection, each.bucket, now)
    connection.execute(delete(_holds).where(_holds.c.reservation_id == reservation))
    return taken


def _moved(connection: Connection, drawn: Drawn, usage: str, now: datetime) -> None:
    if drawn.share is not None:
        change_share(connection, drawn.share, used=drawn.amount)
    move(connection, drawn.bucket, -drawn.amount, "use", now, share=drawn.share, usage=usage)
    bucket_changed(connection, drawn.bucket, now)


def _shared(connection: Connection, subscriber: str, account: str) -> list[Row[Any]]:
    rows = connection.execute(
        select(_shares)
        .where(_shares.c.user_id.in_({subscriber, account}), _shares.c.owner != account, _shares.c.ended_at.is_(None))
        .order_by(_shares.c.created_at, _shares.c.id)
    ).all()
    allowed = {owner: barred(connection, "", owner) is None for owner in {row.owner for row in rows}}
    return [row for row in rows if allowed[row.owner]]


def _locked_shares(connection: Connection, shares: Iterable[str]) -> list[Row[Any]]:
    """The shares as they are once nobody else draws on them, oldest first."""
    ids = list(shares)
    if not ids:
        return []
    rows = connection.execute(select(_shares).where(_shares.c.id.in_(ids)).order_by(_shares.c.id).with_for_update())
    return sorted(rows, key=lambda row: (row.created_at, row.id))


def _share_free(share: Row[Any]) -> int | None:
    return None if share.most is None else max(0, share.most - share.used - share.reserved)


def _bucket(row: Row[Any], share: str | None = None, share_free: int | None = None) -> Bucket:
    return Bucket(
        row.id, row.remaining - row.reserved, row.priority, row.valid_from, row.valid_until, row.created_at, share,
        share_free,
    )  # fmt: skip
