"""Tariff versions for tests."""

from __future__ import annotations

from typing import Any

from charging.tariffs import TariffVersion
from charging.tariffs.build import build_version
from charging.tariffs.document import VersionTable


def make(**keys: Any) -> TariffVersion:
    """A tariff version with the given keys as they stand in a file, and plain ones for the others."""
    raw = {
        "effective_from": "2026-01-01",
        "currency": "EUR",
        "tax_category": "standard",
        "unit": "use",
        "zone": "Europe/Berlin",
        "rounding": {"mode": "half_up", "place": "record", "to": 1},
        "price": {"model": "per_unit", "amount": "0.05"},
    } | keys
    built = build_version("test", raw, VersionTable.model_validate(raw))
    assert isinstance(built, TariffVersion), built
    return built
