"""Who pays for what no bucket covers: the account itself or one whose money it shares, by the ledger's operations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from charging.ledger.book import apply, available, hold_accounts
from charging.ledger.operations import Applied, Charge, Declined, Leg, Operation, Pays, Post, Reserve
from charging.ledger.tables import OPERATOR, PREPAID, PSEUDO_PREPAID, REVENUE, UNBILLED, LedgerAccount, tax_kind
from operator_server.balances.buckets import change_share
from operator_server.balances.drawing import payers
from operator_server.balances.once import BalanceError, post
from operator_server.balances.rating import Rest
from operator_server.store.rows import table
from operator_server.usage.standing import Customer
from signalling.clock import to_micros

SOURCE, TAX, GIVEN_BACK = "usage", "usage-tax", "usage-back"
"""The ledger's names of this client: for what is used, the tax in it where it was paid ahead, and what was set aside
for it in vain."""

_ledger = table(LedgerAccount)


@dataclass(frozen=True, slots=True)
class Paid:
    """Who paid for the rest, through which share, by which ledger transfer; ``amount`` micros with the tax paid."""

    owner: str
    share: str | None
    transfer: str
    amount: int


def due(rest: Rest, pays: Pays) -> int:
    """Micros to pay: the price where tax comes with the invoice, else net and tax."""
    return rest.price if pays == UNBILLED else rest.net + rest.tax


def charge(connection: Connection, id: str, rest: Rest, pays: Pays, now: datetime) -> Paid:
    """Charge the rest at once. Raises :class:`BalanceError` where nobody who may pay has enough."""
    customer, amount = rest.customer, due(rest, pays)
    if amount < 0:
        return Paid(customer.account, None, post(connection, _credit(id, rest, pays, amount), now), amount)

    def operation(owner: str) -> Operation:
        return Charge(
            source=SOURCE, op_id=id, owner=owner, amount=amount, currency=customer.currency, effective_at=rest.at,
            agreement_id=rest.agreement, tariff_version_id=rest.version.version_id, pays=pays,
            checked=pays != PSEUDO_PREPAID,
        )  # fmt: skip

    owner, share, transfer = _first_to_pay(connection, customer, amount, operation, now)
    return Paid(owner, share, transfer, amount)


def set_aside(
    connection: Connection, id: str, rest: Rest, pays: Pays, expires: datetime, now: datetime
) -> tuple[int, str, str | None, str | None]:
    """Reserve what the rest may cost: micros, who pays, through which share, and the ledger's reservation."""
    customer, amount = rest.customer, max(0, due(rest, pays))
    if not amount:
        return 0, customer.account, None, None

    def operation(owner: str) -> Operation:
        return Reserve(
            source=SOURCE, op_id=id, owner=owner, amount=amount, currency=customer.currency, expires_at=expires,
            agreement_id=rest.agreement, pays=pays,
        )  # fmt: skip

    owner, share, transfer = _first_to_pay(connection, customer, amount, operation, now)
    if share is not None:
        change_share(connection, share, reserved=amount)
    return amount, owner, share, transfer


def book_tax(connection: Connection, id: str, rest: Rest, now: datetime) -> None:
    """Take the tax in what was paid ahead out of the revenue."""
    if rest.tax:
        currency = rest.version.currency
        legs = (
            Leg(OPERATOR, REVENUE, currency, rest.tax),
            Leg(OPERATOR, tax_kind(rest.version.tax_category), currency, -rest.tax),
        )
        post(connection, Post(source=TAX, op_id=id, kind="prepaid_tax", legs=legs, effective_at=rest.at), now)


def could_pay(connection: Connection, customer: Customer, pays: Pays, amount: int) -> bool:
    """Whether anybody who may pay has that much now."""
    for owner, _, most in payers(connection, customer.subscriber, customer.account, customer.currency):
        left = available(connection, owner, customer.currency)
        if pays != UNBILLED:
            there = _prepaid_left(connection, owner, customer.currency)
            left = there if left is None else min(left, there)
        if amount <= most and (left is None or left >= amount):
            return True
    return False


def _first_to_pay(
    connection: Connection, customer: Customer, amount: int, operation: Callable[[str], Operation], now: datetime
) -> tuple[str, str | None, str]:
    refused: BalanceError | None = None
    may_pay = payers(connection, customer.subscriber, customer.account, customer.currency)
    if len(may_pay) > 1:
        hold_accounts(connection, [owner for owner, _, _ in may_pay])
    for owner, share, most in may_pay:
        if amount > most:
            refused = refused or BalanceError("exceeds_share", f"share {share}: its limit does not allow that much")
            continue
        outcome = apply(connection, [operation(owner)], to_micros(now))[0]
        if isinstance(outcome, Applied):
            return owner, share, outcome.transfer_id
        if not isinstance(outcome, Declined):
            raise BalanceError("conflict", f"id {operation(owner).op_id}: the ledger has it already")
        refused = refused or BalanceError(outcome.code, outcome.reason)
    assert refused is not None, "the account itself is always asked"
    raise refused


def _credit(id: str, rest: Rest, pays: Pays, amount: int) -> Post:
    """Volume tiers may make the units before cheaper than they were charged."""
    account, currency = rest.customer.account, rest.version.currency
    kind = UNBILLED if pays == UNBILLED else PREPAID
    legs = (Leg(account, kind, currency, amount), Leg(OPERATOR, REVENUE, currency, -amount))
    return Post(
        source=SOURCE, op_id=id, kind="use_credit", legs=legs, effective_at=rest.at, agreement_id=rest.agreement
    )  # fmt: skip


def _prepaid_left(connection: Connection, owner: str, currency: str) -> int:
    row = connection.execute(
        select(_ledger.c.balance, _ledger.c.reserved).where(
            _ledger.c.owner == owner, _ledger.c.currency == currency, _ledger.c.kind == PREPAID
        )
    ).first()
    return 0 if row is None else -row.balance - row.reserved
