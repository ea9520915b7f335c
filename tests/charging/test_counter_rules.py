"""Counter reports against what is known: each unit once, whatever happens to the reports on their way."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charging.counters import CounterState, Evaluation, Known, Piece, by_period, evaluate
from signalling.clock import to_micros
from signalling.documents import NO_REPORT, CounterReport, document_digest

BERLIN = ZoneInfo("Europe/Berlin")
AGREED = datetime(2026, 9, 1, tzinfo=UTC)
OCTOBER_END = datetime(2026, 10, 31, 23, tzinfo=UTC)
NOVEMBER_END = datetime(2026, 11, 30, 23, tzinfo=UTC)
NOW = datetime(2027, 3, 1, tzinfo=UTC)


@dataclass
class Reporter:
    """A terminal's counter that signs reports."""

    epoch: int = 0
    value: int = 0
    sequence: int = 0
    previous: bytes = NO_REPORT

    def report(self, at: datetime, samples: list[tuple[datetime, int]] | None = None) -> CounterReport:
        self.sequence += 1
        report = CounterReport(
            installation="inst",
            counter="uses",
            epoch=self.epoch,
            sequence=self.sequence,
            value=self.value,
            samples=[(to_micros(instant), value) for instant, value in samples or ()],
            previous=self.previous,
            at=to_micros(at),
        )
        self.previous = document_digest(report.encode())
        return report

    def use(self, units: int, at: datetime, samples: list[tuple[datetime, int]] | None = None) -> CounterReport:
        self.value += units
        return self.report(at, samples)

    def reset(self) -> None:
        self.epoch, self.value = self.epoch + 1, 0


@dataclass
class Evaluator:
    """Keeps what a store would keep."""

    state: CounterState = field(default_factory=CounterState)
    known: dict[int, Known] = field(default_factory=dict)
    missing: set[int] = field(default_factory=set)
    pieces: list[Piece] = field(default_factory=list)

    def take(self, report: CounterReport, now: datetime = NOW) -> Evaluation:
        digest = document_digest(report.encode())
        lower = [number for number in self.known if number < report.sequence]
        higher = [number for number in self.known if number > report.sequence]
        result = evaluate(
            self.state,
            report,
            digest,
            same=self.known.get(report.sequence),
            before=self.known[max(lower)] if lower else None,
            after=self.known[min(higher)] if higher else None,
            not_before=AGREED,
            now=now,
        )
        self.state = result.state
        self.pieces += result.pieces
        if result.taken:
            self.known[report.sequence] = Known(report.sequence, report.epoch, report.value, digest, report.previous)
            if result.missing:
                self.missing |= set(range(result.missing[0], result.missing[1] + 1))
            if result.fills is not None:
                self.missing.remove(result.fills)
        return result

    def charged(self) -> int:
        return sum(piece.quantity for piece in self.pieces)


@pytest.fixture
def counter() -> Reporter:
    return Reporter()


@pytest.fixture
def evaluator() -> Evaluator:
    return Evaluator()


@pytest.mark.requirement("S15")
def test_a_report_that_comes_twice_is_charged_once(counter: Reporter, evaluator: Evaluator) -> None:
    report = counter.use(5, OCTOBER_END)
    assert evaluator.take(report).status == "accepted"
    assert evaluator.take(report).status == "duplicate"
    assert evaluator.charged() == 5


@pytest.mark.requirement("S15")
def test_a_lost_report_is_a_gap_and_the_next_value_charges_the_whole_stretch(
    counter: Reporter, evaluator: Evaluator
) -> None:
    evaluator.take(counter.use(5, AGREED))
    lost = [counter.use(3, AGREED), counter.use(4, AGREED)]
    result = evaluator.take(counter.use(1, AGREED))
    assert (result.status, result.missing) == ("gap", (2, 3))
    assert evaluator.charged() == 13
    late = evaluator.take(lost[1])
    assert (late.status, late.fills, late.pieces) == ("accepted", 3, ())
    assert evaluator.missing == {2}


