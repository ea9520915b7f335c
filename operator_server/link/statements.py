"""SQL for the paths that a whole fleet takes at once: one statement for many rows, in the driver's own form.

A driver lets go of the interpreter at each row it steps to and then waits to get it back, so under load one statement
over fifty rows costs far less than fifty executions of a statement over one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import Connection

_SIZES = (64, 16, 4, 1)


def in_chunks(connection: Connection, select: str, keys: Sequence[Any], *, now: int) -> Iterator[Any]:
    """The rows of a select whose text has ``{marks}`` for an IN list and ``{now}`` for an instant."""
    mark = _mark(connection)
    for chunk in _chunks(keys):
        sql = _filled(select, mark, len(chunk), now)
        yield from connection.exec_driver_sql(sql, tuple(chunk)).fetchall()


def insert_rows(
    connection: Connection, table: str, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]], suffix: str = ""
) -> None:
    """Insert the rows, with ``suffix`` (an ON CONFLICT clause) at the end of each statement."""
    mark = _mark(connection)
    for chunk in _chunks(rows):
        connection.exec_driver_sql(_insert(table, columns, suffix, mark, len(chunk)), tuple(chain.from_iterable(chunk)))


def _chunks(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    offset, end = 0, len(rows)
    for size in _SIZES:
        while end - offset >= size:
            yield rows[offset : offset + size]
            offset += size


def _mark(connection: Connection) -> str:
    return "?" if connection.dialect.paramstyle == "qmark" else "%s"


def _filled(select: str, mark: str, count: int, now: int) -> str:
    return select.format(marks=",".join([mark] * count), now=now)


@lru_cache(maxsize=256)
def _insert(table: str, columns: tuple[str, ...], suffix: str, mark: str, count: int) -> str:
    names = ",".join(f'"{column}"' for column in columns)
    row = "(" + ",".join([mark] * len(columns)) + ")"
    return f'INSERT INTO "{table}" ({names}) VALUES {",".join([row] * count)} {suffix}'
