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


def in_chunks(connection: Connection, select: str, keys: Sequence[Any], *, now: int) -> list[Any]:
    """The rows of a select whose text has ``{now}`` for an instant and, behind these, ``{marks}`` for the keys."""
    mark = _mark(connection)
    cursor = connection.connection.cursor()
    rows: list[Any] = []
    for offset, size in _chunks(len(keys)):
        chunk = keys[offset : offset + size]
        sql, count = _select(select, mark, size)
        cursor.execute(sql, (now,) * count + tuple(chunk))
        rows += cursor.fetchall()
    cursor.close()
    return rows


def insert_rows(
    connection: Connection, table: str, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]], suffix: str = ""
) -> None:
    """Insert the rows, with ``suffix`` (an ON CONFLICT clause) at the end of each statement."""
    if not rows:
        return
    mark = _mark(connection)
    cursor = connection.connection.cursor()
    for offset, size in _chunks(len(rows)):
        chunk = rows[offset : offset + size]
        cursor.execute(_insert(table, columns, suffix, mark, size), tuple(chain.from_iterable(chunk)))
    cursor.close()


def _chunks(count: int) -> Iterator[tuple[int, int]]:
    offset = 0
    for size in _SIZES:
        while count - offset >= size:
            yield offset, size
            offset += size


def _mark(connection: Connection) -> str:
    return "?" if connection.dialect.paramstyle == "qmark" else "%s"


@lru_cache(maxsize=64)
def _select(select: str, mark: str, size: int) -> tuple[str, int]:
    return select.format(marks=",".join([mark] * size), now=mark), select.count("{now}")


@lru_cache(maxsize=64)
def _insert(table: str, columns: tuple[str, ...], suffix: str, mark: str, count: int) -> str:
    names = ",".join(f'"{column}"' for column in columns)
    row = "(" + ",".join([mark] * len(columns)) + ")"
    return f'INSERT INTO "{table}" ({names}) VALUES {",".join([row] * count)} {suffix}'
