"""What can be asked of the ledger, and what it answers.

An operation is named by its client: ``source`` says who, ``op_id`` which one (1 to 64 characters each). The same name
with the same content is done once, however often it is sent; so whatever stands in an operation must be the same when
it is sent again (an ``expires_at`` taken from a clock at each try is another content). Amounts are micros, not
negative; instants are aware UTC.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Literal

import msgspec

from charging.ledger.tables import REVENUE
from signalling.money import MAX_MICROS, checked_currency

Pays = Literal["unbilled", "prepaid", "pseudo_prepaid"]
"""The customer's account that a charge is debited to: on the next invoice, or from money paid ahead.

``pseudo_prepaid`` is money paid ahead that is authorised first, by a reservation or an enquiry, and charged
afterwards: a charge that is not ``checked`` may take it below zero. ``prepaid`` never goes there.
"""

OWN_KINDS = frozenset({"reserve", "capture", "release", "charge", "overdraw", "reverse"})
"""Kinds of transfer that are the ledger's own; a :class:`Post` takes another name."""

LONGEST_NAME = 64


class _Named(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    source: str
    op_id: str

    def __post_init__(self) -> None:
        if not (0 < len(self.source) <= LONGEST_NAME and 0 < len(self.op_id) <= LONGEST_NAME):
            raise ValueError(f"operation {self.source!r} {self.op_id!r}: source and op_id have 1 to 64 characters")


class Reserve(_Named, frozen=True, kw_only=True):
    """Set ``amount`` aside for a later capture, until ``expires_at``; declined when less is available.

    The id of its transfer is the id of the reservation.
    """

    owner: str
    amount: int
    currency: str
    expires_at: datetime
    agreement_id: str | None = None
    pays: Pays = "unbilled"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_amount(self, self.amount)
        checked_currency(self.currency)
        _check_instant(self, self.expires_at)


class Capture(_Named, frozen=True, kw_only=True):
    """Charge ``amount`` out of an open reservation, at most what remains of it.

    The rest stays reserved, unless ``release_rest`` gives it back.
    """

    reservation_id: str
    amount: int
    effective_at: datetime
    tariff_version_id: str | None = None
    revenue: str = REVENUE
    release_rest: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_amount(self, self.amount)
        _check_instant(self, self.effective_at)


class Release(_Named, frozen=True, kw_only=True):
    """Give back what remains of an open reservation."""

    reservation_id: str


class Charge(_Named, frozen=True, kw_only=True):
    """Charge ``amount`` at once. With ``checked`` it is declined when less is available, or the customer is barred.

    What ``prepaid`` pays is always checked; otherwise raises ``ValueError``.
    """

    owner: str
    amount: int
    currency: str
    effective_at: datetime
    agreement_id: str | None = None
    tariff_version_id: str | None = None
    pays: Pays = "unbilled"
    revenue: str = REVENUE
    checked: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_amount(self, self.amount)
        checked_currency(self.currency)
        _check_instant(self, self.effective_at)
        if self.pays == "prepaid" and not self.checked:
            raise ValueError(
                f"operation {self.source} {self.op_id}: what prepaid pays is checked; pseudo_prepaid may end below zero"
            )


class Reverse(_Named, frozen=True, kw_only=True):
    """Take back ``amount`` of a charge or capture, or all that is left of it; never more than that."""

    transfer_id: str
    effective_at: datetime
    amount: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.amount is not None:
            _check_amount(self, self.amount)
        _check_instant(self, self.effective_at)


class Leg(msgspec.Struct, frozen=True):
    """``amount`` micros added to an account; a debit is positive.

    The operator's accounts are opened on first use, and so are a customer's beyond those every customer has.
    """

    owner: str
    kind: str
    currency: str
    amount: int

    def __post_init__(self) -> None:
        _check_micros(self.amount, -MAX_MICROS, f"leg {self.owner} {self.kind}")
        checked_currency(self.currency)


class Post(_Named, frozen=True, kw_only=True):
    """Any balanced transfer: an invoice (unbilled to receivable, tax and rounding), a payment, a top-up.

    No credit limit holds for it; but it is declined when it takes prepaid money that is not there, is reserved, or
    covers what the customer owes beyond the limit.
    Legs that do not sum to zero in each currency raise ``ValueError``.
    """

    kind: str
    legs: tuple[Leg, ...]
    effective_at: datetime
    agreement_id: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        where = f"operation {self.source} {self.op_id}"
        if self.kind in OWN_KINDS or not self.kind:
            raise ValueError(f"{where}: kind {self.kind!r} is the ledger's own; name what is posted")
        _check_instant(self, self.effective_at)
        sums: dict[str, int] = {}
        for leg in self.legs:
            sums[leg.currency] = sums.get(leg.currency, 0) + leg.amount
        for currency, total in sums.items():
            if total:
                raise ValueError(f"{where}: its legs in {currency} sum to {total} micros, not to zero")


Operation = Reserve | Capture | Release | Charge | Reverse | Post


class Applied(msgspec.Struct, frozen=True):
    """Done now, by this transfer; for a :class:`Reserve` that is the reservation's id."""

    transfer_id: str


class Duplicate(msgspec.Struct, frozen=True):
    """Done before, by this transfer, and not again."""

    transfer_id: str


class Declined(msgspec.Struct, frozen=True):
    """Not done and not recorded: sent again, it is decided again.

    ``code``: unknown_account, barred, limit, unknown_reservation, reservation_closed, reservation_expired,
    exceeds_reservation, unknown_transfer, not_reversible, exceeds_charge.
    """

    code: str
    reason: str


class Conflict(msgspec.Struct, frozen=True):
    """Another operation of this name, with other content, was done before by ``transfer_id``."""

    transfer_id: str


Outcome = Applied | Duplicate | Declined | Conflict

_encoder = msgspec.msgpack.Encoder()


def request_digest(operation: Operation) -> bytes:
    """SHA-256 of all that the operation says; a field that is left at its default does not count."""
    return sha256(_encoder.encode(operation)).digest()


def _check_amount(operation: _Named, amount: int) -> None:
    if type(amount) is not int or not 0 <= amount <= MAX_MICROS:
        _check_micros(amount, 0, f"operation {operation.source} {operation.op_id}")


def _check_micros(amount: int, least: int, where: str) -> None:
    if type(amount) is not int:
        raise TypeError(f"{where}: amount {amount!r} is not an integer of micros")
    if not least <= amount <= MAX_MICROS:
        raise ValueError(f"{where}: amount {amount} is not between {least} and {MAX_MICROS}")


def _check_instant(operation: _Named, instant: datetime) -> None:
    if instant.tzinfo is None:
        raise ValueError(f"operation {operation.source} {operation.op_id}: {instant!r} has no time zone")
