"""Tariffs: read from TOML, versioned by the date they take effect, and what they make of a usage."""

from charging.rating import Rated, RatingError, RatingState, Step
from charging.tariffs.book import Problem, Tariff, TariffBook, TariffError, read_tariff, restore_version
from charging.tariffs.usage import (
    MAX_UNITS,
    charged_in_period,
    period_shortfall,
    rate_usage,
    units_affordable,
)
from charging.tariffs.version import TariffVersion

__all__ = [
    "MAX_UNITS",
    "Problem",
    "Rated",
    "RatingError",
    "RatingState",
    "Step",
    "Tariff",
    "TariffBook",
    "TariffError",
    "TariffVersion",
    "charged_in_period",
    "period_shortfall",
    "rate_usage",
    "read_tariff",
    "restore_version",
    "units_affordable",
]
