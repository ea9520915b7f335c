"""Engines on the operator's database: SQLite (WAL, synchronous FULL) embedded, PostgreSQL for more than one node."""

from __future__ import annotations

import logging
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.pool import NullPool, QueuePool

from charging.ledger.book import ON_CROSSING
from operator_server.balances.thresholds import money_crossed

BUSY_MILLISECONDS = 30_000

MAPPED_BYTES = 1 << 30
"""Of a SQLite file; a connection forgets the pages that it has cached whenever another one commits."""

CACHED_STATEMENTS = 512
"""A statement that writes many rows is another statement for each number of rows."""

_OPTIONS = {ON_CROSSING: money_crossed}


def sqlite_url(path: Path) -> str:
    """The database URL of a SQLite file."""
    return f"sqlite:///{path}"


def open_engine(url: str) -> Engine:
    """An engine whose transactions are what they say.

    On SQLite each transaction that is opened by ``writing(engine)`` takes the write lock at its begin, so that it
    never fails half-way for another writer; a commit is on the disk when it returns.
    """
    if not url.startswith("sqlite"):
        # It warns that it leaves a pipeline in which something failed, which is raised anyway.
        logging.getLogger("psycopg").setLevel(logging.ERROR)
        engine = create_engine(url, pool_pre_ping=True, execution_options=_OPTIONS)
        event.listen(engine, "connect", _prepare_postgresql)
        return engine
    engine = create_engine(
        url,
        execution_options=_OPTIONS,
        connect_args={
            "check_same_thread": False,
            "timeout": BUSY_MILLISECONDS / 1000,
            "cached_statements": CACHED_STATEMENTS,
        },
        poolclass=NullPool if ":memory:" in url else QueuePool,
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_postgresql(connection: Any, record: Any) -> None:
    """A sum of integers is an integer, as on SQLite: PostgreSQL makes a ``numeric`` of it."""
    from psycopg.adapt import Loader  # Only who uses PostgreSQL has it.

    class Number(Loader):
        def load(self, data: Any) -> int | Decimal:
            text = bytes(data).decode()
            return int(text) if text.lstrip("-").isdecimal() else Decimal(text)

    connection.adapters.register_loader("numeric", Number)


def _prepare_sqlite(connection: Any, record: Any) -> None:
    assert isinstance(connection, sqlite3.Connection)
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout = {BUSY_MILLISECONDS}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        "cache_size = -65536",
        "temp_store = MEMORY",
        f"mmap_size = {MAPPED_BYTES}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Any) -> None:
    immediate = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def writing(engine: Engine) -> Engine:
    """The same engine, its transactions beginning as writers: ``with writing(engine).begin() as connection``."""
    return engine.execution_options(writes=True)
