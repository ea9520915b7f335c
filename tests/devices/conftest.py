"""The operator of the negotiation tests, with devices."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "negotiation"))

from browsing import tab
from device_samples import DeviceHouse, furnish_devices
from operator_fixtures import furnished
from operator_samples import House

__all__ = ["furnished", "tab"]


@pytest.fixture
def house(furnished: Path, tmp_path: Path) -> Iterator[DeviceHouse]:
    house: House = furnish_devices(furnished, tmp_path / "operator")
    yield house
    house.engine.dispose()
