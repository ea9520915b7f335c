"""The demo's SIM phones and their users: cards of the operator in phones that can do nothing else.

Some are reached by short messages through a centre that runs beside the fleet, others over the link of a terminal of
the fleet that carries their packets. Their users ask for offers, take some, reject one and postpone one. A card keeps
no journal; what it signed and was told is written down beside it, and :meth:`SimPhones.journals` puts that into the
lines of a terminal's journal, from the operator's offer files and nothing of ``charging``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select

from operator_server.cards.evidence import decode_proof
from operator_server.cards.registry import NewCard, add_card, keys_of, require_card
from operator_server.demo.world import SIM_USERS, World
from operator_server.store.accounting import Charge
from operator_server.store.cards import CardPacketRow
from operator_server.store.configurations import Interrogation
from operator_server.store.dealings import Agreement, Rejection
from operator_server.store.rows import table
from operator_server.store.store import transact
from signalling.card.keys import luhn_digit
from signalling.clock import to_micros
from signalling.messages import ModeTerms
from signalling.messages import Signed as SignedDocument
from signalling.money import format_micros
from terminal_sim import journal as lines
from terminal_sim.card import CardMemory
from terminal_sim.carrier import LinkCarrier, Radio, attach
from terminal_sim.journal import AnyEntry
from terminal_sim.sim_phone import Decision, Declined, Seen, Signed, SimPhone
from terminal_sim.simulated import SimulatedTerminal
from terminal_sim.smsc import Centre

WISHES: Sequence[Mapping[str, Sequence[Decision]]] = (
    {"fleet-desk": ("take",), "roaming-info": ("reject",), "voice-mail": ("later", "take")},
    {"fleet-desk": ("later", "later", "take"), "roaming-info": ("take",), "voice-mail": ("reject",)},
    {"fleet-desk": ("take",), "roaming-info": ("later", "reject"), "voice-mail": ("later",)},
    {"fleet-desk": ("later", "take"), "roaming-info": ("reject", "take"), "voice-mail": ("take",)},
)
"""What each user does with an offer from visit to visit; the last goes on."""

BY_MESSAGES = 2
"""How many of the phones are reached by short messages."""

LANGUAGES = ("en", "de", "de", "en")

_UNSIGNED = SignedDocument(b"", bytes(64))
_TITLE_CHARACTERS = 40
_FOR_DAYS = re.compile(r"(\d+)d\Z")
_LATEST = int(timedelta(days=14).total_seconds()) * 1_000_000
"""How long a card's message may take: the clock of the demo jumps by a week while one is on its way."""

Kept = tuple[str, str, int, int | None]
"""A rejection as the operator keeps it: subscriber, offer, since when and until when (microseconds)."""


def terminal_name(number: int) -> str:
    """The id of a phone's card as a terminal."""
    return f"SIM-{number + 1}"


@dataclass
class DemoPhone:
    """A phone of the demo; ``carrier``: the terminal whose link carries it, absent where short messages do."""

    terminal: str
    subscriber: str
    wishes: Mapping[str, Sequence[Decision]]
    phone: SimPhone
    carrier: SimulatedTerminal | None
    visits: int = 0
    on: bool = False


