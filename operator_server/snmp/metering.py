"""From a device's readings to counter reports: what was read is proven by the poll, and charged as for any terminal.

A device signs nothing. The report that follows from a reading is written by the server and signed with its own key,
for the purpose ``device-reading``, so the signature tells who vouches for it; what was read is kept beside it, as
:class:`operator_server.store.devices.DeviceSample`. An interval that cannot be told is a report that is missing: a gap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, Row, insert, select, update

from charging.periods import period, period_of
from operator_server.counting.book import Counted, counted, states
from operator_server.counting.grants import UsageGrants
from operator_server.counting.intake import Presented, take_reports
from operator_server.counting.tariffs import TariffVersions
from operator_server.desk import Visitor
from operator_server.snmp.counters import Reading, Used, up_since, used
from operator_server.snmp.polling import Counter
from operator_server.store.dealings import Installation
from operator_server.store.devices import DeviceCounterReading, DeviceMeter, DeviceSample
from operator_server.store.rows import table
from signalling.clock import to_micros
from signalling.documents import NO_REPORT, CounterReport, document_digest
from signalling.ids import new_id
from signalling.messages import CounterOutcome
from signalling.proof import sign

PURPOSE = "device-reading"
"""What the server's signature under a report of a device is for."""

CLOSES = timedelta(minutes=1)
"""How long after the end of a billing period the first reading still tells where a counter stood at that end."""

_reading = table(DeviceCounterReading)
_meter = table(DeviceMeter)

Readings = Mapping[str, tuple[Counter, Reading]]


@dataclass(slots=True)
class _Interval:
    """What one application counter used since the poll before, over all objects that feed it.

    ``since``: the reading before.
    """

    unit_octets: int
    since: datetime
    octets: int = 0
    gap: bool = False
    reasons: list[str] = field(default_factory=list)


