"""Use taken from buckets first, then rated to money: at once, and reserved ahead."""

from __future__ import annotations

from datetime import timedelta

import pytest
from balance_samples import DAY, EURO, HOUR, NOW, Purse, use

from charging.balances.tables import UnitBucket
from operator_server.balances.barring import bar, unbar
from operator_server.balances.buckets import add_bucket, share
from operator_server.balances.money import adjust, pay_out
from operator_server.balances.once import BalanceError
from operator_server.balances.refunds import refund
from operator_server.store.accounting import Charge


def bucket(purse: Purse, id: str, quantity: int, **keys: object) -> None:
    purse.do(add_bucket, keys.pop("account", "acc-1"), "second", quantity, id=id, **keys)


def remaining(purse: Purse) -> dict[str, int]:
    return {row.id: row.remaining for row in purse.rows(UnitBucket)}


def test_units_are_taken_first_and_the_rest_is_charged_with_its_tax(purse: Purse) -> None:
    bucket(purse, "b", 45)
    purse.top_up(EURO)
    answer = purse.do(purse.desk.consume, "u-1", use(120))
    assert answer["units"] == [{"bucket": "b", "share": None, "amount": 45}]
    # 75 seconds by 30/6 at 0.006 a minute, and 19 % tax.
    assert (answer["rated"], answer["net"], answer["charged"]) == (75, 7800, 9282)
    assert purse.prepaid() == EURO - 9282
    (charge,) = purse.rows(Charge)
    assert (charge.pays, charge.net, charge.paid_tax) == ("prepaid", 7800, 1482)


def test_the_same_again_has_the_same_answer_and_no_effect(purse: Purse) -> None:
    bucket(purse, "b", 45)
    purse.top_up(EURO)
    first = purse.do(purse.desk.consume, "u-1", use(120))
    assert purse.do(purse.desk.consume, "u-1", use(120)) == first
    assert (purse.prepaid(), remaining(purse)) == (EURO - 9282, {"b": 0})
    with pytest.raises(BalanceError, match="id u-1: was a consume with other content"):
        purse.do(purse.desk.consume, "u-1", use(121))


def test_buckets_go_by_priority_then_expiry_then_age(purse: Purse) -> None:
    bucket(purse, "old", 10)
    purse.now += timedelta(seconds=1)
    bucket(purse, "late", 10, valid_until=NOW + 9 * DAY)
    bucket(purse, "soon", 10, valid_until=NOW + DAY)
    bucket(purse, "first", 10, priority=1)
    bucket(purse, "ahead", 10, valid_from=NOW + DAY, priority=0)
    bucket(purse, "young", 10)
    answer = purse.do(purse.desk.consume, "u-1", use(45, at=NOW + timedelta(seconds=1)))
    assert [(each["bucket"], each["amount"]) for each in answer["units"]] == [
        ("first", 10), ("soon", 10), ("late", 10), ("old", 10), ("young", 5),
    ]  # fmt: skip


def test_what_cannot_be_paid_changes_nothing(purse: Purse) -> None:
    bucket(purse, "b", 45, valid_from=NOW - DAY)
    with pytest.raises(BalanceError, match=r"0.009282 EUR asked from prepaid, 0.00 available"):
        purse.do(purse.desk.consume, "u-1", use(120))
    assert remaining(purse) == {"b": 45}
    purse.top_up(EURO)
    assert purse.do(purse.desk.consume, "u-1", use(120))["charged"] == 9282


def test_what_is_reserved_is_committed_in_part_and_the_rest_given_back(purse: Purse) -> None:
    bucket(purse, "b", 45, valid_from=NOW - DAY)
    purse.top_up(EURO)
    held = purse.do(purse.desk.reserve_usage, "r-1", use(120), HOUR)
    assert (held["rated"], held["money"]) == (75, 9282)
    assert purse.available() == EURO - 9282
    assert purse.rows(UnitBucket)[0].reserved == 45
    answer = purse.do(purse.desk.commit_usage, "c-1", "r-1", 77)
    # 45 from the bucket, 32 seconds for 0.0036.
    assert (answer["rated"], answer["net"], answer["charged"]) == (32, 3600, 4284)
    assert (purse.prepaid(), purse.available()) == (EURO - 4284, EURO - 4284)
    assert purse.do(purse.desk.commit_usage, "c-1", "r-1", 77) == answer
    with pytest.raises(BalanceError, match="it is committed"):
        purse.do(purse.desk.commit_usage, "c-2", "r-1", None)


