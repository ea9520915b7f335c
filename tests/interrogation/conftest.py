"""What the tests of link and interrogation share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "link"))

from link_harness import House


@pytest.fixture
def make_house(tmp_path: Path) -> Callable[..., House]:
    """A link server in memory over a fresh database."""

    def make(**options: Any) -> House:
        return House(tmp_path, **options)

    return make


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A link server with the usual settings."""
    return House(tmp_path)
