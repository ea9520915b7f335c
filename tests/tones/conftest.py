"""The operator of the card tests, with tones in his catalogue."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "card"))
sys.path.insert(0, str(Path(__file__).parent.parent / "negotiation"))

from operator_fixtures import furnished
from tone_network import Network
from tone_samples import ToneHouse
from twisted.internet import reactor

__all__ = ["furnished"]


@pytest.fixture
def house(furnished: Path, tmp_path: Path) -> Iterator[ToneHouse]:
    shutil.copytree(furnished, tmp_path / "operator")
    house = ToneHouse(tmp_path / "operator")
    yield house
    house.engine.dispose()


@pytest.fixture(scope="session")
def running_reactor() -> Iterator[Any]:
    """The reactor in a thread of its own, unless another test module has it running."""
    loop: Any = reactor
    if loop.running:
        yield loop
        return
    thread = threading.Thread(target=loop.run, args=(False,), daemon=True)
    thread.start()
    yield loop
    loop.callFromThread(loop.stop)
    thread.join(5)


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
