"""Erasure in the audit trail: that something was changed, when and by whom stays; what names the person goes."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Text, cast, or_, select

from operator_server.audit import overwrite
from operator_server.parties import ERASED
from operator_server.store.people import AuditEntry
from operator_server.store.rows import table

_PERSONAL = frozenset({
    "name", "address", "email", "vat_id", "holder", "contact", "recipient", "to", "label", "payer", "iban", "bic",
    "msisdn", "imsi", "iccid", "reason", "undo_reason", "tax_reason", "text", "note", "barred",
})  # fmt: skip
"""Keys whose values tell of a person, in words or numbers, where an entry is about that person."""
_OWNERS = frozenset({"account", "account_id", "subscriber", "subscriber_id", "owner", "user", "user_id"})
_AT_ONCE = 200


@dataclass(frozen=True)
class Traces:
    """By what entries about a person are found.

    ``references``: kind and id of all that is the person's. ``owners``: ids of account and subscribers. ``unique``:
    texts that are nobody else's, such as an address for e-mail or a telephone number.
    """

    references: frozenset[str]
    owners: frozenset[str]
    unique: frozenset[str]


def forget_in_trail(connection: Connection, traces: Traces) -> tuple[int, dict[str, Any]]:
    """Overwrite what names the person in all entries; how many, and what the entry of the erasure is to tell of it.

    In entries about the person all personal values go; in others only what is the person's alone.
    """
    changes: dict[int, dict[str, Any]] = {}
    for row in _found(connection, traces):
        told = {name: getattr(row, name) for name in ("reference", "before", "after")}
        about = row.reference in traces.references or any(
            _mentions(told[side], traces.owners) for side in ("before", "after")
        )
        fresh = {name: _without(value, traces.unique, about) for name, value in told.items()}
        if fresh != told:
            changes[row.id] = fresh
    return len(changes), overwrite(connection, changes)


def _found(connection: Connection, traces: Traces) -> Iterator[Row[Any]]:
    entry = table(AuditEntry)
    seen: set[int] = set()

    def rows(condition: Any) -> Iterator[Row[Any]]:
        for row in connection.execute(select(entry).where(condition).order_by(entry.c.id)).all():
            if row.id not in seen:
                seen.add(row.id)
                yield row

    for some in _portions(sorted(traces.references)):
        yield from rows(entry.c.reference.in_(some))
    texts = [json.dumps(owner) for owner in sorted(traces.owners)]
    texts += [json.dumps(text)[1:-1] for text in sorted(traces.unique)]
    for some in _portions(texts):
        columns = (entry.c.reference, cast(entry.c.before, Text), cast(entry.c.after, Text))
        yield from rows(or_(*(column.contains(text, autoescape=True) for text in some for column in columns)))


def _portions(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), _AT_ONCE):
        yield values[start : start + _AT_ONCE]


def _mentions(value: Any, owners: Collection[str]) -> bool:
    if not isinstance(value, dict):
        return False
    return any(key in _OWNERS and isinstance(each, str) and each in owners for key, each in value.items())


def _without(value: Any, unique: Collection[str], about: bool, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _without(each, unique, about, name) for name, each in value.items()}
    if about and key in _PERSONAL and value not in (None, "", [], False, True):
        return ERASED
    if isinstance(value, list):
        return [_without(each, unique, about) for each in value]
    if isinstance(value, str):
        for text in unique:
            value = re.sub(rf"(?<!\w){re.escape(text)}(?!\w)", ERASED, value)
    return value
