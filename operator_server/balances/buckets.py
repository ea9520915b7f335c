"""Buckets of units, their movements, and balances that are shared."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from charging.balances.tables import OPEN, BalanceMovement, BalanceShare, UnitBucket
from operator_server.balances.once import BalanceError, lock, once, open_account_row
from operator_server.balances.thresholds import bucket_changed, refill_bucket
from operator_server.store.feed import record
from operator_server.store.parties import Account, Subscriber
from operator_server.store.rows import add, table
from signalling.clock import to_micros
from signalling.ids import new_id

_buckets, _shares, _movements = table(UnitBucket), table(BalanceShare), table(BalanceMovement)

LARGEST_PRIORITY = 1_000_000


def add_bucket(
    connection: Connection,
    account: str,
    unit: str,
    quantity: int,
    *,
    id: str,
    valid_from: datetime | None = None,
    valid_until: datetime | None = None,
    priority: int = 100,
    name: str = "",
    now: datetime,
) -> dict[str, Any]:
    """Give an account ``quantity`` units; ``valid_from`` is now if not said, without ``valid_until`` they stay.

    Of several buckets the one with the smallest ``priority`` is used first, then what expires first, then the oldest.
    """
    open_account_row(connection, account)
    if quantity <= 0 or quantity >= 2**63:
        raise BalanceError("bad_amount", f"bucket {id}: {quantity} units; it takes a whole number above zero")
    if not unit or len(unit) > 64:
        raise BalanceError("bad_name", f"bucket {id}: unit {unit!r} has 1 to 64 characters, such as byte or second")
    if not -LARGEST_PRIORITY <= priority <= LARGEST_PRIORITY:
        raise BalanceError("bad_amount", f"bucket {id}: priority {priority} is not within {LARGEST_PRIORITY}")
    lock(connection, [account])
    content = {
        "account": account, "unit": unit, "quantity": quantity, "valid_from": valid_from, "valid_until": valid_until,
        "priority": priority, "name": name,
    }  # fmt: skip

    def do() -> dict[str, Any]:
        if valid_until is not None and valid_until <= (valid_from or now):
            raise BalanceError("bad_amount", f"bucket {id}: it ends at {valid_until.isoformat()}, before it begins")
        add(
            connection,
            UnitBucket(
                id=id, owner=account, unit=unit, name=name, granted=quantity, remaining=quantity, priority=priority,
                valid_from=valid_from or now, valid_until=valid_until, created_at=now,
            ),
        )  # fmt: skip
        move(connection, id, quantity, "grant", now)
        record(connection, now, "bucket_added", account=account, reference=id, unit=unit, quantity=quantity)
        return {"id": id, "account": account, "unit": unit, "remaining": quantity}

    return once(connection, id, "bucket", content, now, do)


def adjust_bucket(
    connection: Connection, bucket: str, quantity: int, *, id: str, reason: str, now: datetime
) -> dict[str, Any]:
    """Put units into a bucket or take some out that are there and free, for a reason that is kept."""
    owner = _bucket_row(connection, bucket).owner
    lock(connection, [owner])
    if not quantity or not reason.strip():
        raise BalanceError("bad_amount", f"bucket {bucket}: an adjustment needs units other than zero and a reason")
    content = {"bucket": bucket, "quantity": quantity, "reason": reason}

    def do() -> dict[str, Any]:
        row = _bucket_row(connection, bucket, locked=True)
        if row.state != OPEN or row.remaining - row.reserved + quantity < 0:
            raise BalanceError(
                "limit", f"bucket {bucket}: is {row.state}, {row.remaining - row.reserved} {row.unit} are free"
            )
        change_bucket(connection, bucket, remaining=quantity, granted=max(0, quantity))
        move(connection, bucket, quantity, "adjustment", now, reason=reason)
        if quantity > 0:
            refill_bucket(connection, bucket, now)
        else:
            bucket_changed(connection, bucket, now)
        record(connection, now, "bucket_adjusted", account=owner, reference=bucket, quantity=quantity, reason=reason)
        return {"id": id, "bucket": bucket, "remaining": row.remaining + quantity}

    return once(connection, id, "bucket_adjust", content, now, do)


def expire_buckets(connection: Connection, now: datetime, most: int = 1000) -> list[str]:
    """Take what is left and free in at most ``most`` buckets whose time is over; the buckets that ended."""
    over = (_buckets.c.state == OPEN, _buckets.c.valid_until <= now, _buckets.c.reserved == 0)
    found = connection.execute(
        select(_buckets.c.id, _buckets.c.owner).where(*over).order_by(_buckets.c.id).limit(most)
    ).all()
    lock(connection, [row.owner for row in found])
    due = connection.execute(
        select(_buckets.c.id, _buckets.c.owner, _buckets.c.remaining)
        .where(_buckets.c.id.in_([row.id for row in found]), *over)
        .order_by(_buckets.c.id)
        .with_for_update()
    ).all()
    for row in due:
        if row.remaining:
            move(connection, row.id, -row.remaining, "expiry", now)
        connection.execute(
            update(_buckets).where(_buckets.c.id == row.id).values(remaining=0, state="expired", watch_low=None)
        )
        record(connection, now, "bucket_expired", account=row.owner, reference=row.id, quantity=row.remaining)
    return [row.id for row in due]


def share(
    connection: Connection,
    account: str,
    user: str,
    *,
    id: str,
    bucket: str | None = None,
    most: int | None = None,
    now: datetime,
) -> dict[str, Any]:
    """Let another account, or a subscriber, draw on a bucket of ``account`` or, without ``bucket``, on its money.

    ``most``: units or micros that it may use in all; ``None`` is no limit.
    """
    row = open_account_row(connection, account)
    accounts, subscribers = table(Account), table(Subscriber)
    payer = connection.execute(select(subscribers.c.account_id).where(subscribers.c.id == user)).scalar()
    if payer is None and connection.execute(select(accounts.c.id).where(accounts.c.id == user)).first() is None:
        raise BalanceError("unknown_subscriber", f"{user}: neither an account nor a subscriber has this id")
    if user == account:
        raise BalanceError("bad_name", f"account {account}: it draws on its own balances anyway")
    if payer == account:
        raise BalanceError("bad_name", f"subscriber {user}: account {account} is its own, on which it draws anyway")
    if most is not None and most <= 0:
        raise BalanceError("bad_amount", f"share {id}: a limit is more than zero")
    lock(connection, [account])
    content = {"account": account, "user": user, "bucket": bucket, "most": most}

    def do() -> dict[str, Any]:
        if bucket is not None and _bucket_row(connection, bucket).owner != account:
            raise BalanceError("unknown_bucket", f"bucket {bucket}: account {account} has none of that id")
        currency = row.currency if bucket is None else None
        add(
            connection,
            BalanceShare(
                id=id, owner=account, bucket_id=bucket, currency=currency, user_id=user, most=most, created_at=now
            ),
        )
        record(connection, now, "balance_shared", account=account, reference=id, user=user, bucket=bucket, most=most)
        return {"id": id, "account": account, "user": user, "bucket": bucket, "currency": currency, "most": most}

    return once(connection, id, "share", content, now, do)


def end_share(connection: Connection, id: str, now: datetime) -> None:
    """Let nothing more be drawn by a share; what is reserved by it can still be committed."""
    row = connection.execute(select(_shares).where(_shares.c.id == id)).first()
    if row is None:
        raise BalanceError("unknown_share", f"share {id}: there is none")
    lock(connection, [row.owner])
    connection.execute(update(_shares).where(_shares.c.id == id, _shares.c.ended_at.is_(None)).values(ended_at=now))
    record(connection, now, "balance_share_ended", account=row.owner, reference=id)


def _bucket_row(connection: Connection, bucket: str, *, locked: bool = False) -> Row[Any]:
    """The bucket of that id. Raises :class:`BalanceError`."""
    statement = select(_buckets).where(_buckets.c.id == bucket)
    row = connection.execute(statement.with_for_update() if locked else statement).first()
    if row is None:
        raise BalanceError("unknown_bucket", f"bucket {bucket}: there is none")
    return row


def buckets_of(connection: Connection, account: str) -> list[Row[Any]]:
    """The account's buckets that are open, in the order of their use."""
    rows = connection.execute(
        select(_buckets)
        .where(_buckets.c.owner == account, _buckets.c.state == OPEN)
        .order_by(
            _buckets.c.unit,
            _buckets.c.priority,
            _buckets.c.valid_until.is_(None),
            _buckets.c.valid_until,
            _buckets.c.created_at,
            _buckets.c.id,
        )
    )
    return list(rows)


