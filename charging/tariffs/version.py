"""A version of a tariff: what is charged, for which unit, from when on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from charging.rating import Rate, RatingError
from charging.rating.destination import Destinations
from charging.rating.modifiers import Commitment, PeriodModifier
from charging.rating.rounding import Rounding


@dataclass(frozen=True, slots=True)
class TariffVersion:
    """A tariff as it holds from ``effective_from`` on, until a later version does.

    ``version_id`` names tariff, date and a digest of the content: it changes with any change of the content. What
    was rated keeps it; ``content`` is the whole version as canonical JSON, from which
    :func:`charging.tariffs.restore_version` makes it again.

    Included units, tiers, packages and the spending cap count over ``included_per``: a month of the operator's
    zone, or the life of the agreement. Who keeps the :class:`~charging.rating.RatingState` calls its
    ``next_period`` when a new one begins.
    """

    tariff_id: str
    version_id: str
    content: str
    effective_from: datetime
    """Aware UTC."""
    currency: str
    tax_category: str
    unit: str
    """What is counted: ``use``, ``MiB``, ``second``; ``amount`` for a percentage of an amount in micros."""
    zone: str
    """The IANA zone of the time bands and of a date in ``effective_from``."""
    included: int
    included_per: Literal["month", "agreement"]
    grant_units: int
    """Units granted ahead to a terminal in one usage grant; 0 where nothing is granted ahead."""
    rounding: Rounding
    default: Rate | None
    destinations: Destinations[Rate]
    period_modifiers: tuple[PeriodModifier, ...]
    commitment: Commitment | None
    timed: bool
    """Whether rating needs the instant of the usage."""

    def rate_for(self, destination: str | None) -> Rate:
        """The rate of a destination's number, else the default one; :class:`RatingError` where there is none."""
        if destination is not None:
            found = self.destinations.match(destination)
            if found is not None:
                return found[1]
        if self.default is None:
            raise RatingError(f"{self.version_id} has no price for destination {destination!r}")
        return self.default