def test_a_commit_within_the_bucket_costs_nothing(purse: Purse) -> None:
    bucket(purse, "b", 45, valid_from=NOW - DAY)
    purse.top_up(EURO)
    purse.do(purse.desk.reserve_usage, "r-1", use(120), HOUR)
    answer = purse.do(purse.desk.commit_usage, "c-1", "r-1", 40)
    assert (answer["rated"], answer["charge"]) == (0, None)
    assert (remaining(purse), purse.available()) == ({"b": 5}, EURO)


def test_a_release_gives_all_back(purse: Purse) -> None:
    bucket(purse, "b", 45, valid_from=NOW - DAY)
    purse.top_up(EURO)
    purse.do(purse.desk.reserve_usage, "r-1", use(120), HOUR)
    purse.do(purse.desk.release_usage, "x-1", "r-1")
    assert (purse.available(), purse.rows(UnitBucket)[0].reserved) == (EURO, 0)
    with pytest.raises(BalanceError, match="it is released"):
        purse.do(purse.desk.commit_usage, "c-1", "r-1", None)


def test_a_reservation_expires_by_itself(purse: Purse) -> None:
    bucket(purse, "b", 45, valid_from=NOW - DAY)
    purse.top_up(EURO)
    purse.do(purse.desk.reserve_usage, "r-1", use(120), HOUR)
    purse.now += HOUR
    with pytest.raises(BalanceError, match="its time is over"):
        purse.do(purse.desk.commit_usage, "c-1", "r-1", None)
    assert purse.expire() == {"usage reservations": 1, "reservations": 1, "buckets": 0, "credits": 0}
    assert (purse.available(), purse.rows(UnitBucket)[0].reserved) == (EURO, 0)


def test_more_than_was_reserved_is_committed_only_where_pseudo_prepaid_pays(purse: Purse) -> None:
    purse.top_up(9282)
    purse.do(purse.desk.reserve_usage, "r-1", use(75), HOUR)
    with pytest.raises(BalanceError, match="120 second asked, 75 reserved"):
        purse.do(purse.desk.commit_usage, "c-1", "r-1", 120)
    purse.do(purse.desk.release_usage, "x-1", "r-1")
    purse.do(purse.desk.reserve_usage, "r-2", use(75, pays="pseudo_prepaid"), HOUR)
    assert purse.do(purse.desk.commit_usage, "c-2", "r-2", 120)["charged"] == 14280
    assert purse.prepaid() == 9282 - 14280


def test_pseudo_prepaid_is_authorised_against_what_is_there(purse: Purse) -> None:
    purse.top_up(9281)
    with pytest.raises(BalanceError, match="asked from prepaid"):
        purse.do(purse.desk.reserve_usage, "r-1", use(75, pays="pseudo_prepaid"), HOUR)
    assert not purse.do(purse.desk.enquire, use(75, pays="pseudo_prepaid"))["possible"]
    assert purse.do(purse.desk.consume, "u-1", use(75, pays="pseudo_prepaid"))["charged"] == 9282
    assert purse.prepaid() == -1


def test_an_enquiry_tells_the_price_and_changes_nothing(purse: Purse) -> None:
    bucket(purse, "b", 45, valid_from=NOW - DAY)
    answer = purse.do(purse.desk.enquire, use(120))
    assert (answer["net"], answer["tax"], answer["due"], answer["possible"]) == (7800, 1482, 9282, False)
    purse.top_up(EURO)
    assert purse.do(purse.desk.enquire, use(120))["possible"]
    assert (remaining(purse), purse.prepaid(), purse.rows(Charge)) == ({"b": 45}, EURO, [])


def test_a_shared_bucket_is_drawn_on_up_to_its_limit(purse: Purse) -> None:
    bucket(purse, "family", 100, account="acc-2", valid_from=NOW - DAY)
    purse.do(share, "acc-2", "kid", id="s-1", bucket="family", most=30)
    assert purse.do(purse.desk.consume, "u-1", use(20, subscriber="kid", tariff=""))["units"] == [
        {"bucket": "family", "share": "s-1", "amount": 20}
    ]
    with pytest.raises(BalanceError, match="10 second are in no bucket of kid"):
        purse.do(purse.desk.consume, "u-2", use(20, subscriber="kid", tariff=""))
    with pytest.raises(BalanceError, match="are in no bucket of acc-1"):
        purse.do(purse.desk.consume, "u-3", use(5, tariff=""))
    assert remaining(purse) == {"family": 80}


