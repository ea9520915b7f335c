"""A link server for each test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
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
