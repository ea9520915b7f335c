"""The application over a small operator's database, and people of each role who use it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "negotiation"))
sys.path.insert(0, str(Path(__file__).parent.parent / "devices"))

from browsing import tab
from operator_fixtures import furnished
from operator_samples import House, copied
from web_dealings import deal
from web_desk import Desk
from web_samples import Site, furnish_people

__all__ = ["furnished", "tab"]


@pytest.fixture(scope="session")
def peopled(furnished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The furnished operator with one person of each role; made once."""
    folder = tmp_path_factory.mktemp("peopled") / "operator"
    house = copied(furnished, folder)
    furnish_people(house)
    house.engine.dispose()
    return folder


@pytest.fixture
def house(peopled: Path, tmp_path: Path) -> Iterator[House]:
    house = copied(peopled, tmp_path / "operator")
    yield house
    house.engine.dispose()


@pytest.fixture
def site(house: House) -> Site:
    return Site(house)


@pytest.fixture
def dealt(house: House) -> House:
    deal(house)
    return house


@pytest.fixture
def billing(dealt: House, site: Site) -> Desk:
    return Desk(site, "billing")
