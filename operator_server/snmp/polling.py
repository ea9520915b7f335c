"""One look at one device: its counters, and when it is interrogated all that its configuration is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from operator_server.snmp import objects
from operator_server.snmp.counters import Reading
from operator_server.snmp.mapping import Answers, Mapped, map_configuration
from operator_server.snmp.objects import Oid, oid_text, parse_oid
from operator_server.snmp.session import REPETITIONS, Scope, SnmpFault, Target
from operator_server.snmp.walk import Budget, Limits, Value, walk
from signalling.clock import Clock

AT_ONCE = 20
"""Objects in one GET."""

_SCALARS = (objects.SYS_DESCR, objects.SYS_OBJECT_ID, objects.HR_MEMORY_SIZE, objects.TG_MODEL)

CODE_BYTES = 32

TABLES: dict[str, tuple[Oid, tuple[int, ...]]] = {
    "hrDevice": (objects.HR_DEVICE_ENTRY, (2, 3)),
    "hrSWInstalled": (objects.HR_SW_INSTALLED_ENTRY, (2,)),
    "entPhysical": (objects.ENT_PHYSICAL_ENTRY, (2, 5, 7, 8, 9, 10, 12, 13)),
    "tgItem": (objects.TG_ITEM_ENTRY, (2, 3)),
}


class CounterFault(ValueError):
    """A counter of a device that is not configured well; the text says how."""


@dataclass(frozen=True, slots=True)
class Counter:
    """An object that counts octets, and the application counter that it feeds.

    ``unit``: as the tariff calls it. ``if_index``: the interface, where the object is a column of IF-MIB; from its
    table come speed and discontinuity time.
    """

    counter: str
    oid: Oid
    bits: int
    unit: str
    unit_octets: int
    if_index: int | None = None

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Counter:
        """From the stored form. Raises :class:`CounterFault`."""
        try:
            oid, index = parse_oid(str(raw["oid"])), raw.get("if_index")
            counter = str(raw["counter"])
            octets = int(raw.get("unit_octets", 1))
        except (KeyError, ValueError, TypeError) as error:
            raise CounterFault(f"a counter of the device cannot be used: {error}") from None
        bits = 64
        for column, width in objects.COUNTERS.values():
            if oid[:-1] == column:
                bits, index = width, oid[-1] if index is None else int(index)
        if octets < 1:
            raise CounterFault(f"counter {counter}: unit_octets: {octets} is below 1")
        return cls(counter, oid, int(raw.get("bits", bits)), str(raw.get("unit", counter)), octets, index)


@dataclass(slots=True)
class Polled:
    """What one look found. ``mapped`` is absent where the configuration was not read; ``hint``: what the device said
    of it before it was."""

    readings: dict[str, tuple[Counter, Reading]]
    mapped: Mapped | None = None
    hint: bytes = b""
    notes: list[str] = field(default_factory=list)


async def read_counters(scope: Scope, target: Target, counters: Sequence[Counter], clock: Clock) -> Polled:
    """Read the counters with what tells resets and wraps. Raises :class:`operator_server.snmp.session.SnmpFault`."""
    wanted: dict[Oid, None] = {objects.HR_SYSTEM_UPTIME: None}
    for counter in counters:
        wanted[counter.oid] = None
        if counter.if_index is not None:
            for column in (objects.IF_COUNTER_DISCONTINUITY_TIME, objects.IF_HIGH_SPEED, objects.IF_SPEED):
                wanted[(*column, counter.if_index)] = None
    values = await _get_all(scope, target, list(wanted))
    at = clock.now()
    polled = Polled({})
    for counter in counters:
        raw = values[counter.oid]
        if not isinstance(raw, int):
            polled.notes.append(f"counter {counter.counter}: the device has no number under {oid_text(counter.oid)}")
            continue
        index = counter.if_index
        polled.readings[oid_text(counter.oid)] = (
            counter,
            Reading(
                raw,
                at,
                counter.bits,
                _ticks(values.get((*objects.IF_COUNTER_DISCONTINUITY_TIME, index or 0))),
                _ticks(values[objects.HR_SYSTEM_UPTIME]),
                _speed(values, index),
            ),
        )
    return polled


def _ticks(value: Value) -> int | None:
    return value if isinstance(value, int) and 0 <= value < 2**32 else None


def _speed(values: Mapping[Oid, Value], index: int | None) -> int | None:
    """Bits a second by ifHighSpeed, else ifSpeed; none where the device says 0, which means not known."""
    if index is None:
        return None
    high, low = values.get((*objects.IF_HIGH_SPEED, index)), values.get((*objects.IF_SPEED, index))
    if isinstance(high, int) and 0 < high < 2**32:
        return high * 1_000_000
    return low if isinstance(low, int) and 0 < low < 2**32 - 1 else None


async def read_hint(scope: Scope, target: Target, activated: Mapping[str, str]) -> bytes:
    """A digest over what a device says of its configuration without its tables; empty where it computes no code.

    It changes with tgConfigurationCode, tgLastChange, what the system group says, and with what was activated for the
    device. Raises :class:`operator_server.snmp.session.SnmpFault`.
    """
    values = await _get_all(scope, target, [objects.TG_CONFIGURATION_CODE, objects.TG_LAST_CHANGE, *_SCALARS])
    code = values[objects.TG_CONFIGURATION_CODE]
    if not isinstance(code, bytes) or len(code) != CODE_BYTES:
        return b""
    return hashlib.sha256(repr((list(values.items()), sorted(activated.items()))).encode()).digest()


async def interrogate(
    scope: Scope, target: Target, limits: Limits, activated: Mapping[str, str], *, patient: bool
) -> Mapped:
    """Read all that the configuration is made of.

    A table that the device answers oddly is told in the notes and the rest goes on. ``patient``: so is one on which it
    falls silent; otherwise that is raised, and the interrogation is to be repeated. Raises
    :class:`operator_server.snmp.session.SnmpFault`.
    """
    budget = Budget.begin(limits)
    values = await _get_all(scope, target, _SCALARS)
    notes: list[str] = []
    tables: dict[str, Mapping[Oid, Mapping[int, Value]]] = {}
    for name, (entry, columns) in TABLES.items():
        repetitions = REPETITIONS if len(columns) <= 2 else max(1, 2 * REPETITIONS // len(columns))

        async def bulk(oids: Sequence[Oid], repetitions: int = repetitions) -> list[tuple[Oid, Value]]:
            return await scope.bulk(target, oids, repetitions)

        tables[name] = {}
        if budget.late:
            notes.append(f"{name}: not read, {limits.seconds:g} s were over")
            continue
        try:
            walked = await walk(bulk, entry, columns, budget, name)
        except SnmpFault as fault:
            if fault.kind in ("silent", "malformed") and not patient:
                raise SnmpFault(fault.kind, f"{name}: {fault}") from None
            notes.append(f"{name}: not read: {fault}")
        else:
            tables[name], notes = walked.rows, notes + walked.notes
    mapped = map_configuration(
        Answers(
            description=values[objects.SYS_DESCR],
            object_id=values[objects.SYS_OBJECT_ID],
            memory_kib=values[objects.HR_MEMORY_SIZE],
            model=values[objects.TG_MODEL],
            devices=tables["hrDevice"],
            software=tables["hrSWInstalled"],
            entities=tables["entPhysical"],
            items=tables["tgItem"],
            activated=activated,
        )
    )
    return Mapped(mapped.configuration, notes + mapped.notes)


async def _get_all(scope: Scope, target: Target, oids: Sequence[Oid]) -> dict[Oid, Value]:
    """These objects, asked for in portions that the device can answer."""
    values: dict[Oid, Value] = {}
    size, start = AT_ONCE, 0
    while start < len(oids):
        portion = oids[start : start + size]
        try:
            values.update(zip(portion, await scope.get(target, portion), strict=True))
        except SnmpFault as fault:
            if "tooBig" not in str(fault) or len(portion) == 1:
                raise
            size = max(1, len(portion) // 2)
            continue
        start += len(portion)
    return values
