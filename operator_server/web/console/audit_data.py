"""The audit trail as the console reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Select, func, select

from operator_server.store.people import AuditEntry
from operator_server.store.rows import table

KINDS = ("person", "cli", "token")


@dataclass(frozen=True, slots=True)
class Difference:
    """A value that a change changed; ``None`` where there was none before, or is none after."""

    name: str
    before: str | None
    after: str | None


def search(
    connection: Connection, who: str, what: str, begin: datetime | None, end: datetime | None
) -> Select[Any]:  # fmt: skip
    """Entries, without order. ``who``: an actor as shown, or a name; ``what``: a reference, or the begin of an action.

    ``begin`` is inclusive, ``end`` exclusive.
    """
    entry = table(AuditEntry)
    query = select(entry)
    if who:
        query = query.where(entry.c.actor.in_([who, *(f"{kind}:{who}" for kind in KINDS)]))
    if "/" in what:
        query = query.where(entry.c.reference == what)
    elif what:
        query = query.where(entry.c.action >= what, entry.c.action < what + "\U0010ffff")
    if begin is not None:
        query = query.where(entry.c.id >= _first(connection, begin))
    if end is not None:
        query = query.where(entry.c.id < _first(connection, end))
    return query


def _first(connection: Connection, at: datetime) -> int:
    """The first entry that is not before ``at``: entries are numbered in the order of their times, without a gap."""
    entry = table(AuditEntry)
    low, high = 1, int(connection.execute(select(func.max(entry.c.id))).scalar() or 0) + 1
    while low < high:
        middle = (low + high) // 2
        found = connection.execute(select(entry.c.at).where(entry.c.id == middle)).scalar()
        if found is not None and found < at:
            low = middle + 1
        else:
            high = middle
    return low


def midnight(day: date, zone: str) -> datetime:
    """When the day begins in the zone."""
    return datetime.combine(day, time(), ZoneInfo(zone))


def after_day(day: date, zone: str) -> datetime:
    """When the day is over in the zone."""
    return midnight(day + timedelta(days=1), zone)


def differences(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[Difference]:
    """What differs, by the names of the values; those within values are written ``outer.inner``."""
    was, now = _flat(before or {}), _flat(after or {})
    return [
        Difference(name, was.get(name), now.get(name))
        for name in sorted(was.keys() | now.keys())
        if was.get(name) != now.get(name)
    ]


def _flat(value: Mapping[str, Any], under: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, each in value.items():
        name = f"{under}{key}"
        if isinstance(each, Mapping) and each:
            found |= _flat(each, f"{name}.")
        elif each is not None:
            found[name] = each if isinstance(each, str) else json.dumps(each, ensure_ascii=False)
    return found
