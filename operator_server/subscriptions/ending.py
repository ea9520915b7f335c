"""What ends an agreement before its time: cancellation by its terms, withdrawal within the operator's days."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select, update

from charging.ledger.book import apply
from charging.ledger.operations import Release
from charging.modes import mode_kind
from charging.subscriptions import cancelled, day_of, midnight, plan_of
from operator_server.settings import Settings
from operator_server.store.accounting import Charge
from operator_server.store.dealings import Agreement
from operator_server.store.feed import record
from operator_server.store.rows import table
from operator_server.store.terms import AgreementPrice, AgreementTerm
from operator_server.subscriptions.running import advance, end, terms_of
from operator_server.subscriptions.settling import NotSettled, take_back
from signalling.clock import to_micros
from signalling.messages import ModeTerms


class AgreementError(ValueError):
    """Something about an agreement that cannot be done; the text says what and why."""


@dataclass(frozen=True, slots=True)
class Cancellation:
    """When a cancellation takes effect, and why then: ``now``, ``trial``, ``notice``, ``minimum`` or ``price``."""

    agreement: str
    ends_at: datetime
    because: str


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What was taken back with a withdrawn agreement: micros net and tax by currency's charge rows."""

    agreement: str
    net: int
    tax: int
    currency: str
    charges: tuple[str, ...]


def cancel(connection: Connection, agreement: str, settings: Settings, now: datetime) -> Cancellation:
    """End an agreement as its terms allow, and say when that is. Asked again, the answer is the same.

    A subscription ends with the first period that ends no earlier than the notice and the minimum term; within an
    announced price change it ends at the latest when the new price begins. A trial ends with itself. Raises
    :class:`AgreementError`.
    """
    row, term, terms = _read(connection, agreement)
    if row.state in ("failed", "ended"):
        raise AgreementError(f"agreement {agreement} is {row.state} already")
    if term is None:
        if mode_kind(terms.kind).once:
            raise AgreementError(f"agreement {agreement} is paid once, so there is nothing to cancel; see `withdraw`")
        _drop(connection, row, now)
        end(connection, row, settings, now, "cancelled")
        return Cancellation(agreement, now, "now")
    if term.ends_at is not None:
        return Cancellation(agreement, term.ends_at, term.reason)
    ends_at, because = _ending(connection, row, term, terms, settings, now)
    terms_table = table(AgreementTerm)
    connection.execute(
        update(terms_table)
        .where(terms_table.c.agreement_id == agreement)
        .values(cancelled_at=now, ends_at=ends_at, reason=because, next_at=now)
    )
    record(
        connection, now, "agreement_cancelled", terminal=row.terminal_id, subscriber=row.subscriber_id,
        account=row.account_id, reference=agreement, product=row.product, ends=ends_at.isoformat(), because=because,
    )  # fmt: skip
    advance(connection, agreement, settings, now)
    return Cancellation(agreement, ends_at, because)


def renew(connection: Connection, agreement: str, settings: Settings, now: datetime) -> None:
    """Take a cancellation back that has not taken effect: the agreement runs on. Raises :class:`AgreementError`."""
    row, term, _ = _read(connection, agreement)
    if row.state in ("failed", "ended"):
        raise AgreementError(f"agreement {agreement} is {row.state}; only a new one can follow it, signed by its user")
    if term is None or term.cancelled_at is None:
        raise AgreementError(f"agreement {agreement} is not cancelled; it runs on as it is")
    terms_table = table(AgreementTerm)
    connection.execute(
        update(terms_table)
        .where(terms_table.c.agreement_id == agreement)
        .values(cancelled_at=None, ends_at=None, reason="", next_at=now)
    )
    record(
        connection, now, "agreement_renewed", terminal=row.terminal_id, subscriber=row.subscriber_id,
        account=row.account_id, reference=agreement, product=row.product,
    )  # fmt: skip
    advance(connection, agreement, settings, now)


def withdraw(connection: Connection, agreement: str, settings: Settings, now: datetime) -> Withdrawal:
    """End an agreement from its beginning: all that it charged is taken back. Raises :class:`AgreementError`.

    It must come within the operator's ``withdrawal_days``; what is billed already comes back with the next invoice.
    """
    row, _, _ = _read(connection, agreement)
    if row.state in ("failed", "ended"):
        raise AgreementError(f"agreement {agreement} is {row.state} already")
    days = settings.negotiation.withdrawal_days
    zone = settings.operator.zone
    last = midnight(day_of(row.agreed_at, zone) + timedelta(days=days + 1), zone)
    if not days or now >= last:
        until = f"could be withdrawn until {last:%Y-%m-%d %H:%M} UTC" if days else "cannot be withdrawn"
        raise AgreementError(f"agreement {agreement} {until}; see `tollgate agreement cancel`")
    _drop(connection, row, now)
    charge = table(Charge)
    charged = connection.execute(
        select(charge).where(
            charge.c.agreement_id == agreement, charge.c.reverses_id.is_(None), charge.c.pays != "none"
        )
    ).all()
    taken = []
    for each in charged:
        try:
            back = take_back(connection, each, "withdrawal", zone, now, source="withdrawal")
        except NotSettled as no:
            raise AgreementError(f"agreement {agreement}: charge {each.id} cannot be taken back: {no}") from None
        if back is not None:
            taken.append(back)
    end(connection, row, settings, now, "withdrawn")
    return Withdrawal(
        agreement,
        -sum(each.net for each in taken),
        -sum(each.paid_tax for each in taken),
        row.currency,
        tuple(each.id for each in taken),
    )


def _read(connection: Connection, agreement: str) -> tuple[Row[Any], Row[Any] | None, ModeTerms]:
    agreements, term = table(Agreement), table(AgreementTerm)
    row = connection.execute(select(agreements).where(agreements.c.id == agreement).with_for_update()).first()
    if row is None:
        raise AgreementError(f"agreement {agreement}: there is none; see `tollgate agreement list`")
    if row.state == "standing":
        raise AgreementError(f"agreement {agreement} is kept by the operator for imported usage; it has no end")
    found = connection.execute(select(term).where(term.c.agreement_id == agreement).with_for_update()).first()
    return row, found, terms_of(connection, row)


def _ending(
    connection: Connection, row: Row[Any], term: Row[Any], terms: ModeTerms, settings: Settings, now: datetime
) -> tuple[datetime, str]:
    zone = settings.operator.zone
    if term.state == "trial" and term.trial_ends_at > now:
        return term.trial_ends_at, "trial"
    if not mode_kind(terms.kind).periodic:
        return now, "now"
    ending = cancelled(
        plan_of(terms, day_of(term.charged_from, zone)),
        today=day_of(now, zone),
        notice_days=terms.notice_days,
        minimum_periods=terms.minimum_periods,
    )
    ends_at, because = midnight(ending.day, zone), ending.because
    price = table(AgreementPrice)
    dearer = connection.execute(
        select(price.c.effective_at)
        .where(price.c.agreement_id == row.id, price.c.effective_at > now)
        .order_by(price.c.effective_at)
    ).scalar()
    return (dearer, "price") if dearer is not None and dearer < ends_at else (ends_at, because)


def _drop(connection: Connection, row: Row[Any], now: datetime) -> None:
    """Give back the money that waits for a delivery."""
    if row.reservation_id is not None and row.state == "agreed":
        release = Release(source="agreement-end", op_id=row.id, reservation_id=row.reservation_id)
        # One that has expired meanwhile is declined by the ledger, and that is as good.
        apply(connection, [release], to_micros(now))
