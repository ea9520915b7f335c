"""Tables of balances. Units are whole numbers, amounts micros of their currency.

Nothing here is a second truth about money: what an account has paid ahead stands in the ledger, and a credit says
only until when which part of it can be spent.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Column, Index, text
from sqlmodel import Field, SQLModel

from charging.columns import Digest, Identifier, Instant, Json, Micros

OPEN = "open"


class PrepaidCredit(SQLModel, table=True):
    """Money paid ahead at once; ``id`` is its ledger transfer. ``state``: open, used, expired.

    ``remaining``: what of it was left when the account's credits were last settled.
    """

    __tablename__ = "prepaid_credit"
    __table_args__ = (
        Index("prepaid_credit_owner", "owner", "currency", "state"),
        Index(
            "prepaid_credit_expiry",
            "valid_until",
            sqlite_where=text("state = 'open'"),
            postgresql_where=text("state = 'open'"),
        ),
    )
    id: str = Field(primary_key=True, sa_type=Identifier)
    owner: str = Field(sa_type=Identifier)
    currency: str = Field(max_length=3)
    amount: int = Field(sa_type=Micros)
    remaining: int = Field(sa_type=Micros)
    valid_until: datetime | None = Field(default=None, sa_type=Instant)
    made_at: datetime = Field(sa_type=Instant)
    state: str = Field(default=OPEN, max_length=16)


class UnitBucket(SQLModel, table=True):
    """Units of one kind that an account may use. ``valid_from`` inclusive, ``valid_until`` exclusive. ``state``: open,
    expired.

    ``granted``: all units ever put in; ``remaining``: the sum of the bucket's movements; ``reserved``: what is held of
    it. ``priority``: a smaller one is used first. ``watch_low``, ``watch_high``: as in the ledger's accounts.
    """

    __tablename__ = "unit_bucket"
    __table_args__ = (
        Index("unit_bucket_owner", "owner", "unit", "state"),
        Index(
            "unit_bucket_expiry",
            "valid_until",
            sqlite_where=text("state = 'open'"),
            postgresql_where=text("state = 'open'"),
        ),
    )
    id: str = Field(primary_key=True, sa_type=Identifier)
    owner: str = Field(sa_type=Identifier)
    unit: str = Field(sa_type=Identifier)
    name: str = ""
    granted: int = Field(sa_type=Micros)
    remaining: int = Field(sa_type=Micros)
    reserved: int = Field(default=0, sa_type=Micros)
    priority: int = 100
    valid_from: datetime = Field(sa_type=Instant)
    valid_until: datetime | None = Field(default=None, sa_type=Instant)
    created_at: datetime = Field(sa_type=Instant)
    state: str = Field(default=OPEN, max_length=16)
    watch_low: int | None = Field(default=None, sa_type=Micros)
    watch_high: int | None = Field(default=None, sa_type=Micros)


class BalanceShare(SQLModel, table=True):
    """A bucket, or an account's money of a currency, that ``user_id`` may draw on: another account or a subscriber.

    ``most``: units or micros in all, null is no limit; ``used`` and ``reserved`` count against it.
    """

    __tablename__ = "balance_share"
    __table_args__ = (Index("balance_share_user", "user_id"),)
    id: str = Field(primary_key=True, sa_type=Identifier)
    owner: str = Field(index=True, sa_type=Identifier)
    bucket_id: str | None = Field(default=None, foreign_key="unit_bucket.id", sa_type=Identifier)
    currency: str | None = Field(default=None, max_length=3)
    user_id: str = Field(sa_type=Identifier)
    most: int | None = Field(default=None, sa_type=Micros)
    used: int = Field(default=0, sa_type=Micros)
    reserved: int = Field(default=0, sa_type=Micros)
    created_at: datetime = Field(sa_type=Instant)
    ended_at: datetime | None = Field(default=None, sa_type=Instant)


class BalanceMovement(SQLModel, table=True):
    """Units put into or taken out of a bucket, or money taken from a shared balance; written once, never changed.

    ``kind``: grant, use, refund, adjustment, expiry. ``amount``: units, or micros where ``transfer_id`` names the
    ledger's transfer; what is taken is negative.
    """

    __tablename__ = "balance_movement"
    __table_args__ = (
        Index("balance_movement_bucket", "bucket_id"),
        Index("balance_movement_usage", "usage_id"),
        {"sqlite_with_rowid": False},
    )
    id: str = Field(primary_key=True, sa_type=Identifier)
    bucket_id: str | None = Field(default=None, sa_type=Identifier)
    share_id: str | None = Field(default=None, sa_type=Identifier)
    kind: str = Field(max_length=16)
    amount: int = Field(sa_type=Micros)
    usage_id: str | None = Field(default=None, sa_type=Identifier)
    transfer_id: str | None = Field(default=None, sa_type=Identifier)
    reason: str = ""
    at: datetime = Field(sa_type=Instant)


class UsageReservation(SQLModel, table=True):
    """Use reserved ahead; ``id`` names the operation that reserved it. ``state``: open, committed, released, expired.

    ``use``: what was asked for; ``money_id``: the ledger's reservation of what is not covered by units. ``used``: units
    that were committed so far, ``captured``: what of ``money`` is charged or given back by now. ``session``: where the
    rating of its session stands after the commits so far.
    """

    __tablename__ = "usage_reservation"
    __table_args__ = (
        Index(
            "usage_reservation_expiry",
            "expires_at",
            sqlite_where=text("state = 'open'"),
            postgresql_where=text("state = 'open'"),
        ),
    )
    id: str = Field(primary_key=True, sa_type=Identifier)
    account_id: str = Field(sa_type=Identifier)
    use: dict[str, Any] = Field(sa_column=Column(Json, nullable=False))
    quantity: int = Field(sa_type=Micros)
    money_id: str | None = Field(default=None, sa_type=Identifier)
    money: int = Field(default=0, sa_type=Micros)
    share_id: str | None = Field(default=None, sa_type=Identifier)
    expires_at: datetime = Field(sa_type=Instant)
    state: str = Field(default=OPEN, max_length=16)
    used: int = Field(default=0, sa_type=Micros, sa_column_kwargs={"server_default": "0"})
    captured: int = Field(default=0, sa_type=Micros, sa_column_kwargs={"server_default": "0"})
    session: dict[str, Any] | None = Field(default=None, sa_column=Column(Json, nullable=True))


class UnitHold(SQLModel, table=True):
    """Units of a bucket that an open reservation of use holds, in the order of ``place``."""

    __tablename__ = "unit_hold"
    reservation_id: str = Field(primary_key=True, foreign_key="usage_reservation.id", sa_type=Identifier)
    place: int = Field(primary_key=True)
    bucket_id: str = Field(foreign_key="unit_bucket.id", index=True, sa_type=Identifier)
    share_id: str | None = Field(default=None, sa_type=Identifier)
    amount: int = Field(sa_type=Micros)


class BalanceOperation(SQLModel, table=True):
    """An operation on balances that took effect, by the name that its client gave it, with its answer."""

    __tablename__ = "balance_operation"
    id: str = Field(primary_key=True, sa_type=Identifier)
    kind: str = Field(max_length=16)
    digest: bytes = Field(sa_type=Digest)
    answer: dict[str, Any] = Field(sa_column=Column(Json, nullable=False))
    at: datetime = Field(sa_type=Instant)


class Threshold(SQLModel, table=True):
    """Tell when what is left of a bucket, or of an account's money in a currency, falls below ``level``.

    ``sense``: ``below`` watches what is left, ``above`` what is used; ``value`` is as it was given, in units or micros,
    or in percent where ``percent``; ``level`` follows from it and from what the balance is full. ``crossed``: it was
    told and the balance has not risen to the level since.
    """

    __tablename__ = "threshold"
    __table_args__ = (Index("threshold_owner", "owner"),)
    id: str = Field(primary_key=True, sa_type=Identifier)
    owner: str = Field(sa_type=Identifier)
    bucket_id: str | None = Field(default=None, foreign_key="unit_bucket.id", sa_type=Identifier)
    currency: str | None = Field(default=None, max_length=3)
    sense: str = Field(max_length=8)
    value: int = Field(sa_type=Micros)
    percent: bool = False
    level: int = Field(sa_type=Micros)
    crossed: bool = False
    created_at: datetime = Field(sa_type=Instant)


class Barring(SQLModel, table=True):
    """A time in which an account, with all its subscribers, or one subscriber may agree to and spend nothing."""

    __tablename__ = "barring"
    __table_args__ = (Index("barring_party", "party_id", "lifted_at"),)
    id: str = Field(primary_key=True, sa_type=Identifier)
    party: str = Field(max_length=16)
    party_id: str = Field(sa_type=Identifier)
    reason: str
    barred_at: datetime = Field(sa_type=Instant)
    lifted_at: datetime | None = Field(default=None, sa_type=Instant)
    lift_reason: str = ""
