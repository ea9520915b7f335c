"""Making devices known: a terminal without a key of ours, where it is, and how it is read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select, update

from operator_server.parties import PartyError, bind_terminal, checked_id, exists, require_user
from operator_server.snmp.objects import COUNTERS, oid_text, parse_oid
from operator_server.store.devices import Device, DeviceCounterReading, DeviceCredential
from operator_server.store.feed import record
from operator_server.store.parties import Binding, Terminal
from operator_server.store.rows import add, table
from signalling.clock import to_micros
from signalling.ids import new_id

UNITS = {
    "octet": 1, "byte": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30,
}  # fmt: skip
"""Units of volume whose octets need not be said."""

MAX_COUNTERS = 64
_COUNTER = re.compile(r"(?P<counter>[A-Za-z0-9._:@-]{1,64})=(?P<object>[A-Za-z0-9.]+)(/(?P<octets>\d{1,15}))?\Z")


class DeviceError(PartyError):
    """Something about a device that cannot be done; the text says what and why."""


@dataclass(frozen=True, slots=True)
class CounterSetting:
    """An object of a device that counts octets, as it is stored with the device."""

    counter: str
    oid: str
    unit: str
    unit_octets: int
    if_index: int | None = None
    bits: int = 64


def parse_counter(text: str) -> CounterSetting:
    """``counter=object/octets``: which application counter an object feeds, and how many octets make a unit of it.

    ``object`` is a column of IF-MIB with its interface, such as ``ifHCInOctets.2``, or an object identifier.
    ``/octets`` may be left out for the units of volume (kb, mb, gb, kib, mib, gib). Raises :class:`DeviceError`.
    """
    found = _COUNTER.match(text)
    if not found:
        raise DeviceError(f"counter {text!r}: write counter=object/octets, such as mib=ifHCInOctets.2/1048576")
    counter = found["counter"]
    octets = int(found["octets"]) if found["octets"] else UNITS.get(counter.lower(), 0)
    if octets < 1:
        raise DeviceError(f"counter {text!r}: how many octets make a {counter}? Write {text}/1048576")
    name, _, index = found["object"].partition(".")
    if name in COUNTERS:
        if not index.isdigit() or not 1 <= int(index) < 2**31:
            raise DeviceError(f"counter {text!r}: {name} needs the number of an interface, such as {name}.2")
        column, bits = COUNTERS[name]
        return CounterSetting(counter, oid_text((*column, int(index))), counter, octets, int(index), bits)
    try:
        oid = parse_oid(found["object"])
    except ValueError as error:
        known = ", ".join(COUNTERS)
        raise DeviceError(f"counter {text!r}: {error}; known by name are {known}") from None
    for column, bits in COUNTERS.values():
        if oid[:-1] == column:
            return CounterSetting(counter, oid_text(oid), counter, octets, oid[-1], bits)
    return CounterSetting(counter, oid_text(oid), counter, octets)


@dataclass(frozen=True, slots=True)
class NewDevice:
    """What makes a device known."""

    terminal: str
    host: str
    credential: str
    subscriber: str = ""
    port: int = 161
    counters: list[CounterSetting] = field(default_factory=list)
    contact: str = ""
    language: str = "en"
    poll_seconds: int = 300
    label: str = ""


def add_device(connection: Connection, new: NewDevice, now: datetime) -> None:
    """Make a device known, as a terminal of its own or, where the terminal is there, as its way to be read.

    It is polled at once. Raises :class:`operator_server.parties.PartyError`.
    """
    checked_id(new.terminal, "terminal")
    _check(connection, new)
    if exists(connection, Terminal, new.terminal):
        if connection.execute(_own(new.terminal)).first() is not None:
            raise DeviceError(f"device {new.terminal}: exists already; see `tollgate device show`")
        if new.subscriber:
            bind_terminal(connection, new.terminal, new.subscriber, now)
    else:
        _enroll(connection, new, now)
    add(
        connection,
        Device(
            terminal_id=new.terminal,
            host=new.host,
            port=new.port,
            credential=new.credential,
            counters=[asdict(counter) for counter in new.counters],
            contact=new.contact,
            language=new.language,
            poll_seconds=new.poll_seconds,
            next_poll_at=now,
            trigger="logon",
        ),
    )
    record(connection, now, "device_added", terminal=new.terminal, host=new.host, credential=new.credential)


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be different about a device; what is ``None`` stays.

    ``same_device``: at its new address it is the device that it was, so its counters go on.
    """

    host: str | None = None
    port: int | None = None
    credential: str | None = None
    subscriber: str | None = None
    counters: list[CounterSetting] | None = None
    contact: str | None = None
    language: str | None = None
    poll_seconds: int | None = None
    same_device: bool = False


