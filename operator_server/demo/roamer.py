"""The demo's roamer: a terminal of the fleet's kind whose mobile visits another network, twice.

Its user dials as at home, accepts one feature that costs something there and refuses another. What it was asked, what
it sent and what was unlocked is written down at the mobile; :meth:`Roamer.journal` puts what it signed into the lines
of a terminal's journal, and :meth:`Roamer.faults` compares the rest with the two networks' files of features alone.
"""

from __future__ import annotations

import random
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select

from charging.ledger.verify import verify as verify_ledger
from operator_server.demo.visited_network import NETWORK, VisitedNetwork
from operator_server.demo.world import ROAMING_USER, World
from operator_server.store.accounting import Charge
from operator_server.store.dealings import Agreement
from operator_server.store.rows import table
from operator_server.store.store import transact
from operator_server.store.visited import SettlementRecord
from operator_server.visited.codes import held_features
from operator_server.visited.faults import HomeUnreachable
from operator_server.visited.home import let_roam
from operator_server.visited.money import verify_roaming
from operator_server.visited.reconciling import Compared, reconcile
from signalling.codes import messages as m
from signalling.configuration import Configuration
from signalling.documents import Confirmation, Quote, decode_document
from signalling.ids import new_id
from signalling.messages import Signed
from signalling.money import format_micros
from terminal_sim import journal as lines
from terminal_sim.fleet import fleet_identity
from terminal_sim.journal import AnyEntry, MemoryJournal
from terminal_sim.profiles import Behaviour
from terminal_sim.roaming import Mobile, MobileMemory, RoamingError
from terminal_sim.roaming_air import HttpAir
from terminal_sim.simulated import SimulatedTerminal
from terminal_sim.state import in_memory
from terminal_sim.trust import Trust
from terminal_sim.user import ScriptedUser

CONFIGURATION = Configuration(hardware={"model": "aurora-12", "memory_mib": "8192"})
ACCEPTED, REFUSED = "conference", "radio"
MONTHS = ("2026-09", "2026-10")
_TRIES = 300
_PAUSE_SECONDS = 0.1

VISITS: tuple[tuple[str, ...], ...] = (
    ("*66#", "*44*555-4444#", "*67#", "*50#", "*84#"),
    ("*66#", "*50#", "*51#"),
)
"""What is dialled on each visit, in the codes of home."""


@dataclass
class _Kept:
    """What the mobile was shown, said and heard."""

    asked: list[str] = field(default_factory=list)
    agreed: list[tuple[int, Quote, Signed, Signed]] = field(default_factory=list)
    unlocked: list[int] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)


class _Air:
    """The visited network's air, with what passes through it written down."""

    def __init__(self, air: HttpAir, kept: _Kept, clock: Callable[[], int]) -> None:
        self._air, self._kept, self._clock = air, kept, clock
        self._notice: m.SurchargeNotice | None = None

    def overhead(self) -> m.Overhead:
        """See :class:`terminal_sim.roaming.Air`."""
        return self._air.overhead()

    def say(self, signed: Signed) -> list[m.Heard]:
        """See :class:`terminal_sim.roaming.Air`."""
        said = m.decode_uplink(signed.document).message
        if isinstance(said, m.SurchargeAnswer) and said.confirmation is not None and self._notice is not None:
            quote = decode_document(Quote, self._notice.quote.document)
            self._kept.agreed.append((self._clock(), quote, self._notice.quote, said.confirmation))
        heard = self._air.say(signed)
        for each in heard:
            if isinstance(each, m.SurchargeNotice):
                self._notice = each
            elif isinstance(each, m.FeatureKey):
                self._kept.unlocked.append(each.ef)
            elif isinstance(each, m.Refusal):
                self._kept.refusals.append(each.code)
        return heard


