"""Tariffs from the CSV set that the field knows, with the columns that CGRateS documents for its tariff plans.

``Destinations.csv``, ``Rates.csv``, ``DestinationRates.csv``, ``Timings.csv``, ``RatingPlans.csv`` and
``RatingProfiles.csv``. A rating profile (tenant, category, subject) becomes a tariff, each of its activations a
version. What a tariff here cannot say is named with file and line, and nothing is made of it.
"""

from charging.tariffs.csv_import.convert import Imported, convert
from charging.tariffs.csv_import.reading import Unsupported

__all__ = ["Imported", "Unsupported", "convert"]
