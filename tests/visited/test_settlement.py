"""What two operators owe each other: booked in the ledger of each, proved, compared, and disputed where it differs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from operator_samples import House
from sqlalchemy import delete, update
from visited_samples import HOME, LOCAL, VISITED, Lands, air_of

from charging.ledger.book import balances
from charging.ledger.tables import OPERATOR, Transfer
from charging.ledger.verify import verify
from operator_server.store.rows import table
from operator_server.store.visited import SettlementDispute, SettlementRecord
from operator_server.visited import wire
from operator_server.visited.codes import Surcharge
from operator_server.visited.faults import HomeRefused, HomeUnreachable
from operator_server.visited.money import verify_roaming
from operator_server.visited.reconciling import open_disputes, reconcile, reconcile_recent
from operator_server.visited.settling import settle_due
from signalling.codes import messages as m

MONTH = "2026-11"
_records = table(SettlementRecord)


def buy(lands: Lands, *digits: str) -> None:
    mobile = lands.here()
    for each in digits:
        lands.answers = [True]
        mobile.dial(each)


def books(house: House) -> dict[str, int]:
    found = house.change(lambda c: balances(c, OPERATOR))
    return {each.kind: each.balance for each in found if each.kind.startswith("roaming_")}


def findings(house: House) -> list[str]:
    return house.change(lambda c: [f"{each.where}: {each.what}" for each in (*verify(c), *verify_roaming(c))])


def change(house: House, **values: Any) -> None:
    """Change the record of the conference behind everybody's back."""
    house.change(lambda c: c.execute(update(_records).where(_records.c.feature == "conference").values(**values)))


def test_each_side_books_a_record_once_and_both_ledgers_prove(lands: Lands) -> None:
    buy(lands, "*50#", "*84#")
    settle_due(lands.visited.operator, lambda partner: lands.direct, all_=True)
    assert books(lands.visited) == {"roaming_receivable": 1_583_333, "roaming_revenue": -1_583_333}
    assert books(lands.home) == {"roaming_payable": -1_583_333, "roaming_cost": 1_583_333}
    for house in (lands.visited, lands.home):
        assert findings(house) == []
        named = {(row.source, row.op_id) for row in house.rows(Transfer) if row.source == "roaming"}
        assert named == {("roaming", row.id) for row in house.rows(SettlementRecord)}
        assert len([row for row in house.rows(Transfer) if row.source == "roaming"]) == 2


def test_what_was_acknowledged_before_it_could_be_booked_is_booked_by_the_worker(lands: Lands) -> None:
    buy(lands, "*50#")
    change(lands.visited, transfer_id=None)
    assert findings(lands.visited) != []
    assert settle_due(lands.visited.operator) == {}
    assert findings(lands.visited) == []
    assert books(lands.visited)["roaming_receivable"] == 1_250_000


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"amount": 1_250_001}, "says 1250001 micros EUR, the ledger books 1250000"),
        ({"currency": "SEK"}, "says 1250000 micros SEK"),
        ({"direction": "payable"}, "settlement record"),
        ({"state": "refused"}, "settlement record"),
        ({"transfer_id": "made-up"}, "which does not say so"),
    ],
)
def test_a_record_that_says_other_than_the_ledger_is_found(lands: Lands, values: dict[str, Any], named: str) -> None:
    buy(lands, "*50#")
    assert findings(lands.visited) == []
    change(lands.visited, **values)
    assert any(named in each for each in findings(lands.visited))


def test_a_booked_record_that_is_gone_is_found(lands: Lands) -> None:
    buy(lands, "*50#")
    lands.home.change(lambda c: c.execute(delete(_records)))
    assert [each.partition(":")[0].split()[0] for each in findings(lands.home)] == ["transfer", "roaming_payable"]


def test_nothing_is_booked_before_home_acknowledges_nor_when_it_refuses(lands: Lands) -> None:
    mobile = lands.here()
    lands.answers = [True]
    mobile._exchange(m.Origination("*50#", local=False))
    [notice] = mobile._exchange(m.EfResponse(7, available=True))
    lands.direct.down = "before"
    mobile._exchange(mobile._ask(notice))
    assert [row.state for row in lands.records()[0]] == ["waiting"]
    assert (books(lands.visited), books(lands.home)) == ({}, {})


def test_home_owes_no_more_than_its_subscriber_pays_or_its_file_says(lands: Lands) -> None:
    def asked(amount: str, currency: str = "EUR") -> str:
        changed = {"conference": Surcharge(amount, currency), "radio": LOCAL.surcharge["radio"]}
        lands.local_codes(msgspec.structs.replace(LOCAL, surcharge=changed))
        mobile = lands.mobile(lands.memory(counter=asked.counter))  # type: ignore[attr-defined]  # a function's own count
        asked.counter += 100  # type: ignore[attr-defined]  # a function's own count
        mobile.enter()
        lands.answers = [False]
        mobile.dial("*50#")
        return ", ".join(each.code for each in air_of(mobile).heard_of(m.Refusal))

    asked.counter = 0  # type: ignore[attr-defined]  # a function's own count
    # The offer costs 2.00 without tax.
    assert asked("2.00") == ""
    assert asked("2.000001") == "too_dear"
    assert asked("1.00", "SEK") == "too_dear"
    lands.most_owed("conference", "0.90", "SEK")
    assert asked("0.90", "SEK") == ""
    assert asked("0.91", "SEK") == "too_dear"
    assert asked("0.10") == "too_dear"