class SimPhones:
    """All of them, with the short message centre, which listens from the start on ``world.centre``."""

    def __init__(self, world: World, fleet: Sequence[SimulatedTerminal], reactor: Any) -> None:
        self.phones: list[DemoPhone] = []
        self._world, self._fleet, self._reactor = world, fleet, reactor
        self._offers = _offers(world.config / "offers")
        self._by_title = {
            text["title"][:_TITLE_CHARACTERS]: offer
            for offer in self._offers.values()
            for text in offer["text"].values()
        }
        self._centre = Centre(reactor, world.clock)
        _, self._radio = self._centre.listen(world.centre)

    def close(self) -> None:
        """The centre closes."""
        self._centre.close()

    def add(self) -> None:
        """Make the cards known, as operators do while the server runs, and put each into a phone."""
        world = self._world
        now, vault = world.clock.now(), world.operator.vault
        for number, user in enumerate(SIM_USERS):
            iccid = f"89490000000000{number:04d}"
            card = NewCard(
                terminal_name(number), iccid + luhn_digit(iccid), f"+4917000000{number:02d}", user.subscriber,
                language=LANGUAGES[number], label="SIM phone",
            )  # fmt: skip

            def add(connection: Connection, card: NewCard = card) -> CardMemory:
                add_card(connection, vault, card, now)
                row = require_card(connection, card.terminal)
                return CardMemory(row.iccid, "", keys_of(vault, row).encode(), language=row.language)

            self._put(number, card, transact(world.operator.engine, add))

    def _put(self, number: int, card: NewCard, memory: CardMemory) -> None:
        send: list[Callable[[bytes], bool]] = []
        phone = SimPhone(
            memory, lambda title: self._decide(made, title), lambda tpdu: send[0](tpdu), self._world.clock,
            language=card.language,
        )  # fmt: skip
        carrier = None
        if number < BY_MESSAGES:
            radio = Radio(card.msisdn, phone.arrived, lambda text: None)
            attach(self._reactor, f"127.0.0.1:{self._radio}", radio)
            send.append(radio.send)
        else:
            # Every third terminal misbehaves; a carrier is one that does not, where there is one.
            carrier = self._fleet[(number * 3 + 1) % len(self._fleet)]
            over_link = LinkCarrier(
                lambda: _open(carrier), lambda: phone.handset.iccid, self._world.clock, phone.arrived
            )
            carrier.on_card = over_link.happened
            send.append(over_link.send)
        made = DemoPhone(card.terminal, card.subscriber, WISHES[number], phone, carrier)
        self.phones.append(made)

    def _decide(self, made: DemoPhone, title: str) -> Decision:
        wanted = made.wishes.get(self._by_title[title]["id"], ("later",))
        return wanted[min(made.visits, len(wanted)) - 1]

    # Afterwards.

    def journals(self, connection: Connection) -> dict[str, list[AnyEntry]]:
        """Terminal to what a terminal in the phone's place would have written down.

        Of a yes that went out and was never answered, as a killed server leaves it, the operator alone knows whether it
        arrived; where he has it, what the card signed counts.
        """
        rows = table(Agreement)
        agreed = select(rows.c.id, rows.c.agreed_at).where(rows.c.evidence_kind == "card_mac")
        stored = {row.id: to_micros(row.agreed_at) for row in connection.execute(agreed)}
        no = table(Rejection)
        kept = [
            (row.subscriber_id, row.offer_id, to_micros(row.rejected_at), row.until_at and to_micros(row.until_at))
            for row in connection.execute(select(no).order_by(no.c.rejected_at))
        ]
        currency = self._world.operator.settings.operator.currency
        return {
            each.terminal: [
                line for event in each.phone.record.events for line in self._lines(each, event, stored, kept, currency)
            ]
            for each in self.phones
        }

    def _lines(
        self,
        of: DemoPhone,
        event: Seen | Signed | Declined,
        stored: Mapping[str, int],
        kept: Sequence[Kept],
        currency: str,
    ) -> Iterator[AnyEntry]:
        if isinstance(event, Seen):
            offers = [self._by_title[title] for title in event.titles]
            shown = [lines.ShownOffer(offer["id"], "", offer["product"], "") for offer in offers]
            yield lines.Shown(at=event.at, menu="", offers=shown)
            return
        offer = self._by_title[event.title]
        if isinstance(event, Declined):
            if event.noted:
                mine = [each[2:] for each in kept if each[:2] == (of.subscriber, offer["id"])]
                until = _kept_until(mine, event.at, _until(offer, event.at))
                yield lines.Rejected(at=event.at, offer=offer["id"], version="", product=offer["product"], until=until)
            return
        mode = next(each for each in offer["mode"] if each["id"] == event.mode)
        terms = ModeTerms(mode["id"], mode["kind"], mode["id"], "", currency, 0, "S", 0)
        yield lines.Confirmed(
            at=event.at, agreement=event.agreement, quote_id=event.quote, offer=offer["id"], version="",
            product=offer["product"], release="", title=event.title, subscriber=of.subscriber, terms=terms, amount=0,
            tax=0, currency=currency, delivers=False, quote=_UNSIGNED, confirmation=_UNSIGNED,
        )  # fmt: skip
        if event.acknowledged or event.agreement in stored:
            at = event.at if event.acknowledged else stored[event.agreement]
            yield lines.Ordered(at=at, agreement=event.agreement, order=_UNSIGNED)
            yield lines.Granted(
                at=at, agreement=event.agreement, installation=f"card {event.agreement}", grant=_UNSIGNED
            )

    def faults(self, connection: Connection) -> list[str]:
        """In words: agreements that a card was told of and the operator lacks, or whose evidence is not the card's."""
        rows = table(Agreement)
        stored = {row.id: row for row in connection.execute(select(rows).where(rows.c.evidence_kind == "card_mac"))}
        signed = {yes.agreement: (each.terminal, yes) for each in self.phones for yes in each.phone.record.signed}
        found = []
        for agreement, (terminal, yes) in signed.items():
            row = stored.pop(agreement, None)
            if row is None:
                if yes.acknowledged:
                    found.append(f"{terminal}: agreement {agreement} was acknowledged, the operator does not have it")
            elif (row.confirmation, decode_proof(row.proof).mac) != (yes.document, yes.mac):
                found.append(f"{terminal}: agreement {agreement} is kept with other evidence than the card gave")
        found += [f"agreement {agreement}: no card ever signed it" for agreement in stored]
        return [*found, *(f"{each.terminal}: was never switched on" for each in self.phones if not each.on)]

    def figures(self, connection: Connection) -> dict[str, Any]:
        """What the summary says of them."""
        records = [each.phone.record for each in self.phones]
        agreements, charges, packets = table(Agreement), table(Charge), table(CardPacketRow)
        by_card = select(agreements.c.id).where(agreements.c.evidence_kind == "card_mac")
        # What comes about at the very end may be charged after the last month that is billed.
        billed = select(func.sum(charges.c.net)).where(charges.c.invoice_id.is_not(None))
        net = connection.execute(billed.where(charges.c.agreement_id.in_(by_card))).scalar()
        asked = table(Interrogation)
        answered = select(func.count()).select_from(asked).where(
            asked.c.terminal_id.in_(self.terminals()), asked.c.outcome == "answered"
        )  # fmt: skip
        return {
            "by short messages": sum(each.carrier is None for each in self.phones),
            "over links": sum(each.carrier is not None for each in self.phones),
            "interrogations": connection.execute(answered).scalar_one(),
            "agreements": connection.execute(select(func.count()).select_from(by_card.subquery())).scalar_one(),
            "rejected": sum(len(record.declined) for record in records),
            "postponed": sum(record.postponed for record in records),
            "packets to cards": connection.execute(select(func.count()).select_from(packets)).scalar_one(),
            "net": format_micros(int(net or 0), "EUR"),
        }

    def terminals(self) -> list[str]:
        """Their ids."""
        return [each.terminal for each in self.phones]


