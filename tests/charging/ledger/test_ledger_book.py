from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from ledger_samples import (
    EURO,
    NOW,
    Ledger,
    capture,
    charge,
    post,
    release,
    reserve,
    reverse,
    top_up,
)
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from charging.ledger.operations import Applied, Conflict, Declined, Duplicate, Leg, Post
from charging.ledger.statements import Statements
from charging.ledger.tables import CASH, OPERATOR, PREPAID, RECEIVABLE, REVENUE, ROUNDING, UNBILLED, tax_kind
from signalling.money import MAX_MICROS, MoneyError


def test_a_charge_debits_unbilled_and_credits_revenue(ledger: Ledger) -> None:
    assert isinstance(ledger.do_one(charge("1", 4 * EURO)), Applied)
    assert ledger.balance("ada", UNBILLED) == 4 * EURO
    assert ledger.balance(OPERATOR, REVENUE) == -4 * EURO
    assert ledger.available("ada") == 6 * EURO


def test_the_same_operation_again_is_a_duplicate_of_the_first(ledger: Ledger) -> None:
    first = ledger.do_one(charge("1", EURO))
    assert ledger.do(charge("1", EURO), charge("1", EURO)) == [Duplicate(first.transfer_id)] * 2
    assert ledger.balance("ada", UNBILLED) == EURO


def test_a_duplicate_within_one_group_counts_as_one(ledger: Ledger) -> None:
    first, second = ledger.do(charge("1", EURO), charge("1", EURO))
    assert second == Duplicate(first.transfer_id)  # type: ignore[union-attr]  # the first is applied
    assert ledger.balance("ada", UNBILLED) == EURO


def test_the_same_name_with_other_content_is_a_conflict(ledger: Ledger) -> None:
    first = ledger.do_one(charge("1", EURO))
    assert ledger.do(charge("1", 2 * EURO), charge("1", EURO, checked=False)) == [Conflict(first.transfer_id)] * 2
    assert ledger.balance("ada", UNBILLED) == EURO


def test_two_sources_may_use_the_same_operation_id(ledger: Ledger) -> None:
    ledger.do(charge("1", EURO, source="gate-a"), charge("1", EURO, source="gate-b"))
    assert ledger.balance("ada", UNBILLED) == 2 * EURO


def test_operations_of_one_group_see_each_other(ledger: Ledger) -> None:
    outcomes = ledger.do(charge("1", 6 * EURO), charge("2", 6 * EURO), charge("3", 4 * EURO))
    assert [type(outcome) for outcome in outcomes] == [Applied, Declined, Applied]


def test_the_limit_is_exact_to_the_micro(ledger: Ledger) -> None:
    outcomes = ledger.do(charge("1", 10 * EURO + 1), reserve("2", 10 * EURO + 1), charge("3", 10 * EURO))
    assert [type(outcome) for outcome in outcomes] == [Declined, Declined, Applied]
    assert ledger.do_one(charge("4", 1)).code == "limit"


def test_what_is_declined_leaves_no_trace_and_may_succeed_later(ledger: Ledger) -> None:
    ledger.do(charge("1", 6 * EURO))
    before = ledger.rows()
    declined = ledger.do_one(charge("2", 6 * EURO))
    assert (declined.code, declined.reason) == ("limit", "account ada: 6.00 EUR asked from unbilled, 4.00 available")
    assert ledger.rows() == before
    ledger.open("ada", 20 * EURO)
    assert isinstance(ledger.do_one(charge("2", 6 * EURO)), Applied)


def test_an_unchecked_charge_passes_the_limit(ledger: Ledger) -> None:
    assert isinstance(ledger.do_one(charge("1", 11 * EURO, checked=False)), Applied)
    assert ledger.available("ada") == -EURO


def test_no_credit_limit_means_no_limit(ledger: Ledger) -> None:
    ledger.open("rich", None)
    assert isinstance(ledger.do_one(charge("1", 10**9 * EURO, "rich")), Applied)
    assert ledger.available("rich") is None


