"""The operator of the counting tests serves here too."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "counting"))
sys.path.insert(0, str(Path(__file__).parent.parent / "usage"))
sys.path.insert(0, str(Path(__file__).parent.parent))

from balance_samples import Purse


@pytest.fixture
def purse() -> Iterator[Purse]:
    made = Purse()
    yield made
    assert made.altered or made.findings() == []
    made.shop.engine.dispose()
