"""What a terminal in the gateway's place would have written down: made from the operator's raw readings alone.

A gateway keeps no journal, so its counter is reckoned from the readings themselves, by the rules of docs/snmp.md:

1. Counting begins at the first reading after the agreement.
2. What stands in a reading beyond the one before was used between them; where the value fell, what stands there.
3. A reading within :data:`AT_THE_END` after the end of a month that is the first one after it closes the month.
4. Whole units are charged; what is short of one goes with what follows.

Like the calculator it feeds, this knows nothing of ``charging``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from signalling.clock import to_micros
from signalling.documents import NO_REPORT, CounterReport
from signalling.messages import ModeTerms, Signed
from terminal_sim import journal as lines
from terminal_sim.journal import AnyEntry

OFFER, MODE = "uplink", "by-volume"
UNIT, UNIT_OCTETS = "MiB", 1_048_576

AT_THE_END = timedelta(minutes=1)

_UNSIGNED = Signed(b"", bytes(64))
_INSTALLATION = "gateway"


@dataclass(frozen=True)
class Agreed:
    """What the user agreed to on the page."""

    agreement: str
    at: datetime


@dataclass(frozen=True)
class Sample:
    """A reading as the operator keeps it."""

    at: datetime
    raw: int


def confirmed(agreed: Agreed, subscriber: str, currency: str) -> lines.Confirmed:
    """The line of the user's yes."""
    terms = ModeTerms(MODE, "per_use", MODE, "", currency, 0, "S", 0, counter=UNIT)
    return lines.Confirmed(
        at=to_micros(agreed.at), agreement=agreed.agreement, quote_id="", offer=OFFER, version="", product=OFFER,
        release="", title=OFFER, subscriber=subscriber, terms=terms, amount=0, tax=0, currency=currency,
        delivers=False, quote=_UNSIGNED, confirmation=_UNSIGNED,
    )  # fmt: skip


def journal(yes: lines.Confirmed, readings: Sequence[Sample], begun: datetime, zone: ZoneInfo) -> list[AnyEntry]:
    """The lines that the readings amount to. ``begun``: at which of them counting began."""
    entries: list[AnyEntry] = [
        yes,
        lines.Ordered(at=yes.at, agreement=yes.agreement, order=_UNSIGNED),
        lines.Granted(at=yes.at, agreement=yes.agreement, installation=_INSTALLATION, grant=_UNSIGNED),
    ]
    octets = 0
    counted = [each for each in readings if each.at >= begun]
    for sequence, (before, now) in enumerate(pairwise(counted), 1):
        octets += now.raw if now.raw < before.raw else now.raw - before.raw
        entries += _report(sequence, octets // UNIT_OCTETS, now.at, _month_end(before.at, now.at, zone))
    return entries


def octets_counted(readings: Sequence[Sample], begun: datetime) -> int:
    """All octets since ``begun``, for a counter that never fell."""
    counted = [each.raw for each in readings if each.at >= begun]
    return counted[-1] - counted[0] if counted else 0


def _report(sequence: int, units: int, at: datetime, month_end: datetime | None) -> list[AnyEntry]:
    samples = [] if month_end is None else [(to_micros(month_end), units)]
    report = CounterReport(_INSTALLATION, UNIT, 0, sequence, units, samples, NO_REPORT, to_micros(at))
    same: dict[str, Any] = {"installation": _INSTALLATION, "counter": UNIT, "epoch": 0, "sequence": sequence}
    signed = Signed(report.encode(), bytes(64))
    return [
        lines.Reported(at=report.at, value=units, report=signed, **same),
        lines.ReportNoted(at=report.at, status="accepted", server_time=report.at, **same),
    ]


def _month_end(before: datetime, now: datetime, zone: ZoneInfo) -> datetime | None:
    """The end of a month that lies between two readings, when the later one closes it."""
    day = now.astimezone(zone).date()
    midnight = datetime.combine(date(day.year, day.month, 1), datetime.min.time(), zone)
    return midnight if before < midnight <= now <= midnight + AT_THE_END else None
