"""Time bands: peak and off-peak by time of day, weekday and holiday in the tariff's own zone.

The band of an instant is that which the wall clock of the zone shows: where the clock jumps forward, the band of
the skipped hour is skipped too; where it goes back, the repeated hour is in its band twice.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HOLIDAY = "holiday"
DAY_MINUTES = 24 * 60
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


class BandError(ValueError):
    """Bands that leave a hole in the week or claim a time twice."""


@dataclass(frozen=True, slots=True)
class Hours:
    """The minutes of the day from ``start`` up to before ``end`` (at most 1440) belong to ``band``."""

    start: int
    end: int
    band: str


@dataclass(frozen=True, slots=True)
class Piece:
    """The part of a session from ``start`` to before ``end``, aware UTC, that lies in ``band``."""

    start: datetime
    end: datetime
    band: str


class TimeBands:
    """Which band holds at an instant, and where a stretch of time crosses from one to another.

    ``week`` gives the hours of each day, by the names in :data:`DAYS` and, where holidays have hours of their own,
    :data:`HOLIDAY`. Holidays are dates of the zone or ``(month, day)`` of every year. Raises :class:`BandError`
    unless each day is covered exactly once.
    """

    def __init__(
        self,
        zone: ZoneInfo,
        week: Mapping[str, Sequence[Hours]],
        holidays: Collection[date | tuple[int, int]] = (),
    ) -> None:
        self._zone = zone
        self._holidays = frozenset(holidays)
        self._days = [_covered(day, week.get(day, ())) for day in DAYS]
        self._holiday = _covered(HOLIDAY, week[HOLIDAY]) if HOLIDAY in week else None

    @property
    def names(self) -> frozenset[str]:
        """Every band that some day has."""
        days = [*self._days, self._holiday] if self._holiday else self._days
        return frozenset(band for _, bands in days for band in bands)

    def at(self, instant: datetime) -> str:
        """The band at ``instant`` (aware)."""
        local = instant.astimezone(self._zone)
        starts, bands = self._day(local.date())
        return bands[bisect_right(starts, local.hour * 60 + local.minute) - 1]

    def split(self, start: datetime, end: datetime) -> Iterator[Piece]:
        """The stretch from ``start`` to before ``end`` (aware) in pieces of one band each, in order.

        The work grows with the days and boundaries that the stretch touches, not with its seconds.
        """
        begun, band = start, ""
        for instant, name in self._changes(start.astimezone(UTC), end.astimezone(UTC)):
            if name == band:
                continue
            if band:
                yield Piece(begun, instant, band)
            begun, band = instant, name
        if band:
            yield Piece(begun, end.astimezone(UTC), band)

    def _changes(self, start: datetime, end: datetime) -> Iterator[tuple[datetime, str]]:
        """The band at ``start`` and at every boundary before ``end``; a band may follow itself."""
        for low, high, offset in self._offsets(start, end):
            local, local_end = (low + offset).replace(tzinfo=None), (high + offset).replace(tzinfo=None)
            while local < local_end:
                starts, bands = self._day(local.date())
                index = bisect_right(starts, local.hour * 60 + local.minute) - 1
                yield local.replace(tzinfo=UTC) - offset, bands[index]
                minute = starts[index + 1] if index + 1 < len(starts) else DAY_MINUTES
                local = datetime.combine(local.date(), time()) + timedelta(minutes=minute)

    def _offsets(self, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime, timedelta]]:
        """The stretch in parts within which the zone's distance from UTC stays the same."""
        while start < end:
            high = min(start + _DAY, end)
            offset = self._offset(start)
            if self._offset(high) != offset:
                high = min(self._transition(start, high), end)
            yield start, high, offset
            start = high

    def _transition(self, low: datetime, high: datetime) -> datetime:
        """The first whole second after ``low`` at which the distance from UTC is no longer that of ``low``."""
        offset = self._offset(low)
        low = low.replace(microsecond=0)
        first, last = 1, -((low - high) // _SECOND)
        while first < last:
            middle = (first + last) // 2
            if self._offset(low + middle * _SECOND) == offset:
                first = middle + 1
            else:
                last = middle
        return low + first * _SECOND

    def _offset(self, instant: datetime) -> timedelta:
        offset = instant.astimezone(self._zone).utcoffset()
        assert offset is not None
        return offset

    def _day(self, day: date) -> tuple[list[int], list[str]]:
        if self._holiday and (day in self._holidays or (day.month, day.day) in self._holidays):
            return self._holiday
        return self._days[day.weekday()]


def _covered(day: str, hours: Sequence[Hours]) -> tuple[list[int], list[str]]:
    """Start minutes and bands of a day; raises :class:`BandError` where the hours leave a hole or overlap."""
    end = 0
    ordered = sorted(hours, key=lambda item: item.start)
    for item in ordered:
        if item.start > end:
            raise BandError(f"{day} has a hole from {clock(end)} to {clock(item.start)}")
        if item.start < end:
            raise BandError(f"{day} has two bands at {clock(item.start)}")
        end = item.end
    if end != DAY_MINUTES:
        raise BandError(f"{day} has a hole from {clock(end)} to 24:00")
    return [item.start for item in ordered], [item.band for item in ordered]


def clock(minute: int) -> str:
    """``18:00`` for 1080."""
    return f"{minute // 60:02d}:{minute % 60:02d}"
