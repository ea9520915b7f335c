"""Quote, counter-proposal and agreement: the rules, apart from any store (claims 4, 15, 21, 23).

The server answers a counter-proposal by accepting it, by countering with other terms, or by refusing with a reason.
A confirmation closes an agreement only if it is the user's signed yes to exactly the quote that the server signed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from charging.modes import first_due, mode_kind, payment_of
from signalling.clock import from_micros
from signalling.documents import Confirmation, Quote, document_digest
from signalling.messages import ModeTerms
from signalling.money import format_micros

Answer = Literal["quoted", "accepted", "countered"]
"""What a quote answers: a request, a counter-proposal as proposed, or one that is countered."""


class NotAgreed(Exception):
    """A no with a code for programs and a reason for people. Nothing follows from what was refused."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True)
class AllowedMode:
    """A mode that this subscriber may use for this offer, and the least spending limit the operator takes for it."""

    terms: ModeTerms
    spending_limit_min: int = 0
    text: str = ""


@dataclass(frozen=True)
class ModeDecision:
    """What to quote: the mode, the spending limit, and whether that is what the terminal proposed."""

    mode: AllowedMode
    spending_limit: int | None
    answer: Answer
    reason: str = ""


def choose_mode(modes: Mapping[str, AllowedMode], mode: str, available: int | None) -> AllowedMode:
    """The mode a terminal asks for, when the subscriber may use it and can pay.

    ``available``: micros net that the account may still spend in the mode's currency and from the money that pays for
    it, ``None`` for no limit. Raises
    :class:`NotAgreed` with ``mode_not_allowed`` or ``no_credit``.
    """
    chosen = modes.get(mode)
    if chosen is None:
        names = ", ".join(sorted(modes)) or "none"
        raise NotAgreed("mode_not_allowed", f"charging mode {mode!r} is not open to this subscriber; open are: {names}")
    check_credit(chosen.terms, available)
    return chosen


def check_credit(terms: ModeTerms, available: int | None) -> None:
    """Raises :class:`NotAgreed` ``no_credit`` unless the account can pay for a delivery, or for a first use."""
    kind = mode_kind(terms.kind)
    if available is None or not kind.paid or terms.trial_days:
        return
    due = first_due(terms)
    if payment_of(terms.payment).secured and due and available < due:
        raise NotAgreed("no_credit", "the account has no credit left for this charging mode")
    if available <= 0 and (kind.by_use or due):
        raise NotAgreed("no_credit", "the account has no credit left for this charging mode")


def answer_counter_proposal(
    modes: Mapping[str, AllowedMode], mode: str, spending_limit: int | None, available: int | None
) -> ModeDecision:
    """Accept, counter or refuse (:class:`NotAgreed`) a proposed mode and spending limit."""
    chosen = choose_mode(modes, mode, available)
    kind = mode_kind(chosen.terms.kind)
    if spending_limit is None:
        return ModeDecision(chosen, None, "accepted")
    if spending_limit < 0:
        raise NotAgreed("bad_limit", "a spending limit cannot be below zero")
    if not kind.by_use:
        if spending_limit < chosen.terms.amount:
            paid = "for each period" if kind.periodic else "once"
            raise NotAgreed("bad_limit", f"the spending limit is below the price, which is paid {paid}")
        return ModeDecision(chosen, None, "countered", "this mode does not charge by use; it needs no spending limit")
    least, currency = chosen.spending_limit_min, chosen.terms.currency
    if spending_limit < least:
        reason = f"the least spending limit of this mode is {format_micros(least, currency)} {currency}"
        return ModeDecision(chosen, least, "countered", reason)
    if available is not None and spending_limit > max(available, least):
        most = max(available, least)
        reason = f"the account has {format_micros(available, currency)} {currency} of credit left"
        return ModeDecision(chosen, most, "countered", reason)
    return ModeDecision(chosen, spending_limit, "accepted")


def check_confirmation(
    quote_bytes: bytes, quote: Quote, confirmation: Confirmation, *, terminal: str, subscriber: str, now: datetime
) -> None:
    """Raises :class:`NotAgreed` unless the confirmation is this party's yes, in time, to exactly this quote."""
    if quote.terminal != terminal or quote.subscriber != subscriber:
        raise NotAgreed("unknown_quote", f"quote {quote.quote} was not made for this terminal and its subscriber")
    if confirmation.quote != quote.quote or confirmation.quote_digest != document_digest(quote_bytes):
        raise NotAgreed("quote_altered", f"the confirmation is not of quote {quote.quote} as it was signed")
    if confirmation.mode != quote.mode.mode:
        raise NotAgreed("quote_altered", f"the quote is for mode {quote.mode.mode}, not {confirmation.mode}")
    if confirmation.spending_limit != quote.spending_limit:
        raise NotAgreed("quote_altered", "the spending limit confirmed is not the one quoted")
    if now >= from_micros(quote.expires):
        raise NotAgreed(
            "quote_expired", f"quote {quote.quote} expired at {from_micros(quote.expires):%Y-%m-%d %H:%M:%S} UTC"
        )