def shares_of(connection: Connection, account: str) -> list[Row[Any]]:
    """The shares by which others draw on the account's balances."""
    rows = connection.execute(select(_shares).where(_shares.c.owner == account).order_by(_shares.c.created_at))
    return list(rows)


def change_bucket(
    connection: Connection, bucket: str, *, remaining: int = 0, reserved: int = 0, granted: int = 0
) -> None:
    """Add to what a bucket has; its row must be locked."""
    connection.execute(
        update(_buckets)
        .where(_buckets.c.id == bucket)
        .values(
            remaining=_buckets.c.remaining + remaining,
            reserved=_buckets.c.reserved + reserved,
            granted=_buckets.c.granted + granted,
        )
    )


def change_share(connection: Connection, share: str, *, used: int = 0, reserved: int = 0) -> None:
    """Add to what was drawn by a share; its row must be locked."""
    connection.execute(
        update(_shares)
        .where(_shares.c.id == share)
        .values(used=_shares.c.used + used, reserved=_shares.c.reserved + reserved)
    )


def move(
    connection: Connection,
    bucket: str | None,
    amount: int,
    kind: str,
    now: datetime,
    *,
    share: str | None = None,
    usage: str | None = None,
    transfer: str | None = None,
    reason: str = "",
) -> None:
    """Write a movement of units, or of shared money where ``transfer`` names it."""
    connection.execute(
        insert(_movements).values(
            id=new_id(to_micros(now)), bucket_id=bucket, share_id=share, kind=kind, amount=amount, usage_id=usage,
            transfer_id=transfer, reason=reason, at=now,
        )
    )  # fmt: skip
