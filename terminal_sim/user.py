"""A scripted user and a terminal's scripted misbehaviour, both drawn from a seed: the same seed, the same wishes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

from signalling.messages import ModeTerms, OfferEntry
from terminal_sim.negotiation import Quotation
from terminal_sim.profiles import Behaviour, FaultRates

Decision = Literal["take", "reject", "later"]

_DAY = 86_400_000_000


class ScriptedUser:
    """Decides as its profile says; ``chance`` is its own."""

    def __init__(self, behaviour: Behaviour, chance: random.Random) -> None:
        self.behaviour = behaviour
        self._chance = chance

    def decide(self, entry: OfferEntry) -> Decision:
        """What becomes of an offer in the menu."""
        drawn = self._chance.random()
        if drawn < self.behaviour.take:
            return "take"
        return "reject" if drawn < self.behaviour.take + self.behaviour.reject else "later"

    def mode(self, modes: Sequence[ModeTerms]) -> ModeTerms:
        """One of the charging modes, by preference for its kind; a kind without a preference has weight 1."""
        weights = [self.behaviour.modes.get(terms.kind, 1) for terms in modes]
        return self._chance.choices(modes, weights if any(weights) else None)[0]

    def counter(self, quotation: Quotation) -> tuple[str, int | None] | None:
        """A counter-proposal to a first quote: another mode, or a spending limit for a mode by use; mostly none."""
        if quotation.answer != "quoted" or self._chance.random() >= self.behaviour.counter_proposal:
            return None
        others = [terms for terms in quotation.entry.modes if terms.mode != quotation.quote.mode.mode]
        terms = self._chance.choice([quotation.quote.mode, *others])
        if terms.counter:
            return terms.mode, self.behaviour.limit_micros()
        return (terms.mode, None) if terms.mode != quotation.quote.mode.mode else None

    def declines(self) -> bool:
        """Whether the user leaves at the quote."""
        return self._chance.random() < self.behaviour.decline

    def uses(self, start: int, end: int, terms: ModeTerms, days: float | None = None) -> list[tuple[int, int]]:
        """Uses of one item between two instants, as (instant, units), in order; as many as ``days`` bring (default:
        those between the instants)."""
        count = self._count(self.behaviour.uses_a_day * ((end - start) / _DAY if days is None else days))
        least, most = self.behaviour.units_a_use.get(terms.unit, (1, 1))
        # One draw each, however long the time is: what the user decides afterwards is the same whatever a clock said.
        instants = sorted(start + 1 + int(self._chance.random() * (end - start)) for _ in range(count))
        return [(instant, self._chance.randint(least, most)) for instant in instants]

    def _count(self, mean: float) -> int:
        """A count with this mean, as arrivals that know nothing of each other have it."""
        count, left = 0, mean
        while (left := left - self._chance.expovariate(1.0)) > 0:
            count += 1
        return count


class ScriptedFaults:
    """Misbehaviour on the link by the rates of a profile (see ``terminal_sim.client.Faults``); counts what it does."""

    CUTTABLE = frozenset({"request", "confirm", "delivery_request", "receipt", "counter_reports", "configuration"})
    FORGETTABLE = frozenset({"quote", "agreed", "delivery_grant", "receipt_noted", "counter_noted", "noted"})

    def __init__(self, rates: FaultRates, chance: random.Random) -> None:
        self.rates = rates
        self.cut = self.forgotten = self.repeated = 0
        self.chance = chance

    def cut_after(self, sent: str) -> bool:
        happens = sent in self.CUTTABLE and self.chance.random() < self.rates.cut_link
        self.cut += happens
        return happens

    def forget(self, received: str) -> bool:
        happens = received in self.FORGETTABLE and self.chance.random() < self.rates.forget_answer
        self.forgotten += happens
        return happens

    def repeat(self, sent: str) -> bool:
        happens = sent == "counter_reports" and self.chance.random() < self.rates.repeat_report
        self.repeated += happens
        return happens


class BreakOnce:
    """A download that breaks once after ``limit`` bytes of packages (see ``repository_fetcher.Fault``)."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._armed = True

    def __call__(self, url: str, piece: bytes) -> bytes:
        if not self._armed or "/targets/" not in url:
            return piece
        if self._left <= 0:
            self._armed = False
            raise ConnectionError("the download broke on purpose")
        piece = piece[: self._left]
        self._left -= len(piece)
        return piece


class SpoilOnce:
    """A download of which one piece arrives altered."""

    def __init__(self) -> None:
        self._armed = True

    def __call__(self, url: str, piece: bytes) -> bytes:
        if not self._armed or "/targets/" not in url or not piece:
            return piece
        self._armed = False
        return bytes([piece[0] ^ 1]) + piece[1:]
