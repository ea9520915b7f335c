"""Databases on a throw-away PostgreSQL: ``from postgres import postgres_server, postgres_url`` in a conftest."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine

from tools.throwaway_postgres import PostgresMissing, throwaway_postgres

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a server that lives as long as the tests; skips where there is no PostgreSQL on the machine."""
    try:
        server = throwaway_postgres()
        url = server.__enter__()
    except PostgresMissing as missing:
        pytest.skip(str(missing))
    yield url
    server.__exit__(None, None, None)


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """The URL of an empty database of the test's own."""
    name = f"test_{next(_numbers)}"
    engine = create_engine(postgres_server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return postgres_server.replace("/postgres?", f"/{name}?")