def change_device(connection: Connection, terminal: str, change: Change, now: datetime) -> None:
    """Change how a device is read or who uses it; it is interrogated at once, unless it is paused.

    At another address another device may answer, whose counters stand elsewhere: counting begins anew with the next
    reading, and what was used since the last one is not charged. Raises :class:`operator_server.parties.PartyError`.
    """
    row = require_device(connection, terminal)
    asked = {name: value for name, value in asdict(change).items() if name != "same_device" and value is not None}
    if not asked:
        raise DeviceError(f"device {terminal}: nothing is to be changed; name what is")
    counters = [CounterSetting(**each) for each in row.counters] if change.counters is None else change.counters
    new = NewDevice(
        terminal,
        row.host if change.host is None else change.host,
        row.credential if change.credential is None else change.credential,
        port=row.port if change.port is None else change.port,
        counters=counters,
        contact=row.contact if change.contact is None else change.contact,
        language=row.language if change.language is None else change.language,
        poll_seconds=row.poll_seconds if change.poll_seconds is None else change.poll_seconds,
    )
    _check(connection, new)
    if change.subscriber is not None:
        bind_terminal(connection, terminal, change.subscriber, now)
    elsewhere = (new.host, new.port) != (row.host, row.port) and not change.same_device
    _forget_readings(connection, terminal, keep=() if elsewhere else [each.oid for each in counters])
    paused = row.state == "paused"
    device = table(Device)
    connection.execute(
        update(device)
        .where(device.c.terminal_id == terminal)
        .values(
            host=new.host,
            port=new.port,
            credential=new.credential,
            counters=[asdict(counter) for counter in counters],
            contact=new.contact,
            language=new.language,
            poll_seconds=new.poll_seconds,
            hint=None,
            failures=0,
            state=row.state if paused else "active",
            next_poll_at=None if paused else now,
            trigger="logon",
        )
    )
    record(connection, now, "device_changed", terminal=terminal, changed=sorted(asked))


def _forget_readings(connection: Connection, terminal: str, keep: Sequence[str]) -> None:
    """Let counting begin anew for all objects but these."""
    reading = table(DeviceCounterReading)
    connection.execute(delete(reading).where(reading.c.terminal_id == terminal, reading.c.oid.not_in(keep)))


def _enroll(connection: Connection, new: NewDevice, now: datetime) -> None:
    require_user(connection, new.subscriber, f"device {new.terminal}: ")
    add(
        connection,
        Terminal(id=new.terminal, label=new.label, enrolled_at=now),
        Binding(id=new_id(to_micros(now)), subscriber_id=new.subscriber, terminal_id=new.terminal, valid_from=now),
    )
    record(connection, now, "terminal_enrolled", terminal=new.terminal, subscriber=new.subscriber)


def _check(connection: Connection, new: NewDevice) -> None:
    if not re.fullmatch(r"[A-Za-z0-9.:_%-]{1,253}", new.host):
        raise DeviceError(f"device {new.terminal}: host {new.host!r} is neither a name nor an address")
    if not 1 <= new.port <= 65535:
        raise DeviceError(f"device {new.terminal}: port {new.port} is not one from 1 to 65535")
    if new.poll_seconds < 5:
        raise DeviceError(f"device {new.terminal}: {new.poll_seconds} seconds between polls; at least 5")
    if not re.fullmatch(r"[a-z]{2}", new.language):
        raise DeviceError(f"device {new.terminal}: language {new.language!r} is not two small letters (ISO 639)")
    if len(new.counters) > MAX_COUNTERS:
        raise DeviceError(f"device {new.terminal}: {len(new.counters)} counters; at most {MAX_COUNTERS}")
    oids = [counter.oid for counter in new.counters]
    octets: dict[str, int] = {}
    for counter in new.counters:
        if oids.count(counter.oid) > 1:
            raise DeviceError(f"device {new.terminal}: object {counter.oid} is named twice; it would be charged twice")
        if octets.setdefault(counter.counter, counter.unit_octets) != counter.unit_octets:
            raise DeviceError(f"device {new.terminal}: counter {counter.counter} has units of different size")
    credential = table(DeviceCredential)
    if connection.execute(select(credential.c.name).where(credential.c.name == new.credential)).first() is None:
        raise DeviceError(
            f"device {new.terminal}: credential {new.credential!r}: there is none; "
            "`tollgate device credential add` makes it"
        )


def _own(terminal: str) -> Any:
    device = table(Device)
    return select(device).where(device.c.terminal_id == terminal)


def require_device(connection: Connection, terminal: str) -> Any:
    """The device's row. Raises :class:`DeviceError` where there is none."""
    row = connection.execute(_own(terminal)).first()
    if row is None:
        raise DeviceError(f"device {terminal}: there is none; `tollgate device list` shows those there are")
    return row


def pause_device(connection: Connection, terminal: str, now: datetime, *, paused: bool) -> None:
    """Stop polling a device, or go on with it. Raises :class:`DeviceError`."""
    require_device(connection, terminal)
    device = table(Device)
    connection.execute(
        update(device)
        .where(device.c.terminal_id == terminal)
        .values(state="paused" if paused else "active", next_poll_at=None if paused else now, failures=0)
    )
    record(connection, now, "device_paused" if paused else "device_resumed", terminal=terminal)


def readings(connection: Connection, terminal: str) -> list[Any]:
    """Where the device's counters stood at the last poll."""
    reading = table(DeviceCounterReading)
    rows = connection.execute(select(reading).where(reading.c.terminal_id == terminal).order_by(reading.c.oid))
    return list(rows)
