"""The desk for cards: interrogation, menu, quotes and agreements, by packets, whatever brings them.

Everything that a packet leads to is one transaction with the counter that keeps it from being taken twice. What the
desk has to say is queued as packets (:mod:`operator_server.cards.channel`); a link or a short message takes them out.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, assert_never

from sqlalchemy import Connection

from charging.agreements import NotAgreed
from operator_server.cards import channel
from operator_server.cards.interrogation import NODE, CardInterrogation, hold_leases
from operator_server.cards.menus import CardMenus
from operator_server.cards.negotiation import CardNegotiation
from operator_server.cards.texts import TEXT_CHARACTERS, reason_text, text
from operator_server.cards.visitors import Speaker, card_visitor
from operator_server.context import Operator
from operator_server.counting.grants import UsageGrants
from operator_server.counting.tariffs import TariffVersions
from operator_server.delivery.desk import Deliveries
from operator_server.desk import Refused
from operator_server.devices.visitors import NotServed
from operator_server.offering.live import LiveOffers
from operator_server.store.cards import update_card
from operator_server.tones import shop
from operator_server.validation import notices
from signalling.card import dialogue as d
from signalling.card import secured
from signalling.card.sms import COMMAND_PACKET, RESPONSE_PACKET, UserData
from signalling.configuration import ConfigurationError
from signalling.envelope import BodyError


class CardDesk:
    """Answers cards over an operator's live offers."""

    def __init__(self, operator: Operator, offers: LiveOffers) -> None:
        self._vault = operator.vault
        self._nodes = operator.settings.nodes
        usage = UsageGrants(TariffVersions(lambda: offers.tariffs), operator.keys.signing, operator.settings)
        self._deliveries = Deliveries(operator.keys, operator.vault, usage, operator.settings)
        self.menus = CardMenus(offers)
        self.interrogation = CardInterrogation(operator.vault, operator.settings, self.menus)
        self.negotiation = CardNegotiation(operator, offers, self.menus, self._deliveries)

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
        update_card(connection, card.terminal_id, route=route, carrier=carrier, heard_at=now)
        answer: d.CardMessage | None
        try:
            visitor = card_visitor(connection, card.terminal_id, now)
        except NotServed:
            answer = d.Tell("refused", text("not_served", card.language))
        else:
            answer = self._answer(Speaker(connection, card, visitor, opened.counter, now), opened.message)
        if answer is not None:
            channel.queue(connection, self._vault, card.terminal_id, answer, now)

    def _answer(self, speaker: Speaker, message: d.FromCard) -> d.CardMessage | None:
        """The answer, or a refusal for the user; then nothing is changed."""
        language = speaker.visitor.language
        attempt = speaker.connection.begin_nested()
        try:
            answer = self._handle(speaker, message)
        except (NotAgreed, Refused) as no:
            attempt.rollback()
            return d.Tell("refused", reason_text(no.code, no.reason, language)[:TEXT_CHARACTERS])
        except (BodyError, ConfigurationError) as no:
            attempt.rollback()
            return d.Tell("refused", reason_text("bad_document", str(no)[:200], language))
        attempt.commit()
        return answer

    def _handle(self, speaker: Speaker, message: d.FromCard) -> d.CardMessage | None:
        match message:
            case d.Hello():
                self._hello(speaker)
            case d.MyCode():
                return self.interrogation.code(speaker, message)
            case d.MySections():
                return self.interrogation.sections(speaker, message)
            case d.WantOffer():
                return self.menus.offer(speaker, message)
            case d.BrowseTones():
                return self.menus.browse(speaker, message)
            case d.WantSample():
                return self.menus.sample(speaker, message)
            case d.RejectOffer():
                return self.negotiation.reject(speaker, message)
            case d.Postpone():
                self.negotiation.postpone(speaker, message)
            case d.Take():
                return self.negotiation.take(speaker, message)
            case d.Propose():
                return self.negotiation.propose(speaker, message)
            case d.No():
                self.negotiation.decline(speaker, message)
            case d.Yes():
                return self.negotiation.agree(speaker, message)
            case d.ToneKept():
                shop.kept(speaker.connection, self._deliveries, speaker.visitor, message, speaker.now)
            case d.ToneNotKept():
                shop.not_kept(speaker.connection, speaker.visitor, message, speaker.now)
                return d.Tell("notice", text("not_kept", speaker.visitor.language))
            case d.WishForm(form=form):
                return shop.note_form(speaker.connection, self._nodes, speaker.visitor, form)
            case _:
                assert_never(message)
        return None

    def _hello(self, speaker: Speaker) -> None:
        connection, terminal, now = speaker.connection, speaker.visitor.terminal, speaker.now
        self.interrogation.inquire(connection, terminal, "logon", now)
        shop.send_again(connection, self._vault, self._nodes, terminal, now)

    def turn(self, connection: Connection, now: datetime) -> int:
        """What is due: leases, packets to be sent again, notices, inquiries; how many packets were queued anew.

        To be called every few seconds.
        """
        hold_leases(connection, now)
        channel.send_again(connection, self._vault, now)
        return self._notify(connection, now) + self.interrogation.inquire_due(connection, now)

    def _notify(self, connection: Connection, now: datetime) -> int:
        """Send notices that wait for cards' users."""
        rows = notices.unsent_for_node(connection, NODE, now)
        for row in rows:
            notice = d.Tell("notice", row.text[:TEXT_CHARACTERS])
            channel.queue(connection, self._vault, row.terminal_id, notice, now)
        notices.mark_sent(connection, [row.id for row in rows], now)
        return len(rows)
