"""Time bands as tables: which band holds in each granule of a stretch of UTC, and until when."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import gcd

from charging.rating.timeband import TimeBands
from signalling.clock import to_micros

SECOND = 1_000_000
_MOST_GRANULES = 2_000_000


@dataclass(frozen=True, slots=True)
class Intervals:
    """Intervals of one band each, in a row from ``start`` on; all begin and end at granules of ``length`` micros.

    ``ends`` in micros; ``bands``: the number of each one's band.
    """

    start: int
    length: int
    ends: Sequence[int]
    bands: Sequence[int]

    def crossed(self, seconds: int) -> int:
        """The most intervals that a session of so many seconds lies in."""
        begins = [self.start, *self.ends]
        return (
            max(
                bisect_left(self.ends, begin + seconds * SECOND) + 1 - number
                for number, begin in enumerate(begins[:-1])
            )
            + 1
        )

    def table(self, count: int) -> str:
        """A query of each granule with the ends (``until0`` ...) and bands (``band0`` ...) of ``count`` intervals."""
        rows = []
        begin, last = self.start, len(self.ends) - 1
        for number, end in enumerate(self.ends):
            following = [min(number + step, last) for step in range(count)]
            values = [(begin - self.start) // self.length, (end - self.start) // self.length]
            values += [self.ends[each] for each in following] + [self.bands[each] for each in following]
            rows.append(f"({', '.join(map(str, values))})")
            begin = end
        names = [f"until{step}" for step in range(count)] + [f"band{step}" for step in range(count)]
        return (
            f"SELECT unnest(range(low, high)) AS granule, {', '.join(names)} "
            f"FROM (VALUES {', '.join(rows)}) t(low, high, {', '.join(names)})"
        )


def intervals(bands: TimeBands, names: Sequence[str], first: datetime, last: datetime) -> Intervals | None:
    """The intervals from the day of ``first`` to a day after ``last`` (aware UTC), or ``None``: too many granules."""
    begin = first.replace(hour=0, minute=0, second=0, microsecond=0)
    end = last.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=2)
    start = to_micros(begin)
    pieces = list(bands.split(begin, end))
    ends = [to_micros(piece.end) for piece in pieces]
    length = gcd(*(instant - start for instant in ends))
    if (ends[-1] - start) // length > _MOST_GRANULES:
        return None
    index = {name: number for number, name in enumerate(names)}
    return Intervals(start, length, ends, [index[piece.band] for piece in pieces])
