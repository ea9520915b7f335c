"""Credit that expires, thresholds, limits and barring."""

from __future__ import annotations

from datetime import timedelta

import pytest
from balance_samples import DAY, EURO, HOUR, NOW, Purse, use
from hypothesis import given, settings
from hypothesis import strategies as st

from charging.balances.credits import Credit, settle
from charging.balances.tables import Barring
from charging.ledger.operations import Charge as LedgerCharge
from charging.ledger.operations import Declined, Reserve
from operator_server.balances.barring import bar, barred, unbar
from operator_server.balances.buckets import add_bucket, adjust_bucket
from operator_server.balances.money import adjust, credits_of, pay_out, set_limit
from operator_server.balances.once import BalanceError
from operator_server.balances.thresholds import add_threshold, refill, remove_threshold

CROSSED = "threshold_crossed"


def left(purse: Purse) -> dict[str, int]:
    with purse.engine.connect() as connection:
        return {credit.id: credit.remaining for credit in credits_of(connection, "acc-1", "EUR", purse.now)}


def test_the_same_top_up_is_done_once_and_another_of_its_id_is_an_error(purse: Purse) -> None:
    first = purse.top_up(EURO)
    purse.now += HOUR
    assert purse.top_up(EURO) == first
    assert purse.prepaid() == EURO
    with pytest.raises(BalanceError, match="id t-1: was a top_up with other content"):
        purse.top_up(2 * EURO)
    with pytest.raises(BalanceError, match="id t-1: was a top_up with other content"):
        purse.do(pay_out, "acc-1", EURO, id="t-1")


def test_what_expires_first_is_spent_first_and_the_rest_of_it_expires(purse: Purse) -> None:
    for_good = purse.top_up(20_000, "a")["transfer"]
    soon = purse.top_up(20_000, "b", valid_until=NOW + DAY)["transfer"]
    purse.do(purse.desk.consume, "u", use(75))
    assert left(purse) == {soon: 20_000 - 9282, for_good: 20_000}
    purse.now = NOW + DAY
    assert purse.expire()["credits"] == 1
    assert (purse.prepaid(), left(purse)) == (20_000, {for_good: 20_000})
    (event,) = purse.events("credit_expired")
    assert event.data["amount"] == 20_000 - 9282


def test_reserved_credit_expires_only_when_it_is_given_back(purse: Purse) -> None:
    purse.top_up(20_000, valid_until=NOW + DAY)
    purse.do(purse.desk.reserve_usage, "r", use(75), 3 * DAY)
    purse.now = NOW + DAY
    assert purse.expire()["credits"] == 0
    assert purse.prepaid() == 9282
    purse.do(purse.desk.release_usage, "x", "r")
    assert purse.expire()["credits"] == 1
    assert purse.prepaid() == 0


def test_credit_that_covers_a_debt_expires_only_when_that_is_paid(purse: Purse) -> None:
    purse.top_up(20_000, valid_until=NOW + DAY)
    purse.top_up(30_000, "other", "acc-2", valid_until=NOW + DAY)
    purse.do(purse.desk.consume, "u", use(75, pays="unbilled"))
    purse.now = NOW + DAY
    purse.expire()
    assert (purse.prepaid(), purse.available(), purse.prepaid("acc-2")) == (7800, 0, 0)
    purse.do(set_limit, "acc-1", EURO)
    assert purse.expire()["credits"] == 1
    assert purse.prepaid() == 0


def test_a_top_up_after_an_overdraft_makes_up_for_it_first(purse: Purse) -> None:
    purse.do(purse.desk.consume, "u", use(75, pays="pseudo_prepaid"))
    purse.top_up(10_000, valid_until=NOW + DAY)
    assert list(left(purse).values()) == [718]
    purse.now = NOW + DAY
    purse.expire()
    assert purse.prepaid() == 0


