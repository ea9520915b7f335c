"""The operator of the counting tests serves here too."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "counting"))
sys.path.insert(0, str(Path(__file__).parent))

from receivable_samples import Books


@pytest.fixture
def books() -> Books:
    return Books()
