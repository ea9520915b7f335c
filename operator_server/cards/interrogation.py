"""Asking cards for their configuration: when it is due, and what their answers lead to."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select, update

from operator_server.cards import channel
from operator_server.cards.calendar import due_by_calendar
from operator_server.cards.menus import CardMenus
from operator_server.cards.visitors import Speaker
from operator_server.delivery.vault import KeyVault
from operator_server.desk import Refused
from operator_server.interrogation.records import NewSection, Outcome, new_codes_since, record_outcomes, record_sections
from operator_server.negotiation import book
from operator_server.settings import Settings
from operator_server.store.cards import Card, update_card
from operator_server.store.configurations import ConfigurationRow, InterrogationOrder
from operator_server.store.parties import TerminalSession
from operator_server.store.rows import add_many, table
from signalling.card import dialogue as d
from signalling.clock import to_micros
from signalling.configuration import SECTIONS, configuration_code, decode_section, section_digest
from signalling.ids import new_id

NODE = "cards"
"""In whose name sessions of cards are held: any process may serve any card."""

LEASE = timedelta(minutes=2)
ANSWER_WITHIN = timedelta(minutes=10)
"""After this a card that was asked and did not answer may be asked again."""

MOST = 200
"""Cards that one look asks for each reason; the rest follows in the next."""

DAY = timedelta(days=1)


class CardInterrogation:
    """Inquires of cards, and records what they answer; an answer brings the card its menu."""

    def __init__(self, vault: KeyVault, settings: Settings, menus: CardMenus) -> None:
        self._vault = vault
        self._settings = settings
        self._menus = menus

    # When it is due.

    def inquire(self, connection: Connection, terminal: str, trigger: Any, now: datetime) -> None:
        """Ask a card for its configuration code; what it answers brings it the menu.

        An inquiry that it has not answered yet gives way to this one.
        """
        channel.supersede(connection, terminal, d.Inquire, now)
        update_card(connection, terminal, inquired=trigger, inquired_at=now)
        channel.queue(connection, self._vault, terminal, d.Inquire(trigger), now)

    def inquire_due(self, connection: Connection, now: datetime) -> int:
        """Ask the cards that an order, a plan or the interval makes due, and that are not being asked; how many."""
        card, session, order = table(Card), table(TerminalSession), table(InterrogationOrder)
        free = card.c.inquired_at.is_(None) | (card.c.inquired == "") | (card.c.inquired_at < now - ANSWER_WITHIN)
        ordered = connection.execute(
            select(card.c.terminal_id)
            .join(order, order.c.terminal_id == card.c.terminal_id)
            .where(order.c.state == "open", free)
            .limit(MOST)
        ).scalars()
        wanted = dict.fromkeys(ordered, "manual")
        for terminal in due_by_calendar(connection, free, now):
            wanted.setdefault(terminal, "calendar")
        due = connection.execute(
            select(card.c.terminal_id)
            .join(session, session.c.terminal_id == card.c.terminal_id)
            .where(session.c.next_due_at <= now, free)
            .limit(MOST)
        ).scalars()
        for terminal in due:
            wanted.setdefault(terminal, "interval")
        for terminal, trigger in wanted.items():
            self.inquire(connection, terminal, trigger, now)
        return len(wanted)

    # What they answer.

    def code(self, speaker: Speaker, message: d.MyCode) -> d.CardMessage | None:
        """The code: the menu, or the wish to see what it is made of; ``None`` where nobody asked for it."""
        if not speaker.card.inquired:
            return None
        connection, configuration = speaker.connection, table(ConfigurationRow)
        known = connection.execute(select(configuration.c.code).where(configuration.c.code == message.code)).first()
        if known is None:
            update_card(connection, speaker.visitor.terminal, pending_code=message.code)
            return d.SendSections()
        return self._interrogated(speaker, message.code, None)

    def sections(self, speaker: Speaker, message: d.MySections) -> d.CardMessage | None:
        """The sections of a code that nobody brought before.

        Raises :class:`Refused` and :class:`signalling.configuration.ConfigurationError`.
        """
        connection, terminal, at = speaker.connection, speaker.visitor.terminal, to_micros(speaker.now)
        if speaker.card.pending_code is None:
            return None
        brought = new_codes_since(connection, terminal, to_micros(speaker.now - DAY))
        if len(brought) >= self._settings.link.new_codes_per_day:
            raise Refused("bad_document", "too many new configurations in a day")
        new: list[NewSection] = []
        digests: dict[Any, bytes] = {}
        for name, canonical in zip(SECTIONS, message.sections, strict=True):
            decode_section(name, canonical)
            digests[name] = section_digest(name, canonical)
            new.append((digests[name], name, canonical, terminal, at))
        code = configuration_code(digests)
        if code != speaker.card.pending_code:
            raise Refused("bad_document", "the sections do not make up the code")
        record_sections(connection, new)
        return self._interrogated(speaker, code, tuple(digests[name] for name in SECTIONS))

    def _interrogated(self, speaker: Speaker, code: bytes, configuration: tuple[bytes, ...] | None) -> d.CardMessage:
        """Record the interrogation; its offers are the answer."""
        connection, card, visitor, _, now = speaker
        previous = book.last_code(connection, visitor.terminal)
        order = table(InterrogationOrder)
        ordered = connection.execute(
            select(order.c.id).where(order.c.terminal_id == visitor.terminal, order.c.state == "open").limit(1)
        ).scalar()
        interval = self._settings.interrogation.interval
        outcome = Outcome(
            id=new_id(to_micros(now)),
            terminal=visitor.terminal,
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
        update_card(connection, visitor.terminal, inquired="", inquired_at=None, pending_code=None)
        return self._menus.menu(connection, visitor, now)


def hold_leases(connection: Connection, now: datetime) -> None:
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
