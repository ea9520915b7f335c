"""A furnished operator for each test, copied from one that is made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from operator_samples import House, User, copied, furnish


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("operator")
    furnish(folder)
    return folder


@pytest.fixture
def house(furnished: Path, tmp_path: Path) -> Iterator[House]:
    house = copied(furnished, tmp_path / "operator")
    yield house
    house.engine.dispose()


@pytest.fixture
def user(house: House) -> User:
    return house.user()