class DeviceMetering:
    """Takes the readings of polls and has them counted."""

    def __init__(self, tariffs: TariffVersions, grants: UsageGrants, signing: Ed25519PrivateKey, zone: tzinfo) -> None:
        self._tariffs = tariffs
        self._grants = grants
        self._signing = signing
        self._zone = zone

    def take(
        self, connection: Connection, visitor: Visitor, poll: str, readings: Readings, now: datetime
    ) -> list[CounterOutcome]:
        """Keep the readings of one poll and charge what they say was used; the outcomes of the reports that follow.

        Raises :class:`operator_server.counting.metering.NotCharged` and :class:`charging.tariffs.TariffError`; then the
        caller must roll back, and the next poll counts from the reading before.
        """
        intervals = self._intervals(connection, visitor.terminal, poll, readings, now)
        if not intervals:
            return []
        at = max(reading.at for _, reading in readings.values())
        cut_over = closed(min(each.since for each in intervals.values()), at, self._zone)
        reports = self._reports(connection, visitor.terminal, intervals, at, cut_over)
        if not reports:
            return []
        noted = take_reports(connection, self._tariffs, self._grants, self._zone, [(visitor, reports)], now)
        return list(noted[0].outcomes)

    def _intervals(
        self, connection: Connection, terminal: str, poll: str, readings: Readings, now: datetime
    ) -> dict[str, _Interval]:
        rows = connection.execute(select(_reading).where(_reading.c.terminal_id == terminal).with_for_update()).all()
        known = {row.oid: row for row in rows}
        intervals: dict[str, _Interval] = {}
        for oid, (counter, reading) in readings.items():
            before = known.get(oid)
            if before is not None and reading.at <= before.last_at:
                continue  # Another poll was faster.
            use = used(None if before is None else _before(before, reading), reading)
            self._keep(connection, terminal, poll, oid, counter, reading, use, before, now)
            since = reading.at if before is None else before.last_at
            interval = intervals.setdefault(counter.counter, _Interval(counter.unit_octets, since))
            interval.since = min(interval.since, since)
            interval.octets += use.octets
            interval.gap |= use.verdict == "gap"
        return intervals

    def _keep(
        self,
        connection: Connection,
        terminal: str,
        poll: str,
        oid: str,
        counter: Counter,
        reading: Reading,
        use: Used,
        before: Row[Any] | None,
        now: datetime,
    ) -> None:
        values = {
            "counter": counter.counter,
            "bits": reading.bits,
            "last_raw": str(reading.raw)[:20],
            "last_at": reading.at,
            "discontinuity": reading.discontinuity,
            "up_since": up_since(reading),
            "accumulated_octets": str(use.octets + (0 if before is None else int(before.accumulated_octets))),
            "epoch": (0 if before is None else before.epoch) + (use.verdict == "reset"),
            "sequence": 1 if before is None else before.sequence + 1,
            "gaps": (0 if before is None else before.gaps) + (use.verdict == "gap"),
        }
        if before is None:
            connection.execute(insert(_reading).values(terminal_id=terminal, oid=oid, **values))
        else:
            mine = (_reading.c.terminal_id == terminal) & (_reading.c.oid == oid)
            connection.execute(update(_reading).where(mine).values(**values))
        connection.execute(
            insert(table(DeviceSample)).values(
                id=new_id(to_micros(now)),
                poll_id=poll,
                terminal_id=terminal,
                oid=oid,
                counter=counter.counter,
                at=reading.at,
                raw=str(reading.raw)[:20],
                octets=str(use.octets),
                verdict=use.verdict,
                reason=use.reason,
            )
        )

    def _reports(
        self,
        connection: Connection,
        terminal: str,
        intervals: Mapping[str, _Interval],
        at: datetime,
        cut_over: datetime | None,
    ) -> list[Presented]:
        installation = table(Installation)
        ids = connection.execute(
            select(installation.c.id).where(
                installation.c.terminal_id == terminal,
                installation.c.installed_at.is_not(None),
                installation.c.removed_at.is_(None),
            )
        ).scalars()
        items = [item for item in counted(connection, list(ids)).values() if item.usable and item.counter in intervals]
        if not items:
            return []
        installations = [item.installation for item in items]
        meters = {
            (row.installation_id, row.counter): row
            for row in connection.execute(select(_meter).where(_meter.c.installation_id.in_(installations)))
        }
        states_now = states(connection, installations)
        reports = []
        for item in items:
            key = (item.installation, item.counter)
            if key not in meters:
                # What was used before is not this agreement's.
                connection.execute(
                    insert(_meter).values(
                        installation_id=key[0], counter=key[1], terminal_id=terminal, octets="0", begun_at=at
                    )
                )
                continue
            interval = intervals[item.counter]
            octets = int(meters[key].octets) + interval.octets
            if interval.octets:
                mine = (_meter.c.installation_id == key[0]) & (_meter.c.counter == key[1])
                connection.execute(update(_meter).where(mine).values(octets=str(octets)))
            known = states_now.get(key)
            value = octets // interval.unit_octets
            if value > (known.value if known else 0) or interval.gap:
                sequence, digest = (known.sequence, known.digest) if known else (0, NO_REPORT)
                reports.append(self._report(item, sequence, digest, value, interval.gap, at, cut_over))
        return reports

    def _report(
        self,
        item: Counted,
        sequence: int,
        previous: bytes,
        value: int,
        gap: bool,
        at: datetime,
        cut_over: datetime | None,
    ) -> Presented:
        value = min(value, 2**53 - 1)
        report = CounterReport(
            installation=item.installation,
            counter=item.counter,
            epoch=0,
            sequence=sequence + (2 if gap else 1),
            value=value,
            samples=[] if cut_over is None else [(to_micros(cut_over), value)],
            previous=previous,
            at=to_micros(at),
        )
        document = report.encode()
        return Presented(report, sign(self._signing, PURPOSE, document), document_digest(document), proven=True)


def closed(since: datetime, at: datetime, zone: tzinfo) -> datetime | None:
    """The end of the billing period that a reading closes: it is the first after that end, and close behind it."""
    end = period(period_of(at, zone), zone).start
    return end if since < end <= at <= end + CLOSES else None


def next_cut_over(now: datetime, zone: tzinfo) -> datetime:
    """The next end of a billing period, at which counters are read."""
    return period(period_of(now, zone), zone).end


def _before(row: Row[Any], now: Reading) -> Reading:
    uptime = None if row.up_since is None else (row.last_at - row.up_since) // timedelta(milliseconds=10)
    return Reading(int(row.last_raw), row.last_at, row.bits, row.discontinuity, uptime, now.speed)
