"""What the offers page shows, made from what the desks know: texts and amounts in one language, nothing left to do for
a template."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from babel.dates import format_date, format_time
from babel.numbers import format_decimal
from sqlalchemy import Connection, select

from charging.agreements import AllowedMode
from charging.modes import mode_kind
from charging.price_text import locale_of, money_text, price_text
from operator_server.desk import Visitor
from operator_server.negotiation.book import quote_row
from operator_server.offering.live import LiveOffers, OpenOffer
from operator_server.settings import Settings
from operator_server.store.dealings import Agreement
from operator_server.store.parties import Terminal
from operator_server.store.rows import table
from operator_server.validation.desk import status
from operator_server.web.texts import TEXTS
from signalling.clock import from_micros
from signalling.documents import Quote, decode_document
from signalling.messages import ChargeStatus
from signalling.money import MICROS, MoneyError, decimal_micros

_AMOUNT = re.compile(r"\d{1,9}(?:[.,]\d{1,6})?\Z")
_UNLIMITED = 2**53


class View:
    """Shows in one language."""

    def __init__(self, settings: Settings, offers: LiveOffers, language: str) -> None:
        self._settings = settings
        self._offers = offers
        self.language = language

    def text(self, key: str, **values: str) -> str:
        """A text of the page."""
        return TEXTS[self.language][key].format(**values)

    def when(self, at: datetime) -> str:
        """An instant in the operator's zone."""
        local, locale = at.astimezone(self._settings.operator.zone), locale_of(self.language)
        return f"{format_date(local, 'long', locale=locale)}, {format_time(local, 'HH:mm z', locale=locale)}"

    def money(self, micros: int, currency: str) -> str:
        """An amount."""
        return money_text(micros, currency, self.language)

    def device(self, connection: Connection, terminal: str) -> str:
        """The device's name for people."""
        row = connection.execute(select(table(Terminal).c.label).where(table(Terminal).c.id == terminal)).scalar()
        return row or terminal

    def title(self, offer: str) -> str:
        """The offer's title, or its id where it is in the catalogue no more."""
        current = self._offers.current(offer)
        return offer if current is None else current.offer.title(self.language)

    def offer(self, opened: OpenOffer, visitor: Visitor, missing: Sequence[str]) -> dict[str, Any]:
        """An offer of the menu. ``missing``: offers that must be taken first."""
        modes = self._offers.allowed_modes(opened.offer, visitor.groups, self.language, visitor.currency)
        return {
            "id": opened.offer.id,
            "version": opened.offer.version,
            "title": opened.offer.title(self.language),
            "text": opened.offer.description(self.language),
            "needs": ", ".join(self.title(each) for each in missing),
            "modes": self.modes(modes),
            "limit": self.limit(modes),
        }

    def modes(self, modes: Mapping[str, AllowedMode]) -> list[dict[str, str]]:
        """Charging modes with their prices."""
        return [
            {"id": mode, "label": each.terms.label, "price": each.terms.price_text, "terms": each.text}
            for mode, each in modes.items()
        ]

    def limit(self, modes: Mapping[str, AllowedMode]) -> dict[str, str] | None:
        """What a spending limit is asked in, where a mode charges by use."""
        for each in modes.values():
            if mode_kind(each.terms.kind).by_use:
                least = self.money(each.spending_limit_min, each.terms.currency) if each.spending_limit_min else ""
                return {"currency": each.terms.currency, "least": least}
        return None

    def quote(self, quote: Quote) -> dict[str, Any]:
        """A quote as it was signed, in the page's words."""
        kind = mode_kind(quote.mode.kind)
        limit = quote.spending_limit
        return {
            "number": quote.quote,
            "title": self.title(quote.offer),
            "mode": quote.mode.mode,
            "label": quote.mode.label,
            "price": quote.mode.price_text or price_text(quote.mode, self.language),
            "paid": kind.paid,
            "by_use": kind.by_use,
            "net": self.money(quote.amount, quote.currency) if quote.amount else "",
            "tax": self.money(quote.tax, quote.currency),
            "total": self.money(quote.amount + quote.tax, quote.currency),
            "limit": "" if limit is None else self.money(limit, quote.currency),
            "until": self.when(from_micros(quote.expires)),
            "terms": quote.terms,
        }

    def have(self, connection: Connection, visitor: Visitor, now: datetime) -> dict[str, Any]:
        """What the user has on the device, and how the account stands."""
        found = status(connection, visitor, now)
        agreement = table(Agreement)
        ids = [each.agreement for each in found.installations]
        rows = connection.execute(select(agreement).where(agreement.c.id.in_(ids))).all()
        agreements = {row.id: row for row in rows if row.subscriber_id == visitor.subscriber}
        installations = []
        for each in found.installations:
            row = agreements.get(each.agreement)
            if row is None:
                continue
            quoted = quote_row(connection, row.quote_id)
            assert quoted is not None
            mode = decode_document(Quote, quoted.document).mode
            active = each.validity == "valid" and each.authorization == "authorized"
            locale = locale_of(self.language)
            installations.append(
                {
                    "title": self.title(row.offer_id),
                    "state": self.text("have_valid" if active else "have_not"),
                    "mode": f"{mode.label}, {mode.price_text}",
                    "agreement": each.agreement,
                    "counters": ", ".join(
                        f"{format_decimal(value, locale=locale)} {counter}" for counter, value in each.counters.items()
                    ),
                }
            )
        return {"installations": installations, "charges": [self._charge(each) for each in found.charges]}

    def _charge(self, charge: ChargeStatus) -> dict[str, str]:
        free = charge.available >= _UNLIMITED
        return {
            "unbilled": self.money(charge.unbilled, charge.currency),
            "open": self.money(charge.open, charge.currency),
            "reserved": self.money(charge.reserved, charge.currency) if charge.reserved else "",
            "available": self.text("no_limit") if free else self.money(charge.available, charge.currency),
        }


def limit_micros(text: str) -> int | None:
    """The spending limit that a user wrote, ``None`` for an empty field. Raises :class:`MoneyError`."""
    text = text.strip()
    if not text:
        return None
    if not _AMOUNT.match(text):
        raise MoneyError(f"{text[:20]!r} is not an amount")
    return decimal_micros(text.replace(",", "."))


def limit_text(micros: int | None, language: str) -> str:
    """A spending limit as a user writes it."""
    if micros is None:
        return ""
    amount = Decimal(micros) / MICROS
    return str(format_decimal(amount, format="0.00####", locale=locale_of(language), decimal_quantization=False))
