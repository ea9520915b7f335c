"""Application counters: within the grant, reported once, repeatable."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from terminal_fakes import CONFIGURATION, DAY, FakeServer, Pair, entry, make_trust
from test_terminal_dialogue import buy

from signalling.documents import NO_REPORT, CounterReport, decode_document, document_digest
from terminal_sim import counters
from terminal_sim import state as states
from terminal_sim.counters import UseRefused
from terminal_sim.trust import Identity


@pytest.fixture
def bought(pair: Pair) -> tuple[Pair, str]:
    pair.server.offers = [entry()]
    pair.connect()
    return pair, buy(pair).granted().installation


def reports(pair: Pair, now: int, **options: Any) -> list[CounterReport]:
    signed = counters.report(pair.state, now, **options)
    return [decode_document(CounterReport, one.document) for one in signed]


@pytest.mark.requirement("S15")
def test_use_stops_at_the_ceiling_and_counts_nothing_beyond(bought: tuple[Pair, str]) -> None:
    pair, installation = bought
    assert counters.use(pair.state, installation, 5, pair.server.now) == 5
    with pytest.raises(UseRefused, match="0 left") as refused:
        counters.use(pair.state, installation, 1, pair.server.now)
    assert refused.value.code == "ceiling"
    assert pair.state.counters[installation, "uses"].value == 5


def test_use_stops_when_the_grant_ends_or_a_report_is_overdue(bought: tuple[Pair, str]) -> None:
    pair, installation = bought
    start = pair.server.now
    with pytest.raises(UseRefused) as refused:
        counters.use(pair.state, installation, 1, start + 35 * DAY)
    assert refused.value.code == "overdue"
    counters.report(pair.state, start + 35 * DAY, everything=True)
    counters.use(pair.state, installation, 1, start + 36 * DAY)
    with pytest.raises(UseRefused) as refused:
        counters.use(pair.state, installation, 1, start + 45 * DAY)
    assert refused.value.code == "ended"


def test_what_is_not_installed_cannot_be_used(bought: tuple[Pair, str]) -> None:
    pair, _ = bought
    with pytest.raises(UseRefused, match="not installed"):
        counters.use(pair.state, "other", 1, pair.server.now)


@pytest.mark.requirement("S15")
def test_a_report_that_is_not_acknowledged_is_sent_again_byte_for_byte(bought: tuple[Pair, str]) -> None:
    pair, installation = bought
    now = pair.server.now
    counters.use(pair.state, installation, 1, now)
    (first,) = counters.report(pair.state, now + 1)
    assert counters.report(pair.state, now + 2) == [first]
    counters.use(pair.state, installation, 2, now + 3)
    again, second = counters.report(pair.state, now + 4)
    assert again == first
    document = decode_document(CounterReport, second.document)
    assert (document.sequence, document.value) == (2, 3)
    assert document.previous == document_digest(first.document)


def test_samples_hold_what_was_used_before_each_cut_over(bought: tuple[Pair, str]) -> None:
    pair, installation = bought
    now = pair.server.now
    counters.use(pair.state, installation, 1, now + 10)
    counters.use(pair.state, installation, 1, now + 20)
    counters.use(pair.state, installation, 2, now + 30)
    counters.announce(pair.state, [now + 5, now + 20, now + 25, now + 40, now + 99], now + 41)
    (report,) = reports(pair, now + 50)
    assert report.samples == [(now + 5, 0), (now + 20, 1), (now + 25, 2), (now + 40, 4)]
    assert reports(pair, now + 120)[-1].samples == [(now + 99, 4)]


def test_after_a_reset_a_new_epoch_counts_from_zero_and_the_sequence_goes_on(bought: tuple[Pair, str]) -> None:
    pair, installation = bought
    now = pair.server.now
    counters.use(pair.state, installation, 3, now)
    counters.report(pair.state, now + 1)
    counters.reset(pair.state, installation, now + 2)
    with pytest.raises(UseRefused) as refused:
        counters.use(pair.state, installation, 1, now + 3)
    assert refused.value.code == "no_grant"
    old, new = reports(pair, now + 4)
    assert (old.epoch, old.sequence, old.value) == (0, 1, 3)
    assert (new.epoch, new.sequence, new.value) == (1, 2, 0)
    pair.server.now += 5
    pair.dialogue.report(pair.server.now)
    pair.pump()
    assert counters.use(pair.state, installation, 1, pair.server.now) == 1


def test_without_news_nothing_is_reported_until_the_grant_wants_renewal(bought: tuple[Pair, str]) -> None:
    pair, _ = bought
    assert reports(pair, pair.server.now + 1) == []
    assert len(reports(pair, pair.server.now + 20 * DAY)) == 1


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("use"), st.integers(1, 9)),
            st.tuples(st.just("report"), st.booleans()),
            st.tuples(st.just("cut"), st.integers(0, 50)),
            st.tuples(st.just("reset"), st.none()),
        ),
        max_size=40,
    )
)
def test_the_chain_of_reports_never_breaks(tmp_path_factory: pytest.TempPathFactory, steps: list[Any]) -> None:
    server = FakeServer(ceiling=10**9)
    identity = Identity.new("T-1")
    server.terminals["T-1"] = identity.public_key
    state = states.in_memory(identity, make_trust(server), CONFIGURATION, tmp_path_factory.getbasetemp(), server.now)
    pair = Pair(server, state)
    server.offers = [entry()]
    pair.connect()
    installation = buy(pair).granted().installation
    now = server.now
    for kind, value in steps:
        now += 10
        if kind == "use":
            with contextlib.suppress(UseRefused):
                counters.use(state, installation, value, now)
        elif kind == "report" and value:
            server.now = now
            pair.dialogue.report(now)
            pair.pump()
        elif kind == "report":
            counters.report(state, now)
        elif kind == "cut":
            counters.announce(state, [now - value], now)
        else:
            counters.reset(state, installation, now)
    kept = [line for line in state.journal.load() if type(line).__name__ == "Reported"]
    previous, epoch, at, value = NO_REPORT, 0, 0, 0
    for sequence, line in enumerate(kept, 1):
        report = decode_document(CounterReport, line.report.document)
        assert (report.sequence, report.previous) == (sequence, previous)
        assert report.epoch >= epoch
        assert report.at >= at
        floor = value if report.epoch == epoch else 0
        assert report.samples == sorted(report.samples)
        for instant, sampled in report.samples:
            assert at < instant <= report.at
            assert floor <= sampled <= report.value
            floor = sampled
        assert report.value >= floor
        previous, epoch, at, value = document_digest(line.report.document), report.epoch, report.at, report.value
