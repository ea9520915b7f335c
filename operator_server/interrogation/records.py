"""What interrogation writes, and what it reads back at a start: many outcomes in one statement a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, delete, insert, select, text, update

from operator_server.link.statements import insert_rows
from operator_server.settings import CalendarPlan
from operator_server.store.configurations import InterrogationOrder, InterrogationPlan, Section
from operator_server.store.parties import TerminalSession
from operator_server.store.rows import table
from signalling.configuration import SECTIONS, SectionName

NewSection = tuple[bytes, SectionName, bytes, str, int]
"""Digest, name, canonical form, the terminal that brought it, when (microseconds)."""


class Outcome(msgspec.Struct):
    """One interrogation as it is recorded. Instants in microseconds.

    ``result``: answered, no_answer or refused. ``configuration``: the digests in the order of ``SECTIONS`` when the
    code is new; ``sections_fetched``: how many sections the terminal sent. ``order``: the manual order that it answers.
    The event of it has the same id.
    """

    id: str
    terminal: str
    subscriber: str
    trigger: str
    at: int
    result: str
    node: str
    session: str
    lease_until: int
    next_due: int | None
    code: bytes | None = None
    previous_code: bytes | None = None
    changed: str = ""
    shown: str = ""
    reason: str = ""
    configuration: tuple[bytes, ...] | None = None
    sections_fetched: int = 0
    order: str | None = None


_INTERROGATION = (
    "id", "terminal_id", "trigger", "at", "outcome", "code", "previous_code", "changed", "sections_fetched",
    "subscriber_id", "shown", "reason",
)  # fmt: skip
_EVENT = ("id", "at", "kind", "terminal_id", "subscriber_id", "reference", "data")
_SESSION = (
    "terminal_id", "node", "session", "lease_until", "code", "interrogated_at", "next_due_at", "unanswered",
)  # fmt: skip
_ANSWERED = (
    "ON CONFLICT (terminal_id) DO UPDATE SET node = excluded.node, session = excluded.session, "
    "lease_until = excluded.lease_until, code = excluded.code, interrogated_at = excluded.interrogated_at, "
    "next_due_at = excluded.next_due_at, unanswered = 0"
)
_SILENT = (
    "ON CONFLICT (terminal_id) DO UPDATE SET node = excluded.node, session = excluded.session, "
    "lease_until = excluded.lease_until, next_due_at = excluded.next_due_at, "
    "unanswered = terminal_session.unanswered + 1"
)
_encode = msgspec.json.Encoder().encode


def record_batch(connection: Connection, payloads: Sequence[Sequence[Outcome]]) -> list[list[None]]:
    """:func:`record_outcomes` as a batch of the store."""
    record_outcomes(connection, [outcome for payload in payloads for outcome in payload])
    return [[None] * len(payload) for payload in payloads]


def record_outcomes(connection: Connection, outcomes: Sequence[Outcome]) -> list[None]:
    """The outcomes with all that they bring, in the caller's transaction."""
    _record_configurations(connection, outcomes)
    interrogations: list[tuple[Any, ...]] = []
    events: list[tuple[Any, ...]] = []
    sessions: dict[str, dict[str, tuple[Any, ...]]] = {_ANSWERED: {}, _SILENT: {}}
    for o in outcomes:
        interrogations.append(
            (o.id, o.terminal, o.trigger, o.at, o.result, o.code, o.previous_code, o.changed, o.sections_fetched,
             o.subscriber, o.shown, o.reason)
        )  # fmt: skip
        events.append((o.id, o.at, "interrogated", o.terminal, o.subscriber, o.id, _event_data(o)))
        answered = o.result == "answered"
        row = (
            o.terminal, o.node, o.session, o.lease_until, o.code if answered else None, o.at if answered else None,
            o.next_due, 0 if answered else 1,
        )  # fmt: skip
        sessions[_ANSWERED if answered else _SILENT][o.terminal] = row
    insert_rows(connection, "interrogation", _INTERROGATION, interrogations)
    insert_rows(connection, "event", _EVENT, events)
    for suffix in (_SILENT, _ANSWERED):
        insert_rows(connection, "terminal_session", _SESSION, list(sessions[suffix].values()), suffix)
    _close_orders(connection, outcomes)
    return [None] * len(outcomes)


def _event_data(outcome: Outcome) -> str:
    if outcome.result == "answered" and not outcome.changed:
        return _UNCHANGED[outcome.trigger]
    data = {"trigger": outcome.trigger, "outcome": outcome.result, "changed": outcome.changed}
    if outcome.reason:
        data["reason"] = outcome.reason
    return _encode(data).decode()