@given(
    spends=st.lists(st.integers(0, 50), max_size=8),
    credits=st.lists(st.tuples(st.integers(1, 60), st.none() | st.integers(1, 5)), min_size=1, max_size=5),
)
@settings(max_examples=100)
def test_settling_once_or_after_each_spend_leaves_the_same(
    spends: list[int], credits: list[tuple[int, int | None]]
) -> None:
    start = [
        Credit(str(number), amount, None if days is None else NOW + timedelta(days=days), NOW)
        for number, (amount, days) in enumerate(credits)
    ]
    total = balance = sum(credit.remaining for credit in start)
    stepwise = start
    for spend in spends:
        balance -= min(spend, balance)
        stepwise, extra = settle(stepwise, balance)
        assert extra == 0
    at_once, _ = settle(start, balance)
    assert at_once == settle(stepwise, balance)[0]
    assert sum(credit.remaining for credit in at_once) == balance <= total


def test_a_threshold_is_told_once_a_crossing_in_the_same_transaction(purse: Purse) -> None:
    purse.top_up(EURO)
    purse.do(add_threshold, "acc-1", id="low", sense="below", value=990_000)
    purse.do(purse.desk.consume, "u-1", use(60))
    assert purse.events(CROSSED) == []
    with purse.engine.connect() as connection:
        purse.desk.consume(connection, "u-2", use(60), purse.now)
        connection.rollback()
    assert purse.events(CROSSED) == []
    for number in range(3):
        purse.do(purse.desk.consume, f"u-{number + 3}", use(60))
    (event,) = purse.events(CROSSED)
    assert (event.reference, event.account_id, event.data["left"]) == ("low", "acc-1", EURO - 2 * 7140)
    purse.do(adjust, "acc-1", EURO, id="up", reason="test")
    purse.do(pay_out, "acc-1", EURO, id="down")
    assert len(purse.events(CROSSED)) == 2


def test_reservations_and_their_expiry_cross_thresholds_too(purse: Purse) -> None:
    purse.top_up(EURO)
    purse.do(add_threshold, "acc-1", id="low", sense="below", value=995_000)
    for number in range(2):
        purse.do(purse.desk.reserve_usage, f"r-{number}", use(75), HOUR)
        assert len(purse.events(CROSSED)) == number + 1
        purse.now += HOUR
        purse.expire()


def test_a_percentage_is_of_what_there_was_after_the_last_top_up(purse: Purse) -> None:
    purse.top_up(100_000)
    purse.do(add_threshold, "acc-1", id="fifth", sense="below", value=20_00, percent=True)
    purse.do(add_threshold, "acc-1", id="used", sense="above", value=50_00, percent=True)
    purse.do(pay_out, "acc-1", 50_000, id="p-1")
    assert purse.events(CROSSED) == []
    purse.do(pay_out, "acc-1", 1, id="p-2")
    assert [event.reference for event in purse.events(CROSSED)] == ["used"]
    purse.do(pay_out, "acc-1", 30_000, id="p-3")
    assert sorted(event.reference for event in purse.events(CROSSED)) == ["fifth", "used"]
    purse.top_up(80_001, "t-2")
    purse.do(pay_out, "acc-1", 81_000, id="p-4")
    assert sorted(event.reference for event in purse.events(CROSSED)) == ["fifth", "fifth", "used", "used"]


def test_thresholds_of_a_bucket_watch_its_units(purse: Purse) -> None:
    purse.do(add_bucket, "acc-1", "second", 100, id="b")
    purse.do(add_threshold, "acc-1", id="t", sense="above", value=80_00, percent=True, bucket="b")
    purse.do(purse.desk.consume, "u-1", use(80, tariff=""))
    assert purse.events(CROSSED) == []
    purse.do(purse.desk.consume, "u-2", use(1, tariff=""))
    (event,) = purse.events(CROSSED)
    assert (event.data["bucket"], event.data["left"]) == ("b", 19)
    purse.do(adjust_bucket, "b", 100, id="more", reason="gift")
    purse.do(purse.desk.consume, "u-3", use(100, tariff=""))
    assert len(purse.events(CROSSED)) == 2


