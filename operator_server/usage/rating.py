"""Rating within one transaction: by columns where many records of a tariff version can be, the others one by one.

Both ways cost the same to the micro, and leave the same states. One by one are rated: records of who has units in
buckets, since each takes what the one before left; those of an agreement for which the tariff changes meanwhile; and
what :mod:`charging.bulk` does not take.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection

from charging.balances.drawing import Drawn
from charging.bulk import NotByColumns, Portion, PortionRater
from charging.modes import Payment
from charging.rating import RatingError, RatingState
from charging.rating.rate import MAX_TIMED_SECONDS
from charging.tariffs import TariffVersion, rate_usage
from charging.tariffs.explain import carry
from operator_server.counting.units import Units, units_of
from operator_server.usage.placing import Stretch
from operator_server.usage.reading import Line
from operator_server.usage.records import Record
from operator_server.usage.statements import statements

_decode = msgspec.json.Decoder(RatingState).decode


class Placed(NamedTuple):
    """A record with where it belongs."""

    line: Line
    record: Record
    stretch: Stretch


class Rated(msgspec.Struct, frozen=True, gc=False):
    """What a record costs: micros net before tax; ``quantity`` is what units, ``drawn``, do not cover.

    ``position``: the how manieth of its agreement and period it was to be rated.
    """

    net: int
    included: int
    quantity: int
    position: int
    drawn: list[Drawn] | None = None

    @property
    def covered(self) -> bool:
        """Whether units cover all of it; then it is not rated."""
        return bool(self.drawn) and not self.quantity


class Refused(msgspec.Struct, frozen=True, gc=False):
    """Why the tariff cannot rate a record."""

    reason: str


class _Course:
    """The records of an agreement and a period, and the state that they carry."""

    __slots__ = ("changed", "mixed", "places", "state", "stored", "stretch", "uses", "version")

    def __init__(self, stretch: Stretch) -> None:
        self.stretch = stretch
        self.places: list[int] = []
        self.mixed = False
        self.state = RatingState()
        self.version: str | None = None
        self.uses = 0
        self.stored = False
        self.changed = False

    def before(self, version: TariffVersion) -> RatingState:
        """The state in which the next record is rated."""
        return carry(self.state, self.version, version, session=True)


class Rating:
    """Rates the records of one transaction, in their order. ``fewest``: so many of a version are rated by columns."""

    def __init__(
        self,
        connection: Connection,
        placed: Sequence[Placed],
        payments: Mapping[str, Payment],
        units: Units,
        *,
        rater: PortionRater,
        fewest: int,
    ) -> None:
        self._connection = connection
        self._placed = placed
        self._payments = payments
        self._units = units
        self._rater = rater
        self._fewest = fewest
        self._courses: dict[tuple[str, str], _Course] = {}
        self._of: dict[Stretch, _Course] = {}
        for place, each in enumerate(placed):
            stretch = each.stretch
            course = self._of.get(stretch)
            if course is None:
                course = self._courses.setdefault((stretch.agreement, stretch.period), _Course(stretch))
                course.mixed |= course.stretch.version is not stretch.version
                self._of[stretch] = course
            course.places.append(place)
        self._read_states()

    def rate(self) -> list[Rated | Refused]:
        """What became of each record, in order."""
        done: list[Rated | Refused | None] = [None] * len(self._placed)
        by_version: dict[str, list[_Course]] = {}
        for course in self._courses.values():
            if not course.mixed and not self._draws(course.stretch):
                by_version.setdefault(course.stretch.version.version_id, []).append(course)
        for courses in by_version.values():
            self._by_columns(courses, done)
        return [self._one(each) if found is None else found for each, found in zip(self._placed, done, strict=True)]

    def _draws(self, stretch: Stretch) -> bool:
        """Whether units may cover records; use that is only rated takes none."""
        customer = stretch.customer
        pays = self._payments[stretch.agreement].pays
        return pays is not None and self._units.has((customer.subscriber, customer.account))

    def _by_columns(self, courses: Sequence[_Course], done: list[Rated | Refused | None]) -> None:
        """Rate the records of one tariff version with one query, if that can be and they are many."""
        if sum(len(course.places) for course in courses) < self._fewest:
            return
        version = courses[0].stretch.version
        accounts, places = list[int](), list[int]()
        for number, course in enumerate(courses):
            places += course.places
            accounts += [number] * len(course.places)
        records = [self._placed[place].record for place in places]
        portion = Portion(
            [course.before(version) for course in courses], accounts, [record.quantity for record in records],
            [record.micros for record in records], [record.destination for record in records],
        )  # fmt: skip
        try:
            left = self._rater.rate(version, portion)
        except NotByColumns:
            # One absurd quantity, such as a session of years, leaves the others as they are.
            usual = [course for course in courses if self._most(course) <= MAX_TIMED_SECONDS]
            if len(usual) < len(courses):
                self._by_columns(usual, done)
            return
        for place, record, account, use in zip(places, records, accounts, left.uses, strict=True):
            if use is None:
                done[place] = _no_price(version, record)
                continue
            course = courses[account]
            course.uses += 1
            course.changed = True
            done[place] = Rated(use[0], use[1], record.quantity, course.uses)
        for course, state in zip(courses, left.states, strict=True):
            if course.changed:
                course.state, course.version = state, version.version_id

    def _most(self, course: _Course) -> int:
        """The largest quantity of a course."""
        return max(self._placed[place].record.quantity for place in course.places)

    def _one(self, each: Placed) -> Rated | Refused:
        """Take units for a record, and rate the rest."""
        record, stretch = each.record, each.stretch
        version, course, at = stretch.version, self._of[stretch], record.at
        drawn: list[Drawn] = []
        if self._draws(stretch):
            user = (stretch.customer.subscriber, stretch.customer.account)
            drawn = self._units.draw(user, version.unit, record.quantity, at)
        quantity = record.quantity - units_of(drawn)
        if drawn and not quantity:
            return Rated(0, 0, 0, course.uses, drawn)
        before = course.before(version)
        try:
            rated = rate_usage(version, quantity, before, at=at, destination=record.destination or None)
        except RatingError as error:
            self._units.put_back(drawn)
            return Refused(str(error))
        course.state, course.version, course.changed = rated.state, version.version_id, True
        course.uses += 1
        included = (rated.state.used - before.used) - (rated.state.units - before.units)
        return Rated(rated.cost_micros, included, quantity, course.uses, drawn or None)

    def _read_states(self) -> None:
        agreements, periods = ({key[part] for key in self._courses} for part in (0, 1))
        rows = statements(self._connection).states(self._connection, agreements, periods)
        for agreement, period, version, uses, state in rows:
            course = self._courses.get((agreement, period))
            if course is not None:
                course.version, course.uses, course.stored = version, uses, True
                # SQLite gives JSON as text, PostgreSQL what it says.
                course.state = _decode(state) if isinstance(state, str) else msgspec.convert(state, RatingState)

    def write_states(self) -> None:
        """Store the states that the records left."""
        fresh, changed = [], []
        for (agreement, period), course in self._courses.items():
            if course.changed:
                values = (course.version, course.uses, msgspec.json.encode(course.state).decode())
                if course.stored:
                    changed.append((*values, agreement, period))
                else:
                    fresh.append((agreement, period, *values))
        sql = statements(self._connection)
        sql.add_state.each(self._connection, fresh)
        sql.change_state.each(self._connection, changed)


def _no_price(version: TariffVersion, record: Record) -> Refused:
    """The reason as the path record by record gives it."""
    try:
        version.rate_for(record.destination or None)
    except RatingError as error:
        return Refused(str(error))
    raise RuntimeError(f"{version.version_id}: columns have no price for destination {record.destination!r}")