_UNCHANGED = {
    trigger: _encode({"trigger": trigger, "outcome": "answered", "changed": ""}).decode()
    for trigger in ("logon", "calendar", "interval", "manual")
}


def _record_configurations(connection: Connection, outcomes: Sequence[Outcome]) -> None:
    new = [outcome for outcome in outcomes if outcome.configuration is not None]
    if not new:
        return
    insert_rows(
        connection,
        "configuration",
        ("code", *SECTIONS, "first_terminal", "first_seen_at"),
        [(o.code, *(o.configuration or ()), o.terminal, o.at) for o in new],
        "ON CONFLICT DO NOTHING",
    )


def record_sections(connection: Connection, sections: Sequence[NewSection]) -> None:
    """Store sections under their digests; one that is there already stays as it is."""
    insert_rows(
        connection,
        "section",
        ("digest", "name", "canonical", "first_terminal", "first_seen_at"),
        sections,
        "ON CONFLICT DO NOTHING",
    )


def _close_orders(connection: Connection, outcomes: Sequence[Outcome]) -> None:
    closed = [
        {"order": o.order, "to": "no_answer" if o.result == "no_answer" else "done", "by": o.id}
        for o in outcomes
        if o.order is not None
    ]
    if closed:
        order = table(InterrogationOrder)
        connection.execute(
            update(order)
            .where(order.c.id == bindparam("order"))
            .values(state=bindparam("to"), interrogation_id=bindparam("by")),
            closed,
        )


def load_inventory(connection: Connection) -> tuple[dict[bytes, tuple[bytes, ...]], set[bytes]]:
    """All codes with the digests of their sections, and the digests of all sections that are stored."""
    rows = connection.execute(
        text('SELECT code, hardware, firmware, base_software, catalogue_items FROM "configuration"')
    )
    codes = {bytes(row[0]): tuple(bytes(digest) for digest in row[1:]) for row in rows}
    return codes, {bytes(digest) for (digest,) in connection.execute(select(table(Section).c.digest))}


def load_sections(connection: Connection, digests: Iterable[bytes]) -> dict[bytes, bytes]:
    """The canonical forms that are stored under these digests."""
    section = table(Section)
    rows = connection.execute(select(section.c.digest, section.c.canonical).where(section.c.digest.in_(list(digests))))
    return {bytes(digest): bytes(canonical) for digest, canonical in rows}


def new_codes_since(connection: Connection, terminal: str, since: int) -> list[int]:
    """When the terminal brought new codes, in microseconds, after ``since``."""
    rows = connection.execute(
        text('SELECT first_seen_at FROM "configuration" WHERE first_terminal = :terminal AND first_seen_at > :since'),
        {"terminal": terminal, "since": since},
    )
    return [row[0] for row in rows]


def open_orders(connection: Connection, now: datetime) -> list[tuple[str, str, bool]]:
    """Manual orders that are open: id, terminal, whether some link process holds a lease on the terminal."""
    order, session = table(InterrogationOrder), table(TerminalSession)
    rows = connection.execute(
        select(order.c.id, order.c.terminal_id, session.c.lease_until)
        .select_from(order.outerjoin(session, session.c.terminal_id == order.c.terminal_id))
        .where(order.c.state == "open")
        .order_by(order.c.id)
        .limit(1000)
    )
    return [(row[0], row[1], row[2] is not None and row[2] > now) for row in rows]


def mark_orders(connection: Connection, orders: Sequence[str], state: str) -> None:
    """Close orders that no interrogation follows."""
    order = table(InterrogationOrder)
    connection.execute(update(order).where(order.c.id.in_(orders), order.c.state == "open").values(state=state))


def store_plans(
    connection: Connection,
    plans: Mapping[str, CalendarPlan],
    next_due: Mapping[str, datetime],
    ran: Mapping[str, datetime],
    spread: int,
) -> None:
    """Keep when each plan is due next, and for those that ran when that was; plans that are gone are dropped."""
    plan = table(InterrogationPlan)
    known = dict(connection.execute(select(plan.c.name, plan.c.last_due_at)).all())
    for name in known.keys() - plans.keys():
        connection.execute(delete(plan).where(plan.c.name == name))
    for name, entry in plans.items():
        values = {
            "kind": "calendar",
            "expression": f"{entry.every} {entry.at}",
            "jitter_seconds": spread,
            "missed": entry.missed,
            "next_due_at": next_due[name],
            "last_due_at": ran.get(name, known.get(name)),
        }
        if name in known:
            connection.execute(update(plan).where(plan.c.name == name).values(**values))
        else:
            connection.execute(insert(plan).values(name=name, **values))
