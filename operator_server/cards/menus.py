"""What stands on a card's screens: menus of offers and tones, an offer's own screen.

A card names an offer by its place in a menu; the menu that it was sent last is kept in its row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection

from charging.agreements import AllowedMode, NotAgreed
from charging.modes import mode_kind
from operator_server.cards.texts import TEXT_CHARACTERS, TITLE_CHARACTERS, text
from operator_server.cards.visitors import Speaker
from operator_server.desk import Visitor
from operator_server.negotiation.menu import menu_of
from operator_server.offering.live import LiveOffers, OpenOffer
from operator_server.store.cards import card_row, update_card
from operator_server.tones import registry, shop
from signalling.card import dialogue as d

MOST_OFFERS = 20
MOST_TONES = 50


class CardMenus:
    """The menus of cards over an operator's live offers."""

    def __init__(self, offers: LiveOffers) -> None:
        self._offers = offers

    def menu(self, connection: Connection, visitor: Visitor, now: datetime) -> d.ShowMenu:
        """The menu as the card is to show it; its places are kept to tell what they mean."""
        offers = [each for each in menu_of(connection, self._offers, visitor, now) if each.offer.kind != "tone"]
        return self._kept(connection, visitor, offers[:MOST_OFFERS])

    def _kept(self, connection: Connection, visitor: Visitor, offers: Sequence[OpenOffer]) -> d.ShowMenu:
        row = card_row(connection, terminal_id=visitor.terminal)
        number = row.menu_number % 65535 + 1
        pairs = [[each.offer.id, each.offer.version] for each in offers]
        update_card(connection, visitor.terminal, menu=pairs, menu_number=number)
        return d.ShowMenu(number, [each.offer.title(visitor.language)[:TITLE_CHARACTERS] for each in offers])

    def named(self, speaker: Speaker, menu: int, offer: int) -> tuple[str, str]:
        """Offer and version at a place of the menu. Raises :class:`NotAgreed`."""
        card = speaker.card
        if menu != card.menu_number or not 1 <= offer <= len(card.menu):
            raise NotAgreed("offer_changed", "the menu has changed since it was shown")
        name, version = card.menu[offer - 1]
        return name, version

    def offer(self, speaker: Speaker, message: d.WantOffer) -> d.CardMessage:
        """An offer's own screen. Raises :class:`NotAgreed`."""
        visitor = speaker.visitor
        name, version = self.named(speaker, message.menu, message.offer)
        current = self._offers.current(name)
        if current is None or current.offer.version != version:
            raise NotAgreed("offer_changed", f"offer {name} has changed since it was shown")
        lines = [
            d.ModeLine(
                mode.terms.mode,
                text("price", visitor.language, label=mode.terms.label, price=mode.terms.price_text)[:160],
                may_limit(mode),
            )
            for mode in self.modes(visitor, name).values()
        ]
        return d.ShowOffer(
            message.menu, message.offer, current.offer.description(visitor.language)[:TEXT_CHARACTERS], lines[:16]
        )

    def title(self, offer: str, visitor: Visitor) -> str:
        """What an offer is called; its id once it is gone."""
        current = self._offers.current(offer)
        return current.offer.title(visitor.language)[:TITLE_CHARACTERS] if current else offer

    def modes(self, visitor: Visitor, offer: str) -> dict[str, AllowedMode]:
        """The charging modes of an offer that this user may choose from."""
        current = self._offers.current(offer)
        if current is None:
            return {}
        return self._offers.allowed_modes(current.offer, visitor.groups, visitor.language, visitor.currency)

    # Tones.

    def browse(self, speaker: Speaker, message: d.BrowseTones) -> d.ShowGroups | d.ShowMenu:
        """The letters or kinds of the tones that are open to the user; with a key, or the newest, a menu of them."""
        connection, visitor = speaker.connection, speaker.visitor
        found = self.open_tones(connection, visitor, speaker.now)
        if message.by != "new" and not message.key:
            groups = self.tone_groups(connection, found, message.by)
            return d.ShowGroups([group[:TITLE_CHARACTERS] for group in groups][:100])
        tones = self.tones_of(connection, found, message.by, message.key)
        return self._kept(connection, visitor, [offer for _, offer in tones])

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

    def sample(self, speaker: Speaker, message: d.WantSample) -> d.PlaySample:
        """The beginning of a tone in the menu. Raises :class:`NotAgreed`."""
        name, _ = self.named(speaker, message.menu, message.offer)
        current = self._offers.current(name)
        row = registry.find_tone(speaker.connection, current.offer.product) if current else None
        if row is None:
            raise NotAgreed("not_offered", f"offer {name} is on no tone")
        return shop.sample_of(row)


def may_limit(mode: AllowedMode) -> bool:
    """Whether a spending limit makes sense with the mode."""
    return mode_kind(mode.terms.kind).by_use
