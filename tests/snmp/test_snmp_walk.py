"""Tables of odd devices: whatever they answer, the walk ends, keeps what is sound and says what was odd."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operator_server.snmp.walk import Budget, Bulk, Limits, Oid, Value, Walked, walk

ENTRY = (1, 3, 6, 1, 2, 1, 25, 6, 3, 1)
Rows = list[tuple[Oid, Value]]


def table(rows: int, columns: Sequence[int] = (2,)) -> Rows:
    return [((*ENTRY, column, row), b"package") for column in columns for row in range(1, rows + 1)]


def agent(objects: Rows, repetitions: int = 25) -> Bulk:
    """A device that answers as the standard wants."""
    ordered = sorted(objects)

    async def bulk(oids: Sequence[Oid]) -> Rows:
        answer: Rows = []
        cursors = list(oids)
        for _ in range(repetitions):
            for place, oid in enumerate(cursors):
                found = next(((name, value) for name, value in ordered if name > oid), (oid, None))
                answer.append(found)
                cursors[place] = found[0]
        return answer

    return bulk


def walked(bulk: Bulk, columns: Sequence[int] = (2,), **limits: float) -> Walked:
    async def run() -> Walked:
        return await walk(bulk, ENTRY, columns, Budget.begin(Limits(**limits)), "table")  # type: ignore[arg-type]  # limits by name

    return asyncio.run(asyncio.wait_for(run(), 20))


def test_a_table_is_read_whole_and_nothing_of_its_neighbours() -> None:
    found = walked(agent([((*ENTRY[:-1], 0, 9), 1), *table(60, (2, 4)), ((*ENTRY[:-1], 2, 1), 1)]), (2, 4))
    assert len(found.rows) == 60
    assert found.rows[(7,)] == {2: b"package", 4: b"package"}
    assert found.notes == []


def test_a_missing_table_is_empty() -> None:
    assert walked(agent([])).rows == {}
    assert walked(agent([((1, 3, 6, 1, 9), 1)])).notes == []


def test_a_device_that_repeats_itself_is_left() -> None:
    async def loop(oids: Sequence[Oid]) -> Rows:
        return [((*ENTRY, 2, 1), b"a"), ((*ENTRY, 2, 2), b"b"), ((*ENTRY, 2, 1), b"a")]

    found = walked(loop)
    assert found.rows.keys() == {(1,), (2,)}
    assert "does not ascend" in found.notes[0]


def test_a_hundred_thousand_rows_are_cut_short() -> None:
    async def endless(oids: Sequence[Oid]) -> Rows:
        first = oids[0][-1] if len(oids[0]) > len(ENTRY) + 1 else 0
        return [((*ENTRY, 2, first + offset), b"package") for offset in range(1, 26)]

    found = walked(endless, rows=1_000)
    assert len(found.rows) == 1_000
    assert found.notes == ["table: cut short at 1000 rows"]


def test_values_are_cut_short_by_their_bytes() -> None:
    found = walked(agent([((*ENTRY, 2, row), b"x" * 1_000) for row in range(1, 200)]), bytes=50_000)
    assert 40 <= len(found.rows) <= 50
    assert "bytes" in found.notes[0]


def test_a_slow_device_is_left_when_the_time_is_over() -> None:
    quick = agent(table(500), repetitions=1)

    async def slow(oids: Sequence[Oid]) -> Rows:
        await asyncio.sleep(0.05)
        return await quick(oids)

    found = walked(slow, seconds=0.3)
    assert 0 < len(found.rows) < 10
    assert "cut short after 0.3 s" in found.notes[0]


def test_an_answer_without_rows_ends_the_walk() -> None:
    async def nothing(oids: Sequence[Oid]) -> Rows:
        return []

    assert "empty answer" in walked(nothing).notes[0]


oids = st.lists(st.integers(0, 3), min_size=0, max_size=3).map(lambda tail: (*ENTRY, *tail))
values = st.one_of(st.none(), st.integers(), st.binary(max_size=20), st.just((1, 3)))


@given(st.lists(st.lists(st.tuples(oids, values), max_size=8), min_size=1, max_size=6))
def test_whatever_a_device_answers_the_walk_ends(answers: list[Rows]) -> None:
    asked = 0

    async def chaos(_: Sequence[Oid]) -> Rows:
        nonlocal asked
        asked += 1
        return answers[asked % len(answers)]

    found = walked(chaos, (1, 2), rows=50)
    assert asked < 200
    assert all(len(index) >= 1 and set(row) <= {1, 2} for index, row in found.rows.items())


def test_a_fault_of_the_device_is_the_callers() -> None:
    async def broken(_: Sequence[Oid]) -> Rows:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        walked(broken)
