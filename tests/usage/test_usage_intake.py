"""Usage records: each charged once, exactly as the tariff says, in whatever portions they come."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from counting_samples import SETTINGS, SIGNING
from hypothesis import given, settings
from hypothesis import strategies as st
from usage_samples import DATA, NOW, Shop, call, version

from charging.ledger.verify import verify
from charging.periods import period
from charging.tariffs import Tariff, TariffBook
from charging.tariffs.explain import Use, costs, explain
from operator_server.billing.bill_run import run_bills
from operator_server.billing.invoices import each_invoice
from operator_server.billing.proof import verify_billing
from operator_server.counting.tariffs import TariffVersions
from operator_server.store.dealings import Agreement, QuoteRow
from operator_server.usage.history import UnknownUse, find_use
from operator_server.usage.intake import Importer
from signalling.documents import Quote, decode_document

KEPT = TariffVersions(lambda: TariffBook([]))


def test_a_record_costs_what_its_tariff_says() -> None:
    shop = Shop()
    assert shop.take(call("a", 32), call("b", 57), call("c", "75")).taken == 3
    assert shop.nets() == {"a": 3600, "b": 6000, "c": 7800}


def test_the_same_record_again_is_counted_and_not_charged() -> None:
    shop = Shop()
    shop.take(call(), call("2"))
    again = shop.take(call(quantity="32", at="2026-11-02T08:30:00Z"), call("2"), call("2"), call("3"))
    assert (again.taken, again.known, again.refused) == (1, 3, [])
    assert len(shop.charges()) == 3


def test_another_record_of_a_known_name_is_refused() -> None:
    shop = Shop()
    shop.take(call())
    outcome = shop.take(call(quantity=33), call(source="other", quantity=33), call("9"), call("9", 1))
    assert [(line.number, "other content" in reason) for line, reason in outcome.refused] == [(2, True), (5, True)]
    assert outcome.taken == 2


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"quantity": -1}, "quantity: -1 is not a whole number"),
        ({"quantity": "1.5"}, "quantity: '1.5' is not a whole number"),
        ({"quantity": float("nan")}, "quantity: nan is not a whole number"),
        ({"quantity": 2.0}, "quantity: 2.0 is not a whole number"),
        ({"quantity": True}, "quantity: True is not a whole number"),
        ({"quantity": 10**16}, "quantity: 10000000000000000 is more than"),
        ({"quantity": None}, "quantity: missing"),
        ({"id": ""}, "id: missing"),
        ({"source": None}, "source: missing"),
        ({"subscriber": ""}, "subscriber: missing"),
        ({"subscriber": "nobody"}, "subscriber: there is no 'nobody'"),
        ({"tariff": "gone"}, "no tariff 'gone'"),
        ({"at": "2026-11-02T09:30:00"}, "needs its distance from UTC"),
        ({"at": "yesterday"}, "at: 'yesterday' is no time"),
        ({"at": "2026-11-03T12:06:00Z"}, "has not come yet"),
        ({"at": "2025-11-02T09:30:00Z"}, "holds from"),
        ({"subscriber": "acc-3"}, "tariff: calls is in EUR, account acc-3 in JPY"),
        ({"destination": "x49"}, "destination: 'x49' is no number"),
        ({"specversion": "0.3"}, "specversion '0.3'"),
    ],
)
def test_a_bad_record_is_refused_with_field_value_and_reason(keys: dict[str, Any], reason: str) -> None:
    shop = Shop()
    outcome = shop.take(call() | keys, call("good"))
    [(line, told)] = outcome.refused
    assert (line.number, reason in told) == (2, True), told
    assert list(shop.nets()) == ["good"]


def test_a_cloud_event_is_the_record_that_its_attributes_and_data_say() -> None:
    shop = Shop()
    event = {
        "specversion": "1.0", "source": "switch", "id": "1", "type": "call.ended", "subject": "acc-1",
        "time": "2026-11-02T08:30:00Z", "data": {"tariff": "calls", "quantity": 32},
    }  # fmt: skip
    assert shop.take(event).taken == 1
    assert shop.take(call()).known == 1


def test_an_account_stands_for_its_first_subscriber_and_a_source_may_be_given() -> None:
    shop = Shop()
    shop.importer = Importer(shop.book, SETTINGS, SIGNING, shop.clock, default_source="given")
    record = call()
    del record["source"], record["subscriber"]
    assert shop.take(record | {"account": "acc-1"}).taken == 1
    assert shop.charges()[0].account_id == "acc-1"


@settings(max_examples=25, deadline=None)
@given(
    quantities=st.lists(st.integers(0, 900), min_size=1, max_size=12),
    cuts=st.sets(st.integers(1, 11)),
    tariff=st.sampled_from(["calls", "data"]),
)
def test_records_cost_the_same_in_whatever_portions_they_come(
    quantities: list[int], cuts: set[int], tariff: str
) -> None:
    shop = Shop()
    records = [call(str(number), quantity, tariff=tariff) for number, quantity in enumerate(quantities)]
    edges = [0, *sorted(cut for cut in cuts if cut < len(records)), len(records)]
    for start, end in pairwise(edges):
        assert shop.take(*records[start:end]).taken == end - start
    rated = shop.book.at(tariff, NOW)
    expected = costs([Use("", rated, quantity, NOW, session=True) for quantity in quantities])
    assert [charge.net for charge in shop.charges()] == expected
    with shop.engine.connect() as connection:
        assert [*verify(connection), *verify_billing(connection)] == []
        last = find_use(connection, KEPT, f"switch/{len(records) - 1}")
        assert explain(last.uses).cost_micros == last.charge.net == expected[-1]


def test_each_month_of_use_has_its_own_included_units() -> None:
    shop = Shop()
    shop.take(call("a", 100, tariff="data"), call("b", 100, tariff="data", at="2026-10-02T00:00:00Z"))
    assert shop.nets() == {"a": 0, "b": 0}
    assert [charge.period for charge in shop.charges()] == ["2026-11", "2026-10"]


def test_a_version_that_begins_within_a_month_rates_from_then_on_and_keeps_what_was_used() -> None:
    dearer = version("data", **DATA | {"effective_from": "2026-11-02"})
    shop = Shop(None, Tariff("data", {}, (version("data", **DATA), dearer)))
    shop.take(call("a", 100, tariff="data", at="2026-11-01T08:00:00Z"), call("b", 3, tariff="data"))
    assert shop.nets() == {"a": 0, "b": 10_000}
    versions = [charge.tariff_version for charge in shop.charges()]
    assert versions[1] == dearer.version_id != versions[0]
    with shop.engine.connect() as connection:
        assert explain(find_use(connection, KEPT, "b").uses).cost_micros == 10_000


def test_use_is_billed_on_one_line_a_tariff_and_month_and_late_use_with_the_open_period() -> None:
    shop = Shop()
    shop.take(
        call("1", 32, at="2026-10-05T08:00:00Z"), call("2", 75, at="2026-10-06T08:00:00Z"),
        call("3", 103, tariff="data", at="2026-10-06T08:00:00Z"),
    )  # fmt: skip
    run_bills(shop.engine, SETTINGS, "2026-10", now=NOW)
    late = shop.take(call("4", 600, at="2026-10-07T08:00:00Z"), call("5", 60))
    assert (late.taken, late.late) == (2, 1)
    shop.clock.set(datetime(2026, 12, 2, tzinfo=UTC))
    run_bills(shop.engine, SETTINGS, "2026-11", now=shop.clock.now())
    with shop.engine.connect() as connection:
        october, november = each_invoice(connection)
        assert [*verify(connection), *verify_billing(connection)] == []
    shown = [(line.description, line.quantity, line.included, line.unit, line.net_micros) for line in october.lines]
    assert shown == [("Calls", 107, 0, "second", 11_400), ("Data", 103, 100, "MiB", 10_000)]
    assert [line.counter_from for line in october.lines] == [None, None]
    assert [(line.period_from.month, line.net_micros) for line in november.lines] == [(10, 60_000), (11, 6000)]


def test_a_standing_agreement_is_signed_by_the_operator_and_made_once() -> None:
    shop = Shop()
    shop.take(call("1"), call("2"), call("3", subscriber="acc-2"), call("4", tariff="data"))
    shop.take(call("5"))
    with shop.engine.connect() as connection:
        agreements = connection.execute(Agreement.__table__.select()).all()  # type: ignore[attr-defined]  # set by SQLModel's metaclass
        quotes = connection.execute(QuoteRow.__table__.select()).all()  # type: ignore[attr-defined]  # set by SQLModel's metaclass
    assert len(agreements) == len(quotes) == 3
    assert {(row.evidence_kind, row.state) for row in agreements} == {("operator", "standing")}
    named = {row.id: decode_document(Quote, row.document) for row in quotes}
    assert all(named[row.id].subscriber == row.subscriber_id for row in agreements)
    assert {charge.agreement_id for charge in shop.charges()} == set(named)


def test_records_of_one_id_are_told_apart_by_their_source() -> None:
    shop = Shop()
    shop.take(call("1"), call("1", source="other/switch"))
    with shop.engine.connect() as connection:
        with pytest.raises(UnknownUse, match="several sources"):
            find_use(connection, KEPT, "1")
        assert len(find_use(connection, KEPT, "other/switch/1").uses) == 2


def test_uses_of_a_clock_that_stands_still_are_explained_in_the_order_in_which_they_were_rated() -> None:
    shop = Shop()
    for number in range(12):
        shop.take(call(str(number), 90, tariff="data"))
    with shop.engine.connect() as connection:
        for number in range(12):
            found = find_use(connection, KEPT, str(number))
            assert len(found.uses) == number + 1
            assert explain(found.uses).cost_micros == found.charge.net


def test_the_month_of_use_is_the_operators() -> None:
    shop = Shop()
    start = period("2026-11", SETTINGS.operator.zone).start
    shop.take(call("1", at=start.isoformat()))
    assert start.month == 10
    assert shop.charges()[0].period == "2026-11"
