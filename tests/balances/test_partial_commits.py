"""A reservation committed in parts: one session, which costs what it would at once, and never beyond what is there."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from balance_samples import DAY, EURO, HOUR, NOW, Purse, use
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charging.balances.tables import BalanceShare, UnitBucket, UsageReservation
from charging.tariffs.explain import explain
from operator_server.balances.buckets import add_bucket, share
from operator_server.balances.money import set_limit
from operator_server.balances.once import BalanceError
from operator_server.balances.refunds import refund
from operator_server.counting.tariffs import TariffVersions
from operator_server.store.accounting import Charge
from operator_server.usage.history import find_use

SECOND = timedelta(seconds=1)


def reserve(purse: Purse, quantity: int, id: str = "r-1", **keys: Any) -> Any:
    return purse.do(purse.desk.reserve_usage, id, use(quantity, **keys), HOUR)


def commit(purse: Purse, id: str, quantity: int | None, reservation: str = "r-1", *, more: bool = True) -> Any:
    return purse.do(purse.desk.commit_usage, id, reservation, quantity, more=more)


def test_parts_are_taken_until_nothing_is_left_and_are_one_session(purse: Purse) -> None:
    purse.top_up(EURO)
    held = reserve(purse, 120)
    nets = [commit(purse, f"c-{part}", 15)["net"] for part in range(4)]
    # 30/6 at 0.006 a minute: 30 seconds at first, then six at a time.
    assert nets == [3000, 0, 1800, 1200]
    [row] = purse.rows(UsageReservation)
    assert (row.state, row.used, row.captured) == ("open", 60, 6000 + 1140)
    assert purse.available() == EURO - held["money"]
    assert commit(purse, "c-4", 40)["left"] == 20
    last = commit(purse, "c-5", 20)
    assert "left" not in last
    assert sum(row.net for row in purse.rows(Charge)) == 12_000
    assert purse.available() == purse.prepaid() == EURO - 14_280
    with pytest.raises(BalanceError, match="it is committed"):
        commit(purse, "c-6", 1)
    assert purse.findings() == []


def test_a_part_is_taken_once_by_its_id(purse: Purse) -> None:
    purse.top_up(EURO)
    reserve(purse, 120)
    first = commit(purse, "c-1", 60)
    assert commit(purse, "c-1", 60) == first
    with pytest.raises(BalanceError, match="other content"):
        commit(purse, "c-1", 61)
    with pytest.raises(BalanceError, match="other content"):
        commit(purse, "c-1", 60, more=False)
    with pytest.raises(BalanceError, match="61 second asked, 60 reserved"):
        commit(purse, "c-2", 61)
    assert [row.used for row in purse.rows(UsageReservation)] == [60]


@pytest.mark.parametrize("end", ["release", "expire", "last"])
def test_what_is_left_comes_back(purse: Purse, end: str) -> None:
    purse.do(add_bucket, "acc-1", "second", 45, id="b", valid_from=NOW - DAY)
    purse.top_up(EURO)
    reserve(purse, 120)
    assert commit(purse, "c-1", 30)["units"] == [{"bucket": "b", "share": None, "amount": 30}]
    assert [(row.remaining, row.reserved) for row in purse.rows(UnitBucket)] == [(15, 15)]
    answer = commit(purse, "c-2", 25)
    assert (answer["units"][0]["amount"], answer["rated"], answer["net"]) == (15, 10, 3000)
    if end == "release":
        purse.do(purse.desk.release_usage, "end", "r-1")
    elif end == "expire":
        purse.now += 2 * HOUR
        purse.expire()
    else:
        commit(purse, "end", 0, more=False)
    assert [(row.remaining, row.reserved) for row in purse.rows(UnitBucket)] == [(0, 0)]
    assert purse.available() == purse.prepaid() == EURO - 3570
    assert purse.findings() == []


def test_use_that_came_between_makes_a_part_dearer_and_it_is_paid_all_the_same(purse: Purse) -> None:
    purse.top_up(10 * EURO)
    reserve(purse, 100, tariff="data", unit="any")
    commit(purse, "c-1", 50)
    purse.do(purse.desk.consume, "u-1", use(900, tariff="data", unit="any"))
    commit(purse, "c-2", 50)
    assert purse.findings() == []
    for row in purse.rows(Charge):
        with purse.engine.connect() as connection:
            found = find_use(connection, TariffVersions(lambda: purse.shop.book), row.id)
        assert explain(found.uses).cost_micros == row.net


def test_shared_money_pays_for_parts_within_its_limit(purse: Purse) -> None:
    purse.top_up(EURO, account="acc-2")
    purse.do(share, "acc-2", "acc-1", id="s", most=20_000)
    held = reserve(purse, 120)
    assert (held["payer"], held["share"]) == ("acc-2", "s")
    answer = commit(purse, "c-1", 60)
    [row] = purse.rows(BalanceShare)
    assert (row.used, row.reserved) == (7140, held["money"] - 7140)
    purse.do(refund, answer["charge"], id="back", reason="bad line")
    commit(purse, "c-2", None, more=False)
    [row] = purse.rows(BalanceShare)
    assert (row.used, row.reserved) == (7140, 0)
    assert purse.findings() == []


def test_what_is_afterwards_charged_may_go_beyond_what_was_reserved(purse: Purse) -> None:
    purse.top_up(EURO)
    reserve(purse, 60, pays="pseudo_prepaid")
    commit(purse, "c-1", 40)
    assert commit(purse, "c-2", 80)["rated"] == 80
    assert sum(row.net for row in purse.rows(Charge)) == 12_000
    assert [row.state for row in purse.rows(UsageReservation)] == ["committed"]
    assert purse.findings() == []


parts = st.lists(st.integers(0, 400), min_size=1, max_size=6)
others = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 500)), max_size=3)


@settings(max_examples=8, deadline=None)
@given(tariff=st.sampled_from(["calls", "data"]), pays=st.sampled_from(["unbilled", "prepaid"]), sizes=parts)
@example(tariff="data", pays="prepaid", sizes=[100, 1, 900])
def test_parts_cost_what_the_whole_costs(tariff: str, pays: str, sizes: list[int]) -> None:
    nets = []
    for cut in (True, False):
        purse = Purse()
        purse.do(set_limit, "acc-1", 1000 * EURO)
        purse.top_up(1000 * EURO)
        reserve(purse, sum(sizes) + 1, tariff=tariff, unit="any", pays=pays)
        taken = sizes if cut else [sum(sizes)]
        for place, size in enumerate(taken):
            commit(purse, f"c{place}", size)
        purse.do(purse.desk.release_usage, "end", "r-1")
        nets.append(sum(row.net for row in purse.rows(Charge)))
        assert purse.findings() == []
        purse.engine.dispose()
    assert nets[0] == nets[1]


@settings(max_examples=8, deadline=None)
@given(sizes=parts, between=others)
def test_every_part_is_explained_whatever_came_between(sizes: list[int], between: list[tuple[int, int]]) -> None:
    purse = Purse()
    purse.top_up(1000 * EURO)
    reserve(purse, sum(sizes) + 1, tariff="data", unit="any")
    for place, size in enumerate(sizes):
        for number, (after, quantity) in enumerate(between):
            if after == place:
                purse.do(purse.desk.consume, f"u{number}", use(quantity, tariff="data", unit="any"))
        purse.now += SECOND
        commit(purse, f"c{place}", size)
    assert purse.findings() == []
    for row in purse.rows(Charge):
        with purse.engine.connect() as connection:
            found = find_use(connection, TariffVersions(lambda: purse.shop.book), row.id)
        assert explain(found.uses).cost_micros == row.net
    purse.engine.dispose()
