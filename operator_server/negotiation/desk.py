"""The desk where offers are requested, rejected, negotiated and agreed."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal

from sqlalchemy import Connection, Row

from charging.agreements import (
    AllowedMode,
    ModeDecision,
    NotAgreed,
    answer_counter_proposal,
    check_confirmation,
    check_credit,
    choose_mode,
)
from charging.ledger.book import apply
from charging.ledger.operations import Applied, Declined, Duplicate, Reserve
from charging.modes import mode_kind, payment_of
from offers.index import Current
from operator_server.billing.taxpayers import taxed
from operator_server.desk import Handler, Visitor, answering, one_line
from operator_server.keys import OperatorKeys
from operator_server.negotiation import book
from operator_server.negotiation.conditions import check_need, check_not_barred, check_terms, money_for
from operator_server.negotiation.quotes import make_quote, open_quote
from operator_server.offering.live import LiveOffers, OpenOffer
from operator_server.parties import holds
from operator_server.settings import Settings
from operator_server.store.dealings import Agreement, Rejection
from operator_server.store.feed import record
from operator_server.store.rows import add
from operator_server.store.store import Store
from signalling.clock import Clock, to_micros
from signalling.documents import Confirmation, Quote, agreement_digest, decode_document
from signalling.ids import new_id
from signalling.messages import (
    Agreed,
    Confirm,
    CounterProposal,
    Decline,
    Later,
    Message,
    Noted,
    QuoteMessage,
    Reject,
    Request,
    Signed,
)
from signalling.proof import check

EvidenceKind = Literal["ed25519", "web_token", "card_mac"]


class Negotiation:
    """The transactions behind the offer menu and the charging mode dialogue, whoever brings the user's signals.

    Each raises :class:`charging.agreements.NotAgreed`, and then changes nothing if its caller rolls back.
    """

    def __init__(self, offers: LiveOffers, keys: OperatorKeys, settings: Settings) -> None:
        self._offers = offers
        self._keys = keys
        self._settings = settings

    def request(self, connection: Connection, visitor: Visitor, message: Request, now: datetime) -> QuoteMessage:
        """A request signal: quote the mode it names, if the offer is open to this user on this terminal."""
        check_not_barred(connection, visitor)
        offer = self._open_offer(connection, visitor, message.offer, message.version, now)
        missing = self._missing(connection, visitor, offer)
        if missing:
            raise NotAgreed("needs", f"take first what this offer needs: {', '.join(missing)}")
        check_need(connection, self._settings, visitor, offer.offer.product, offer.release, now)
        modes = self._modes(connection, visitor, offer, message.mode, now)
        chosen = choose_mode(modes, message.mode, money_for(connection, visitor, modes.get(message.mode)))
        check_terms(connection, self._settings, visitor, offer.offer.product, chosen.terms, now)
        first = ModeDecision(chosen, None, "quoted")
        return make_quote(connection, self._settings, self._keys.signing, visitor, offer, first, None, now)

    def counter_proposal(
        self, connection: Connection, visitor: Visitor, message: CounterProposal, now: datetime
    ) -> QuoteMessage:
        """Another mode or a spending limit in place of a quote: accept, counter or refuse."""
        row = open_quote(connection, visitor, message.quote, now)
        if row.round >= self._settings.negotiation.max_rounds:
            raise NotAgreed("too_many_rounds", "no further counter-proposal; confirm the last quote or decline")
        offer = self._open_offer(connection, visitor, row.offer_id, row.offer_version, now)
        modes = self._modes(connection, visitor, offer, message.mode, now)
        money = money_for(connection, visitor, modes.get(message.mode))
        decision = answer_counter_proposal(modes, message.mode, message.spending_limit, money)
        check_terms(connection, self._settings, visitor, offer.offer.product, decision.mode.terms, now)
        book.set_quote_state(connection, row.id, "superseded")
        return make_quote(connection, self._settings, self._keys.signing, visitor, offer, decision, row, now)

    def confirm(self, connection: Connection, visitor: Visitor, message: Confirm, now: datetime) -> Agreed:
        """The user's signed yes: register the agreement and reserve what it costs, once however often it comes."""
        check(visitor.public_key, Confirmation.PURPOSE, message.confirmation)
        agreed = self.agree(connection, visitor, message.confirmation, "ed25519", now)
        if not holds(connection, visitor.terminal, visitor.public_key, visitor.subscriber):
            raise NotAgreed("barred", "this terminal is revoked, has another key or another user; connect again")
        return agreed

    def agree(
        self, connection: Connection, visitor: Visitor, signed: Signed, evidence: EvidenceKind, now: datetime
    ) -> Agreed:
        """Register the agreement that a confirmation closes, once however often it comes.

        ``signed`` is the confirmation as received with its proof, which the caller has checked: of kind ``ed25519`` a
        terminal's signature, of kind ``web_token`` the record of what was posted on a page that a one-time link opened,
        of kind ``card_mac`` the record of a card's MAC.
        """
        confirmation = decode_document(Confirmation, signed.document)
        known = book.agreement_row(connection, confirmation.agreement)
        if known is not None:
            if known.terminal_id != visitor.terminal or known.confirmation != signed.document:
                raise NotAgreed("agreement_conflict", f"agreement {confirmation.agreement} exists with other content")
            return Agreed(known.id, known.digest)
        row, quote = self._confirmed_quote(connection, visitor, confirmation, now)
        digest = agreement_digest(Signed(row.document, row.signature), signed)
        reservation = self._reserve(connection, visitor, confirmation.agreement, quote, now)
        book.set_quote_state(connection, row.id, "agreed")
        add(
            connection,
            Agreement(
                id=confirmation.agreement,
                quote_id=row.id,
                subscriber_id=visitor.subscriber,
                account_id=visitor.account,
                terminal_id=visitor.terminal,
                offer_id=quote.offer,
                offer_version=quote.offer_version,
                product=quote.product,
                release=quote.release,
                mode=quote.mode.mode,
                mode_kind=quote.mode.kind,
                currency=quote.currency,
                amount=mode_kind(quote.mode.kind).due_on_delivery(quote.mode),
                tax_category=quote.mode.tax_category,
                tax_rate=quote.mode.tax_rate,
                tax_included=quote.mode.tax_included,
                spending_limit=quote.spending_limit,
                tariff_version=quote.tariff_version,
                evidence_kind=evidence,
                confirmation=signed.document,
                proof=signed.signature,
                digest=digest,
                agreed_at=now,
                reservation_id=reservation,
            ),
        )
        record(
            connection, now, "agreed", terminal=visitor.terminal, subscriber=visitor.subscriber,
            account=visitor.account, reference=confirmation.agreement, offer=quote.offer, mode=quote.mode.mode,
        )  # fmt: skip
        return Agreed(confirmation.agreement, digest)

    def _confirmed_quote(
        self, connection: Connection, visitor: Visitor, confirmation: Confirmation, now: datetime
    ) -> tuple[Row[Any], Quote]:
        """The quote that is confirmed, where nothing stands against its agreement."""
        check_not_barred(connection, visitor)
        row = open_quote(connection, visitor, confirmation.quote, now)
        quote = decode_document(Quote, row.document)
        check_confirmation(
            row.document, quote, confirmation, terminal=visitor.terminal, subscriber=visitor.subscriber, now=now
        )
        check_need(connection, self._settings, visitor, quote.product, quote.release, now)
        withdrawn = book.undeliverable(book.release_row(connection, quote.product, quote.release), now)
        if withdrawn is not None:
            raise NotAgreed(*withdrawn)
        return row, quote

    def decline(self, connection: Connection, visitor: Visitor, message: Decline, now: datetime) -> Noted:
        """The user leaves the negotiation; the offer will be shown again."""
        row = book.quote_row(connection, message.quote)
        if row is None or row.terminal_id != visitor.terminal or row.subscriber_id != visitor.subscriber:
            raise NotAgreed("unknown_quote", f"quote {message.quote} was not made for this terminal and its subscriber")
        if row.state == "open":
            book.set_quote_state(connection, row.id, "declined")
            record(connection, now, "declined", terminal=visitor.terminal, reference=row.id, offer=row.offer_id)
        return Noted(row.offer_id)

    def reject(self, connection: Connection, visitor: Visitor, message: Reject, now: datetime) -> Noted:
        """A reject signal: the product is hidden from this subscriber until the rejection ends (claims 3, 17)."""
        current = self._offers.current(message.offer)
        if current is None:
            raise NotAgreed("unknown_offer", f"offer {message.offer} is not in the catalogue")
        offer = current.offer
        standing = self._offers.standing(book.rejections_of(connection, visitor.subscriber), now)
        mine = next((each for each in standing if each.offer == offer.id), None)
        until = offer.rejection.ends(now) if mine is None else mine.until
        if mine is None:
            price, release = self._shown(connection, visitor, current, message, now)
            add(
                connection,
                Rejection(
                    id=new_id(to_micros(now)),
                    subscriber_id=visitor.subscriber,
                    terminal_id=visitor.terminal,
                    product=offer.product,
                    offer_id=offer.id,
                    offer_version=message.version,
                    price_digest=price,
                    release=release,
                    rejected_at=now,
                    until_at=until,
                    reason=one_line(message.reason, 256),
                ),
            )
            record(
                connection, now, "rejected", terminal=visitor.terminal, subscriber=visitor.subscriber,
                offer=offer.id, product=offer.product,
            )  # fmt: skip
        return Noted(message.offer, None if until is None else to_micros(until))

    def _shown(
        self, connection: Connection, visitor: Visitor, current: Current, message: Reject, now: datetime
    ) -> tuple[str, str]:
        """The price digest and the release that the user rejects: those of the menu, whatever holds by now."""
        at = book.interrogated_at(connection, visitor.terminal) or now
        prices = book.offer_prices(connection, message.version) if message.version != current.offer.version else None
        release = current.release or ""
        # What nobody has published is no release that could have been shown.
        shown = one_line(message.release, 128)
        if shown and book.release_row(connection, current.offer.product, shown) is not None:
            release = shown
        return current.offer.price_at(min(at, now), prices), release

    def later(self, connection: Connection, visitor: Visitor, message: Later, now: datetime) -> Noted:
        """Neither taken nor rejected."""
        if self._offers.current(message.offer) is None:
            raise NotAgreed("unknown_offer", f"offer {message.offer} is not in the catalogue")
        record(
            connection, now, "postponed", terminal=visitor.terminal, subscriber=visitor.subscriber, offer=message.offer
        )
        return Noted(message.offer)

    def _open_offer(
        self, connection: Connection, visitor: Visitor, offer: str, version: str, now: datetime
    ) -> OpenOffer:
        current = self._offers.current(offer)
        if current is None:
            raise NotAgreed("unknown_offer", f"offer {offer} is not in the catalogue")
        if current.offer.version != version:
            raise NotAgreed("offer_changed", f"offer {offer} has changed since it was shown; ask for the menu again")
        code = book.last_code(connection, visitor.terminal)
        rejections = book.rejections_of(connection, visitor.subscriber)
        opened = self._offers.open_offer(offer, code, visitor, rejections, now)
        if opened is None:
            raise NotAgreed("not_offered", f"offer {offer} is not in this user's menu on this terminal")
        return opened

    def _modes(
        self, connection: Connection, visitor: Visitor, offer: OpenOffer, named: str, now: datetime
    ) -> dict[str, AllowedMode]:
        """The modes that are open to the visitor; the named one with the tax that its account bears."""
        modes = self._offers.allowed_modes(offer.offer, visitor.groups, visitor.language, visitor.currency)
        found = dict(modes)
        if named in found:
            mode = found[named]
            terms = taxed(connection, self._settings, visitor.account, mode.terms, visitor.language, now)
            found[named] = replace(mode, terms=terms)
        return found

    def _missing(self, connection: Connection, visitor: Visitor, offer: OpenOffer) -> list[str]:
        if not offer.needs:
            return []
        products = {need: self._offers.product_of(need) for need in offer.needs}
        taken = book.installed_products(connection, visitor.terminal)
        taken |= {row.product for row in book.open_agreements(connection, visitor.terminal, list(products.values()))}
        return sorted(need for need, product in products.items() if product not in taken)

    def _reserve(
        self, connection: Connection, visitor: Visitor, agreement: str, quote: Quote, now: datetime
    ) -> str | None:
        terms = AllowedMode(quote.mode)
        check_credit(quote.mode, money_for(connection, visitor, terms))
        check_terms(connection, self._settings, visitor, quote.product, quote.mode, now)
        due = mode_kind(quote.mode.kind).due_on_delivery(quote.mode)
        payment = payment_of(quote.mode.payment)
        if not due or payment.pays is None:
            return None
        if payment.ahead:
            due = quote.amount + quote.tax
        expires = now + timedelta(seconds=self._settings.delivery.grant_validity)
        operation = Reserve(
            source="agreement",
            op_id=agreement,
            owner=visitor.account,
            amount=due,
            currency=quote.currency,
            agreement_id=agreement,
            expires_at=expires,
            pays=payment.pays,
        )
        outcome = apply(connection, [operation], to_micros(now))[0]
        if isinstance(outcome, Declined):
            raise NotAgreed("no_credit", outcome.reason)
        if not isinstance(outcome, Applied | Duplicate):
            raise NotAgreed("agreement_conflict", f"agreement {agreement} was reserved for with other content")
        return outcome.transfer_id


class NegotiationDesk(Negotiation):
    """Answers the signals that come over a link: what an answer promises is on the disk before the terminal hears."""

    def __init__(self, store: Store, offers: LiveOffers, keys: OperatorKeys, settings: Settings, clock: Clock) -> None:
        super().__init__(offers, keys, settings)
        self._store = store
        self._clock = clock

    def handlers(self) -> dict[type[Message], Handler]:
        """The messages that this desk answers."""
        answer = partial(answering, self._store, self._clock)
        return {
            Request: answer(self.request),
            Reject: answer(self.reject),
            Later: answer(self.later),
            CounterProposal: answer(self.counter_proposal),
            Confirm: answer(self.confirm),
            Decline: answer(self.decline),
        }