def _open(carrier: SimulatedTerminal) -> Any:
    """The link that stands now."""
    client = carrier.client
    return None if client is None or client.closed.called else client


def _offers(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        offer["id"]: offer
        for path in sorted(folder.glob("*.toml"))
        for offer in tomllib.loads(path.read_text())["offer"]
        if offer["kind"] == "service"
    }


def _kept_until(kept: Sequence[tuple[int, int | None]], at: int, until: int | None) -> int | None:
    """The end of the kept rejection that one sent ``at`` came to, or ``until`` where none can be it.

    A message takes its time, and the rejection holds from its arrival; one that stands already is not kept again.
    """
    for since, end in kept:
        stands = since <= at and (end is None or at < end)
        came_late = at < since <= at + _LATEST and (end is None) == (until is None)
        if stands or came_late:
            return end
    return until


def _until(offer: Mapping[str, Any], at: int) -> int | None:
    """How long a rejection holds, as the offer's file says."""
    written = offer.get("rejection", {}).get("until")
    if written is None:
        return None
    days = _FOR_DAYS.match(written)
    if days is None:
        raise ValueError(f"offer {offer['id']}: rejection until {written!r}: the demo does not know this")
    return at + int(timedelta(days=int(days[1])).total_seconds()) * 1_000_000
