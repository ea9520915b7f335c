"""Pages of long lists, read by key: exact counts and offsets up to 10,000, cursors as far as the list goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from fastapi import Depends, Query
from pydantic import BaseModel, Field
from sqlalchemy import Column, Connection, Integer, Row, Select, bindparam, func, literal, select, tuple_

from operator_server.web.calls import Call
from operator_server.web.cursors import BadCursor, Place, filters_text
from operator_server.web.problems import Problem
from operator_server.web.short import PLAIN
from signalling.clock import from_micros, to_micros

FARTHEST = 10_000
"""Up to here counts are exact and offsets are served."""
MOST_ITEMS = 500
_LARGE, _HOLDS = 1_000, 5.0
"""A count beyond the first is taken again after that many seconds only: counting would cost more than the page."""

M = TypeVar("M", bound=BaseModel)


class Page(BaseModel, Generic[M]):
    """A part of a list."""

    items: list[M]
    next: str | None = Field(description="Send it as `cursor` to go on; null at the end")
    total: int = Field(description="How many there are, counted when the list was begun; at most 10000")
    total_is_exact: bool = Field(description="False where there are more than `total`")


@dataclass(frozen=True, slots=True)
class Paging:
    """What part of a list is wanted."""

    limit: int
    offset: int
    cursor: str


async def _paging(
    limit: Annotated[int, Query(ge=1, le=MOST_ITEMS, description="Most items")] = 50,
    offset: Annotated[
        int, Query(ge=0, le=FARTHEST, description="Items to skip; farther on only a cursor leads")
    ] = 0,
    cursor: Annotated[
        str, Query(max_length=600, description="`next` of the page before, with the same filters")
    ] = "",
) -> Paging:  # fmt: skip
    return _plain_paging(limit, offset, cursor)


def _plain_paging(
    limit: Annotated[int, Query(ge=1, le=MOST_ITEMS)] = 50,
    offset: Annotated[int, Query(ge=0, le=FARTHEST)] = 0,
    cursor: Annotated[str, Query(max_length=600)] = "",
) -> Paging:
    if cursor and offset:
        raise Problem(422, "offset: not together with a cursor, which names its place itself")
    return Paging(limit, offset, cursor)


PLAIN[_paging] = _plain_paging
PageOf = Annotated[Paging, Depends(_paging)]


def page(
    call: Call,
    model: type[M],
    query: Select[Any],
    key: Sequence[Column[Any]],
    paging: Paging,
    make: Callable[[Row[Any]], M],
    *,
    newest_first: bool = False,
) -> Page[M]:
    """The part of ``query`` (which has no order and no limit) that was asked for, in the order of ``key``.

    ``key``: columns that are unique together and not null, part of what is selected, and lead an index together with
    what is filtered by; so no page is slower than another. Raises :class:`Problem` 422 for a cursor of another list.
    """
    rows, following, total = _part(call, query, key, paging, newest_first)
    return _of(model).model_construct(
        items=[make(row) for row in rows],
        next=following,
        total=min(total, FARTHEST),
        total_is_exact=total <= FARTHEST,
    )


class ReadList:
    """A list that is read much: its statements are compiled once, its pages are made as JSON.

    ``filters``: columns by the names of parameters; ``key``: one column that is unique, not null, and the first of
    ``columns``; ``make`` gives the fields of an item from the values of ``columns`` as the driver tells them, so
    instants are micros.
    """

    def __init__(
        self,
        columns: Sequence[Column[Any]],
        filters: Mapping[str, Column[Any]],
        make: Callable[[Sequence[Any]], Mapping[str, Any]],
        *,
        newest_first: bool = False,
    ) -> None:
        self._columns = columns
        self._filters = filters
        self._make = make
        self._newest_first = newest_first
        self._statements: dict[tuple[str, tuple[str, ...], bool], Statement] = {}

    def page(self, call: Call, paging: Paging, **given: str) -> bytes:
        """The part that was asked for, as :func:`page` tells it."""
        connection = call.connection
        filters = {name: value for name, value in given.items() if value}
        of = filters_text(call.request.url.path, list(filters.items()))
        values: dict[str, Any] = {**filters, "most": paging.limit + 1, "skipped": paging.offset}
        if paging.cursor:
            place = _place(call, of, paging.cursor)
            total, values["beyond"] = place.total, place.key[0]
        else:
            kept = _kept_total(call, of)
            total = self._count(call, connection, filters, of) if kept is None else kept
        rows = self._statement(connection, tuple(filters), bool(paging.cursor)).rows(connection, values)
        following = None
        if len(rows) > paging.limit:
            rows = rows[: paging.limit]
            following = call.web.cursors.make(of, Place((rows[-1][0],), total))
        return msgspec.json.encode(
            {
                "items": [self._make(row) for row in rows],
                "next": following,
                "total": min(total, FARTHEST),
                "total_is_exact": total <= FARTHEST,
            }
        )

    def _count(self, call: Call, connection: Connection, filters: Mapping[str, str], of: str) -> int:
        key = self._columns[0]
        named = select(key).where(*(self._filters[name] == value for name, value in filters.items()))
        return _total(call, connection, named, [key], of)

    def _statement(self, connection: Connection, names: tuple[str, ...], beyond: bool) -> Statement:
        wanted = (connection.dialect.name, names, beyond)
        if wanted not in self._statements:
            key = self._columns[0]
            query = select(*self._columns).where(*(self._filters[name] == bindparam(name) for name in names))
            if beyond:
                query = query.where(key < bindparam("beyond") if self._newest_first else key > bindparam("beyond"))
            query = query.order_by(key.desc() if self._newest_first else key.asc())
            self._statements[wanted] = Statement(
                query.limit(bindparam("most", type_=Integer)).offset(bindparam("skipped", type_=Integer)),
                connection,
                whole=True,
            )
        return self._statements[wanted]


class Statement:
    """A statement compiled once, whose values go to the driver and come from it as they are.

    ``whole``: SQLite gives all rows as one JSON value, since its driver lets go of the interpreter at each row that it
    steps to; so no column may hold bytes.
    """

    def __init__(self, query: Select[Any], connection: Connection, *, whole: bool = False) -> None:
        compiled = query.compile(dialect=connection.dialect, compile_kwargs={"render_postcompile": True})
        self._bare = connection.dialect.name == "sqlite"
        self._whole = whole and self._bare
        self._text = str(compiled)
        if self._whole:
            names = ", ".join(f'"{column.name}"' for column in query.selected_columns)
            self._text = f"SELECT json_group_array(json_array({names})) FROM ({self._text})"
        self._names: list[str] | None = list(compiled.positiontup or ()) if compiled.positional else None

    def rows(self, connection: Connection, values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        """All rows. On SQLite one statement is a snapshot of itself, without a transaction around it."""
        given = values if self._names is None else tuple(values[name] for name in self._names)
        if not self._bare:
            return connection.exec_driver_sql(self._text, given).all()
        driver = connection.connection.driver_connection
        assert driver is not None
        rows: list[Any] = driver.execute(self._text, given).fetchall()
        return _decoded(rows[0][0]) if self._whole else rows


_decoded = msgspec.json.Decoder(list[list[Any]]).decode


def _place(call: Call, of: str, cursor: str) -> Place:
    try:
        return call.web.cursors.read(of, cursor)
    except BadCursor as bad:
        raise Problem(422, f"cursor: {bad}") from None


def _part(
    call: Call, query: Select[Any], key: Sequence[Column[Any]], paging: Paging, newest_first: bool
) -> tuple[Sequence[Row[Any]], str | None, int]:
    """The rows that were asked for, the cursor that goes on after them, and how many there are."""
    connection = call.connection
    of = filters_text(call.request.url.path, call.request.query_params.multi_items())
    part, total = query, None
    if paging.cursor:
        place = _place(call, of, paging.cursor)
        total, part = place.total, query.where(_beyond(key, place.key, newest_first))
    order = [column.desc() if newest_first else column.asc() for column in key]
    rows = connection.execute(part.order_by(*order).limit(paging.limit + 1).offset(paging.offset)).all()
    if total is None:
        # A list that ends on this page is counted by it: looking for few among many a second time costs as much.
        ends = len(rows) <= paging.limit and (rows or not paging.offset)
        total = paging.offset + len(rows) if ends else _total(call, connection, query, key, of)
    following = None
    if len(rows) > paging.limit:
        rows = rows[: paging.limit]
        last = tuple(_plain(rows[-1]._mapping[column]) for column in key)
        following = call.web.cursors.make(of, Place(last, total))
    return rows, following, total


def _of(model: type[M]) -> type[Page[M]]:
    return Page.__class_getitem__(model)  # type: ignore[return-value]  # pydantic makes it at run time


def listed(paging: Paging, model: type[M], items: Sequence[M]) -> Page[M]:
    """A part of a short list that is all in memory; it is paged by offset alone."""
    if paging.cursor:
        raise Problem(422, "cursor: this list is short and has none; use offset")
    return _of(model).model_construct(
        items=list(items[paging.offset : paging.offset + paging.limit]),
        next=None,
        total=len(items),
        total_is_exact=True,
    )


def _beyond(key: Sequence[Column[Any]], values: Sequence[Any], newest_first: bool) -> Any:
    bound = [literal(_typed(column, value), column.type) for column, value in zip(key, values, strict=True)]
    if len(key) == 1:
        return key[0] < bound[0] if newest_first else key[0] > bound[0]
    left, right = tuple_(*key), tuple_(*bound)
    return left < right if newest_first else left > right


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return to_micros(value) if hasattr(value, "tzinfo") else value


def _typed(column: Column[Any], value: Any) -> Any:
    kind = type(column.type).__name__
    if kind == "Instant":
        return from_micros(value)
    return bytes.fromhex(value) if kind == "LargeBinary" else value


def _kept_total(call: Call, of: str) -> int | None:
    """What was counted just now."""
    kept = call.web.totals.get(of)
    return kept[1] if kept is not None and kept[0] > time.monotonic() else None


def _total(call: Call, connection: Connection, query: Select[Any], key: Sequence[Column[Any]], of: str) -> int:
    """How many there are, at most one more than is told exactly."""
    totals, kept = call.web.totals, _kept_total(call, of)
    if kept is not None:
        return kept
    some = query.with_only_columns(*key).order_by(None).limit(FARTHEST + 1).subquery()
    total = int(connection.execute(select(func.count()).select_from(some)).scalar_one())
    if total > _LARGE:
        if len(totals) > 1_000:
            totals.clear()
        totals[of] = (time.monotonic() + _HOLDS, total)
    return total
