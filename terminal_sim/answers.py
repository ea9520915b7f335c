"""What the server's answers to the user's wishes mean; what binds goes into the journal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from signalling import messages as m
from signalling.documents import agreement_digest
from terminal_sim import delivery
from terminal_sim import journal as lines
from terminal_sim.events import Refused
from terminal_sim.menu import Line
from terminal_sim.negotiation import BadQuote, Quotation, check_quote
from terminal_sim.state import Agreement, State

TRANSIENT = frozenset({"busy", "try_later", "unavailable"})
"""Refusals after which the same may be tried again."""

ANSWERS: dict[type[m.Message], tuple[type[m.Message], ...]] = {
    m.Request: (m.QuoteMessage, m.Refusal),
    m.CounterProposal: (m.QuoteMessage, m.Refusal),
    m.Confirm: (m.Agreed, m.Refusal),
    m.Decline: (m.Noted,),
    m.Reject: (m.Noted, m.Refusal),
    m.Later: (m.Noted, m.Refusal),
    m.DeliveryRequest: (m.DeliveryGrantMessage, m.Refusal),
    m.Receipt: (m.ReceiptNoted, m.Refusal),
    m.CounterReports: (m.CounterNoted, m.Refusal),
    m.StatusRequest: (m.Status, m.Refusal),
    m.Ping: (m.Pong,),
}
"""Which messages answer which wish."""


@dataclass(frozen=True)
class Sent:
    """A wish that waits for its answer. ``about``: the menu's line or the agreement that it concerns."""

    message: Any
    exchange: int
    about: Any = None


class Answers:
    """Settles wishes. ``server_time``: the server's clock at one of ours."""

    def __init__(self, state: State, server_time: Callable[[int], int]) -> None:
        self._state = state
        self._server_time = server_time

    def settle(self, sent: Sent, message: m.Message, now: int) -> Any:
        """The value of :class:`terminal_sim.events.Answer`.

        Raises ``ProofError``, ``BodyError``, :class:`terminal_sim.negotiation.BadQuote` and
        :class:`terminal_sim.delivery.BadGrant` for what the terminal does not accept.
        """
        if isinstance(message, m.QuoteMessage):
            return self._quoted(sent, message, now)
        if isinstance(message, m.Agreed):
            return self._agreed(sent.message, message, now)
        if isinstance(message, m.DeliveryGrantMessage):
            if sent.about.step == "ordered":
                delivery.accept_grant(self._state, sent.about, message, now)
            return sent.about
        if isinstance(message, m.Refusal):
            return self._refused(sent, message, now)
        if isinstance(message, m.ReceiptNoted) and sent.about.step in ("installed", "failed"):
            self._state.record(
                lines.ReceiptNoted(
                    at=now, agreement=sent.about.id, charge=message.charge, server_time=self._server_time(now)
                )
            )
        if isinstance(message, m.Noted):
            self._noted(sent, message, now)
        return message

    def _quoted(self, sent: Sent, message: m.QuoteMessage, now: int) -> Quotation:
        line: Line = sent.about
        return check_quote(
            message,
            asked=sent.message,
            exchange=sent.exchange,
            entry=line.entry,
            trust=self._state.trust,
            terminal=self._state.identity.terminal,
            now=self._server_time(now),
        )

    def _agreed(self, sent: m.Message, message: m.Agreed, now: int) -> Agreement:
        agreement = self._state.agreements.get(message.agreement)
        if (
            agreement is None
            or not isinstance(sent, m.Confirm)
            or sent.confirmation != agreement.confirmed.confirmation
        ):
            raise BadQuote(f"agreement {message.agreement} is not the one that was confirmed")
        if message.digest != agreement_digest(agreement.confirmed.quote, agreement.confirmed.confirmation):
            raise BadQuote(f"agreement {message.agreement}: its hash is not that of what was signed")
        if agreement.step == "confirmed":
            time = self._server_time(now)
            self._state.record(
                lines.AgreementMade(at=now, agreement=agreement.id, digest=message.digest, server_time=time)
            )
        return agreement

    def _refused(self, sent: Sent, message: m.Refusal, now: int) -> Refused:
        code, reason = message.code, message.reason
        if isinstance(sent.about, Line) and sent.about.mark == "requested":
            sent.about.mark = "open"
        if isinstance(sent.message, m.Confirm):
            agreement = self._of_confirm(sent.message)
            if agreement.step == "confirmed":
                self._state.record(lines.AgreementRefused(at=now, agreement=agreement.id, code=code, reason=reason))
        if isinstance(sent.message, m.DeliveryRequest) and sent.about.step == "ordered" and code not in TRANSIENT:
            self._state.record(lines.OrderRefused(at=now, agreement=sent.about.id, code=code, reason=reason))
        if isinstance(sent.message, m.Receipt) and sent.about.step in ("installed", "failed") and code not in TRANSIENT:
            self._state.record(lines.ReceiptRefused(at=now, agreement=sent.about.id, code=code, reason=reason))
        return Refused(code, reason)

    def _of_confirm(self, message: m.Confirm) -> Agreement:
        for agreement in self._state.agreements.values():
            if agreement.confirmed.confirmation == message.confirmation:
                return agreement
        raise LookupError("a confirmation that the journal does not know")

    def _noted(self, sent: Sent, message: m.Noted, now: int) -> None:
        line = sent.about
        if not isinstance(line, Line):
            return
        entry = line.entry
        if isinstance(sent.message, m.Reject):
            line.mark = "rejected"
            self._state.record(
                lines.Rejected(
                    at=now, offer=entry.offer, version=entry.version, product=entry.product, until=message.until
                )
            )
        elif isinstance(sent.message, m.Later):
            line.mark = "later"
            self._state.record(lines.Postponed(at=now, offer=entry.offer, version=entry.version, product=entry.product))
        else:
            line.mark = "open"
