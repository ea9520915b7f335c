"""Column types that keep instants and amounts exact on every database.

SQLite gives a zoned datetime back naive and stores ``Numeric`` as a binary float; integers survive everywhere.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Integer, LargeBinary, String
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from signalling.clock import from_micros, to_micros


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime, stored as microseconds since 1970. A naive datetime raises ``ValueError``."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else to_micros(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else from_micros(value)


RowId = BigInteger().with_variant(Integer, "sqlite")
"""An integer primary key that the database counts up."""

Micros = BigInteger
Identifier = String(64)
Digest = LargeBinary(32)
Json = JSON
