"""The desk for cards: interrogation, menu, quotes and agreements, by packets, whatever brings them.

Everything that a packet leads to is one transaction with the counter that keeps it from being taken twice. What the
desk has to say is queued as packets (:mod:`operator_server.cards.channel`); a link or a short message takes them out.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from babel.dates import format_datetime
from sqlalchemy import Connection, select, update

from charging.agreements import AllowedMode, NotAgreed
from charging.modes import mode_kind
from charging.price_text import locale_of, money_text
from operator_server.cards import channel
from operator_server.cards.calendar import due_by_calendar
from operator_server.cards.evidence import CardProof
from operator_server.cards.registry import keys_of
from operator_server.cards.texts import reason_text, text
from operator_server.cards.visitors import card_visitor
from operator_server.context import Operator
from operator_server.counting.grants import UsageGrants
from operator_server.counting.tariffs import TariffVersions
from operator_server.delivery.desk import Deliveries
from operator_server.desk import Refused, Visitor
from operator_server.devices.visitors import NotServed, menu_of
from operator_server.interrogation.records import NewSection, Outcome, new_codes_since, record_outcomes, record_sections
from operator_server.negotiation import book
from operator_server.negotiation.desk import Negotiation
from operator_server.offering.live import LiveOffers, OpenOffer
from operator_server.store.cards import Card, CardPacketRow, CardQuote, card_row
from operator_server.store.configurations import ConfigurationRow, InterrogationOrder
from operator_server.store.parties import TerminalSession
from operator_server.store.rows import add, add_many, table
from operator_server.tones import registry, shop
from operator_server.validation import notices
from signalling.card import dialogue as d
from signalling.card import secured
from signalling.card.keys import agreement_mac
from signalling.card.sms import COMMAND_PACKET, RESPONSE_PACKET, UserData
from signalling.clock import from_micros, to_micros
from signalling.configuration import SECTIONS, ConfigurationError, configuration_code, decode_section, section_digest
from signalling.documents import Confirmation, Quote, decode_document, document_digest
from signalling.envelope import BodyError
from signalling.ids import new_id
from signalling.messages import CounterProposal, Decline, Later, Reject, Request, Signed

MOST_OFFERS = 20
MOST_TONES = 50
TITLE_CHARACTERS = 40
TEXT_CHARACTERS = 600
DAY = timedelta(days=1)
NODE = "cards"
"""In whose name sessions of cards are held: any process may serve any card."""

LEASE = timedelta(minutes=2)


class CardDesk:
    """Answers cards over an operator's live offers."""

    def __init__(self, operator: Operator, offers: LiveOffers) -> None:
        settings, keys = operator.settings, operator.keys
        self._vault = operator.vault
        self._settings = settings
        self._zone = settings.operator.zone
        self._offers = offers
        self._negotiation = Negotiation(offers, keys, settings)
        usage = UsageGrants(TariffVersions(lambda: offers.tariffs), keys.signing, settings)
        self._deliveries = Deliveries(keys, operator.vault, usage, settings)

    def take(
        self, connection: Connection, card: Any, content: UserData, now: datetime, *, route: str, carrier: str = ""
    ) -> None:
        """A packet that came for this card's row; what it leads to is queued.

        Raises :class:`signalling.card.tlv.CardError` for what is no packet of this card, or came before; then nothing
        is changed if the caller rolls back.
        """
        if content.element(RESPONSE_PACKET) is not None:
            channel.note_receipt(connection, self._vault, card, content.data, now)
            return
        if content.element(COMMAND_PACKET) is None:
            raise secured.PacketError("the message holds no secured packet")
        opened = channel.open_packet(connection, self._vault, card, content.data, now)
        connection.execute(
            update(table(Card)).where(_this(card.terminal_id)).values(route=route, carrier=carrier, heard_at=now)
        )
        try:
            visitor = card_visitor(connection, card.terminal_id, now)
        except NotServed:
            self._say(connection, card.terminal_id, d.Tell("refused", text("not_served", card.language)), now)
            return
        self._answer(connection, card, visitor, opened, now)

    def _answer(
        self, connection: Connection, card: Any, visitor: Visitor, opened: channel.Opened, now: datetime
    ) -> None:
        handler = _HANDLERS[type(opened.message)]
        attempt = connection.begin_nested()
        try:
            answer = handler(self, connection, card, visitor, opened, now)
        except (NotAgreed, Refused) as no:
            attempt.rollback()
            answer = d.Tell("refused", reason_text(no.code, no.reason, visitor.language)[:TEXT_CHARACTERS])
        except (BodyError, ConfigurationError) as no:
            attempt.rollback()
            answer = d.Tell("refused", reason_text("bad_document", str(no)[:200], visitor.language))
        else:
            attempt.commit()
        if answer is not None:
            self._say(connection, card.terminal_id, answer, now)

    def _say(self, connection: Connection, terminal: str, message: d.CardMessage, now: datetime) -> None:
        channel.queue(connection, self._vault, terminal, message, now)

    # Interrogation.

    def inquire(self, connection: Connection, terminal: str, trigger: Any, now: datetime) -> None:
        """Ask a card for its configuration code; what it answers brings it the menu. An inquiry that it has not
        answered yet gives way to this one."""
        channel.supersede(connection, terminal, d.Inquire, now)
        connection.execute(update(table(Card)).where(_this(terminal)).values(inquired=trigger, inquired_at=now))
        self._say(connection, terminal, d.Inquire(trigger), now)

    def turn(self, connection: Connection, now: datetime) -> int:
        """What is due: leases, packets to be sent again, notices, inquiries; how many packets were queued anew.

        To be called every few seconds.
        """
        self._hold_leases(connection, now)
        channel.send_again(connection, self._vault, now)
        return self._notify(connection, now) + self.inquire_due(connection, now)

    def _hold_leases(self, connection: Connection, now: datetime) -> None:
        """Say that orders for cards are ours."""
        session, card = table(TerminalSession), table(Card)
        known = select(session.c.terminal_id)
        missing = connection.execute(select(card.c.terminal_id).where(card.c.terminal_id.not_in(known))).scalars().all()
        add_many(connection, (TerminalSession(terminal_id=each, node=NODE) for each in missing))
        connection.execute(
            update(session)
            .where(
                session.c.terminal_id.in_(select(card.c.terminal_id)),
                session.c.lease_until.is_(None) | (session.c.lease_until < now + LEASE / 2),
            )
            .values(node=NODE, lease_until=now + LEASE)
        )

    def _notify(self, connection: Connection, now: datetime) -> int:
        """Send notices that wait for cards' users."""
        rows = notices.unsent_for_node(connection, NODE, now)
        for row in rows:
            self._say(connection, row.terminal_id, d.Tell("notice", row.text[:TEXT_CHARACTERS]), now)
        notices.mark_sent(connection, [row.id for row in rows], now)
        return len(rows)

    def inquire_due(self, connection: Connection, now: datetime) -> int:
        """Ask the cards that an order, a plan or the interval makes due, and that are not being asked; how many."""
        card, session, order = table(Card), table(TerminalSession), table(InterrogationOrder)
        answer_by = now - timedelta(minutes=10)
        free = card.c.inquired_at.is_(None) | (card.c.inquired == "") | (card.c.inquired_at < answer_by)
        ordered = connection.execute(
            select(card.c.terminal_id)
            .join(order, order.c.terminal_id == card.c.terminal_id)
            .where(order.c.state == "open", free)
            .limit(200)
        ).scalars()
        wanted = dict.fromkeys(ordered, "manual")
        for terminal in due_by_calendar(connection, free, now):
            wanted.setdefault(terminal, "calendar")
        due = connection.execute(
            select(card.c.terminal_id)
            .join(session, session.c.terminal_id == card.c.terminal_id)
            .where(session.c.next_due_at <= now, free)
            .limit(200)
        ).scalars()
        for terminal in due:
            wanted.setdefault(terminal, "interval")
        for terminal, trigger in wanted.items():
            self.inquire(connection, terminal, trigger, now)
        return len(wanted)

    def _hello(
        self, connection: Connection, card: Any, visitor: Visitor, opened: channel.Opened, now: datetime
    ) -> d.CardMessage | None:
        self.inquire(connection, card.terminal_id, "logon", now)
        shop.send_again(connection, self._vault, card.terminal_id, now)
        return None

    def _code(
        self, connection: Connection, card: Any, visitor: Visitor, opened: channel.Opened, now: datetime
    ) -> d.CardMessage | None:
        message = opened.message
        assert isinstance(message, d.MyCode)
        if not card.inquired:
            return None
        configuration = table(ConfigurationRow)
        known = connection.execute(select(configuration.c.code).where(configuration.c.code == message.code)).first()
        if known is None:
            connection.execute(update(table(Card)).where(_this(card.terminal_id)).values(pending_code=message.code))
            return d.SendSections()
        return self._interrogated(connection, card, visitor, message.code, now, None)

    def _sections(
        self, connection: Connection, card: Any, visitor: Visitor, opened: channel.Opened, now: datetime
    ) -> d.CardMessage | None:
        message = opened.message
        assert isinstance(message, d.MySections)
        if card.pending_code is None:
            return None
        brought = new_codes_since(connection, card.terminal_id, to_micros(now - DAY))
        if len(brought) >= self._settings.link.new_codes_per_day:
            raise Refused("bad_document", "too many new configurations in a day")
        new: list[NewSection] = []
        digests: dict[Any, bytes] = {}
        for name, canonical in zip(SECTIONS, message.sections, strict=True):
            decode_section(name, canonical)
            digests[name] = section_digest(name, canonical)
            new.append((digests[name], name, canonical, card.terminal_id, to_micros(now)))
        code = configuration_code(digests)
        if code != card.pending_code:
            raise Refused("bad_document", "the sections do not make up the code")
        record_sections(connection, new)
        return self._interrogated(connection, card, visitor, code, now, tuple(digests[name] for name in SECTIONS))

    def _interrogated(
        self,
        connection: Connection,
        card: Any,
        visitor: Visitor,
        code: bytes,
        now: datetime,
        configuration: tuple[bytes, ...] | None,
    ) -> d.CardMessage:
        """Record the interrogation; its offers are the answer."""
        previous = book.last_code(connection, card.terminal_id)
        order = table(InterrogationOrder)
        ordered = connection.execute(
            select(order.c.id).where(order.c.terminal_id == card.terminal_id, order.c.state == "open").limit(1)
        ).scalar()
        interval = self._settings.interrogation.interval
        outcome = Outcome(
            id=new_id(to_micros(now)),
            terminal=card.terminal_id,
            subscriber=visitor.subscriber,
            trigger=card.inquired or "logon",
            at=to_micros(now),
            result="answered",
            node=NODE,
            session=f"card-{card.heard}",
            lease_until=to_micros(now + LEASE),
            next_due=to_micros(now + timedelta(seconds=interval)) if interval else None,
            code=code,
            previous_code=previous,
            changed="" if previous == code else "new",
            configuration=configuration,
            sections_fetched=0 if configuration is None else len(SECTIONS),
            order=ordered,
        )
        record_outcomes(connection, [outcome])
        connection.execute(
            update(table(Card)).where(_this(card.terminal_id)).values(inquired="", inquired_at=None, pending_code=None)
        )
        return self.menu(connection, visitor, now)

    # The menu.

    def menu(self, connection: Connection, visitor: Visitor, now: datetime) -> d.ShowMenu:
        """The menu as the card is to show it; its places are kept to tell what they mean."""
        offers = [each for each in menu_of(connection, self._offers, visitor, now) if each.offer.kind != "tone"]
        return self._menu(connection, visitor, offers[:MOST_OFFERS])

    def _menu(self, connection: Connection, visitor: Visitor, offers: Sequence[OpenOffer]) -> d.ShowMenu:
        row = card_row(connection, terminal_id=visitor.terminal)
        number = row.menu_number % 65535 + 1
        pairs = [[each.offer.id, each.offer.version] for each in offers]
        connection.execute(update(table(Card)).where(_this(visitor.terminal)).values(menu=pairs, menu_number=number))
        return d.ShowMenu(number, [each.offer.title(visitor.language)[:TITLE_CHARACTERS] for each in offers])

    def _named(self, card: Any, menu: int, offer: int) -> tuple[str, str]:
        """Offer and version at a place of the menu. Raises :class:`NotAgreed`."""
        if menu != card.menu_number or not 1 <= offer <= len(card.menu):
            raise NotAgreed("offer_changed", "the menu has changed since it was shown")
        name, version = card.menu[offer - 1]
        return name, version

    def _want_offer(
        self, connection: Connection, card: Any, visitor: Visitor, opened: channel.Opened, now: datetime
    ) -> d.CardMessage:
        message = opened.message
        assert isinstance(message, d.WantOffer)
        name, version = self._named(card, message.menu, message.offer)
        current = self._offers.current(name)
        if current is None or current.offer.version != version:
            raise NotAgreed("offer_changed", f"offer {name} has changed since it was shown")
        lines = [
            d.ModeLine(
                mode.terms.mode,
                text("price", visitor.language, label=mode.terms.label, price=mode.terms.price_text)[:160],
                _may_limit(mode),
            )
            for mode in self._modes(visitor, name).values()
        ]
        return d.ShowOffer(
            message.menu, message.offer, current.offer.description(visitor.language)[:TEXT_CHARACTERS], lines[:16]
        )

    def _modes(self, visitor: Visitor, offer: str) -> dict[str, AllowedMode]:
        current = self._offers.current(offer)
        if current is None:
            return {}
        return self._offers.allowed_modes(current.offer, visitor.groups, visitor.language, visitor.currency)

    def _reject(
        self, connection: Connection, card: Any, visitor: Visitor, opened: channel.Opened, now: datetime
    ) -> d.CardMessage:
        message = opened.message
        assert isinstance(message, d.RejectOffer)
        name, version = self._named(card, message.menu, message.offer)
        noted = self._negotiation.reject(connection, visitor, Reject(name, version, "on the card"), now)
        title = self._title(name, visitor)
        if noted.until is None:
            return d.Tell("noted", text("rejected", visitor.language, title=title))
        until = self._when(from_micros(noted.until), visitor)
        return d.Tell("noted", text("rejected_until", visitor.language, title=title, until=until))

    def _postpone(
        self, connection: Connection, card: Any, visitor: Visitor, opened: channel.Opened, now: datetime
    ) -> d.CardMessage | None:
        message = opened.message
        assert isinstance(message, d.Postpone)
        name, version = self._named(card, message.menu, message.offer)
        self._negotiation.later(connection, visitor, Later(name, version), now)
        return None

    # Tones.

    def tones(
        self, connection: Connection, visitor: Visitor, by: d.Grouping, key: str, now: datetime
    ) -> d.ShowGroups | d.ShowMenu:
        """The letters or kinds of the tones that are open to the user; with ``key``, or the newest, a menu of them."""
        found = self.open_tones(connection, visitor, now)
        if by != "new" and not key:
            return d.ShowGroups([group[:TITLE_CHARACTERS] for group in self.tone_groups(connection, found, by)][:100])
        return self._menu(connection, visitor, [offer for _, offer in self.tones_of(connection, found, by, key)])

    def open_tones(self, connection: Connection, visitor: Visitor, now: datetime) -> dict[str, OpenOffer]:
        """The offers on tones that are open to the user, by product."""
        offers = menu_of(connection, self._offers, visitor, now)
        return {each.offer.product: each for each in offers if each.offer.kind == "tone"}

    def tone_groups(self, connection: Connection, found: Mapping[str, OpenOffer], by: d.Grouping) -> list[str]:
        """The letters or kinds that there are of them."""
        return registry.groups(registry.all_tones(connection, found), by)

    def tones_of(
        self, connection: Connection, found: Mapping[str, OpenOffer], by: d.Grouping, key: str
    ) -> list[tuple[str, OpenOffer]]:
        """Titles and offers of a letter or kind, or the newest; :data:`MOST_TONES` at most."""
        rows = registry.narrowed(registry.all_tones(connection, found), by, key)
        return [(row.title, found[row.id]) for row in rows[:MOST_TONES]]

    def allowed_modes(self, visitor: Visitor, offer: str) -> dict[str, AllowedMode]:
        """The charging modes of an offer that this user may choose from."""
        return self._modes(visitor, offer)

    def quote_offer(
        self, connection: Connection, visitor: Visitor, offer: str, mode: str, now: datetime
    ) -> d.CardMessage:
        """A quote for what the user chose elsewhere, for the card's screen. Raises :class:`NotAgreed`."""
        current = self._offers.current(offer)
        if current is None:
            raise NotAgreed("unknown_offer", f"offer {offer} is not in the catalogue")
        return self.quote(connection, visitor, Request(offer, current.offer.version, mode), now)

    def _browse_tones(
        self, connection: Connection, card: Any, visitor: Visitor, opened: channel.Opened, now: datetime
    ) -> d.CardMessage:
        message = opened.message
        assert isinstance(message, d.BrowseTones)
        return self.tones(connection, visitor, message.by, message.key, now)

    def _sample(
        self, connection: Connection, card: Any, visitor: Visitor, opened: channel.Opened, now: datetime
    ) -> d.CardMessage:
        message = opened.message
        assert isinstance(message, d.WantSample)
        name, _ = self._named(card, message.menu, message.offer)
        current = self._offers.current(name)
        row = registry.find_tone(connection, current.offer.product) if current else None
        if row is None:
            raise NotAgreed("not_offered", f"offer {name} is on no tone")
        return shop.sample_of(row)

    def _kept(
        self, connection: Connection, card: Any, visitor: Visitor, opened: channel.Opened, now: datetime
    ) -> d.CardMessage | None:
        message = opened.message
        assert isinstance(message, d.ToneKept)
        shop.kept(connection, self._deliveries, visitor, message, now)
        return None

    def _not_kept(
        self, connection: Connection, card: Any, visitor: Visitor, opened: channel.Opened, now: datetime
    ) -> d.CardMessage | None:
        message = opened.message
        assert isinstance(message, d.ToneNotKept)
        shop.not_kept(connection, visitor, message, now)
        return d.Tell("notice", text("not_kept", visitor.language))

    # The charging mode.

    def _take(
        self, connection: Connection, card: Any, visitor: Visitor, opened: channel.Opened, now: datetime
    ) -> d.CardMessage:
        message = opened.message
        assert isinstance(message, d.Take)
        name, version = self._named(card, message.menu, message.offer)
        return self.quote(connection, visitor, Request(name, version, message.mode), now)

    def quote(self, connection: Connection, visitor: Visitor, request: Request, now: datetime) -> d.CardMessage:
        """A quote for the card's screen. Raises :class:`NotAgreed`."""
        current = self._offers.current(request.offer)
        if current and current.offer.kind == "tone" and registry.find_tone(connection, current.offer.product) is None:
            raise NotAgreed("not_offered", f"there is no tone {current.offer.product}; it was never imported")
        quoted = self._negotiation.request(connection, visitor, request, now)
        return self._show(connection, visitor, quoted.quote.document, "", now)

    def _propose(
        self, connection: Connection, card: Any, visitor: Visitor, opened: channel.Opened, now: datetime
    ) -> d.CardMessage:
        message = opened.message
        assert isinstance(message, d.Propose)
        proposal = CounterProposal(message.quote, message.mode, message.limit)
        quoted = self._negotiation.counter_proposal(connection, visitor, proposal, now)
        words = text("accepted" if quoted.answer == "accepted" else "countered", visitor.language)
        return self._show(connection, visitor, quoted.quote.document, words, now)

    def _show(
        self, connection: Connection, visitor: Visitor, document: bytes, first: str, now: datetime
    ) -> d.CardMessage:
        """A quote as it is shown, and kept: the card's MAC is over every word of it."""
        quote = decode_document(Quote, document)
        terms, language = quote.mode, visitor.language
        lines = [first, self._title(quote.offer, visitor) + "."]
        lines.append(text("price", language, label=terms.label, price=terms.price_text) + ".")
        if quote.amount:
            total = money_text(quote.amount + quote.tax, quote.currency, language)
            lines.append(text("total", language, total=total, tax=money_text(quote.tax, quote.currency, language)))
        if quote.spending_limit is not None:
            limit = money_text(quote.spending_limit, quote.currency, language)
            lines.append(text("limit", language, limit=limit))
        lines.append(quote.terms)
        mode = self._modes(visitor, quote.offer).get(terms.mode)
        shown = d.ShowQuote(
            quote=quote.quote,
            digest=document_digest(document),
            mode=terms.mode,
            text=" ".join(line for line in lines if line)[:TEXT_CHARACTERS],
            currency=quote.currency,
            limit=quote.spending_limit,
            may_limit=mode is not None and _may_limit(mode),
        )
        add(
            connection,
            CardQuote(quote_id=quote.quote, terminal_id=visitor.terminal, shown=d.encode_message(shown)),
        )
        return shown

    def _no(
        self, connection: Connection, card: Any, visitor: Visitor, opened: channel.Opened, now: datetime
    ) -> d.CardMessage | None:
        message = opened.message
        assert isinstance(message, d.No)
        self._negotiation.decline(connection, visitor, Decline(message.quote), now)
        return None

    def _yes(
        self, connection: Connection, card: Any, visitor: Visitor, opened: channel.Opened, now: datetime
    ) -> d.CardMessage:
        """The agreement and its activation: both or neither."""
        message = opened.message
        assert isinstance(message, d.Yes)
        confirmation = decode_document(Confirmation, message.document)
        quotes = table(CardQuote)
        shown = connection.execute(
            select(quotes.c.shown).where(
                quotes.c.quote_id == confirmation.quote, quotes.c.terminal_id == card.terminal_id
            )
        ).scalar()
        if shown is None:
            raise NotAgreed("unknown_quote", f"quote {confirmation.quote} was not shown on this card")
        keys = keys_of(self._vault, card)
        if not hmac.compare_digest(
            message.mac, agreement_mac(keys.agreement, message.document, document_digest(shown))
        ):
            raise NotAgreed("bad_document", "the card's MAC does not hold for what it was shown")
        proof = CardProof(
            iccid=card.iccid,
            key_number=keys.number,
            mac=message.mac,
            shown=shown,
            packet=opened.counter,
            terminal=card.terminal_id,
            at=to_micros(now),
        )
        signed = Signed(message.document, proof.encode())
        agreed = self._negotiation.agree(connection, visitor, signed, "card_mac", now)
        row = book.agreement_row(connection, agreed.agreement)
        assert row is not None
        if shop.send_tone(connection, self._vault, row, now) is None:
            self._deliveries.activate(connection, visitor, agreed, now)
        title = self._title(row.offer_id, visitor)
        return d.Tell("done", text("agreed", visitor.language, title=title, agreement=agreed.agreement[-8:]))

    def _title(self, offer: str, visitor: Visitor) -> str:
        current = self._offers.current(offer)
        return current.offer.title(visitor.language)[:TITLE_CHARACTERS] if current else offer

    def _when(self, instant: datetime, visitor: Visitor) -> str:
        locale = locale_of(visitor.language)
        return str(format_datetime(instant.astimezone(self._zone), "short", locale=locale))


