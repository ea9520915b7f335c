"""Table objects and plain connections: inserts that share the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from sqlalchemy import Connection, Table, insert
from sqlmodel import SQLModel


def table(model: type[SQLModel]) -> Table:
    """The Core table of a model, for statements; a model's own attributes are typed as their values."""
    return cast(Table, model.__table__)  # type: ignore[attr-defined]  # set by SQLModel's metaclass


def add(connection: Connection, *rows: SQLModel) -> None:
    """Insert each object, in the order given."""
    for row in rows:
        connection.execute(insert(type(row)), row.model_dump())


def add_many(connection: Connection, rows: Iterable[SQLModel]) -> None:
    """Insert objects of one table at once."""
    values = list(rows)
    if values:
        connection.execute(insert(type(values[0])), [row.model_dump() for row in values])
