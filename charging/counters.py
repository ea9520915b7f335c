"""Application counters (claims 10 and 20): what a report adds to what is known, and which use it charges.

The rules:

1. A counter only goes up within an epoch; a reset begins a new epoch at 0. So what of an epoch is charged is one
   number, the highest value reported: each unit is charged once, whatever is repeated, delayed or reordered.
2. Reports are numbered from 1, across epochs. Numbers that are missing are a gap: shown, never estimated. The next
   value still tells what was used, and charges it; a report that comes late closes its gap and charges only what no
   later value of its epoch has charged.
3. In the order of their numbers epochs never fall, nor do values within an epoch, and each report carries the digest
   of the one before it. What contradicts a report that is known is a conflict: shown, and nothing is charged. The
   first report of a new epoch may carry no digest, since the terminal may have lost what it had.
4. Samples at cut-over instants cut the use into periods: what a sample counts was used before its instant, whenever
   it is reported. A stretch belongs to the period in which it ends, at the next sample or at the report; so use
   across a period's end that nobody sampled belongs to the later period, and what a later report has charged is not
   moved by the samples of an earlier one that comes after it.
5. Instants are the terminal's word: they are taken as no earlier than the agreement and no later than the receipt.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, tzinfo
from typing import Literal

from charging.periods import period_of
from signalling.clock import from_micros
from signalling.documents import NO_REPORT, CounterReport

Status = Literal["accepted", "duplicate", "gap", "conflict", "reset", "refused"]

MAX_EPOCHS = 1000
"""Resets of one counter after which its reports are refused."""

_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Known:
    """A report that was taken, as far as its neighbours must fit to it."""

    sequence: int
    epoch: int
    value: int
    digest: bytes
    previous: bytes


@dataclass(frozen=True, slots=True)
class CounterState:
    """What is known of a counter: its highest report, and for each epoch how far it is charged."""

    sequence: int = 0
    epoch: int = 0
    value: int = 0
    digest: bytes = NO_REPORT
    charged: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Piece:
    """Use to charge: the values of ``epoch`` after ``start`` up to and including ``end``, used by ``at``."""

    epoch: int
    start: int
    end: int
    at: datetime

    @property
    def quantity(self) -> int:
        """The units in it."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What becomes of a report. ``missing``: first and last number of a gap that it opens; ``fills``: the number of

    a known gap that it closes. Where nothing is taken, ``state`` is the state before.
    """

    status: Status
    state: CounterState
    pieces: tuple[Piece, ...] = ()
    missing: tuple[int, int] | None = None
    fills: int | None = None
    reason: str = ""

    @property
    def taken(self) -> bool:
        """Whether the report counts among the known ones from now on."""
        return self.status in ("accepted", "gap", "reset")


def evaluate(
    state: CounterState,
    report: CounterReport,
    digest: bytes,
    *,
    same: Known | None,
    before: Known | None,
    after: Known | None,
    not_before: datetime,
    now: datetime,
) -> Evaluation:
    """Evaluate ``report``, whose document has ``digest``, by the rules above.

    ``same``, ``before`` and ``after``: the taken reports with its number, with the highest number below it and the
    lowest above it. ``not_before``: when counting could begin; ``now``: the receipt.
    """
    if same is not None:
        if same.digest == digest:
            return Evaluation("duplicate", state, reason="known already")
        return Evaluation("conflict", state, reason=f"number {report.sequence} is known with other content")
    if fault := _fault(report):
        return Evaluation("refused", state, reason=fault)
    if report.epoch not in state.charged and len(state.charged) >= MAX_EPOCHS:
        return Evaluation("refused", state, reason=f"more than {MAX_EPOCHS} resets; ask for a new delivery")
    if contradiction := _contradiction(report, digest, before, after):
        return Evaluation("conflict", state, reason=contradiction)
    charged = state.charged.get(report.epoch, 0)
    pieces = tuple(_stretches(report, charged, not_before, now))
    marks = {**state.charged, report.epoch: max(charged, report.value)}
    if report.sequence < state.sequence:
        late = replace(state, charged=marks)
        return Evaluation("accepted", late, pieces, fills=report.sequence, reason="came late; its gap is closed")
    newest = CounterState(report.sequence, report.epoch, report.value, digest, marks)
    missing = (state.sequence + 1, report.sequence - 1) if report.sequence > state.sequence + 1 else None
    text = f"reports {missing[0]} to {missing[1]} are missing" if missing else ""
    if before is not None and report.epoch > before.epoch:
        return Evaluation("reset", newest, pieces, missing, reason=text or f"epoch {report.epoch} begins")
    return Evaluation("gap" if missing else "accepted", newest, pieces, missing, reason=text)


def by_period(pieces: Iterable[Piece], zone: tzinfo, cuts: Collection[datetime] = ()) -> list[tuple[str, Piece]]:
    """The pieces with the period that each belongs to; neighbours of one period are put together.

    ``cuts``: instants at which the price changes; what was used before one is not put together with what came after.
    """
    result: list[tuple[str, Piece]] = []
    for piece in pieces:
        name = period_of(piece.at, zone)
        if result:
            last_name, last = result[-1]
            apart = any(last.at < cut <= piece.at for cut in cuts)
            if (last_name, last.epoch, last.end) == (name, piece.epoch, piece.start) and not apart:
                result[-1] = (name, replace(piece, start=last.start))
                continue
        result.append((name, piece))
    return result


def _fault(report: CounterReport) -> str:
    if report.sequence < 1:
        return "reports are numbered from 1"
    instant, value = -1, 0
    for sample_at, sample in report.samples:
        if sample_at <= instant or sample < value:
            return "the samples do not ascend in time and value"
        instant, value = sample_at, sample
    if report.samples and (instant > report.at or value > report.value):
        return "a sample lies after the report or above its value"
    return ""


def _contradiction(report: CounterReport, digest: bytes, before: Known | None, after: Known | None) -> str:
    if before is not None:
        if report.epoch < before.epoch:
            return f"epoch {report.epoch} comes after epoch {before.epoch} of report {before.sequence}"
        if report.epoch == before.epoch and report.value < before.value:
            return f"value {report.value} is lower than {before.value} of report {before.sequence}"
    if after is not None:
        if report.epoch > after.epoch:
            return f"epoch {report.epoch} comes before epoch {after.epoch} of report {after.sequence}"
        if report.epoch == after.epoch and report.value > after.value:
            return f"value {report.value} is higher than {after.value} of the later report {after.sequence}"
        begins = after.epoch > report.epoch and after.previous == NO_REPORT
        if after.sequence == report.sequence + 1 and after.previous != digest and not begins:
            return f"report {after.sequence} follows another report with number {report.sequence}"
    return _broken_chain(report, before)


def _broken_chain(report: CounterReport, before: Known | None) -> str:
    if report.sequence == 1:
        return "" if report.previous == NO_REPORT else "the first report carries the digest of one before it"
    if before is None or before.sequence != report.sequence - 1 or report.previous == before.digest:
        return ""
    if report.epoch > before.epoch and report.previous == NO_REPORT:
        return ""
    return f"it does not follow the report {before.sequence} that is known"


def _stretches(report: CounterReport, charged: int, not_before: datetime, now: datetime) -> Iterable[Piece]:
    # A sample's use ended before its instant, so it belongs to the period that ends there.
    ends = [(from_micros(at) - _INSTANT, value) for at, value in report.samples]
    for at, value in [*ends, (from_micros(report.at), report.value)]:
        if value > charged:
            yield Piece(report.epoch, charged, value, max(not_before, min(at, now)))
            charged = value
