"""Devices that speak SNMP and nothing of ours: where each is, how it is read, what its counters said, and the links
that its user is sent."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Column, Engine, Index, select
from sqlmodel import Field, SQLModel

from charging.columns import Digest, Identifier, Instant, Json, Micros
from operator_server.store.rows import table


class Device(SQLModel, table=True):
    """A terminal that is polled. ``state``: active, failing (its last poll failed) or paused (never polled).

    ``credential``: name of a :class:`DeviceCredential`. ``counters``: a list of ``{counter, oid, if_index?, unit,
    unit_octets}``: the application counter as tariffs name it, the object that counts, the interface when the object is
    a column of IF-MIB, what a unit is called and how many octets it has. ``contact`` and ``language`` are of the
    person who is sent the links. ``poll_seconds``: between polls of the counters; ``next_poll_at`` is absent while
    paused. ``last_error`` says what failed last and what to mend; it is empty after a poll that went well.
    ``failures``: polls that failed since one went well. ``trapped_at``: when a trap last brought a poll forward.
    ``trigger``: why the next poll comes. ``notes``: what was left out or cut short at the last interrogation.
    ``hint``: what the device itself said of its configuration when that was read, at ``walked_at``; absent where it
    says nothing; ``unwalked``: interrogations since then for which that was enough.
    """

    __tablename__ = "device"
    __table_args__ = (Index("device_due", "next_poll_at"), Index("device_host", "host"))
    terminal_id: str = Field(primary_key=True, foreign_key="terminal.id", sa_type=Identifier)
    kind: str = "snmp"
    host: str
    port: int = 161
    credential: str = Field(foreign_key="device_credential.name", sa_type=Identifier)
    counters: list[dict[str, Any]] = Field(default_factory=list, sa_column=Column(Json, nullable=False))
    contact: str = ""
    language: str = "en"
    poll_seconds: int = 300
    next_poll_at: datetime | None = Field(default=None, sa_type=Instant)
    last_polled_at: datetime | None = Field(default=None, sa_type=Instant)
    last_error: str = ""
    last_error_at: datetime | None = Field(default=None, sa_type=Instant)
    failures: int = 0
    state: str = "active"
    trigger: str = "interval"
    trapped_at: datetime | None = Field(default=None, sa_type=Instant)
    interrogated_at: datetime | None = Field(default=None, sa_type=Instant)
    hint: bytes | None = None
    walked_at: datetime | None = Field(default=None, sa_type=Instant)
    unwalked: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    notes: list[str] = Field(default_factory=list, sa_column=Column(Json, nullable=False))


class DeviceCredential(SQLModel, table=True):
    """What opens devices: a community (``version`` v2c) or a user with its keys (v3), sealed by the key vault."""

    __tablename__ = "device_credential"
    name: str = Field(primary_key=True, sa_type=Identifier)
    version: str
    sealed: bytes
    created_at: datetime = Field(sa_type=Instant)


class DeviceCounterReading(SQLModel, table=True):
    """Where an object of a device stood at the last poll, one row an object.

    ``bits``: 32 or 64. ``discontinuity``: ifCounterDiscontinuityTime as read, ``up_since``: when the host began to run
    by hrSystemUptime, each absent where the device has none. ``accumulated_octets``: all that was counted, over resets.
    ``epoch``: resets seen. ``sequence``: readings taken. ``gaps``: intervals that could not be told.
    """

    __tablename__ = "device_counter_reading"
    terminal_id: str = Field(primary_key=True, foreign_key="device.terminal_id", sa_type=Identifier)
    oid: str = Field(primary_key=True, max_length=255)
    counter: str = Field(sa_type=Identifier)
    bits: int = 64
    last_raw: str = Field(max_length=20)
    last_at: datetime = Field(sa_type=Instant)
    discontinuity: int | None = Field(default=None, sa_type=Micros)
    up_since: datetime | None = Field(default=None, sa_type=Instant)
    accumulated_octets: str = "0"
    epoch: int = 0
    sequence: int = 0
    gaps: int = 0


class DeviceSample(SQLModel, table=True):
    """One reading of an object as evidence of what was charged from it; ``poll_id`` is of the poll that brought it.

    ``verdict``: first, counted, reset or gap; ``octets``: what it added.
    """

    __tablename__ = "device_sample"
    __table_args__ = (Index("device_sample_object", "terminal_id", "oid", "at"),)
    id: str = Field(primary_key=True, sa_type=Identifier)
    poll_id: str = Field(index=True, sa_type=Identifier)
    terminal_id: str = Field(sa_type=Identifier)
    oid: str = Field(max_length=255)
    counter: str = Field(sa_type=Identifier)
    at: datetime = Field(sa_type=Instant)
    raw: str
    octets: str
    verdict: str
    reason: str = ""


class DeviceMeter(SQLModel, table=True):
    """How far the use of an installation on a device is counted: octets since its beginning, over resets."""

    __tablename__ = "device_meter"
    installation_id: str = Field(primary_key=True, sa_type=Identifier)
    counter: str = Field(primary_key=True, sa_type=Identifier)
    terminal_id: str = Field(index=True, sa_type=Identifier)
    octets: str = "0"
    begun_at: datetime = Field(sa_type=Instant)


class WebToken(SQLModel, table=True):
    """A link that a device's user is sent, once usable; the token itself is only in the message."""

    __tablename__ = "web_token"
    id: str = Field(primary_key=True, sa_type=Identifier)
    token_digest: bytes = Field(unique=True, sa_type=Digest)
    terminal_id: str = Field(foreign_key="terminal.id", index=True, sa_type=Identifier)
    subscriber_id: str = Field(foreign_key="subscriber.id", sa_type=Identifier)
    created_at: datetime = Field(sa_type=Instant)
    expires_at: datetime = Field(sa_type=Instant)
    used_at: datetime | None = Field(default=None, sa_type=Instant)
    purpose: str = "menu"


def has_devices(engine: Engine) -> bool:
    """Whether there is a device."""
    with engine.connect() as connection:
        return connection.execute(select(table(Device).c.terminal_id).limit(1)).first() is not None
