"""What was charged for counted use, read back and rated again."""

from __future__ import annotations

from datetime import timedelta

import pytest
from counting_samples import (
    AGREED,
    OCTOBER_END,
    House,
    Meterer,
    add_customer,
    add_installation,
    add_terminal,
    charges,
    keep_version,
    tariff,
)  # fmt: skip
from sqlalchemy import update

from charging.tariffs import TariffBook
from charging.tariffs.explain import explain
from charging.tariffs.simulate import simulate
from operator_server.counting.tariffs import TariffVersions
from operator_server.store.accounting import Charge
from operator_server.store.rows import table
from operator_server.usage.history import UnknownUse, find_use, histories

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
KEPT = TariffVersions(lambda: TariffBook([]))
BANDS = [
    {"name": "day", "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "hours": ["08:00-18:00"]},
    {
        "name": "night",
        "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
        "hours": ["00:00-08:00", "18:00-24:00"],
    },
]


def furnished(house: House) -> House:
    version = house.version
    with house.writing() as connection:
        add_customer(connection)
        add_terminal(connection)
        add_installation(connection, version)
        keep_version(connection, version)
    return house


@pytest.fixture
def house() -> House:
    """A customer who used 8, 5 and 40 units in October, the last of them reported with those of November."""
    house, counter = furnished(House()), Meterer()
    with house.writing() as connection:
        house.take(connection, AGREED + DAY, counter.use(8, AGREED + DAY))
    with house.writing() as connection:
        house.take(connection, AGREED + 2 * DAY, counter.use(5, AGREED + 2 * DAY))
    with house.writing() as connection:
        at = OCTOBER_END + DAY
        house.take(connection, at, counter.use(60, at, (OCTOBER_END, counter.value + 40)))
    return house


def test_every_charge_is_explained_to_the_micro(house: House) -> None:
    with house.engine.connect() as connection:
        for charge in charges(connection):
            explained = explain(find_use(connection, KEPT, charge.id).uses)
            assert explained.cost_micros == charge.net
            assert sum(step.cost for step in explained.steps) == charge.net
        last = explain(find_use(connection, KEPT, charges(connection)[2].id).uses)
    assert (last.earlier, last.before.used) == (2, 13)


def test_use_by_time_is_explained_by_the_time_that_was_reported_even_if_it_was_billed_later() -> None:
    house = furnished(House(tariff(band=BANDS, price={"model": "per_unit", "amounts": {"day": "0.05", "night": "0"}})))
    counter, night = Meterer(), AGREED.replace(hour=2) + DAY
    with house.writing() as connection:
        house.take(connection, night, counter.use(30, night))
        connection.execute(update(table(Charge)).values(effective_at=night + 12 * HOUR))
    with house.engine.connect() as connection:
        [charge] = charges(connection)
        assert explain(find_use(connection, KEPT, charge.id).uses).cost_micros == charge.net == 0


def test_a_name_that_nothing_has_is_told(house: House) -> None:
    with house.engine.connect() as connection, pytest.raises(UnknownUse, match="nothing: neither"):
        find_use(connection, KEPT, "nothing")


def test_the_month_is_simulated_without_what_was_used_after_it(house: House) -> None:
    dearer = tariff(price={"model": "per_unit", "amount": "0.10"})
    with house.engine.connect() as connection:
        past = list(histories(connection, KEPT, "games", "2026-10"))
        assert list(histories(connection, KEPT, "game_", "2026-10")) == []
    total = simulate(past, dearer).total
    assert (total.quantity, total.now, total.then) == (53, 43 * 50_000, 43 * 100_000)
