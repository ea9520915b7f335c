"""SQL for the paths that a whole fleet takes at once: one statement for many rows, in the driver's own form.

A driver lets go of the interpreter at each statement it steps through and then waits to get it back, so under load one
statement over fifty rows costs far less than fifty executions of a statement over one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import Connection

_MOST = 64
"""Rows of one statement."""


def insert_rows(
    connection: Connection, table: str, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]], suffix: str = ""
) -> None:
    """Insert the rows, with ``suffix`` (an ON CONFLICT clause) at the end of each statement."""
    if not rows:
        return
    mark = _mark(connection)
    cursor = connection.connection.cursor()
    for offset in range(0, len(rows), _MOST):
        chunk = rows[offset : offset + _MOST]
        cursor.execute(_insert(table, columns, suffix, mark, len(chunk)), tuple(chain.from_iterable(chunk)))
    cursor.close()


def _mark(connection: Connection) -> str:
    return "?" if connection.dialect.paramstyle == "qmark" else "%s"


@lru_cache(maxsize=512)
def _insert(table: str, columns: tuple[str, ...], suffix: str, mark: str, count: int) -> str:
    names = ",".join(f'"{column}"' for column in columns)
    row = "(" + ",".join([mark] * len(columns)) + ")"
    return f'INSERT INTO "{table}" ({names}) VALUES {",".join([row] * count)} {suffix}'