def _this(terminal: str) -> Any:
    return table(Card).c.terminal_id == terminal


def _may_limit(mode: AllowedMode) -> bool:
    return mode_kind(mode.terms.kind).by_use


_Handle = Callable[[CardDesk, Connection, Any, Visitor, channel.Opened, datetime], "d.CardMessage | None"]
_HANDLERS: dict[type[d.CardMessage], _Handle] = {
    d.Hello: CardDesk._hello,
    d.MyCode: CardDesk._code,
    d.MySections: CardDesk._sections,
    d.WantOffer: CardDesk._want_offer,
    d.Take: CardDesk._take,
    d.RejectOffer: CardDesk._reject,
    d.Postpone: CardDesk._postpone,
    d.Propose: CardDesk._propose,
    d.Yes: CardDesk._yes,
    d.No: CardDesk._no,
    d.BrowseTones: CardDesk._browse_tones,
    d.WantSample: CardDesk._sample,
    d.ToneKept: CardDesk._kept,
    d.ToneNotKept: CardDesk._not_kept,
}


def packets_of(connection: Connection, terminal: str, most: int = 20) -> Sequence[Any]:
    """The newest packets to a card, for people."""
    packets = table(CardPacketRow)
    return connection.execute(
        select(packets).where(packets.c.terminal_id == terminal).order_by(packets.c.id.desc()).limit(most)
    ).all()
