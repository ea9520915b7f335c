"""What ``tollgate terminal show`` tells."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from operator_server.cli.common import CommandError, show_table
from operator_server.cli.shown import show_facts, when
from operator_server.store.configurations import Interrogation
from operator_server.store.rows import table
from operator_server.web.console import terminals_data as data
from signalling.configuration import SECTIONS

_LISTS = ("configuration", "interrogations", "agreements", "rejections", "counters", "gaps", "messages")


def terminal_facts(connection: Connection, terminal: str, now: datetime) -> dict[str, Any]:
    """All of it as data. Raises :class:`CommandError` for a terminal that is not enrolled."""
    row = data.one(connection, terminal, now)
    if row is None:
        raise CommandError(f"terminal {terminal}: is not enrolled; see `tollgate terminal list`")
    held = data.configurations(connection, [row.code]).get(row.code) if row.code else None
    asked = table(Interrogation)
    newest = data.interrogations(terminal).order_by(asked.c.at.desc(), asked.c.id.desc()).limit(data.MOST)
    return {
        "terminal": row.id, "label": row.label, "status": row.status, "subscriber": row.subscriber_id,
        "account": data.account_of(connection, row.subscriber_id),
        "online": row.lease_until is not None and row.lease_until > now,
        "enrolled_at": row.enrolled_at, "code": row.code.hex() if row.code else "",
        "interrogated_at": row.interrogated_at, "unanswered": row.unanswered or 0,
        "configuration": {} if held is None else {name: getattr(held, name) for name in SECTIONS},
        "interrogations": [
            {"at": r.at, "trigger": r.trigger, "outcome": r.outcome, "changed": r.changed, "shown": r.shown.split(),
             "reason": r.reason}
            for r in connection.execute(newest)
        ],
        "agreements": [
            {"agreement": r.id, "product": r.product, "release": r.release, "mode": r.mode, "state": r.state,
             "delivery": r.delivery or "", "reason": r.delivery_reason or "", "agreed_at": r.agreed_at}
            for r in data.agreements(connection, terminal)
        ],
        "rejections": [
            {"rejection": r.id, "offer": r.offer_id, "release": r.release, "rejected_at": r.rejected_at,
             "until_at": r.until_at, "undone_at": r.undone_at}
            for r in data.rejections(connection, row.subscriber_id)
        ],
        "counters": [
            {"product": r.product, "counter": r.counter, "epoch": r.epoch, "sequence": r.sequence, "value": r.value,
             "reported_at": r.reported_at, "state": r.state}
            for r in data.counters(connection, terminal)
        ],
        "gaps": [
            {"product": r.product, "counter": r.counter, "first": r.first_sequence, "last": r.last_sequence}
            for r in data.gaps(connection, terminal)
        ],
        "messages": [
            {"kind": r.kind, "text": r.text, "created_at": r.created_at, "sent_at": r.sent_at, "read_at": r.read_at}
            for r in data.notices(connection, terminal)
        ],
    }  # fmt: skip


def show_terminal(facts: dict[str, Any]) -> None:
    """The same for a person."""
    show_facts(facts, _LISTS)
    configured = [
        (section, key, value) for section, keys in facts["configuration"].items() for key, value in keys.items()
    ]
    show_table("Configuration", ["Section", "Key", "Value"], configured, empty="It has not told its configuration yet.")
    for name in _LISTS[1:]:
        rows = facts[name]
        if rows:
            columns = list(rows[0])
            show_table(
                name.capitalize(),
                [column.removesuffix("_at").capitalize() for column in columns],
                [[_cell(row[column]) for column in columns] for row in rows],
                empty="",
            )


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return ", ".join(value)
    return when(value) if isinstance(value, datetime) else value
