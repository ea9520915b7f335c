"""Moving SQLite's write-ahead log into the database beside the writer, not in the middle of somebody's commit.

By itself SQLite does so in the commit that fills a thousand pages, and whoever waits for that commit waits for the
copying of all of them and for two more flushes of the disk.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import SQLAlchemyError

SECONDS = 2.0
"""Between checkpoints: each flushes the disk, and commits that fall on it wait."""

LARGEST_LOG = 65_536
"""Pages at which a commit still does it itself, should the thread not keep up: 256 MiB."""

_log = logging.getLogger(__name__)


class Checkpointer:
    """A thread that checkpoints an engine's SQLite database every so many seconds; nothing for other databases.

    While somebody writes, the thread never reaches the log's end, and a log that is not moved whole is not begun again:
    it would grow, and a commit that makes a file longer costs several times one that writes over what is there. So
    the writer, which ``between`` brings to it between two commits, moves the little that has come meanwhile.
    """

    def __init__(self, engine: Engine, between: Callable[[Callable[[Connection], None]], None]) -> None:
        self._engine = engine
        self._between = between
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _let_the_log_grow)
            self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop the thread."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(SECONDS):
            try:
                with self._engine.connect() as connection:
                    _move(connection)
                self._between(_move)
            except SQLAlchemyError:
                _log.exception("the write-ahead log was not moved into the database; it is tried again")


def _move(connection: Connection) -> None:
    raw = connection.connection.driver_connection
    assert raw is not None
    try:
        raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    except sqlite3.Error:
        _log.exception("the write-ahead log was not moved into the database; it is tried again")


def _let_the_log_grow(connection, record) -> None:  # type: ignore[no-untyped-def]  # SQLAlchemy's event
    connection.execute(f"PRAGMA wal_autocheckpoint = {LARGEST_LOG}")
