"""Tries to log on are counted for all web processes together."""

from __future__ import annotations

from datetime import timedelta

import pytest
from operator_samples import NOW, House

from operator_server.store.web import LogonPace
from operator_server.web import pace
from operator_server.web.pace import LogonPaces
from operator_server.web.problems import Problem

SECOND = timedelta(seconds=1)


def refused(paces: LogonPaces, address: str, name: str, at: timedelta = timedelta()) -> bool:
    try:
        paces.take(address, name, NOW + at)
    except Problem as no:
        return no.status_code == 429 and (no.headers or {})["Retry-After"] == "60"
    return False


def test_processes_count_the_tries_of_a_name_together(house: House) -> None:
    here, there = (LogonPaces(house.engine, 30) for _ in range(2))
    tries = [refused((here, there)[number % 2], f"192.0.2.{number}", "Erika") for number in range(20)]
    assert tries == [False] * 10 + [True] * 10
    assert not refused(there, "192.0.2.1", "max")
    assert refused(there, "192.0.2.1", "ERIKA")


def test_processes_count_the_tries_of_an_address_together(house: House) -> None:
    here, there = (LogonPaces(house.engine, 30) for _ in range(2))
    tries = [refused((here, there)[number % 2], "192.0.2.1", f"n{number}") for number in range(40)]
    assert tries == [False] * 30 + [True] * 10


def test_tries_come_back_with_time_and_no_more_than_there_were(house: House) -> None:
    for _ in range(10):
        assert not refused(LogonPaces(house.engine, 30), "", "erika")
    assert refused(LogonPaces(house.engine, 30), "", "erika", 5 * SECOND)
    assert not refused(LogonPaces(house.engine, 30), "", "erika", 6 * SECOND)
    assert refused(LogonPaces(house.engine, 30), "", "erika", 6 * SECOND)
    day = timedelta(days=1)
    assert [refused(LogonPaces(house.engine, 30), "", "erika", day) for _ in range(11)] == [False] * 10 + [True]


def test_nothing_is_counted_where_no_limit_is_set(house: House) -> None:
    paces = LogonPaces(house.engine, 0)
    assert not any(refused(paces, "192.0.2.1", "erika") for _ in range(100))
    assert house.rows(LogonPace) == []


def test_neither_names_nor_addresses_are_kept_and_old_tries_go(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "CLEANED_EVERY", 1)
    paces = LogonPaces(house.engine, 30)
    paces.take("192.0.2.1", "a password typed by mistake", NOW)
    rows = house.rows(LogonPace)
    assert len(rows) == 2
    assert not any("192" in row.key or "password" in row.key for row in rows)
    paces.take("", "erika", NOW + timedelta(minutes=2))
    assert len(house.rows(LogonPace)) == 1