def test_an_account_nobody_opened_is_declined(ledger: Ledger) -> None:
    outcomes = ledger.do(
        charge("1", EURO, "nobody"),
        charge("2", EURO, OPERATOR),
        reserve("3", EURO, "nobody"),
        post("4", "gift", ("nobody", PREPAID, -1), (OPERATOR, CASH, 1)),
    )
    assert [outcome.code for outcome in outcomes if isinstance(outcome, Declined)] == ["unknown_account"] * 4


def test_a_charge_of_nothing_is_recorded(ledger: Ledger) -> None:
    assert isinstance(ledger.do_one(charge("1", 0)), Applied)
    assert ledger.balance("ada", UNBILLED) == 0


def test_a_reservation_holds_money_until_it_is_captured(ledger: Ledger) -> None:
    held = ledger.do_one(reserve("1", 7 * EURO, agreement_id="a-1")).transfer_id
    assert ledger.available("ada") == 3 * EURO
    assert ledger.do_one(charge("2", 4 * EURO)).code == "limit"
    ledger.do(capture("3", held, 7 * EURO))
    assert (ledger.balance("ada", UNBILLED), ledger.reserved("ada")) == (7 * EURO, 0)
    assert ledger.do_one(capture("4", held, 0)).code == "reservation_closed"


def test_a_reservation_is_captured_in_parts_and_never_beyond_what_remains(ledger: Ledger) -> None:
    held = ledger.do_one(reserve("1", 5 * EURO)).transfer_id
    outcomes = ledger.do(capture("2", held, 3 * EURO), capture("3", held, 3 * EURO), capture("4", held, 2 * EURO))
    assert [type(outcome) for outcome in outcomes] == [Applied, Declined, Applied]
    assert (ledger.balance("ada", UNBILLED), ledger.reserved("ada")) == (5 * EURO, 0)


def test_a_capture_may_give_back_the_rest(ledger: Ledger) -> None:
    held = ledger.do_one(reserve("1", 5 * EURO)).transfer_id
    ledger.do(capture("2", held, 3 * EURO, release_rest=True))
    assert (ledger.available("ada"), ledger.reserved("ada")) == (7 * EURO, 0)
    assert ledger.do_one(release("3", held)).code == "reservation_closed"


def test_a_released_reservation_frees_what_remains(ledger: Ledger) -> None:
    held = ledger.do_one(reserve("1", 5 * EURO)).transfer_id
    ledger.do(capture("2", held, EURO), release("3", held))
    assert (ledger.available("ada"), ledger.reserved("ada")) == (9 * EURO, 0)
    assert ledger.do_one(capture("4", held, EURO)).code == "reservation_closed"


def test_a_reservation_cannot_be_captured_once_its_time_is_over(ledger: Ledger) -> None:
    held = ledger.do_one(reserve("1", 5 * EURO, hours=1)).transfer_id
    ledger.now = NOW + timedelta(hours=1)
    assert ledger.do_one(capture("2", held, EURO)).code == "reservation_expired"
    assert ledger.expire() == [held]
    assert ledger.expire() == []
    assert ledger.available("ada") == 10 * EURO
    assert ledger.do_one(capture("2", held, EURO)).code == "reservation_expired"


def test_expiry_leaves_what_is_not_due(ledger: Ledger) -> None:
    short, long = ledger.do(reserve("1", EURO, hours=1), reserve("2", EURO, hours=3))
    ledger.now = NOW + timedelta(hours=2)
    assert ledger.expire() == [short.transfer_id]  # type: ignore[union-attr]  # it is applied
    assert isinstance(ledger.do_one(capture("3", long.transfer_id, EURO)), Applied)  # type: ignore[union-attr]  # it is applied


def test_an_unknown_reservation_is_declined(ledger: Ledger) -> None:
    assert ledger.do_one(capture("1", "none", EURO)).code == "unknown_reservation"
    assert ledger.do_one(release("2", "none")).code == "unknown_reservation"


