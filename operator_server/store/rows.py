"""Table objects and plain connections: inserts that share the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from sqlalchemy import ColumnElement, Connection, Select, Table, insert
from sqlmodel import SQLModel


def table(model: type[SQLModel]) -> Table:
    """The Core table of a model, for statements; a model's own attributes are typed as their values."""
    return cast(Table, model.__table__)  # type: ignore[attr-defined]  # set by SQLModel's metaclass


def matching(query: Select[Any], *wanted: tuple[ColumnElement[Any], str | None]) -> Select[Any]:
    """Of the query's rows those whose columns have these values; where a value is empty, any will do."""
    return query.where(*(column == value for column, value in wanted if value))


def add(connection: Connection, *rows: SQLModel) -> None:
    """Insert each object, in the order given."""
    for row in rows:
        connection.execute(insert(type(row)), row.model_dump())


def add_many(connection: Connection, rows: Iterable[SQLModel]) -> None:
    """Insert objects of one table at once."""
    values = list(rows)
    if values:
        connection.execute(insert(type(values[0])), [row.model_dump() for row in values])