@pytest.mark.requirement("S15")
def test_a_late_report_of_an_old_epoch_charges_what_nobody_else_told(counter: Reporter, evaluator: Evaluator) -> None:
    evaluator.take(counter.use(5, AGREED))
    lost = counter.use(3, AGREED)
    counter.reset()
    result = evaluator.take(counter.use(2, AGREED))
    assert (result.status, result.missing) == ("reset", (2, 2))
    assert evaluator.charged() == 7
    evaluator.take(lost)
    assert evaluator.charged() == 10


def test_the_same_number_with_other_content_is_a_conflict_and_charges_nothing(
    counter: Reporter, evaluator: Evaluator
) -> None:
    evaluator.take(counter.use(5, AGREED))
    forged = Reporter().use(50, AGREED)
    assert evaluator.take(forged).status == "conflict"
    assert evaluator.charged() == 5
    assert evaluator.take(counter.use(1, AGREED)).status == "accepted"


def test_a_value_that_falls_within_an_epoch_is_a_conflict(counter: Reporter, evaluator: Evaluator) -> None:
    evaluator.take(counter.use(5, AGREED))
    assert evaluator.take(counter.use(-2, AGREED)).status == "conflict"
    assert evaluator.charged() == 5


def test_a_late_value_above_that_of_a_later_report_is_a_conflict(counter: Reporter, evaluator: Evaluator) -> None:
    early = counter.use(9, AGREED)
    evaluator.take(counter.use(-1, AGREED))
    assert evaluator.take(early).status == "conflict"
    assert evaluator.charged() == 8


def test_an_epoch_that_falls_is_a_conflict(counter: Reporter, evaluator: Evaluator) -> None:
    counter.reset()
    evaluator.take(counter.use(5, AGREED))
    counter.epoch, counter.value = 0, 7
    assert evaluator.take(counter.report(AGREED)).status == "conflict"


def test_a_report_that_follows_another_one_is_a_conflict(counter: Reporter, evaluator: Evaluator) -> None:
    evaluator.take(counter.use(5, AGREED))
    counter.previous = bytes([7]) * 32
    assert evaluator.take(counter.use(1, AGREED)).status == "conflict"


def test_a_first_report_that_names_one_before_it_is_a_conflict(counter: Reporter, evaluator: Evaluator) -> None:
    counter.previous = bytes([7]) * 32
    assert evaluator.take(counter.use(1, AGREED)).status == "conflict"


def test_a_late_report_that_the_next_one_does_not_follow_is_a_conflict(counter: Reporter, evaluator: Evaluator) -> None:
    evaluator.take(counter.use(5, AGREED))
    fork = Reporter(value=5, sequence=1, previous=counter.previous)
    counter.use(2, AGREED)
    evaluator.take(counter.use(2, AGREED))
    assert evaluator.take(fork.use(3, AGREED)).status == "conflict"
    assert evaluator.missing == {2}


def test_after_a_conflict_counting_goes_on_with_a_gap(counter: Reporter, evaluator: Evaluator) -> None:
    evaluator.take(counter.use(5, AGREED))
    counter.previous = bytes([7]) * 32
    evaluator.take(counter.use(1, AGREED))
    assert evaluator.take(counter.use(1, AGREED)).status == "gap"
    assert evaluator.charged() == 7


def test_a_new_epoch_may_begin_without_memory_of_the_report_before(counter: Reporter, evaluator: Evaluator) -> None:
    evaluator.take(counter.use(5, AGREED))
    counter.reset()
    counter.previous = NO_REPORT
    assert evaluator.take(counter.use(2, AGREED)).status == "reset"
    assert evaluator.charged() == 7


@pytest.mark.parametrize(
    "samples",
    [
        [(NOVEMBER_END, 1), (OCTOBER_END, 2)],
        [(OCTOBER_END, 1), (OCTOBER_END, 2)],
        [(OCTOBER_END, 3), (NOVEMBER_END, 2)],
        [(OCTOBER_END, 6)],
        [(NOVEMBER_END + timedelta(days=9), 5)],
    ],
)
def test_samples_that_cannot_be_are_refused(
    counter: Reporter, evaluator: Evaluator, samples: list[tuple[datetime, int]]
) -> None:
    result = evaluator.take(counter.use(5, NOVEMBER_END + timedelta(days=2), samples))
    assert result.status == "refused"
    assert evaluator.charged() == 0


