"""The operator of the negotiation tests, with a card."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "negotiation"))

from card_samples import CardHouse
from operator_fixtures import furnished

__all__ = ["furnished"]


@pytest.fixture
def house(furnished: Path, tmp_path: Path) -> Iterator[CardHouse]:
    shutil.copytree(furnished, tmp_path / "operator")
    house = CardHouse(tmp_path / "operator")
    yield house
    house.engine.dispose()
