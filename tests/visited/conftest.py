"""Two operators and a roamer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "negotiation"))

from operator_fixtures import furnished
from visited_samples import Lands

__all__ = ["furnished"]


@pytest.fixture
def lands(furnished: Path, tmp_path: Path) -> Iterator[Lands]:
    lands = Lands(furnished, tmp_path)
    yield lands
    lands.home.engine.dispose()
    lands.visited.engine.dispose()
