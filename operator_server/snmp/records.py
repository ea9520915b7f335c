"""What polling reads from the store and writes to it; each function is a piece of its caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, case, insert, select, update

from operator_server.devices.visitors import visitor_of
from operator_server.interrogation.records import NewSection, Outcome, record_outcomes, record_sections
from operator_server.offering.menus import ActiveRejection, LogonContext
from operator_server.snmp.polling import Polled
from operator_server.store.configurations import InterrogationOrder
from operator_server.store.dealings import Installation, Rejection
from operator_server.store.devices import Device, DeviceCredential
from operator_server.store.feed import record
from operator_server.store.parties import Terminal, TerminalSession
from operator_server.store.rows import table
from signalling.clock import to_micros

_device = table(Device)
_session = table(TerminalSession)


@dataclass(frozen=True, slots=True)
class DueDevice:
    """A device that is to be polled. ``code``: what it answered last; ``order``: the manual order to answer."""

    terminal: str
    host: str
    port: int
    credential: str
    sealed: bytes
    counters: Sequence[dict[str, Any]]
    poll_seconds: int
    failures: int
    trigger: str
    code: bytes | None
    interrogation_due: datetime | None
    interrogated_at: datetime | None
    due_at: datetime
    order: str | None = None
    hint: bytes | None = None
    walked_at: datetime | None = None
    unwalked: int = 0


def _due_rows() -> Any:
    credential, terminal = table(DeviceCredential), table(Terminal)
    return (
        select(_device, credential.c.sealed, _session.c.code, _session.c.next_due_at)
        .join(credential, credential.c.name == _device.c.credential)
        .join(terminal, terminal.c.id == _device.c.terminal_id)
        .outerjoin(_session, _session.c.terminal_id == _device.c.terminal_id)
        .where(terminal.c.status == "active")
    )


def due_devices(connection: Connection, now: datetime, most: int) -> list[DueDevice]:
    """Devices whose time has come, those that answered last time first."""
    rows = connection.execute(
        _due_rows()
        .where(_device.c.next_poll_at <= now, _device.c.state != "paused")
        .order_by((_device.c.failures > 0), _device.c.next_poll_at)
        .limit(most)
    )
    return [_due(row) for row in rows]


def ordered_devices(connection: Connection, most: int) -> list[DueDevice]:
    """Devices that a person wants to be interrogated."""
    order = table(InterrogationOrder)
    rows = connection.execute(
        _due_rows()
        .add_columns(order.c.id.label("order_id"))
        .join(order, order.c.terminal_id == _device.c.terminal_id)
        .where(order.c.state == "open")
        .order_by(order.c.id)
        .limit(most)
    )
    return [_due(row, trigger="manual", order=row.order_id) for row in rows]


def _due(row: Row[Any], trigger: str = "", order: str | None = None) -> DueDevice:
    return DueDevice(
        row.terminal_id, row.host, row.port, row.credential, row.sealed, row.counters, row.poll_seconds, row.failures,
        trigger or row.trigger, row.code, row.next_due_at, row.interrogated_at, row.next_poll_at, order,
        row.hint, row.walked_at, row.unwalked,
    )  # fmt: skip


def claim(connection: Connection, terminals: Sequence[str], until: datetime) -> None:
    """Keep these devices from other processes until then; if this one dies, they are due again."""
    connection.execute(update(_device).where(_device.c.terminal_id.in_(terminals)).values(next_poll_at=until))


def hold_leases(connection: Connection, node: str, until: datetime) -> None:
    """Say that orders for devices are this role's."""
    known = select(_session.c.terminal_id)
    missing = connection.execute(select(_device.c.terminal_id).where(_device.c.terminal_id.not_in(known))).scalars()
    rows = [{"terminal_id": each, "node": node, "session": "", "unanswered": 0} for each in missing]
    if rows:
        connection.execute(insert(_session), rows)
    connection.execute(
        update(_session)
        .where(_session.c.terminal_id.in_(select(_device.c.terminal_id).where(_device.c.state != "paused")))
        .values(node=node, lease_until=until)
    )


def device_context(connection: Connection, terminal: str, now: datetime) -> LogonContext:
    """Who uses the device and what its menu depends on.

    Raises :class:`operator_server.devices.visitors.NotServed` where nobody does.
    """
    visitor = visitor_of(connection, terminal, now)
    code = connection.execute(select(_session.c.code).where(_session.c.terminal_id == terminal)).scalar()
    return LogonContext(visitor, _rejections(connection, visitor.subscriber, now), code)