# Comparing.


def test_sides_that_hold_the_same_agree_in_both_directions(joined: Lands) -> None:
    buy(joined, "*50#", "*84#")
    for house, other, direction in (
        (joined.visited, HOME, "receivable"),
        (joined.home, VISITED, "payable"),
    ):
        found = {each.direction: each for each in reconcile(house.operator, other, MONTH)}
        assert (found[direction].alike, list(found[direction].differences)) == (2, [])
        assert sum(each.alike for each in found.values()) == 2
        assert house.rows(SettlementDispute) == []


def test_what_differs_is_disputed_on_both_sides_whoever_looks_and_closed_when_it_is_mended(joined: Lands) -> None:
    buy(joined, "*50#", "*84#")
    [record] = [row.id for row in joined.records()[0] if row.feature == "conference"]
    change(joined.home, amount=1_200_000)
    reconcile(joined.visited.operator, HOME, MONTH)
    [ours], [theirs] = joined.visited.rows(SettlementDispute), joined.home.rows(SettlementDispute)
    assert (ours.record_id, ours.direction, ours.raised_by) == (record, "receivable", "us")
    told = f"amount 1.25 at {VISITED}, 1.20 at {HOME}"
    assert ours.what == theirs.what == told
    assert (theirs.record_id, theirs.direction, theirs.raised_by, theirs.network) == (
        record, "payable", "them", VISITED
    )  # fmt: skip
    # Home looks itself.
    reconcile(joined.home.operator, VISITED, MONTH)
    assert {(row.raised_by, row.what) for row in joined.home.rows(SettlementDispute)} == {
        ("them", told), ("us", f"amount 1.20 at {HOME}, 1.25 at {VISITED}")
    }  # fmt: skip
    assert len(joined.visited.change(open_disputes)) == 2
    change(joined.home, amount=1_250_000)
    for house, other in ((joined.visited, HOME), (joined.home, VISITED)):
        reconcile(house.operator, other, MONTH)
    assert joined.visited.change(open_disputes) == joined.home.change(open_disputes) == []
    assert len(joined.home.rows(SettlementDispute)) == 2


def test_the_worker_compares_this_month_and_the_last_one_where_there_are_records(joined: Lands) -> None:
    assert list(reconcile_recent(joined.visited.operator)) == []
    buy(joined, "*50#")
    assert list(reconcile_recent(joined.visited.operator)) == [(HOME, MONTH, "1 records alike, 0 differ")]
    change(joined.home, amount=1)
    joined.visited.clock.advance(timedelta(days=30))
    assert list(reconcile_recent(joined.visited.operator)) == [(HOME, MONTH, "0 records alike, 1 differ")]
    joined.partner(joined.visited, joined.home)
    [(_, _, told)] = reconcile_recent(joined.visited.operator)
    assert told.startswith(f"not compared: {HOME} at https://localhost:1 does not answer")
    joined.visited.clock.advance(timedelta(days=31))
    assert list(reconcile_recent(joined.visited.operator)) == []


def test_a_record_that_one_side_lacks_or_has_not_acknowledged_is_named(joined: Lands) -> None:
    buy(joined, "*50#", "*84#")
    change(joined.visited, state="waiting")
    joined.home.change(lambda c: c.execute(delete(_records).where(_records.c.feature == "radio")))
    [found] = [each for each in reconcile(joined.visited.operator, HOME, MONTH) if each.direction == "receivable"]
    assert sorted(each.what for each in found.differences) == [
        f"acknowledged at {HOME}, waiting at {VISITED}",
        f"only at {VISITED}",
    ]


def test_a_partner_disputes_what_is_between_us_alone(joined: Lands) -> None:
    buy(joined, "*50#")
    [record] = joined.records()[1]
    line = joined.line()
    # It says that it owes us what we owe it.
    with pytest.raises(HomeRefused) as no:
        line.dispute(wire.Disputes(MONTH, "payable", [wire.Disputed(record.id, "mine")]))
    assert no.value.code == "bad_record"
    with pytest.raises(HomeRefused):
        line.dispute(wire.Disputes(MONTH, "receivable", [wire.Disputed("r", "a"), wire.Disputed("r", "b")]))
    assert joined.home.rows(SettlementDispute) == []


def test_a_statement_comes_in_parts_and_a_partner_that_goes_in_circles_is_left(
    joined: Lands, monkeypatch: pytest.MonkeyPatch
) -> None:
    buy(joined, "*50#", "*84#")
    monkeypatch.setattr(wire, "MOST_LINES", 1)
    line = joined.line()
    assert len(line.statement(MONTH, "payable")) == 2
    assert line.statement("2026-10", "payable") == []
    [one, _] = line.statement(MONTH, "payable")
    monkeypatch.setattr(line, "_ask", lambda *_: wire.Statement([one], True))
    with pytest.raises(HomeUnreachable, match="twice or out of order"):
        line.statement(MONTH, "payable")
