"""What a negotiation reads and writes in the store. Every function runs in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select, update

from offers.rejections import RejectionRecord
from operator_server.store.dealings import Agreement, Installation, OfferVersion, QuoteRow, Rejection, Release
from operator_server.store.parties import TerminalSession
from operator_server.store.rows import table
from operator_server.store.terms import AgreementTerm
from operator_server.validation.comparison import ReleaseValidity

OPEN_AGREEMENT_STATES = ("agreed", "granted")


def last_code(connection: Connection, terminal: str) -> bytes | None:
    """The configuration code that the terminal answered last."""
    session = table(TerminalSession)
    return connection.execute(select(session.c.code).where(session.c.terminal_id == terminal)).scalar()


def interrogated_at(connection: Connection, terminal: str) -> datetime | None:
    """When the terminal answered last; its menu is of that time."""
    session = table(TerminalSession)
    return connection.execute(select(session.c.interrogated_at).where(session.c.terminal_id == terminal)).scalar()


def offer_prices(connection: Connection, version: str) -> Sequence[str]:
    """What made the prices of a version of an offer, as :attr:`offers.catalogue.Offer.prices` has it."""
    kept = table(OfferVersion)
    content = connection.execute(select(kept.c.content).where(kept.c.id == version)).scalar()
    prices: Sequence[str] = (content or {}).get("prices", ())
    return prices


def had_trial(connection: Connection, subscriber: str, product: str) -> bool:
    """Whether the subscriber has or had an agreement on the product that began with a trial."""
    agreement, term = table(Agreement), table(AgreementTerm)
    tried = (
        select(term.c.agreement_id)
        .join(agreement, agreement.c.id == term.c.agreement_id)
        .where(
            agreement.c.subscriber_id == subscriber,
            agreement.c.product == product,
            term.c.trial_ends_at.is_not(None),
        )
    )
    return connection.execute(tried).first() is not None


def rejections_of(connection: Connection, subscriber: str) -> list[RejectionRecord]:
    """The subscriber's rejections that nobody has undone."""
    rejection = table(Rejection)
    rows = connection.execute(
        select(rejection).where(rejection.c.subscriber_id == subscriber, rejection.c.undone_at.is_(None))
    )
    return [
        RejectionRecord(
            product=row.product,
            offer=row.offer_id,
            offer_version=row.offer_version,
            price_digest=row.price_digest,
            release=row.release,
            until=row.until_at,
            rejected_at=row.rejected_at,
        )
        for row in rows
    ]


def release_row(connection: Connection, product: str, version: str) -> Row[Any] | None:
    """The published release, whatever its status."""
    release = table(Release)
    return connection.execute(select(release).where(release.c.product == product, release.c.version == version)).first()


def quote_row(connection: Connection, quote: str) -> Row[Any] | None:
    """The quote with this id."""
    quotes = table(QuoteRow)
    return connection.execute(select(quotes).where(quotes.c.id == quote)).first()


def set_quote_state(connection: Connection, quote: str, state: str) -> None:
    """Close a quote: agreed, declined or superseded."""
    quotes = table(QuoteRow)
    connection.execute(update(quotes).where(quotes.c.id == quote).values(state=state))


def agreement_row(connection: Connection, agreement: str) -> Row[Any] | None:
    """The agreement with this id."""
    agreements = table(Agreement)
    return connection.execute(select(agreements).where(agreements.c.id == agreement)).first()


def set_agreement_state(connection: Connection, agreement: str, state: str) -> None:
    """Move an agreement on: granted, installed, failed or ended."""
    agreements = table(Agreement)
    connection.execute(update(agreements).where(agreements.c.id == agreement).values(state=state))


def open_agreements(connection: Connection, terminal: str, products: Sequence[str]) -> Sequence[Row[Any]]:
    """Agreements of the terminal on these products whose delivery is not finished."""
    agreements = table(Agreement)
    return connection.execute(
        select(agreements).where(
            agreements.c.terminal_id == terminal,
            agreements.c.product.in_(products),
            agreements.c.state.in_(OPEN_AGREEMENT_STATES),
        )
    ).all()


def lapsed(agreement: Row[Any], grant_validity: int, now: datetime) -> bool:
    """Whether the agreement was not ordered while its money was reserved; ``grant_validity`` in seconds."""
    return (
        agreement.state == "agreed"
        and agreement.reservation_id is not None
        and now >= agreement.agreed_at + timedelta(seconds=grant_validity)
    )


def undeliverable(release: Row[Any] | None, now: datetime) -> tuple[str, str] | None:
    """Code and reason why a release may not be delivered now; ``None`` where it may, or where nothing is delivered."""
    if release is None:
        return None
    validity = ReleaseValidity(release.status, release.valid_until, release.reason).at(now)
    if validity == "valid":
        return None
    what = "was withdrawn" if validity == "revoked" else "has expired"
    because = f": {release.reason}" if release.reason else ""
    return f"release_{validity}", f"{release.product} {release.version} {what}{because}"


def installed_since_asked(connection: Connection, terminal: str, product: str) -> Sequence[str]:
    """Releases of the product that the terminal installed after it answered last: its code does not tell of them."""
    installation, session = table(Installation), table(TerminalSession)
    rows = connection.execute(
        select(installation.c.release)
        .outerjoin(session, session.c.terminal_id == installation.c.terminal_id)
        .where(
            installation.c.terminal_id == terminal,
            installation.c.product == product,
            installation.c.removed_at.is_(None),
            installation.c.installed_at.is_not(None),
            session.c.interrogated_at.is_(None) | (installation.c.installed_at >= session.c.interrogated_at),
        )
    )
    return rows.scalars().all()


def installed_releases(connection: Connection, terminal: str, product: str) -> Sequence[str]:
    """Releases of the product that the terminal has by its agreements."""
    installation = table(Installation)
    rows = connection.execute(
        select(installation.c.release).where(
            installation.c.terminal_id == terminal,
            installation.c.product == product,
            installation.c.removed_at.is_(None),
            installation.c.installed_at.is_not(None),
        )
    )
    return rows.scalars().all()


def installed_products(connection: Connection, terminal: str) -> set[str]:
    """Products that this terminal reported as installed and still has."""
    installation = table(Installation)
    rows = connection.execute(
        select(installation.c.product).where(
            installation.c.terminal_id == terminal,
            installation.c.installed_at.is_not(None),
            installation.c.removed_at.is_(None),
        )
    )
    return set(rows.scalars())
