"""A rate: a price model with the steps before and behind it, from a measured quantity to micros.

The order is fixed: increments, included units, price, session terms, discount, rounding, amount off, spending cap.
Each step is a function of a running sum of the session or of the period, and a piece costs the difference that it
makes. So any cutting of a usage into pieces, rated one after another with the carried state, costs what the whole
costs. Where time bands cut a session, an increment belongs to the band in which it begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction

from charging.rating.included import Included
from charging.rating.model import PriceModel, Rated, RatingError, RatingState, Step, decimal_text
from charging.rating.modifiers import Discount, PeriodModifier, SessionTerms
from charging.rating.per_unit import Increments, PerUnit
from charging.rating.rounding import Rounding
from charging.rating.timeband import TimeBands

_SECOND = timedelta(seconds=1)
MAX_TIMED_SECONDS = 366 * 24 * 3600
"""The longest session that time bands are applied to."""


@dataclass(frozen=True, slots=True)
class BandPrices:
    """A price per unit for each time band, all of one unit size.

    ``by_second``: a unit is a second of the session, which is split where a band ends; otherwise a piece is priced
    whole by the band of its instant.
    """

    bands: TimeBands
    prices: Mapping[str, PerUnit]
    by_second: bool


@dataclass(frozen=True, slots=True)
class Stages:
    """The running sums of a session and its period, in micros, as explanations compare them."""

    price: Fraction
    session: Fraction
    discounted: Fraction
    rounded: Fraction


class Rate:
    """Rates quantities; immutable.

    ``per_session`` says whether the model counts units within the session or over the period. ``price`` is a model,
    or prices per unit by time band. Rounding by increment needs a price per unit and increments (``ValueError``).
    """

    def __init__(
        self,
        price: PriceModel | BandPrices,
        rounding: Rounding,
        *,
        per_session: bool = True,
        increments: Increments | None = None,
        included: Included | None = None,
        terms: SessionTerms | None = None,
        discount: Discount | None = None,
        period_modifiers: tuple[PeriodModifier, ...] = (),
        line_scale: int = 1,
    ) -> None:
        self._bands = price if isinstance(price, BandPrices) else None
        self._model = next(iter(price.prices.values())) if isinstance(price, BandPrices) else price
        self._by_increment = rounding.place == "increment"
        if self._by_increment and not (increments and isinstance(self._model, PerUnit)):
            raise ValueError("rounding by increment needs a price per unit with increments")
        self._by_line = rounding.place == "line"
        self._by_span = self._bands is not None or self._by_increment
        self._rounding = rounding
        self._per_session = per_session
        self._increments = increments
        self._included = included
        self._terms = terms
        self._discount = discount
        self._period_modifiers = period_modifiers
        self._model_scale = self._model.scale
        kept = discount.kept if discount else Fraction(1)
        self.scale = self._model_scale * kept.denominator * line_scale
        self._factor = kept.numerator * line_scale

    def rate(
        self,
        quantity: int,
        state: RatingState,
        at: datetime | None = None,
        steps: list[Step] | None = None,
        *,
        highest: bool = False,
    ) -> Rated:
        """The cost of ``quantity`` further units, of which the first falls on ``at`` (aware; for time bands).

        Appends to ``steps``, if given, how the cost comes about. With ``highest`` the cost is the highest that any
        part of the quantity reaches; it differs only for volume tiers, and its state is of no use. Raises
        :class:`RatingError` for a quantity that is no whole number or negative, and for a missing instant.
        """
        if type(quantity) is not int or quantity < 0:
            raise RatingError(f"quantity {quantity!r} is not a whole number of units, 0 or more")
        measured = state.quantity + quantity
        increments, included = self._increments, self._included
        if increments is None:
            used = state.used + quantity
        else:
            used = state.used + increments.billed(measured) - increments.billed(state.quantity)
        if included is None:
            before, after = state.used, used
        else:
            before, after = included.chargeable(state.used), included.chargeable(used)
        units = state.units + after - before
        if self._by_span:
            exact = state.exact + sum(span[-1] for span in self._spans(quantity, state, after - before, at))
        else:
            low, high = (state.units, units) if self._per_session else (before, after)
            end = self._model.highest(low, high) if highest else self._model.total(high)
            exact = state.exact + end - self._model.total(low)
        session = exact
        if units and self._terms is not None:
            session = self._terms.apply(exact, self._model_scale)
        total = session * self._factor + state.carried
        cost = self._rounding.due(total, self.scale)
        due = state.due + cost - state.cost
        rated = Rated(
            self._charged(due) - self._charged(state.due),
            RatingState(measured, units, exact, state.carried, total if self._by_line else 0, cost, used, due),
        )
        if steps is not None:
            steps += self._explain(quantity, state, rated, at)
        return rated

    def _charged(self, due: int) -> int:
        for modifier in self._period_modifiers:
            due = modifier.apply(due)
        return due

    def _spans(
        self, quantity: int, state: RatingState, chargeable: int, at: datetime | None
    ) -> Iterator[tuple[PerUnit, str, int, int, int]]:
        """Price, band, first and last position in the session, exact cost of each span of chargeable units.

        Positions count billed units since the session began. Included units come first, so what is chargeable of a
        piece is its end.
        """
        start, end = state.quantity, state.quantity + quantity
        if self._bands and self._bands.by_second and end > MAX_TIMED_SECONDS:
            raise RatingError(f"a session of {end} seconds is longer than time bands are applied to, 366 days")
        if self._increments:
            start, end = self._increments.billed(start), self._increments.billed(end)
        begin = end - chargeable
        for price, band, stop in self._segments(state.quantity, start, end, at):
            if stop <= begin:
                continue
            if self._by_increment and self._increments:
                cost = price.by_increment(begin, stop, self._increments, self._rounding)
            else:
                cost = price.total(stop - begin)
            yield price, band, begin, stop, cost
            begin = stop

    def _segments(self, measured: int, start: int, end: int, at: datetime | None) -> Iterator[tuple[PerUnit, str, int]]:
        """Price and band that hold from the last segment's end up to each position, at last up to ``end``."""
        banded = self._bands
        if banded is None:
            assert isinstance(self._model, PerUnit)
            yield self._model, "", end
            return
        if at is None or at.tzinfo is None:
            raise RatingError("this tariff has time bands: rating needs the aware instant of the usage")
        if not banded.by_second:
            band = banded.bands.at(at)
            yield banded.prices[band], band, end
            return
        origin = at - measured * _SECOND
        for piece in banded.bands.split(origin + start * _SECOND, origin + end * _SECOND):
            # Increments that begin before the boundary run on in their band.
            position = -((origin - piece.end) // _SECOND)
            if self._increments:
                position = self._increments.billed(position)
            yield banded.prices[piece.band], piece.band, min(position, end)

    def _explain(self, quantity: int, state: RatingState, rated: Rated, at: datetime | None) -> list[Step]:
        steps = []
        after = rated.state
        billed = after.used - state.used
        if billed != quantity and self._increments:
            text = f"{quantity} measured, billed in increments {self._increments}"
            steps.append(Step(text, billed, Fraction(0)))
        free = billed - (after.units - state.units)
        if free and self._included:
            steps.append(Step(f"{free} of {self._included.units} included units", free, Fraction(0)))
        steps += self._price_steps(quantity, state, after, at)
        old, new = self._stages(state), self._stages(after)
        changes = [
            (self._terms_text(), new.session - new.price, old.session - old.price),
            (self._discount_text(), new.discounted - new.session, old.discounted - old.session),
            (self._rounding_text(), new.rounded - new.discounted, old.rounded - old.discounted),
        ]
        due_before, due_after = state.due, after.due
        for modifier in self._period_modifiers:
            next_before, next_after = modifier.apply(due_before), modifier.apply(due_after)
            changes.append((modifier.text, Fraction(next_after - due_after), Fraction(next_before - due_before)))
            due_before, due_after = next_before, next_after
        return steps + [Step(text, 0, gone - was) for text, gone, was in changes if gone != was]

    def _price_steps(self, quantity: int, state: RatingState, after: RatingState, at: datetime | None) -> list[Step]:
        chargeable = after.units - state.units
        if not self._by_span:
            if self._per_session:
                return self._model.steps(state.units, after.units)
            used = [self._included.chargeable(n) if self._included else n for n in (state.used, after.used)]
            return self._model.steps(used[0], used[1])
        steps = []
        note = ", each increment rounded" if self._by_increment else ""
        for price, band, begin, stop, cost in self._spans(quantity, state, chargeable, at):
            for step in price.steps(begin, stop):
                text = f"{band}: {step.text}{note}" if band else step.text + note
                steps.append(replace(step, text=text, cost=Fraction(cost, self._model_scale)))
        return steps

    def _stages(self, state: RatingState) -> Stages:
        price = Fraction(state.exact, self._model_scale)
        session = price
        if state.units and self._terms:
            session = Fraction(self._terms.apply(state.exact, self._model_scale), self._model_scale)
        discounted = session * Fraction(self._factor * self._model_scale, self.scale)
        return Stages(price, session, discounted, state.cost - Fraction(state.carried, self.scale))

    def _terms_text(self) -> str:
        terms = self._terms or SessionTerms()
        parts = [
            (terms.connect_fee or None, "connect fee"),
            (terms.minimum, "minimum"),
            (terms.maximum, "maximum"),
        ]
        return ", ".join(f"{name} {decimal_text(micros)}" for micros, name in parts if micros is not None)

    def _discount_text(self) -> str:
        return f"discount {decimal_text(self._discount.share * 100_000_000)} %" if self._discount else ""

    def _rounding_text(self) -> str:
        step = 1 if self._by_line else self._rounding.step
        return f"rounding {self._rounding.mode} to {decimal_text(step)}"
