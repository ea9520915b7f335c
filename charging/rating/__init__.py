"""Rating: from a quantity used to what it costs, pure and exact. One file a price model."""

from charging.rating.model import PriceModel, Rated, RatingError, RatingState, Step, decimal_text
from charging.rating.rate import BandPrices, Rate
from charging.rating.rounding import Rounding, round_ratio

__all__ = [
    "BandPrices",
    "PriceModel",
    "Rate",
    "Rated",
    "RatingError",
    "RatingState",
    "Rounding",
    "Step",
    "decimal_text",
    "round_ratio",
]
