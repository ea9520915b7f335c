"""Where a charge goes whose time is billed already: onto the period that is open."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, func, select

from operator_server.store.accounting import BillRun
from operator_server.store.rows import table


def billed_until(connection: Connection) -> datetime | None:
    """The instant up to which bills are made, or being made; ``None`` before the first bill run."""
    return connection.execute(select(func.max(table(BillRun).c.until_at))).scalar()


def effective_at(connection: Connection, at: datetime) -> datetime:
    """When something of the instant ``at`` takes effect: then, or now that this is billed, from there on.

    So a bill run never finds more in a period than it found the first time.
    """
    until = billed_until(connection)
    return at if until is None else max(at, until)
