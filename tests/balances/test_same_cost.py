"""The same use costs the same, whichever money pays for it, at once or reserved, by record or imported."""

from __future__ import annotations

from datetime import timedelta

import pytest
from balance_samples import EURO, HOUR, NOW, Purse, use
from hypothesis import given, settings
from hypothesis import strategies as st

from charging.ledger.tables import UNBILLED
from charging.tariffs.explain import explain
from operator_server.balances.money import set_limit
from operator_server.counting.tariffs import TariffVersions
from operator_server.store.accounting import Charge
from operator_server.usage.history import find_use

PAYS = ("unbilled", "prepaid", "pseudo_prepaid")
uses = st.lists(st.tuples(st.sampled_from(("calls", "data")), st.integers(0, 900)), min_size=1, max_size=6)


def _costs(purse: Purse, wanted: list[tuple[str, int]], pays: str, *, ahead: bool) -> list[tuple[int, int]]:
    """Net of each use and what was taken for it, with tax."""
    purse.do(set_limit, "acc-1", 1000 * EURO)
    purse.top_up(1000 * EURO)
    found = []
    for number, (tariff, quantity) in enumerate(wanted):
        asked = use(quantity, tariff=tariff, unit="any", pays=pays, at=NOW + timedelta(seconds=number) - HOUR)
        if ahead:
            purse.do(purse.desk.reserve_usage, f"r{number}", use(900, tariff=tariff, unit="any", pays=pays), HOUR)
            answer = purse.do(purse.desk.commit_usage, f"c{number}", f"r{number}", quantity)
        else:
            answer = purse.do(purse.desk.consume, f"u{number}", asked)
        found.append((answer["net"], answer["charged"]))
    assert purse.findings() == []
    return found


@given(wanted=uses)
@settings(max_examples=15, deadline=None)
def test_prepaid_and_postpaid_cost_the_same(wanted: list[tuple[str, int]]) -> None:
    nets = []
    for pays in PAYS:
        for ahead in (False, True):
            purse = Purse()
            found = _costs(purse, wanted, pays, ahead=ahead)
            nets.append([net for net, _ in found])
            rows = purse.rows(Charge)
            assert sum(row.net + row.paid_tax for row in rows) == sum(taken for _, taken in found)
            if pays == UNBILLED:
                assert [taken for _, taken in found] == nets[-1]
            purse.engine.dispose()
    assert all(costs == nets[0] for costs in nets)


@pytest.mark.parametrize("pays", PAYS)
def test_what_was_used_live_is_explained_and_goes_on_when_records_are_imported(purse: Purse, pays: str) -> None:
    _costs(purse, [("data", 90), ("data", 30)], pays, ahead=False)
    record = {"source": "switch", "id": "1", "subscriber": "acc-1", "tariff": "data", "quantity": 3,
              "at": NOW.isoformat()}  # fmt: skip
    purse.shop.take(record)
    with purse.engine.connect() as connection:
        tariffs = TariffVersions(lambda: purse.shop.book)
        live = explain(find_use(connection, tariffs, "live/u1").uses)
        imported = find_use(connection, tariffs, "switch/1")
        assert (live.earlier, live.cost_micros, live.before.used) == (1, 66_667, 90)
        explained = explain(imported.uses)
        assert (explained.earlier, explained.before.used) == (2, 120)
        assert explained.cost_micros == imported.charge.net
