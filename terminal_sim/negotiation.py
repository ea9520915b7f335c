"""The charging mode display part and confirmation part (claims 4, 21 and 23): the terminal's share of the negotiation.

A quote reaches the user only when the server signed it, when it is for this terminal, and when nothing in it is worse
than what the menu showed for that mode.
"""

from __future__ import annotations

from dataclasses import dataclass

from signalling.clock import from_micros
from signalling.documents import Confirmation, Quote, document_digest
from signalling.messages import CounterProposal, ModeTerms, OfferEntry, QuoteMessage, Request, Signed
from signalling.money import format_micros, minor_unit
from signalling.proof import sign
from terminal_sim.menu import mode_of
from terminal_sim.trust import Identity, Trust

BASIS_POINTS = 10_000


class BadQuote(ValueError):
    """A quote that the terminal does not show to its user; the text says what is wrong with it."""


@dataclass(frozen=True)
class Quotation:
    """A checked quote before the user. ``exchange``: the negotiation it belongs to."""

    exchange: int
    entry: OfferEntry
    quote: Quote
    signed: Signed
    answer: str
    reason: str

    def lines(self) -> list[str]:
        """The quote in words for the user."""
        quote = self.quote
        text = [f"{self.entry.title} {quote.release}: {quote.mode.label}", f"  {quote.mode.price_text}"]
        if quote.amount:
            text.append(f"  due once: {money(quote.amount, quote.currency)} + {money(quote.tax, quote.currency)} tax")
        if quote.spending_limit is not None:
            text.append(f"  spending limit: {money(quote.spending_limit, quote.currency)} a period, before tax")
        if quote.terms:
            text.append(f"  {quote.terms}")
        text.append(f"  holds until {from_micros(quote.expires):%Y-%m-%d %H:%M} UTC")
        return text


def money(micros: int, currency: str) -> str:
    """An amount for the user."""
    return f"{format_micros(micros, currency)} {currency}"


def check_quote(
    message: QuoteMessage,
    *,
    asked: Request | CounterProposal,
    exchange: int,
    entry: OfferEntry,
    trust: Trust,
    terminal: str,
    now: int,
) -> Quotation:
    """The quote when it may be shown. Raises :class:`BadQuote`, ``ProofError`` or ``BodyError``.

    A server that counters may name another mode and limit than was ``asked``; else they must be the same.
    """
    quote = trust.document(Quote, message.quote)
    if quote.server != trust.server or quote.terminal != terminal:
        raise BadQuote(f"quote {quote.quote} is from {quote.server} for {quote.terminal}, not from and for us")
    if (quote.offer, quote.product, quote.release) != (entry.offer, entry.product, entry.release):
        raise BadQuote(f"quote {quote.quote} is for {quote.offer} {quote.release}, asked was {entry.offer}")
    if quote.offer_version != entry.version:
        raise BadQuote(f"quote {quote.quote} is for another version of {entry.offer} than the menu showed")
    if quote.expires <= now:
        raise BadQuote(f"quote {quote.quote} expired on {from_micros(quote.expires):%Y-%m-%d %H:%M:%S} UTC")
    try:
        shown = mode_of(entry, quote.mode.mode)
    except ValueError as error:
        raise BadQuote(str(error)) from None
    limit = asked.spending_limit if isinstance(asked, CounterProposal) else None
    if message.answer != "countered":
        if quote.mode.mode != asked.mode:
            raise BadQuote(f"quote {quote.quote} is for mode {quote.mode.mode}, asked was {asked.mode}")
        if limit is not None and (quote.spending_limit is None or quote.spending_limit > limit):
            raise BadQuote(f"quote {quote.quote} does not hold the spending limit {money(limit, quote.currency)}")
    _check_not_worse(quote, shown)
    return Quotation(exchange, entry, quote, message.quote, message.answer, message.reason)


def _check_not_worse(quote: Quote, shown: ModeTerms) -> None:
    terms = quote.mode
    same = (
        "kind", "currency", "unit", "unit_size", "included_per", "counter", "payment", "period", "charged", "pro_rata",
        "minimum_periods", "notice_days", "trial_days", "trial_warning_days", "price_change_days",
    )  # fmt: skip
    changed = [name for name in same if getattr(terms, name) != getattr(shown, name)]
    if changed:
        raise BadQuote(f"quote {quote.quote}: {', '.join(changed)} differ from what the menu showed")
    if quote.currency != shown.currency:
        raise BadQuote(f"quote {quote.quote} is in {quote.currency}, shown was {shown.currency}")
    if terms.amount > shown.amount or quote.amount > shown.amount:
        wanted = money(max(terms.amount, quote.amount), quote.currency)
        raise BadQuote(f"quote {quote.quote} asks {wanted}, shown was {money(shown.amount, shown.currency)}")
    if terms.counter and quote.amount > 0:
        raise BadQuote(f"quote {quote.quote} asks {money(quote.amount, quote.currency)} at once for a mode by use")
    if terms.included < shown.included:
        raise BadQuote(f"quote {quote.quote} includes {terms.included} units, shown were {shown.included}")
    # A tax amount may be rounded up to what can be paid; a price that contains its tax is all that is to be paid.
    most = quote.amount * shown.tax_rate // BASIS_POINTS + minor_unit(quote.currency)
    if shown.tax_included and not terms.counter:
        most = shown.amount - quote.amount
        if terms.tax_rate and not terms.tax_included:
            raise BadQuote(f"quote {quote.quote} adds tax to a price that was shown with it")
    if terms.tax_rate > shown.tax_rate or quote.tax > most:
        raise BadQuote(f"quote {quote.quote} asks {money(quote.tax, quote.currency)} tax, more than was shown")


def counter_proposal(quotation: Quotation, mode: str, spending_limit: int | None) -> CounterProposal:
    """Not that; rather this mode or this limit (micros a period). Raises ``MenuError`` for a mode that is not shown."""
    mode_of(quotation.entry, mode)
    return CounterProposal(quote=quotation.quote.quote, mode=mode, spending_limit=spending_limit)


def confirmation(quotation: Quotation, identity: Identity, agreement: str, now: int) -> Signed:
    """The user's signed yes to exactly this quote."""
    document = Confirmation(
        agreement=agreement,
        quote=quotation.quote.quote,
        quote_digest=document_digest(quotation.signed.document),
        mode=quotation.quote.mode.mode,
        at=now,
        spending_limit=quotation.quote.spending_limit,
    )
    return sign(identity.key, Confirmation.PURPOSE, document.encode())
