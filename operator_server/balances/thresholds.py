"""Thresholds on money and units: told in the feed and to the customer, in the transaction that crosses them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from charging.balances.levels import PERCENT, Sense, bounds, level_of
from charging.balances.tables import Threshold, UnitBucket
from charging.ledger.book import recheck
from charging.ledger.tables import PREPAID, UNBILLED, LedgerAccount
from operator_server.balances.once import BalanceError, lock, once, open_account_row
from operator_server.balances.telling import tell_customer
from operator_server.store.feed import record
from operator_server.store.rows import add, table
from signalling.clock import from_micros, to_micros

EVENT = "threshold_crossed"

_thresholds, _buckets, _ledger = table(Threshold), table(UnitBucket), table(LedgerAccount)


def add_threshold(
    connection: Connection,
    account: str,
    *,
    id: str,
    sense: Sense,
    value: int,
    percent: bool = False,
    bucket: str | None = None,
    now: datetime,
) -> dict[str, Any]:
    """Tell when what is left of the account's money, or of one of its buckets, falls below, or what is used of it rises
    above ``value``: micros or units, or hundredths of a percent. One that is crossed already is told at once.

    What a percentage and what is used are of: a bucket's granted units; the credit limit and what is paid ahead, as
    they are now and after each top-up, adjustment or change of the limit.
    """
    currency = open_account_row(connection, account).currency
    if value < 0 or (percent and value > 100 * PERCENT):
        raise BalanceError("bad_amount", f"threshold {id}: is not between 0 and 100 %" if percent else "below zero")
    lock(connection, [account])
    content = {"account": account, "sense": sense, "value": value, "percent": percent, "bucket": bucket}

    def do() -> dict[str, Any]:
        if bucket is None:
            full, unit = _full(connection, account, currency), currency
        else:
            row = _bucket(connection, bucket)
            if row is None or row.owner != account:
                raise BalanceError("unknown_bucket", f"bucket {bucket}: account {account} has none of that id")
            full, unit = row.granted, row.unit
        level = level_of(sense, value, full, percent=percent)
        add(
            connection,
            Threshold(
                id=id, owner=account, bucket_id=bucket, currency=currency if bucket is None else None, sense=sense,
                value=value, percent=percent, level=level, created_at=now,
            ),
        )  # fmt: skip
        _watch(connection, account, currency, bucket)
        _check(connection, account, currency, bucket, now)
        return {"id": id, "account": account, "bucket": bucket, "unit": unit, "level": level}

    return once(connection, id, "threshold", content, now, do)


def remove_threshold(connection: Connection, id: str) -> None:
    """Tell no more. Raises :class:`BalanceError` for an unknown one."""
    row = connection.execute(select(_thresholds).where(_thresholds.c.id == id)).first()
    if row is None:
        raise BalanceError("unknown_threshold", f"threshold {id}: there is none")
    lock(connection, [row.owner])
    connection.execute(delete(_thresholds).where(_thresholds.c.id == id))
    _watch(connection, row.owner, row.currency, row.bucket_id)


def thresholds_of(connection: Connection, account: str) -> list[Row[Any]]:
    """The account's thresholds, oldest first."""
    rows = connection.execute(
        select(_thresholds).where(_thresholds.c.owner == account).order_by(_thresholds.c.created_at, _thresholds.c.id)
    )
    return list(rows)


def refill(connection: Connection, account: str, currency: str, now: datetime) -> None:
    """Take what the account has now as what its percentages are of; for after a top-up or a change of the limit."""
    rows = _of(connection, account, currency, None)
    if rows:
        _level(connection, rows, _full(connection, account, currency))
        _watch(connection, account, currency, None)
        _check(connection, account, currency, None, now)


def refill_bucket(connection: Connection, bucket: str, now: datetime) -> None:
    """The same for a bucket that was given units."""
    row = _bucket(connection, bucket)
    if row is not None and row.watch_low is not None:
        _level(connection, _of(connection, row.owner, None, bucket), row.granted)
        _watch(connection, row.owner, None, bucket)
        _check(connection, row.owner, None, bucket, now)


def money_crossed(connection: Connection, crossings: Sequence[tuple[str, str, int]], now_micros: int) -> None:
    """What an engine does when money crosses thresholds (:data:`charging.ledger.book.ON_CROSSING`)."""
    for owner, currency, left in crossings:
        _tell(connection, _of(connection, owner, currency, None), left, currency, from_micros(now_micros))
        _watch(connection, owner, currency, None)


def bucket_changed(connection: Connection, bucket: str, now: datetime) -> None:
    """Look whether a bucket has crossed a threshold; where it has none that costs nothing but this look."""
    row = _bucket(connection, bucket)
    if row is None or row.watch_low is None:
        return
    left = row.remaining - row.reserved
    if not row.watch_low <= left < row.watch_high:
        _tell(connection, _of(connection, row.owner, None, bucket), left, row.unit, now)
        _watch(connection, row.owner, None, bucket)


def _tell(connection: Connection, rows: Sequence[Row[Any]], left: int, unit: str, now: datetime) -> None:
    for row in rows:
        crossed = left < row.level
        if crossed == row.crossed:
            continue
        connection.execute(update(_thresholds).where(_thresholds.c.id == row.id).values(crossed=crossed))
        if crossed:
            record(
                connection, now, EVENT, account=row.owner, reference=row.id, sense=row.sense, value=row.value,
                percent=row.percent, level=row.level, left=left, unit=unit, bucket=row.bucket_id,
            )  # fmt: skip
            tell_customer(connection, row, left, unit, now)


def _check(connection: Connection, account: str, currency: str | None, bucket: str | None, now: datetime) -> None:
    if bucket is not None:
        bucket_changed(connection, bucket, now)
    elif currency is not None:
        recheck(connection, [(account, currency)], to_micros(now))


def _watch(connection: Connection, account: str, currency: str | None, bucket: str | None) -> None:
    low, high = bounds((row.level, row.crossed) for row in _of(connection, account, currency, bucket))
    values = {"watch_low": low, "watch_high": high}
    if bucket is not None:
        connection.execute(update(_buckets).where(_buckets.c.id == bucket).values(values))
    else:
        connection.execute(update(_ledger).where(_money(account, currency), _ledger.c.kind == UNBILLED).values(values))


def _of(connection: Connection, account: str, currency: str | None, bucket: str | None) -> list[Row[Any]]:
    statement = select(_thresholds).where(_thresholds.c.owner == account)
    if bucket is not None:
        statement = statement.where(_thresholds.c.bucket_id == bucket)
    else:
        statement = statement.where(_thresholds.c.currency == currency)
    return list(connection.execute(statement.order_by(_thresholds.c.id)))


def _level(connection: Connection, rows: Sequence[Row[Any]], full: int) -> None:
    for row in rows:
        level = level_of(row.sense, row.value, full, percent=row.percent)
        connection.execute(update(_thresholds).where(_thresholds.c.id == row.id).values(level=level))


def _full(connection: Connection, account: str, currency: str) -> int:
    rows = connection.execute(
        select(_ledger.c.kind, _ledger.c.balance, _ledger.c.credit_limit).where(_money(account, currency))
    )
    found = {row.kind: row for row in rows}
    limit = found[UNBILLED].credit_limit or 0
    return int(limit + max(0, -found[PREPAID].balance))


def _money(account: str, currency: str | None) -> Any:
    return (_ledger.c.owner == account) & (_ledger.c.currency == currency)


def _bucket(connection: Connection, bucket: str) -> Row[Any] | None:
    return connection.execute(select(_buckets).where(_buckets.c.id == bucket)).first()
