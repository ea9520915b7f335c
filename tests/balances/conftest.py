"""The operator of the counting tests serves here too."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

for _folder in ("../counting", "../usage", ".."):
    sys.path.insert(0, str((Path(__file__).parent / _folder).resolve()))

from balance_samples import Purse  # noqa: E402 - found by the folders above
from postgres import postgres_server, postgres_url  # noqa: E402 - the same

__all__ = ["postgres_server", "postgres_url"]


@pytest.fixture
def purse() -> Iterator[Purse]:
    made = Purse()
    yield made
    assert made.altered or made.findings() == []
    made.engine.dispose()
