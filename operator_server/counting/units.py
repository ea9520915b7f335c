"""Units before money: what buckets hold for use that is counted or handed in, drawn as a transaction goes on.

Buckets are read when somebody who has any uses something, and stay locked until the transaction ends.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, select, update

from charging.balances.drawing import Bucket, Drawn, draw
from charging.balances.tables import OPEN, BalanceShare, UnitBucket, UsageReservation
from operator_server.balances.drawing import drawable, held, hold, settle_holds, take
from operator_server.counting.book import portions
from operator_server.store.rows import add, table

COVERED = "covered"
"""The kind of a charge for use that buckets cover altogether: it is not rated and costs nothing."""

User = tuple[str, str]
"""A subscriber and the account that pays."""

_buckets, _shares, _reservations = table(UnitBucket), table(BalanceShare), table(UsageReservation)


class Units:
    """What the users of one transaction may draw on, less what was drawn already."""

    def __init__(self, connection: Connection, now: datetime) -> None:
        self._connection = connection
        self._now = now
        self._has: dict[User, bool] = {}
        self._drawable: dict[tuple[User, str], list[Bucket]] = {}
        self._free: dict[str, int] = {}
        self._share_free: dict[str, int | None] = {}

    def expect(self, users: Collection[User]) -> None:
        """Learn at once which of the users have buckets, their own or shared with them."""
        wanted = [user for user in users if user not in self._has]
        owners: set[str] = set()
        shared: set[str] = set()
        for some in portions({account for _, account in wanted}):
            owning = select(_buckets.c.owner).distinct().where(_buckets.c.owner.in_(some), _buckets.c.state == OPEN)
            owners.update(self._connection.execute(owning).scalars())
        for some in portions({name for user in wanted for name in user}):
            sharing = select(_shares.c.user_id).distinct()
            sharing = sharing.where(_shares.c.user_id.in_(some), _shares.c.bucket_id.is_not(None))
            shared.update(self._connection.execute(sharing).scalars())
        for subscriber, account in wanted:
            self._has[subscriber, account] = account in owners or not shared.isdisjoint((subscriber, account))

    def has(self, user: User) -> bool:
        """Whether the user has buckets of any unit."""
        if user not in self._has:
            self.expect([user])
        return self._has[user]

    def draw(self, user: User, unit: str, quantity: int, at: datetime) -> list[Drawn]:
        """Units for use of ``at``, as many as there are; nobody else gets them in this transaction."""
        if quantity <= 0 or not self.has(user):
            return []
        drawn, _ = draw([self._left(bucket) for bucket in self._of(user, unit)], quantity, at)
        self._move(drawn, -1)
        return drawn

    def put_back(self, drawn: Sequence[Drawn]) -> None:
        """What was drawn, or held, is free again; the store must know or must not have known."""
        self._move(drawn, 1)

    def take(self, drawn: Sequence[Drawn], charge: str) -> None:
        """Write that drawn units were used, for the charge that stands for the use."""
        take(self._connection, drawn, charge, self._now)

    def hold(self, user: User, unit: str, drawn: Sequence[Drawn], grant: str, until: datetime) -> None:
        """Keep drawn units for use that is granted ahead. ``grant`` names the reservation."""
        quantity = units_of(drawn)
        add(
            self._connection,
            UsageReservation(
                id=grant, account_id=user[1], use={"subscriber": user[0], "unit": unit, "quantity": quantity},
                quantity=quantity, expires_at=until,
            ),
        )  # fmt: skip
        hold(self._connection, drawn, grant, self._now)

    def release(self, grants: Collection[str]) -> None:
        """Give back what is still held for grants."""
        for drawn in release_units(self._connection, grants, self._now):
            self.put_back(drawn)

    def last_until(self, user: User, unit: str, drawn: Sequence[Drawn]) -> datetime | None:
        """Until when all of the drawn buckets hold; ``None`` for ever."""
        names = {each.bucket for each in drawn}
        ends = [each.valid_until for each in self._of(user, unit) if each.id in names and each.valid_until is not None]
        return min(ends, default=None)

    def _of(self, user: User, unit: str) -> list[Bucket]:
        if (user, unit) not in self._drawable:
            found = drawable(self._connection, *user, unit)
            for bucket in found:
                # What this transaction has drawn is not in the store yet.
                self._free.setdefault(bucket.id, bucket.free)
                if bucket.share is not None:
                    self._share_free.setdefault(bucket.share, bucket.share_free)
            self._drawable[user, unit] = found
        return self._drawable[user, unit]

    def _left(self, bucket: Bucket) -> Bucket:
        share_free = bucket.share_free if bucket.share is None else self._share_free[bucket.share]
        return replace(bucket, free=self._free[bucket.id], share_free=share_free)

    def _move(self, drawn: Sequence[Drawn], sign: int) -> None:
        for each in drawn:
            if each.bucket in self._free:
                self._free[each.bucket] += sign * each.amount
            left = None if each.share is None else self._share_free.get(each.share)
            if each.share is not None and left is not None:
                self._share_free[each.share] = left + sign * each.amount


def units_of(drawn: Sequence[Drawn]) -> int:
    """How many units that is."""
    return sum(each.amount for each in drawn)


def release_units(connection: Connection, grants: Collection[str], now: datetime) -> list[list[Drawn]]:
    """Give back what is still held for grants; what that was."""
    released = []
    for some in portions(grants):
        open_ones = select(_reservations.c.id).where(_reservations.c.id.in_(some), _reservations.c.state == OPEN)
        for grant in connection.execute(open_ones.order_by(_reservations.c.id)).scalars().all():
            drawn = held(connection, grant)
            settle_holds(connection, drawn, grant, 0, grant, now)
            connection.execute(update(_reservations).where(_reservations.c.id == grant).values(state="released"))
            released.append(drawn)
    return released
