"""What may be spent: the seam between units of use and money.

Whatever turns units into money, or money into units, asks here: how much an account has for a way of paying, what a
subscriber's own limit leaves, and what the ledger is to do for a charge. Units that a bucket holds are taken before.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, tzinfo
from typing import Any

from sqlalchemy import Connection, func, select

from charging.balances.tables import Barring
from charging.ledger.book import available
from charging.ledger.operations import Charge, Leg, Operation, Post
from charging.ledger.tables import CUSTOMER_KINDS, OPERATOR, PREPAID, REVENUE, UNBILLED, LedgerAccount, tax_kind
from charging.modes import Payment, affordable
from charging.periods import period_of
from operator_server.counting.book import portions
from operator_server.store.accounting import Charge as ChargeRow
from operator_server.store.accounting import UsageGrantRow
from operator_server.store.dealings import Agreement, Installation
from operator_server.store.rows import table
from operator_server.store.terms import SubscriberLimit

Money = dict[tuple[str, str, bool], int | None]
"""Account, currency and whether it is money paid ahead, to micros that can be spent; ``None`` is no limit."""


def money_left(connection: Connection, accounts: Collection[str]) -> Money:
    """What each account can spend in each of its currencies, as :func:`charging.ledger.book.available` has it, and what
    of it is there as money paid ahead."""
    ledger = table(LedgerAccount)
    own = func.sum(ledger.c.balance + ledger.c.reserved)
    statement = (
        select(
            ledger.c.owner,
            ledger.c.currency,
            func.max(ledger.c.credit_limit).label("credit"),
            own.label("taken"),
            own.filter(ledger.c.kind == PREPAID).label("prepaid"),
        )
        .where(ledger.c.kind.in_(CUSTOMER_KINDS))
        .group_by(ledger.c.owner, ledger.c.currency)
    )
    found: Money = {}
    for owners in portions(accounts):
        for row in connection.execute(statement.where(ledger.c.owner.in_(owners))):
            left = None if row.credit is None else int(row.credit - row.taken)
            ahead = -int(row.prepaid or 0)
            found[row.owner, row.currency, False] = left
            found[row.owner, row.currency, True] = ahead if left is None else min(left, ahead)
    return found


def spendable(
    connection: Connection,
    account: str,
    currency: str,
    payment: Payment,
    tax_rate: int,
    tax_included: int = 0,
    unit: int = 1,
) -> int | None:
    """The highest price, in whole ``unit`` micros, that an account can pay so; ``None`` where nothing limits it.

    Raises ``LookupError`` when the account is not kept in the currency.
    """
    left = available(connection, account, currency)
    if payment.pays is None:
        return None
    if not payment.ahead:
        return left
    ahead = money_left(connection, [account])[account, currency, True]
    assert ahead is not None
    return affordable(ahead, tax_rate, tax_included, unit) if ahead > 0 else ahead


def limits_left(
    connection: Connection, subscribers: Collection[str], zone: tzinfo, now: datetime
) -> dict[tuple[str, str], int]:
    """What the limits of subscribers, by subscriber and currency, leave in this month: micros net.

    Charges of every mode count, and use that is granted and not reported yet as if all of it were used.
    """
    limit, charge, grant = table(SubscriberLimit), table(ChargeRow), table(UsageGrantRow)
    agreement, installation = table(Agreement), table(Installation)
    left: dict[tuple[str, str], int] = {}
    for some in portions(subscribers):
        for row in connection.execute(select(limit).where(limit.c.subscriber_id.in_(some))):
            left[row.subscriber_id, row.currency] = row.amount
    limited = {subscriber for subscriber, _ in left}
    for some in portions(limited):
        spent = connection.execute(
            select(charge.c.subscriber_id, charge.c.currency, func.sum(charge.c.net))
            .join(agreement, agreement.c.id == charge.c.agreement_id)
            .where(
                agreement.c.subscriber_id.in_(some),
                charge.c.period == period_of(now, zone),
                charge.c.pays != "none",
            )
            .group_by(charge.c.subscriber_id, charge.c.currency)
        )
        granted = connection.execute(
            select(agreement.c.subscriber_id, agreement.c.currency, func.sum(grant.c.cost))
            .select_from(agreement)
            .join(installation, installation.c.agreement_id == agreement.c.id)
            .join(grant, grant.c.installation_id == installation.c.id)
            .where(agreement.c.subscriber_id.in_(some), grant.c.state == "open", grant.c.valid_until > now)
            .group_by(agreement.c.subscriber_id, agreement.c.currency)
        )
        for subscriber, currency, amount in [*spent, *granted]:
            if (subscriber, currency) in left:
                left[subscriber, currency] -= int(amount or 0)
    return left


def limit_left(connection: Connection, subscriber: str, currency: str, zone: tzinfo, now: datetime) -> int | None:
    """What a subscriber's own limit leaves in this month; ``None`` where there is none."""
    return limits_left(connection, [subscriber], zone, now).get((subscriber, currency))


def charge_operation(
    source: str, op_id: str, charge: Mapping[str, Any], payment: Payment, *, checked: bool = False
) -> Operation | None:
    """The ledger's side of a charge; ``None`` where it is only rated. From money paid ahead its tax is paid with it.

    What was used is owed, whatever the limit, unless ``checked``; the limit binds what is granted ahead.
    """
    if payment.pays is None:
        return None
    amount = charge["net"] + (charge["paid_tax"] if payment.ahead else 0)
    if amount >= 0:
        return Charge(
            source=source,
            op_id=op_id,
            effective_at=charge["effective_at"],
            agreement_id=charge["agreement_id"],
            owner=charge["account_id"],
            amount=amount,
            currency=charge["currency"],
            tariff_version_id=charge["tariff_version"] or None,
            checked=checked,
            pays=payment.pays,
        )
    # Volume tiers may make the units before cheaper than they were charged.
    own = PREPAID if payment.ahead else UNBILLED
    legs = (
        Leg(charge["account_id"], own, charge["currency"], amount),
        Leg(OPERATOR, REVENUE, charge["currency"], -amount),
    )
    return Post(
        source=source, op_id=op_id, effective_at=charge["effective_at"], agreement_id=charge["agreement_id"],
        kind="use_credit", legs=legs,
    )  # fmt: skip


def tax_operation(source: str, op_id: str, charge: Mapping[str, Any]) -> Operation | None:
    """What moves the tax in a charge that was paid ahead from revenue to the tax account; ``None`` for no tax."""
    if not charge["paid_tax"]:
        return None
    currency, tax = charge["currency"], charge["paid_tax"]
    return Post(
        source=f"{source}-tax",
        op_id=op_id,
        kind="prepaid_tax",
        legs=(
            Leg(OPERATOR, REVENUE, currency, tax),
            Leg(OPERATOR, tax_kind(charge["tax_category"]), currency, -tax),
        ),
        effective_at=charge["effective_at"],
        agreement_id=charge["agreement_id"],
    )


def barred_among(
    connection: Connection, accounts: Collection[str], subscribers: Collection[str]
) -> set[tuple[str, str]]:
    """Those of the accounts and subscribers that are barred, as ``("account", id)`` or ``("subscriber", id)``."""
    barring = table(Barring)
    named = select(barring.c.party, barring.c.party_id).where(barring.c.lifted_at.is_(None))
    return {
        (row.party, row.party_id)
        for party, ids in (("account", accounts), ("subscriber", subscribers))
        for some in portions(ids)
        for row in connection.execute(named.where(barring.c.party == party, barring.c.party_id.in_(some)))
    }
