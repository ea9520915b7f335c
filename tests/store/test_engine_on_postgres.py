"""What is the same on both databases, on PostgreSQL."""

from __future__ import annotations

from decimal import Decimal

from postgres import postgres_server, postgres_url

from operator_server.store.engine import open_engine

__all__ = ["postgres_server", "postgres_url"]


def test_a_sum_of_integers_is_an_integer(postgres_url: str) -> None:
    engine = open_engine(postgres_url)
    with engine.connect() as connection:
        row = connection.exec_driver_sql(
            "SELECT sum(n), -sum(n), avg(n), sum(n) FILTER (WHERE n < 0)"
            " FROM (VALUES (9007199254740993::bigint), (2)) v (n)"
        ).one()
    engine.dispose()
    assert tuple(row) == (9007199254740995, -9007199254740995, Decimal("4503599627370497.5"), None)
    assert [type(each) for each in row] == [int, int, Decimal, type(None)]
