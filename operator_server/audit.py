"""The audit trail: who changed what, when, from what to what. An entry is written in the transaction of its change.

Entries are a chain: each carries a digest over the one before and itself. Whoever changes or removes an old entry has
to make all that follow anew; to see that too, keep the last digest that ``tollgate audit verify`` tells elsewhere.

What names a person may have to go from entries after all (:func:`overwrite`). Their digests stay, so the chain is the
one it was, and a later entry of the chain says which entries were overwritten and what they say since.
"""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Row, insert, select, text, update

from operator_server.store.people import AuditEntry
from operator_server.store.rows import matching, table
from signalling.clock import to_micros

_LOCK = 0x70_11_A0_D1
_FIRST = bytes(32)
_WRITTEN = "audit entries written"
_COLUMNS = ("id", "at", "actor", "action", "reference", "before", "after")
OVERWRITTEN = "overwritten"
"""Key in ``after`` of an entry that tells of others: number to the digest of what each says since."""
_SECRET = ("password", "secret", "token", "digest", "hash", "key")


@dataclass(frozen=True, slots=True)
class AuditFault:
    """An entry whose digest does not follow from the one before it and what it says, and why that is a fault."""

    entry: int
    reason: str


def cli_actor() -> str:
    """How the trail names whoever runs a command on this machine."""
    try:
        return f"cli:{getpass.getuser()}"
    except (OSError, KeyError):
        return "cli:unknown"


def audited(
    connection: Connection,
    actor: str,
    action: str,
    reference: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    now: datetime,
) -> None:
    """Write that ``actor`` did ``action`` to ``reference``; call it in the transaction of the change.

    ``actor``: ``person:NAME``, ``token:ID (NAME)``, ``cli:USER`` or ``system``. ``reference``: kind and id, such as
    ``account/A-1``. ``before`` is ``None`` for what was made, ``after`` for what is gone. Values become JSON; one whose
    key speaks of a password, secret, token, key or hash is left out.
    """
    entry = table(AuditEntry)
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    last = connection.execute(select(entry.c.id, entry.c.digest).order_by(entry.c.id.desc()).limit(1)).first()
    number, previous = (last.id + 1, bytes(last.digest)) if last else (1, _FIRST)
    values = {
        "id": number, "at": now, "actor": actor[:160], "action": action, "reference": reference[:320],
        "before": _plain(before), "after": _plain(after),
    }  # fmt: skip
    connection.execute(insert(entry).values(**values, digest=_digest(previous, values)))
    connection.info[_WRITTEN] = written(connection) + 1


def overwrite(connection: Connection, entries: Mapping[int, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Put other values (``reference``, ``before``, ``after``) into old entries, by their numbers; their digests stay.

    What is returned is to be written into ``after`` of an entry in the same transaction: :func:`verify_audit` takes an
    overwritten entry for good only where a later, sound entry tells of it as it is now.
    """
    entry, told = table(AuditEntry), {}
    for number, values in entries.items():
        connection.execute(update(entry).where(entry.c.id == number).values(**values))
        row = connection.execute(select(entry).where(entry.c.id == number)).one()
        told[str(number)] = _digest(b"", _values(row)).hex()
    return {OVERWRITTEN: told} if told else {}


def verify_audit(connection: Connection) -> tuple[int, bytes, list[AuditFault]]:
    """How many entries there are, the digest of the last, and every fault in the chain."""
    entry, previous, count = table(AuditEntry), _FIRST, 0
    faults: list[AuditFault] = []
    other: dict[int, str] = {}
    for row in connection.execution_options(stream_results=True).execute(select(entry).order_by(entry.c.id)):
        count += 1
        if row.id != count:
            faults.append(AuditFault(row.id, f"entry {count} is missing before it"))
            count = row.id
        if _digest(previous, _values(row)) == bytes(row.digest):
            for number, digest in ((row.after or {}).get(OVERWRITTEN) or {}).items():
                if other.get(int(number)) == digest:
                    del other[int(number)]
        else:
            other[row.id] = _digest(b"", _values(row)).hex()
        previous = bytes(row.digest)
    faults += [AuditFault(number, "its content or the entry before it was changed") for number in other]
    return count, previous, sorted(faults, key=lambda fault: fault.entry)


def _values(row: Row[Any]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _COLUMNS}


def written(connection: Connection) -> int:
    """How many entries came by this connection; more than before where what was done since wrote one itself."""
    return int(connection.info.get(_WRITTEN, 0))


def entries(
    connection: Connection, *, actor: str = "", reference: str = "", before: int | None = None, most: int = 100
) -> Iterator[Row[Any]]:
    """Entries, newest first, those of ``actor`` or about ``reference`` alone; ``before``: older than this entry."""
    entry = table(AuditEntry)
    query = matching(
        select(entry).order_by(entry.c.id.desc()).limit(most), (entry.c.actor, actor), (entry.c.reference, reference)
    )
    if before is not None:
        query = query.where(entry.c.id < before)
    yield from connection.execute(query)


def _digest(previous: bytes, values: Mapping[str, Any]) -> bytes:
    told = {**values, "at": to_micros(values["at"])}
    canonical = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(previous + canonical.encode()).digest()


def _plain(value: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if value is None:
        return None
    kept = {key: each for key, each in value.items() if not any(word in key.lower() for word in _SECRET)}
    return json.loads(json.dumps(kept, default=_text))  # type: ignore[no-any-return]  # a mapping stays one


def _text(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else str(value)
