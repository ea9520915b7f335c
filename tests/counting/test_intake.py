"""Counter reports as rows: stored raw, charged once, answered with grants."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from counting_samples import (
    AGREED,
    OCTOBER_END,
    SETTINGS,
    TERMINAL_KEY,
    House,
    Meterer,
    add_customer,
    add_installation,
    add_terminal,
    charges,
    left,
    opened,
    tariff,
    visitor,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, func, select, update

from charging.rating import RatingState
from charging.tariffs import rate_usage
from operator_server.counting.desk import cut_overs_due
from operator_server.counting.intake import present
from operator_server.desk import Visitor
from operator_server.store.accounting import BillRun, CounterGap, CounterReportRow, UsageGrantRow
from operator_server.store.dealings import Agreement
from operator_server.store.parties import Event, Notice, TerminalKey
from operator_server.store.rows import add, table
from signalling.clock import to_micros
from signalling.messages import CounterReports, Signed
from signalling.proof import public_bytes

DAY = timedelta(days=1)
CENT = 10_000


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def connection(house: House) -> Iterator[Connection]:
    with house.writing() as connection:
        add_customer(connection)
        add_terminal(connection)
        add_installation(connection, house.version)
        yield connection


@pytest.fixture
def counter() -> Meterer:
    return Meterer()


@pytest.mark.requirement("S15")
def test_what_is_reported_twice_is_charged_once(house: House, connection: Connection, counter: Meterer) -> None:
    report = counter.use(14, AGREED + DAY)
    assert house.take(connection, AGREED + DAY, report).outcomes[0].status == "accepted"
    assert house.take(connection, AGREED + 2 * DAY, report).outcomes[0].status == "duplicate"
    assert house.take(connection, AGREED + 2 * DAY, report, report).outcomes[1].status == "duplicate"
    [charge] = charges(connection)
    assert (charge.counter_from, charge.counter_to, charge.quantity, charge.included) == (0, 14, 14, 10)
    assert charge.net == 4 * 5 * CENT
    assert charge.period == "2026-10"


def test_the_report_is_stored_exactly_as_it_came(house: House, connection: Connection, counter: Meterer) -> None:
    report = counter.use(3, AGREED + DAY)
    house.take(connection, AGREED + DAY, report)
    row = connection.execute(select(table(CounterReportRow))).one()
    assert (row.document, row.signature, row.status) == (report.document, report.signature, "accepted")


@pytest.mark.requirement("S15")
def test_pieces_cost_what_the_whole_would(house: House, connection: Connection, counter: Meterer) -> None:
    for _ in range(7):
        house.take(connection, AGREED + DAY, counter.use(3, AGREED + DAY))
    assert sum(charge.net for charge in charges(connection)) == (21 - 10) * 5 * CENT


@pytest.mark.requirement("S15")
def test_what_was_lost_shows_as_a_gap_that_closes_when_it_comes_late(
    house: House, connection: Connection, counter: Meterer
) -> None:
    house.take(connection, AGREED + DAY, counter.use(10, AGREED + DAY))
    lost = [counter.use(1, AGREED + DAY) for _ in range(3)]
    noted = house.take(connection, AGREED + 2 * DAY, counter.use(2, AGREED + 2 * DAY))
    assert noted.outcomes[0].status == "gap"
    assert _gaps(connection) == [(2, 4, False)]
    house.take(connection, AGREED + 3 * DAY, lost[1])
    assert _gaps(connection) == [(2, 2, False), (3, 3, True), (4, 4, False)]
    house.take(connection, AGREED + 3 * DAY, lost[0], lost[2])
    assert _gaps(connection) == [(2, 2, True), (3, 3, True), (4, 4, True)]
    assert sum(charge.quantity for charge in charges(connection)) == 15


def _gaps(connection: Connection) -> list[tuple[int, int, bool]]:
    rows = connection.execute(select(table(CounterGap)).order_by(table(CounterGap).c.first_sequence))
    return [(row.first_sequence, row.last_sequence, row.closed_at is not None) for row in rows]


@pytest.mark.requirement("S15")
def test_after_a_reset_both_epochs_are_charged_once(house: House, connection: Connection, counter: Meterer) -> None:
    house.take(connection, AGREED + DAY, counter.use(8, AGREED + DAY))
    counter.reset()
    noted = house.take(connection, AGREED + DAY, counter.use(8, AGREED + DAY))
    assert noted.outcomes[0].status == "reset"
    assert [grant.epoch for grant in opened(noted.usage)] == [1]
    assert [(c.epoch, c.counter_from, c.counter_to, c.net) for c in charges(connection)] == [
        (0, 0, 8, 0),
        (1, 0, 8, 6 * 5 * CENT),
    ]


def test_a_conflict_is_stored_and_answered_the_same_again_and_charges_nothing(
    house: House, connection: Connection, counter: Meterer
) -> None:
    house.take(connection, AGREED + DAY, counter.use(8, AGREED + DAY))
    forged = Meterer().use(90, AGREED + DAY)
    for _ in range(2):
        noted = house.take(connection, AGREED + DAY, forged)
        assert (noted.outcomes[0].status, noted.usage) == ("conflict", [])
    assert sum(charge.quantity for charge in charges(connection)) == 8
    kinds = connection.execute(select(table(Event).c.kind)).scalars().all()
    assert kinds.count("counter_conflict") == 1


@pytest.mark.requirement("S15")
def test_use_before_the_cut_over_belongs_to_the_earlier_month_with_its_included_units(
    house: House, connection: Connection, counter: Meterer
) -> None:
    later = OCTOBER_END + 5 * DAY
    house.take(connection, later, counter.use(25, later, (OCTOBER_END, 12)))
    assert [(c.period, c.quantity, c.included, c.net) for c in charges(connection)] == [
        ("2026-10", 12, 10, 2 * 5 * CENT),
        ("2026-11", 13, 10, 3 * 5 * CENT),
    ]


def test_late_use_of_a_billed_month_goes_onto_the_open_one(
    house: House, connection: Connection, counter: Meterer
) -> None:
    add(connection, BillRun(id="run", period="2026-10", until_at=OCTOBER_END, started_at=OCTOBER_END, state="done"))
    later = OCTOBER_END + 5 * DAY
    house.take(connection, later, counter.use(25, later, (OCTOBER_END, 12)))
    assert [(c.period, c.effective_at) for c in charges(connection)] == [
        ("2026-10", OCTOBER_END),
        ("2026-11", later),
    ]


def test_included_units_of_the_agreement_count_over_all_months() -> None:
    house = House(tariff(included_per="agreement"))
    with house.writing() as connection:
        add_customer(connection)
        add_terminal(connection)
        add_installation(connection, house.version)
        later = OCTOBER_END + 5 * DAY
        house.take(connection, later, Meterer().use(25, later, (OCTOBER_END, 12)))
        assert [charge.net for charge in charges(connection)] == [2 * 5 * CENT, 13 * 5 * CENT]


def test_a_report_for_an_installation_of_another_terminal_is_refused_and_not_stored(
    house: House, connection: Connection, counter: Meterer
) -> None:
    stranger = Visitor("T-2", "acc-1", "acc-1", frozenset(), "en", public_bytes(TERMINAL_KEY))
    noted = house.take(connection, AGREED + DAY, counter.use(8, AGREED + DAY), by=stranger)
    assert noted.outcomes[0].status == "refused"
    assert connection.execute(select(func.count()).select_from(table(CounterReportRow))).scalar() == 0


def test_a_report_under_a_wrong_key_is_refused(house: House, connection: Connection, counter: Meterer) -> None:
    counter.key = Ed25519PrivateKey.generate()
    assert house.take(connection, AGREED, counter.use(8, AGREED)).outcomes[0].status == "refused"
    assert charges(connection) == []


def test_a_report_signed_with_the_key_that_held_then_counts(
    house: House, connection: Connection, counter: Meterer
) -> None:
    old = Ed25519PrivateKey.generate()
    add(
        connection,
        TerminalKey(
            id="old", terminal_id="T-1", public_key=public_bytes(old), valid_from=AGREED, valid_to=AGREED + 9 * DAY
        ),
    )
    counter.key = old
    reports = [counter.use(1, AGREED + DAY), counter.use(1, AGREED + 9 * DAY)]
    noted = house.take(connection, AGREED + 20 * DAY, *reports)
    assert [outcome.status for outcome in noted.outcomes] == ["accepted", "refused"]


def test_a_counter_that_nobody_pays_by_is_kept_and_not_charged(
    house: House, connection: Connection, counter: Meterer
) -> None:
    counter.counter = "starts"
    noted = house.take(connection, AGREED, counter.use(50, AGREED))
    assert (noted.outcomes[0].status, noted.usage, charges(connection)) == ("accepted", [], [])


def test_a_use_that_no_ledger_can_hold_is_refused() -> None:
    house = House(tariff(price={"model": "per_unit", "amount": "9000.00"}))
    with house.writing() as connection:
        add_customer(connection)
        add_terminal(connection)
        add_installation(connection, house.version)
        noted = house.take(connection, AGREED, Meterer().use(2**53 - 1, AGREED))
        assert noted.outcomes[0].status == "refused"
        assert charges(connection) == []


# Use granted ahead.


def test_the_first_grant_is_the_tariffs_portion_and_reserves_what_it_may_cost(
    house: House, connection: Connection
) -> None:
    before = left(connection)
    [grant] = house.first(connection)
    assert (grant.epoch, grant.ceiling, grant.counter) == (0, 20, "uses")
    assert before is not None
    assert left(connection) == before - 10 * 5 * CENT
    assert house.first(connection, AGREED + timedelta(hours=1)) == [grant]


def test_a_new_grant_replaces_the_old_one_and_its_reservation(
    house: House, connection: Connection, counter: Meterer
) -> None:
    house.first(connection)
    noted = house.take(connection, AGREED + DAY, counter.use(12, AGREED + DAY))
    assert [grant.ceiling for grant in opened(noted.usage)] == [32]
    assert left(connection) == 200_000_000 - 2 * 5 * CENT - 20 * 5 * CENT
    states = connection.execute(select(table(UsageGrantRow).c.state)).scalars().all()
    assert sorted(states) == ["open", "replaced"]


def test_a_duplicate_gets_the_grant_again_that_it_got_before(
    house: House, connection: Connection, counter: Meterer
) -> None:
    report = counter.use(12, AGREED + DAY)
    first = house.take(connection, AGREED + DAY, report)
    again = house.take(connection, AGREED + 2 * DAY, report)
    assert first.usage == again.usage != []


def test_a_grant_stays_within_the_spending_limit(house: House, connection: Connection) -> None:
    add_installation(connection, house.version, "inst-2", limit="0.22")
    [grant] = house.first(connection, installation="inst-2")
    assert grant.ceiling == 10 + 4
    counter = Meterer("inst-2")
    noted = house.take(connection, AGREED + DAY, counter.use(14, AGREED + DAY))
    assert noted.usage == []
    notice = connection.execute(select(table(Notice))).one()
    assert (notice.kind, notice.state, notice.terminal_id) == ("charge", "spending_limit", "T-1")
    assert "2026-11-01" in notice.text
    november = house.take(connection, OCTOBER_END + DAY, counter.use(0, OCTOBER_END + DAY))
    assert [grant.ceiling for grant in opened(november.usage)] == [28]


def test_a_grant_stays_within_the_credit_that_is_left() -> None:
    house = House()
    with house.writing() as connection:
        add_customer(connection, credit="0.12")
        add_terminal(connection)
        add_installation(connection, house.version)
        [grant] = house.first(connection)
        assert grant.ceiling == 12
        assert left(connection) == 2 * CENT
        counter = Meterer()
        assert house.take(connection, AGREED + DAY, counter.use(12, AGREED + DAY)).usage == []
        house.take(connection, AGREED + 2 * DAY, counter.use(0, AGREED + 2 * DAY))
        [notice] = connection.execute(select(table(Notice))).all()
        assert (notice.kind, notice.state) == ("authorization", "no_credit")


def test_grants_of_one_message_share_the_credit() -> None:
    house = House(tariff(included=0))
    with house.writing() as connection:
        add_customer(connection, credit="1.50")
        add_terminal(connection)
        for name in ("inst-1", "inst-2"):
            add_installation(connection, house.version, name)
        noted = house.take(connection, AGREED, Meterer("inst-1").use(0, AGREED), Meterer("inst-2").use(0, AGREED))
        assert sorted(grant.ceiling for grant in opened(noted.usage)) == [10, 20]
        assert left(connection) == 0


def test_messages_of_many_terminals_taken_together_fare_as_they_would_alone() -> None:
    results = []
    for together in (True, False):
        house = House()
        with house.writing() as own:
            add_terminal(own)
            for number in range(3):
                add_customer(own, f"acc-{number}", credit="0.60")
                add_installation(own, house.version, f"inst-{number}", account=f"acc-{number}")
            visitors = [visitor(f"acc-{number}") for number in range(3)]
            counters = [Meterer(f"inst-{number}") for number in range(3)]
            for step in range(3):
                messages = [
                    present(who, CounterReports([counter.use(step + number, AGREED + DAY)]))
                    for number, (who, counter) in enumerate(zip(visitors, counters, strict=True))
                ]
                if together:
                    noted = house.take_all(own, AGREED + DAY, *messages)
                else:
                    noted = [house.take_all(own, AGREED + DAY, message)[0] for message in messages]
                results.append([(each.outcomes, [grant.ceiling for grant in opened(each.usage)]) for each in noted])
            results.append([(c.installation_id, c.counter_to, c.net) for c in charges(own)])
    assert results[:4] == results[4:]


def test_use_beyond_the_credit_is_charged_all_the_same() -> None:
    house = House(tariff(included=0))
    with house.writing() as connection:
        add_customer(connection, credit="0.10")
        add_terminal(connection)
        add_installation(connection, house.version)
        noted = house.take(connection, AGREED, Meterer().use(9, AGREED))
        assert (noted.outcomes[0].status, noted.usage) == ("accepted", [])
        assert left(connection) == 10 * CENT - 45 * CENT


def test_who_has_the_terminal_now_gets_no_use_that_another_pays(
    house: House, connection: Connection, counter: Meterer
) -> None:
    add_customer(connection, "acc-2")
    noted = house.take(connection, AGREED, counter.use(3, AGREED), by=visitor("acc-2"))
    assert (noted.outcomes[0].status, noted.usage) == ("accepted", [])


def test_an_ended_agreement_gets_no_use(house: House, connection: Connection, counter: Meterer) -> None:
    connection.execute(update(table(Agreement)).values(state="ended"))
    assert house.take(connection, AGREED, counter.use(3, AGREED)).usage == []
    assert house.first(connection) == []


def test_a_report_ends_the_grant_of_what_may_no_longer_be_used(
    house: House, connection: Connection, counter: Meterer
) -> None:
    house.first(connection)
    connection.execute(update(table(Agreement)).values(state="ended"))
    house.take(connection, AGREED, counter.use(12, AGREED))
    assert left(connection) == 200_000_000 - 2 * 5 * CENT


def test_released_grants_give_back_what_they_reserved(house: House, connection: Connection) -> None:
    before = left(connection)
    house.first(connection)
    house.grants.release(connection, "inst-1", AGREED)
    assert left(connection) == before


def test_delivery_paid_once_gets_no_usage_grant(house: House, connection: Connection) -> None:
    add_installation(connection, house.version, "inst-2", kind="one_off")
    assert house.first(connection, installation="inst-2") == []


def test_cut_overs_are_announced_from_the_last_report_to_the_next_period_end(
    house: House, connection: Connection, counter: Meterer
) -> None:
    zone = SETTINGS.operator.zone
    december = datetime(2026, 12, 5, tzinfo=UTC)
    ends = [datetime(2026, month, day, 23, tzinfo=UTC) for month, day in ((10, 31), (11, 30), (12, 31))]
    assert cut_overs_due(connection, "T-1", december, zone) == [to_micros(end) for end in ends]
    house.take(connection, december, counter.use(3, december))
    assert cut_overs_due(connection, "T-1", december, zone) == [to_micros(ends[-1])]
    assert cut_overs_due(connection, "T-2", december, zone) == []


def test_the_feed_tells_what_was_counted_and_charged(house: House, connection: Connection, counter: Meterer) -> None:
    counter.use(1, AGREED)
    house.take(connection, AGREED, counter.use(13, AGREED))
    kinds = connection.execute(select(table(Event).c.kind)).scalars().all()
    assert sorted(kinds) == ["charged", "counter_gap", "counter_reported"]


STEPS = st.lists(
    st.one_of(st.integers(0, 25).map(lambda units: ("use", units)), st.just(("reset", 0)), st.just(("month", 0))),
    max_size=10,
)


@pytest.mark.requirement("S15")
@settings(max_examples=60, deadline=None)
@given(STEPS, st.data())
def test_the_charges_are_the_rate_of_all_that_was_told_whatever_happened_to_the_reports(
    shared_house: House, steps: list[tuple[str, int]], data: st.DataObject
) -> None:
    house, counter, at = shared_house, Meterer(), AGREED
    reports: list[tuple[Signed, int, int]] = []
    for step, units in steps:
        at += DAY
        if step == "reset":
            counter.reset()
        elif step == "month":
            at += 31 * DAY
        else:
            reports.append((counter.use(units, at), counter.epoch, counter.value))
    arriving = data.draw(st.lists(st.sampled_from(reports), max_size=16)) if reports else []
    told: dict[int, int] = {}
    connection = house.engine.connect()
    transaction = connection.begin()
    try:
        add_customer(connection)
        add_terminal(connection)
        add_installation(connection, house.version)
        while arriving:
            count = data.draw(st.integers(1, 4))
            portion, arriving = arriving[:count], arriving[count:]
            cut = data.draw(st.integers(0, len(portion)))
            messages = [CounterReports([report for report, _, _ in part]) for part in (portion[:cut], portion[cut:])]
            for noted in house.take_all(connection, at + DAY, *(present(house.visitor, each) for each in messages)):
                assert not {outcome.status for outcome in noted.outcomes} & {"conflict", "refused"}
            for _, epoch, value in portion:
                told[epoch] = max(told.get(epoch, 0), value)
        made = charges(connection)
        for epoch, highest in told.items():
            pieces = [(charge.counter_from, charge.counter_to) for charge in made if charge.epoch == epoch]
            assert pieces == list(zip([0, *(end for _, end in pieces)], [end for _, end in pieces], strict=False))
            assert (pieces[-1][1] if pieces else 0) == highest
        for period in {charge.period for charge in made}:
            of_period = [charge for charge in made if charge.period == period]
            whole = rate_usage(house.version, sum(charge.quantity for charge in of_period), RatingState())
            assert sum(charge.net for charge in of_period) == whole.cost_micros
    finally:
        transaction.rollback()
        connection.close()


@pytest.fixture(scope="module")
def shared_house() -> House:
    return House()
