"""Units before money: buckets pay for counted use first, each unit once, held for what is granted ahead."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from counting_samples import (
    AGREED,
    SETTINGS,
    House,
    Meterer,
    add_customer,
    add_installation,
    add_terminal,
    charges,
    opened,
    tariff,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, func, select

from charging.balances.tables import BalanceMovement, UnitBucket
from charging.ledger.book import balances
from charging.ledger.tables import PREPAID, UNBILLED
from charging.ledger.verify import verify
from operator_server.balances.buckets import add_bucket, share
from operator_server.balances.expiry import ENDINGS
from operator_server.balances.money import top_up
from operator_server.balances.proof import verify_balances
from operator_server.billing.control import control_report
from operator_server.billing.proof import verify_billing
from operator_server.counting.grants import release_grants
from operator_server.counting.units import COVERED
from operator_server.store.rows import table

HOUR = timedelta(hours=1)
CENT = 10_000
PLAIN = {"included": 0}
_buckets, _movements = table(UnitBucket), table(BalanceMovement)


def furnished(connection: Connection, house: House, *buckets: tuple[int, datetime | None], **keys: Any) -> None:
    """A customer with buckets of uses, who has a terminal with an item."""
    add_customer(connection, credit=keys.pop("credit", "200.00"))
    add_terminal(connection)
    add_installation(connection, house.version, **keys)
    for number, (quantity, until) in enumerate(buckets, 1):
        add_bucket(connection, "acc-1", "use", quantity, id=f"b-{number}", valid_until=until, now=AGREED)


def left(connection: Connection) -> dict[str, tuple[int, int]]:
    """What remains of each bucket, and what is reserved of it."""
    return {row.id: (row.remaining, row.reserved) for row in connection.execute(select(_buckets))}


def taken(connection: Connection) -> int:
    """Units that all use has taken from buckets."""
    used = select(func.sum(_movements.c.amount)).where(_movements.c.kind == "use", _movements.c.bucket_id.is_not(None))
    return -int(connection.execute(used).scalar() or 0)


def proven(connection: Connection) -> bool:
    return [*verify(connection), *verify_billing(connection), *verify_balances(connection)] == []


def balance(connection: Connection, kind: str) -> int:
    return next(each.balance for each in balances(connection, "acc-1") if each.kind == kind)


def test_use_takes_units_first_and_money_for_the_rest() -> None:
    house, meter = House(tariff(**PLAIN)), Meterer()
    with house.writing() as connection:
        furnished(connection, house, (7, None))
        house.first(connection)
        house.take(connection, AGREED + HOUR, meter.use(5, AGREED + HOUR))
        house.take(connection, AGREED + 2 * HOUR, meter.use(5, AGREED + 2 * HOUR))
        first, second = charges(connection)
        assert (first.kind, first.pays, first.quantity, first.net, first.transfer_id) == (COVERED, "none", 0, 0, "")
        assert (second.kind, second.quantity, second.net) == ("use", 3, 15 * CENT)
        assert (second.counter_from, second.counter_to) == (5, 10)
        assert left(connection)["b-1"] == (0, 0)
        assert balance(connection, UNBILLED) == 15 * CENT
        assert [each.count for each in control_report(connection, SETTINGS.operator, "2026-10").rated] == [1]
        assert proven(connection)


def test_units_let_use_go_on_when_there_is_no_money() -> None:
    house, meter = House(tariff(**PLAIN)), Meterer()
    with house.writing() as connection:
        furnished(connection, house, (6, None), payment="prepaid", credit="0")
        [grant] = house.first(connection)
        assert grant.ceiling == 6
        assert left(connection)["b-1"] == (6, 6)
        [grant] = opened(house.take(connection, AGREED + HOUR, meter.use(4, AGREED + HOUR)).usage)
        assert grant.ceiling == 6
        assert left(connection)["b-1"] == (2, 2)
        assert house.take(connection, AGREED + 2 * HOUR, meter.use(2, AGREED + 2 * HOUR)).usage == []
        assert (balance(connection, PREPAID), balance(connection, UNBILLED)) == (0, 0)
        assert proven(connection)


def test_a_grant_reserves_units_and_money_for_the_rest() -> None:
    house = House(tariff(**PLAIN))
    with house.writing() as connection:
        furnished(connection, house, (4, None), payment="prepaid", credit="0")
        top_up(connection, "acc-1", 12 * CENT, id="t-1", now=AGREED)
        [grant] = house.first(connection)
        assert grant.ceiling == 4 + 2
        reserved = {each.kind: each.reserved for each in balances(connection, "acc-1")}
        assert reserved[PREPAID] == 119_000
        release_grants(connection, "inst-1", AGREED + HOUR)
        assert left(connection)["b-1"] == (4, 0)
        assert proven(connection)


def test_what_is_granted_ends_with_the_bucket_and_its_hold_expires_by_itself() -> None:
    house = House(tariff(**PLAIN))
    end = AGREED + 2 * HOUR
    with house.writing() as connection:
        furnished(connection, house, (4, end))
        [grant] = house.first(connection)
        assert grant.valid_until == int(end.timestamp()) * 10**6
        for over in ENDINGS.values():
            over(connection, end + HOUR)
        assert left(connection)["b-1"] == (0, 0)
        assert proven(connection)


def test_a_shared_bucket_gives_what_its_limit_allows() -> None:
    house, meter = House(tariff(**PLAIN)), Meterer()
    with house.writing() as connection:
        furnished(connection, house)
        add_customer(connection, "acc-2")
        add_bucket(connection, "acc-2", "use", 9, id="family", now=AGREED)
        share(connection, "acc-2", "acc-1", id="s-1", bucket="family", most=3, now=AGREED)
        house.first(connection)
        house.take(connection, AGREED + HOUR, meter.use(5, AGREED + HOUR))
        [charge] = charges(connection)
        assert (charge.quantity, left(connection)["family"]) == (2, (6, 0))
        assert proven(connection)


def test_use_that_is_only_rated_and_use_in_another_unit_take_no_units() -> None:
    house, meter = House(tariff(**PLAIN)), Meterer()
    with house.writing() as connection:
        furnished(connection, house, (4, None), payment="rated_only")
        add_bucket(connection, "acc-1", "second", 60, id="seconds", now=AGREED)
        house.first(connection)
        house.take(connection, AGREED + HOUR, meter.use(5, AGREED + HOUR))
        assert left(connection) == {"b-1": (4, 0), "seconds": (60, 0)}
        assert proven(connection)


_step = st.one_of(
    st.tuples(st.just("use"), st.integers(0, 9)),
    st.tuples(st.just("again"), st.integers(0, 20)),
    st.tuples(st.just("wait"), st.integers(1, 40)),
    st.tuples(st.just("bucket"), st.integers(1, 12)),
    st.tuples(st.just("release"), st.just(0)),
)


@given(
    st.lists(_step, min_size=1, max_size=14),
    st.lists(st.tuples(st.integers(1, 12), st.sampled_from([None, 5, 30])), max_size=2),
    st.sampled_from(["postpaid", "prepaid", "pseudo_prepaid"]),
    st.sampled_from([0, 7]),
)
@settings(max_examples=60, deadline=None)
def test_no_unit_is_used_twice_whatever_is_reported_again(
    steps: list[tuple[str, int]], first: list[tuple[int, int | None]], payment: str, included: int
) -> None:
    house, meter = House(tariff(included=included)), Meterer()
    now, reports, used = AGREED, [], 0
    with house.writing() as connection:
        furnished(
            connection, house, *((units, None if hours is None else AGREED + hours * HOUR) for units, hours in first),
            payment=payment,
        )  # fmt: skip
        top_up(connection, "acc-1", 100 * CENT, id="t-1", now=AGREED)
        house.first(connection)
        for number, (step, value) in enumerate(steps):
            now += HOUR / 10
            if step == "use":
                used += value
                reports.append(meter.use(value, now))
                house.take(connection, now, reports[-1])
            elif step == "again" and reports:
                before = (left(connection), taken(connection), len(charges(connection)))
                house.take(connection, now, reports[value % len(reports)])
                assert (left(connection), taken(connection), len(charges(connection))) == before
            elif step == "wait":
                now += value * HOUR
                for over in ENDINGS.values():
                    over(connection, now)
            elif step == "bucket":
                add_bucket(connection, "acc-1", "use", value, id=f"more-{number}", now=now)
            else:
                release_grants(connection, "inst-1", now)
            assert all(0 <= reserved <= remaining for remaining, reserved in left(connection).values())
            assert taken(connection) + sum(charge.quantity for charge in charges(connection)) == used
        assert proven(connection)