@pytest.mark.requirement("S15")
def test_use_before_a_cut_over_belongs_to_the_earlier_period_though_reported_later(
    counter: Reporter, evaluator: Evaluator
) -> None:
    samples = [(OCTOBER_END, 3), (NOVEMBER_END, 8)]
    evaluator.take(counter.use(10, NOVEMBER_END + timedelta(days=5), samples))
    periods = [(name, piece.start, piece.end) for name, piece in by_period(evaluator.pieces, BERLIN)]
    assert periods == [("2026-10", 0, 3), ("2026-11", 3, 8), ("2026-12", 8, 10)]


def test_use_across_a_cut_over_without_sample_belongs_to_the_period_in_which_it_ends(
    counter: Reporter, evaluator: Evaluator
) -> None:
    evaluator.take(counter.use(2, OCTOBER_END - timedelta(days=9)))
    evaluator.take(counter.use(10, NOVEMBER_END + timedelta(days=5), [(NOVEMBER_END, 8)]))
    periods = [(name, piece.start, piece.end) for name, piece in by_period(evaluator.pieces, BERLIN)]
    assert periods == [("2026-10", 0, 2), ("2026-11", 2, 8), ("2026-12", 8, 12)]


def test_pieces_of_one_period_are_put_together(counter: Reporter, evaluator: Evaluator) -> None:
    samples = [(OCTOBER_END - timedelta(days=2), 3), (OCTOBER_END - timedelta(days=1), 8)]
    evaluator.take(counter.use(9, OCTOBER_END - timedelta(hours=1), samples))
    assert [(name, piece.quantity) for name, piece in by_period(evaluator.pieces, BERLIN)] == [("2026-10", 9)]


def test_a_terminals_clock_cannot_move_use_out_of_the_time_between_agreement_and_receipt(
    counter: Reporter, evaluator: Evaluator
) -> None:
    evaluator.take(counter.use(1, datetime(1999, 1, 1, tzinfo=UTC)))
    evaluator.take(counter.use(1, datetime(2222, 1, 1, tzinfo=UTC)))
    assert [piece.at for piece in evaluator.pieces] == [AGREED, NOW]


STEPS = st.lists(
    st.one_of(st.tuples(st.just("use"), st.integers(0, 20)), st.tuples(st.just("reset"), st.just(0))), max_size=12
)


@pytest.mark.requirement("S15")
@given(STEPS, st.data())
def test_every_unit_that_some_report_tells_is_charged_once(steps: list[tuple[str, int]], data: st.DataObject) -> None:
    counter, evaluator = Reporter(), Evaluator()
    reports, at = [], AGREED
    for step, units in steps:
        at += timedelta(days=11)
        if step == "reset":
            counter.reset()
        else:
            reports.append(counter.use(units, at))
    arriving = data.draw(st.lists(st.sampled_from(reports), max_size=30)) if reports else []
    for report in arriving:
        assert evaluator.take(report).status in ("accepted", "duplicate", "gap", "reset")

    told: dict[int, int] = {}
    for report in arriving:
        told[report.epoch] = max(told.get(report.epoch, 0), report.value)
    charged: dict[int, list[tuple[int, int]]] = {}
    for piece in evaluator.pieces:
        charged.setdefault(piece.epoch, []).append((piece.start, piece.end))
    for epoch, highest in told.items():
        ranges = charged.get(epoch, [])
        units = sorted(unit for start, end in ranges for unit in range(start + 1, end + 1))
        assert units == list(range(1, highest + 1))
    arrived = {report.sequence for report in arriving}
    assert evaluator.missing == set(range(1, max(arrived, default=0) + 1)) - arrived


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 6), st.integers(0, 9)), max_size=12))
def test_whatever_is_claimed_no_unit_is_charged_twice(claims: list[tuple[int, int, int]]) -> None:
    evaluator = Evaluator()
    for epoch, sequence, value in claims:
        evaluator.take(Reporter(epoch=epoch, value=value, sequence=sequence - 1).report(AGREED))
    units = [(piece.epoch, unit) for piece in evaluator.pieces for unit in range(piece.start + 1, piece.end + 1)]
    assert len(units) == len(set(units))
