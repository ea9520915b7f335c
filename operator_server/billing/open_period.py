"""Where a charge goes whose time is billed already: onto the period that is open."""

from __future__ import annotations

import time
from datetime import datetime

from sqlalchemy import Connection, func, select

from operator_server.store.accounting import BillRun
from operator_server.store.billing import PeriodLock
from operator_server.store.rows import table

_LOCK = 0x70_11_6A_7F
_LOOKS, _PAUSE = 1000, 0.005


def billed_until(connection: Connection) -> datetime | None:
    """The instant up to which bills are made, or being made, or the books are closed; ``None`` before the first time.

    It holds until the caller's transaction ends: no bill run begins before that.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock_shared(_LOCK)))
    run, lock = table(BillRun), table(PeriodLock)
    billed = connection.execute(select(func.max(run.c.until_at))).scalar()
    locked = connection.execute(select(func.max(lock.c.end_at))).scalar()
    return max(filter(None, (billed, locked)), default=None)


def wait_for_charging(connection: Connection) -> None:
    """Wait until everybody who has asked :func:`billed_until` is done, and let nobody ask before this commits.

    On SQLite a writing transaction is alone anyway.
    """
    if connection.dialect.name != "postgresql":
        return
    # Whoever waits in line makes those wait who ask after him, and one of these may have what one before him needs.
    for _ in range(_LOOKS):
        if connection.execute(select(func.pg_try_advisory_xact_lock(_LOCK))).scalar():
            return
        time.sleep(_PAUSE)
    connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def effective_at(connection: Connection, at: datetime) -> datetime:
    """When something of the instant ``at`` takes effect: then, or where this is billed already, from its end on.

    So a bill run never finds more in a period than it found the first time.
    """
    until = billed_until(connection)
    return at if until is None else max(at, until)
