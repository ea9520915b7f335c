"""An empty operator's database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from operator_server.store.engine import open_engine, sqlite_url
from operator_server.store.migrate import upgrade


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("people") / "empty.sqlite"
    upgrade(sqlite_url(path))
    return path.read_bytes()


@pytest.fixture
def engine(migrated: bytes, tmp_path: Path) -> Iterator[Engine]:
    path = tmp_path / "people.sqlite"
    path.write_bytes(migrated)
    engine = open_engine(sqlite_url(path))
    yield engine
    engine.dispose()
