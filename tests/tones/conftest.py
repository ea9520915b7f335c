"""The operator of the card tests, with tones in his catalogue."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "card"))
sys.path.insert(0, str(Path(__file__).parent.parent / "negotiation"))

from operator_fixtures import furnished
from tone_samples import ToneHouse

__all__ = ["furnished"]


@pytest.fixture
def house(furnished: Path, tmp_path: Path) -> Iterator[ToneHouse]:
    shutil.copytree(furnished, tmp_path / "operator")
    house = ToneHouse(tmp_path / "operator")
    yield house
    house.engine.dispose()