def test_one_that_is_crossed_already_is_told_at_once_and_one_removed_no_more(purse: Purse) -> None:
    purse.do(add_threshold, "acc-1", id="low", sense="below", value=1)
    assert len(purse.events(CROSSED)) == 1
    with purse.writing() as connection:
        remove_threshold(connection, "low")
    purse.top_up(10)
    purse.do(pay_out, "acc-1", 10, id="p")
    assert len(purse.events(CROSSED)) == 1


def test_another_limit_crosses_a_threshold(purse: Purse) -> None:
    purse.do(set_limit, "acc-1", EURO)
    purse.do(add_threshold, "acc-1", id="low", sense="below", value=EURO)
    assert purse.events(CROSSED) == []
    purse.do(set_limit, "acc-1", EURO - 1)
    assert len(purse.events(CROSSED)) == 1
    with purse.writing() as connection:
        refill(connection, "acc-1", "EUR", purse.now)
    assert len(purse.events(CROSSED)) == 1


def test_the_ledger_declines_what_is_checked_of_a_barred_account(purse: Purse) -> None:
    from charging.ledger.book import apply
    from signalling.clock import to_micros

    purse.do(set_limit, "acc-1", EURO)
    purse.do(bar, "account", "acc-1", "fraud")
    asked = {"source": "test", "owner": "acc-1", "amount": 1, "currency": "EUR"}
    with purse.writing() as connection:
        reserve, checked, owed = apply(
            connection,
            [
                Reserve(op_id="1", expires_at=NOW + DAY, **asked),
                LedgerCharge(op_id="2", effective_at=NOW, **asked),
                LedgerCharge(op_id="3", effective_at=NOW, checked=False, **asked),
            ],
            to_micros(NOW),
        )
    assert reserve == checked == Declined("barred", "account acc-1 is barred: fraud")
    assert not isinstance(owed, Declined)


def test_barring_keeps_who_was_barred_when_and_why(purse: Purse) -> None:
    assert purse.do(bar, "account", "acc-1", "unpaid")
    assert not purse.do(bar, "account", "acc-1", "again")
    with purse.engine.connect() as connection:
        assert barred(connection, "kid", "acc-1") == "account acc-1 is barred: unpaid"
        assert barred(connection, "acc-2", "acc-2") is None
    purse.now += HOUR
    assert purse.do(unbar, "account", "acc-1", "paid")
    assert not purse.do(unbar, "account", "acc-1", "paid")
    (row,) = purse.rows(Barring)
    assert (row.reason, row.lifted_at, row.lift_reason) == ("unpaid", NOW + HOUR, "paid")
    with pytest.raises(BalanceError, match="say why"):
        purse.do(bar, "account", "acc-1", " ")


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("UPDATE unit_bucket SET remaining = remaining + 1", "bucket b: 6 second remain, its movements sum to 5"),
        ("UPDATE balance_movement SET amount = -6 WHERE amount = -5", "5 second remain, its movements sum to 4"),
        ("UPDATE unit_bucket SET reserved = 0", "bucket b: 0 are reserved, reservations hold 5"),
        ("DELETE FROM unit_hold", "bucket b: 5 are reserved, reservations hold 0"),
        ("UPDATE usage_reservation SET state = 'released'", "reservation of use r: it is released and holds units"),
        ("UPDATE prepaid_credit SET remaining = amount + 1", "micros remain of"),
        ("UPDATE charge SET transfer_id = (SELECT max(transfer_id) FROM charge)", "2 charges stand for it"),
        (
            "UPDATE ledger_account SET balance = 5 WHERE kind = 'prepaid'",
            "below zero, and nothing was overdrawn",
        ),
    ],
)
def test_what_was_altered_is_found_and_named(purse: Purse, sql: str, found: str) -> None:
    purse.top_up(EURO)
    purse.do(add_bucket, "acc-1", "second", 60, id="b")
    purse.do(purse.desk.consume, "u", use(5))
    purse.do(purse.desk.reserve_usage, "r", use(5, tariff=""), HOUR)
    purse.do(purse.desk.consume, "v", use(60, subscriber="kid", at=NOW))
    purse.do(purse.desk.consume, "w", use(60))
    purse.alter(sql)
    told = "\n".join(f"{finding.where}: {finding.what}" for finding in purse.findings())
    assert found in told
