"""Undoing a rejection: support lets an offer be shown again to a user who asked for it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update

from operator_server.audit import audited
from operator_server.store.dealings import Rejection
from operator_server.store.feed import record
from operator_server.store.rows import table


class RejectionError(ValueError):
    """A rejection that cannot be undone; the text says why."""


class UnknownRejection(RejectionError):
    """There is no rejection of this id."""


def undo_rejection(connection: Connection, rejection_id: str, reason: str, now: datetime, *, actor: str) -> Row[Any]:
    """Let the product be offered to the user again; the rejection as it was. Raises :class:`RejectionError`."""
    rejection = table(Rejection)
    row = connection.execute(select(rejection).where(rejection.c.id == rejection_id)).first()
    if row is None:
        raise UnknownRejection(f"rejection {rejection_id}: there is none; see `tollgate rejection list`")
    if row.undone_at is not None:
        raise RejectionError(f"rejection {rejection_id}: was undone at {row.undone_at:%Y-%m-%d %H:%M} already")
    if not reason.strip():
        raise RejectionError("reason: must not be empty; it is kept")
    connection.execute(
        update(rejection)
        .where(rejection.c.id == rejection_id)
        .values(undone_at=now, undone_by=actor, undo_reason=reason)
    )
    record(connection, now, "rejection_undone", subscriber=row.subscriber_id, reference=rejection_id, reason=reason)
    told = {"offer": row.offer_id, "subscriber": row.subscriber_id}
    audited(
        connection, actor, "rejection.undo", f"rejection/{rejection_id}", told | {"undone": False},
        told | {"undone": True, "reason": reason}, now,
    )  # fmt: skip
    return row