def test_nothing_is_shared_with_who_draws_on_it_anyway(purse: Purse) -> None:
    for user, why in (("acc-1", "its own balances anyway"), ("kid", "account acc-1 is its own")):
        with pytest.raises(BalanceError, match=why):
            purse.do(share, "acc-1", user, id="s-1", most=30)


def test_shared_money_pays_where_ones_own_does_not(purse: Purse) -> None:
    purse.top_up(EURO, account="acc-2")
    purse.do(share, "acc-2", "acc-1", id="s-1", most=10_000)
    answer = purse.do(purse.desk.consume, "u-1", use(75))
    assert (answer["payer"], answer["share"], purse.prepaid("acc-2")) == ("acc-2", "s-1", EURO - 9282)
    with pytest.raises(BalanceError, match="asked from prepaid"):
        purse.do(purse.desk.consume, "u-2", use(75))
    purse.do(refund, answer["charge"], id="f-1", reason="goodwill")
    assert purse.prepaid("acc-2") == EURO
    assert purse.do(purse.desk.reserve_usage, "r-1", use(75), HOUR)["share"] == "s-1"
    assert purse.do(purse.desk.commit_usage, "c-1", "r-1", 32)["charged"] == 4284


def test_who_is_barred_uses_nothing_until_it_is_lifted(purse: Purse) -> None:
    purse.top_up(EURO)
    held = purse.do(purse.desk.reserve_usage, "r-1", use(75), HOUR)
    purse.do(bar, "account", "acc-1", "fraud suspected")
    for subscriber in ("acc-1", "kid"):
        with pytest.raises(BalanceError, match="account acc-1 is barred: fraud suspected"):
            purse.do(purse.desk.consume, "u-1", use(75, subscriber=subscriber))
    assert purse.do(purse.desk.commit_usage, "c-1", held["id"], None)["charged"] == 9282
    purse.do(unbar, "account", "acc-1", "cleared")
    purse.do(bar, "subscriber", "kid", "lost phone")
    purse.do(purse.desk.consume, "u-1", use(75))
    with pytest.raises(BalanceError, match="subscriber kid is barred: lost phone"):
        purse.do(purse.desk.consume, "u-2", use(75, subscriber="kid"))


def test_a_refund_gives_back_what_was_charged_and_never_more(purse: Purse) -> None:
    purse.top_up(EURO)
    charge = purse.do(purse.desk.consume, "u-1", use(75))["charge"]
    answer = purse.do(refund, charge, id="f-1", amount=3333, reason="bad line")
    assert (answer["amount"], answer["net"], answer["tax"]) == (3333, 2801, 532)
    assert purse.do(refund, charge, id="f-1", amount=3333, reason="bad line") == answer
    with pytest.raises(BalanceError, match=r"0.00595 EUR asked, 0.005949 of it is left"):
        purse.do(refund, charge, id="f-2", amount=5950, reason="again")
    purse.do(refund, charge, id="f-3", reason="the rest")
    assert purse.prepaid() == EURO
    assert sum(row.net for row in purse.rows(Charge)) == 0 == sum(row.paid_tax for row in purse.rows(Charge))
    with pytest.raises(BalanceError, match=r"0.00 of it is left"):
        purse.do(refund, charge, id="f-4", reason="once more")


def test_what_is_postpaid_is_refunded_onto_the_next_invoice(purse: Purse) -> None:
    with purse.writing() as connection:
        from charging.ledger.book import open_account

        open_account(connection, "acc-1", "EUR", EURO)
    charge = purse.do(purse.desk.consume, "u-1", use(75, pays="unbilled"))["charge"]
    assert purse.available() == EURO - 7800
    purse.do(refund, charge, id="f-1", reason="bad line")
    assert purse.available() == EURO


@pytest.mark.parametrize("function", [adjust, pay_out])
def test_money_is_never_taken_below_zero(purse: Purse, function: object) -> None:
    purse.top_up(EURO)
    amount = -EURO - 1 if function is adjust else EURO + 1
    with pytest.raises(BalanceError, match=r"asked from prepaid, 1.00 available"):
        purse.do(function, "acc-1", amount, id="a-1", reason="test")  # type: ignore[arg-type]  # one of two functions