class Roamer:
    """The terminal, its mobile and the network that it visits. Visits block; they belong into a thread."""

    def __init__(
        self, world: World, visited: VisitedNetwork, number: int, seed: int, trust: Trust, reactor: Any
    ) -> None:
        self._world, self._visited = world, visited
        identity = fleet_identity(seed, number)
        state = in_memory(
            identity, trust, CONFIGURATION, world.folder / "fleet" / identity.terminal, world.clock.micros()
        )
        self.user = ScriptedUser(Behaviour(take=0, reject=0), random.Random(f"{seed} roamer"))
        self.terminal = SimulatedTerminal(state, self.user, world.clock, reactor)
        self._identity = identity
        self._kept = _Kept()
        self._mobile: Mobile | None = None
        self._air: HttpAir | None = None
        self._visits = 0
        self._compared: list[Compared] = []

    @property
    def id(self) -> str:
        """The terminal's id."""
        return self._identity.terminal

    def visit(self) -> None:
        """Enter the network and dial. Raises :class:`RoamingError` when that cannot be done."""
        mobile = self._mobile = self._mobile or self._made()
        self._insist(mobile.enter, lambda: mobile.network == NETWORK and mobile.local().sequence > 0)
        for digits in VISITS[self._visits]:
            self._insist(lambda digits=digits: mobile.dial(digits), lambda: True)  # type: ignore[misc]  # bound to this turn
        self._visits += 1
        if self._visits == len(VISITS):
            for month in MONTHS:
                self._compared += self._reconciled(month)
        if self._air is not None:
            self._air.close()

    def _made(self) -> Mobile:
        """The mobile, with what home writes into it."""
        world = self._world
        digests = transact(world.operator.engine, lambda c: let_roam(c, world.operator, self.id, world.clock.now()))
        with world.operator.engine.connect() as connection:
            held = held_features(connection)
        memory = MobileMemory(
            self.id, world.operator.settings.operator.server_id, world.operator.keys.public_key(),
            list(held.features.feature), held.sequence, digests,
        )  # fmt: skip
        self._air = air = HttpAir(self._visited.url, self._visited.operator.keys.authority.read_text())
        clock = world.clock
        return Mobile(
            memory, self._identity, _Air(air, self._kept, clock.micros), clock.micros, self._answer,
            new_agreement=lambda: new_id(clock.micros()),
        )  # fmt: skip

    def _answer(self, text: str, quote: Quote) -> bool:
        self._kept.asked.append(text)
        return quote.offer.startswith(ACCEPTED)

    def _insist(self, action: Callable[[], None], done: Callable[[], bool]) -> None:
        """Until it is done: servers may still be starting."""
        trouble = ""
        for _ in range(_TRIES):
            refused = len(self._kept.refusals)
            sent = len(self._mobile.sent) if self._mobile is not None else 0
            try:
                action()
            except RoamingError as error:
                trouble = str(error)
            else:
                if "home_unreachable" not in self._kept.refusals[refused:] and done():
                    return
                trouble = ", ".join(self._kept.refusals[refused:])
            if self._mobile is not None:
                # What was in vain is dialled again.
                del self._mobile.sent[sent:]
            time.sleep(_PAUSE_SECONDS)
        raise RoamingError(f"{self.id} gives up in {NETWORK}: {trouble}")

    def _reconciled(self, month: str) -> list[Compared]:
        home = self._world.operator.settings.operator.server_id
        for _ in range(_TRIES):
            try:
                return reconcile(self._visited.operator, home, month)
            except HomeUnreachable as no:
                trouble = no.reason
                time.sleep(_PAUSE_SECONDS)
        raise RoamingError(f"{NETWORK} cannot compare records with {home}: {trouble}")

    # Afterwards.

    def journal(self) -> list[AnyEntry]:
        """The terminal's own journal, and what its mobile signed abroad as the lines of a purchase."""
        journal = self.terminal.state.journal
        assert isinstance(journal, MemoryJournal)
        entries: list[AnyEntry] = list(journal.entries)
        for at, quote, quoted, confirmed in self._kept.agreed:
            agreement = decode_document(Confirmation, confirmed.document).agreement
            entries.append(
                lines.Confirmed(
                    at=at, agreement=agreement, quote_id=quote.quote, offer=quote.offer, version=quote.offer_version,
                    product=quote.product, release=quote.release, title=quote.offer, subscriber=ROAMING_USER.subscriber,
                    terms=quote.mode, amount=quote.amount, tax=quote.tax, currency=quote.currency, delivers=False,
                    quote=quoted, confirmation=confirmed,
                )
            )  # fmt: skip
            if self._kept.unlocked:
                entries.append(lines.Ordered(at=at, agreement=agreement, order=confirmed))
                entries.append(
                    lines.Granted(at=at, agreement=agreement, installation=f"abroad {agreement}", grant=quoted)
                )
        return entries

    def faults(self, connection: Connection) -> list[str]:
        """In words: what is not as the two files of features say."""
        found = []
        here, there = _codes(self._visited.home_features), _codes(self._visited.features)
        sent = self._mobile.sent if self._mobile is not None else []
        must = _must_send(here, there)
        if sent != must:
            found.append(f"sent {' '.join(sent)}, must be {' '.join(must)}")
        if len(self._kept.asked) != 2 or self._kept.unlocked.count(there[ACCEPTED]["ef"]) < 1:
            found.append(f"asked {self._kept.asked}, unlocked {self._kept.unlocked}")
        if self._mobile is not None and set(self._mobile.local().unlocked) != {there[ACCEPTED]["ef"]}:
            found.append(f"holds the keys of {self._mobile.local().unlocked}")
        surcharge = tomllib.loads(self._visited.features.read_text(encoding="utf-8"))["surcharge"][ACCEPTED]
        owed = [(ACCEPTED, int(Decimal(surcharge["amount"]) * 1_000_000), surcharge["currency"], "acknowledged")]
        with self._visited.operator.engine.connect() as theirs:
            sides = {"home": _records(connection), NETWORK: _records(theirs)}
            findings = [*verify_ledger(theirs), *verify_roaming(theirs), *verify_roaming(connection)]
        for side, records in sides.items():
            if records != owed:
                found.append(f"{side} holds {records}, must be {owed}")
        found += [f"{each.where}: {each.what}" for each in findings]
        found += [f"{d.id}: {d.what}" for each in self._compared for d in each.differences]
        if sum(each.alike for each in self._compared) != len(owed):
            found.append(f"{sum(each.alike for each in self._compared)} records are alike, must be {len(owed)}")
        return found

    def figures(self, connection: Connection) -> dict[str, Any]:
        """What the summary says of it."""
        agreements, charges = table(Agreement), table(Charge)
        net = connection.execute(
            select(func.sum(charges.c.net))
            .join(agreements, agreements.c.id == charges.c.agreement_id)
            .where(agreements.c.terminal_id == self.id, charges.c.invoice_id.is_not(None))
        ).scalar()
        return {
            "network": NETWORK,
            "codes sent": len(self._mobile.sent) if self._mobile is not None else 0,
            "asked": len(self._kept.asked),
            "accepted": len(self._kept.agreed),
            "net": format_micros(int(net or 0), "EUR"),
            "owed to the network": format_micros(sum(row[1] for row in _records(connection)), "EUR"),
            "records alike": sum(each.alike for each in self._compared),
        }


def _codes(file: Path) -> dict[str, Mapping[str, Any]]:
    return {each["feature"]: each for each in tomllib.loads(file.read_text(encoding="utf-8"))["feature"]}


def _must_send(here: Mapping[str, Mapping[str, Any]], there: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What has to go out for what is dialled, by the two files alone."""
    sent, known = [], {name for name, each in there.items() if not each.get("ef")}
    for digits in (each for visit in VISITS for each in visit):
        [(feature, switch)] = [
            (name, switch)
            for name, each in here.items()
            for switch in ("activate", "deactivate")
            if digits[:3] == each[switch][:3]
        ]
        local = there[feature][switch][:3] + digits[3:]
        # A code that costs something comes after the home code was asked for and accepted.
        if feature not in known:
            sent.append(digits)
        if feature != REFUSED:
            sent.append(local)
            known.add(feature)
    return sent


def _records(connection: Connection) -> list[tuple[str, int, str, str]]:
    rows = table(SettlementRecord)
    query = select(rows.c.feature, rows.c.amount, rows.c.currency, rows.c.state).order_by(rows.c.id)
    return [(row[0], row[1], row[2], row[3]) for row in connection.execute(query)]
