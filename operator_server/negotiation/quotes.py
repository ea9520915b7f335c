"""Quotes: signed, kept, and found again."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, Row

from charging.agreements import ModeDecision, NotAgreed
from charging.modes import mode_kind, owed
from operator_server.desk import Visitor
from operator_server.negotiation import book
from operator_server.offering.live import OpenOffer
from operator_server.settings import Settings
from operator_server.store.dealings import QuoteRow
from operator_server.store.feed import record
from operator_server.store.rows import add
from signalling.clock import to_micros
from signalling.documents import Quote
from signalling.ids import new_id
from signalling.messages import QuoteMessage
from signalling.money import minor_unit
from signalling.proof import sign


def open_quote(connection: Connection, visitor: Visitor, quote: str, now: datetime) -> Row[Any]:
    """A quote that this user may still answer here. Raises :class:`charging.agreements.NotAgreed`."""
    row = book.quote_row(connection, quote)
    if row is None or row.terminal_id != visitor.terminal or row.subscriber_id != visitor.subscriber:
        raise NotAgreed("unknown_quote", f"quote {quote} was not made for this terminal and its subscriber")
    if row.state != "open":
        raise NotAgreed("quote_closed", f"quote {quote} is {row.state}")
    if now >= row.expires_at:
        raise NotAgreed("quote_expired", f"quote {quote} expired at {row.expires_at:%Y-%m-%d %H:%M:%S} UTC")
    return row


def make_quote(
    connection: Connection,
    settings: Settings,
    key: Ed25519PrivateKey,
    visitor: Visitor,
    offer: OpenOffer,
    decision: ModeDecision,
    before: Row[Any] | None,
    now: datetime,
) -> QuoteMessage:
    """Sign and keep the quote of what was decided, in place of the one ``before``."""
    expires = now + timedelta(seconds=settings.negotiation.quote_validity)
    in_place_of = None if before is None else before.id
    release = book.release_row(connection, offer.offer.product, offer.release)
    quote = _quote(settings.operator.server_id, visitor, offer, release, decision, in_place_of, now, expires)
    signed = sign(key, Quote.PURPOSE, quote.encode())
    add(
        connection,
        QuoteRow(
            id=quote.quote,
            subscriber_id=visitor.subscriber,
            terminal_id=visitor.terminal,
            offer_id=quote.offer,
            offer_version=quote.offer_version,
            mode=quote.mode.mode,
            document=signed.document,
            signature=signed.signature,
            issued_at=now,
            expires_at=expires,
            round=1 if before is None else before.round + 1,
            in_place_of=in_place_of,
        ),
    )
    record(
        connection, now, "quoted", terminal=visitor.terminal, subscriber=visitor.subscriber,
        account=visitor.account, reference=quote.quote, offer=quote.offer, mode=quote.mode.mode, answer=decision.answer,
    )  # fmt: skip
    return QuoteMessage(quote=signed, answer=decision.answer, reason=decision.reason)


def _quote(
    server: str,
    visitor: Visitor,
    offer: OpenOffer,
    release: Row[Any] | None,
    decision: ModeDecision,
    in_place_of: str | None,
    now: datetime,
    expires: datetime,
) -> Quote:
    """The document, with what falls due at delivery."""
    terms = decision.mode.terms
    price = mode_kind(terms.kind).due_on_delivery(terms)
    due = owed(price, terms.tax_rate, terms.tax_included, minor_unit(terms.currency))
    return Quote(
        quote=new_id(to_micros(now)),
        server=server,
        subscriber=visitor.subscriber,
        terminal=visitor.terminal,
        offer=offer.offer.id,
        offer_version=offer.offer.version,
        product=offer.offer.product,
        release=offer.release,
        digest=b"" if release is None else release.digest,
        length=0 if release is None else release.length,
        mode=terms,
        amount=due.net,
        tax=due.tax,
        currency=terms.currency,
        tariff_version=terms.tariff_version,
        terms=decision.mode.text,
        issued=to_micros(now),
        expires=to_micros(expires),
        spending_limit=decision.spending_limit,
        in_place_of=in_place_of,
    )
