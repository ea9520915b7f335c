"""What has to hold before a mode is quoted or agreed. Each raises :class:`charging.agreements.NotAgreed`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from charging.agreements import AllowedMode, NotAgreed
from charging.ledger.book import apply
from charging.ledger.operations import Release
from charging.modes import first_due, mode_kind, payment_of
from offers.versions import compare
from operator_server.balances.barring import barred
from operator_server.counting.money import limit_left, spendable
from operator_server.desk import Visitor
from operator_server.negotiation import book
from operator_server.settings import Settings
from operator_server.store.feed import record
from signalling.clock import to_micros
from signalling.messages import ModeTerms
from signalling.money import format_micros, minor_unit


def check_not_barred(connection: Connection, visitor: Visitor) -> None:
    """Refuse a subscriber or an account that is barred."""
    why = barred(connection, visitor.subscriber, visitor.account)
    if why is not None:
        raise NotAgreed("barred", why)


def check_need(
    connection: Connection, settings: Settings, visitor: Visitor, product: str, release: str, now: datetime
) -> None:
    """Refuse what is on its way or present already; an agreement that can no longer be delivered is ended."""
    for agreement in book.open_agreements(connection, visitor.terminal, [product]):
        if not _is_dead(connection, settings, agreement, now):
            raise NotAgreed("already_agreed", f"agreement {agreement.id} on {product} is not delivered yet")
        book.set_agreement_state(connection, agreement.id, "ended")
        if agreement.reservation_id is not None:
            release_money = Release(source="agreement-end", op_id=agreement.id, reservation_id=agreement.reservation_id)
            # One that has expired meanwhile is declined by the ledger, and that is as good.
            apply(connection, [release_money], to_micros(now))
        record(
            connection, now, "agreement_ended", terminal=visitor.terminal, subscriber=agreement.subscriber_id,
            account=agreement.account_id, reference=agreement.id, product=product,
        )  # fmt: skip
    # The configuration of a device that takes no packages tells of nothing that we gave it.
    since = book.installed_since_asked if visitor.takes_packages else book.installed_releases
    for present in since(connection, visitor.terminal, product):
        if (compare(release, present) or 0) <= 0:
            raise NotAgreed("already_present", f"{product} {present} is installed on this terminal")


def _is_dead(connection: Connection, settings: Settings, agreement: Row[Any], now: datetime) -> bool:
    """Whether an agreement that charged nothing yet never will: it lapsed, or its release may not be delivered."""
    if agreement.state != "agreed":
        return False
    release = book.release_row(connection, agreement.product, agreement.release)
    lapsed = book.lapsed(agreement, settings.delivery.grant_validity, now)
    return lapsed or book.undeliverable(release, now) is not None


def check_terms(
    connection: Connection, settings: Settings, visitor: Visitor, product: str, terms: ModeTerms, now: datetime
) -> None:
    """Refuse a second trial, and what the subscriber's own limit does not allow."""
    if terms.trial_days and book.had_trial(connection, visitor.subscriber, product):
        raise NotAgreed("trial_used", f"{product} was tried before; a trial is given once")
    due = first_due(terms)
    left = limit_left(connection, visitor.subscriber, terms.currency, settings.operator.zone, now)
    if left is not None and (due > left or (left <= 0 and mode_kind(terms.kind).by_use)):
        raise NotAgreed(
            "limit_reached",
            f"{format_micros(left, terms.currency)} {terms.currency} are left of the limit on the subscriber's "
            "spending this month",
        )


def money_for(connection: Connection, visitor: Visitor, mode: AllowedMode | None) -> int | None:
    """Micros net that the visitor's account may still spend on the mode; ``None`` where nothing limits it."""
    if mode is None or not mode_kind(mode.terms.kind).paid:
        return None
    terms = mode.terms
    unit = 1 if mode_kind(terms.kind).by_use else minor_unit(terms.currency)
    try:
        return spendable(
            connection, visitor.account, terms.currency, payment_of(terms.payment), terms.tax_rate,
            terms.tax_included, unit,
        )  # fmt: skip
    except LookupError:
        raise NotAgreed(
            "mode_not_allowed", f"mode {mode.terms.mode!r} is priced in {mode.terms.currency}, the account is not"
        ) from None
