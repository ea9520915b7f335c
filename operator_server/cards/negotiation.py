"""The charging mode by packets: quotes as a card shows them, counter-proposals, rejections, the card's yes."""

from __future__ import annotations

import hmac
from datetime import datetime

from babel.dates import format_datetime
from sqlalchemy import Connection, select

from charging.agreements import NotAgreed
from charging.price_text import locale_of, money_text
from operator_server.cards.evidence import CardProof
from operator_server.cards.menus import CardMenus, may_limit
from operator_server.cards.registry import keys_of
from operator_server.cards.texts import TEXT_CHARACTERS, text
from operator_server.cards.visitors import Speaker
from operator_server.context import Operator
from operator_server.delivery.desk import Deliveries
from operator_server.desk import Visitor
from operator_server.negotiation import book
from operator_server.negotiation.desk import Negotiation
from operator_server.offering.live import LiveOffers
from operator_server.store.cards import CardQuote
from operator_server.store.rows import add, table
from operator_server.tones import registry, shop
from signalling.card import dialogue as d
from signalling.card.keys import agreement_mac
from signalling.clock import from_micros, to_micros
from signalling.documents import Confirmation, Quote, decode_document, document_digest
from signalling.messages import CounterProposal, Decline, Later, Reject, Request, Signed


class CardNegotiation:
    """Negotiates with cards' users over an operator's live offers. All of it raises :class:`NotAgreed`."""

    def __init__(self, operator: Operator, offers: LiveOffers, menus: CardMenus, deliveries: Deliveries) -> None:
        self._vault = operator.vault
        self._nodes = operator.settings.nodes
        self._zone = operator.settings.operator.zone
        self._offers = offers
        self._menus = menus
        self._deliveries = deliveries
        self._negotiation = Negotiation(offers, operator.keys, operator.settings)

    # Neither taken.

    def reject(self, speaker: Speaker, message: d.RejectOffer) -> d.CardMessage:
        """The reject signal (claims 3 and 17)."""
        connection, visitor = speaker.connection, speaker.visitor
        name, version = self._menus.named(speaker, message.menu, message.offer)
        noted = self._negotiation.reject(connection, visitor, Reject(name, version, "on the card"), speaker.now)
        title = self._menus.title(name, visitor)
        if noted.until is None:
            return d.Tell("noted", text("rejected", visitor.language, title=title))
        until = self._when(from_micros(noted.until), visitor)
        return d.Tell("noted", text("rejected_until", visitor.language, title=title, until=until))

    def postpone(self, speaker: Speaker, message: d.Postpone) -> None:
        """Neither taken nor rejected."""
        name, version = self._menus.named(speaker, message.menu, message.offer)
        self._negotiation.later(speaker.connection, speaker.visitor, Later(name, version), speaker.now)

    # Quotes.

    def take(self, speaker: Speaker, message: d.Take) -> d.ShowQuote:
        """The request signal (claims 2 and 22): a quote."""
        name, version = self._menus.named(speaker, message.menu, message.offer)
        request = Request(name, version, message.mode)
        return self._quote(speaker.connection, speaker.visitor, request, speaker.now)

    def quote_offer(
        self, connection: Connection, visitor: Visitor, offer: str, mode: str, now: datetime
    ) -> d.ShowQuote:
        """A quote for what the user chose elsewhere, for the card's screen."""
        current = self._offers.current(offer)
        if current is None:
            raise NotAgreed("unknown_offer", f"offer {offer} is not in the catalogue")
        return self._quote(connection, visitor, Request(offer, current.offer.version, mode), now)

    def _quote(self, connection: Connection, visitor: Visitor, request: Request, now: datetime) -> d.ShowQuote:
        current = self._offers.current(request.offer)
        if current and current.offer.kind == "tone" and registry.find_tone(connection, current.offer.product) is None:
            raise NotAgreed("not_offered", f"there is no tone {current.offer.product}; it was never imported")
        quoted = self._negotiation.request(connection, visitor, request, now)
        return self._shown(connection, visitor, quoted.quote.document)

    def propose(self, speaker: Speaker, message: d.Propose) -> d.ShowQuote:
        """A counter-proposal (claims 4 and 23): a quote that accepts it, or the server's own."""
        connection, visitor = speaker.connection, speaker.visitor
        proposal = CounterProposal(message.quote, message.mode, message.limit)
        quoted = self._negotiation.counter_proposal(connection, visitor, proposal, speaker.now)
        words = text("accepted" if quoted.answer == "accepted" else "countered", visitor.language)
        return self._shown(connection, visitor, quoted.quote.document, words)

    def _shown(self, connection: Connection, visitor: Visitor, document: bytes, first: str = "") -> d.ShowQuote:
        """A quote as it is shown, and kept: the card's MAC is over every word of it."""
        quote = decode_document(Quote, document)
        terms, language = quote.mode, visitor.language
        lines = [first, self._menus.title(quote.offer, visitor) + "."]
        lines.append(text("price", language, label=terms.label, price=terms.price_text) + ".")
        if quote.amount:
            total = money_text(quote.amount + quote.tax, quote.currency, language)
            lines.append(text("total", language, total=total, tax=money_text(quote.tax, quote.currency, language)))
        if quote.spending_limit is not None:
            limit = money_text(quote.spending_limit, quote.currency, language)
            lines.append(text("limit", language, limit=limit))
        lines.append(quote.terms)
        mode = self._menus.modes(visitor, quote.offer).get(terms.mode)
        shown = d.ShowQuote(
            quote=quote.quote,
            digest=document_digest(document),
            mode=terms.mode,
            text=" ".join(line for line in lines if line)[:TEXT_CHARACTERS],
            currency=quote.currency,
            limit=quote.spending_limit,
            may_limit=mode is not None and may_limit(mode),
        )
        add(
            connection,
            CardQuote(quote_id=quote.quote, terminal_id=visitor.terminal, shown=d.encode_message(shown)),
        )
        return shown

    # The answer to a quote.

    def decline(self, speaker: Speaker, message: d.No) -> None:
        """The user leaves the negotiation."""
        self._negotiation.decline(speaker.connection, speaker.visitor, Decline(message.quote), speaker.now)

    def agree(self, speaker: Speaker, message: d.Yes) -> d.CardMessage:
        """The agreement and its activation: both or neither. A tone is activated when the card has kept it."""
        connection, visitor, now = speaker.connection, speaker.visitor, speaker.now
        proof = self._proof(speaker, message)
        signed = Signed(message.document, proof.encode())
        agreed = self._negotiation.agree(connection, visitor, signed, "card_mac", now)
        row = book.agreement_row(connection, agreed.agreement)
        assert row is not None
        if shop.send_tone(connection, self._vault, self._nodes, row, now) is None:
            self._deliveries.activate(connection, visitor, agreed, now)
        title = self._menus.title(row.offer_id, visitor)
        return d.Tell("done", text("agreed", visitor.language, title=title, agreement=agreed.agreement[-8:]))

    def _proof(self, speaker: Speaker, message: d.Yes) -> CardProof:
        """What proves the yes: the card's MAC, which holds for what the card was shown."""
        card, terminal, quotes = speaker.card, speaker.visitor.terminal, table(CardQuote)
        confirmation = decode_document(Confirmation, message.document)
        shown = speaker.connection.execute(
            select(quotes.c.shown).where(quotes.c.quote_id == confirmation.quote, quotes.c.terminal_id == terminal)
        ).scalar()
        if shown is None:
            raise NotAgreed("unknown_quote", f"quote {confirmation.quote} was not shown on this card")
        keys = keys_of(self._vault, card)
        if not hmac.compare_digest(
            message.mac, agreement_mac(keys.agreement, message.document, document_digest(shown))
        ):
            raise NotAgreed("bad_document", "the card's MAC does not hold for what it was shown")
        return CardProof(
            iccid=card.iccid,
            key_number=keys.number,
            mac=message.mac,
            shown=shown,
            packet=speaker.counter,
            terminal=terminal,
            at=to_micros(speaker.now),
        )

    def _when(self, instant: datetime, visitor: Visitor) -> str:
        locale = locale_of(visitor.language)
        return str(format_datetime(instant.astimezone(self._zone), "short", locale=locale))
