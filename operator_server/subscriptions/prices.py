"""Price changes of running agreements: only where their terms have a clause for it, and announced to the user."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, select

from charging.modes import mode_kind
from charging.price_text import price_text
from charging.subscriptions import day_of, midnight, plan_of, span
from charging.tariffs.headline import headline
from operator_server.offering.loading import Loaded
from operator_server.settings import Settings
from operator_server.store.dealings import Agreement
from operator_server.store.feed import record
from operator_server.store.rows import add, table
from operator_server.store.terms import AgreementPrice, AgreementTerm
from operator_server.subscriptions.running import language_of, notify, terms_of
from signalling.clock import to_micros
from signalling.messages import ModeTerms

_TEXTS = {
    "en": "The price of {product} changes on {day}: {price}. You can cancel until then.",
    "de": "Der Preis für {product} ändert sich am {day}: {price}. Bis dahin können Sie kündigen.",
}


@dataclass(frozen=True, slots=True)
class Announced:
    """A price change of an agreement: micros net a period, or a version of its tariff, from ``effective_at`` on."""

    agreement: str
    subscriber: str
    product: str
    effective_at: datetime
    amount: int
    currency: str
    tariff_version: str


def announce(
    connection: Connection, loaded: Loaded, settings: Settings, now: datetime, *, dry_run: bool = False
) -> list[Announced]:
    """Announce to the users of running agreements what their mode costs in the catalogue now.

    Agreements whose terms fix the price are left alone, whatever the catalogue says. A change takes effect after the
    notice that was agreed, a subscription's with the period that begins then. What was announced once is not again.
    """
    agreements = table(Agreement)
    rows = connection.execute(
        select(agreements).where(agreements.c.state.in_(("granted", "installed"))).order_by(agreements.c.id)
    )
    changes = []
    for row in rows.all():
        terms = terms_of(connection, row)
        change = _change(connection, row, terms, loaded, settings, now) if terms.price_change_days else None
        if change is None:
            continue
        changes.append(change)
        if not dry_run:
            _write(connection, row, terms, change, loaded, settings, now)
    return changes


def _change(
    connection: Connection, row: Row[Any], terms: ModeTerms, loaded: Loaded, settings: Settings, now: datetime
) -> Announced | None:
    offer = loaded.catalogue.get(row.offer_id)
    mode = None if offer is None else next((each for each in offer.modes if each.id == row.mode), None)
    if mode is None or mode.kind != terms.kind or mode.currency != terms.currency:
        return None
    known = _last(connection, row.id)
    zone = settings.operator.zone
    earliest = midnight(day_of(now, zone) + timedelta(days=terms.price_change_days + 1), zone)
    if mode_kind(terms.kind).by_use:
        held = row.tariff_version if known is None else known.tariff_version
        version = loaded.tariffs.tariff(mode.tariff).versions[-1]
        if version.version_id == held:
            return None
        effective = max(earliest, version.effective_from)
        return Announced(row.id, row.subscriber_id, row.product, effective, 0, row.currency, version.version_id)
    before = terms.amount if known is None else known.amount
    term = connection.execute(select(table(AgreementTerm)).where(table(AgreementTerm).c.agreement_id == row.id)).first()
    if mode.amount == before or term is None or term.ends_at is not None:
        return None
    plan, number = plan_of(terms, day_of(term.charged_from, zone)), term.periods
    while midnight(span(plan, number).start, zone) < earliest:
        number += 1
    effective = midnight(span(plan, number).start, zone)
    return Announced(row.id, row.subscriber_id, row.product, effective, mode.amount, row.currency, "")


def _last(connection: Connection, agreement: str) -> Row[Any] | None:
    price = table(AgreementPrice)
    return connection.execute(
        select(price).where(price.c.agreement_id == agreement).order_by(price.c.effective_at.desc())
    ).first()


def _write(
    connection: Connection,
    row: Row[Any],
    terms: ModeTerms,
    change: Announced,
    loaded: Loaded,
    settings: Settings,
    now: datetime,
) -> None:
    price = table(AgreementPrice)
    # What was announced for that instant before and has not come into force is no longer meant.
    connection.execute(
        delete(price).where(price.c.agreement_id == change.agreement, price.c.effective_at == change.effective_at)
    )
    add(
        connection,
        AgreementPrice(
            agreement_id=change.agreement,
            effective_at=change.effective_at,
            announced_at=now,
            amount=change.amount,
            tariff_version=change.tariff_version,
        ),
    )
    language = language_of(connection, row.account_id)
    if change.tariff_version:
        version = loaded.tariffs.version(change.tariff_version)
        head = headline(version)
        exact = head.exact
        new = msgspec.structs.replace(
            terms, amount=head.amount, unit_size=head.size, included=version.included, trial_days=0,
            included_per=version.included_per if version.included else "",
        )  # fmt: skip
    else:
        new, exact = msgspec.structs.replace(terms, amount=change.amount, trial_days=0), True
    day = change.effective_at.astimezone(settings.operator.zone).date().isoformat()
    text = _TEXTS.get(language, _TEXTS["en"]).format(
        product=row.product, day=day, price=price_text(new, language, exact=exact)
    )
    told = f"{day}/{to_micros(now)}"
    notify(connection, row, now, "price_change", text, dedup=told)
    record(
        connection, now, "price_announced", terminal=row.terminal_id, subscriber=row.subscriber_id,
        account=row.account_id, reference=row.id, product=row.product, effective=change.effective_at.isoformat(),
        amount=change.amount, tariff_version=change.tariff_version,
    )  # fmt: skip
