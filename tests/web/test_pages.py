"""Pages of long lists: complete, in order, and none slower than another."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from operator_samples import NOW, House, copied
from sqlalchemy import event, text
from web_samples import Site, problem

from operator_server.store.store import transact
from operator_server.web.cursors import BadCursor, Cursors, Place
from signalling.clock import to_micros

MANY = 30_000


@pytest.fixture(scope="module")
def large(peopled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """An operator with many terminals, accounts and invoices, written by the database itself."""
    house: House = copied(peopled, tmp_path_factory.mktemp("large") / "operator")
    at = to_micros(NOW)
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY})"

    def fill(connection: Any) -> None:
        for statement in (
            f"INSERT INTO terminal (id, label, status, enrolled_at) {numbers} SELECT printf('N-%07d', i), '',"
            f" CASE WHEN i % 1000 THEN 'active' ELSE 'revoked' END, {at} FROM n",
            "INSERT INTO account (id, name, address, country, vat_id, email, language, currency, credit_limit, status,"
            f" created_at) {numbers} SELECT printf('N-%07d', i), printf('Name %07d', i * 7919 % {MANY}), '[]', 'DE',"
            f" '', '', 'en', 'EUR', 0, 'active', {at} FROM n",
            "INSERT INTO bill_run (id, period, until_at, started_at, state, invoices, scope, approved_by) VALUES"
            f" ('run', '2026-10', {at}, {at}, 'done', 0, 'all', '')",
            "INSERT INTO invoice (id, number, series, number_in_series, bill_run_id, account_id, period, currency, net,"
            f" tax, total, issued_at, document, transfer_id) {numbers} SELECT printf('i%07d', i), printf('R-%07d', i),"
            f" 'R', i, 'run', printf('N-%07d', i / 10), '2026-10', 'EUR', 1, 1, 1, {at}, x'', '' FROM n",
        ):
            connection.execute(text(statement))

    transact(house.engine, fill)
    yield Site(house)
    house.engine.dispose()


def walk(client: Any, path: str, **params: Any) -> Iterator[dict[str, Any]]:
    cursor = ""
    while cursor is not None:
        answer = client.get(path, params=params | ({"cursor": cursor} if cursor else {}))
        assert answer.status_code == 200, answer.text
        yield from answer.json()["items"]
        cursor = answer.json()["next"]


def test_cursors_lead_through_the_whole_list_once_and_in_order(large: Site) -> None:
    client = large.by("support")
    ids = [item["id"] for item in walk(client, "/api/v1/terminals", limit=500)]
    assert len(ids) == MANY + 3
    assert ids == sorted(set(ids))
    numbers = [item["number"] for item in walk(client, "/api/v1/invoices", limit=500, period="2026-10")]
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) == MANY


def test_what_comes_meanwhile_moves_nothing(large: Site) -> None:
    client = large.by("billing")
    first = client.get("/api/v1/accounts", params={"limit": 3}).json()
    client.post("/api/v1/accounts", json={"id": "A-0", "name": "Came later"})
    second = client.get("/api/v1/accounts", params={"limit": 3, "cursor": first["next"]}).json()
    assert [item["id"] for item in second["items"]] == ["N-0000002", "N-0000003", "N-0000004"]


def test_names_are_paged_by_name(large: Site) -> None:
    names = [
        item["name"]
        for item in itertools.islice(
            walk(large.by("support"), "/api/v1/accounts", name_begins="Name 00", limit=50), 120
        )
    ]
    assert names == sorted(names)
    assert len(names) == 120


def test_counts_and_offsets_are_exact_up_to_their_bound(large: Site) -> None:
    client = large.by("support")
    few = client.get("/api/v1/terminals", params={"status": "revoked"}).json()
    assert (few["total"], few["total_is_exact"]) == (MANY // 1000, True)
    many = client.get("/api/v1/terminals", params={"status": "active", "limit": 1}).json()
    assert (many["total"], many["total_is_exact"]) == (10_000, False)
    far = client.get("/api/v1/terminals", params={"offset": 10_000, "limit": 2, "id_begins": "N-"}).json()
    assert [item["id"] for item in far["items"]] == ["N-0010001", "N-0010002"]
    problem(client.get("/api/v1/terminals", params={"offset": 10_001}), 422)
    problem(client.get("/api/v1/terminals", params={"offset": 1, "cursor": many["next"]}), 422)


def test_a_cursor_is_good_for_its_own_list_alone(large: Site) -> None:
    client = large.by("support")
    cursor = client.get("/api/v1/terminals", params={"limit": 1, "status": "active"}).json()["next"]
    for params in ({"cursor": cursor}, {"cursor": cursor, "status": "revoked"}, {"cursor": cursor[:-2] + "AA",
                   "status": "active"}, {"cursor": "nonsense"}):  # fmt: skip
        assert "begin again" in problem(client.get("/api/v1/terminals", params=params), 422)
    problem(client.get("/api/v1/accounts", params={"cursor": cursor, "status": "active"}), 422)
    cursors = Cursors(b"one")
    made = cursors.make("list", Place(("a", 1), 3))
    assert cursors.read("list", made) == Place(("a", 1), 3)
    with pytest.raises(BadCursor):
        Cursors(b"another").read("list", made)


LISTS: list[tuple[str, dict[str, str]]] = [
    ("terminals", {}), ("terminals", {"status": "active"}), ("terminals", {"id_begins": "N-00"}),
    ("terminals", {"subscriber": "A-1"}), ("terminals", {"code": "00" * 32}),
    ("accounts", {}), ("accounts", {"status": "active"}), ("accounts", {"name_begins": "Name"}),
    ("invoices", {}), ("invoices", {"account": "N-0000010"}), ("invoices", {"period": "2026-10"}),
    ("invoices", {"bill_run": "run"}), ("charges", {}), ("charges", {"account": "A-1"}),
    ("charges", {"agreement": "x"}), ("charges", {"invoice": "x"}),
    ("agreements", {}), ("agreements", {"account": "A-1"}), ("agreements", {"state": "installed"}),
    ("agreements", {"subscriber": "A-1"}), ("rejections", {}), ("rejections", {"offer": "x"}),
    ("rejections", {"subscriber": "A-1"}), ("usage", {}), ("usage", {"account": "A-1"}),
    ("usage", {"source": "x"}), ("configurations", {}), ("payments", {}),
    ("payments", {"account": "A-1"}), ("payments", {"state": "suspense"}), ("credit-notes", {}),
    ("credit-notes", {"account": "A-1"}), ("credit-notes", {"invoice": "x"}),
    ("bill-runs", {}), ("bill-runs", {"period": "2026-10"}), ("events", {}),
    ("events", {"kinds": "agreed"}), ("audit", {}), ("audit", {"actor": "x"}),
    ("audit", {"reference": "x"}), ("terminals/T-1/interrogations", {}),
    ("terminals/T-1/notices", {}), ("accounts/A-1/subscribers", {}),
    ("../../tmf-api/customerBillManagement/v4/customerBill", {}), ("../../tmf-api/usageManagement/v4/usage", {}),
    ("jobs", {}), ("dispatches", {}), ("dispatches", {"account": "A-1"}), ("dispatches", {"invoice": "R-1"}),
    ("dispatches", {"state": "bounced"}), ("accounts", {"status": "barred"}), ("mandates", {}), ("disputes", {}),
    ("reminders", {}), ("tokens", {}), ("people", {}),
    ("../../console/terminals", {}), ("../../console/terminals", {"id": "N-00"}),
    ("../../console/terminals", {"user": "A-1"}), ("../../console/terminals", {"state": "silent"}),
    ("../../console/terminals", {"state": "gaps"}), ("../../console/terminals", {"state": "failed"}),
    ("../../console/accounts", {}), ("../../console/accounts", {"q": "N-00001"}),
    ("../../console/accounts", {"q": "nobody"}), ("../../console/accounts", {"status": "barred"}),
    ("../../console/invoices", {}), ("../../console/invoices", {"q": "R-00"}),
    ("../../console/invoices", {"account": "N-0000010"}), ("../../console/invoices", {"period": "2026-10"}),
    ("../../console/audit", {}), ("../../console/audit", {"who": "erika"}), ("../../console/audit", {"what": "x/y"}),
    ("../../console/audit", {"what": "tariff"}), ("../../console/terminals/T-1/interrogations", {}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "params"), LISTS, ids=[f"{path}-{params}" for path, params in LISTS])
def test_no_list_reads_a_whole_table_or_sorts_one(large: Site, path: str, params: dict[str, str]) -> None:
    asked: list[tuple[str, Any]] = []
    address = path.removeprefix("../..") if path.startswith("..") else f"/api/v1/{path}"

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        asked.append((statement, parameters))

    client = large.by("administrator")
    event.listen(large.house.engine, "before_cursor_execute", note)
    try:
        assert client.get(address, params=params).status_code == 200
    finally:
        event.remove(large.house.engine, "before_cursor_execute", note)
    with large.house.engine.connect() as connection:
        for statement, parameters in asked:
            if not statement.startswith("SELECT") or "api_token" in statement:
                continue
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
            steps = [row[3] for row in plan]
            # A scan is fit where it goes along an index and stops at the page's end, or reads what a subquery gave.
            # The audit trail's key is its row id, so its rows lie in order.
            fit = ("INDEX", "anon", "audit_entry", "CONSTANT ROW", "(subquery")
            whole = [step for step in steps if step.startswith("SCAN") and not any(word in step for word in fit)]
            assert not whole, (statement, steps)
            if not any(step.startswith("SEARCH") for step in steps):
                assert not any("USE TEMP B-TREE FOR ORDER BY" in step for step in steps), (statement, steps)


def test_a_list_that_ends_on_its_page_is_counted_by_it(large: Site) -> None:
    client, asked = large.by("administrator"), []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        asked.append(statement)

    event.listen(large.house.engine, "before_cursor_execute", note)
    try:
        few = client.get("/api/v1/terminals", params={"id_begins": "N-000001", "offset": 2, "limit": 20}).json()
        none = client.get("/api/v1/terminals", params={"id_begins": "N-000001", "offset": 200}).json()
    finally:
        event.remove(large.house.engine, "before_cursor_execute", note)
    assert (few["total"], len(few["items"]), few["total_is_exact"]) == (10, 8, True)
    assert (none["total"], none["items"]) == (10, [])
    assert sum("count(*)" in statement for statement in asked) == 1


def test_the_last_page_comes_as_fast_as_the_first(large: Site) -> None:
    client, took = large.by("support"), []
    cursor = client.get("/api/v1/terminals", params={"limit": 500}).json()["next"]
    while cursor:
        begun = time.perf_counter()
        cursor = client.get("/api/v1/terminals", params={"limit": 500, "cursor": cursor}).json()["next"]
        took.append(time.perf_counter() - begun)
    assert min(took[-6:]) < 4 * min(took[:6]) + timedelta(milliseconds=5).total_seconds()
