"""From readings of a counter to octets that were used.

The rules:

1. The first reading is where counting begins; it charges nothing.
2. A reset is a value that fell, or ifCounterDiscontinuityTime that names another instant than before, or
   hrSystemUptime that says the host began to run since the last reading. What stands there after it was used after it.
   sysUpTime is never asked: an agent that is restarted begins it anew while the counters go on, and a rule that took
   that for a reset would charge everything a second time. For the same reason a discontinuity time of zero, which is
   what a restarted agent says, is no reset.
3. A counter of 64 bits wraps in theory only; near its end, a fall is a wrap.
4. A counter of 32 bits tells the use of an interval only when the interval is shorter than one wrap at ifSpeed. Then a
   fall is a wrap if the interface could have carried what that means, otherwise a reset. Else, and where the speed is
   not known, the interval is a gap: shown, and not charged.
5. Where a reset did not bring a smaller value and the interface cannot have carried the value since, the interval is a
   gap: the counter did not begin at zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

Verdict = Literal["first", "counted", "reset", "gap"]

TICKS = 2**32
"""TimeTicks go round after 497 days."""

_MARGIN = 1.05
"""What an interface may carry beyond its nominal speed: clocks differ."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A counter as read at an instant.

    ``bits``: 32 or 64. ``discontinuity``: ifCounterDiscontinuityTime; ``uptime``: hrSystemUptime, in hundredths of a
    second; ``speed``: bits a second. Each absent where the device has none.
    """

    raw: int
    at: datetime
    bits: int
    discontinuity: int | None = None
    uptime: int | None = None
    speed: int | None = None


@dataclass(frozen=True, slots=True)
class Used:
    """What a reading adds: ``octets`` since the one before, or, after a ``reset``, since that."""

    verdict: Verdict
    octets: int
    reason: str = ""


def used(before: Reading | None, now: Reading) -> Used:
    """What was used between two readings of one counter. Raises ``ValueError`` unless ``now`` is later."""
    if not 0 <= now.raw < 2**now.bits:
        return Used("gap", 0, f"the value {now.raw} does not fit {now.bits} bits")
    if before is None:
        return Used("first", 0)
    if now.at <= before.at:
        raise ValueError("a reading must be later than the one before")
    if before.bits != now.bits:
        return Used("gap", 0, f"the counter has {now.bits} bits in place of {before.bits}")
    seconds = (now.at - before.at).total_seconds()
    reset = _said_reset(before, now, seconds)
    if reset:
        if now.raw >= before.raw and now.speed and now.raw > _carried(now.speed, seconds):
            return Used("gap", 0, f"{reset}, yet the value did not begin at zero")
        if now.bits == 32 and not _within_wrap(now, seconds):
            return Used("gap", 0, f"{reset}, and 32 bits may have wrapped since")
        return Used("reset", now.raw, reset)
    if now.bits == 32:
        return _used_32(before, now, seconds)
    if now.raw >= before.raw:
        return Used("counted", now.raw - before.raw)
    wrapped = now.raw - before.raw + 2**64
    if wrapped < 2**48 and (not now.speed or wrapped <= _carried(now.speed, seconds)):
        return Used("counted", wrapped, "the counter wrapped")
    return Used("reset", now.raw, "the value fell")


def _used_32(before: Reading, now: Reading, seconds: float) -> Used:
    if not now.speed:
        return Used("gap", 0, "32 bits, and the speed of the interface is not known: it may have wrapped unseen")
    if not _within_wrap(now, seconds):
        return Used("gap", 0, f"32 bits may wrap more than once in {seconds:.0f} s at {now.speed} bit/s")
    if now.raw >= before.raw:
        return Used("counted", now.raw - before.raw)
    wrapped = now.raw - before.raw + 2**32
    if wrapped <= _carried(now.speed, seconds):
        return Used("counted", wrapped, "the counter wrapped")
    return Used("reset", now.raw, "the value fell")


def _carried(speed: int, seconds: float) -> int:
    """Octets that an interface carries at most."""
    return int(speed * seconds * _MARGIN / 8)


def _within_wrap(now: Reading, seconds: float) -> bool:
    return bool(now.speed) and _carried(now.speed or 0, seconds) < 2**32


def _said_reset(before: Reading, now: Reading, seconds: float) -> str:
    """Why the device itself says that the counter began anew; empty when it does not."""
    if now.discontinuity and before.discontinuity is not None and now.discontinuity != before.discontinuity:
        return "ifCounterDiscontinuityTime changed"
    if before.uptime is not None and now.uptime is not None:
        expected = before.uptime + int(seconds * 100)
        slack = 200 + int(seconds * 2)
        went_on = now.uptime >= expected - slack or abs(now.uptime - (expected - TICKS)) <= slack
        if not went_on and now.uptime <= seconds * 100 + slack:
            return "hrSystemUptime says that the host began to run anew"
    return ""


def up_since(reading: Reading) -> datetime | None:
    """When the host began to run by hrSystemUptime."""
    return None if reading.uptime is None else reading.at - timedelta(milliseconds=10 * reading.uptime)
