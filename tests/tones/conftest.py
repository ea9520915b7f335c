"""The operator of the card tests, with tones in his catalogue."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "card"))
sys.path.insert(0, str(Path(__file__).parent.parent / "negotiation"))
sys.path.insert(0, str(Path(__file__).parent.parent / "web"))

from operator_fixtures import furnished
from tone_network import Network
from tone_samples import ToneHouse

__all__ = ["furnished"]


@pytest.fixture
def house(furnished: Path, tmp_path: Path) -> Iterator[ToneHouse]:
    shutil.copytree(furnished, tmp_path / "operator")
    house = ToneHouse(tmp_path / "operator")
    yield house
    house.engine.dispose()


@pytest.fixture
def make_network(house: ToneHouse, running_reactor: Any) -> Iterator[Callable[..., Network]]:
    made: list[Network] = []

    def make(**options: Any) -> Network:
        made.append(Network(house, running_reactor, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def network(make_network: Callable[..., Network]) -> Network:
    return make_network()