def test_a_reversal_takes_back_a_part_then_the_rest_and_no_more(ledger: Ledger) -> None:
    done = ledger.do_one(charge("1", 5 * EURO, agreement_id="a-1")).transfer_id
    outcomes = ledger.do(reverse("2", done, 2 * EURO), reverse("3", done, 4 * EURO), reverse("4", done))
    assert [type(outcome) for outcome in outcomes] == [Applied, Declined, Applied]
    assert (ledger.balance("ada", UNBILLED), ledger.balance(OPERATOR, REVENUE)) == (0, 0)
    assert ledger.do_one(reverse("5", done)).code == "exceeds_charge"
    assert ledger.do_one(reverse("6", done, 1)).code == "exceeds_charge"


def test_a_charge_of_nothing_can_be_reversed(ledger: Ledger) -> None:
    free = ledger.do_one(charge("1", 0)).transfer_id
    assert isinstance(ledger.do_one(reverse("2", free)), Applied)


def test_a_capture_can_be_reversed_a_reversal_or_a_payment_cannot(ledger: Ledger) -> None:
    held = ledger.do_one(reserve("1", 5 * EURO)).transfer_id
    captured = ledger.do_one(capture("2", held, 5 * EURO)).transfer_id
    back = ledger.do_one(reverse("3", captured)).transfer_id
    paid = ledger.do_one(top_up("4", EURO)).transfer_id
    assert [ledger.do_one(reverse(f"5-{id}"[:64], id)).code for id in (held, back, paid)] == ["not_reversible"] * 3
    assert ledger.do_one(reverse("6", "none")).code == "unknown_transfer"


def test_money_paid_ahead_can_be_spent_and_not_more(ledger: Ledger) -> None:
    ledger.open("pay", 0)
    ledger.do(top_up("1", 5 * EURO, "pay"))
    assert ledger.available("pay") == 5 * EURO
    outcomes = ledger.do(*(charge(f"c{n}", 2 * EURO, "pay", pays="prepaid") for n in range(3)))
    assert [type(outcome) for outcome in outcomes] == [Applied, Applied, Declined]
    assert ledger.balance("pay", PREPAID) == -EURO


def test_credit_does_not_pay_for_what_is_charged_to_prepaid(ledger: Ledger) -> None:
    ledger.do(top_up("1", EURO))
    assert ledger.do_one(charge("2", 2 * EURO, pays="prepaid")).code == "limit"
    assert isinstance(ledger.do_one(charge("3", 11 * EURO)), Applied)
    assert ledger.do_one(charge("4", EURO, pays="prepaid")).code == "limit", "it covers what is owed beyond the limit"


def test_reserved_prepaid_money_cannot_be_spent_or_paid_out(ledger: Ledger) -> None:
    ledger.do(top_up("1", 5 * EURO))
    held = ledger.do_one(reserve("2", 4 * EURO, pays="prepaid")).transfer_id
    assert ledger.do_one(charge("3", 2 * EURO, pays="prepaid")).code == "limit"
    pay_out = post("4", "pay-out", ("ada", PREPAID, 2 * EURO), (OPERATOR, CASH, -2 * EURO))
    assert ledger.do_one(pay_out).code == "limit"
    assert isinstance(ledger.do_one(capture("5", held, 4 * EURO)), Applied)
    assert ledger.balance("ada", PREPAID) == -EURO


def test_prepaid_money_that_covers_debts_cannot_be_paid_out_but_can_settle_them(ledger: Ledger) -> None:
    ledger.open("pay", 0)
    ledger.do(top_up("1", 5 * EURO, "pay"), charge("2", 5 * EURO, "pay"))
    assert ledger.do_one(post("3", "pay-out", ("pay", PREPAID, 1), (OPERATOR, CASH, -1))).code == "limit"
    settle = post("4", "settle", ("pay", PREPAID, 5 * EURO), ("pay", UNBILLED, -5 * EURO))
    assert isinstance(ledger.do_one(settle), Applied)