def _rejections(connection: Connection, subscriber: str, now: datetime) -> tuple[ActiveRejection, ...]:
    rejection = table(Rejection)
    rows = connection.execute(
        select(rejection).where(
            rejection.c.subscriber_id == subscriber,
            rejection.c.undone_at.is_(None),
            rejection.c.until_at.is_(None) | (rejection.c.until_at > now),
        )
    )
    return tuple(
        ActiveRejection(
            row.product, row.offer_id, row.offer_version, row.price_digest, row.release,
            None if row.until_at is None else to_micros(row.until_at),
        )
        for row in rows
    )  # fmt: skip


def activated(connection: Connection, terminal: str) -> dict[str, str]:
    """Product to release of what was activated for this device."""
    installation = table(Installation)
    rows = connection.execute(
        select(installation.c.product, installation.c.release)
        .where(
            installation.c.terminal_id == terminal,
            installation.c.installed_at.is_not(None),
            installation.c.removed_at.is_(None),
        )
        .order_by(installation.c.id)
    )
    return {row.product: row.release or "1" for row in rows}


def record_answer(
    connection: Connection,
    due: DueDevice,
    now: datetime,
    next_poll: datetime | None,
    outcome: Outcome | None,
    sections: Sequence[NewSection],
    polled: Polled,
) -> None:
    """A poll that went well; with ``outcome`` it was an interrogation."""
    values: dict[str, Any] = {
        "last_polled_at": now,
        "next_poll_at": next_poll,
        "failures": 0,
        "last_error": "",
        "trigger": "interval",
    }
    if outcome is not None:
        record_sections(connection, sections)
        record_outcomes(connection, [outcome])
        values["interrogated_at"] = now
        if polled.mapped is None:
            values["unwalked"] = due.unwalked + 1
        else:
            values |= {"notes": polled.notes[:50], "hint": polled.hint or None, "walked_at": now, "unwalked": 0}
    if due.failures:
        record(connection, now, "device_answers", terminal=due.terminal, failures=due.failures)
    _update(connection, due, "active", values)


def record_failure(
    connection: Connection,
    due: DueDevice,
    now: datetime,
    next_poll: datetime | None,
    outcome: Outcome | None,
    reason: str,
) -> None:
    """A poll that failed: what to mend stands with the device."""
    if outcome is not None:
        record_outcomes(connection, [outcome])
    if not due.failures:
        record(connection, now, "device_failed", terminal=due.terminal, reason=reason)
    values = {
        "last_error": reason,
        "last_error_at": now,
        "failures": due.failures + 1,
        "next_poll_at": next_poll,
        "trigger": due.trigger if due.trigger != "manual" else "interval",
    }
    _update(connection, due, "failing", values)


def _update(connection: Connection, due: DueDevice, state: str, values: dict[str, Any]) -> None:
    """Write the outcome; a device that was paused meanwhile stays so, and what a trap asked for meanwhile stands."""
    mine = _device.c.terminal_id == due.terminal
    row = connection.execute(select(_device.c.state, _device.c.trigger).where(mine)).first()
    if row is None:
        return
    if row.state == "paused":
        values["next_poll_at"] = None
        state = "paused"
    elif row.trigger == "logon" and due.trigger != "logon":
        del values["next_poll_at"], values["trigger"]
    connection.execute(update(_device).where(mine).values(state=state, **values))


def bring_forward(connection: Connection, wishes: Mapping[str, datetime], trigger: str, now: datetime) -> None:
    """Have each of these devices interrogated at its instant, or at its next poll if that comes before."""
    if not wishes:
        return
    at = bindparam("at", type_=_device.c.next_poll_at.type)
    sooner = case((_device.c.next_poll_at <= at, _device.c.next_poll_at), else_=at)
    connection.execute(
        update(_device)
        .where(_device.c.terminal_id == bindparam("terminal"), _device.c.state != "paused")
        .values(next_poll_at=sooner, trigger=trigger, trapped_at=now if trigger == "logon" else _device.c.trapped_at),
        [{"terminal": terminal, "at": instant} for terminal, instant in wishes.items()],
    )
