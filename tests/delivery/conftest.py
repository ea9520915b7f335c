from collections.abc import Iterator
from pathlib import Path

import pytest
from delivery_samples import House, make_house, running


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = make_house(tmp_path)
    with running(house.recorder) as port:
        house.base_url = f"http://127.0.0.1:{port}/repository"
        yield house