def test_an_invoice_moves_unbilled_to_receivable_with_tax_and_rounding(ledger: Ledger) -> None:
    ledger.do(charge("1", 4_990_100))
    ledger.do(
        post(
            "2",
            "invoice",
            ("ada", UNBILLED, -4_990_100),
            ("ada", RECEIVABLE, 5_940_000),
            (OPERATOR, tax_kind("standard"), -950_000),
            (OPERATOR, ROUNDING, 100),
        )
    )
    assert ledger.balance("ada", UNBILLED) == 0
    assert ledger.available("ada") == 10 * EURO - 5_940_000
    ledger.do(post("3", "payment", (OPERATOR, CASH, 5_940_000), ("ada", RECEIVABLE, -5_940_000)))
    assert ledger.available("ada") == 10 * EURO


def test_currencies_are_apart(ledger: Ledger) -> None:
    ledger.open("ada", 1000 * EURO, "JPY")
    ledger.do(charge("1", 900 * EURO, currency="JPY"))
    assert (ledger.available("ada", "JPY"), ledger.available("ada")) == (100 * EURO, 10 * EURO)
    assert ledger.do_one(charge("2", EURO, currency="USD")).code == "unknown_account"
    with pytest.raises(LookupError, match="no USD account"):
        ledger.available("ada", "USD")


def test_opening_an_account_again_sets_its_limit_and_keeps_its_balance(ledger: Ledger) -> None:
    ledger.do(charge("1", EURO))
    ledger.open("ada", 2 * EURO)
    assert ledger.available("ada") == EURO


def test_a_balance_out_of_range_raises_and_changes_nothing(ledger: Ledger) -> None:
    ledger.open("rich", None)
    ledger.do(charge("1", MAX_MICROS, "rich"))
    before = ledger.rows()
    with pytest.raises(OverflowError, match="leaves the range"):
        ledger.do(charge("2", 1, "rich"))
    assert ledger.rows() == before


@pytest.mark.parametrize("amount", [-1, MAX_MICROS + 1])
def test_an_amount_out_of_range_is_no_operation(amount: int) -> None:
    with pytest.raises(ValueError, match=r"operation test 1: amount -?\d+ is not between"):
        charge("1", amount)


@pytest.mark.parametrize("amount", [1.5, True, float("nan")])
def test_an_amount_that_is_no_integer_is_no_operation(amount: float) -> None:
    with pytest.raises(TypeError, match="not an integer of micros"):
        charge("1", amount)  # type: ignore[arg-type]  # that is the point


def test_legs_that_do_not_balance_are_no_operation() -> None:
    with pytest.raises(ValueError, match="legs in EUR sum to 1 micros"):
        post("1", "gift", ("ada", PREPAID, -1), (OPERATOR, CASH, 2))
    legs = (Leg("ada", PREPAID, "EUR", -1), Leg(OPERATOR, CASH, "USD", 1))
    with pytest.raises(ValueError, match="sum to"):
        Post(source="test", op_id="1", kind="gift", legs=legs, effective_at=NOW)


def test_other_nonsense_is_no_operation() -> None:
    with pytest.raises(MoneyError, match="XXZ"):
        charge("1", 1, currency="XXZ")
    with pytest.raises(ValueError, match="no time zone"):
        charge("1", 1, effective_at=datetime(2026, 10, 1))
    with pytest.raises(ValueError, match="1 to 64 characters"):
        charge("", 1)
    with pytest.raises(ValueError, match="the ledger's own"):
        post("1", "charge")


def test_every_statement_compiles_for_postgresql_with_locks() -> None:
    sql = Statements(PGDialect_psycopg())  # type: ignore[no-untyped-call]  # of SQLAlchemy
    assert "FOR UPDATE" in sql.customers.text
    assert "FOR UPDATE" in sql.reservations.text
    assert "FOR UPDATE" in sql.charged.text
    assert "FOR UPDATE" not in sql.operator.text
